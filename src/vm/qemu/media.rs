//! What a machine boots from when it is not a golden image: a CD, disks that were blank once, a firmware of its choice.

use super::Backing;
use super::boot::Bus;
use super::firmware::Uefi;
use camino::{Utf8Path, Utf8PathBuf};
use host::cmd::{Cmd, CmdError};
use host::names::{DiskFormat, MiB};
use serde::{Deserialize, Serialize};

/// The CD drive, as a device.
pub const CD_DEVICE: &str = "cd0";
/// Behind every disk in the order of booting.
pub const LAST: u32 = 100;

/// What a machine boots from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Media {
    /// The CD in the drive, if there is a drive. Nothing is ever written to it.
    pub iso: Option<Utf8PathBuf>,
    /// What the firmware tries first.
    pub first: First,
    /// Whether the CD comes first for one boot only: the monitor changes [`Media::first`] when that has begun.
    pub once: bool,
    /// UEFI; the BIOS if there is none.
    pub uefi: Option<Uefi>,
    /// The disk image that it boots from, if that is no CD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// The disks, in the order in which the firmware tries them.
    pub disks: Vec<Disk>,
}

/// A disk image, which stays as it is, and what is written over it. The firmware tries it before every other disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The image.
    pub backing: Backing,
    /// The overlay (qcow2), this machine's own.
    pub overlay: Utf8PathBuf,
    /// How the guest sees it: as the first disk on that bus.
    pub bus: Bus,
}

/// What the firmware tries first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum First {
    /// The CD.
    Iso,
    /// The disks.
    Disk,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The file.
    pub path: Utf8PathBuf,
    /// How large it is made.
    pub size: MiB,
    /// How the guest sees it.
    pub bus: Bus,
    /// What is in the file.
    pub format: DiskFormat,
    /// Its serial number, by which udev names it (`/dev/disk/by-id/virtio-SERIAL`).
    pub serial: String,
}

impl Media {
    /// The files that QEMU gets open, and whether it may write to them; in the order of their descriptors.
    pub fn files(&self) -> Vec<(&Utf8Path, bool)> {
        let iso = self.iso.iter().map(|path| (path.as_path(), false));
        let uefi = self.uefi.iter().flat_map(Uefi::files);
        let image = self.image.iter().flat_map(|of| [(of.backing.path.as_path(), false), (of.overlay.as_path(), true)]);
        let disks = self.disks.iter().map(|disk| (disk.path.as_path(), true));
        iso.chain(uefi).chain(image).chain(disks).collect()
    }

    /// How the guest sees its disks.
    pub(super) fn buses(&self) -> impl Iterator<Item = Bus> {
        self.disks.iter().map(|disk| disk.bus).chain(self.image.iter().map(|image| image.bus))
    }

    /// Make the disks: blank, so that each byte of them reads as zero, or over the image that is booted.
    pub fn make_disks(&self) -> Result<(), CmdError> {
        if let Some(Image { backing, overlay, .. }) = &self.image {
            super::disk::over(&backing.path, &backing.format, overlay, None)?;
        }
        for Disk { path, size, format, .. } in &self.disks {
            let size = format!("{}M", size.0);
            Cmd::new("qemu-img").args(["create", "-q", "-f", format.name(), path.as_str(), &size]).run()?;
        }
        Ok(())
    }
}
