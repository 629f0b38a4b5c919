//! The checks as data.

use super::NeededFor::{self, Both, Host, Namespace, Nice};
use super::{Finding, Site, confine, folders, forward, listeners, machine, place, programs, reach, userns};
use std::time::Duration;

/// One check: what it is called, what needs it, how it is made.
pub(super) struct Entry {
    pub(super) id: &'static str,
    pub(super) needed_for: NeededFor,
    /// Takes the better part of a second, so it runs beside the others.
    pub(super) slow: bool,
    pub(super) probe: fn(&Site) -> Finding,
}

impl Entry {
    const fn new(id: &'static str, needed_for: NeededFor, probe: fn(&Site) -> Finding) -> Self {
        Self { id, needed_for, slow: false, probe }
    }

    /// How long it may take.
    pub(super) fn limit(&self) -> Duration {
        Duration::from_secs(if self.slow { 15 } else { 5 })
    }
}

/// All checks: the machine, the network, the programs of a run, the image.
pub(super) const CHECKS: &[Entry] = &[
    Entry::new("place", Nice, place::check),
    Entry::new("qemu", Both, |site| programs::check(site, &programs::QEMU)),
    Entry::new("qemu-devices", Both, programs::qemu_devices),
    Entry::new("qemu-img", Both, |site| programs::check(site, &programs::QEMU_IMG)),
    Entry::new("kvm", Nice, machine::kvm),
    Entry::new("uefi", Nice, machine::uefi),
    Entry::new("qemu-confinement", Nice, confine::qemu),
    Entry::new("memory", Both, machine::memory),
    Entry::new("state", Both, folders::state),
    Entry::new("cache", Both, folders::cache),
    Entry::new("runs", Both, folders::runs),
    Entry::new("tun", Both, reach::tun),
    Entry::new("ip", Both, |site| programs::check(site, &programs::IP)),
    Entry::new("nft", Both, |site| programs::check(site, &programs::NFT)),
    Entry::new("dnsmasq", Both, |site| programs::check(site, &programs::DNSMASQ)),
    Entry::new("pasta", Namespace, |site| programs::check(site, &programs::PASTA)),
    // Both: in host mode the controller side still gets namespaces of its own.
    Entry::new("user-namespaces", Both, userns::check),
    Entry::new("confinement", Both, confine::check),
    Entry::new("net-admin", Host, reach::net_admin),
    Entry::new("port-53", Host, listeners::check),
    Entry::new("subnet", Host, reach::subnet),
    Entry::new("forward", Host, forward::check),
    Entry::new("ssh", Both, |site| programs::check(site, &programs::SSH)),
    Entry::new("ssh-keygen", Both, |site| programs::check(site, &programs::SSH_KEYGEN)),
    Entry { slow: true, ..Entry::new("ansible", Both, programs::ansible) },
    Entry::new("image-build", Nice, machine::image_build),
];
