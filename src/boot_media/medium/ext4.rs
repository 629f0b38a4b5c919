//! An ext2, ext3 or ext4 file system, read only, by the crate `ext4-view`: its listing, and its files.
//!
//! It checks what the file system's own checksums cover, and replays the journal in memory. It is opened for each look and not
//! kept, since it is bound to one thread and opening reads a few blocks only.

use super::bytes::{Bytes, Halt, u32_le};
use super::error::Fault;
use camino::Utf8Path;
use ext4_view::{Ext4, Ext4Error, Ext4Read};
use std::sync::OnceLock;

/// Files and folders that are listed at most, and bytes of their paths.
const MOST_FILES: usize = 500_000;
const MOST_TEXT: usize = 64 << 20;
/// Folders in one another; a circle of them has no end.
const DEEPEST: usize = 64;
/// Block groups, at most: of the usual 128 MiB each, those of 128 TiB.
const MOST_GROUPS: u64 = 1 << 20;
/// The largest file that is read, bytes: a kernel or an initial RAM disk, not a disk inside.
const LARGEST_FILE: u64 = 256 << 20;

/// The file system.
#[derive(Debug)]
pub(super) struct Ext4Volume {
    bytes: Bytes,
    listed: OnceLock<Result<Vec<ExtFile>, String>>,
}

/// A file in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExtFile {
    /// Its path, with a leading slash.
    pub(super) path: String,
    /// Whether it is a folder.
    pub(super) folder: bool,
}

/// What the crate reads from.
struct Source(Bytes);

impl Ext4Read for Source {
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.0.read(at, into).map_err(|fault| fault.to_string().into())
    }
}

impl Ext4Volume {
    /// A file system that can be opened.
    pub(super) fn new(bytes: Bytes) -> Result<Self, Fault> {
        let volume = Self { bytes, listed: OnceLock::new() };
        volume.open().map(|_| volume)
    }

    fn open(&self) -> Result<Ext4, Fault> {
        self.within_limits()?;
        Ext4::load(Box::new(Source(self.bytes.clone()))).map_err(fault)
    }

    /// The crate makes room for a descriptor of each group that the superblock speaks of, and reads it, before it looks at
    /// anything else. Fields: Linux's Documentation/filesystems/ext4/super.rst.
    fn within_limits(&self) -> Result<(), Fault> {
        const IS_64BIT: u32 = 0x80;
        let head = self.bytes.take(1024, 1024)?;
        let high = if u32_le(&head, 0x60) & IS_64BIT == 0 { 0 } else { u32_le(&head, 0x150) };
        let blocks = u64::from(high) << 32 | u64::from(u32_le(&head, 4));
        let unit = 1024_u64.checked_shl(u32_le(&head, 0x18)).unwrap_or(0);
        let end = blocks.saturating_mul(unit);
        if end > self.bytes.len() {
            return Err(Fault::Short { end, has: self.bytes.len() });
        }
        // Groups without blocks are refused by the crate.
        let groups = blocks.div_ceil(u64::from(u32_le(&head, 0x20)).max(1));
        if groups > MOST_GROUPS {
            return Err(Fault::bad(format!("its superblock speaks of {groups} block groups, more than {MOST_GROUPS}")));
        }
        Ok(())
    }

    /// Everything in it.
    pub(super) fn files(&self) -> Result<&[ExtFile], Fault> {
        let listed = self.listed.get_or_init(|| self.list().map_err(|fault| fault.to_string()));
        listed.as_deref().map_err(|why| Fault::bad(why.clone()))
    }

    fn list(&self) -> Result<Vec<ExtFile>, Fault> {
        let fs = self.open()?;
        // As the bytes that they are, and as they are shown.
        let (mut found, mut text, mut waiting) = (Vec::new(), 0, vec![(b"/".to_vec(), String::new(), 0)]);
        while let Some((folder, shown, depth)) = waiting.pop() {
            for entry in fs.read_dir(folder.as_slice()).map_err(fault)? {
                let entry = entry.map_err(fault)?;
                let name = entry.file_name();
                let name: &[u8] = name.as_ref();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let path = format!("{shown}/{}", super::one_name(&String::from_utf8_lossy(name)));
                let is_folder = entry.file_type().map_err(fault)?.is_dir();
                text += path.len();
                if found.len() >= MOST_FILES || text > MOST_TEXT {
                    return Err(Fault::bad(format!("more than {MOST_FILES} files, or longer names than can be kept")));
                }
                if is_folder {
                    if depth >= DEEPEST {
                        return Err(Fault::bad(format!("folders lie more than {DEEPEST} deep in each other")));
                    }
                    waiting.push(([folder.as_slice(), name, b"/"].concat(), path.clone(), depth + 1));
                }
                found.push(ExtFile { path, folder: is_folder });
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// The regular file that a path leads to, links followed: its size in bytes; `None` if there is none.
    pub(super) fn size(&self, path: &str) -> Result<Option<u64>, Fault> {
        match self.open()?.metadata(path) {
            Ok(meta) => Ok((!meta.is_dir()).then_some(meta.len())),
            Err(Ext4Error::NotFound | Ext4Error::NotADirectory | Ext4Error::TooManySymlinks) => Ok(None),
            Err(error) => Err(fault(error)),
        }
    }

    /// A file's bytes, at most so many of them.
    pub(super) fn read(&self, path: &str, limit: u64) -> Result<Bytes, Fault> {
        let fs = self.open()?;
        let mut file = fs.open(path).map_err(fault)?;
        // A file can be said to be larger than all that lies in the file system.
        let size = file.metadata().len();
        let most = LARGEST_FILE.min(limit);
        if size > most {
            return Err(Fault::bad(format!("it has {size} bytes, and {most} are read at most")));
        }
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = file.read_bytes(&mut buffer).map_err(fault)?;
            if count == 0 {
                return Ok(Bytes::of_memory(bytes));
            }
            bytes.extend_from_slice(&buffer[..count]);
        }
    }
}

/// The files of a file system that lies in a file by itself, as it is now; its journal, if it has to be replayed, is replayed
/// in memory.
pub struct Files(Ext4);

/// Why a file system, or a file in it, cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files")
    }
}

impl Files {
    /// Open it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(image: &Utf8Path) -> Result<Self, Unreadable> {
        let open = || {
            let bytes = Bytes::of_file(std::fs::File::open(image)?, Halt::default())?;
            Ext4Volume { bytes, listed: OnceLock::new() }.open()
        };
        open().map(Self).map_err(|fault: Fault| Unreadable(fault.to_string()))
    }

    /// Hand a regular file's bytes to `each`, part by part; `false` if there is no such file.
    ///
    /// # Errors
    /// If it is there and cannot be read to its end, or is larger than 256 MiB.
    pub fn read(&self, path: &str, mut each: impl FnMut(&[u8])) -> Result<bool, Unreadable> {
        let unreadable = |error: Ext4Error| Unreadable(error.to_string());
        let mut file = match self.0.open(path) {
            Ok(file) => file,
            Err(Ext4Error::NotFound | Ext4Error::NotADirectory | Ext4Error::IsADirectory) => return Ok(false),
            Err(error) => return Err(unreadable(error)),
        };
        let size = file.metadata().len();
        if size > LARGEST_FILE {
            return Err(Unreadable(format!("it has {size} bytes, and {LARGEST_FILE} are read at most")));
        }
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read_bytes(&mut buffer).map_err(unreadable)? {
                0 => return Ok(true),
                count => each(&buffer[..count]),
            }
        }
    }
}

fn fault(error: Ext4Error) -> Fault {
    match error {
        Ext4Error::Incompatible(why) => Fault::Unread {
            what: format!("an ext4 with features that are not read here ({why})"),
            next: CONVERT.into(),
        },
        other => Fault::bad(other.to_string()),
    }
}

const CONVERT: &str = "make it with the usual features of mke2fs";
