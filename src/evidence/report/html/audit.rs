//! The page of an audit: the verdict, what each firmware would boot, and each condition with what it was seen in.

use super::head::{self, Short};
use super::part;
use super::parts::{Fact, FileLink, Verdict};
use super::text::{Told, count, link, seconds};
use maud::{Markup, html};

/// Everything that the page of an audit shows.
#[derive(Clone, Debug, Default)]
pub struct AuditPage {
    /// The profile.
    pub profile: String,
    /// What was asked for (`audit pre-nixos`).
    pub command: String,
    /// When the audit began (UTC).
    pub started: String,
    /// The version of boma-qemu that wrote it.
    pub version: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What was audited, and with what.
    pub facts: Vec<Fact>,
    /// What each firmware would boot; empty where the image was not opened.
    pub paths: Vec<Way>,
    /// The conditions, in the order in which they were looked at.
    pub conditions: Vec<Row>,
    /// What was left on this host: what, and why.
    pub leaks: Vec<(String, String)>,
    /// The evidence.
    pub files: Vec<FileLink>,
}

/// One way to boot the image.
#[derive(Clone, Debug)]
pub struct Way {
    /// Who boots it from what.
    pub by: String,
    /// What it is, what was found, and whether the boot can go on from there.
    pub steps: Vec<(String, String, bool)>,
}

/// What came of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It holds.
    Passed,
    /// It does not, and must.
    Failed,
    /// It does not, and only should.
    Warned,
    /// What it comes after failed.
    Blocked,
    /// It was left out.
    Skipped,
}

/// One condition.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its phase.
    pub phase: String,
    /// Its name.
    pub id: String,
    /// What must hold.
    pub what: String,
    /// What came of it.
    pub came: Came,
    /// What was seen, or why it was not looked at.
    pub said: String,
    /// What to do next, if it failed.
    pub next: Option<String>,
    /// How long looking took, if it was looked at.
    pub seconds: Option<f64>,
    /// What it was seen in.
    pub evidence: String,
    /// The file with all of that.
    pub file: Option<String>,
}

/// The page without its frame.
pub(super) fn body(page: &AuditPage) -> Markup {
    let remark =
        "What each firmware finds, and what boots if nobody chooses. The conditions judge it, not this drawing.";
    html! {
        (head::head(&page.command, &page.started, &page.verdict, &strip(page)))
        @if !page.paths.is_empty() { (part("paths", "Boot paths", remark, &ways(&page.paths))) }
        @for phase in ["host", "image", "runtime"] {
            @let rows: Vec<_> = page.conditions.iter().filter(|row| row.phase == phase).collect();
            @if !rows.is_empty() { (part(phase, heading(phase), "", &table(&rows))) }
        }
        @if !page.leaks.is_empty() {
            (part("leaks", "Left behind", "What the teardown could not remove from this host.", &head::leaks(&page.leaks)))
        }
        (part("made-of", "Made of", "", &head::facts(&page.facts)))
        (part("evidence", "Evidence", "The files beside this page.", &head::files(&page.files)))
        (head::foot(&page.version))
    }
}

fn heading(phase: &str) -> &'static str {
    match phase {
        "host" => "This host",
        "image" => "The image",
        _ => "The machine",
    }
}

fn strip(page: &AuditPage) -> Vec<Short> {
    let ids = [("host", "Host"), ("image", "Image"), ("runtime", "Machine")];
    let mut strip = Vec::new();
    for (id, name) in ids {
        let rows: Vec<_> = page.conditions.iter().filter(|row| row.phase == id).collect();
        let with = |came: Came| rows.iter().filter(|row| row.came == came).count();
        let (failed, blocked, passed) = (with(Came::Failed), with(Came::Blocked), with(Came::Passed));
        if rows.is_empty() {
            continue;
        }
        let (says, mood) = match (failed, blocked, passed) {
            (0, 0, 0) => ("not looked at".into(), None),
            (0, 0, passed) => (format!("{passed} passed"), Some(true)),
            (failed, 0, _) => (format!("{failed} failed"), Some(false)),
            (failed, blocked, _) => (format!("{failed} failed, {blocked} blocked"), Some(false)),
        };
        strip.push(Short { id, name, says, mood });
    }
    if !page.leaks.is_empty() {
        strip.push(Short {
            id: "leaks",
            name: "Left behind",
            says: count(page.leaks.len(), "leak"),
            mood: Some(false),
        });
    }
    strip.push(Short { id: "evidence", name: "Evidence", says: count(page.files.len(), "file"), mood: None });
    strip
}

/// The ways to boot, drawn from the firmware on; one that ends before an entry says where.
fn ways(ways: &[Way]) -> Markup {
    html! {
        @for way in ways {
            div.entry {
                h3 { (way.by) }
                ol.way {
                    @for (what, found, ok) in &way.steps {
                        li class=(if *ok { "good-step" } else { "bad-step" }) {
                            span."soft small" { (what) @if !ok { span.bad { span aria-hidden="true" { " ✗" } " ends here" } } }
                            span.found { (Told(found)) }
                        }
                    }
                }
            }
        }
    }
}

fn table(rows: &[&Row]) -> Markup {
    html! {
        table.matrix role="table" {
            thead role="rowgroup" { tr role="row" {
                th scope="col" role="columnheader" { "condition" }
                th scope="col" role="columnheader" { "result" }
                th.num scope="col" role="columnheader" { "took" }
            } }
            tbody role="rowgroup" { @for row in rows {
                tr.opened role="row" {
                    th scope="row" role="rowheader" { (row.id) br; span."soft small" { (row.what) } }
                    td role="cell" { (word(row.came)) }
                    td.num role="cell" { @if let Some(took) = row.seconds { (seconds(took)) } }
                }
                tr.said role="row" { td role="cell" colspan="3" .said-bad[row.came == Came::Failed] { (said(row)) } }
            } }
        }
    }
}

fn word(came: Came) -> Markup {
    let (class, sign, word) = match came {
        Came::Passed => ("tag good", "✓", "passed"),
        Came::Failed => ("tag bad", "✗", "failed"),
        Came::Warned => ("tag warn", "!", "should hold"),
        Came::Blocked => ("tag bad", "–", "blocked"),
        Came::Skipped => ("tag soft", "–", "skipped"),
    };
    html! { span class=(class) { span aria-hidden="true" { (sign) " " } (word) } }
}

fn said(row: &Row) -> Markup {
    html! {
        @if !row.said.is_empty() { p { (Told(&row.said)) } }
        @if let Some(next) = &row.next { p.soft { "Next: " (Told(next)) } }
        @if !row.evidence.trim().is_empty() {
            details {
                summary { "what it was seen in" }
                pre.console { @for line in row.evidence.lines() { span.line { (line) } "\n" } }
                @if let Some(file) = &row.file { p.small { "All of it: " a.mono href=(link(file)) { (file) } } }
            }
        }
    }
}
