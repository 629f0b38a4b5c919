//! A FAT file system, read only: the EFI boot image, or the EFI partition of a hybrid image.
//!
//! Format: Microsoft's FAT specification of 2004 (FAT12, FAT16, FAT32, long names). Own code, because the crates that
//! read FAT want to write, too: they ask for a device that can be written to, and trust what it says.

use super::bytes::{Bytes, Piece, u16_le, u32_le};
use super::error::Fault;
use super::tree::LONGEST_PATH;
use std::collections::HashSet;

/// Bytes of a directory entry.
const ENTRY: usize = 32;
/// The largest table that is read, bytes: that of a FAT32 of 4 million clusters.
const LARGEST_TABLE: u64 = 16 << 20;
/// The largest folder, by the specification: 65,536 entries.
const LARGEST_FOLDER: u64 = 65_536 * ENTRY as u64;
/// Files and folders that are listed at most.
const MOST_FILES: usize = 20_000;

/// A file in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FatFile {
    /// Its path, with a leading slash.
    pub(super) path: String,
    /// Whether it is a folder.
    pub(super) folder: bool,
    /// Its size, bytes.
    pub(super) bytes: u64,
    cluster: u32,
}

/// How wide the table's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Fat12,
    Fat16,
    Fat32,
}

/// The file system.
#[derive(Debug)]
pub(super) struct Fat {
    image: Bytes,
    width: Width,
    table: Vec<u8>,
    /// Where cluster 2, the first, begins.
    data: u64,
    cluster: u64,
    clusters: u32,
    /// Those that the image is long enough for: no chain is longer.
    held: u64,
    /// All files and folders, in the order in which they were found.
    pub(super) files: Vec<FatFile>,
    /// Its label.
    pub(super) label: Option<String>,
    /// Its serial number as `blkid` writes it.
    pub(super) uuid: String,
}

/// The fixed root folder of FAT12 and FAT16, or FAT32's first cluster of it.
enum Root {
    Fixed(Piece),
    Cluster(u32),
}

impl Fat {
    /// Read the table and all folders.
    pub(super) fn read(image: Bytes) -> Result<Self, Fault> {
        let (mut fat, root) = Self::open(image)?;
        let root = match root {
            Root::Fixed(piece) => fat.image.part(piece.at, piece.len)?,
            Root::Cluster(cluster) => fat.chain(cluster, LARGEST_FOLDER)?,
        };
        let mut seen = HashSet::new();
        let mut waiting = vec![(String::new(), root)];
        while let Some((path, folder)) = waiting.pop() {
            let bytes = folder.take(0, folder.len().min(LARGEST_FOLDER) as usize)?;
            if path.is_empty() {
                fat.label = own_label(&bytes).or(fat.label.take());
            }
            for file in entries(&path, &bytes) {
                // `.` and `..` are names like others here; a folder is read once however often it is named.
                if file.folder && seen.insert(file.cluster) && file.path.len() <= LONGEST_PATH {
                    waiting.push((file.path.clone(), fat.chain(file.cluster, LARGEST_FOLDER)?));
                }
                fat.files.push(file);
                if fat.files.len() > MOST_FILES {
                    return Err(Fault::bad(format!("more than {MOST_FILES} files in a FAT")));
                }
            }
        }
        Ok(fat)
    }

    /// The BIOS parameter block, checked.
    fn open(image: Bytes) -> Result<(Self, Root), Fault> {
        let boot = image.take(0, 512)?;
        let (sector, per_cluster) = (u64::from(u16_le(&boot, 11)), u64::from(boot[13]));
        let (reserved, tables, root_entries) = (u16_le(&boot, 14), boot[16], u16_le(&boot, 17));
        let either = |short, long| match u16_le(&boot, short) {
            0 => u64::from(u32_le(&boot, long)),
            some => u64::from(some),
        };
        let (total, table_sectors) = (either(19, 32), either(22, 36));
        let sane = [512, 1024, 2048, 4096].contains(&sector) && per_cluster.is_power_of_two();
        if !sane || reserved == 0 || !(1..=4).contains(&tables) || table_sectors == 0 || !matches!(boot[0], 0xeb | 0xe9)
        {
            return Err(Fault::bad("it does not begin with the parameters of a FAT"));
        }
        let table_at = u64::from(reserved) * sector;
        let root_at = table_at + u64::from(tables) * table_sectors * sector;
        let root_len = u64::from(root_entries) * ENTRY as u64;
        let data = root_at + root_len.next_multiple_of(sector);
        let cluster = sector * per_cluster;
        let clusters = (total * sector).saturating_sub(data) / cluster;
        // By the specification the number of clusters says how wide the table is. Linux and EDK II know a FAT32 by its
        // parameters, and formatters make small ones.
        let width = match clusters {
            _ if u16_le(&boot, 22) == 0 && root_entries == 0 => Width::Fat32,
            0..4085 => Width::Fat12,
            4085..65_525 => Width::Fat16,
            _ => Width::Fat32,
        };
        let extended = if width == Width::Fat32 { 66 } else { 38 };
        let table = image.take(table_at, (table_sectors * sector).min(LARGEST_TABLE) as usize)?;
        let root = match root_entries {
            0 => Root::Cluster(u32_le(&boot, 44)),
            _ => Root::Fixed(Piece { at: root_at, len: root_len }),
        };
        let held = clusters.min(image.len().saturating_sub(data) / cluster);
        let clusters = u32::try_from(clusters).map_err(|_| Fault::bad("a FAT of more than 2^32 clusters"))?;
        let label = label(&boot[extended + 5..extended + 16]).filter(|_| boot[extended] == 0x29);
        let serial = u32_le(&boot, extended + 1);
        let uuid = format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff);
        Ok((Self { image, width, table, data, cluster, clusters, held, files: Vec::new(), label, uuid }, root))
    }

    /// A file by its path, whatever its case.
    pub(super) fn find(&self, path: &str) -> Option<&FatFile> {
        self.files.iter().find(|file| file.path.eq_ignore_ascii_case(path))
    }

    /// A file's bytes.
    pub(super) fn bytes(&self, file: &FatFile) -> Result<Bytes, Fault> {
        if file.bytes == 0 {
            return self.image.part(0, 0);
        }
        self.chain(file.cluster, file.bytes)?.part(0, file.bytes)
    }

    /// The clusters of a chain, one after the other, until it ends or has so many bytes.
    fn chain(&self, first: u32, most: u64) -> Result<Bytes, Fault> {
        let mut pieces: Vec<Piece> = Vec::new();
        let (mut cluster, mut bytes) = (first, 0);
        for _ in 0..=self.held {
            if cluster < 2 || cluster - 2 >= self.clusters {
                return Err(Fault::bad(format!(
                    "the cluster chain from {first} leads to {cluster}, which there is not"
                )));
            }
            let at = self.data + u64::from(cluster - 2) * self.cluster;
            match pieces.last_mut() {
                Some(last) if last.end() == at => last.len += self.cluster,
                _ => pieces.push(Piece { at, len: self.cluster }),
            }
            bytes += self.cluster;
            match self.next(cluster) {
                Some(next) if bytes < most => cluster = next,
                _ => return self.image.parts(&pieces),
            }
        }
        Err(Fault::bad(format!("the cluster chain from {first} does not end")))
    }

    /// The cluster after this one; `None` at the end of the chain. Beyond the table there are zeros, which lead nowhere.
    fn next(&self, cluster: u32) -> Option<u32> {
        let n = cluster as usize;
        let (value, end) = match self.width {
            Width::Fat12 => {
                let pair = u16_le(&self.table, n + n / 2);
                (u32::from(if n.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 }), 0xff8)
            }
            Width::Fat16 => (u32::from(u16_le(&self.table, 2 * n)), 0xfff8),
            Width::Fat32 => (u32_le(&self.table, 4 * n) & 0x0fff_ffff, 0x0fff_fff8),
        };
        (value < end).then_some(value)
    }
}

/// A label, filled up with spaces.
fn label(field: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(field).trim_end().to_owned();
    (!text.is_empty() && text != "NO NAME").then_some(text)
}

/// The label in the root folder, which wins over the one in the boot sector.
fn own_label(root: &[u8]) -> Option<String> {
    let mut entries = root.chunks_exact(ENTRY).take_while(|entry| entry[0] != 0);
    let found = entries.find(|entry| entry[0] != 0xe5 && entry[11] & 0x3f != 0x0f && entry[11] & 0x18 == 0x08)?;
    label(&found[..11])
}

/// The entries of a folder, without `.`, `..`, labels and what was deleted.
fn entries(folder: &str, bytes: &[u8]) -> Vec<FatFile> {
    let (mut found, mut long) = (Vec::new(), LongName::default());
    for entry in bytes.chunks_exact(ENTRY) {
        match (entry[0], entry[11]) {
            (0, _) => break,
            (0xe5, _) => long = LongName::default(),
            (_, attributes) if attributes & 0x3f == 0x0f => long.add(entry),
            (_, attributes) => {
                let long = std::mem::take(&mut long).name(entry);
                if attributes & 0x08 != 0 || entry[0] == b'.' {
                    continue;
                }
                let name = super::one_name(&long.unwrap_or_else(|| short_name(entry)));
                found.push(FatFile {
                    path: format!("{folder}/{name}"),
                    folder: attributes & 0x10 != 0,
                    bytes: u64::from(u32_le(entry, 28)),
                    cluster: u32::from(u16_le(entry, 20)) << 16 | u32::from(u16_le(entry, 26)),
                });
            }
        }
    }
    found
}

/// An 8.3 name. Two bits say that a part is written in lower case, as Windows and mtools use them.
fn short_name(entry: &[u8]) -> String {
    let part = |bytes: &[u8], lower: bool| {
        // Beyond ASCII the meaning depends on a code page that is written nowhere.
        let text: String = bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '\u{fffd}' }).collect();
        let text = text.trim_end().to_owned();
        if lower { text.to_ascii_lowercase() } else { text }
    };
    let (base, extension) = (part(&entry[..8], entry[12] & 0x08 != 0), part(&entry[8..11], entry[12] & 0x10 != 0));
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

/// A long name, which comes in pieces from its end, before the entry that it belongs to.
#[derive(Default)]
struct LongName {
    pieces: Vec<[u16; 13]>,
    /// The number of the piece that must come next.
    wanted: u8,
    checksum: u8,
}

impl LongName {
    fn add(&mut self, entry: &[u8]) {
        let number = entry[0] & 0x3f;
        if entry[0] & 0x40 != 0 {
            *self = Self { pieces: Vec::new(), wanted: number, checksum: entry[13] };
        }
        if number == 0 || number != self.wanted || entry[13] != self.checksum {
            *self = Self::default();
            return;
        }
        let mut units = [0; 13];
        for (unit, at) in units.iter_mut().zip((1..11).step_by(2).chain((14..26).step_by(2)).chain([28, 30])) {
            *unit = u16_le(entry, at);
        }
        self.pieces.push(units);
        self.wanted -= 1;
    }

    /// The name, if it is whole and belongs to this entry.
    fn name(self, entry: &[u8]) -> Option<String> {
        let sum = entry[..11].iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        if self.pieces.is_empty() || self.wanted != 0 || sum != self.checksum {
            return None;
        }
        let units = self.pieces.iter().rev().flatten().copied().take_while(|unit| *unit != 0);
        let name: String = char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect();
        (!name.is_empty()).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A FAT12 of 8 sectors: boot, table, root folder, then clusters 2 to 6.
    fn disk() -> Vec<u8> {
        let mut disk = vec![0; 8 * 512];
        disk[..3].copy_from_slice(&[0xeb, 0x3c, 0x90]);
        disk[11..25].copy_from_slice(&[0, 2, 1, 1, 0, 1, 16, 0, 8, 0, 0xf8, 1, 0, 0]);
        // Cluster 2 is a folder, 3 goes on in 5, 4 is free.
        disk[512..521].copy_from_slice(&[0xf8, 0xff, 0xff, 0xff, 0x5f, 0x00, 0x00, 0xf0, 0xff]);
        put(&mut disk, 1024, b"EFI        ", 0x10, 2, 0);
        put(&mut disk, 1536, b".          ", 0x10, 2, 0);
        put(&mut disk, 1536 + 32, b"GRUB    CFG", 0x20, 3, 600);
        disk[1536 + 32 + 12] = 0x18;
        disk[2048..2560].fill(b'a');
        disk[3072..3584].fill(b'b');
        disk
    }

    fn put(disk: &mut [u8], at: usize, name: &[u8; 11], attributes: u8, cluster: u16, bytes: u32) {
        disk[at..at + 11].copy_from_slice(name);
        disk[at + 11] = attributes;
        disk[at + 26..at + 28].copy_from_slice(&cluster.to_le_bytes());
        disk[at + 28..at + 32].copy_from_slice(&bytes.to_le_bytes());
    }

    #[test]
    fn a_file_in_a_folder_is_read_along_its_chain() {
        let fat = Fat::read(Bytes::of_memory(disk())).unwrap();
        let paths: Vec<_> = fat.files.iter().map(|file| &*file.path).collect();
        assert_eq!(paths, ["/EFI", "/EFI/grub.cfg"]);
        let file = fat.find("/efi/GRUB.cfg").unwrap();
        let bytes = fat.bytes(file).unwrap().take(0, 600).unwrap();
        assert_eq!(bytes, [vec![b'a'; 512], vec![b'b'; 88]].concat());
    }

    #[test]
    fn a_chain_that_does_not_end_is_an_error() {
        let mut disk = disk();
        // 5 leads back to 3, and the file goes on.
        disk[1536 + 32 + 28..1536 + 32 + 32].copy_from_slice(&60_000_u32.to_le_bytes());
        disk[512 + 7..512 + 9].copy_from_slice(&[0x30, 0x00]);
        let fat = Fat::read(Bytes::of_memory(disk)).unwrap();
        let error = fat.bytes(fat.find("/EFI/grub.cfg").unwrap()).unwrap_err();
        assert!(error.to_string().contains("does not end"), "{error}");
    }

    #[test]
    fn a_folder_in_itself_is_listed_once() {
        let mut disk = disk();
        put(&mut disk, 1536 + 64, b"AGAIN      ", 0x10, 2, 0);
        let fat = Fat::read(Bytes::of_memory(disk)).unwrap();
        assert_eq!(fat.files.len(), 3);
    }

    #[test]
    fn a_file_system_that_is_cut_off_is_an_error() {
        let mut disk = disk();
        disk.truncate(2000);
        assert!(matches!(Fat::read(Bytes::of_memory(disk)), Err(Fault::Short { .. })));
        assert!(matches!(Fat::read(Bytes::of_memory(vec![0; 5000])), Err(Fault::Bad(_))));
    }
}
