//! What a guest looks like, and what a reboot has changed about it.
//!
//! One pass is one shell script over ssh that asks for everything at once; what it prints becomes a [`State`].
//! [`Diff::between`] compares two of them. Noise (counters, process ids, times, handles, random names) never
//! gets into a state, so that it cannot show in a difference.
//!
//! Fuzzed as `observe`.

pub(crate) mod answers;
mod consequences;
mod diff;
mod finding;
mod flaps;
mod fold;
mod foretell;
mod loss;
mod read;
mod reasons;
mod settled;
mod sized;
mod standing;
mod state;

pub use diff::{Change, Diff, Kind};
pub use finding::{Finding, Judged, Policy, SetBy, Severity};
pub use foretell::{Foretold, foretell};
pub use loss::Loss;
pub use settled::{Observation, after_reboot, at_rest, once_more};
pub use standing::Standing;
pub use state::{Fact, Facts, Known, Observed, Reason, Section, Setting, State};

use crate::allowed::AllowedLoss;
pub use answers::ANSWER;
use answers::Answers;
use host::failure::{Blame, Exit};
use host::shell::quoted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use vm::ssh::{Session, SshError};

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
    /// Sections that could not be seen before or after, and why: nothing is known of them.
    pub unseen: BTreeMap<Section, String>,
    /// Whether every finding fails the run.
    pub strict: bool,
    /// The units that were well before and have failed since, with their own last words; the other findings are often
    /// their consequences.
    #[serde(default)]
    pub broken: Vec<BrokenUnit>,
    /// What was bad before the reboot and is after it: no loss.
    #[serde(default)]
    pub standing: Vec<Standing>,
    /// What the look before the reboot foretold, and whether it came true.
    #[serde(default)]
    pub foretold: Vec<Foretold>,
}

impl Across {
    /// Compare two looks, each kept in a file of the evidence.
    pub fn between(
        before: (&Observation, &str),
        after: (&Observation, &str),
        allow: &[AllowedLoss],
        strict: bool,
    ) -> Self {
        let (old, new) = (&before.0.state, &after.0.state);
        let diff = Diff::between(old, new);
        let judged = diff.judge(allow);
        let unseen = old.failed().chain(new.failed()).map(|(section, why)| (section, why.to_owned())).collect();
        let (before, after) = (before.0.look(before.1), after.0.look(after.1));
        let standing = standing::standing(old, new);
        let foretold = foretell::held_against(foretell(old), &diff);
        Self { before, after, diff, judged, unseen, strict, broken: Vec::new(), standing, foretold }
    }
}

/// A unit that was well before the reboot and has failed, or is started again and again, after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenUnit {
    /// Its name.
    pub unit: String,
    /// What became of it, in a sentence.
    pub what: String,
    /// The last lines that it wrote in this boot.
    pub words: Vec<String>,
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

/// Why a guest could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// It could not be asked.
    #[error("cannot look at the state of the guest")]
    Ask(#[source] SshError),
    /// The script did not run as root, or not to its end.
    #[error("cannot look at the state of the guest: the script that asks for it ended with {code}: {said}")]
    Script {
        /// Its exit code.
        code: i32,
        /// What it complained of.
        said: String,
    },
}

impl Blame for ObserveError {
    fn exit(&self) -> Exit {
        Exit::Lost
    }
}

/// Look at a guest once, as root. It takes some seconds where the CPU is emulated.
pub async fn observe(session: &Session, limit: Duration) -> Result<State, ObserveError> {
    Ok(read::state(&ask(session, Asked::Everything, limit).await?))
}

/// What every script that looks at a guest begins with, and what its answers are framed by.
pub(crate) const FRAME: &str = include_str!("frame.sh");

/// How much a guest is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Everything,
    /// Only what can move by itself: half as much work.
    WhatMoves,
}

async fn ask(session: &Session, what: Asked, limit: Duration) -> Result<Answers, ObserveError> {
    let answer = session.root_script(&script(what), limit).await.map_err(ObserveError::Ask)?;
    if answer.code != 0 {
        return Err(ObserveError::Script { code: answer.code, said: answer.stderr.trim().to_owned() });
    }
    Ok(answers::answers(&answer.stdout))
}

/// The state that the script's output shows.
pub fn read(output: &str) -> State {
    read::state(&answers::answers(output))
}

/// What the guest's answers to the second question say, by the ids of the differences.
pub fn reasons(output: &str) -> BTreeMap<String, Reason> {
    reasons::reasons(&answers::answers(output))
}

/// How many units are asked for their words, and how many lines of each.
const MOST_BROKEN: usize = 5;
const LAST_WORDS: usize = 5;

/// The units that broke across the reboot, in their own words. A journal that cannot be asked leaves the words out and
/// hides no unit.
pub async fn broken_units(session: &Session, findings: &[Finding]) -> Vec<BrokenUnit> {
    let mut broken = Vec::new();
    for finding in findings {
        let Some(unit) = finding.broken_unit() else { continue };
        let quoted = quoted(unit);
        // What its own processes said tells more than what systemd says of it.
        let ask = format!(
            "ask() {{ sudo -n journalctl -b -q --no-pager -o cat -n {LAST_WORDS} \"$@\"; }}; \
             said=$(ask _SYSTEMD_UNIT={quoted}); [ -n \"$said\" ] || said=$(ask -u {quoted}); printf '%s\\n' \"$said\""
        );
        let words = match broken.len() < MOST_BROKEN {
            true => session.ask(&ask, Duration::from_secs(60)).await.map(|answer| answer.stdout).unwrap_or_default(),
            false => String::new(),
        };
        let words = words.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
        broken.push(BrokenUnit { unit: unit.to_owned(), what: finding.what.clone(), words });
    }
    broken
}

/// The script that asks a host for everything, for root to run on a host that is no VM of ours: it changes nothing. [`read`]
/// takes what it prints.
pub fn whole_script() -> String {
    format!("#!/bin/sh\n{}", script(Asked::Everything))
}

/// What the guest's root is asked.
fn script(what: Asked) -> String {
    let whole = if what == Asked::Everything { "whole=1\n" } else { "whole=\n" };
    let ask = include_str!("ask.sh").replace("MOST", &answers::MOST.to_string());
    [whole, FRAME, &ask].concat()
}

#[cfg(test)]
mod tests;
