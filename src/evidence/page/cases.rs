//! A run, and an experiment, as the cases of a `junit.xml`.

use crate::experiment::record::{Experiment, OneRun};
use crate::playbook::tried::Told;
use crate::record::proof::ProofRecord;
use crate::record::{CheckMode, Record};
use crate::report::junit::Case;
use crate::verdict::Kind;
use host::failure::Exit;

/// The cases of a run.
pub(super) fn of(record: &Record) -> Vec<Case> {
    let phases = record.phases.iter().map(|phase| Case {
        suite: "phases".into(),
        name: phase.name.clone(),
        seconds: Some(phase.seconds),
        failure: (!phase.ok).then(|| phase.outcome.clone()),
        note: None,
    });
    let checks = record.checks.iter().flat_map(|run| {
        run.checks.iter().map(|check| Case {
            suite: format!("checks {}", run.when),
            name: check.id.clone(),
            seconds: None,
            failure: check.is_red().then(|| check.detail.clone()),
            note: None,
        })
    });
    let leaks = record.leaks.iter().map(|leak| Case {
        suite: "leaks".into(),
        name: leak.what.clone(),
        seconds: None,
        failure: Some(leak.why.clone()),
        note: None,
    });
    let losses = record.losses();
    let findings = record.state.iter().flat_map(|state| {
        state.judged.findings.iter().map(|finding| {
            let set_by = finding.set_by.as_ref().map(|task| format!("; {task}")).unwrap_or_default();
            let said = format!("{}{set_by}", finding.what);
            Case {
                suite: "state across the reboot".into(),
                name: finding.id.clone(),
                seconds: None,
                failure: losses.iter().any(|loss| loss.id == finding.id).then(|| said.clone()),
                note: Some(said),
            }
        })
    });
    let ends = record.ends.iter().flat_map(|ends| &ends.findings).map(|one| Case {
        suite: "a fresh host and an upgraded one".into(),
        name: one.id.clone(),
        seconds: None,
        failure: (!record.ends_differ().is_empty()).then(|| one.to_string()),
        note: Some(one.to_string()),
    });
    phases
        .chain(checks)
        .chain(findings)
        .chain(passes(record))
        .chain(ends)
        .chain(leaks)
        .chain([verdict(record)])
        .collect()
}

/// The tasks that a second run or a pass in check mode names.
fn passes(record: &Record) -> Vec<Case> {
    let said = |told: &Told| if told.said.is_empty() { "it changed something".to_owned() } else { told.said.clone() };
    let case = |suite: &str, told: &Told, red: bool| Case {
        suite: suite.to_owned(),
        name: told.to_string(),
        seconds: None,
        failure: red.then(|| said(told)),
        note: Some(said(told)),
    };
    let compared = record.check_mode.as_ref().and_then(CheckMode::compared);
    let undone = compared.into_iter().flat_map(|compared| &compared.undone);
    let undone = undone.map(|told| case("check mode after the reboot", told, !record.undone().is_empty()));
    let repeated = record.repeated().iter().map(|told| case("second run of the playbooks", told, true));
    repeated.chain(undone).collect()
}

/// The verdict as a case of its own: no file of green cases without a word that nothing is proved.
fn verdict(record: &Record) -> Case {
    let kind = record.verdict().kind();
    let (suite, name) = ("verdict".to_owned(), "what runs now came back from a restart".to_owned());
    let said = super::headline(record);
    let is_step = kind == Kind::Unfinished && record.exit == Some(Exit::Passed);
    let (failure, note) = match kind {
        Kind::Passed | Kind::Leaked => (None, None),
        Kind::WithoutReboot | Kind::NotRebooted => (None, Some(said)),
        Kind::NotApplied | Kind::PartlyApplied => (None, Some(said)),
        Kind::Unfinished if is_step => (None, Some(said)),
        Kind::Unfinished | Kind::Failed | Kind::NoVerdict | Kind::Stopped => (Some(said), None),
    };
    Case { suite, name, seconds: None, failure, note }
}

/// One suite per mode, one case per run and thing that was measured of it.
pub(super) fn of_experiment(all: &Experiment) -> Vec<Case> {
    let of = |run: &OneRun| {
        let case = |name: &str, failure: Option<String>, seconds: Option<f64>| Case {
            suite: run.mode.to_string(),
            name: format!("run {} {name}", run.number),
            seconds,
            failure,
            note: None,
        };
        let restart = run.failure.as_ref().map(|failure| failure.to_string());
        let mut cases = vec![case("restart", restart, Some(run.seconds))];
        for (what, prefix) in [("markers", "marker/"), ("marks", "mark/"), ("checks", "check/"), ("state", "state/")] {
            let own: Vec<_> = run.deviations.iter().filter(|d| d.id.starts_with(prefix)).collect();
            let told = own.iter().map(ToString::to_string);
            let failure = (!own.is_empty()).then(|| told.collect::<Vec<_>>().join("; "));
            if run.failure.is_none() || failure.is_some() {
                cases.push(case(what, failure, None));
            }
        }
        cases
    };
    let runs = all.runs.iter().flat_map(of);
    let early = all.failure.iter().map(|failure| Case {
        suite: "experiment".into(),
        name: "all runs were made".into(),
        seconds: None,
        failure: Some(failure.to_string()),
        note: None,
    });
    let crash = all.crash.iter().map(|crash| Case {
        suite: "crash states".into(),
        name: "the files were durable in every state".into(),
        seconds: None,
        failure: (crash.exit() != Exit::Passed).then(|| crash.wrong().join("; ")),
        note: None,
    });
    runs.chain(crash).chain(early).collect()
}

/// One suite per scenario, one case for each of its sides.
pub(super) fn of_proof(all: &ProofRecord) -> Vec<Case> {
    let of = |tried: &crate::record::proof::Tried| {
        // What is not proved is so by the last case that was run.
        let failure = |is_last: bool| tried.failure.as_ref().filter(|_| is_last).map(ToString::to_string);
        let not_run = |there: bool| (!there).then(|| "not run".to_owned());
        let side = |name: &str, case: Option<&crate::record::proof::Case>, is_last: bool| Case {
            suite: tried.name.clone(),
            name: name.to_owned(),
            seconds: case.map(|case| case.seconds),
            failure: failure(is_last),
            note: not_run(case.is_some()),
        };
        let ended_red = tried.green.is_none();
        [side("red", tried.red.as_ref(), ended_red), side("green", tried.green.as_ref(), !ended_red)]
    };
    all.scenarios.iter().flat_map(of).collect()
}
