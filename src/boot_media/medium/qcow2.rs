//! A qcow2 disk image, read only: the disk inside it.
//!
//! Format: QEMU's docs/interop/qcow2.txt. Versions 2 and 3, with compressed clusters (deflate and zstd). What would need
//! another file (a backing file, an external data file), a key, or the writer's own repair is refused by name.

use super::bytes::{Bytes, Unpacked, fixed};
use super::error::Fault;
use std::io::Read;
use std::sync::Mutex;

/// A guest's largest disk here: what a partition table of sectors of 512 bytes can address, and more than any image has.
const LARGEST_DISK: u64 = 1 << 50;
/// The largest first table, bytes, as in QEMU.
const LARGEST_TABLE: u64 = 32 << 20;
/// The offsets in a table's entries.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// An entry of the second table: the cluster is compressed, or reads as zeros.
const COMPRESSED: u64 = 1 << 62;
const ZEROS: u64 = 1;

/// The disk.
#[derive(Debug)]
pub(super) struct Qcow2 {
    file: Bytes,
    size: u64,
    bits: u32,
    zstd: bool,
    /// Where each second table lies; zero where nothing was written.
    tables: Vec<u64>,
    /// What shines through where nothing was written; zeros otherwise.
    below: Option<Bytes>,
    /// The second table and the unpacked cluster that were used last: most reads go on where the last one ended.
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    table: Option<(u64, Vec<u64>)>,
    cluster: Option<(u64, Vec<u8>)>,
}

/// What an image says of the file that it lies on top of, or of what else it needs.
fn refused(what: impl std::fmt::Display, next: &str) -> Fault {
    Fault::Unread { what: format!("a qcow2 image {what}"), next: next.into() }
}

impl Qcow2 {
    /// Read the header and the first table of an image that is whole by itself.
    pub(super) fn open(file: Bytes) -> Result<Self, Fault> {
        Self::over(file, None)
    }

    /// The same of an image over another one, which the caller names: the name in the header is not followed.
    pub(super) fn over(file: Bytes, below: Option<Bytes>) -> Result<Self, Fault> {
        let head = file.take(0, file.len().min(112) as usize)?;
        let u32 = |at: usize| u32::from_be_bytes(fixed(&head, at));
        let u64 = |at: usize| u64::from_be_bytes(fixed(&head, at));
        let (version, bits, size) = (u32(4), u32(20), u64(24));
        if !matches!(version, 2 | 3) {
            return Err(Fault::bad(format!("it is a qcow2 of version {version}; 2 and 3 can be read")));
        }
        if !(9..=21).contains(&bits) || size > LARGEST_DISK {
            return Err(Fault::bad(format!("its clusters have 2^{bits} bytes, its disk {size}")));
        }
        let features = if version == 3 { u64(72) } else { 0 };
        dependencies(&file, &head, features, below.is_some())?;
        let zstd = match (features & 1 << 3 != 0, head.get(104)) {
            (false, _) | (true, Some(0)) => false,
            (true, Some(1)) => true,
            (true, other) => return Err(Fault::bad(format!("its clusters are compressed by method {other:?}"))),
        };
        let (count, at) = (u64::from(u32(36)), u64(40));
        // One second table fills a cluster with entries of eight bytes.
        let needed = size.div_ceil(1 << (2 * bits - 3));
        if count * 8 > LARGEST_TABLE || count < needed {
            return Err(Fault::bad(format!("its first table has {count} entries, and its disk needs {needed}")));
        }
        let tables = entries(&file.take(at, (needed * 8) as usize)?);
        Ok(Self { file, size, bits, zstd, tables, below, last: Mutex::default() })
    }

    fn cluster_bytes(&self) -> u64 {
        1 << self.bits
    }

    /// The entry of the second table for a guest's cluster.
    fn entry(&self, cluster: u64, last: &mut Last) -> Result<u64, Fault> {
        let per_table = self.bits - 3;
        let at = self.tables.get((cluster >> per_table) as usize).copied().unwrap_or(0) & OFFSET;
        if at == 0 {
            return Ok(0);
        }
        if last.table.as_ref().is_none_or(|(there, _)| *there != at) {
            last.table = Some((at, entries(&self.file.take(at, 1 << self.bits)?)));
        }
        let index = (cluster & ((1 << per_table) - 1)) as usize;
        Ok(last.table.as_ref().and_then(|(_, table)| table.get(index)).copied().unwrap_or(0))
    }

    /// Fill the buffer from within one cluster.
    fn within(&self, at: u64, buffer: &mut [u8], last: &mut Last) -> Result<(), Fault> {
        let inside = at & (self.cluster_bytes() - 1);
        let entry = self.entry(at >> self.bits, last)?;
        if entry & COMPRESSED != 0 {
            if last.cluster.as_ref().is_none_or(|(there, _)| *there != entry) {
                last.cluster = Some((entry, self.unpack(entry)?));
            }
            let bytes = last.cluster.as_ref().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
            let from = bytes.get(inside as usize..inside as usize + buffer.len());
            buffer.copy_from_slice(from.ok_or_else(|| Fault::bad("a compressed cluster is too short"))?);
            return Ok(());
        }
        match entry & OFFSET {
            _ if entry & ZEROS != 0 => buffer.fill(0),
            0 => shine_through(self.below.as_ref(), at, buffer)?,
            host => {
                // A file that was grown sparsely can end within its last cluster.
                let there = self.file.len().saturating_sub(host + inside).min(buffer.len() as u64) as usize;
                if there == 0 {
                    return Err(Fault::Short { end: host + self.cluster_bytes(), has: self.file.len() });
                }
                self.file.read(host + inside, &mut buffer[..there])?;
                buffer[there..].fill(0);
            }
        }
        Ok(())
    }

    /// The entry of each of the guest's clusters, in order.
    pub(super) fn mapped(&self) -> Result<Vec<u64>, Fault> {
        let mut last = Last::default();
        (0..self.size.div_ceil(self.cluster_bytes())).map(|cluster| self.entry(cluster, &mut last)).collect()
    }

    /// Where the cluster of an entry lies in the file; none where it lies below, reads as zeros or is compressed.
    pub(super) fn host(entry: u64) -> Option<u64> {
        let plain = entry & (COMPRESSED | ZEROS) == 0 && entry & OFFSET != 0;
        plain.then_some(entry & OFFSET)
    }

    /// The bytes of a cluster as a power of two.
    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    /// A compressed cluster: where it begins, to the byte, and how many sectors of 512 bytes it reaches into.
    fn unpack(&self, entry: u64) -> Result<Vec<u8>, Fault> {
        let split = 62 - (self.bits - 8);
        let at = entry & ((1 << split) - 1);
        let more = (entry & !COMPRESSED) >> split & ((1 << (self.bits - 8)) - 1);
        let len = ((more + 1) * 512 - (at & 511)).min(self.file.len().saturating_sub(at));
        let packed = self.file.take(at, len as usize)?;
        let size = self.cluster_bytes();
        let mut bytes = Vec::new();
        let read = match self.zstd {
            false => flate2::read::DeflateDecoder::new(packed.as_slice()).take(size).read_to_end(&mut bytes),
            true => match ruzstd::decoding::StreamingDecoder::new(packed.as_slice()) {
                Ok(stream) => stream.take(size).read_to_end(&mut bytes),
                Err(error) => return Err(Fault::bad(format!("a compressed cluster: {error}"))),
            },
        };
        // The sectors go on behind the cluster: an error there is none of its own.
        match (bytes.len() as u64 == size, read) {
            (true, _) => Ok(bytes),
            (false, Err(error)) => Err(Fault::bad(format!("a compressed cluster: {error}"))),
            (false, Ok(_)) => Err(Fault::bad(format!("a compressed cluster has {} bytes", bytes.len()))),
        }
    }
}

/// What lies below at this place; the image may be longer than what it lies on.
fn shine_through(below: Option<&Bytes>, at: u64, buffer: &mut [u8]) -> Result<(), Fault> {
    let there = below.map_or(0, |below| below.len().saturating_sub(at)).min(buffer.len() as u64) as usize;
    let (filled, rest) = buffer.split_at_mut(there);
    rest.fill(0);
    match below {
        Some(below) if !filled.is_empty() => below.read(at, filled),
        _ => Ok(()),
    }
}

/// What the image needs besides its own file.
fn dependencies(file: &Bytes, head: &[u8], features: u64, has_below: bool) -> Result<(), Fault> {
    let (backing, length) = (u64::from_be_bytes(fixed(head, 8)), u32::from_be_bytes(fixed(head, 16)));
    if backing != 0 && !has_below {
        let name = file.take(backing, length.min(1023) as usize)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        let next = "flatten a copy of it: `qemu-img convert -O qcow2 IN OUT`";
        return Err(refused(format!("on top of another file, {name:?}"), next));
    }
    if u32::from_be_bytes(fixed(head, 32)) != 0 {
        return Err(refused("that is encrypted", "give a copy that is not"));
    }
    match features {
        // Dirty: its reference counts may be wrong, and reading uses none.
        0 | 1 | 8 | 9 => Ok(()),
        some if some & 2 != 0 => Err(refused("that is marked as corrupt", "repair a copy: `qemu-img check -r all`")),
        some if some & 4 != 0 => Err(refused("whose data lies in another file", "convert it to one file")),
        some if some & 16 != 0 => Err(refused("with extended second tables", "convert it with extended_l2=off")),
        some => Err(refused(format!("with unknown features (0x{some:x})"), "convert it with this host's qemu-img")),
    }
}

impl Unpacked for Qcow2 {
    fn len(&self) -> u64 {
        self.size
    }

    fn read(&self, mut at: u64, mut buffer: &mut [u8]) -> Result<(), Fault> {
        // A panic in here would have left at worst an old table, which is not one that is wrong.
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while !buffer.is_empty() {
            let left = self.cluster_bytes() - (at & (self.cluster_bytes() - 1));
            let (now, rest) = buffer.split_at_mut((buffer.len() as u64).min(left) as usize);
            self.within(at, now, &mut last)?;
            at += now.len() as u64;
            buffer = rest;
        }
        Ok(())
    }
}

fn entries(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|entry| u64::from_be_bytes(fixed(entry, 0))).collect()
}
