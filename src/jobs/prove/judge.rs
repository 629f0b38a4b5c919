//! Whether a case is as it must be: red at the right time, for the right reason, with the cause where it must stand; or green.

use super::ProveError;
use crate::profile::{Scenario, Shows};
use evidence::page::headline;
use evidence::record::{Checks, Record, WITHOUT};
use host::failure::{Exit, Failure};

/// When the checks run before a reboot, and after it.
const BEFORE: &str = "before the reboot";
const AFTER: &str = "after the reboot";

/// Whether the red case failed as it has to. A run that never reached its checks is its own failure.
pub(super) fn red(record: &Record, scenario: &Scenario) -> Result<(), Failure> {
    match &record.failure {
        None => return Err(ProveError::RedPassed.into()),
        Some(failure) if failure.exit == Exit::Verify => {}
        Some(failure) => return Err(failure.clone().during("the red case did not get to its checks")),
    }
    let why = match scenario.shows {
        Shows::AfterReboot => after_reboot(record, scenario),
        Shows::AtOnce => at_once(record, scenario),
        Shows::NoLogin => no_login(record),
    };
    match why.or_else(|| cause(record, scenario)) {
        None => Ok(()),
        Some(why) => Err(ProveError::OtherReason { why }.into()),
    }
}

/// Whether the green case passed. What a fault shows at once must not show in it at any time.
pub(super) fn green(record: &Record, scenario: &Scenario) -> Result<(), Failure> {
    if let Some(failure) = &record.failure {
        return Err(failure.clone());
    }
    let before = (scenario.shows == Shows::AtOnce).then(|| run(record, BEFORE)).flatten();
    let red = before.iter().flat_map(|checks| checks.failed()).find(|check| scenario.fails.contains(&check.id));
    match red {
        None => Ok(()),
        Some(check) => Err(ProveError::GreenWasRed { id: check.id.clone(), detail: check.detail.clone() }.into()),
    }
}

fn run<'r>(record: &'r Record, when: &str) -> Option<&'r Checks> {
    record.checks.iter().find(|checks| checks.when == when)
}

/// A check that held; what the run failed for in its place.
fn still_held(record: &Record, id: &str, when: &str) -> String {
    let failed = record.failure.iter().flat_map(|failure| failure.chain.first());
    let failed: Vec<_> = failed.map(|first| format!("; it failed for this: {first}")).collect();
    format!("{id} still held {when}{}", failed.concat())
}

/// What is different from what must be. What the fault has lost of the machine's state is no other reason: the checks
/// that it must fail are named, findings are not.
fn after_reboot(record: &Record, scenario: &Scenario) -> Option<String> {
    let (Some(before), Some(after)) = (run(record, BEFORE), run(record, AFTER)) else {
        return Some("the checks did not run both before and after the reboot".into());
    };
    for id in &scenario.fails {
        let was = before.checks.iter().find(|check| check.id == *id).map(|check| check.ok);
        match (was, not_red(record, after, id, AFTER)) {
            (None, _) => return Some(format!("no check is called {id}")),
            (Some(_), Some(why)) => return Some(why),
            (Some(false), None) => return Some(format!("{id} had failed before the reboot")),
            (Some(true), None) => {}
        }
    }
    // A playbook may end at its first red task: those that come after it did not look, and failed for nothing else.
    other(scenario, after.failed().chain(before.failed()))
}

fn at_once(record: &Record, scenario: &Scenario) -> Option<String> {
    let Some(checks) = run(record, WITHOUT) else { return Some("the checks did not run".into()) };
    let not_red = scenario.fails.iter().find_map(|id| not_red(record, checks, id, "once it was applied"));
    not_red.or_else(|| other(scenario, checks.failed()))
}

/// The reboot was asked for, all was well before it, and it never came to a login.
fn no_login(record: &Record) -> Option<String> {
    let Some(before) = run(record, BEFORE) else { return Some("the checks did not run before the reboot".into()) };
    if let Some(check) = before.failed().next() {
        return Some(format!("{} had failed before the reboot: {}", check.id, check.detail));
    }
    if before.looked() == 0 {
        return Some("no check looked before the reboot".into());
    }
    let last = record.phases.iter().rfind(|phase| !phase.ok && phase.name != "down");
    match (&record.reboot, last) {
        (None, Some(phase)) if phase.name == "reboot" => None,
        (Some(_), _) => Some("it came back, and let us in".into()),
        (None, phase) => Some(format!("it failed in the phase {}", phase.map_or("none", |phase| phase.name.as_str()))),
    }
}

/// Why a check is not the red one that is asked for.
fn not_red(record: &Record, checks: &Checks, id: &str, when: &str) -> Option<String> {
    match checks.checks.iter().find(|check| check.id == id) {
        None => Some(format!("no check is called {id}")),
        // What did not look has seen no fault.
        Some(check) if !check.looked => Some(format!("{id} did not look {when}")),
        Some(check) if check.ok => Some(still_held(record, id, when)),
        Some(_) => None,
    }
}

fn other<'c>(
    scenario: &Scenario,
    failed: impl Iterator<Item = &'c evidence::playbook::checks::Check>,
) -> Option<String> {
    let mut failed = failed.filter(|check| check.looked);
    let other = failed.find(|check| !scenario.fails.contains(&check.id));
    other.map(|check| format!("{} failed too: {}", check.id, check.detail))
}

/// Where the cause must stand and does not.
fn cause(record: &Record, scenario: &Scenario) -> Option<String> {
    let first = headline(record);
    if let Some(cause) = scenario.cause.as_ref().filter(|cause| !cause.is_in(&first)) {
        return Some(format!("{cause} is not in the first line of its verdict, which is: {first}"));
    }
    scenario.evidence.iter().find_map(|(file, pattern)| match std::fs::read(record.run.join(file)) {
        Err(error) => Some(format!("{file} of its evidence cannot be read: {error}")),
        Ok(bytes) if pattern.is_in(&String::from_utf8_lossy(&bytes)) => None,
        Ok(_) => Some(format!("{pattern} is not in {file} of its evidence")),
    })
}

/// The checks that no run of any case has seen red: it is unknown whether they can be.
pub(super) fn never_red<'r, I: Iterator<Item = &'r Record>>(cases: impl Fn() -> I) -> Vec<String> {
    let runs = || cases().flat_map(|record| &record.checks).flat_map(|run| &run.checks);
    let mut never: Vec<String> = Vec::new();
    for check in runs().filter(|check| !check.hint) {
        // What did not look was not seen red.
        let seen = runs().any(|other| other.id == check.id && other.is_red() && other.looked);
        if !seen && !never.contains(&check.id) {
            never.push(check.id.clone());
        }
    }
    never
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
