//! What a guest looks like, and what a reboot has changed about it.
//!
//! One pass is one shell script over ssh that asks for everything at once; what it prints becomes a [`State`].
//! [`Diff::between`] compares two of them. Noise (counters, process ids, times, handles, random names) never
//! gets into a state, so that it cannot show in a difference.

mod diff;
mod finding;
mod loss;
mod state;

pub use diff::{Change, Diff, Kind};
pub use finding::{Finding, Judged, Severity};
pub use loss::Loss;
pub use state::{Fact, Facts, Observed, Section, State};

use serde::{Deserialize, Serialize};

/// A state, and how it was come by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// What was seen last.
    pub state: State,
    /// How often the guest was looked at.
    pub passes: u32,
    /// How long that took, in seconds.
    pub seconds: f64,
    /// The ids of what still changed between the last two looks; empty where the guest had settled.
    pub moving: Vec<String>,
}

impl Observation {
    /// Whether two looks in a row saw the same.
    pub fn settled(&self) -> bool {
        self.moving.is_empty()
    }
}

/// The state across a reboot, as `result.json` has it (the states themselves are files beside it).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Across {
    /// How the state before the reboot was come by.
    pub before: Look,
    /// How the state after the reboot was come by.
    pub after: Look,
    /// All that differs.
    pub diff: Diff,
    /// What of that is a finding.
    pub judged: Judged,
}

/// How a state was come by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// The file in the evidence that holds the state.
    pub file: String,
    /// How often the guest was looked at.
    pub passes: u32,
    /// How long that took, in seconds.
    pub seconds: f64,
    /// The ids of what still changed between the last two looks; empty where the guest had settled.
    pub moving: Vec<String>,
}
