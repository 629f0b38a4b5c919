//! What a host's machine is made of, as its profile says it.

use host::names::{IfName, Mac};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vm::qemu::MOST_CARDS;
use vm::qemu::boot::{self, Bus};

/// What starts the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// UEFI for an image that has an EFI system partition, else the BIOS.
    #[default]
    Auto,
    /// The BIOS.
    Bios,
    /// UEFI without Secure Boot.
    Uefi,
    /// UEFI with Secure Boot.
    SecureBoot,
}

/// A disk that is blank when the VM is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataDisk {
    /// Its size, in GiB.
    pub size_gib: u64,
    /// How the guest sees it, if not as the first disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus: Option<Bus>,
    /// Its serial number, by which udev names it; `data0`, `data1`, … otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
}

impl DataDisk {
    /// Its serial number, as the n-th of them.
    pub fn serial(&self, n: usize) -> String {
        self.serial.clone().unwrap_or_else(|| format!("data{n}"))
    }
}

/// A network card beside the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nic {
    /// The network that it is in, by a name of the profile's own, where only cards of this VM are; without one it is in that of
    /// the first card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub isolated: Option<IfName>,
    /// Its address; one of QEMU's kind otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub mac: Option<Mac>,
}

/// The first thing that is wrong with further disks.
pub(super) fn wrong_disks(disks: &[DataDisk]) -> Option<String> {
    if let Some(disk) = disks.iter().find(|disk| !(1..=2048).contains(&disk.size_gib)) {
        return Some(format!("disks: size_gib: {} is not between 1 and 2048", disk.size_gib));
    }
    let serials: Vec<_> = disks.iter().enumerate().map(|(n, disk)| disk.serial(n)).collect();
    boot::wrong_serials(&serials).map(|wrong| format!("disks: {wrong}"))
}

/// The same of further network cards.
pub(super) fn wrong_nics(nics: &[Nic]) -> Option<String> {
    if nics.len() > MOST_CARDS {
        return Some(format!("nics: there are {}, and {MOST_CARDS} is the most", nics.len()));
    }
    // The lowest bit of the first byte (the second digit) says that an address is of a group.
    let is_group =
        |mac: &&Mac| mac.as_str().chars().nth(1).and_then(|c| c.to_digit(16)).is_some_and(|digit| digit % 2 == 1);
    let group = nics.iter().filter_map(|nic| nic.mac.as_ref()).find(is_group);
    group.map(|mac| format!("nics: mac: {mac} is the address of a group, not of a card"))
}
