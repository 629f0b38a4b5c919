//! A squashfs file system: its superblock, the names in its folders, and a file's content.
//!
//! Format: version 4.0, as in the Linux kernel's Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h. Own
//! code, because a listing takes only the metadata, whose blocks unpack to 8 KiB at most; a library would bring the rest.

mod content;
mod metadata;
mod unpack;

use super::bytes::{Bytes, u16_le, u32_le, u64_le};
use super::error::Fault;
use super::tree::LONGEST_PATH;
use metadata::{Cursor, Metadata};
use std::collections::HashSet;
use std::fmt;

/// Files and folders that are listed at most; a NixOS image with a desktop has half a million.
const MOST_FILES: usize = 4_000_000;
/// The largest folder, bytes.
const LARGEST_FOLDER: u64 = 256 << 20;
/// Block sizes that squashfs has, bytes.
const BLOCKS: std::ops::RangeInclusive<u32> = 4096..=1 << 20;

/// How its blocks are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// zlib, which squashfs calls gzip.
    Gzip,
    /// The old LZMA format.
    Lzma,
    /// LZO.
    Lzo,
    /// xz.
    Xz,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Lzma => "lzma",
            Self::Lzo => "lzo",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// A squashfs that has been opened.
#[derive(Clone, Debug)]
pub struct Squashfs {
    /// How it is packed.
    pub compression: Compression,
    /// The number of inodes that its superblock names.
    pub inodes: u32,
    /// Its size, bytes, without padding.
    pub bytes: u64,
    /// When it was made, seconds since 1970.
    pub made: u32,
    image: Bytes,
    block: u32,
    fragments: u32,
    root: Place,
    inode_table: u64,
    folder_table: u64,
    fragment_table: u64,
}

/// A place in a table: a block, and a byte in what it unpacks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Bytes from the table's start.
    block: u64,
    offset: u16,
}

impl Squashfs {
    /// Read the superblock.
    pub(super) fn open(image: Bytes) -> Result<Self, Fault> {
        if !is_one(&image) {
            return Err(Fault::bad("it does not begin with the superblock of a squashfs"));
        }
        let bytes = image.take(0, 96)?;
        let version = (u16_le(&bytes, 28), u16_le(&bytes, 30));
        if version != (4, 0) {
            return Err(Fault::bad(format!(
                "it is a squashfs of version {}.{}; 4.0 can be read",
                version.0, version.1
            )));
        }
        let compression = match u16_le(&bytes, 20) {
            1 => Compression::Gzip,
            2 => Compression::Lzma,
            3 => Compression::Lzo,
            4 => Compression::Xz,
            5 => Compression::Lz4,
            6 => Compression::Zstd,
            other => return Err(Fault::bad(format!("it is packed in a way that squashfs does not have ({other})"))),
        };
        let (root, block) = (u64_le(&bytes, 32), u32_le(&bytes, 12));
        if !BLOCKS.contains(&block) {
            return Err(Fault::bad(format!("it says that its blocks have {block} bytes")));
        }
        let squashfs = Self {
            compression,
            inodes: u32_le(&bytes, 4),
            made: u32_le(&bytes, 8),
            bytes: u64_le(&bytes, 40),
            block,
            fragments: u32_le(&bytes, 16),
            root: Place { block: root >> 16, offset: root as u16 },
            inode_table: u64_le(&bytes, 64),
            folder_table: u64_le(&bytes, 72),
            fragment_table: u64_le(&bytes, 80),
            image,
        };
        if squashfs.bytes > squashfs.image.len() {
            return Err(Fault::Short { end: squashfs.bytes, has: squashfs.image.len() });
        }
        Ok(squashfs)
    }

    /// Name everything in it, one path after the other, folders with a slash at their end. What this takes does not grow with
    /// the number of files: a folder is read where the walk comes to it, and is forgotten when it is left.
    pub(super) fn each(&self, tell: &mut dyn FnMut(&str)) -> Result<(), Fault> {
        let mut metadata = Metadata::new(&self.image, self.compression);
        let mut seen = HashSet::from([self.root.number()]);
        let mut path = String::new();
        let mut open = vec![self.level(&mut metadata, self.root, 0)?];
        let mut count = 0;
        while let Some(level) = open.last_mut() {
            path.truncate(level.path);
            let Some(entry) = level.next(&mut metadata)? else {
                open.pop();
                continue;
            };
            path.push('/');
            path.push_str(&super::one_name(&String::from_utf8_lossy(&entry.name)));
            count += 1;
            if path.len() > LONGEST_PATH || count > MOST_FILES {
                return Err(Fault::bad("more files, or longer names, than a file system of this kind has"));
            }
            if !entry.is_folder {
                tell(&path);
                continue;
            }
            // Folders have no second name: one that is named twice leads into a circle.
            if !seen.insert(entry.inode.number()) {
                return Err(Fault::bad(format!("{path} is a folder that has been there already")));
            }
            let below = path.len();
            path.push('/');
            tell(&path);
            let inner = self.level(&mut metadata, entry.inode, below)?;
            open.push(inner);
        }
        Ok(())
    }

    /// Begin with a folder, by its inode.
    fn level(&self, metadata: &mut Metadata<'_>, inode: Place, path: usize) -> Result<Level, Fault> {
        let (start, left) = self.extent(metadata, inode)?;
        Ok(Level { at: self.cursor(self.folder_table, start), left, run: 0, block: 0, path })
    }

    /// Where a folder's entries lie, by its inode, and how many bytes they take.
    fn extent(&self, metadata: &mut Metadata<'_>, inode: Place) -> Result<(Place, u64), Fault> {
        let mut at = self.cursor(self.inode_table, inode);
        let header = metadata.take(&mut at, 16)?;
        let (block, bytes, offset) = match u16_le(&header, 0) {
            1 => {
                let rest = metadata.take(&mut at, 16)?;
                (u32_le(&rest, 0), u64::from(u16_le(&rest, 8)), u16_le(&rest, 10))
            }
            8 => {
                let rest = metadata.take(&mut at, 24)?;
                (u32_le(&rest, 8), u64::from(u32_le(&rest, 4)), u16_le(&rest, 18))
            }
            other => return Err(Fault::bad(format!("the inode of a folder has type {other}"))),
        };
        // Three bytes are counted for `.` and `..`, which are not there.
        let bytes = bytes.saturating_sub(3);
        if bytes > LARGEST_FOLDER {
            return Err(Fault::bad(format!("a folder says that it has {bytes} bytes")));
        }
        Ok((Place { block: block.into(), offset }, bytes))
    }

    fn cursor(&self, table: u64, place: Place) -> Cursor {
        Cursor { block: table.saturating_add(place.block), offset: place.offset.into() }
    }
}

impl Place {
    /// As one number, which is how the superblock has it.
    fn number(self) -> u64 {
        self.block << 16 | u64::from(self.offset)
    }
}

/// A folder that is being read.
struct Level {
    at: Cursor,
    /// Bytes of it that are left.
    left: u64,
    /// Entries that are left behind the last header, whose inodes lie in the same block of the inode table.
    run: u32,
    block: u64,
    /// How long the folder's own path is.
    path: usize,
}

/// A name in a folder.
struct Entry {
    name: Vec<u8>,
    is_folder: bool,
    inode: Place,
}

impl Level {
    fn next(&mut self, metadata: &mut Metadata<'_>) -> Result<Option<Entry>, Fault> {
        if self.run == 0 {
            if self.left < 12 {
                return Ok(None);
            }
            let header = metadata.take(&mut self.at, 12)?;
            self.left -= 12;
            let count = u32_le(&header, 0);
            if count >= 256 {
                return Err(Fault::bad(format!("a folder has a run of {count} entries; 256 are possible")));
            }
            (self.run, self.block) = (count + 1, u64::from(u32_le(&header, 4)));
        }
        self.run -= 1;
        let entry = metadata.take(&mut self.at, 8)?;
        let name = metadata.take(&mut self.at, usize::from(u16_le(&entry, 6)) + 1)?;
        self.left = self.left.saturating_sub(8 + name.len() as u64);
        let inode = Place { block: self.block, offset: u16_le(&entry, 0) };
        Ok(Some(Entry { name, is_folder: u16_le(&entry, 4) == 1, inode }))
    }
}

/// Whether something begins as a squashfs does.
pub(super) fn is_one(image: &Bytes) -> bool {
    image.take(0, image.len().min(4) as usize).is_ok_and(|magic| magic == b"hsqs")
}
