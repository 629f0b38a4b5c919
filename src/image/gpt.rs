//! The partition table of a built image: GPT with a BIOS-boot partition and one root partition.
//!
//! Layout facts: UEFI specification 2.10, chapter 5. All numbers on disk are little-endian; a sector has
//! 512 bytes; 128 entries of 128 bytes fill 32 sectors.

/// Bytes of a sector.
pub(super) const SECTOR: u64 = 512;
/// First sector of the BIOS-boot partition, where GRUB's core image lies.
pub(super) const BOOT_START: u64 = 2048;
/// First sector of the root partition.
pub(super) const ROOT_START: u64 = 4096;
/// Sectors that are kept free at the end of the disk, for the second table and whole MiB.
const TAIL: u64 = 2048;
const ENTRIES: usize = 128;
const ENTRY_BYTES: usize = 128;
const TABLE_SECTORS: u64 = (ENTRIES * ENTRY_BYTES) as u64 / SECTOR;

// GUIDs as they lie on disk: the first three groups little-endian.
/// 21686148-6449-6E6F-744E-656564454649, GRUB's "Hah!IdontNeedEFI".
const BIOS_BOOT: [u8; 16] = *b"Hah!IdontNeedEFI";
/// 4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, root on x86-64 (Discoverable Partitions Specification).
const ROOT_X86_64: [u8; 16] =
    [0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09];

/// The sectors around the partitions.
#[derive(Clone, Debug)]
pub(super) struct Gpt {
    /// From sector 0: protective MBR (its boot code still zero), header, table.
    pub head: Vec<u8>,
    /// The last sectors of the disk: table, header.
    pub tail: Vec<u8>,
}

/// Sectors of the root partition on a disk of that many MiB.
pub(super) fn root_sectors(disk_mib: u64) -> u64 {
    disk_mib * 2048 - TAIL - ROOT_START
}

/// The table of a disk of that many MiB. The GUIDs are constant: every overlay is a disk of its own VM.
pub(super) fn table(disk_mib: u64) -> Gpt {
    let sectors = disk_mib * 2048;
    let mut entries = vec![0; ENTRIES * ENTRY_BYTES];
    let partitions = [
        (BIOS_BOOT, BOOT_START, ROOT_START - BOOT_START, "bios", 1),
        (ROOT_X86_64, ROOT_START, root_sectors(disk_mib), "root", 2),
    ];
    for ((kind, start, length, name, n), entry) in partitions.into_iter().zip(entries.chunks_mut(ENTRY_BYTES)) {
        entry[..16].copy_from_slice(&kind);
        entry[16..32].copy_from_slice(&guid(n));
        entry[32..40].copy_from_slice(&start.to_le_bytes());
        entry[40..48].copy_from_slice(&(start + length - 1).to_le_bytes());
        for (place, unit) in entry[56..].chunks_mut(2).zip(name.encode_utf16()) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
    }
    let last = sectors - 1;
    let crc = crc32(&entries);
    let mut head = protective_mbr(sectors);
    head.extend(header(1, last, 2, sectors, crc));
    head.extend(&entries);
    let mut tail = entries;
    tail.extend(header(last, 1, last - TABLE_SECTORS, sectors, crc));
    Gpt { head, tail }
}

/// A constant, valid (version 4, variant 1) GUID.
fn guid(n: u8) -> [u8; 16] {
    let mut guid = *b"boma-qemu image\0";
    guid[7] = 0x40 | guid[7] & 0x0f;
    guid[8] = 0x80 | guid[8] & 0x3f;
    guid[15] = n;
    guid
}

/// One partition of type 0xEE over the whole disk, so that old tools see it as full.
fn protective_mbr(sectors: u64) -> Vec<u8> {
    let mut mbr = vec![0; SECTOR as usize];
    mbr[447..450].copy_from_slice(&[0x00, 0x02, 0x00]);
    mbr[450] = 0xee;
    mbr[451..454].copy_from_slice(&[0xff, 0xff, 0xff]);
    mbr[454..458].copy_from_slice(&1u32.to_le_bytes());
    let length = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    mbr[458..462].copy_from_slice(&length.to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

fn header(own: u64, other: u64, table: u64, sectors: u64, table_crc: u32) -> Vec<u8> {
    let mut header = vec![0; SECTOR as usize];
    header[..8].copy_from_slice(b"EFI PART");
    header[8..12].copy_from_slice(&[0, 0, 1, 0]);
    header[12..16].copy_from_slice(&92u32.to_le_bytes());
    header[24..32].copy_from_slice(&own.to_le_bytes());
    header[32..40].copy_from_slice(&other.to_le_bytes());
    header[40..48].copy_from_slice(&(2 + TABLE_SECTORS).to_le_bytes());
    header[48..56].copy_from_slice(&(sectors - TABLE_SECTORS - 2).to_le_bytes());
    header[56..72].copy_from_slice(&guid(0));
    header[72..80].copy_from_slice(&table.to_le_bytes());
    header[80..84].copy_from_slice(&(ENTRIES as u32).to_le_bytes());
    header[84..88].copy_from_slice(&(ENTRY_BYTES as u32).to_le_bytes());
    header[88..92].copy_from_slice(&table_crc.to_le_bytes());
    let crc = crc32(&header[..92]);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    header
}

/// CRC-32 as in Ethernet and zip (polynomial 0xEDB88320, reflected).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, SeekFrom, Write};

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_two_tables_mirror_each_other() {
        let gpt = table(3072);
        assert_eq!(gpt.head.len(), 34 * 512);
        assert_eq!(gpt.tail.len(), 33 * 512);
        assert_eq!(gpt.head[2 * 512..], gpt.tail[..32 * 512]);
    }

    #[test]
    fn sfdisk_reads_what_was_written() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(64 << 20).unwrap();
        let gpt = table(64);
        file.write_all(&gpt.head).unwrap();
        file.seek(SeekFrom::End(-(gpt.tail.len() as i64))).unwrap();
        file.write_all(&gpt.tail).unwrap();
        let run = |args: &[&str]| {
            let out = std::process::Command::new("/usr/sbin/sfdisk").args(args).arg(file.path()).output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap()
        };
        run(&["--verify"]);
        let json: serde_json::Value = serde_json::from_str(&run(&["--json"])).unwrap();
        let parts = &json["partitiontable"]["partitions"];
        assert_eq!(parts[0]["type"], "21686148-6449-6E6F-744E-656564454649");
        assert_eq!(parts[1]["type"], "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709");
        assert_eq!(parts[1]["start"], 4096);
        assert_eq!(parts[1]["size"], 61 * 2048);
    }
}
