//! File systems inside of the image: files and partitions that hold one, by their first bytes, whatever they are called.

use super::bytes::{Bytes, u16_le, u32_le};
use super::error::{Fault, MediumError};
use super::tree::Kind;
use super::{Form, Medium, Squashfs, squashfs};

/// The smallest file that can be a file system, bytes.
const SMALLEST: u64 = 96;
/// The largest file of a squashfs that is read, bytes.
const LARGEST: u64 = 256 << 20;

/// What a file or a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// A squashfs, which is read here.
    Squashfs,
    /// A file system that is not read here, by its name.
    Other(&'static str),
}

/// A file system inside of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Within {
    /// The file, as `/live/root.squashfs` or `/efi.img:/root.img`, or `partition 3`.
    pub name: String,
    /// What it holds.
    pub holds: Holds,
}

impl Medium {
    /// The file systems in files and partitions, but for EFI's own.
    ///
    /// # Errors
    /// [`MediumError::Io`]: then nobody knows what is in the image.
    pub fn within(&self) -> Result<Vec<Within>, MediumError> {
        let mut found = Vec::new();
        let files = self.nodes.iter().filter(|node| node.file.kind == Kind::File && node.file.bytes >= SMALLEST);
        let files = files.filter_map(|node| Some((node.file.path.clone(), self.content(node).ok()?)));
        let inside = self.efi.iter().flat_map(|image| {
            let files = image.fat.files.iter().filter(|file| !file.folder && file.bytes >= SMALLEST);
            files.filter_map(move |file| Some((format!("{}:{}", image.name, file.path), image.fat.bytes(file).ok()?)))
        });
        // The first begins with the image, and is the volume itself.
        let own = |at: u64| at == 0 || self.efi.iter().any(|image| image.at == at);
        let partitions = self.partitions.iter().filter(|partition| !own(partition.start));
        let partitions = partitions.filter_map(|partition| {
            let len = partition.bytes.min(self.image.len().saturating_sub(partition.start));
            Some((format!("partition {}", partition.number), self.image.part(partition.start, len).ok()?))
        });
        for (name, bytes) in files.chain(inside).chain(partitions) {
            let holds = holds(&bytes).map_err(|fault| self.broken(&name, fault))?;
            if let Some(holds) = holds
                && !self.efi.iter().any(|image| image.name == name)
                // What lies in a disk's partitions is read as such, or told as not read.
                && (self.form == Form::Iso || holds == Holds::Squashfs || !name.starts_with("partition ") || name.contains(":/"))
            {
                found.push(Within { name, holds });
            }
        }
        Ok(found)
    }

    /// Name everything in a squashfs; see [`Medium::within`].
    ///
    /// # Errors
    /// As [`Medium::read`]; and that it is not a squashfs, is cut off, or is packed in a way that is not read here.
    pub fn squashfs_names(&self, name: &str, tell: &mut dyn FnMut(&str)) -> Result<Squashfs, MediumError> {
        let read = Squashfs::open(self.bytes(name)?).and_then(|squashfs| {
            squashfs.each(tell)?;
            Ok(squashfs)
        });
        read.map_err(|fault| self.broken(name, fault))
    }

    /// A file of a squashfs: `/live/root.squashfs:/etc/hostname`; nothing if the name means no squashfs.
    pub(super) fn in_squashfs(&self, name: &str, limit: u64) -> Option<Result<Vec<u8>, MediumError>> {
        let mut splits = name.match_indices(":/").map(|(at, _)| (&name[..at], &name[at + 1..]));
        let (outer, inner) = splits.find(|(outer, _)| self.bytes(outer).is_ok_and(|bytes| squashfs::is_one(&bytes)))?;
        let read = self.bytes(outer).and_then(|bytes| {
            let read = Squashfs::open(bytes).and_then(|squashfs| squashfs.read(inner, limit.min(LARGEST)));
            read.map_err(|fault| self.broken(name, fault))
        });
        Some(read)
    }
}

/// What a file holds, by the numbers that file systems begin with.
fn holds(bytes: &Bytes) -> Result<Option<Holds>, Fault> {
    let head = bytes.take(0, bytes.len().min(2048) as usize)?;
    let at = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    // Two bytes alone would be found in any data: the fields around must make sense, too.
    let is_ext =
        at(0x438, &[0x53, 0xef]) && u32_le(&head, 0x418) <= 6 && u16_le(&head, 0x43a) <= 7 && u32_le(&head, 0x44c) <= 1;
    let found = match () {
        () if at(0, b"hsqs") => Some(Holds::Squashfs),
        () if is_ext => Some(Holds::Other("ext4")),
        () if at(1024, &[0xe2, 0xe1, 0xf5, 0xe0]) => Some(Holds::Other("EROFS")),
        () if at(0, b"XFSB") => Some(Holds::Other("XFS")),
        () if at(0, b"LUKS\xba\xbe") => Some(Holds::Other("LUKS")),
        () if at(3, b"NTFS    ") => Some(Holds::Other("NTFS")),
        () if at(0, b"QFI\xfb") => Some(Holds::Other("qcow2")),
        () => None,
    };
    if found.is_none() && bytes.len() > 1 << 20 && bytes.take(0x1_0040, 8)? == b"_BHRfS_M" {
        return Ok(Some(Holds::Other("Btrfs")));
    }
    Ok(found)
}
