//! The page of an experiment: the same machine, restarted in every way, side by side.

use super::parts::{Answer, CheckRow, Fact, FileLink, StateFinding, Verdict};

/// Everything that the page of an experiment shows.
#[derive(Clone, Debug, Default)]
pub struct ExperimentPage {
    /// The mirrored host.
    pub host: String,
    /// When the experiment began (UTC).
    pub started: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What the VM was made of, seeds, and versions.
    pub facts: Vec<Fact>,
    /// The milestones in their order (`down`, `firmware`, `kernel`, `lease`, `sshd`, `settled`, `verify green`).
    pub milestones: Vec<String>,
    /// The modes, in the order asked for.
    pub modes: Vec<ModeResult>,
    /// The evidence.
    pub files: Vec<FileLink>,
}

/// One mode and its runs.
#[derive(Clone, Debug)]
pub struct ModeResult {
    /// Its name (`power-loss`).
    pub name: String,
    /// How it restarts the machine, in a few words.
    pub how: String,
    /// The evidence that it must give.
    pub expected: String,
    /// Its runs.
    pub runs: Vec<RunResult>,
    /// Per milestone, in their order; none where no run reached it.
    pub summary: Vec<Option<Spread>>,
}

/// The middle and the spread of some seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// How many runs reached it.
    pub n: usize,
    /// The median.
    pub median_s: f64,
    /// The least.
    pub min_s: f64,
    /// The most.
    pub max_s: f64,
}

/// One run of a mode.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// Its number within the mode, from 1.
    pub number: usize,
    /// Its place in the order in which all runs were made, from 1.
    pub place: usize,
    /// Whether the machine gave the evidence of the mode, and what it was.
    pub evidence: Answer,
    /// Seconds from asking to each milestone, in their order; none where it was not reached.
    pub at_s: Vec<Option<f64>>,
    /// The markers.
    pub markers: Vec<Marker>,
    /// Marks of an unclean shutdown that the new boot showed (`journal recovered`).
    pub unclean: Vec<String>,
    /// The differences of state.
    pub findings: Vec<StateFinding>,
    /// The outcome checks, with one answer each.
    pub checks: Vec<CheckRow>,
    /// What went wrong first, if the run failed.
    pub failure: Option<String>,
    /// Its evidence folder, relative to the page.
    pub folder: Option<String>,
}

/// What should have become of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It must still be there.
    Survives,
    /// It must be gone.
    Lost,
    /// Either is right.
    Either,
}

/// A marker that was planted before the restart.
#[derive(Clone, Debug)]
pub struct Marker {
    /// Its name (`fsynced`, `page cache`, `direct`).
    pub name: String,
    /// What the mode must do to it.
    pub expected: Fate,
    /// Whether it survived; none where it could not be read.
    pub survived: Option<bool>,
}
