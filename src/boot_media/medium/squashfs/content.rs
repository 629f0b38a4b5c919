//! A file of a squashfs, by its path: its inode, its data blocks, and the piece of a block that it shares with others.

use super::unpack::unpack;
use super::{Place, Squashfs};
use crate::medium::bytes::{u16_le, u32_le, u64_le};
use crate::medium::error::Fault;
use crate::medium::loader::clean;
use crate::medium::squashfs::metadata::{Cursor, Metadata};

/// Symbolic links that are followed one after the other.
const MOST_LINKS: usize = 16;
/// In a block's size: it is kept as it is.
const AS_IT_IS: u32 = 1 << 24;
/// No fragment.
const NONE: u32 = u32::MAX;

/// An inode, as far as it is needed.
enum Inode {
    Folder,
    File { start: u64, bytes: u64, fragment: u32, offset: u32, sizes: Cursor },
    Link(String),
    Other,
}

impl Squashfs {
    /// Read a file, links followed, at most so many bytes.
    pub(in crate::medium) fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, Fault> {
        let mut metadata = Metadata::new(&self.image, self.compression);
        let mut path = clean(path);
        for _ in 0..=MOST_LINKS {
            match self.follow(&mut metadata, &path)? {
                Step::Found(inode) => return self.content(&mut metadata, inode, limit),
                Step::On(next) => path = next,
            }
        }
        Err(Fault::bad("symbolic links lead into one another"))
    }

    /// Go down to a path; where a link lies on the way, the path that it leads to.
    fn follow(&self, metadata: &mut Metadata<'_>, path: &str) -> Result<Step, Fault> {
        let mut place = self.root;
        let mut walked = String::new();
        let mut names = path.split('/').filter(|name| !name.is_empty());
        while let Some(name) = names.next() {
            let found = self.find(metadata, place, name)?;
            place = found.ok_or_else(|| Fault::bad(format!("there is no {walked}/{name} in it")))?;
            if let Inode::Link(to) = self.inode(metadata, place)? {
                let rest: Vec<_> = names.collect();
                let base = if to.starts_with('/') { "" } else { walked.as_str() };
                return Ok(Step::On(clean(&format!("{base}/{to}/{}", rest.join("/")))));
            }
            walked = format!("{walked}/{name}");
        }
        Ok(Step::Found(self.inode(metadata, place)?))
    }

    /// The inode of a name in a folder.
    fn find(&self, metadata: &mut Metadata<'_>, folder: Place, name: &str) -> Result<Option<Place>, Fault> {
        let mut level = self.level(metadata, folder, 0)?;
        while let Some(entry) = level.next(metadata)? {
            if entry.name == name.as_bytes() {
                return Ok(Some(entry.inode));
            }
        }
        Ok(None)
    }

    fn inode(&self, metadata: &mut Metadata<'_>, place: Place) -> Result<Inode, Fault> {
        let mut at = self.cursor(self.inode_table, place);
        let kind = u16_le(&metadata.take(&mut at, 16)?, 0);
        Ok(match kind {
            1 | 8 => Inode::Folder,
            2 => {
                let rest = metadata.take(&mut at, 16)?;
                let (start, fragment, offset) = (u32_le(&rest, 0).into(), u32_le(&rest, 4), u32_le(&rest, 8));
                Inode::File { start, bytes: u32_le(&rest, 12).into(), fragment, offset, sizes: at }
            }
            9 => {
                let rest = metadata.take(&mut at, 40)?;
                let (start, bytes) = (u64_le(&rest, 0), u64_le(&rest, 8));
                Inode::File { start, bytes, fragment: u32_le(&rest, 28), offset: u32_le(&rest, 32), sizes: at }
            }
            3 | 10 => {
                let length = u32_le(&metadata.take(&mut at, 8)?, 4) as usize;
                if length > crate::medium::tree::LONGEST_PATH {
                    return Err(Fault::bad(format!("a symbolic link of {length} bytes")));
                }
                Inode::Link(String::from_utf8_lossy(&metadata.take(&mut at, length)?).into_owned())
            }
            _ => Inode::Other,
        })
    }

    fn content(&self, metadata: &mut Metadata<'_>, inode: Inode, limit: u64) -> Result<Vec<u8>, Fault> {
        let (mut at, bytes, fragment, offset, mut sizes) = match inode {
            Inode::File { start, bytes, fragment, offset, sizes } => (start, bytes, fragment, offset, sizes),
            Inode::Folder => return Err(Fault::bad("it is a folder")),
            Inode::Link(_) | Inode::Other => return Err(Fault::bad("it is no file")),
        };
        if bytes > limit {
            return Err(Fault::bad(format!("it has {bytes} bytes, more than the {limit} that may be read of it")));
        }
        let block = u64::from(self.block);
        let blocks = if fragment == NONE { bytes.div_ceil(block) } else { bytes / block };
        let mut content = Vec::new();
        for n in 0..blocks {
            let size = u32_le(&metadata.take(&mut sizes, 4)?, 0);
            let wanted = (bytes - n * block).min(block) as usize;
            content.extend(self.block_of(at, size, wanted)?);
            at = at.saturating_add(u64::from(size & !AS_IT_IS));
        }
        if fragment != NONE {
            let (at, size) = self.fragment(metadata, fragment)?;
            let whole = self.block_of(at, size, self.block as usize)?;
            let tail = whole.get(offset as usize..).and_then(|rest| rest.get(..(bytes % block) as usize));
            content.extend(tail.ok_or_else(|| Fault::bad("a fragment of the squashfs is too short"))?);
        }
        Ok(content)
    }

    /// A data block; one of no size is all zeros.
    fn block_of(&self, at: u64, size: u32, wanted: usize) -> Result<Vec<u8>, Fault> {
        let length = (size & !AS_IT_IS) as usize;
        if length == 0 {
            return Ok(vec![0; wanted]);
        }
        let packed = self.image.take(at, length)?;
        let mut bytes =
            if size & AS_IT_IS != 0 { packed } else { unpack(self.compression, &packed, self.block as usize)? };
        bytes.truncate(wanted);
        Ok(bytes)
    }

    /// Where a fragment lies, and its size.
    fn fragment(&self, metadata: &mut Metadata<'_>, number: u32) -> Result<(u64, u32), Fault> {
        if number >= self.fragments {
            return Err(Fault::bad(format!("there is no fragment {number}")));
        }
        let index = u64::from(number / 512) * 8;
        let block = u64_le(&self.image.take(self.fragment_table.saturating_add(index), 8)?, 0);
        let mut at = Cursor { block, offset: (number % 512) as usize * 16 };
        let entry = metadata.take(&mut at, 16)?;
        Ok((u64_le(&entry, 0), u32_le(&entry, 8)))
    }
}

enum Step {
    Found(Inode),
    On(String),
}
