//! The page of an experiment: the same machine, restarted in every way, side by side.

mod figures;
mod lanes;
mod matrix;
mod runs;
mod state;

use super::head::Short;
use super::parts::{Answer, CheckRow, Fact, FileLink, StateFinding, Verdict};
use super::text::count;
use super::{head, part};
use maud::{Markup, html};

/// Everything that the page of an experiment shows.
#[derive(Clone, Debug, Default)]
pub struct ExperimentPage {
    /// The mirrored host.
    pub host: String,
    /// What was asked for (`experiment askari --modes guest,reset --runs 2`).
    pub command: String,
    /// When the experiment began (UTC).
    pub started: String,
    /// The version of boma-qemu that wrote it.
    pub version: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What the VM was made of, seeds, and versions.
    pub facts: Vec<Fact>,
    /// The milestones in their order (`down`, `firmware`, … `verified`).
    pub milestones: Vec<String>,
    /// The markers (`fsynced`, `page cache`, `direct`): what a restart can lose.
    pub markers: Vec<String>,
    /// The modes, in the order asked for.
    pub modes: Vec<ModeResult>,
    /// What was left on this host: what, and why.
    pub leaks: Vec<(String, String)>,
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
    /// How long all of it took, in seconds.
    pub seconds: f64,
    /// Whether the machine gave the evidence of the mode, and what it was.
    pub evidence: Answer,
    /// Seconds from asking to each milestone, in their order; none where it was not reached.
    pub at_s: Vec<Option<f64>>,
    /// What became of the markers, in their order.
    pub markers: Vec<Seen>,
    /// The marks of an unclean end that the new boot showed (`journal replayed`, or `none`).
    pub unclean: Seen,
    /// The differences of state; none where it was not observed.
    pub findings: Option<Vec<StateFinding>>,
    /// The outcome checks, with one answer each; empty where they did not run.
    pub checks: Vec<CheckRow>,
    /// What is not as it must be, the first of it first.
    pub wrong: Vec<String>,
    /// Its evidence folder, relative to the page.
    pub folder: Option<String>,
}

/// Something that was seen, and whether it is as it must be.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What was seen, in a word (`survived`, `lost`, `torn`, `not read`).
    pub said: String,
    /// What it must be, in a word; empty where either is right.
    pub must: String,
    /// Whether it is so; none where it is not known.
    pub ok: Option<bool>,
}

impl RunResult {
    /// Whether all of it was as it must be.
    fn passed(&self) -> bool {
        self.wrong.is_empty()
    }
}

/// The page without its frame.
pub(super) fn body(page: &ExperimentPage) -> Markup {
    html! {
        (head::head(&page.command, &page.started, &page.verdict, &strip(page)))
        (part("time", "Time", "From asking to each milestone: the median of a mode's runs as a bar, each run as a line below it.", &lanes::shown(page)))
        (part("findings", "Findings", "What each mode does to the same machine. A mode must do what its row says, no less and no more.", &matrix::shown(page)))
        (part("figures", "Figures", "Medians in seconds from asking, and below them the least and the most.", &figures::table(page)))
        (part("state", "State", "What was there before and is not as it was after, by the modes that did it.", &state::shown(page)))
        (part("runs", "Runs", "In the order in which they were made; each began from the same snapshot.", &runs::table(page)))
        @if !page.leaks.is_empty() {
            (part("leaks", "Left behind", "What the teardown could not remove from this host.", &head::leaks(&page.leaks)))
        }
        (part("made-of", "Made of", "", &head::facts(&page.facts)))
        (part("evidence", "Evidence", "The files beside this page.", &head::files(&page.files)))
        (head::foot(&page.version))
    }
}

fn strip(page: &ExperimentPage) -> Vec<Short> {
    let runs = || page.modes.iter().flat_map(|mode| &mode.runs);
    let (all, bad) = (runs().count(), runs().filter(|run| !run.passed()).count());
    let of_runs = match bad {
        0 => (count(all, "run"), None),
        _ => (format!("{bad} of {all} not as they must be"), Some(false)),
    };
    let evidence = runs().filter(|run| !run.evidence.ok).count();
    let proved = match (all, evidence) {
        (0, _) => ("none".into(), None),
        (_, 0) => ("as asked for, each time".into(), Some(true)),
        (_, n) => (format!("not shown in {}", count(n, "run")), Some(false)),
    };
    let short = |id, name, (says, mood): (String, Option<bool>)| Short { id, name, says, mood };
    vec![
        short("time", "Modes", (page.modes.len().to_string(), None)),
        short("runs", "Runs", of_runs),
        short("findings", "Evidence", proved),
        short("state", "State", state::short(page)),
        short("evidence", "Files", (page.files.len().to_string(), None)),
    ]
}

#[cfg(test)]
pub(super) mod tests;
