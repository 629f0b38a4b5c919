//! Why a boot medium, or something in it, cannot be read.

use camino::Utf8PathBuf;
use host::failure::{Blame, Exit};

/// What is wrong at one place of an image; the caller knows what was being read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It would have to be longer.
    #[error("it reaches to byte {end}, and there are only {has}")]
    Short {
        /// Where it would end.
        end: u64,
        /// What is there.
        has: u64,
    },
    /// Its structure is wrong.
    #[error("{0}")]
    Bad(String),
    /// It is whole as far as anybody can see, and nobody here can read it.
    #[error("it is {what}, which is not read here")]
    Unread {
        /// What it is.
        what: String,
        /// What to do.
        next: String,
    },
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Fault {
    /// A structure that is wrong.
    pub(super) fn bad(why: impl Into<String>) -> Self {
        Self::Bad(why.into())
    }
}

/// Why a medium, or something in it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MediumError {
    /// No file matches.
    #[error("no file matches {pattern}{but}")]
    None {
        /// The path or glob.
        pattern: String,
        /// What is there instead, ready to be appended; may be empty.
        but: String,
    },
    /// Several files match.
    #[error("{} files match {pattern}, and it must be one: {}", found.len(), found.join(", "))]
    Several {
        /// The path or glob.
        pattern: String,
        /// All of them.
        found: Vec<String>,
    },
    /// The pattern is no glob.
    #[error("{pattern:?} is not a usable pattern: {why}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// The file could not be opened or read.
    #[error("cannot read {path}")]
    Io {
        /// The image.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It is nothing that boots as it is.
    #[error("{path} is no boot image: it is {what}")]
    NoImage {
        /// The file.
        path: Utf8PathBuf,
        /// What it is.
        what: String,
        /// What to do.
        next: String,
    },
    /// It, or a part of it, is in a format that is not read here: nothing is known of it.
    #[error("{path} is {what}, which is not read here: {next}")]
    Unread {
        /// The file.
        path: Utf8PathBuf,
        /// What it is.
        what: String,
        /// What to do.
        next: String,
    },
    /// A part of the image is not what it should be.
    #[error("{what} in {path} cannot be read: {why}")]
    Broken {
        /// The image.
        path: Utf8PathBuf,
        /// The part.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The image ends before a part of it does.
    #[error("{what} in {path} reaches to byte {end}, but there are only {has}: it is cut off")]
    CutOff {
        /// The image.
        path: Utf8PathBuf,
        /// The part.
        what: String,
        /// Where it should end, bytes.
        end: u64,
        /// What there is, bytes.
        has: u64,
    },
    /// The image has no such file.
    #[error("{path} has no file {file}{but}")]
    Missing {
        /// The image.
        path: Utf8PathBuf,
        /// The file that was asked for.
        file: String,
        /// What it has instead, ready to be appended; may be empty.
        but: String,
    },
    /// The file is larger than what was allowed for it.
    #[error("{file} in {path} has {bytes} bytes, more than the {limit} that may be read of it")]
    TooLarge {
        /// The image.
        path: Utf8PathBuf,
        /// The file.
        file: String,
        /// Its size, bytes.
        bytes: u64,
        /// The limit, bytes.
        limit: u64,
    },
}

impl Blame for MediumError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn next(&self) -> Option<String> {
        Some(match self {
            Self::None { .. } => "build the image first, or correct the path".into(),
            Self::Several { .. } => "remove the old ones, or name one of them".into(),
            Self::Pattern { .. } => "correct the pattern in the profile".into(),
            Self::Io { path, .. } => format!("check {path} and who may read it"),
            Self::NoImage { next, .. } | Self::Unread { next, .. } => next.clone(),
            Self::Broken { .. } | Self::CutOff { .. } => "build or copy the image again, and compare checksums".into(),
            Self::Missing { .. } | Self::TooLarge { .. } => return None,
        })
    }
}
