//! The network cards, and what they are plugged into.

use super::{Cable, Fds, Machine};
use host::names::{IfName, Mac};
use serde::{Deserialize, Serialize};

/// The first network card's cable, by its name in QMP.
pub const NETDEV: &str = "net0";
/// The most further cards: as many as there are slots for.
pub const MOST_CARDS: usize = 8;

/// The PCI slots: the first card's, and that of the first further one, behind every other device.
const FIRST_SLOT: usize = 0x2;
const CARD_SLOT: usize = 0x12;
/// The hub that stands for the first card's network; others stand for the isolated ones.
const SHARED: usize = 0;

/// A further network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Its address.
    pub mac: Mac,
    /// The network that only this machine's cards are in; none: it is in that of the first card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated: Option<IfName>,
}

/// The network cards, if there are any. Behind QEMU's own network is nothing: `restrict` keeps the guest from the host and
/// from everything beyond, and where QEMU has a network of its own there is nothing to keep it from.
///
/// Further cards need nothing of this host: what several cards are plugged into is a hub in QEMU, and one that no tap is plugged
/// into leads nowhere. Into a shared network goes one tap for all of them, whose filter knows the first card's address only.
/// The first card's cable keeps its name, so that pulling it pulls that card's alone.
pub(super) fn network(option: &mut impl FnMut(&str, String), machine: &Machine, fds: &Fds) {
    let uplink = |id: &str| match &machine.cable {
        Cable::Tap { .. } => Some(format!("tap,id={id},fd={}", fds.tap)),
        Cable::User => Some(format!("user,id={id},restrict=on,ipv6=off")),
        Cable::None => None,
    };
    let shared = machine.cards.iter().any(|card| card.isolated.is_none());
    let Some(first) = uplink(if shared { "uplink" } else { NETDEV }) else { return };
    option("netdev", first);
    if shared {
        option("netdev", format!("hubport,id=uplink-port,hubid={SHARED},netdev=uplink"));
        option("netdev", port(NETDEV, SHARED));
    }
    option("device", device(NETDEV, &machine.mac, FIRST_SLOT));
    let mut networks: Vec<&IfName> = machine.cards.iter().filter_map(|card| card.isolated.as_ref()).collect();
    networks.sort();
    networks.dedup();
    for (n, card) in machine.cards.iter().enumerate() {
        let isolated = card.isolated.as_ref();
        let hub = networks.iter().position(|network| Some(*network) == isolated).map_or(SHARED, |at| SHARED + 1 + at);
        let id = format!("net{}", n + 1);
        option("netdev", port(&id, hub));
        option("device", device(&id, &card.mac, CARD_SLOT + n));
    }
}

fn port(id: &str, hub: usize) -> String {
    format!("hubport,id={id},hubid={hub}")
}

fn device(netdev: &str, mac: &Mac, slot: usize) -> String {
    format!("virtio-net-pci,netdev={netdev},mac={mac},addr={slot:#x},romfile=")
}
