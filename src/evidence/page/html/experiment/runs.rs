//! Every run, in the order in which they were made.

use super::super::text::{Told, link, seconds};
use super::{ModeRuns, Shown};
use crate::experiment::record::OneRun;
use maud::{Markup, html};

pub(super) fn table(modes: &[ModeRuns<'_>]) -> Markup {
    let mut runs: Vec<_> = modes.iter().flat_map(|mode| &mode.runs).collect();
    runs.sort_by_key(|shown| shown.run.number);
    html! {
        @if runs.is_empty() { p { "No run was made." } }
        @else {
            table.runs {
                thead { tr {
                    th.num scope="col" { "no." }
                    th scope="col" { "mode" }
                    th.num scope="col" { "took" }
                    th scope="col" { "what it showed" }
                } }
                tbody { @for Shown { number, run, .. } in runs { tr {
                    td.num { (run.number) }
                    th scope="row" {
                        a href=(link(&run.folder)) { (run.mode.name()) " " (number) }
                    }
                    td.num { (seconds(run.seconds)) }
                    td { (outcome(run)) }
                } } }
            }
        }
    }
}

fn outcome(run: &OneRun) -> Markup {
    html! {
        @if let Some(seen) = evidence(run) { span."small soft" { (Told(&seen)) } }
        @for wrong in run.wrong() {
            div.small { span.bad { span aria-hidden="true" { "✗ " } span.hidden { "wrong: " } } (Told(&wrong)) }
        }
    }
}

/// The evidence of the mode that the machine gave; none where it did not.
fn evidence(run: &OneRun) -> Option<String> {
    let seen: Vec<_> = run.restart.as_ref()?.evidence.iter().map(ToString::to_string).collect();
    Some(seen.join(", "))
}
