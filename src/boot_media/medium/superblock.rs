//! What lies in a partition, by its superblock: which file system, and the names that an fstab and a kernel's `root=` find it
//! by. Files are read of FAT and ext4 only; of the others only this.
//!
//! Places and numbers: util-linux's libblkid, and each format's own documents.

use super::bytes::{Bytes, u16_le, u32_le};
use super::error::Fault;
use host::hex::hex;
use std::fmt;

/// What lies in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// FAT12, FAT16 or FAT32: its files are read.
    Fat,
    /// ext2, ext3 or ext4: its files are read.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// NTFS.
    Ntfs,
    /// A squashfs.
    Squashfs,
    /// Swap space.
    Swap,
    /// A LUKS volume: what is in it is not known.
    Luks,
    /// An LVM physical volume: what is in it is not known.
    Lvm,
    /// A member of an MD array: what is in it is not known.
    Raid,
    /// Nothing that is known here: boot code, reserved space, or an unknown file system.
    Unknown,
}

impl Content {
    /// What fstab calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fat => "vfat",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Ntfs => "ntfs",
            Self::Squashfs => "squashfs",
            Self::Swap => "swap",
            Self::Luks => "LUKS",
            Self::Lvm => "LVM",
            Self::Raid => "MD RAID",
            Self::Unknown => "unknown",
        }
    }

    /// Whether other volumes can be in it, of which nothing is known here.
    pub fn is_opaque(self) -> bool {
        matches!(self, Self::Luks | Self::Lvm | Self::Raid)
    }

    /// Whether it is a file system that is not read here.
    pub fn is_unread(self) -> bool {
        matches!(self, Self::Xfs | Self::Btrfs | Self::Ntfs | Self::Squashfs)
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A superblock's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) content: Content,
    /// `UUID=`.
    pub(super) uuid: Option<String>,
    /// `LABEL=`.
    pub(super) label: Option<String>,
}

/// A superblock that says what it is.
struct Known {
    /// Where that is written, and what.
    at: u64,
    magic: &'static [u8],
    content: Content,
    /// Where its UUID is, if it has one of 16 bytes.
    uuid: Option<u64>,
    /// Where its label is, and how long that can be.
    label: Option<(u64, usize)>,
}

const KNOWN: [Known; 7] = {
    const fn known(
        at: u64,
        magic: &'static [u8],
        content: Content,
        uuid: Option<u64>,
        label: Option<(u64, usize)>,
    ) -> Known {
        Known { at, magic, content, uuid, label }
    }
    [
        known(0, b"LUKS\xba\xbe", Content::Luks, None, None),
        known(0, b"XFSB", Content::Xfs, Some(32), Some((108, 12))),
        known(0x10040, b"_BHRfS_M", Content::Btrfs, Some(0x10020), Some((0x1012b, 256))),
        known(4086, b"SWAPSPACE2", Content::Swap, Some(1036), Some((1052, 16))),
        known(1080, b"\x53\xef", Content::Ext4, Some(1128), Some((1144, 16))),
        known(0, b"hsqs", Content::Squashfs, None, None),
        known(3, b"NTFS    ", Content::Ntfs, None, None),
    ]
};

/// What lies here.
pub(super) fn of(volume: &Bytes) -> Result<Found, Fault> {
    // An MD array's superblock stands at its members' start (1.1), behind it (1.2), or at the end (0.90, 1.0).
    for at in [0, 4096, volume.len().saturating_sub(8 << 10) & !4095, volume.len().saturating_sub(64 << 10) & !65535] {
        if there(volume, at, &[0xfc, 0x4e, 0x2b, 0xa9])? {
            return Ok(Found { content: Content::Raid, uuid: None, label: None });
        }
    }
    for sector in 0..4 {
        if there(volume, sector * 512, b"LABELONE")? {
            return Ok(Found { content: Content::Lvm, uuid: None, label: None });
        }
    }
    for known in KNOWN {
        if !there(volume, known.at, known.magic)? {
            continue;
        }
        let uuid = match (known.content, known.uuid) {
            (Content::Luks, _) => text(volume, 168, 40)?,
            (_, Some(at)) => dashed(&volume.take(at, 16)?),
            (_, None) => None,
        };
        let label = known.label.map(|(at, len)| text(volume, at, len)).transpose()?.flatten();
        return Ok(Found { content: known.content, uuid, label });
    }
    fat(volume)
}

/// A FAT has no magic of its own, only a boot sector that makes sense.
fn fat(volume: &Bytes) -> Result<Found, Fault> {
    let nothing = Found { content: Content::Unknown, uuid: None, label: None };
    let boot = match volume.take(0, 512) {
        Ok(boot) => boot,
        Err(Fault::Short { .. }) => return Ok(nothing),
        Err(other) => return Err(other),
    };
    let sane = matches!(boot[0], 0xeb | 0xe9)
        && [512, 1024, 2048, 4096].contains(&u16_le(&boot, 11))
        && boot[13].is_power_of_two()
        && (1..=2).contains(&boot[16])
        && boot[510..] == [0x55, 0xaa];
    // The extended parameters stand further on in a FAT32, which has no size of its table in 16 bits.
    let extended = if u16_le(&boot, 22) == 0 { 64 } else { 36 };
    if !sane || !matches!(boot[extended + 2], 0x28 | 0x29) {
        return Ok(if sane { Found { content: Content::Fat, ..nothing } } else { nothing });
    }
    let serial = u32_le(&boot, extended + 3);
    let label = String::from_utf8_lossy(&boot[extended + 7..extended + 18]).trim_end().to_owned();
    let label = (!label.is_empty() && label != "NO NAME").then_some(label);
    Ok(Found { content: Content::Fat, uuid: Some(format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)), label })
}

fn there(volume: &Bytes, at: u64, magic: &[u8]) -> Result<bool, Fault> {
    match volume.take(at, magic.len()) {
        Ok(bytes) => Ok(bytes == magic),
        Err(Fault::Short { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

/// A text up to its zero; none if that is nothing.
fn text(volume: &Bytes, at: u64, len: usize) -> Result<Option<String>, Fault> {
    let bytes = volume.take(at, len)?;
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok((!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned()))
}

/// A UUID as it is written; zeros are none.
fn dashed(bytes: &[u8]) -> Option<String> {
    let hex = hex(bytes);
    (hex.len() == 32 && bytes.iter().any(|byte| *byte != 0))
        .then(|| [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}
