//! The page of a proof: its scenarios, and what both cases of each came to.

use super::head::Short;
use super::parts::{Mood, Verdict};
use super::text::{Told, link, seconds};
use super::{head, part};
use crate::record::proof::{Case, ProofRecord, Tried};
use host::failure::Exit;
use maud::{Markup, html};

/// The page without its frame.
pub(super) fn body(all: &ProofRecord, command: &str) -> Markup {
    let never = all.never_red.as_deref().unwrap_or_default();
    html! {
        (head::head(command, &all.started, &verdict(all), &strip(all)))
        (part("scenarios", "Scenarios", "The red case must fail as it is named, the green one pass. Each case is a run of its own.", &table(all)))
        @if !never.is_empty() {
            (part("never-red", "Never red", "No case turns these checks red, so it is unknown whether they can be.", &html! { ul { @for id in never { li { (Told(id)) } } } }))
        }
        @if !all.leaks.is_empty() {
            (part("leaks", "Left behind", "What the teardown could not remove from this host.", &head::leaks(&all.leaks)))
        }
        (head::foot(&all.version))
    }
}

fn verdict(all: &ProofRecord) -> Verdict {
    let first = all.scenarios.iter().find(|tried| tried.failure.is_some());
    Verdict {
        mood: match all.exit {
            Some(Exit::Passed | Exit::Leaked) => Mood::Good,
            Some(Exit::Verify | Exit::Guest | Exit::Unfaithful) => Mood::Bad,
            _ => Mood::Open,
        },
        headline: all.headline(),
        failed_in: first.map(|tried| format!("scenario {}", tried.name)),
        failure: all.failure.iter().flat_map(|failure| failure.chain.clone()).collect(),
        next: all.failure.iter().filter_map(|failure| failure.next.clone()).collect(),
        commands: Vec::new(),
        symptoms: Vec::new(),
    }
}

fn strip(all: &ProofRecord) -> Vec<Short> {
    let (proved, count) = (all.scenarios.iter().filter(|tried| tried.is_proved()).count(), all.scenarios.len());
    let says = format!("{proved} of {count} proved");
    vec![Short { id: "scenarios", name: "Scenarios", says, mood: Some(proved == count) }]
}

fn table(all: &ProofRecord) -> Markup {
    html! {
        table.runs {
            thead { tr {
                th scope="col" { "scenario" }
                th scope="col" { "case" }
                th.num scope="col" { "took" }
                th scope="col" { "what it showed" }
            } }
            tbody { @for tried in &all.scenarios {
                (case(tried, "red", tried.red.as_ref()))
                (case(tried, "green", tried.green.as_ref()))
            } }
        }
    }
}

fn case(tried: &Tried, name: &str, case: Option<&Case>) -> Markup {
    let is_first = name == "red";
    html! { tr {
        th scope="row" { @if is_first { (Told(&tried.name)) br; span."small soft" { (tried.shows) } } }
        @match case {
            None => { td { (name) } td.num {} td { span.soft { "not run" } } }
            Some(case) => {
                td { a href=(link(&beside(case))) { (name) } }
                td.num { (seconds(case.seconds)) }
                td {
                    (Told(&case.verdict))
                    @if !case.red.is_empty() { div."small soft" { "red: " (case.red.join(", ")) } }
                    @if let (true, Some(failure)) = (is_last(tried, name), &tried.failure) {
                        div.small { span.bad { span aria-hidden="true" { "✗ " } "not proved: " } (Told(&failure.to_string())) }
                    }
                }
            }
        }
    } }
}

/// Whether this is the case by which a scenario failed.
fn is_last(tried: &Tried, name: &str) -> bool {
    name == if tried.green.is_some() { "green" } else { "red" }
}

/// A case's page, from the proof's folder: both lie among the runs.
fn beside(case: &Case) -> String {
    format!("../{}/{}", case.run.file_name().unwrap_or_default(), crate::page::PAGE)
}
