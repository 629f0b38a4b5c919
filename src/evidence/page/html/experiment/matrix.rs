//! Modes by findings: what each mode did to the machine, over all of its runs.

use super::super::checks;
use super::super::findings::open;
use super::super::text::count;
use super::{ModeRuns, Shown};
use crate::experiment::Marker;
use crate::experiment::expect::{Expected, leaves, survives};
use crate::experiment::marks::Kind;
use crate::experiment::record::OneRun;
use maud::{Markup, html};

/// Something that was seen, and whether it is as it must be.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// What was seen, in a word (`survived`, `lost`, `torn`, `not read`).
    pub(super) said: String,
    /// What it must be, in a word; empty where either is right.
    pub(super) must: String,
    /// Whether it is so; none where it is not known.
    pub(super) ok: Option<bool>,
}

/// What one run says about one thing, in a few words, and whether that is as it must be.
type Said = (String, Option<bool>);

pub(super) fn shown(modes: &[ModeRuns<'_>]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="What each mode did to the machine" {
            table.wide {
                thead {
                    tr {
                        th rowspan="2" scope="col" { "mode" }
                        th rowspan="2" scope="col" { "evidence" }
                        th.group colspan=(Marker::ALL.len()) scope="colgroup" { "what was written" }
                        th rowspan="2" scope="col" { "unclean end" }
                        th rowspan="2" scope="col" { "state" }
                        th rowspan="2" scope="col" { "checks" }
                    }
                    tr { @for marker in Marker::ALL { th scope="col" { (marker.to_string()) } } }
                }
                tbody { @for mode in modes { (row(mode)) } }
            }
        }
    }
}

fn row(mode: &ModeRuns<'_>) -> Markup {
    html! {
        tr {
            th scope="row" { (mode.name()) }
            td { (cell(mode, |shown| Some(evidence(shown.run)))) div."small soft expected" { (mode.figures.mode.row().to_string()) } }
            @for marker in Marker::ALL { td { (cell(mode, |shown| Some(said(&written(shown.run, marker))))) } }
            td.marks { (cell(mode, |shown| Some(said(&unclean(shown.run))))) }
            td { (cell(mode, state)) }
            td { (cell(mode, |shown| Some(checks::tally(shown.run.checks.as_deref().unwrap_or_default())))) }
        }
    }
}

fn evidence(run: &OneRun) -> Said {
    match run.restart.is_some() {
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

fn state(shown: &Shown<'_>) -> Option<Said> {
    let n = open(shown.state.as_deref()?).count();
    Some(match n {
        0 => ("nothing lost".into(), Some(true)),
        n => (count(n, "finding"), Some(false)),
    })
}

/// What the runs of a mode say, once if they agree, else each with how many say so.
fn cell(mode: &ModeRuns<'_>, says: impl Fn(&Shown<'_>) -> Option<Said>) -> Markup {
    let mut told: Vec<(Said, usize)> = Vec::new();
    for said in mode.runs.iter().map(|shown| says(shown).unwrap_or_else(|| ("not known".into(), None))) {
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

/// What became of a marker.
pub(super) fn written(run: &OneRun, marker: Marker) -> Seen {
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
pub(super) fn unclean(run: &OneRun) -> Seen {
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
