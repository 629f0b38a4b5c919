//! Bytes that can be read at any place: the image's file, and the parts of it that are files and images in turn.
//!
//! A part knows its bounds, so a number in an image can lead nowhere but into that image; and nothing is allocated
//! before it is known to be there. Whoever waits for what is read can end it ([`Halt`]): a checksum of a large image takes
//! minutes, and nothing else in here ever waits.

use super::error::Fault;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends all reading of an image, from another thread: the next read is an error.
#[derive(Clone, Debug, Default)]
pub struct Halt(Arc<AtomicBool>);

impl Halt {
    /// Nobody waits any more.
    pub fn halt(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        // Not `Interrupted`: the standard library tries that again, for ever.
        match self.0.load(Ordering::Relaxed) {
            true => Err(io::Error::new(io::ErrorKind::TimedOut, "the reading was ended")),
            false => Ok(()),
        }
    }
}

/// Bytes that are made as they are read: the disk inside a disk image's format.
pub(super) trait Unpacked: std::fmt::Debug + Send + Sync {
    /// How many there are.
    fn len(&self) -> u64;
    /// Fill the buffer with what lies at this place, which is there.
    fn read(&self, at: u64, buffer: &mut [u8]) -> Result<(), Fault>;
}

/// A stretch of the image's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its first byte.
    pub(super) at: u64,
    /// Its length, bytes.
    pub(super) len: u64,
}

impl Piece {
    /// The first byte after it.
    pub(super) fn end(&self) -> u64 {
        self.at.saturating_add(self.len)
    }
}

/// Where the bytes come from.
#[derive(Debug)]
enum Origin {
    File(File, Halt),
    Memory(Vec<u8>),
    Unpacked(Box<dyn Unpacked>),
}

/// A run of bytes, in one or several pieces of the same origin.
#[derive(Clone, Debug)]
pub(super) struct Bytes {
    origin: Arc<Origin>,
    pieces: Vec<Piece>,
    len: u64,
}

impl Bytes {
    /// All of a file, as long as it is now, until it is halted.
    pub(super) fn of_file(file: File, halt: Halt) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { origin: Arc::new(Origin::File(file, halt)), pieces: vec![Piece { at: 0, len }], len })
    }

    /// The disk inside a format.
    pub(super) fn unpacked(disk: Box<dyn Unpacked>) -> Self {
        let len = disk.len();
        Self { origin: Arc::new(Origin::Unpacked(disk)), pieces: vec![Piece { at: 0, len }], len }
    }

    /// Bytes in memory.
    pub(super) fn of_memory(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self { origin: Arc::new(Origin::Memory(bytes)), pieces: vec![Piece { at: 0, len }], len }
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// A part of these.
    ///
    /// # Errors
    /// [`Fault::Short`] if it reaches beyond their end.
    pub(super) fn part(&self, at: u64, len: u64) -> Result<Self, Fault> {
        let end = Piece { at, len }.end();
        if end > self.len {
            return Err(Fault::Short { end, has: self.len });
        }
        let mut pieces = Vec::new();
        let (mut skip, mut left) = (at, len);
        for piece in &self.pieces {
            if left == 0 {
                break;
            }
            if skip >= piece.len {
                skip -= piece.len;
                continue;
            }
            let take = left.min(piece.len - skip);
            pieces.push(Piece { at: piece.at + skip, len: take });
            (skip, left) = (0, left - take);
        }
        Ok(Self { origin: self.origin.clone(), pieces, len })
    }

    /// Several parts of these, one after the other.
    pub(super) fn parts(&self, parts: &[Piece]) -> Result<Self, Fault> {
        let mut all = Self { origin: self.origin.clone(), pieces: Vec::new(), len: 0 };
        for part in parts {
            let part = self.part(part.at, part.len)?;
            all.pieces.extend(part.pieces);
            all.len = all.len.saturating_add(part.len);
        }
        Ok(all)
    }

    /// Fill the buffer with what lies at this place.
    pub(super) fn read(&self, at: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        let mut filled = 0;
        for piece in &self.part(at, buffer.len() as u64)?.pieces {
            // A piece of a part is never longer than the buffer.
            let into = &mut buffer[filled..filled + piece.len as usize];
            match &*self.origin {
                Origin::File(file, halt) => {
                    halt.check()?;
                    file.read_exact_at(into, piece.at)?;
                }
                Origin::Unpacked(disk) => disk.read(piece.at, into)?,
                Origin::Memory(bytes) => into.copy_from_slice(&bytes[piece.at as usize..piece.end() as usize]),
            }
            filled += into.len();
        }
        Ok(())
    }

    /// So many bytes at this place.
    pub(super) fn take(&self, at: u64, len: usize) -> Result<Vec<u8>, Fault> {
        self.part(at, len as u64)?;
        let mut buffer = vec![0; len];
        self.read(at, &mut buffer)?;
        Ok(buffer)
    }

    /// All of them, in order.
    pub(super) fn reader(&self) -> Reader {
        Reader { bytes: self.clone(), at: 0 }
    }
}

/// Reads bytes in order.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.bytes.len - self.at).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        self.bytes.read(self.at, &mut buffer[..count]).map_err(|fault| match fault {
            Fault::Io(error) => error,
            other => io::Error::other(other.to_string()),
        })?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.bytes.len.checked_add_signed(by),
        };
        // There is nothing to be read beyond the end, and nothing before the beginning.
        self.at = at.filter(|at| *at <= self.bytes.len).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(self.at)
    }
}

/// A little-endian number of two bytes; zero beyond the end.
pub(super) fn u16_le(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(fixed(bytes, at))
}

/// A little-endian number of four bytes; zero beyond the end.
pub(super) fn u32_le(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(fixed(bytes, at))
}

/// A big-endian number of four bytes; zero beyond the end.
pub(super) fn u32_be(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(fixed(bytes, at))
}

/// A big-endian number of two bytes; zero beyond the end.
pub(super) fn u16_be(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(fixed(bytes, at))
}

/// A little-endian number of eight bytes; zero beyond the end.
pub(super) fn u64_le(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(fixed(bytes, at))
}

/// So many bytes at this place; zeros beyond the end.
pub(super) fn fixed<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_parts_is_read_across_its_pieces() {
        let all = Bytes::of_memory((0..100).collect());
        let parts = all.parts(&[Piece { at: 10, len: 5 }, Piece { at: 90, len: 10 }, Piece { at: 0, len: 3 }]).unwrap();
        assert_eq!(parts.len(), 18);
        assert_eq!(parts.take(3, 4).unwrap(), [13, 14, 90, 91]);
        let inner = parts.part(4, 13).unwrap();
        let mut read = Vec::new();
        inner.reader().read_to_end(&mut read).unwrap();
        assert_eq!(read, [14, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 0, 1]);
    }

    #[test]
    fn what_was_halted_reads_no_more() {
        let (mut file, halt) = (tempfile::tempfile().unwrap(), Halt::default());
        io::Write::write_all(&mut file, &[7; 100]).unwrap();
        let bytes = Bytes::of_file(file, halt.clone()).unwrap();
        assert_eq!(bytes.take(90, 10).unwrap(), [7; 10]);
        halt.halt();
        assert!(matches!(bytes.take(0, 1), Err(Fault::Io(_))));
        let mut read = Vec::new();
        assert!(bytes.reader().read_to_end(&mut read).is_err(), "tried again for ever");
    }

    #[test]
    fn what_lies_beyond_the_end_is_refused_before_it_is_allocated() {
        let all = Bytes::of_memory(vec![0; 100]);
        assert!(matches!(all.part(90, 11), Err(Fault::Short { end: 101, has: 100 })));
        assert!(matches!(all.take(u64::MAX, usize::MAX), Err(Fault::Short { end: u64::MAX, has: 100 })));
        assert!(matches!(all.part(10, 20).unwrap().take(15, 6), Err(Fault::Short { end: 21, has: 20 })));
    }
}
