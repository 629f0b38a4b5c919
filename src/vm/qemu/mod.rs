//! The virtual machine as QEMU is told to build it: a value ([`Machine`]), its command line ([`argv`])
//! and the accelerator that runs it ([`accel`]). It boots from a golden image ([`Overlay`]) or from media as a profile
//! describes them ([`boot`], [`media`]). Nothing here starts anything.
//!
//! Not fuzzed: what is read here is this program's own description of a machine, and what QEMU says of itself before a
//! guest runs.

pub mod accel;
mod argv;
pub mod boot;
mod cards;
mod devices;
pub mod disk;
pub mod firmware;
pub mod media;
pub mod template;
pub mod user;

pub use accel::Accel;
pub use argv::{DISK, DISK_DEVICE, Fds, MEMORY_SET, PROGRAM, argv, delete_snapshot, memory_node, snapshot};
pub use cards::{Card, MOST_CARDS, NETDEV};
pub use devices::lacking;

use camino::{Utf8Path, Utf8PathBuf};
use firmware::Uefi;
use host::dirs::{DirError, write_private};
use host::failure::{Blame, Exit};
use host::hex::hex;
use host::names::{IfName, Mac, MiB, VmName};
use serde::{Deserialize, Serialize};

/// One virtual machine, everything resolved. It lies beside the VM as `machine.json`; the monitor reads
/// it at every start, so whoever rewrites it and asks for a power-cycle gets the new machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The VM's own name.
    pub name: VmName,
    /// The machine's UUID (SMBIOS type 1), the same at every boot.
    pub uuid: String,
    /// Memory.
    pub mem: MiB,
    /// Virtual CPUs.
    pub vcpus: u8,
    /// What runs the guest's instructions.
    pub accel: Accel,
    /// The processor's model; the accelerator's best otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// What it boots from and writes to.
    pub storage: Storage,
    /// The user that QEMU runs as, if it is not the one who starts it: a number that nobody else has.
    #[serde(default)]
    pub user: Option<u32>,
    /// The address of its first network card.
    pub mac: Mac,
    /// What that is plugged into.
    pub cable: Cable,
    /// Its further network cards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<Card>,
    /// The SMBIOS system serial number: what the guest's cloud-init reads before it looks anywhere else.
    pub smbios_serial: String,
    /// What it has of a template, if it has anything of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<template::Part>,
}

/// What a machine boots from and writes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// A golden image, which stays as it is.
    Overlay(Overlay),
    /// A CD and disks.
    Media(media::Media),
}

/// A golden image, and what is written over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// The overlay (qcow2) that the guest boots from and writes to.
    pub disk: Utf8PathBuf,
    /// How the guest sees it.
    #[serde(default, skip_serializing_if = "boot::Bus::is_default")]
    pub bus: boot::Bus,
    /// The golden image that the overlay lies over; none until it is known which file that is.
    #[serde(default)]
    pub golden: Option<Backing>,
    /// Where snapshots put the memory (qcow2); the guest does not see it.
    pub memory: Utf8PathBuf,
    /// The NoCloud seed, shown to the guest as a read-only disk.
    pub seed: Utf8PathBuf,
    /// UEFI; the BIOS if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uefi: Option<Uefi>,
    /// The host's other disks, blank at first; like the overlay they lose what was not flushed with the power.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<media::Disk>,
}

impl Overlay {
    /// The files that QEMU gets open besides, and whether it may write to them; in the order of their descriptors.
    pub fn files(&self) -> Vec<(&Utf8Path, bool)> {
        self.uefi.iter().flat_map(Uefi::files).collect()
    }

    /// How the guest sees its disks.
    pub(super) fn buses(&self) -> impl Iterator<Item = boot::Bus> {
        std::iter::once(self.bus).chain(self.disks.iter().map(|disk| disk.bus))
    }

    /// The disks that are on a drive which can lose its power, the overlay first.
    pub fn drives(&self) -> Vec<&Utf8Path> {
        std::iter::once(&self.disk).chain(self.disks.iter().map(|disk| &disk.path)).map(Utf8PathBuf::as_path).collect()
    }
}

/// What a network interface is plugged into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cable {
    /// A tap of ours on a bridge of ours.
    Tap {
        /// The tap.
        tap: IfName,
        /// The bridge.
        bridge: IfName,
    },
    /// QEMU's own DHCP server and name server, and nothing behind them.
    User,
    /// There is no interface.
    None,
}

/// The image that an overlay lies over. Nothing is ever written to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backing {
    /// The file.
    pub path: Utf8PathBuf,
    /// Its format, as QEMU's driver is called.
    pub format: String,
}

/// Why a machine description cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The file cannot be read.
    #[error("cannot read the machine description {path}")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a machine description.
    #[error("{path} is not a machine description")]
    Parse {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the machine description {path}")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        #[source]
        source: DirError,
    },
}

impl Blame for MachineError {
    fn exit(&self) -> Exit {
        match self {
            Self::Read { .. } | Self::Parse { .. } => Exit::Lost,
            Self::Write { .. } => Exit::Host,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Read { .. } | Self::Parse { .. } => {
                Some("the VM's folder is damaged: remove the VM with `boma-qemu prune` and start again".into())
            }
            Self::Write { source, .. } => source.next(),
        }
    }
}

impl Machine {
    /// The golden image's overlay, if that is what it boots from.
    pub fn overlay(&self) -> Option<&Overlay> {
        match &self.storage {
            Storage::Overlay(overlay) => Some(overlay),
            Storage::Media(_) => None,
        }
    }

    /// What it boots from, if that is no golden image.
    pub fn media(&self) -> Option<&media::Media> {
        match &self.storage {
            Storage::Overlay(_) => None,
            Storage::Media(media) => Some(media),
        }
    }

    /// Its UEFI firmware, unless it is started by the BIOS.
    pub fn uefi(&self) -> Option<&Uefi> {
        match &self.storage {
            Storage::Overlay(overlay) => overlay.uefi.as_ref(),
            Storage::Media(media) => media.uefi.as_ref(),
        }
    }

    /// The files that QEMU gets open whatever it boots from, and whether it may write to them; in the order of their
    /// descriptors.
    pub fn files(&self) -> Vec<(&Utf8Path, bool)> {
        match &self.storage {
            Storage::Overlay(overlay) => overlay.files(),
            Storage::Media(media) => media.files(),
        }
    }

    /// Read the description at `path`.
    pub fn load(path: &Utf8Path) -> Result<Self, MachineError> {
        let bytes = std::fs::read(path).map_err(|source| MachineError::Read { path: path.to_owned(), source })?;
        serde_json::from_slice(&bytes).map_err(|source| MachineError::Parse { path: path.to_owned(), source })
    }

    /// Write the description to `path`, whole or not at all.
    pub fn save(&self, path: &Utf8Path) -> Result<(), MachineError> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| MachineError::Parse { path: path.to_owned(), source })?;
        write_private(path, text + "\n").map_err(|source| MachineError::Write { path: path.to_owned(), source })
    }
}

/// A UUID (version 4, as to its form) made from 16 bytes or more of a hash.
pub fn uuid(seen: &[u8]) -> String {
    let hex = hex(&seen[..16]);
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}
