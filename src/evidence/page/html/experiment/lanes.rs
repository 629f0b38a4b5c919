//! The modes in time, on one scale: where each spends it.

use super::super::scale::Scale;
use super::super::text::{Told, seconds};
use super::ModeRuns;
use crate::experiment::Milestone;
use crate::experiment::record::OneRun;
use maud::{Markup, html};

/// How high the median's bar and each run's line are, in pixels, with the space below them.
const BAR: usize = 22;
const LINE: usize = 9;

pub(super) fn shown(modes: &[ModeRuns<'_>]) -> Markup {
    let runs = modes.iter().flat_map(|mode| &mode.runs);
    let reached = runs.flat_map(|shown| shown.run.milestones.iter()).map(|(_, at)| at);
    let Some(last) = reached.reduce(f64::max) else { return html! { p { "No run reached a milestone." } } };
    let scale = Scale::to(last);
    html! {
        ol.legend aria-label="The pieces of a bar, by the milestone that each ends with" {
            @for (n, milestone) in Milestone::ALL.iter().enumerate() {
                li { span class=(format!("key m{n}")) aria-hidden="true" { (n + 1) } " " (milestone.name()) }
            }
        }
        table."flow plain lanes" role="table" {
            thead role="rowgroup" { tr role="row" {
                th scope="col" role="columnheader" { "mode" }
                th.num scope="col" role="columnheader" { "median" }
                th.bar role="columnheader" { span.hidden { "from asking to each milestone" } (scale.axis()) }
            } }
            tbody role="rowgroup" { @for mode in modes { (lane(mode, scale)) } }
        }
    }
}

/// A mode's medians, by the number of their milestones.
fn medians(mode: &ModeRuns<'_>) -> Vec<(usize, f64)> {
    let reached = Milestone::ALL.iter().enumerate();
    reached.filter_map(|(n, milestone)| Some((n, mode.figures.milestones.get(milestone)?.median))).collect()
}

fn lane(mode: &ModeRuns<'_>, scale: Scale) -> Markup {
    let last = medians(mode).last().map(|(_, median)| *median);
    html! {
        tr role="row" {
            th scope="row" role="rowheader" { (mode.name()) br; span."small soft" { (Told(mode.figures.mode.help())) } }
            td.num role="cell" { @if let Some(last) = last { (seconds(last)) } @else { "–" } }
            td.bar role="cell" {
                svg role="img" aria-label=(in_words(mode)) style=(format!("--height: {}px", BAR + LINE * mode.runs.len() + 4)) {
                    (scale.grid())
                    (median(mode, scale))
                    @for (n, shown) in mode.runs.iter().enumerate() { (line(shown.run, BAR + 5 + LINE * n, scale)) }
                }
            }
        }
    }
}

/// The median as a bar of pieces, each ending with a milestone and named by its number where there is room.
fn median(mode: &ModeRuns<'_>, scale: Scale) -> Markup {
    // Medians of different runs may overtake each other by a moment; a piece is never less than nothing.
    let pieces: Vec<_> = medians(mode)
        .into_iter()
        .scan(0.0_f64, |from, (n, to)| {
            let begin = std::mem::replace(from, from.max(to));
            Some((n, begin, from.max(to)))
        })
        .collect();
    html! {
        @for (n, from, to) in &pieces {
            rect class=(format!("m{n}")) x=(scale.place(*from)) y="2" width=(scale.share(to - from)) height=(BAR - 4) {}
            @if to - from > scale.total() * 0.03 {
                text class=(format!("in m{n}")) x=(scale.place(f64::midpoint(*from, *to))) y=(BAR / 2 + 4) text-anchor="middle" { (n + 1) }
            }
        }
    }
}

/// One run as a thin line with a stroke at each milestone, and a cross at its end if it was not as it must be.
fn line(run: &OneRun, y: usize, scale: Scale) -> Markup {
    let end = run.milestones.iter().map(|(_, at)| at).fold(0.0, f64::max);
    let class = if run.passed() { "run" } else { "run failed" };
    html! {
        line class=(class) x1="0" x2=(scale.place(end)) y1=(y) y2=(y) {}
        @for (_, at) in run.milestones.iter() {
            line class=(class) x1=(scale.place(at)) x2=(scale.place(at)) y1=(y - 3) y2=(y + 3) {}
        }
        @if !run.passed() { text.failed x=(scale.place(end)) dx="4" y=(y + 4) { "✗" } }
    }
}

/// What the lane shows, for those who cannot see it.
fn in_words(mode: &ModeRuns<'_>) -> String {
    let said = |(n, median): (usize, f64)| format!("{} after {}", Milestone::ALL[n].name(), seconds(median));
    let said: Vec<_> = medians(mode).into_iter().map(said).collect();
    match said.is_empty() {
        true => format!("{}: no milestone was reached", mode.name()),
        false => format!("{}, medians of {} runs: {}", mode.name(), mode.runs.len(), said.join(", ")),
    }
}
