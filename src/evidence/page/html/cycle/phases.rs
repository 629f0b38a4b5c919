//! The phases of a run on one scale: where the time went.

use super::super::scale::Scale;
use super::super::text::{Told, seconds};
use crate::record::Phase;
use maud::{Markup, html};

pub(super) fn table(phases: &[Phase]) -> Markup {
    let scale = Scale::to(phases.iter().map(|phase| phase.seconds).sum());
    // Stages can be hours apart; what is drawn is the work, one piece after the other.
    let begins = phases.iter().scan(0.0, |at, phase| Some(std::mem::replace(at, *at + phase.seconds)));
    html! {
        table.flow role="table" {
            thead role="rowgroup" { tr role="row" {
                th scope="col" role="columnheader" { "phase" }
                th.num scope="col" role="columnheader" { "took" }
                th.bar role="columnheader" { span.hidden { "when" } (scale.axis()) }
                th scope="col" role="columnheader" { "what came of it" }
            } }
            tbody role="rowgroup" { @for (phase, at) in phases.iter().zip(begins) { tr role="row" {
                th scope="row" role="rowheader" {
                    (phase.name)
                    @if !phase.ok { " " span.tag.bad { span aria-hidden="true" { "✗ " } "failed" } }
                }
                td.num role="cell" { (seconds(phase.seconds)) }
                td.bar role="cell" { (scale.bar(at, phase.seconds, if phase.ok { "took" } else { "failed" })) }
                td."text small soft" role="cell" { (Told(&phase.outcome)) }
            } } }
        }
    }
}
