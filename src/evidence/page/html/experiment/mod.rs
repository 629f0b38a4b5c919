//! The page of an experiment: the same machine, restarted in every way, side by side.

mod crash;
mod figures;
mod lanes;
mod matrix;
mod runs;
mod state;

use super::head::Short;
use super::parts::{FileLink, Mood, StateFinding, Verdict};
use super::text::count;
use super::{findings, head, part};
use crate::experiment::record::{Experiment, Figures, OneRun};
use crate::experiment::{headline, why};
use crate::page::files;
use camino::Utf8Path;
use host::failure::Exit;
use maud::{Markup, html};

/// The page of an experiment: its record, and what is read from the evidence beside it.
#[derive(Clone, Debug)]
pub struct ExperimentPage<'a> {
    /// The record.
    pub all: &'a Experiment,
    /// What was asked for (`experiment askari --modes guest,reset --runs 2`).
    pub command: String,
    /// The evidence.
    pub files: Vec<FileLink>,
}

/// The page of an experiment whose evidence lies in `folder`.
pub fn of<'a>(all: &'a Experiment, folder: &Utf8Path) -> ExperimentPage<'a> {
    let command = files::command(folder).unwrap_or_else(|| format!("experiment {}", all.host));
    ExperimentPage { all, command, files: files::of_experiment(folder) }
}

/// One mode and its runs.
struct ModeRuns<'a> {
    figures: &'a Figures,
    runs: Vec<Shown<'a>>,
}

/// One run of a mode.
struct Shown<'a> {
    /// Its number within the mode, from 1.
    number: usize,
    run: &'a OneRun,
    /// The differences of state; none where it was not observed.
    state: Option<Vec<StateFinding>>,
}

impl ModeRuns<'_> {
    fn name(&self) -> &'static str {
        self.figures.mode.name()
    }
}

/// The modes, in the order asked for.
fn modes(all: &Experiment) -> Vec<ModeRuns<'_>> {
    let mode = |figures| ModeRuns { figures, runs: runs_of(figures, &all.runs) };
    all.figures.iter().map(mode).collect()
}

fn runs_of<'a>(figures: &Figures, runs: &'a [OneRun]) -> Vec<Shown<'a>> {
    let own = runs.iter().filter(|run| run.mode == figures.mode).enumerate();
    own.map(|(n, run)| Shown { number: n + 1, run, state: run.state.as_ref().map(findings::of) }).collect()
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

fn facts(all: &Experiment) -> Vec<(&'static str, String)> {
    let order: Vec<_> = all.order.iter().map(|mode| mode.name()).collect();
    vec![
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
    ]
}

/// The page without its frame.
pub(super) fn body(page: &ExperimentPage<'_>) -> Markup {
    let (all, modes) = (page.all, modes(page.all));
    html! {
        (head::head(&page.command, &all.started, &verdict(all), &strip(&modes, page.files.len())))
        (part("time", "Time", "From asking to each milestone: the median of a mode's runs as a bar, each run as a line below it.", &lanes::shown(&modes)))
        (part("findings", "Findings", "What each mode does to the same machine. A mode must do what its row says, no less and no more.", &matrix::shown(&modes)))
        (part("figures", "Figures", "Medians in seconds from asking, and below them the least and the most.", &figures::table(&modes)))
        (part("state", "State", "What was there before and is not as it was after, by the modes that did it.", &state::shown(&modes)))
        (part("runs", "Runs", "In the order in which they were made; each began from the same snapshot.", &runs::table(&modes)))
        @if let Some(crash) = &all.crash {
            (part("crash", "Crash states", "What a power loss at the end of the workload could have left, state by state.", &crash::shown(crash)))
        }
        @if !all.leaks.is_empty() {
            (part("leaks", "Left behind", "What the teardown could not remove from this host.", &head::leaks(&all.leaks)))
        }
        (part("made-of", "Made of", "", &head::facts(&facts(all))))
        (part("evidence", "Evidence", "The files beside this page.", &head::files(&page.files)))
        (head::foot(&all.version))
    }
}

fn strip(modes: &[ModeRuns<'_>], files: usize) -> Vec<Short> {
    let runs = || modes.iter().flat_map(|mode| &mode.runs).map(|shown| shown.run);
    let (all, bad) = (runs().count(), runs().filter(|run| !run.passed()).count());
    let of_runs = match bad {
        0 => (count(all, "run"), None),
        _ => (format!("{bad} of {all} not as they must be"), Some(false)),
    };
    let evidence = runs().filter(|run| run.restart.is_none()).count();
    let proved = match (all, evidence) {
        (0, _) => ("none".into(), None),
        (_, 0) => ("as asked for, each time".into(), Some(true)),
        (_, n) => (format!("not shown in {}", count(n, "run")), Some(false)),
    };
    let short = |id, name, (says, mood): (String, Option<bool>)| Short { id, name, says, mood };
    vec![
        short("time", "Modes", (modes.len().to_string(), None)),
        short("runs", "Runs", of_runs),
        short("findings", "Evidence", proved),
        short("state", "State", state::short(modes)),
        short("evidence", "Files", (files.to_string(), None)),
    ]
}

#[cfg(test)]
pub(super) mod tests;
