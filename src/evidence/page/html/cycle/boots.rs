//! The boots by systemd's own figures, below each other on one scale, so that they can be compared.

use super::super::scale::Scale;
use super::super::text::{Told, seconds};
use crate::page::verdict::its_restart;
use crate::record::Record;
use maud::{Markup, html};
use vm::timeline::{Timeline, Unit};

/// How many units of a boot are shown.
pub(in crate::page) const SLOWEST: usize = 12;

pub(super) fn shown(record: &Record, timelines: &[Option<Timeline>]) -> Markup {
    let length = |boot: &Timeline| {
        let stages = boot.stages.named().iter().map(|(_, seconds)| seconds).sum();
        let (slowest, chain) = (slowest(boot), chain(boot));
        slowest.iter().chain(&chain).map(|unit| unit.at_s + took(unit)).fold(stages, f64::max)
    };
    let scale = Scale::to(timelines.iter().flatten().map(length).fold(0.0, f64::max));
    html! {
        @for (n, (seen, timeline)) in record.boots.iter().zip(timelines).enumerate() {
            h3 { (when(record, n)) " (console/" (seen.console) ".log)" }
            @match timeline {
                Some(boot) => (figures(boot, scale)),
                None => p { "There are no figures: " (Told(seen.why.as_deref().unwrap_or("the file with them is gone"))) },
            }
        }
    }
}

/// Which boot it is.
fn when(record: &Record, n: usize) -> String {
    match n {
        0 => "The fresh guest".to_owned(),
        _ if n + 1 == record.boots.len() && record.reboot.is_some() => format!("After {}", its_restart(record)),
        _ => "After an earlier restart".to_owned(),
    }
}

fn took(unit: &Unit) -> f64 {
    unit.took_s.unwrap_or_default()
}

/// The slowest units, in the order in which they began. A unit that failed is told however fast it was.
pub(in crate::page) fn slowest(boot: &Timeline) -> Vec<&Unit> {
    let mut units: Vec<_> = boot.units.iter().collect();
    units.sort_by(|a, b| b.failed.cmp(&a.failed).then(took(b).total_cmp(&took(a))));
    units.truncate(SLOWEST);
    units.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    units
}

/// The chain of units that the boot waited for, the last to become active first.
pub(in crate::page) fn chain(boot: &Timeline) -> Vec<&Unit> {
    boot.chain.iter().filter_map(|name| boot.units.iter().find(|unit| unit.name == *name)).collect()
}

fn figures(boot: &Timeline, scale: Scale) -> Markup {
    let (stages, chain) = (stages(boot), chain(boot));
    let total: f64 = stages.iter().map(took).sum();
    let system = format!("Linux {}, systemd {}", boot.kernel, boot.systemd);
    html! {
        p { b { (seconds(total)) } " in all" span."small soft" { " · " (Told(&system)) " · boot id " code { (Told(boot.boot_id.as_str())) } } }
        table."flow plain" role="table" {
            (head("stage, slowest units", scale))
            tbody role="rowgroup" {
                @for row in &stages { (unit_row(row, "strong", scale)) }
                @for unit in slowest(boot) { (unit_row(unit, "took", scale)) }
            }
        }
        @if !chain.is_empty() {
            details {
                summary { "What " code { (chain[0].name) } " waited for" }
                table."flow plain" role="table" {
                    (head("unit, each ordered after the next", scale))
                    tbody role="rowgroup" { @for unit in &chain { (unit_row(unit, "took", scale)) } }
                }
            }
        }
    }
}

/// The stages, one after the other, as rows like those of units.
fn stages(boot: &Timeline) -> Vec<Unit> {
    let row = |at: &mut f64, (name, took): (&str, f64)| {
        let at_s = std::mem::replace(at, *at + took);
        Some(Unit { name: name.to_owned(), at_s, took_s: Some(took), failed: false })
    };
    boot.stages.named().into_iter().scan(0.0, row).collect()
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
            td.num role="cell" { (seconds(took(unit))) span.hidden { ", from " (seconds(unit.at_s)) " on" } }
            td.bar role="cell" { (scale.bar(unit.at_s, took(unit), if unit.failed { "failed" } else { class })) }
        }
    }
}
