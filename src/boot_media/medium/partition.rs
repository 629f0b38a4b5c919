//! The partitions of a hybrid image: what firmware sees when the image lies on a disk or a USB stick.
//!
//! Format: UEFI specification 2.10, chapter 5. Sectors have 512 bytes here, whatever the volume's have.

use super::bytes::{Bytes, u16_le, u32_le, u64_le};
use super::error::Fault;

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// An EFI system partition in an MBR.
const MBR_EFI: u8 = 0xef;
/// An EFI system partition in a GPT, C12A7328-F81F-11D2-BA4B-00A0C93EC93B, as it lies on disk.
const GPT_EFI: [u8; 16] =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];

/// The table that a partition is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Master boot record.
    Mbr,
    /// GUID partition table.
    Gpt,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The table that it is in.
    pub table: Table,
    /// Its number in the table, from 1.
    pub number: usize,
    /// Its type: `0xef`, or a GUID.
    pub kind: String,
    /// Whether it is an EFI system partition.
    pub efi: bool,
    /// Whether it is marked as active (MBR only).
    pub active: bool,
    /// Its first byte.
    pub start: u64,
    /// Its size, bytes.
    pub bytes: u64,
}

/// Read the tables; none is an empty list.
pub(super) fn read(image: &Bytes) -> Result<Vec<Partition>, Fault> {
    let mut found = mbr(image)?;
    // Without a protective or hybrid MBR there is no GPT.
    if !found.is_empty() {
        found.extend(gpt(image)?);
    }
    Ok(found)
}

fn mbr(image: &Bytes) -> Result<Vec<Partition>, Fault> {
    let sector = image.take(0, SECTOR as usize)?;
    if sector[510..] != [0x55, 0xaa] {
        return Ok(Vec::new());
    }
    let entries = sector[446..510].chunks_exact(16).zip(1..);
    // Boot code without a table has anything here; an entry is marked active or not, and nothing else.
    let real = entries.filter(|(entry, _)| matches!(entry[0], 0 | 0x80) && entry[4] != 0 && u32_le(entry, 12) != 0);
    let partition = |(entry, number): (&[u8], usize)| Partition {
        table: Table::Mbr,
        number,
        kind: format!("0x{:02x}", entry[4]),
        efi: entry[4] == MBR_EFI,
        active: entry[0] == 0x80,
        start: u64::from(u32_le(entry, 8)) * SECTOR,
        bytes: u64::from(u32_le(entry, 12)) * SECTOR,
    };
    Ok(real.map(partition).collect())
}

fn gpt(image: &Bytes) -> Result<Vec<Partition>, Fault> {
    let header = image.take(SECTOR, SECTOR as usize)?;
    if !header.starts_with(b"EFI PART") {
        return Ok(Vec::new());
    }
    let (table, count, size) = (u64_le(&header, 72), u64::from(u32_le(&header, 80)), u64::from(u32_le(&header, 84)));
    if !(1..=1024).contains(&count) || !(128..=4096).contains(&size) {
        return Err(Fault::bad(format!("a GPT of {count} entries of {size} bytes")));
    }
    let bytes = image.take(table.saturating_mul(SECTOR), (count * size) as usize)?;
    let entries = bytes.chunks_exact(size as usize).zip(1..).filter(|(entry, _)| entry[..16] != [0; 16]);
    let partition = |(entry, number): (&[u8], usize)| {
        let (first, last) = (u64_le(entry, 32), u64_le(entry, 40));
        Partition {
            table: Table::Gpt,
            number,
            kind: guid(entry),
            efi: entry[..16] == GPT_EFI,
            active: false,
            start: first.saturating_mul(SECTOR),
            bytes: (last.saturating_add(1).saturating_sub(first)).saturating_mul(SECTOR),
        }
    };
    Ok(entries.map(partition).collect())
}

/// A GUID as it is written; the first three groups lie little-endian on disk.
fn guid(bytes: &[u8]) -> String {
    let tail: String = bytes[10..16].iter().map(|byte| format!("{byte:02X}")).collect();
    let clock = u16::from_be_bytes([bytes[8], bytes[9]]);
    format!("{:08X}-{:04X}-{:04X}-{clock:04X}-{tail}", u32_le(bytes, 0), u16_le(bytes, 4), u16_le(bytes, 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Vec<u8> {
        let mut disk = vec![0; 64 << 10];
        disk[446..462].copy_from_slice(&[0x80, 0, 0, 0, 0xef, 0, 0, 0, 8, 0, 0, 0, 16, 0, 0, 0]);
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        disk
    }

    #[test]
    fn a_partition_of_an_mbr_is_told() {
        let [found] = read(&Bytes::of_memory(disk())).unwrap().try_into().unwrap();
        assert!(found.efi && found.active, "{found:?}");
        assert_eq!((found.kind.as_str(), found.start, found.bytes), ("0xef", 4096, 8192));
    }

    #[test]
    fn a_partition_of_a_gpt_is_told_with_its_guid() {
        let mut disk = disk();
        disk[512..520].copy_from_slice(b"EFI PART");
        disk[584..600].copy_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 128, 0, 0, 0]);
        disk[1024..1040].copy_from_slice(&GPT_EFI);
        disk[1056..1072].copy_from_slice(&[8, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 0, 0, 0, 0]);
        let found = read(&Bytes::of_memory(disk.clone())).unwrap();
        assert_eq!(found[1].kind, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
        assert_eq!((found[1].efi, found[1].start, found[1].bytes), (true, 4096, 8192));
        disk[592..596].copy_from_slice(&[0xff; 4]);
        assert!(read(&Bytes::of_memory(disk)).is_err(), "four thousand million entries");
    }
}
