//! From the record of an experiment to what its page shows.

use super::{files, state};
use crate::experiment::expect::{Expected, leaves, survives};
use crate::experiment::marks::Kind;
use crate::experiment::record::{Experiment, Figures, OneRun};
use crate::experiment::{Marker, Milestone, Summary};
use crate::experiment::{headline, why};
use crate::playbook::checks::Check;
use crate::report::html::experiment::{ExperimentPage, ModeResult, RunResult, Seen, Spread};
use crate::report::html::parts::{Answer, CheckRow, Fact, Mood, Verdict};
use camino::Utf8Path;
use host::failure::Exit;

/// The page of an experiment whose evidence lies in `folder`.
pub fn of(all: &Experiment, folder: &Utf8Path) -> ExperimentPage {
    ExperimentPage {
        host: all.host.to_string(),
        command: files::command(folder).unwrap_or_else(|| format!("experiment {}", all.host)),
        started: all.started.clone(),
        version: all.version.clone(),
        verdict: verdict(all),
        facts: facts(all),
        milestones: Milestone::ALL.iter().map(ToString::to_string).collect(),
        markers: Marker::ALL.iter().map(ToString::to_string).collect(),
        modes: all.figures.iter().map(|figures| mode(figures, &all.runs)).collect(),
        leaks: all.leaks.iter().map(|leak| (leak.what.clone(), leak.why.clone())).collect(),
        files: files::of_experiment(folder),
    }
}

fn verdict(all: &Experiment) -> Verdict {
    let first = all.runs.iter().find(|run| !run.passed());
    Verdict {
        mood: match all.exit {
            Some(Exit::Passed | Exit::Leaked) => Mood::Good,
            Some(Exit::Verify | Exit::Guest) => Mood::Bad,
            _ => Mood::Open,
        },
        headline: headline(all),
        failed_in: first.map(|run| format!("run {} ({})", run.number, run.mode)),
        failure: why(all).map(|failure| failure.chain).unwrap_or_default(),
        next: why(all).and_then(|failure| failure.next).into_iter().collect(),
        commands: Vec::new(),
        symptoms: first.map(OneRun::wrong).unwrap_or_default(),
    }
}

fn facts(all: &Experiment) -> Vec<Fact> {
    let order: Vec<_> = all.order.iter().map(|mode| mode.name()).collect();
    let facts = [
        ("VM", all.vm.to_string()),
        ("image", all.made_of.image.clone()),
        ("accelerator", all.made_of.accel.clone()),
        ("QEMU", all.made_of.qemu.clone()),
        ("network", format!("{}, egress {}", all.made_of.net, all.made_of.egress)),
        ("runs", format!("{} of {}, {} of each mode", all.runs.len(), all.order.len(), all.runs_per_mode)),
        ("seed", all.seed.to_string()),
        ("order", order.join(", ")),
        ("took", format!("{:.0} min", (all.seconds / 60.0).ceil())),
        ("boma-qemu", all.version.clone()),
    ];
    let known = facts.into_iter().filter(|(_, value)| !value.is_empty());
    known.map(|(label, value)| Fact { label: label.into(), value }).collect()
}

fn mode(figures: &Figures, runs: &[OneRun]) -> ModeResult {
    let mode = figures.mode;
    let own = runs.iter().filter(|run| run.mode == mode);
    ModeResult {
        name: mode.to_string(),
        how: mode.help().into(),
        expected: mode.row().to_string(),
        runs: own.enumerate().map(|(n, run)| result(n + 1, run)).collect(),
        summary: Milestone::ALL.iter().map(|milestone| figures.milestones.get(milestone).map(spread)).collect(),
    }
}

/// A single run has no spread: then the least and the most are what it is.
fn spread(summary: &Summary) -> Spread {
    let (n, median_s) = (summary.n, summary.median);
    let (min_s, max_s) = summary.spread.map_or((median_s, median_s), |spread| (spread.min, spread.max));
    Spread { n, median_s, min_s, max_s }
}

fn result(number: usize, run: &OneRun) -> RunResult {
    RunResult {
        number,
        place: run.number,
        seconds: run.seconds,
        evidence: evidence(run),
        at_s: Milestone::ALL.iter().map(|milestone| run.milestones.at(*milestone)).collect(),
        markers: Marker::ALL.iter().map(|marker| shown(run, *marker)).collect(),
        unclean: unclean(run),
        findings: run.state.as_ref().map(state),
        checks: run.checks.iter().flatten().map(row).collect(),
        wrong: run.wrong(),
        folder: Some(run.folder.clone()),
    }
}

fn evidence(run: &OneRun) -> Answer {
    match &run.restart {
        Some(restart) => {
            let seen: Vec<_> = restart.evidence.iter().map(ToString::to_string).collect();
            Answer { ok: true, said: seen.join(", "), looked: true }
        }
        None => Answer { ok: false, said: run.wrong().join("; "), looked: true },
    }
}

fn shown(run: &OneRun, marker: Marker) -> Seen {
    let fates = run.markers.iter().flat_map(|own| &own.fates);
    let fate = fates.clone().find(|(own, _)| *own == marker).map(|(_, fate)| *fate);
    let must = match survives(run.mode, marker) {
        Expected::Yes => "survived",
        Expected::No => "lost",
        Expected::Either => "",
    };
    let wrong = run.deviations.iter().any(|deviation| deviation.id == format!("marker/{marker}"));
    Seen {
        said: fate.map_or_else(|| "not read".into(), |fate| fate.to_string()),
        must: must.into(),
        ok: fate.map(|_| !wrong),
    }
}

/// The marks by their kinds: which of them a mode must leave is told with them.
fn unclean(run: &OneRun) -> Seen {
    let must: Vec<_> = Kind::ALL.iter().filter(|kind| leaves(run.mode, **kind) == Expected::Yes).collect();
    let names = |kinds: &[&Kind]| match kinds.is_empty() {
        true => "none".to_owned(),
        false => kinds.iter().map(|kind| kind.name().replace('-', " ")).collect::<Vec<_>>().join(", "),
    };
    let Some(marks) = &run.marks else {
        return Seen { said: "not read".into(), must: names(&must), ok: None };
    };
    let there: Vec<_> = Kind::ALL.iter().filter(|kind| marks.iter().any(|mark| mark.kind == **kind)).collect();
    let ok = !run.deviations.iter().any(|deviation| deviation.id.starts_with("mark/"));
    Seen { said: names(&there), must: names(&must), ok: Some(ok) }
}

fn row(check: &Check) -> CheckRow {
    let answer = Answer { ok: check.ok, said: check.detail.clone(), looked: check.looked };
    CheckRow { id: check.id.clone(), hint: check.hint, answers: vec![Some(answer)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_it_must_be_is_shown_beside_what_it_must_be() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(dir.path()).unwrap();
        std::fs::write(folder.join("started"), "2026-11-21T10:00:00Z\nexperiment askari --modes reset\n").unwrap();
        let page = of(&crate::experiment::sample::experiment(), folder);
        assert_eq!(page.command, "experiment askari --modes reset");
        assert_eq!(page.verdict.mood, Mood::Bad);
        assert_eq!(page.verdict.failed_in.as_deref(), Some("run 2 (power-loss)"));
        let (reset, loss) = (&page.modes[0], &page.modes[1]);
        let told = |seen: &Seen| (seen.said.clone(), seen.must.clone(), seen.ok);
        assert_eq!(told(&reset.runs[0].markers[1]), ("lost".into(), "lost".into(), Some(true)));
        assert_eq!(told(&loss.runs[0].markers[2]), ("survived".into(), "lost".into(), Some(false)));
        assert_eq!(told(&reset.runs[0].unclean), ("journal replayed".into(), "journal replayed".into(), Some(true)));
        assert_eq!(told(&loss.runs[0].unclean), ("none".into(), "journal replayed".into(), Some(false)));
        assert_eq!((reset.runs[1].number, reset.runs[1].place), (2, 3));
        assert_eq!(reset.runs[1].wrong, ["check/docker: must be ok, is dead"]);
        let settled = reset.summary[Milestone::Settled as usize].unwrap();
        assert_eq!((settled.n, settled.median_s, settled.min_s, settled.max_s), (2, 42.0, 41.0, 43.0));
        assert!(crate::report::html::experiment(&page).contains("power-loss"));
    }
}
