//! The proof of the restart: who said what, and when.

use super::super::text::{Told, count, seconds};
use super::Proof;
use maud::{Markup, html};

pub(super) fn shown(proof: &Proof) -> Markup {
    let (before, after) = &proof.boot_ids;
    html! {
        p { b { (Told(&proof.mode)) } }
        @if before == after { p { "The same boot, " code { (before) } ", as it must be." } }
        ol.steps { @for witness in &proof.witnesses { li {
            span.when { @if let Some(at) = witness.at_s { (seconds(at)) } }
            span { span.soft { (witness.who) ": " } (Told(&witness.said)) }
        } } }
        p {
            @for (name, at) in &proof.milestones { (name) " after " b { (seconds(*at)) } ", " }
            "as " b { (Told(&proof.settled)) }
            @if proof.failed_units.is_empty() { ", without a failed unit." }
            @else {
                ", with " span.tag.bad { span aria-hidden="true" { "✗ " } (count(proof.failed_units.len(), "failed unit")) } ": "
                @for (n, unit) in proof.failed_units.iter().enumerate() { @if n > 0 { ", " } code { (Told(unit)) } }
                "."
            }
        }
    }
}
