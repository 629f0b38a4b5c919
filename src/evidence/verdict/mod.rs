//! The verdict of a run: what is proved of the machine as it is now.
//!
//! It lies below the record that keeps it and the reports that draw it. There is one way to make one,
//! [`Verdict::from_parts`], and it begins with nothing proved: a run is passed only if each part was looked at and
//! is as it must be. A verdict is written into `result.json` and never read from there: whoever opens an old record
//! judges its parts again.

use host::failure::Exit;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use vm::reboot::{Restart, Seen};

/// How long the guest must have been seen alive after it had settled, before anything is said of it: a guest that
/// restarts itself does so a while after its boot. Checks and looks count into it.
pub const ALIVE: Duration = Duration::from_secs(30);

/// What a verdict says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The run did not come to its end, or nothing has judged the machine as it is now.
    Unfinished,
    /// The state that was applied came back from a restart, and all that was looked at holds.
    Passed,
    /// The checks hold, and the reboot was left out on purpose.
    WithoutReboot,
    /// The checks hold, and the state that runs now is not one that came back from a proved restart.
    NotRebooted,
    /// The checks hold, on a machine to which the playbooks were not applied, or not to their end.
    NotApplied,
    /// The checks hold, on a machine to which only a part of the playbooks was applied last.
    PartlyApplied,
    /// The machine is not as it must be.
    Failed,
    /// Nothing is known of the machine: it could not be looked at.
    NoVerdict,
    /// It passed, and something was left on this host.
    Leaked,
    /// The user stopped it.
    Stopped,
}

/// Why what runs now has no proof, although there may have been one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "changed", rename_all = "kebab-case")]
pub enum Unproved {
    /// Playbooks were run after the last proved restart.
    Applied,
    /// A part of them was.
    PartlyApplied {
        /// Which, in words.
        part: String,
    },
    /// The machine was brought back to its snapshot.
    Restored,
    /// A restart was asked for and is not proved.
    Restarting,
    /// The machine was restarted, and not by a command that proves it.
    Restarted {
        /// What the machine showed; empty where it showed nothing (a soft reboot).
        restarts: Vec<Seen>,
        /// What tells it, in words.
        said: String,
    },
}

impl fmt::Display for Unproved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied => f.write_str("it was not rebooted since the last apply"),
            Self::PartlyApplied { part } => {
                write!(f, "it was not rebooted since the last apply, which was of a part only ({part})")
            }
            Self::Restored => f.write_str("it was not rebooted since it was brought back to the snapshot"),
            Self::Restarting => f.write_str("its last restart is not proved"),
            Self::Restarted { said, .. } => write!(f, "it was restarted since its last proved reboot: {said}"),
        }
    }
}

/// How far the playbooks came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Applied {
    /// None was run, or not all to their end.
    #[default]
    No,
    /// Only a part of them was run last, so what the machine is as a whole is what no run of them has made.
    Partly,
    /// All of them, and each was judged to be applied.
    Whole,
}

/// The last run of the checks, if it was of the state and the boot that are there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// How many looked at something and could have failed.
    pub looked: usize,
    /// How many failed, or did not look although they had before the reboot.
    pub red: usize,
}

/// What became of the comparison of the state across the restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compared {
    /// It was not compared.
    #[default]
    No,
    /// It was, and so many findings fail the run.
    Judged(usize),
    /// It need not be: findings are only reported.
    NotAsked,
}

/// All that a verdict is made from. What is left out counts as not seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts<'a> {
    /// Whether the command came to its end.
    pub finished: bool,
    /// The exit class of what went wrong first.
    pub failure: Option<Exit>,
    /// How far the playbooks came.
    pub applied: Applied,
    /// The last run of the checks.
    pub checks: Option<Tally>,
    /// Whether the reboot was left out on purpose.
    pub without_reboot: bool,
    /// The proved restart of what runs now.
    pub restart: Option<&'a Restart>,
    /// Why there is none.
    pub unproved: Option<&'a Unproved>,
    /// Restarts since the proved one.
    pub restarts: usize,
    /// How long the guest was seen alive after it had settled.
    pub alive: Duration,
    /// The comparison of the state.
    pub compared: Compared,
    /// Tasks whose work did not survive the restart, of those that fail the run.
    pub undone: usize,
    /// Tasks that changed something in a second run of the playbooks.
    pub repeated: usize,
    /// What is not the same on a fresh host and an upgraded one, of what fails the run.
    pub ends: usize,
    /// Whether the guest is reached as nothing expects it, or the reboot changed how.
    pub way_is_wrong: bool,
    /// How many things were left on this host.
    pub leaks: usize,
}

/// The verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    kind: Kind,
    /// Why what runs now has no proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Unproved>,
}

impl Verdict {
    /// Judge. What is wrong comes before what is missing, and what is missing before what is well.
    pub fn from_parts(parts: &Parts<'_>) -> Self {
        let kind = kind(parts);
        let why = parts.unproved.filter(|_| parts.restart.is_none()).cloned();
        Self { kind, why }
    }

    /// What it says.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Why what runs now has no proof; nothing where it has one, or never had.
    pub fn why(&self) -> Option<&Unproved> {
        self.why.as_ref()
    }

    /// The exit class of a command that was to come to a verdict; nothing where a failure has one of its own.
    pub fn exit(&self) -> Option<Exit> {
        match self.kind {
            Kind::Passed | Kind::WithoutReboot | Kind::NotRebooted => Some(Exit::Passed),
            Kind::NotApplied | Kind::PartlyApplied => Some(Exit::Passed),
            Kind::Failed => Some(Exit::Verify),
            Kind::NoVerdict => Some(Exit::Lost),
            Kind::Leaked => Some(Exit::Leaked),
            Kind::Stopped => Some(Exit::Interrupted),
            Kind::Unfinished => None,
        }
    }
}

fn kind(parts: &Parts<'_>) -> Kind {
    match parts.failure {
        Some(Exit::Interrupted) => return Kind::Stopped,
        Some(Exit::Apply | Exit::Verify | Exit::Guest) => return Kind::Failed,
        Some(_) => return Kind::NoVerdict,
        None => {}
    }
    let (finished, Some(checks)) = (parts.finished, parts.checks) else { return Kind::Unfinished };
    match () {
        () if !finished => Kind::Unfinished,
        () if checks.red > 0 || parts.restarts > 0 || parts.way_is_wrong => Kind::Failed,
        () if parts.undone > 0 || parts.repeated > 0 || parts.ends > 0 => Kind::Failed,
        () if checks.looked == 0 => Kind::NoVerdict,
        () if parts.applied == Applied::Partly => Kind::PartlyApplied,
        () if parts.applied != Applied::Whole => Kind::NotApplied,
        () if parts.without_reboot => leaked_or(parts, Kind::WithoutReboot),
        () if parts.restart.is_none() => Kind::NotRebooted,
        () if parts.alive < ALIVE => Kind::Unfinished,
        () => match parts.compared {
            Compared::No => Kind::NoVerdict,
            Compared::Judged(1..) => Kind::Failed,
            Compared::Judged(0) | Compared::NotAsked => leaked_or(parts, Kind::Passed),
        },
    }
}

fn leaked_or(parts: &Parts<'_>, kind: Kind) -> Kind {
    if parts.leaks > 0 { Kind::Leaked } else { kind }
}

#[cfg(test)]
mod tests;
