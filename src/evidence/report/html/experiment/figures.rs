//! The medians and their spread as a table.

use super::{ExperimentPage, Spread};
use maud::{Markup, html};

pub(super) fn table(page: &ExperimentPage) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Medians and spread of each mode's milestones" {
            table.wide {
                thead { tr {
                    th scope="col" { "mode" }
                    th.num scope="col" { "runs" }
                    @for name in &page.milestones { th.num scope="col" { (name) } }
                } }
                tbody { @for mode in &page.modes { tr {
                    th scope="row" { (mode.name) }
                    td.num { (mode.runs.len()) }
                    @for n in 0..page.milestones.len() {
                        td.num { (figure(mode.summary.get(n).copied().flatten(), mode.runs.len())) }
                    }
                } } }
            }
        }
    }
}

/// The median; below it the spread, and how many runs it is of, where that is not all of them.
fn figure(spread: Option<Spread>, runs: usize) -> Markup {
    let Some(Spread { n, median_s, min_s, max_s }) = spread else { return html! { span.soft { "–" } } };
    html! {
        (format!("{median_s:.1}"))
        @if n > 1 { div."small soft" { (format!("{min_s:.1}–{max_s:.1}")) } }
        @if n != runs { div."small warn" { (n) " of " (runs) } }
    }
}
