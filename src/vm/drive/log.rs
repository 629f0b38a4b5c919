//! What a drive was given since some moment, in order: what the states of the disk that a crash could have left are made of.
//!
//! While it is kept nothing goes into the image, so that is as it was when the log began, and the log is all that came
//! after. It is of so many bytes at most. Beyond that everything is written out and the log begins anew at that place, which is
//! as legal as a drive that writes back early: it is counted, and what came before is no longer lost in any state.

use std::fs::File;
use std::io::{BufReader, BufWriter, Error, ErrorKind, Read, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What an entry costs besides its data, in bytes, about.
const ENTRY: usize = 64;
/// The first bytes of the file.
const MAGIC: &[u8; 8] = b"bomalog1";
/// The most data of one entry in the file: what one request can carry.
const LONGEST: u64 = 64 << 20;

/// One thing that a drive was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Data for a place.
    Write {
        /// Its first byte.
        offset: u64,
        /// The data.
        data: Vec<u8>,
    },
    /// Zeroes for a place.
    Zero {
        /// Its first byte.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// All before it is there from now on, whatever happens.
    Flush,
    /// The moment that the user of the log has marked.
    Mark,
}

/// A log that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// What the drive was given, in order.
    pub entries: Vec<Entry>,
    /// How often it was full and began anew.
    pub overruns: u32,
}

/// A log that is being kept.
#[derive(Debug)]
pub(super) struct Log {
    recorded: Recorded,
    bytes: usize,
    most: usize,
}

impl Log {
    /// One of at most `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { recorded: Recorded::default(), bytes: 0, most }
    }

    pub(super) fn add(&mut self, entry: Entry) {
        self.bytes += ENTRY;
        if let Entry::Write { data, .. } = &entry {
            self.bytes += data.len();
        }
        self.recorded.entries.push(entry);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes > self.most
    }

    /// Everything was written out: it begins here.
    pub(super) fn begin_anew(&mut self) {
        self.recorded.entries.clear();
        self.recorded.overruns += 1;
        self.bytes = 0;
    }

    pub(super) fn recorded(&self) -> &Recorded {
        &self.recorded
    }
}

impl Recorded {
    /// Write it to a file that only this user can read.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut to = BufWriter::with_capacity(1 << 20, file);
        to.write_all(MAGIC)?;
        to.write_all(&self.overruns.to_be_bytes())?;
        for entry in &self.entries {
            let (tag, offset, length, data) = match entry {
                Entry::Write { offset, data } => (1_u8, *offset, data.len() as u64, data.as_slice()),
                Entry::Zero { offset, length } => (2, *offset, *length, &[][..]),
                Entry::Flush => (3, 0, 0, &[][..]),
                Entry::Mark => (4, 0, 0, &[][..]),
            };
            to.write_all(&[tag])?;
            to.write_all(&[offset.to_be_bytes(), length.to_be_bytes()].concat())?;
            to.write_all(data)?;
        }
        // Its end, so that one that was cut off is known.
        to.write_all(&[0])?;
        to.flush()
    }

    /// Read a file that a drive has written.
    ///
    /// # Errors
    /// If it cannot be read, is no such file, or was cut off.
    pub fn load(path: &Path) -> Result<Self> {
        let mut from = BufReader::with_capacity(1 << 20, File::open(path)?);
        let bad = |what: &str| Error::new(ErrorKind::InvalidData, format!("it is no log of a drive: {what}"));
        if &take::<8>(&mut from)? != MAGIC {
            return Err(bad("its first bytes are others"));
        }
        let mut recorded = Self { entries: Vec::new(), overruns: u32::from_be_bytes(take(&mut from)?) };
        loop {
            let [tag] = take(&mut from)?;
            if tag == 0 {
                return Ok(recorded);
            }
            let (offset, length) = (u64::from_be_bytes(take(&mut from)?), u64::from_be_bytes(take(&mut from)?));
            recorded.entries.push(match tag {
                1 if length <= LONGEST => {
                    let mut data = vec![0; length as usize];
                    from.read_exact(&mut data)?;
                    Entry::Write { offset, data }
                }
                2 => Entry::Zero { offset, length },
                3 => Entry::Flush,
                4 => Entry::Mark,
                _ => return Err(bad(&format!("an entry of kind {tag} with {length} bytes"))),
            });
        }
    }
}

fn take<const N: usize>(from: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_a_file_is_read_back_and_a_file_that_was_cut_off_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let entries = vec![
            Entry::Write { offset: 512, data: vec![7; 1000] },
            Entry::Flush,
            Entry::Zero { offset: 1 << 40, length: 1 << 33 },
            Entry::Mark,
        ];
        let recorded = Recorded { entries, overruns: 3 };
        recorded.save(file.path()).unwrap();
        assert_eq!(Recorded::load(file.path()).unwrap(), recorded);
        let whole = std::fs::read(file.path()).unwrap();
        std::fs::write(file.path(), &whole[..whole.len() - 1]).unwrap();
        assert_eq!(Recorded::load(file.path()).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        std::fs::write(file.path(), b"something else").unwrap();
        assert!(Recorded::load(file.path()).unwrap_err().to_string().contains("no log of a drive"));
    }
}
