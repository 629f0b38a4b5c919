//! Crash states: from one run of a workload many states that a power loss could have left, and which files were durable.

pub mod guest;
pub mod record;
pub mod states;

pub use record::{Control, CrashStates, Fate, FileFate, Judge, StateFound};
pub use states::Shape;

use camino::Utf8PathBuf;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashWanted {
    /// How many states.
    pub states: usize,
    /// The workload: a shell script, which root runs in the guest.
    pub workload: String,
    /// The files that must be durable when the workload has ended; a directory stands for all files below it.
    pub durable: Vec<Utf8PathBuf>,
}

/// The most states; each takes a second, about.
pub const MOST_STATES: usize = 10_000;
/// The longest workload, bytes: it is one argument in the guest.
pub const LONGEST_WORKLOAD: usize = 64 << 10;
