//! The proof of the restart: who said what, and when.

use super::super::text::{Told, seconds};
use maud::{Markup, html};
use vm::reboot::{Proof, Restart};

/// One witness of the restart: the seconds from asking, where known; who; and its words.
type Witness = (Option<f64>, &'static str, String);

fn witnesses(restart: &Restart) -> Vec<Witness> {
    let before = match &restart.proof {
        Proof::Reboot(proof) => proof.before(),
        Proof::SoftReboot(proof) => proof.boot_id(),
    };
    let mut all: Vec<Witness> = vec![(Some(0.0), "The old boot", format!("its id is {before}"))];
    all.extend(restart.prepared.iter().map(|said| (None, "Before", said.clone())));
    all.extend(restart.triggered.iter().map(|triggered| (None, "Before", triggered.to_string())));
    let events = restart.evidence.iter().filter(|seen| !seen.firmware);
    let after = |mono: f64| Some(mono - restart.asked_mono);
    all.extend(events.map(|seen| (after(seen.mono), "The machine, as seen by QEMU", seen.to_string())));
    let words = &restart.last_words;
    all.extend(words.journal.iter().map(|said| (None, "The old boot's journal", said.clone())));
    all.extend(words.console.iter().map(|said| (None, "The old boot's console", said.clone())));
    all.push(match &restart.proof {
        Proof::Reboot(proof) => (Some(restart.ssh_s), "The new boot", format!("its id is {}", proof.after())),
        Proof::SoftReboot(proof) => {
            let said = format!("SoftRebootsCount was {} and is {}", proof.count() - 1, proof.count());
            (Some(restart.ssh_s), "The new userspace's systemd", said)
        }
    });
    all
}

pub(super) fn shown(restart: &Restart) -> Markup {
    let same = match &restart.proof {
        Proof::Reboot(_) => None,
        Proof::SoftReboot(proof) => Some(proof.boot_id().to_string()),
    };
    let settled = &restart.settled;
    let milestones = [("down", restart.down_s), ("ssh", Some(restart.ssh_s)), ("settled", Some(restart.settled_s))];
    html! {
        p { b { (Told(&format!("{}: {}", restart.mode, restart.mode.help()))) } }
        @if let Some(id) = same { p { "The same boot, " code { (id) } ", as it must be." } }
        ol.steps { @for (at, who, said) in witnesses(restart) { li {
            span.when { @if let Some(at) = at { (seconds(at)) } }
            span { span.soft { (who) ": " } (Told(&said)) }
        } } }
        p {
            @for (name, at) in milestones { @if let Some(at) = at { (name) " after " b { (seconds(at)) } ", " } }
            "as " b { (Told(&settled.system)) }
            @if settled.failed_units.is_empty() && settled.restarting.is_empty() { ", without a failed unit" }
            (units(&settled.failed_units, "failed unit"))
            (units(&settled.restarting, "unit between two attempts to start it"))
            @if !settled.activating.is_empty() { ", still starting: " (settled.activating.join(", ")) }
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
