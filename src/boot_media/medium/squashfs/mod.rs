//! A squashfs file system, listed: its superblock, and the names in its folders. No file's content is read.
//!
//! Format: version 4.0, as in the Linux kernel's Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h. Own
//! code, because a listing takes only the metadata, whose blocks unpack to 8 KiB at most; a library would bring the rest.

mod metadata;

use super::bytes::{Bytes, u16_le, u32_le, u64_le};
use super::error::Fault;
use super::tree::LONGEST_PATH;
use metadata::{Cursor, Metadata};
use std::collections::HashSet;
use std::fmt;

/// Files and folders that are listed at most; a NixOS image with a desktop has half a million.
const MOST_FILES: usize = 2_000_000;
/// Bytes of all paths together.
const MOST_TEXT: usize = 512 << 20;
/// Folders within folders.
const LARGEST_FOLDER: u64 = 256 << 20;

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

/// What a squashfs holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Squashfs {
    /// How it is packed.
    pub compression: Compression,
    /// The number of inodes that its superblock names.
    pub inodes: u32,
    /// Its size, bytes, without padding.
    pub bytes: u64,
    /// When it was made, seconds since 1970.
    pub made: u32,
    /// All paths, with a leading slash; those of folders end with one. Sorted.
    pub files: Vec<String>,
}

/// The parts of the superblock that listing takes.
struct Superblock {
    compression: Compression,
    inodes: u32,
    made: u32,
    bytes: u64,
    root: Place,
    inode_table: u64,
    folder_table: u64,
}

/// A place in a table: a block, and a byte in what it unpacks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    /// Bytes from the table's start.
    block: u64,
    offset: u16,
}

impl Superblock {
    fn read(image: &Bytes) -> Result<Self, Fault> {
        if image.take(0, image.len().min(4) as usize)? != b"hsqs" {
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
        let root = u64_le(&bytes, 32);
        Ok(Self {
            compression,
            inodes: u32_le(&bytes, 4),
            made: u32_le(&bytes, 8),
            bytes: u64_le(&bytes, 40),
            root: Place { block: root >> 16, offset: root as u16 },
            inode_table: u64_le(&bytes, 64),
            folder_table: u64_le(&bytes, 72),
        })
    }
}

/// List a squashfs.
pub(super) fn list(image: &Bytes) -> Result<Squashfs, Fault> {
    let superblock = Superblock::read(image)?;
    if superblock.bytes > image.len() {
        return Err(Fault::Short { end: superblock.bytes, has: image.len() });
    }
    let mut listing = Listing {
        metadata: Metadata::new(image, superblock.compression),
        superblock: &superblock,
        files: Vec::new(),
        text: 0,
        seen: HashSet::from([superblock.root]),
        waiting: vec![(String::new(), superblock.root)],
    };
    while let Some((path, inode)) = listing.waiting.pop() {
        listing.folder(&path, inode)?;
    }
    let mut files = listing.files;
    files.sort();
    let Superblock { compression, inodes, bytes, made, .. } = superblock;
    Ok(Squashfs { compression, inodes, bytes, made, files })
}

/// The walk over the folders.
struct Listing<'a> {
    metadata: Metadata<'a>,
    superblock: &'a Superblock,
    files: Vec<String>,
    text: usize,
    seen: HashSet<Place>,
    waiting: Vec<(String, Place)>,
}

impl Listing<'_> {
    fn folder(&mut self, path: &str, inode: Place) -> Result<(), Fault> {
        let (start, mut left) = self.extent(inode)?;
        let mut at = self.cursor(self.superblock.folder_table, start);
        // A header, then the entries whose inodes lie in the same block of the inode table.
        while left >= 12 {
            let header = self.metadata.take(&mut at, 12)?;
            left -= 12;
            let (count, block) = (u32_le(&header, 0), u64::from(u32_le(&header, 4)));
            if count >= 256 {
                return Err(Fault::bad(format!("a folder has a run of {count} entries; 256 are possible")));
            }
            for _ in 0..=count {
                let entry = self.metadata.take(&mut at, 8)?;
                let name = self.metadata.take(&mut at, usize::from(u16_le(&entry, 6)) + 1)?;
                left = left.saturating_sub(8 + name.len() as u64);
                let is_folder = u16_le(&entry, 4) == 1;
                self.entry(path, &name, is_folder, Place { block, offset: u16_le(&entry, 0) })?;
            }
        }
        Ok(())
    }

    /// Where a folder's entries lie, by its inode, and how many bytes they take.
    fn extent(&mut self, inode: Place) -> Result<(Place, u64), Fault> {
        let mut at = self.cursor(self.superblock.inode_table, inode);
        let header = self.metadata.take(&mut at, 16)?;
        let (block, bytes, offset) = match u16_le(&header, 0) {
            1 => {
                let rest = self.metadata.take(&mut at, 16)?;
                (u32_le(&rest, 0), u64::from(u16_le(&rest, 8)), u16_le(&rest, 10))
            }
            8 => {
                let rest = self.metadata.take(&mut at, 24)?;
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

    fn entry(&mut self, folder: &str, name: &[u8], is_folder: bool, inode: Place) -> Result<(), Fault> {
        let name = crate::medium::one_name(&String::from_utf8_lossy(name));
        let path = format!("{folder}/{name}");
        self.text += path.len();
        if path.len() > LONGEST_PATH || self.text > MOST_TEXT || self.files.len() >= MOST_FILES {
            return Err(Fault::bad("more files, or longer names, than a file system of this kind has"));
        }
        if !is_folder {
            self.files.push(path);
            return Ok(());
        }
        self.files.push(format!("{path}/"));
        // Folders have no second name: one that is named twice leads into a circle.
        match self.seen.insert(inode) {
            true => self.waiting.push((path, inode)),
            false => return Err(Fault::bad(format!("{path} is a folder that has been there already"))),
        }
        Ok(())
    }

    fn cursor(&self, table: u64, place: Place) -> Cursor {
        Cursor { block: table.saturating_add(place.block), offset: place.offset.into() }
    }
}
