//! From the record of a run, and the evidence beside it, to what its page shows.
//!
//! All of it can be done again at any time: nothing is asked but the run's own folder.
//!
//! Not fuzzed: what is read here is this program's own evidence.

pub(crate) mod cases;
mod console;
pub mod experiment;
pub mod files;
mod passes;
mod verdict;

pub use verdict::headline;

use crate::experiment::record::Experiment;
use crate::observe::{Across, Finding, Severity};
use crate::playbook::events::Recap;
use crate::playbook::reports::Report;
use crate::record::{BootSeen, MadeOf, Playbook, Record};
use crate::report::html;
use crate::report::html::cycle::{self, CyclePage, Proof, Witness};
use crate::report::html::parts::{Answer, CheckRow, Fact, StateFinding, Weight};
use crate::report::{ReportError, RunFolder, junit};
use camino::{Utf8Path, Utf8PathBuf};
use host::failure::{Exit, Failure};
use serde::de::DeserializeOwned;
use vm::reboot::{self, Restart};
use vm::timeline::Timeline;

/// How many units of a boot are shown.
const SLOWEST: usize = 12;

/// Write the page of a run or of an experiment again from its evidence; where it is.
pub fn again(folder: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    let file = |name: &str| folder.join(name);
    let text = if file("experiment.json").exists() {
        html::experiment(&experiment::of(&read::<Experiment>(&file("experiment.json"))?, folder))
    } else {
        html::cycle(&of(&read::<Record>(&file("result.json"))?, folder))
    };
    RunFolder::open(folder).write(PAGE, text)?;
    Ok(folder.join(PAGE))
}

/// A result as it was written into a run's folder.
pub fn read<T: DeserializeOwned>(file: &Utf8Path) -> Result<T, Failure> {
    let bad = |why: String| Failure::new(Exit::Usage, format!("{file} is no result of a run: {why}"));
    let text = std::fs::read(file).map_err(|e| {
        bad(e.to_string()).next(
            "name the folder of a run that has ended (`result.json` is its last file), of an experiment or of an audit",
        )
    })?;
    serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))
}

/// The page's file in the evidence.
pub const PAGE: &str = "report.html";

/// The page of a run whose evidence lies in `folder`.
pub fn of(record: &Record, folder: &Utf8Path) -> CyclePage {
    let timelines: Vec<_> = record.boots.iter().map(|boot| timeline(boot, folder)).collect();
    let (console, console_more) = console::highlights(folder);
    let state = record.state.as_ref().map(state);
    let (check_times, checks) = checks(record);
    CyclePage {
        host: record.host.to_string(),
        command: files::command(folder).unwrap_or_else(|| record.host.to_string()),
        started: record.started.clone(),
        version: record.version.clone(),
        verdict: verdict::of(record, &console, state.as_deref()),
        facts: facts(record, &record.made_of, timelines.last().and_then(Option::as_ref)),
        phases: record.phases.iter().map(phase).collect(),
        boots: timelines.iter().enumerate().map(|(n, timeline)| boot(record, n, timeline.as_ref())).collect(),
        proof: record.reboot.as_ref().map(proof),
        first_after: check_times.iter().position(|when| when.starts_with("after")).filter(|first| *first > 0),
        check_times,
        checks,
        state,
        state_notes: record.state.as_ref().map(state_notes).unwrap_or_default(),
        console,
        console_more,
        playbooks: record.playbooks.iter().map(playbook).collect(),
        passes: passes::of(record),
        leaks: record.leaks.iter().map(|leak| (leak.what.clone(), leak.why.clone())).collect(),
        files: files::all(folder),
    }
}

fn phase(phase: &crate::record::Phase) -> cycle::Phase {
    let crate::record::Phase { name, seconds, ok, outcome } = phase.clone();
    cycle::Phase { name, seconds, ok, outcome }
}

fn facts(record: &Record, made_of: &MadeOf, timeline: Option<&Timeline>) -> Vec<Fact> {
    let image = match &made_of.image_sha512 {
        Some(sum) => format!("{}, SHA-512 {}…", made_of.image, sum.get(..16).unwrap_or(sum)),
        None => made_of.image.clone(),
    };
    let guest = timeline.map(|t| format!("{}, Linux {}, systemd {}", t.os, t.kernel, t.systemd));
    let facts = [
        ("VM", record.vm.to_string()),
        ("image", image),
        ("guest", guest.unwrap_or_default()),
        ("accelerator", made_of.accel.clone()),
        ("QEMU", made_of.qemu.clone()),
        ("network", format!("{}, egress {}", made_of.net, made_of.egress)),
        ("certificates", made_of.certs.clone()),
        ("extra variables", made_of.extra_vars.join(", ")),
        (
            "Ansible",
            if made_of.ansible.is_empty() { String::new() } else { format!("ansible-core {}", made_of.ansible) },
        ),
        ("boma-qemu", record.version.clone()),
    ];
    let known = facts.into_iter().filter(|(_, value)| !value.is_empty());
    known.map(|(label, value)| Fact { label: label.into(), value }).collect()
}

/// The figures of a boot, from the evidence.
fn timeline(seen: &BootSeen, folder: &Utf8Path) -> Option<Timeline> {
    serde_json::from_slice(&std::fs::read(folder.join(seen.file.as_ref()?)).ok()?).ok()
}

fn boot(record: &Record, n: usize, timeline: Option<&Timeline>) -> cycle::Boot {
    let seen = &record.boots[n];
    let last = n + 1 == record.boots.len();
    let when = match n {
        0 => "The fresh guest".to_owned(),
        _ if last && record.reboot.is_some() => format!("After {}", verdict::its_restart(record)),
        _ => "After an earlier restart".to_owned(),
    };
    let when = format!("{when} (console/{}.log)", seen.console);
    let Some(timeline) = timeline else {
        let missing = seen.why.clone().unwrap_or_else(|| "the file with them is gone".into());
        return cycle::Boot { when, missing: Some(missing), ..cycle::Boot::default() };
    };
    let unit = |unit: &vm::timeline::Unit| cycle::Unit {
        name: unit.name.clone(),
        at_s: unit.at_s,
        took_s: unit.took_s.unwrap_or_default(),
        failed: unit.failed,
    };
    // A unit that failed is told however fast it was.
    let mut units: Vec<_> = timeline.units.iter().map(unit).collect();
    units.sort_by(|a, b| b.failed.cmp(&a.failed).then(b.took_s.total_cmp(&a.took_s)));
    units.truncate(SLOWEST);
    units.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let find = |name: &String| timeline.units.iter().find(|unit| unit.name == *name);
    cycle::Boot {
        when,
        boot_id: timeline.boot_id.to_string(),
        system: format!("Linux {}, systemd {}", timeline.kernel, timeline.systemd),
        stages: timeline.stages.named().into_iter().map(|(name, seconds)| (name.to_owned(), seconds)).collect(),
        units,
        chain: timeline.chain.iter().filter_map(find).map(unit).collect(),
        missing: None,
    }
}

fn proof(restart: &Restart) -> Proof {
    let witness = |at_s, who: &str, said: String| Witness { at_s, who: who.to_owned(), said };
    let (before, after) = match &restart.proof {
        reboot::Proof::Reboot(proof) => (proof.before(), proof.after()),
        reboot::Proof::SoftReboot(proof) => (proof.boot_id(), proof.boot_id()),
    };
    let mut witnesses = vec![witness(Some(0.0), "The old boot", format!("its id is {before}"))];
    witnesses.extend(restart.prepared.iter().map(|said| witness(None, "Before", said.clone())));
    witnesses.extend(restart.triggered.iter().map(|triggered| witness(None, "Before", triggered.to_string())));
    let events = restart.evidence.iter().filter(|seen| !seen.firmware);
    witnesses.extend(
        events.map(|seen| {
            witness(Some(seen.mono - restart.asked_mono), "The machine, as seen by QEMU", seen.to_string())
        }),
    );
    let words = &restart.last_words;
    witnesses.extend(words.journal.iter().map(|said| witness(None, "The old boot's journal", said.clone())));
    witnesses.extend(words.console.iter().map(|said| witness(None, "The old boot's console", said.clone())));
    witnesses.push(match &restart.proof {
        reboot::Proof::Reboot(_) => witness(Some(restart.ssh_s), "The new boot", format!("its id is {after}")),
        reboot::Proof::SoftReboot(proof) => {
            let said = format!("SoftRebootsCount was {} and is {}", proof.count() - 1, proof.count());
            witness(Some(restart.ssh_s), "The new userspace's systemd", said)
        }
    });
    let down = restart.down_s.map(|at| ("down".to_owned(), at));
    let up = [("ssh".to_owned(), restart.ssh_s), ("settled".to_owned(), restart.settled_s)];
    Proof {
        mode: format!("{}: {}", restart.mode, restart.mode.help()),
        boot_ids: (before.to_string(), after.to_string()),
        witnesses,
        milestones: down.into_iter().chain(up).collect(),
        settled: restart.settled.system.clone(),
        failed_units: restart.settled.failed_units.clone(),
        restarting: restart.settled.restarting.clone(),
        activating: restart.settled.activating.clone(),
    }
}

/// The matrix of the checks: a column for each time that they ran, a row for each that ever ran.
fn checks(record: &Record) -> (Vec<String>, Vec<CheckRow>) {
    let mut ids: Vec<&str> = Vec::new();
    for check in record.checks.iter().flat_map(|run| &run.checks) {
        if !ids.contains(&check.id.as_str()) {
            ids.push(&check.id);
        }
    }
    let row = |id: &str| {
        let found: Vec<_> = record.checks.iter().map(|run| run.checks.iter().find(|check| check.id == id)).collect();
        CheckRow {
            id: id.to_owned(),
            hint: found.iter().rev().flatten().next().is_some_and(|check| check.hint),
            answers: found
                .iter()
                .map(|c| c.map(|c| Answer { ok: c.ok, said: c.detail.clone(), looked: c.looked }))
                .collect(),
        }
    };
    // The page speaks of restarts: what is no reboot must not be called one.
    let when = |run: &crate::record::Checks| run.when.trim_end_matches(" the reboot").to_owned();
    (record.checks.iter().map(when).collect(), ids.into_iter().map(row).collect())
}

/// The findings, what the profile allows, and what is only different.
fn state(across: &Across) -> Vec<StateFinding> {
    let judged = &across.judged;
    let found = |finding: &Finding, allowed: Option<&String>| StateFinding {
        id: finding.id.clone(),
        section: finding.section.to_string(),
        what: finding.what.clone(),
        before: finding.before.clone(),
        after: finding.after.clone(),
        weight: match finding.severity {
            Severity::Serious => Weight::Error,
            Severity::Minor => Weight::Warning,
        },
        allowed: allowed.cloned(),
        consequences: Vec::new(),
        set_by: finding.set_by.as_ref().map(ToString::to_string),
    };
    let with_all = |finding: &Finding, allowed: Option<&String>| StateFinding {
        consequences: finding.consequences.iter().map(|one| found(one, None)).collect(),
        ..found(finding, allowed)
    };
    let findings = judged.findings.iter().map(|finding| with_all(finding, None));
    let allowed = judged.allowed.iter().map(|(finding, why)| with_all(finding, Some(why)));
    let told = across.diff.changes.iter().filter(|change| change.loss.is_none()).map(|change| StateFinding {
        id: change.id(),
        section: change.section.to_string(),
        what: change.took_effect.clone().map(|what| format!("took effect at the boot: {what}")).unwrap_or_default(),
        before: change.before.clone(),
        after: change.after.clone(),
        weight: Weight::Note,
        allowed: None,
        consequences: Vec::new(),
        set_by: None,
    });
    findings.chain(allowed).chain(told).collect()
}

/// What is not known of the state, so that nobody takes it for unchanged.
fn state_notes(across: &Across) -> Vec<String> {
    let unseen = across.unseen.iter().map(|(section, why)| format!("{section} could not be seen: {why}"));
    let moving =
        [("before", &across.before), ("after", &across.after)].into_iter().filter(|(_, look)| !look.moving.is_empty());
    let moving = moving.map(|(when, look)| {
        format!("{when} the reboot, this still changed after {} looks: {}", look.passes, look.moving.join(", "))
    });
    let unused = across.judged.unused.iter().map(|id| format!("the profile allows `{id}`, and nothing matched it"));
    let standing = across.standing.iter().map(|ill| ill.what.clone());
    let effects = across.judged.took_effect.iter().map(|(_, what)| format!("took effect at the boot: {what}"));
    let foretold = across.foretold.iter().map(|one| match one.came_true {
        Some(true) => format!("foretold, and came true: {}", one.what),
        _ => format!("foretold, and did not come true: {}", one.what),
    });
    let effects = effects.chain(foretold);
    unseen.chain(moving).chain(standing).chain(effects).chain(unused).collect()
}

fn playbook(playbook: &Playbook) -> cycle::Playbook {
    let Recap { ok, changed, unreachable, failures, skipped, rescued, ignored } = playbook.recap;
    let recap = [
        ("ok", ok),
        ("changed", changed),
        ("unreachable", unreachable),
        ("failed", failures),
        ("skipped", skipped),
        ("rescued", rescued),
        ("ignored", ignored),
    ];
    cycle::Playbook {
        name: playbook.playbook.file_name().unwrap_or(playbook.playbook.as_str()).to_owned(),
        seconds: playbook.seconds,
        recap: recap.map(|(word, n)| (word.to_owned(), n)).to_vec(),
        ok: playbook.ok,
        failed: playbook.failed.iter().map(failed_task).collect(),
        // A failure that the playbook caught or ignored is among the failed tasks already.
        reports: playbook.reports.iter().filter(|report| !report.kind.is_a_failure()).map(report).collect(),
    }
}

fn report(report: &Report) -> cycle::Report {
    let Report { kind, task, place, message } = report.clone();
    cycle::Report { kind: kind.to_string(), task, place, message }
}

fn failed_task(task: &crate::record::FailedTask) -> cycle::FailedTask {
    let crate::record::FailedTask { task, place, message, went_on } = task.clone();
    cycle::FailedTask { task, place, message, went_on }
}

/// Write `junit.xml`, `report.html` and, last of all, `result.json` of a run.
pub fn publish(record: &Record) -> Result<(), ReportError> {
    let run = RunFolder::open(&record.run);
    let xml = junit::text(&format!("boma-qemu {}", record.host), &cases::of(record)).unwrap_or_default();
    run.write("junit.xml", xml)?;
    run.write(PAGE, html::cycle(&of(record, run.path())))?;
    run.write("result.json", record.json(false))
}

#[cfg(test)]
mod tests;
