//! The partitions of a disk, or of a hybrid image: what firmware sees when that lies on a disk or a USB stick.
//!
//! Format: UEFI specification 2.10, chapter 5; logical partitions as Linux's block/partitions/msdos.c follows them. Sectors
//! have 512 bytes here, whatever the volume's have.

use super::bytes::{Bytes, u16_le, u32_le, u64_le};
use super::error::Fault;

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// An EFI system partition in an MBR.
const MBR_EFI: u8 = 0xef;
/// An EFI system partition in a GPT, C12A7328-F81F-11D2-BA4B-00A0C93EC93B, as it lies on disk.
const GPT_EFI: [u8; 16] =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];

/// An extended partition, which holds logical ones: for CHS, for LBA, and Linux's own.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// Logical partitions that are followed; Linux names 60 at most.
const MOST_LOGICAL: usize = 60;

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
    /// Its identifier as udev and the kernel write it (`PARTUUID=`), if the table gives it one.
    pub uuid: Option<String>,
    /// Its name (`PARTLABEL=`; GPT only), if it has one.
    pub label: Option<String>,
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
    let signature = u32_le(&sector, 440);
    let uuid = |number: usize| (signature != 0).then(|| format!("{signature:08x}-{number:02x}"));
    let mut found = Vec::new();
    for (entry, number) in entries(&sector) {
        let partition = Partition {
            table: Table::Mbr,
            number,
            kind: format!("0x{:02x}", entry[4]),
            efi: entry[4] == MBR_EFI,
            active: entry[0] == 0x80,
            start: u64::from(u32_le(entry, 8)) * SECTOR,
            bytes: u64::from(u32_le(entry, 12)) * SECTOR,
            uuid: uuid(number),
            label: None,
        };
        found.push(partition);
    }
    if let Some(extended) = found.iter().find(|one| EXTENDED.iter().any(|kind| one.kind == format!("0x{kind:02x}"))) {
        let logical = logical(image, extended.start, uuid)?;
        found.extend(logical);
    }
    Ok(found)
}

/// The entries of a master boot record, or of the record before a logical partition, with their numbers.
fn entries(sector: &[u8]) -> Vec<(&[u8], usize)> {
    if sector[510..] != [0x55, 0xaa] {
        return Vec::new();
    }
    let entries = sector[446..510].chunks_exact(16).zip(1..);
    // Boot code without a table has anything here; an entry is marked active or not, and nothing else.
    entries.filter(|(entry, _)| matches!(entry[0], 0 | 0x80) && entry[4] != 0 && u32_le(entry, 12) != 0).collect()
}

/// The logical partitions: each has a record before it, with itself from there and the next record from the first one.
fn logical(image: &Bytes, extended: u64, uuid: impl Fn(usize) -> Option<String>) -> Result<Vec<Partition>, Fault> {
    let (mut found, mut at) = (Vec::new(), extended);
    for number in 5..5 + MOST_LOGICAL {
        let sector = match image.take(at, SECTOR as usize) {
            Ok(sector) => sector,
            Err(Fault::Short { .. }) => {
                return Err(Fault::bad(format!("logical partition {number} lies beyond the end")));
            }
            Err(other) => return Err(other),
        };
        let (next, own): (Vec<_>, Vec<_>) =
            entries(&sector).into_iter().map(|(entry, _)| entry).partition(|entry| EXTENDED.contains(&entry[4]));
        if let Some(entry) = own.first() {
            found.push(Partition {
                table: Table::Mbr,
                number,
                kind: format!("0x{:02x}", entry[4]),
                efi: entry[4] == MBR_EFI,
                active: entry[0] == 0x80,
                start: at.saturating_add(u64::from(u32_le(entry, 8)) * SECTOR),
                bytes: u64::from(u32_le(entry, 12)) * SECTOR,
                uuid: uuid(number),
                label: None,
            });
        }
        match next.first() {
            Some(entry) => at = extended.saturating_add(u64::from(u32_le(entry, 8)) * SECTOR),
            None => return Ok(found),
        }
    }
    Err(Fault::bad(format!("more than {MOST_LOGICAL} logical partitions, or a circle of them")))
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
    let length = (u32_le(&header, 12) as usize).clamp(92, SECTOR as usize);
    let mut own = header[..length].to_vec();
    own[16..20].fill(0);
    let bytes = image.take(table.saturating_mul(SECTOR), (count * size) as usize)?;
    // Firmware does not take a table whose checksums are wrong.
    if sum(&own) != u32_le(&header, 16) || sum(&bytes) != u32_le(&header, 88) {
        return Err(Fault::bad("the GPT's checksum is not that of its header and its entries"));
    }
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
            uuid: Some(guid(&entry[16..]).to_ascii_lowercase()),
            label: label(&entry[56..128]),
        }
    };
    Ok(entries.map(partition).collect())
}

/// CRC-32, as the GPT has it.
fn sum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The name of a partition, in UTF-16.
fn label(bytes: &[u8]) -> Option<String> {
    let units = bytes.chunks_exact(2).map(|unit| u16_le(unit, 0)).take_while(|unit| *unit != 0);
    let name: String = char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect();
    (!name.is_empty()).then_some(name)
}

/// How long the disk must be for its table, bytes: where the GPT's copy ends, or else the last partition.
pub(super) fn disk_size(image: &Bytes, partitions: &[Partition]) -> u64 {
    let header = image.take(SECTOR, SECTOR as usize).unwrap_or_default();
    let copy = header.starts_with(b"EFI PART").then(|| u64_le(&header, 32).saturating_add(1).saturating_mul(SECTOR));
    // A protective entry covers the whole disk, or as much of it as an MBR can say.
    let real = partitions.iter().filter(|one| one.kind != "0xee");
    let last = real.map(|one| one.start.saturating_add(one.bytes)).max().unwrap_or(0);
    copy.unwrap_or(0).max(last)
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
        let entries = sum(&disk[1024..1024 + 4 * 128]).to_le_bytes();
        disk[600..604].copy_from_slice(&entries);
        disk[524] = 92;
        let header = sum(&disk[512..604]).to_le_bytes();
        disk[528..532].copy_from_slice(&header);
        let found = read(&Bytes::of_memory(disk.clone())).unwrap();
        assert_eq!(found[1].kind, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
        assert_eq!((found[1].efi, found[1].start, found[1].bytes), (true, 4096, 8192));
        disk[592..596].copy_from_slice(&[0xff; 4]);
        assert!(read(&Bytes::of_memory(disk)).is_err(), "four thousand million entries");
    }
}
