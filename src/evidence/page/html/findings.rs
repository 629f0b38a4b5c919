//! The difference of the machine's state across a boot.

use super::parts::{StateFinding, Weight};
use super::text::{Told, count};
use crate::observe::{Across, Finding, Severity};
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

/// The findings, what the profile allows, and what is only different.
pub(in crate::page) fn of(across: &Across) -> Vec<StateFinding> {
    let judged = &across.judged;
    let found = |finding: &Finding, allowed: Option<&String>| StateFinding {
        id: finding.id.clone(),
        section: finding.section.to_string(),
        what: finding.what.clone(),
        before: finding.before.clone(),
        after: finding.after.clone(),
        weight: match finding.severity {
            Severity::Serious => Weight::Error,
            Severity::Minor => Weight::Warning,
        },
        allowed: allowed.cloned(),
        consequences: Vec::new(),
        set_by: finding.set_by.as_ref().map(ToString::to_string),
    };
    let with_all = |finding: &Finding, allowed: Option<&String>| StateFinding {
        consequences: finding.consequences.iter().map(|one| found(one, None)).collect(),
        ..found(finding, allowed)
    };
    let findings = judged.findings.iter().map(|finding| with_all(finding, None));
    let allowed = judged.allowed.iter().map(|(finding, why)| with_all(finding, Some(why)));
    let told = across.diff.changes.iter().filter(|change| change.loss.is_none()).map(|change| StateFinding {
        id: change.id(),
        section: change.section.to_string(),
        what: change.took_effect.clone().map(|what| format!("took effect at the boot: {what}")).unwrap_or_default(),
        before: change.before.clone(),
        after: change.after.clone(),
        weight: Weight::Note,
        allowed: None,
        consequences: Vec::new(),
        set_by: None,
    });
    findings.chain(allowed).chain(told).collect()
}

/// What is not known of the state, so that nobody takes it for unchanged.
pub(super) fn notes(across: &Across) -> Vec<String> {
    let unseen = across.unseen.iter().map(|(section, why)| format!("{section} could not be seen: {why}"));
    let moving =
        [("before", &across.before), ("after", &across.after)].into_iter().filter(|(_, look)| !look.moving.is_empty());
    let moving = moving.map(|(when, look)| {
        format!("{when} the reboot, this still changed after {} looks: {}", look.passes, look.moving.join(", "))
    });
    let unused = across.judged.unused.iter().map(|id| format!("the profile allows `{id}`, and nothing matched it"));
    let standing = across.standing.iter().map(|ill| ill.what.clone());
    let effects = across.judged.took_effect.iter().map(|(_, what)| format!("took effect at the boot: {what}"));
    let foretold = across.foretold.iter().map(|one| match one.came_true {
        Some(true) => format!("foretold, and came true: {}", one.what),
        _ => format!("foretold, and did not come true: {}", one.what),
    });
    let effects = effects.chain(foretold);
    unseen.chain(moving).chain(standing).chain(effects).chain(unused).collect()
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
