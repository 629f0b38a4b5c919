//! The booted machine's conditions: for each a command that is run in the guest ([`command`]) and a reading of its answer
//! ([`judge`]). Both are plain text in and out, so they are tested with what real machines said.
//!
//! A command that waits does so in the guest, and only as long as the answer can still change. What is seen from outside
//! (the console, the disks) is in [`console`] and [`disks`].

pub mod console;
pub mod disks;
mod machine;
mod network;
mod people;
mod storage;
mod units;

use super::outcome::Seen;
use super::probe::Probe;
use host::shell::quoted;
use std::time::Duration;

/// What the guest's shell answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The exit code.
    pub code: i32,
    /// Both streams.
    pub output: String,
}

/// What a question depends on besides its probe.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The user who logs in.
    pub user: &'a str,
    /// Whether root asks.
    pub as_root: bool,
    /// How long the guest may wait until the answer is known.
    pub limit: Duration,
}

/// The command that shows whether a condition holds; none where it is not the guest that knows.
pub fn command(probe: &Probe, asked: &Asked<'_>) -> Option<String> {
    Some(match probe {
        Probe::SudoList { .. } => people::sudo_list(asked),
        Probe::Membership { .. } => people::membership(asked),
        Probe::UnitProperties { unit, expect } => units::properties(unit, expect.keys()),
        Probe::UnitState { unit, expect, sub } => units::state(unit, expect, sub, asked),
        Probe::UnitSucceeds { unit } => units::success(unit, asked),
        Probe::FileContent { path, .. } => format!("cat -- {}", quoted(path.as_str())),
        Probe::VolumeGroup { .. } => storage::GROUPS.into(),
        Probe::LogicalVolume { .. } => storage::VOLUMES.into(),
        Probe::DiskNames { .. } => storage::DISKS.into(),
        Probe::Interface { name, ipv4 } => network::interface(name, *ipv4, asked),
        Probe::EntropyDevice { .. } => machine::ENTROPY.into(),
        Probe::TimeSane { .. } => machine::TIME.into(),
        Probe::Command { run, .. } => run.clone(),
        _ => return None,
    })
}

/// What an answer means. `now` is this machine's time when the answer came, in seconds since 1970.
pub fn judge(probe: &Probe, asked: &Asked<'_>, answer: &Answer, now: f64) -> Seen {
    let seen = match probe {
        Probe::SudoList { expect } => people::judge_sudo(expect, answer),
        Probe::Membership { groups } => people::judge_membership(asked, groups, answer),
        Probe::UnitProperties { unit, expect } => units::judge_properties(unit, expect, answer),
        Probe::UnitState { unit, expect, sub } => units::judge_state(unit, expect, sub, asked, answer),
        Probe::UnitSucceeds { unit } => units::judge_success(unit, asked, answer),
        Probe::FileContent { path, expect } => storage::judge_file(path.as_str(), expect, answer),
        Probe::VolumeGroup { name } => storage::judge_group(name, answer),
        Probe::LogicalVolume { group, name } => storage::judge_volume(group, name, answer),
        Probe::DiskNames { expect } => storage::judge_disks(expect, answer),
        Probe::Interface { name, ipv4 } => network::judge_interface(name, *ipv4, asked, answer),
        Probe::EntropyDevice { expect } => machine::judge_entropy(expect, answer),
        Probe::TimeSane { within_s } => machine::judge_time(*within_s, answer, now),
        Probe::Command { run, code, expect } => machine::judge_command(run, *code, expect.as_ref(), answer),
        other => Seen::unknown(format!("{} is not asked of the guest", other.name())),
    };
    match seen.evidence.is_empty() {
        true => seen.in_text(&answer.output),
        false => seen,
    }
}

/// The lines `KEY=VALUE` of a text.
fn fields(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.split_once('='))
}

/// The last line that says something.
fn last_line(text: &str) -> &str {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("nothing")
}

#[cfg(test)]
mod tests;
