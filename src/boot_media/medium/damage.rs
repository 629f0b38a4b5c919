//! What is wrong with an image that can be read all the same.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The file is shorter than the volume says that it is.
    Short {
        /// The volume's size, bytes.
        says: u64,
        /// The file's size, bytes.
        has: u64,
    },
    /// A file's bytes are not all there.
    File {
        /// The file.
        path: String,
        /// The byte of the image that it reaches to.
        end: u64,
        /// The image's size, bytes.
        has: u64,
    },
    /// A folder cannot be read, or not to its end.
    Folder {
        /// The folder.
        path: String,
        /// Why.
        why: String,
    },
    /// A part of what makes the image boot.
    Boot {
        /// Which.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { says, has } => {
                write!(f, "cut off: the volume has {says} bytes, the file {has}; {} are missing", says - has)
            }
            Self::File { path, end, has } => write!(f, "{path} is cut off: it reaches to byte {end} of {has}"),
            Self::Folder { path, why } => write!(f, "folder {path}: {why}"),
            Self::Boot { what, why } => write!(f, "{what}: {why}"),
        }
    }
}
