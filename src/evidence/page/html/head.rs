//! The head of a page (the verdict, and what each part says in short) and its foot (facts, evidence).

use super::parts::{FileLink, Mood, Verdict};
use super::text::{Told, bytes, link};
use host::ledger::Leak;
use maud::{Markup, html};

/// One entry of the strip below the verdict: a part, and what it says in short.
pub struct Short {
    /// The part.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub says: String,
    /// Good, bad, or neither.
    pub mood: Option<bool>,
}

/// The verdict in one glance.
pub fn head(what: &str, started: &str, verdict: &Verdict, strip: &[Short]) -> Markup {
    let (class, sign) = match verdict.mood {
        Mood::Good => ("good", "✓"),
        Mood::Bad => ("bad", "✗"),
        Mood::Open => ("warn", "?"),
    };
    let band = if verdict.mood == Mood::Open { "open" } else { class };
    let (word, rest) = verdict.headline.split_once(": ").unwrap_or(("", &verdict.headline));
    html! {
        div.masthead {
            span { "boma-qemu · " (what) }
            span { (started) }
        }
        header class=(format!("verdict is-{band}")) {
            h1 { span class=(format!("word {class}")) { span aria-hidden="true" { (sign) " " } (word) } " " (rest) }
            @if !verdict.failure.is_empty() || !verdict.next.is_empty() { (why(verdict)) }
        }
        ul.strip aria-label="In short" {
            @for short in strip {
                li { a href=(format!("#{}", short.id)) { b { (short.name) } " " span class=(class_of(short.mood)) { (short.says) } } }
            }
        }
    }
}

fn class_of(mood: Option<bool>) -> &'static str {
    match mood {
        Some(true) => "good",
        Some(false) => "bad",
        None => "soft",
    }
}

fn why(verdict: &Verdict) -> Markup {
    // What is the failure itself is not told twice.
    let failed = |sign: &&String| verdict.failure.iter().any(|cause| cause.contains(sign.as_str()));
    let symptoms: Vec<_> = verdict.symptoms.iter().filter(|symptom| !failed(symptom)).collect();
    let place = verdict.failed_in.as_ref().map(|place| format!(", in {place}")).unwrap_or_default();
    html! {
        div.why {
            @if !verdict.failure.is_empty() {
                div {
                    h2 { "What failed first" (place) }
                    ol.causes { @for cause in &verdict.failure { li { (Told(cause)) } } }
                    @if !symptoms.is_empty() {
                        h2.also { "What else was seen" }
                        ul { @for symptom in &symptoms { li { (Told(symptom)) } } }
                    }
                }
            }
            @if !verdict.next.is_empty() {
                div {
                    h2 { "What to do next" }
                    ul { @for step in &verdict.next { li { (Told(step)) } } }
                    @if !verdict.commands.is_empty() {
                        pre.commands { @for command in &verdict.commands { (command) "\n" } }
                    }
                }
            }
        }
    }
}

/// What it was made of.
pub fn facts(facts: &[(&str, String)]) -> Markup {
    let known = facts.iter().filter(|(_, value)| !value.is_empty());
    html! {
        dl.facts { @for (label, value) in known { div { dt { (label) } dd { (Told(value)) } } } }
    }
}

/// Where the evidence is: what tells most one by one, the rest by folder.
pub fn files(files: &[FileLink]) -> Markup {
    let (main, rest): (Vec<_>, Vec<_>) = files.iter().partition(|file| !file.tells.is_empty());
    let folder = |file: &FileLink| file.path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let mut folders: Vec<_> = rest.iter().map(|file| folder(file)).collect();
    folders.sort();
    folders.dedup();
    html! {
        ul.files { @for file in main {
            li {
                a.mono href=(link(&file.path)) { (file.path) }
                @if let Some(size) = file.bytes { " " span."soft small nowrap" { (bytes(size)) } }
                br; span."soft small" { (file.tells) }
            }
        } }
        @for name in folders {
            p.folder {
                span.soft { @if name.is_empty() { "also: " } @else { (name) "/ " } }
                @for file in rest.iter().filter(|file| folder(file) == name) {
                    a.mono href=(link(&file.path)) { (file.path.rsplit('/').next().unwrap_or_default()) } " "
                }
            }
        }
    }
}

/// What was left on this host.
pub fn leaks(leaks: &[Leak]) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "what" } th scope="col" { "why" } } }
            tbody { @for Leak { what, why } in leaks { tr { th scope="row" { (what) } td { (why) } } } }
        }
    }
}

/// The last line.
pub fn foot(version: &str) -> Markup {
    html! { footer { "Written by boma-qemu " (version) ". This file needs nothing else; the links lead to the files beside it." } }
}
