//! A machine that boots from media, as a profile describes it: data, checked before anything is made.

use super::Backing;
use super::accel::Wanted;
use super::firmware::Firmware;
use super::media::{Disk, First, Image, Media};
use crate::machine::VmDir;
use crate::network::Egress;
use camino::Utf8PathBuf;
use host::failure::{Blame, Exit};
use host::names::{DiskFormat, MiB};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// The CD in the drive; without one the machine boots from its disks.
    #[serde(default)]
    pub iso: Option<Utf8PathBuf>,
    /// The disk image that it boots from in a CD's place. No profile says it: what an image is, is seen in it.
    #[serde(skip)]
    pub image: Option<Backing>,
    /// How the guest sees that image.
    #[serde(default)]
    pub image_bus: Bus,
    /// Boot from the CD the first time, and from the disks after each reset or power-cycle.
    #[serde(default)]
    pub once: bool,
    /// BIOS or UEFI, with or without Secure Boot.
    #[serde(default)]
    pub firmware: Firmware,
    /// The processor's model, as `qemu-system-x86_64 -cpu help` names it; the accelerator's best otherwise.
    #[serde(default)]
    pub cpu: Option<String>,
    /// What runs the guest's instructions.
    #[serde(default)]
    pub accel: Wanted,
    /// Memory.
    #[serde(default = "default_memory")]
    pub mem_mib: MiB,
    /// Virtual CPUs.
    #[serde(default = "default_cpus")]
    pub vcpus: u8,
    /// Disks that are blank at first.
    #[serde(default)]
    pub disks: Vec<BlankDisk>,
    /// What the network card is plugged into.
    #[serde(default)]
    pub net: Net,
    /// What the guest may reach beyond its bridge.
    #[serde(default = "no_egress")]
    pub egress: Egress,
}

/// What a network card is plugged into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Net {
    /// The bridge that the mirrored hosts have, with its DHCP, DNS, filter and way out.
    Bridge,
    /// QEMU's own DHCP server, which takes no privilege; there is nothing else behind it.
    #[default]
    User,
    /// No network card.
    None,
}

/// A disk that is blank at first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlankDisk {
    /// How large it is.
    pub size_mib: MiB,
    /// How the guest sees it.
    #[serde(default)]
    pub bus: Bus,
    /// How it is kept on the host.
    #[serde(default)]
    pub format: DiskFormat,
    /// Its serial number; `disk0`, `disk1`, … otherwise.
    #[serde(default)]
    pub serial: Option<String>,
}

/// How a guest sees a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Bus {
    /// `/dev/vda`, …
    #[default]
    VirtioBlk,
    /// `/dev/sda`, …
    VirtioScsi,
}

impl Bus {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn default_memory() -> MiB {
    MiB(2048)
}
fn default_cpus() -> u8 {
    2
}
fn no_egress() -> Egress {
    Egress::None
}

/// The most disks: as many as there are slots for.
const MOST_DISKS: usize = 8;
/// The longest serial number that virtio-blk shows (VIRTIO_BLK_ID_BYTES).
const LONGEST_SERIAL: usize = 20;

/// Why a machine cannot be as it is described.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// A value that cannot work.
    #[error("machine: {0}")]
    Value(String),
    /// The image is not there.
    #[error("the image {path} cannot be read: {why}")]
    Image {
        /// Where it should be.
        path: Utf8PathBuf,
        /// The operating system's reason.
        why: String,
    },
    /// No such firmware.
    #[error("this host has no {firmware} firmware for the VM; looked for {}", firmware.places())]
    NoFirmware {
        /// The one that is wanted.
        firmware: Firmware,
    },
}

impl Blame for BootError {
    fn exit(&self) -> Exit {
        match self {
            Self::Value(_) | Self::Image { .. } => Exit::Usage,
            Self::NoFirmware { .. } => Exit::Host,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Value(_) => Some("docs/runbook.md lists every key".into()),
            Self::Image { .. } => None,
            Self::NoFirmware { .. } => {
                Some("install it (Debian: apt install ovmf), or boot with \"firmware\": \"bios\"".into())
            }
        }
    }
}

impl Boot {
    /// Refuse what cannot be had. Nothing of the host is looked at.
    pub fn check(&self) -> Result<(), BootError> {
        match self.wrong() {
            Some(why) => Err(BootError::Value(why)),
            None => Ok(()),
        }
    }

    fn wrong(&self) -> Option<String> {
        if self.iso.is_none() && self.image.is_none() && self.disks.is_empty() {
            return Some("there is neither an ISO nor a disk: nothing to boot from".into());
        }
        if self.once && (self.iso.is_none() || self.disks.is_empty()) {
            return Some("once: the ISO the first time and then a disk takes an ISO and a disk".into());
        }
        if self.vcpus == 0 || self.vcpus > 64 {
            return Some(format!("vcpus: {} is not between 1 and 64", self.vcpus));
        }
        if !(16..=1 << 20).contains(&self.mem_mib.0) {
            return Some(format!("mem_mib: {} is not between 16 MiB and 1 TiB", self.mem_mib));
        }
        let is_model = |c: char| c.is_ascii_alphanumeric() || "-_.,+=".contains(c);
        if let Some(cpu) = self.cpu.as_ref().filter(|cpu| cpu.is_empty() || !cpu.chars().all(is_model)) {
            return Some(format!("cpu: {cpu:?} is not the name of a processor model"));
        }
        if self.egress == Egress::Nat && self.net != Net::Bridge {
            return Some("egress: only what is on the bridge can reach the internet (\"net\": \"bridge\")".into());
        }
        self.wrong_disk()
    }

    fn wrong_disk(&self) -> Option<String> {
        if let Some(disk) = self.disks.iter().find(|disk| !(1..=2 << 20).contains(&disk.size_mib.0)) {
            return Some(format!("disks: {} is not between 1 MiB and 2 TiB", disk.size_mib));
        }
        let serials: Vec<_> = self.disks.iter().enumerate().map(|(n, disk)| disk.serial(n)).collect();
        wrong_serials(&serials).map(|wrong| format!("disks: {wrong}"))
    }

    /// What the machine in the folder `vm` boots from; its CD is `iso`.
    pub fn media(&self, vm: &VmDir, iso: Option<Utf8PathBuf>) -> Result<Media, BootError> {
        let uefi = self.firmware.of(vm)?;
        let disk = |(n, disk): (usize, &BlankDisk)| Disk {
            path: vm.path().join(format!("disk{n}.{}", disk.format.name())),
            size: disk.size_mib,
            bus: disk.bus,
            format: disk.format,
            serial: disk.serial(n),
        };
        let image = self.image.clone().map(|backing| Image {
            backing,
            overlay: vm.path().join("image.qcow2"),
            bus: self.image_bus,
        });
        let first = if iso.is_some() { First::Iso } else { First::Disk };
        let disks = self.disks.iter().enumerate().map(disk).collect();
        Ok(Media { iso, first, once: self.once, uefi, image, disks })
    }
}

/// What is wrong with the disks of these serial numbers, if anything is.
pub fn wrong_serials(serials: &[String]) -> Option<String> {
    if serials.len() > MOST_DISKS {
        return Some(format!("{} are more than {MOST_DISKS}", serials.len()));
    }
    let is_serial = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    for (n, serial) in serials.iter().enumerate() {
        if serial.is_empty() || serial.len() > LONGEST_SERIAL || !serial.chars().all(is_serial) {
            return Some(format!("the serial number {serial:?} is not 1 to {LONGEST_SERIAL} of a-z A-Z 0-9 - _"));
        }
        if serials[..n].contains(serial) {
            return Some(format!("two have the serial number {serial:?}"));
        }
    }
    None
}

impl BlankDisk {
    fn serial(&self, n: usize) -> String {
        self.serial.clone().unwrap_or_else(|| format!("disk{n}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(text: &str) -> Boot {
        serde_json::from_str(text).unwrap()
    }

    fn error(text: &str) -> String {
        boot(text).check().unwrap_err().to_string()
    }

    #[test]
    fn an_iso_alone_is_enough_and_gets_the_documented_defaults() {
        let boot = boot(r#"{"iso": "result/iso/nixos.iso"}"#);
        assert_eq!(boot.check(), Ok(()));
        assert_eq!((boot.mem_mib, boot.vcpus, boot.firmware), (MiB(2048), 2, Firmware::Bios));
        assert_eq!((boot.net, boot.egress, boot.accel), (Net::User, Egress::None, Wanted::Auto));
    }

    #[test]
    fn an_unknown_key_or_word_is_refused() {
        for (text, why) in [
            (r#"{"iso": "x", "memory": 1}"#, "unknown field `memory`"),
            (r#"{"firmware": "efi"}"#, "unknown variant `efi`"),
            (r#"{"disks": [{"size": 1}]}"#, "unknown field `size`"),
            (r#"{"disks": [{"size_mib": 1, "bus": "ide"}]}"#, "unknown variant `ide`"),
        ] {
            let said = serde_json::from_str::<Boot>(text).unwrap_err().to_string();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_the_reason() {
        for (text, why) in [
            ("{}", "nothing to boot from"),
            (r#"{"iso": "x", "once": true}"#, "takes an ISO and a disk"),
            (r#"{"iso": "x", "vcpus": 0}"#, "vcpus: 0"),
            (r#"{"iso": "x", "mem_mib": 1}"#, "mem_mib: 1 MiB"),
            (r#"{"iso": "x", "cpu": "max -device x"}"#, "not the name of a processor model"),
            (r#"{"iso": "x", "net": "user", "egress": "nat"}"#, "only what is on the bridge"),
            (r#"{"disks": [{"size_mib": 0}]}"#, "0 MiB is not between"),
            (r#"{"disks": [{"size_mib": 1, "serial": "a,b"}]}"#, "serial number \"a,b\""),
            (r#"{"disks": [{"size_mib": 1, "serial": "disk1"}, {"size_mib": 1}]}"#, "two have the serial number"),
        ] {
            assert!(error(text).contains(why), "{text}: {}", error(text));
        }
    }
}
