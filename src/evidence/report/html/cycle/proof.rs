//! The proof of the restart: who said what, and when.

use super::super::text::{Told, seconds};
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
            @if proof.failed_units.is_empty() && proof.restarting.is_empty() { ", without a failed unit" }
            (units(&proof.failed_units, "failed unit"))
            (units(&proof.restarting, "unit between two attempts to start it"))
            @if !proof.activating.is_empty() { ", still starting: " (proof.activating.join(", ")) }
            "."
        }
    }
}

fn units(units: &[String], what: &str) -> Markup {
    let what = if units.len() > 1 { what.replacen("unit", "units", 1) } else { what.to_owned() };
    html! {
        @if !units.is_empty() {
            ", with " span.tag.bad { span aria-hidden="true" { "✗ " } (units.len()) " " (what) } ": "
            @for (n, unit) in units.iter().enumerate() { @if n > 0 { ", " } code { (Told(unit)) } }
        }
    }
}
