//! The medians and their spread as a table.

use super::ModeRuns;
use crate::experiment::{Milestone, Summary};
use maud::{Markup, html};

pub(super) fn table(modes: &[ModeRuns<'_>]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Medians and spread of each mode's milestones" {
            table.wide {
                thead { tr {
                    th scope="col" { "mode" }
                    th.num scope="col" { "runs" }
                    @for milestone in Milestone::ALL { th.num scope="col" { (milestone.name()) } }
                } }
                tbody { @for mode in modes { tr {
                    th scope="row" { (mode.name()) }
                    td.num { (mode.runs.len()) }
                    @for milestone in Milestone::ALL {
                        td.num { (figure(mode.figures.milestones.get(&milestone), mode.runs.len())) }
                    }
                } } }
            }
        }
    }
}

/// The median; below it the spread, and how many runs it is of, where that is not all of them.
fn figure(summary: Option<&Summary>, runs: usize) -> Markup {
    let Some(Summary { n, median, spread }) = summary else { return html! { span.soft { "–" } } };
    html! {
        (format!("{median:.1}"))
        @if let Some(spread) = spread { div."small soft" { (format!("{:.1}–{:.1}", spread.min, spread.max)) } }
        @if *n != runs { div."small warn" { (n) " of " (runs) } }
    }
}
