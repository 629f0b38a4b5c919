//! A small ISO 9660 writer: one flat root folder, Rock Ridge and Joliet, made in memory.
//!
//! It is pure and reproducible: the same files, label and time give the same bytes, whatever the order
//! the files come in. Formats: ECMA-119 (the volume), SUSP 1.12 and RRIP 1991A (POSIX names and modes),
//! Joliet (UCS-2 names). The rule that such writers break most easily is ECMA-119 6.8.1.1: a directory
//! record must not cross a sector; what does not fit starts the next one, and the rest stays zero.

mod dates;
mod layout;
mod names;
#[cfg(test)]
mod reader;
mod record;
mod volume;

use host::failure::{Blame, Exit};

/// Bytes in a logical sector and block.
pub const SECTOR: usize = 2048;

/// One file of the root folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, as Rock Ridge and Joliet readers see it.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl File {
    /// A file with a name and content.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

/// Why an image cannot be made of what was given.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IsoError {
    /// The label does not fit both volume descriptors.
    #[error("volume label {0:?} is not usable: it needs 1 to 16 of A-Z, a-z, 0-9, _ and -")]
    Label(String),
    /// A name that some reader could not show.
    #[error("file name {name:?} is not usable: {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A name longer than Joliet or Rock Ridge can hold.
    #[error("file name {name:?} is too long: {is} {unit}, at most {limit}")]
    LongName {
        /// The name.
        name: String,
        /// Its length.
        is: usize,
        /// What the length counts.
        unit: &'static str,
        /// The longest length.
        limit: usize,
    },
    /// The same name twice.
    #[error("file name {0:?} is given twice")]
    Duplicate(String),
    /// A file of 4 GiB or more would need several extents.
    #[error("file {name:?} has {bytes} bytes: the image holds files below 4 GiB")]
    TooBig {
        /// The file's name.
        name: String,
        /// Its size.
        bytes: usize,
    },
    /// All files together need more sectors than 32 bits can number.
    #[error("the files need more than 2^32 sectors")]
    Full,
    /// A time that the seven-byte date cannot hold.
    #[error("time {0} s is after the year 2155, which the image's dates cannot hold")]
    Time(u64),
}

impl Blame for IsoError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Make an image with these files in its root folder.
///
/// `label` is the volume label (`cidata` for a NoCloud seed), `time` the time stamp of everything in it,
/// in seconds since 1970 UTC.
///
/// # Errors
/// See [`IsoError`]: the names, the label, the sizes and the time are checked before anything is made.
pub fn write(label: &str, files: &[File], time: u64) -> Result<Vec<u8>, IsoError> {
    let stamp = dates::Stamp::from_unix(time).ok_or(IsoError::Time(time))?;
    names::check_label(label)?;
    let named = names::assign(files)?;
    let plan = layout::Layout::new(&named)?;
    Ok(volume::render(label, &plan, &stamp))
}

#[cfg(test)]
mod tests;
