//! An experiment in words.

use super::crash::CrashStates;
use super::record::{Experiment, OneRun};
use host::failure::{Exit, Failure};

/// The verdict in one sentence.
pub fn headline(all: &Experiment) -> String {
    let (host, made, planned) = (&all.host, all.runs.len(), all.order.len());
    let right = all.runs.iter().filter(|run| run.passed()).count();
    match all.exit {
        Some(Exit::Interrupted) => format!("STOPPED: {host}, after {made} of {planned} runs"),
        _ if made < planned => format!("NOT FINISHED: {host}, {made} of {planned} runs, {right} as they must be"),
        _ if all.crash.as_ref().is_some_and(|crash| crash.exit() != Exit::Passed) && right == made => {
            format!("NOT AS EXPECTED: {host}, all {made} runs as they must be, and not its crash states")
        }
        Some(Exit::Passed) => format!("AS EXPECTED: {host} did what every mode must do, in all {made} runs"),
        Some(Exit::Leaked) => {
            format!("LEAKED: {host} did as expected in all {made} runs, but something was left on this host")
        }
        _ => format!("NOT AS EXPECTED: {host}, {right} of {made} runs as they must be"),
    }
}

/// Why an experiment did not pass, as one failure.
pub fn why(all: &Experiment) -> Option<Failure> {
    let worst = all.runs.iter().filter(|run| Some(run.exit()) == all.exit);
    let crash = all.crash.iter().filter(|crash| Some(crash.exit()) == all.exit).flat_map(CrashStates::wrong);
    let told: Vec<_> = worst.map(|run| format!("{} ({})", run.folder, outcome(run))).chain(crash).collect();
    match (&all.failure, all.exit) {
        (_, None | Some(Exit::Passed | Exit::Leaked)) => None,
        (Some(failure), Some(exit)) if failure.exit == exit => Some(failure.clone()),
        (_, Some(exit)) => Some(Failure::new(exit, format!("not as they must be: {}", told.join("; ")))),
    }
}

/// What came of a run, in one line.
pub fn outcome(one: &OneRun) -> String {
    let wrong = one.wrong();
    let line = match wrong.is_empty() {
        true => {
            one.milestones.iter().map(|(milestone, at)| format!("{milestone} {at:.1}")).collect::<Vec<_>>().join(", ")
        }
        false => wrong.join("; "),
    };
    line.lines().next().unwrap_or_default().to_owned()
}
