//! The states that a crash could have left a disk in, and what a boot would find in each: without a boot.
//!
//! A drive keeps a log of what it is given ([`crate::drive::log`]). [`window`] makes of it what changed in one partition,
//! flush by flush; which of that a state has is decided above. [`mod@bench`] puts a state on a scratch copy of the partition, has
//! it checked as a boot would have it checked, reads files from it, and takes everything back. Nothing is ever mounted.
//!
//! Not fuzzed: the log is the drive's own, and what a guest wrote is read by e2fsck in its confinement and by
//! `boot_media`, which is fuzzed as `disk`.

pub mod bench;
pub mod window;

pub use bench::{Bench, Examined, Fsck};
pub use window::{Change, Images, Partition, SECTOR, State, Window};

use boot_media::medium::layers::LayerError;
use camino::Utf8PathBuf;
use host::failure::{Blame, Exit};

/// Why the states of a crash cannot be made or examined.
#[derive(Debug, thiserror::Error)]
pub enum CrashError {
    /// The moment of the power loss is not in the log any more.
    #[error(
        "the moment of the power loss is not in the drive's log, which holds 256 MiB and was full {overruns} times: too much is written"
    )]
    NoMark {
        /// How often it was full.
        overruns: u32,
    },
    /// A request was for too much.
    #[error("the guest trimmed {bytes} bytes of its disk at once, more than can be followed")]
    TooLong {
        /// How many.
        bytes: u64,
    },
    /// The log cannot be read.
    #[error("the drive's log {path} cannot be read")]
    Log {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The disk cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The scratch copy cannot be written or read.
    #[error("cannot work on the scratch copy {path}")]
    Scratch {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A program is not there, or could not be run.
    #[error("cannot run {program}: {why}")]
    Program {
        /// Which.
        program: &'static str,
        /// Why not.
        why: String,
    },
    /// A state was not taken back.
    #[error("the scratch copy {path} is not what it was at the beginning: what was found in its states does not count")]
    NotTakenBack {
        /// The file.
        path: Utf8PathBuf,
    },
}

impl Blame for CrashError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoMark { .. } | Self::TooLong { .. } | Self::Layer(_) => Exit::Lost,
            Self::Log { .. } | Self::Scratch { .. } | Self::Program { .. } => Exit::Host,
            Self::NotTakenBack { .. } => Exit::Bug,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::NoMark { .. } => Some("let the workload write less, or stop what else writes in the guest".into()),
            Self::TooLong { .. } => Some("stop fstrim.timer in the guest for the workload".into()),
            Self::Log { .. } | Self::Scratch { .. } => Some("see that the disk below BOMA_STATE is not full".into()),
            Self::Program { .. } => Some("install e2fsprogs 1.45 or newer, which has e2fsck and e2undo".into()),
            Self::Layer(_) | Self::NotTakenBack { .. } => None,
        }
    }
}
