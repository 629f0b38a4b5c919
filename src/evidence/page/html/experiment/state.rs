//! The differences of state, each once, with the modes that made it.

use super::super::findings::{diff, open};
use super::super::parts::{StateFinding, Weight};
use super::super::text::{Told, count};
use super::ModeRuns;
use maud::{Markup, html};

/// A difference, and how many runs of which mode showed it.
struct Shared<'a> {
    finding: &'a StateFinding,
    modes: Vec<(&'a str, usize, usize)>,
}

/// The differences that count, in short.
pub(super) fn short(modes: &[ModeRuns<'_>]) -> (String, Option<bool>) {
    let mut runs = modes.iter().flat_map(|mode| &mode.runs);
    if !runs.any(|run| run.state.is_some()) {
        return ("not observed".into(), None);
    }
    match shared(modes).len() {
        0 => ("nothing is lost".into(), Some(true)),
        n => (count(n, "finding"), Some(false)),
    }
}

pub(super) fn shown(modes: &[ModeRuns<'_>]) -> Markup {
    let shared = shared(modes);
    html! {
        @if shared.is_empty() { p { (if short(modes).1.is_some() { "No mode took anything away." } else { "The state was not observed." }) } }
        @else {
            table.state role="table" {
                thead role="rowgroup" { tr role="row" {
                    th scope="col" role="columnheader" { "finding" } th scope="col" role="columnheader" { "before and after" }
                } }
                tbody role="rowgroup" { @for shared in &shared { tr role="row" {
                    th scope="row" role="rowheader" {
                        (shared.finding.weight.tag()) " " (Told(&shared.finding.what))
                        br; code."soft small" { (Told(&shared.finding.id)) }
                        br; span."small" { "in " (shared.places()) }
                    }
                    td role="cell" { (diff(shared.finding)) }
                } } }
            }
        }
    }
}

impl Shared<'_> {
    /// `guest 2 of 2, reset 1 of 2`
    fn places(&self) -> String {
        let places: Vec<_> = self.modes.iter().map(|(name, n, of)| format!("{name} {n} of {of}")).collect();
        places.join(", ")
    }
}

/// The findings of all runs; the same one is told once.
fn shared<'a>(modes: &'a [ModeRuns<'_>]) -> Vec<Shared<'a>> {
    let mut all: Vec<Shared<'_>> = Vec::new();
    for mode in modes {
        for finding in mode.runs.iter().flat_map(|run| open(run.state.as_deref().unwrap_or_default())) {
            let same = |known: &&mut Shared<'_>| {
                let known = known.finding;
                (&known.id, &known.before, &known.after) == (&finding.id, &finding.before, &finding.after)
            };
            let at = match all.iter_mut().find(same) {
                Some(known) => known,
                None => {
                    all.push(Shared { finding, modes: Vec::new() });
                    let last = all.len() - 1;
                    &mut all[last]
                }
            };
            match at.modes.last_mut() {
                Some((name, n, _)) if *name == mode.name() => *n += 1,
                _ => at.modes.push((mode.name(), 1, mode.runs.len())),
            }
        }
    }
    all.sort_by_key(|shared| std::cmp::Reverse(shared.finding.weight.max(Weight::Note)));
    all
}
