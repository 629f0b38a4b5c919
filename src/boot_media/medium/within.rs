//! File systems inside of the image: files and partitions that hold one, by their first bytes, whatever they are called.

use super::bytes::{Bytes, u16_le, u32_le};
use super::error::{Fault, MediumError};
use super::fat::Fat;
use super::tree::Kind;
use super::{Form, Medium, Squashfs};

/// The smallest file that can be a file system, bytes.
const SMALLEST: u64 = 96;
/// The largest file of a squashfs that is read, bytes.
const LARGEST: u64 = 256 << 20;

/// What a file or a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// A squashfs, which is read here.
    Squashfs,
    /// A FAT, which is read here: a floppy's image, or an EFI image that firmware does not start.
    Fat,
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
        let files = files.chain(self.hidden.iter()).map(|node| (node.file.path.clone(), self.content(node)));
        let inside = self.efi.iter().flat_map(|image| {
            let files = image.fat.files.iter().filter(|file| !file.folder && file.bytes >= SMALLEST);
            files.map(move |file| (format!("{}:{}", image.name, file.path), image.fat.bytes(file)))
        });
        // The first begins with the image, and is the volume itself.
        let own = |at: u64| at == 0 || self.efi.iter().any(|image| image.at == at);
        let partitions = self.partitions.iter().filter(|partition| !own(partition.start));
        let partitions = partitions.filter_map(|partition| {
            let len = partition.bytes.min(self.image.len().saturating_sub(partition.start));
            (len > 0).then(|| (format!("partition {}", partition.number), self.image.part(partition.start, len)))
        });
        for (name, bytes) in files.chain(inside).chain(partitions) {
            let holds = match bytes.and_then(|bytes| holds(&bytes)) {
                Err(Fault::Io(error)) => return Err(self.broken(&name, Fault::Io(error))),
                // What is cut off, or lies in pieces that lead nowhere, may have been anything.
                Err(_) => Some(Holds::Other("what cannot be read")),
                Ok(holds) => holds,
            };
            if let Some(holds) = holds
                && !self.efi.iter().any(|image| image.name == name)
                // What lies in a disk's partitions is read as such, or told as not read.
                && (self.form == Form::Iso || matches!(holds, Holds::Squashfs) || !name.starts_with("partition ") || name.contains(":/"))
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

    /// Name everything in a FAT, folders with a slash at their end; see [`Medium::within`].
    ///
    /// # Errors
    /// As [`Medium::read`]; and that it is no FAT.
    pub fn fat_names(&self, name: &str, tell: &mut dyn FnMut(&str)) -> Result<(), MediumError> {
        let fat = Fat::read(self.bytes(name)?).map_err(|fault| self.broken(name, fault))?;
        for file in &fat.files {
            tell(&if file.folder { format!("{}/", file.path) } else { file.path.clone() });
        }
        Ok(())
    }

    /// A file of a squashfs, `/live/root.squashfs:/etc/hostname`, or of a FAT; nothing if the name means no file system.
    pub(super) fn in_file_system(&self, name: &str, limit: u64) -> Option<Result<Vec<u8>, MediumError>> {
        let splits = name.match_indices(":/").map(|(at, _)| (&name[..at], &name[at + 1..]));
        let mut opened = splits.filter_map(|(outer, inner)| {
            let bytes = self.bytes(outer).ok()?;
            let holds = holds(&bytes).ok().flatten()?;
            matches!(holds, Holds::Squashfs | Holds::Fat).then_some((bytes, holds, inner))
        });
        let (bytes, holds, inner) = opened.next()?;
        let limit = limit.min(LARGEST);
        let read = match holds {
            Holds::Squashfs => Squashfs::open(bytes).and_then(|squashfs| squashfs.read(inner, limit)),
            _ => Fat::read(bytes).and_then(|fat| {
                let file = fat.find(inner).filter(|file| !file.folder && file.bytes <= limit);
                let file = file.ok_or_else(|| Fault::bad("there is no such file in it, or it is too large"))?;
                let bytes = fat.bytes(file)?;
                bytes.take(0, bytes.len() as usize)
            }),
        };
        Some(read.map_err(|fault| self.broken(name, fault)))
    }

    /// Files that hold a squashfs which says that it is longer than the file.
    ///
    /// # Errors
    /// As [`Medium::within`].
    pub fn short_squashfs(&self) -> Result<Vec<String>, MediumError> {
        let all = self.within()?.into_iter().filter(|one| matches!(one.holds, Holds::Squashfs));
        let is_short = |one: &Within| {
            let opened = self.bytes(&one.name).map(Squashfs::open);
            matches!(opened, Ok(Err(Fault::Short { .. })))
        };
        Ok(all.filter(is_short).map(|one| one.name).collect())
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
        () if at(1024, &[0x10, 0x20, 0xf5, 0xf2]) => Some(Holds::Other("F2FS")),
        () if at(3, b"EXFAT   ") => Some(Holds::Other("exFAT")),
        () if at(1024, b"H+\0\x04") => Some(Holds::Other("HFS+")),
        () if at(0, &[0x45, 0x3d, 0xcd, 0x28]) => Some(Holds::Other("cramfs")),
        () if at(0, b"-rom1fs-") => Some(Holds::Other("romfs")),
        () if at(512, b"LABELONE") => Some(Holds::Other("LVM")),
        () if is_fat(&head, bytes) => Some(Holds::Fat),
        () => None,
    };
    if found.is_none() && bytes.len() > 1 << 20 && bytes.take(0x1_0040, 8)? == b"_BHRfS_M" {
        return Ok(Some(Holds::Other("Btrfs")));
    }
    if found.is_none() && bytes.len() > 0x8006 && bytes.take(0x8001, 5)? == b"CD001" {
        return Ok(Some(Holds::Other("ISO 9660")));
    }
    Ok(found)
}

/// Whether the first sector is that of a FAT that can be read: its numbers alone are found in other data, too.
fn is_fat(head: &[u8], bytes: &Bytes) -> bool {
    let jumps = matches!(head.first(), Some(0xeb | 0xe9));
    jumps && head.get(510..512) == Some(&[0x55, 0xaa]) && Fat::read(bytes.clone()).is_ok()
}
