//! The boots by systemd's own figures, below each other on one scale, so that they can be compared.

use super::super::scale::Scale;
use super::super::text::{Told, seconds};
use super::{Boot, Unit};
use maud::{Markup, html};

pub(super) fn shown(boots: &[Boot]) -> Markup {
    let length = |boot: &Boot| {
        let stages = boot.stages.iter().map(|(_, seconds)| seconds).sum();
        boot.units.iter().chain(&boot.chain).map(|unit| unit.at_s + unit.took_s).fold(stages, f64::max)
    };
    let scale = Scale::to(boots.iter().map(length).fold(0.0, f64::max));
    html! {
        @for boot in boots {
            h3 { (boot.when) }
            @if let Some(why) = &boot.missing { p { "There are no figures: " (Told(why)) } }
            @else { (figures(boot, scale)) }
        }
    }
}

fn figures(boot: &Boot, scale: Scale) -> Markup {
    let total: f64 = boot.stages.iter().map(|(_, took)| took).sum();
    html! {
        p { b { (seconds(total)) } " in all" span."small soft" { " · " (Told(&boot.system)) " · boot id " code { (Told(&boot.boot_id)) } } }
        table."flow plain" role="table" {
            (head("stage, slowest units", scale))
            tbody role="rowgroup" {
                @for row in stages(&boot.stages) { (unit_row(&row, "strong", scale)) }
                @for unit in &boot.units { (unit_row(unit, "took", scale)) }
            }
        }
        @if !boot.chain.is_empty() {
            details {
                summary { "What " code { (boot.chain[0].name) } " waited for" }
                table."flow plain" role="table" {
                    (head("unit, each ordered after the next", scale))
                    tbody role="rowgroup" { @for unit in &boot.chain { (unit_row(unit, "took", scale)) } }
                }
            }
        }
    }
}

/// The stages, one after the other, as rows like those of units.
fn stages(stages: &[(String, f64)]) -> Vec<Unit> {
    let begins = stages.iter().scan(0.0, |at, (_, took)| Some(std::mem::replace(at, *at + took)));
    let row =
        |((name, took), at): (&(String, f64), f64)| Unit { name: name.clone(), at_s: at, took_s: *took, failed: false };
    stages.iter().zip(begins).map(row).collect()
}

fn head(name: &str, scale: Scale) -> Markup {
    html! {
        thead role="rowgroup" { tr role="row" {
            th scope="col" role="columnheader" { (name) }
            th.num scope="col" role="columnheader" { "took" }
            th.bar role="columnheader" { span.hidden { "when" } (scale.axis()) }
        } }
    }
}

fn unit_row(unit: &Unit, class: &str, scale: Scale) -> Markup {
    html! {
        tr role="row" {
            th scope="row" role="rowheader" {
                @if class == "strong" { (unit.name) } @else { code { (Told(&unit.name)) } }
                @if unit.failed { " " span.tag.bad { span aria-hidden="true" { "✗ " } "failed" } }
            }
            td.num role="cell" { (seconds(unit.took_s)) span.hidden { ", from " (seconds(unit.at_s)) " on" } }
            td.bar role="cell" { (scale.bar(unit.at_s, unit.took_s, if unit.failed { "failed" } else { class })) }
        }
    }
}
