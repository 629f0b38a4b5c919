//! The El Torito boot catalogue: what firmware finds on the image.
//!
//! Format: El Torito 1.0, section 2; platform 0xEF is from the UEFI specification 2.10, 13.3.2.1.

use super::bytes::{Bytes, u16_le, u32_le};
use super::error::Fault;
use super::volume::SECTOR;
use std::fmt;

/// Bytes of an entry in the catalogue.
const ENTRY: usize = 32;
/// The longest catalogue that is read, bytes: 512 entries; real ones have two to five.
const LONGEST: u64 = 16 << 10;
/// A load size counts these.
const VIRTUAL_SECTOR: u64 = 512;

/// The firmware that an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// PC BIOS.
    Bios,
    /// PowerPC.
    PowerPc,
    /// Old Macintosh.
    Mac,
    /// UEFI.
    Efi,
    /// Another one, by its number.
    Other(u8),
}

impl Platform {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Bios,
            1 => Self::PowerPc,
            2 => Self::Mac,
            0xef => Self::Efi,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bios => f.write_str("BIOS"),
            Self::PowerPc => f.write_str("PowerPC"),
            Self::Mac => f.write_str("Mac"),
            Self::Efi => f.write_str("EFI"),
            Self::Other(number) => write!(f, "platform 0x{number:02x}"),
        }
    }
}

/// What the boot image pretends to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// Nothing: it is loaded as it is.
    NoEmulation,
    /// A floppy of so many KiB.
    Floppy(u16),
    /// A hard disk.
    HardDisk,
    /// Something else, by its number.
    Other(u8),
}

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEmulation => f.write_str("no emulation"),
            Self::Floppy(kib) => write!(f, "floppy of {kib} KiB"),
            Self::HardDisk => f.write_str("hard disk"),
            Self::Other(number) => write!(f, "media type {number}"),
        }
    }
}

/// An entry of the boot catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootEntry {
    /// Its number, from 1, in the catalogue's order.
    pub number: usize,
    /// The firmware that it is for.
    pub platform: Platform,
    /// Whether firmware may boot it.
    pub bootable: bool,
    /// What it pretends to be.
    pub media: Media,
    /// The real-mode segment that it is loaded to; 0 means 0x07c0.
    pub segment: u16,
    /// How much of it is loaded at first, in sectors of 512 bytes.
    pub sectors: u16,
    /// Where it lies, in sectors of 2048 bytes.
    pub lba: u32,
    /// The file of the image that begins there, if one does.
    pub file: Option<String>,
}

impl BootEntry {
    /// Where the boot image begins, bytes.
    pub(super) fn at(&self) -> u64 {
        u64::from(self.lba) * SECTOR
    }

    /// How much of it firmware loads at first, bytes.
    pub(super) fn loaded(&self) -> u64 {
        u64::from(self.sectors) * VIRTUAL_SECTOR
    }
}

impl fmt::Display for BootEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, platform, media, sectors, lba, .. } = self;
        let bootable = if self.bootable { "" } else { ", not bootable" };
        write!(f, "{number}: {platform}, {media}, {sectors} sectors at {lba}{bootable}")?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, ", {file}"))
    }
}

/// Read the catalogue in this sector.
pub(super) fn read(image: &Bytes, sector: u64) -> Result<Vec<BootEntry>, Fault> {
    let at = sector.saturating_mul(SECTOR);
    let left = image.len().saturating_sub(at);
    let bytes = image.take(at, left.clamp(SECTOR, LONGEST) as usize)?;
    let validation = &bytes[..ENTRY];
    if validation[0] != 1 || validation[30..32] != [0x55, 0xaa] {
        return Err(Fault::bad(format!("no validation entry in sector {sector}")));
    }
    let sum = validation.chunks_exact(2).fold(0, |sum: u16, pair| sum.wrapping_add(u16_le(pair, 0)));
    if sum != 0 {
        return Err(Fault::bad(format!(
            "the checksum of its validation entry in sector {sector} is off by 0x{sum:04x}"
        )));
    }
    let mut entries = vec![entry(&bytes[ENTRY..2 * ENTRY], 1, Platform::of(validation[1]))];
    let mut rest = bytes[2 * ENTRY..].chunks_exact(ENTRY);
    // 0x90: a section with more behind it, 0x91: the last; anything else is the end.
    while let Some(header) = rest.next().filter(|header| matches!(header[0], 0x90 | 0x91)) {
        for _ in 0..u16_le(header, 2) {
            // 0x44 continues the selection criteria of the entry before.
            let Some(bytes) = rest.by_ref().find(|bytes| bytes[0] != 0x44) else {
                return Err(Fault::bad("a section has fewer entries than it says"));
            };
            entries.push(entry(bytes, entries.len() + 1, Platform::of(header[1])));
        }
        if header[0] == 0x91 {
            break;
        }
    }
    Ok(entries)
}

fn entry(bytes: &[u8], number: usize, platform: Platform) -> BootEntry {
    let media = match bytes[1] & 0x0f {
        0 => Media::NoEmulation,
        1 => Media::Floppy(1200),
        2 => Media::Floppy(1440),
        3 => Media::Floppy(2880),
        4 => Media::HardDisk,
        other => Media::Other(other),
    };
    BootEntry {
        number,
        platform,
        bootable: bytes[0] == 0x88,
        media,
        segment: u16_le(bytes, 2),
        sectors: u16_le(bytes, 6),
        lba: u32_le(bytes, 8),
        file: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A catalogue in sector 0: a BIOS entry, then a section with an EFI entry.
    fn catalogue() -> Vec<u8> {
        let mut bytes = vec![0; SECTOR as usize];
        bytes[0] = 1;
        bytes[28..32].copy_from_slice(&[0xaa, 0x55, 0x55, 0xaa]);
        bytes[32..44].copy_from_slice(&[0x88, 0, 0, 0, 0, 0, 4, 0, 0x2a, 0, 0, 0]);
        bytes[64..68].copy_from_slice(&[0x91, 0xef, 1, 0]);
        bytes[96..108].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0x10, 0, 1, 0, 0]);
        bytes
    }

    #[test]
    fn all_entries_are_told_in_their_order() {
        let entries = read(&Bytes::of_memory(catalogue()), 0).unwrap();
        let told: Vec<_> = entries.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["1: BIOS, no emulation, 4 sectors at 42", "2: EFI, no emulation, 4096 sectors at 256, not bootable"]
        );
    }

    #[test]
    fn a_catalogue_that_is_none_is_refused_by_its_checksum() {
        let mut bytes = catalogue();
        bytes[5] ^= 1;
        let error = read(&Bytes::of_memory(bytes), 0).unwrap_err();
        assert!(error.to_string().contains("off by 0x0100"), "{error}");
        assert!(matches!(read(&Bytes::of_memory(vec![0; 100]), 0), Err(Fault::Short { .. })));
    }

    #[test]
    fn a_section_that_promises_too_much_is_an_error() {
        let mut bytes = catalogue();
        bytes[66..68].copy_from_slice(&[0xff, 0xff]);
        assert!(read(&Bytes::of_memory(bytes), 0).is_err());
    }
}
