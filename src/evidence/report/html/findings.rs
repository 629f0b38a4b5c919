//! The difference of the machine's state across a boot.

use super::parts::{StateFinding, Weight};
use super::text::{Told, count};
use maud::{Markup, html};

impl Weight {
    /// Its sign, its word, and the class that colours both.
    pub(super) fn shown(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Note => ("·", "note", "soft"),
            Self::Warning => ("△", "warning", "warn"),
            Self::Error => ("✗", "error", "bad"),
            Self::Critical => ("‼", "critical", "bad"),
        }
    }

    /// Mark and word together.
    pub(super) fn tag(self) -> Markup {
        let (sign, word, class) = self.shown();
        html! { span class=(format!("tag {class}")) { span aria-hidden="true" { (sign) " " } (word) } }
    }
}

/// What the difference says in short.
pub(super) fn short(findings: Option<&[StateFinding]>) -> (String, Option<bool>) {
    let Some(findings) = findings else { return ("not observed".into(), None) };
    let open: Vec<_> = open(findings).collect();
    match open.len() {
        0 => ("nothing is lost".into(), Some(true)),
        n => (count(n, "finding"), (open.iter().any(|f| f.weight >= Weight::Error)).then_some(false)),
    }
}

/// What counts: neither allowed nor only told.
pub(super) fn open(findings: &[StateFinding]) -> impl Iterator<Item = &StateFinding> {
    findings.iter().filter(|finding| finding.allowed.is_none() && finding.weight > Weight::Note)
}

/// The findings: what counts first, what the profile allows and what is only told folded away.
pub(super) fn list(findings: &[StateFinding]) -> Markup {
    let open: Vec<_> = open(findings).collect();
    let allowed: Vec<_> = findings.iter().filter(|finding| finding.allowed.is_some()).collect();
    let told = findings.iter().filter(|finding| finding.allowed.is_none() && finding.weight == Weight::Note);
    let told: Vec<_> = told.collect();
    html! {
        @if open.is_empty() { p { "Everything that was there before is there after it." } }
        @else { (table(&open)) }
        @if !allowed.is_empty() {
            details { summary { (count(allowed.len(), "finding")) " that the profile allows" } (table(&allowed)) }
        }
        @if !told.is_empty() {
            details { summary { (count(told.len(), "difference")) " that took nothing away" } (table(&told)) }
        }
    }
}

fn table(findings: &[&StateFinding]) -> Markup {
    html! {
        table.state role="table" {
            thead role="rowgroup" { tr role="row" {
                th scope="col" role="columnheader" { "finding" } th scope="col" role="columnheader" { "before and after" }
            } }
            tbody role="rowgroup" { @for finding in findings { tr role="row" {
                th scope="row" role="rowheader" {
                    (finding.weight.tag()) " " (Told(&finding.what))
                    br; code."soft small" { (Told(&finding.id)) }
                    @if !finding.consequences.is_empty() { (consequences(&finding.consequences)) }
                    @if let Some(task) = &finding.set_by { br; span."small" { (Told(task)) } }
                    @if let Some(why) = &finding.allowed { br; span."small" { "allowed: " (Told(why)) } }
                }
                td role="cell" { (diff(finding)) }
            } } }
        }
    }
}

/// What came of a finding, folded away: who repairs the cause has repaired it.
fn consequences(findings: &[StateFinding]) -> Markup {
    html! {
        details."small" {
            summary { (count(findings.len(), "consequence")) " of it" }
            ul { @for finding in findings { li { (Told(&finding.what)) " " code."soft" { (Told(&finding.id)) } } } }
        }
    }
}

/// Before and after, in the notation of diff.
pub(super) fn diff(finding: &StateFinding) -> Markup {
    html! {
        div.diff {
            @match &finding.before {
                Some(before) => div.was { span.hidden { "before: " } (Told(before)) },
                None => div.soft { "was not there before" },
            }
            @match &finding.after {
                Some(after) => div.is { span.hidden { "after: " } (Told(after)) },
                None => div.soft { "is gone" },
            }
        }
    }
}
