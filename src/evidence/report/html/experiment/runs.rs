//! Every run, in the order in which they were made.

use super::super::text::{Told, link, seconds};
use super::{ExperimentPage, ModeResult, RunResult};
use maud::{Markup, html};

pub(super) fn table(page: &ExperimentPage) -> Markup {
    let mut runs: Vec<(&ModeResult, &RunResult)> =
        page.modes.iter().flat_map(|mode| mode.runs.iter().map(move |run| (mode, run))).collect();
    runs.sort_by_key(|(_, run)| run.place);
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
                tbody { @for (mode, run) in runs { tr {
                    td.num { (run.place) }
                    th scope="row" {
                        @match &run.folder {
                            Some(folder) => a href=(link(folder)) { (mode.name) " " (run.number) },
                            None => { (mode.name) " " (run.number) }
                        }
                    }
                    td.num { (seconds(run.seconds)) }
                    td { (outcome(run)) }
                } } }
            }
        }
    }
}

fn outcome(run: &RunResult) -> Markup {
    html! {
        @if run.evidence.ok { span."small soft" { (Told(&run.evidence.said)) } }
        @for wrong in &run.wrong {
            div.small { span.bad { span aria-hidden="true" { "✗ " } span.hidden { "wrong: " } } (Told(wrong)) }
        }
    }
}
