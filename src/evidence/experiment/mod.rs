//! What an experiment measures of a restart, apart from the doing: the fate of three markers on the disk, the
//! times of its milestones, the marks of an unclean shutdown, the order of the runs and the figures over them.
//!
//! Fuzzed as `guest`.

pub mod crash;
pub mod expect;
pub mod markers;
pub mod marks;
pub mod milestones;
pub mod record;
#[cfg(any(test, feature = "testing"))]
pub mod sample;
pub mod seeded;
pub mod statistics;
mod wanted;
mod words;

pub use markers::{Fate, Marker, MarkerError, Markers, Planted};
pub use marks::Mark;
pub use milestones::{Milestone, Milestones, Traces};
pub use statistics::Summary;
pub use wanted::Wanted;
pub use words::{headline, outcome, why};
