//! Modes by findings: what each mode did to the machine, over all of its runs.

use super::super::checks;
use super::super::findings::open;
use super::super::text::count;
use super::{ExperimentPage, ModeResult, RunResult, Seen};
use maud::{Markup, html};

/// What one run says about one thing, in a few words, and whether that is as it must be.
type Said = (String, Option<bool>);

pub(super) fn shown(page: &ExperimentPage) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="What each mode did to the machine" {
            table.wide {
                thead {
                    tr {
                        th rowspan="2" scope="col" { "mode" }
                        th rowspan="2" scope="col" { "evidence" }
                        @if !page.markers.is_empty() { th.group colspan=(page.markers.len()) scope="colgroup" { "what was written" } }
                        th rowspan="2" scope="col" { "unclean end" }
                        th rowspan="2" scope="col" { "state" }
                        th rowspan="2" scope="col" { "checks" }
                    }
                    tr { @for name in &page.markers { th scope="col" { (name) } } }
                }
                tbody { @for mode in &page.modes { (row(page, mode)) } }
            }
        }
    }
}

fn row(page: &ExperimentPage, mode: &ModeResult) -> Markup {
    html! {
        tr {
            th scope="row" { (mode.name) }
            td { (cell(mode, |run| Some(evidence(run)))) div."small soft expected" { (mode.expected) } }
            @for n in 0..page.markers.len() { td { (cell(mode, |run| run.markers.get(n).map(said))) } }
            td.marks { (cell(mode, |run| Some(said(&run.unclean)))) }
            td { (cell(mode, state)) }
            td { (cell(mode, |run| Some(checks::tally(&run.checks)))) }
        }
    }
}

fn evidence(run: &RunResult) -> Said {
    match run.evidence.ok {
        true => ("as it must be".into(), Some(true)),
        false => ("not shown".into(), Some(false)),
    }
}

fn said(seen: &Seen) -> Said {
    match seen.ok {
        Some(false) if !seen.must.is_empty() => (format!("{}, must be {}", seen.said, seen.must), Some(false)),
        ok => (seen.said.clone(), ok),
    }
}

fn state(run: &RunResult) -> Option<Said> {
    let n = open(run.findings.as_deref()?).count();
    Some(match n {
        0 => ("nothing lost".into(), Some(true)),
        n => (count(n, "finding"), Some(false)),
    })
}

/// What the runs of a mode say, once if they agree, else each with how many say so.
fn cell(mode: &ModeResult, says: impl Fn(&RunResult) -> Option<Said>) -> Markup {
    let mut told: Vec<(Said, usize)> = Vec::new();
    for said in mode.runs.iter().map(|run| says(run).unwrap_or_else(|| ("not known".into(), None))) {
        match told.iter_mut().find(|(known, _)| *known == said) {
            Some((_, n)) => *n += 1,
            None => told.push((said, 1)),
        }
    }
    let all = mode.runs.len();
    html! {
        @if told.is_empty() { span.soft { "–" } }
        @for ((words, ok), n) in &told {
            div.said {
                @match ok {
                    Some(true) => { span.good aria-hidden="true" { "✓ " } (words) }
                    Some(false) => { span.bad { span aria-hidden="true" { "✗ " } b { (words) } } }
                    None => { span.soft { (words) } }
                }
                @if told.len() > 1 { span."small soft nowrap" { " " (n) " of " (all) } }
            }
        }
    }
}
