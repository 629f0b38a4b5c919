//! The page of an audit: the verdict, what each firmware would boot, and each condition with what it was seen in.

use super::verdict;
use crate::audit::image::{BootPath, BootStep};
use crate::audit::outcome::{Audit, Judged, Outcome};
use crate::audit::{Phase, Severity};
use camino::{Utf8Path, Utf8PathBuf};
use evidence::page::html::head::{self, Short};
use evidence::page::html::parts::{Mood, Verdict};
use evidence::page::html::text::{Told, count, link, seconds};
use evidence::page::html::{document, part};
use evidence::page::{self, files};
use evidence::report::RunFolder;
use host::failure::{Exit, Failure};
use maud::{Markup, html};

/// Write the page of an audit again from its evidence; where it is.
pub fn again(folder: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    let audit: Audit = page::read(&folder.join(FILE))?;
    RunFolder::open(folder).write(page::PAGE, text(&audit, folder))?;
    Ok(folder.join(page::PAGE))
}

/// Where an audit's result lies in its folder.
pub const FILE: &str = "audit.json";

/// The page of an audit whose evidence lies in `folder`.
pub(super) fn text(audit: &Audit, folder: &Utf8Path) -> String {
    document(&format!("audit {} · boma-qemu", audit.profile), &body(audit, folder))
}

fn of_verdict(audit: &Audit) -> Verdict {
    let mood = match audit.exit {
        Some(Exit::Passed) => Mood::Good,
        Some(Exit::Verify | Exit::Guest | Exit::Leaked) => Mood::Bad,
        _ => Mood::Open,
    };
    let failure = audit.failure.as_ref();
    let kept = ["console", "down"].map(|command| format!("boma-qemu {command} {}", audit.profile));
    Verdict {
        mood,
        headline: verdict(audit),
        failed_in: None,
        failure: failure.map(|failure| failure.chain.clone()).unwrap_or_default(),
        next: failure.and_then(|failure| failure.next.clone()).into_iter().collect(),
        commands: if audit.kept { kept.to_vec() } else { Vec::new() },
        symptoms: Vec::new(),
    }
}

/// What came of a condition, as the page tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Passed,
    /// It does not hold, and must.
    Failed,
    /// It does not hold, and only should.
    Warned,
    Blocked,
    Skipped,
}

fn came(one: &Judged) -> Came {
    match (&one.outcome, one.severity) {
        (Outcome::Passed, _) => Came::Passed,
        (Outcome::Failed { .. }, Severity::Must) => Came::Failed,
        (Outcome::Failed { .. }, Severity::Should) => Came::Warned,
        (Outcome::Blocked { .. }, _) => Came::Blocked,
        (Outcome::Skipped { .. }, _) => Came::Skipped,
    }
}

/// The page without its frame.
fn body(audit: &Audit, folder: &Utf8Path) -> Markup {
    let command = files::command(folder).unwrap_or_else(|| format!("audit {}", audit.profile));
    let files = files::of_audit(folder);
    let remark =
        "What each firmware finds, and what boots if nobody chooses. The conditions judge it, not this drawing.";
    html! {
        (head::head(&command, &audit.started, &of_verdict(audit), &strip(audit, files.len())))
        @if !audit.boot_paths.is_empty() { (part("paths", "Boot paths", remark, &ways(&audit.boot_paths))) }
        @for (phase, id, name, _) in PHASES {
            @let rows = of_phase(audit, phase);
            @if !rows.is_empty() { (part(id, name, "", &table(&rows))) }
        }
        @if !audit.leaks.is_empty() {
            (part("leaks", "Left behind", "What the teardown could not remove from this host.", &head::leaks(&audit.leaks)))
        }
        (part("made-of", "Made of", "", &head::facts(&facts(audit))))
        (part("evidence", "Evidence", "The files beside this page.", &head::files(&files)))
        (head::foot(&audit.version))
    }
}

/// The phases: their part of the page, and what it is called there and in short.
const PHASES: [(Phase, &str, &str, &str); 3] = [
    (Phase::Host, "host", "This host", "Host"),
    (Phase::Image, "image", "The image", "Image"),
    (Phase::Runtime, "runtime", "The machine", "Machine"),
];

fn of_phase(audit: &Audit, phase: Phase) -> Vec<&Judged> {
    audit.conditions.iter().filter(|one| one.phase == phase).collect()
}

fn facts(audit: &Audit) -> [(&'static str, String); 5] {
    [
        ("profile", audit.profile.to_string()),
        ("image", audit.image.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("machine", audit.machine.clone().unwrap_or_default()),
        ("took", format!("{:.0} s", audit.seconds)),
        ("boma-qemu", audit.version.clone()),
    ]
}

fn strip(audit: &Audit, files: usize) -> Vec<Short> {
    let mut strip = Vec::new();
    for (phase, id, _, name) in PHASES {
        let rows = of_phase(audit, phase);
        let with = |what: Came| rows.iter().filter(|one| came(one) == what).count();
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
    if !audit.leaks.is_empty() {
        strip.push(Short {
            id: "leaks",
            name: "Left behind",
            says: count(audit.leaks.len(), "leak"),
            mood: Some(false),
        });
    }
    strip.push(Short { id: "evidence", name: "Evidence", says: count(files, "file"), mood: None });
    strip
}

/// The ways to boot, drawn from the firmware on; one that ends before an entry says where.
fn ways(ways: &[BootPath]) -> Markup {
    html! {
        @for way in ways {
            div.entry {
                h3 { (way.by) }
                ol.way {
                    @for BootStep { what, found, ok } in &way.steps {
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

fn table(rows: &[&Judged]) -> Markup {
    html! {
        table.matrix role="table" {
            thead role="rowgroup" { tr role="row" {
                th scope="col" role="columnheader" { "condition" }
                th scope="col" role="columnheader" { "result" }
                th.num scope="col" role="columnheader" { "took" }
            } }
            tbody role="rowgroup" { @for row in rows {
                tr.opened role="row" {
                    th scope="row" role="rowheader" { (row.id.to_string()) br; span."soft small" { (row.what) } }
                    td role="cell" { (word(came(row))) }
                    td.num role="cell" { @if matches!(came(row), Came::Passed | Came::Failed | Came::Warned) { (seconds(row.seconds)) } }
                }
                tr.said role="row" { td role="cell" colspan="3" .said-bad[came(row) == Came::Failed] { (said(row)) } }
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

fn said(row: &Judged) -> Markup {
    let (said, next) = match &row.outcome {
        Outcome::Failed { cause, next, .. } => (cause.clone(), Some(next)),
        _ => (row.line(), None),
    };
    html! {
        @if !said.is_empty() { p { (Told(&said)) } }
        @if let Some(next) = next { p.soft { "Next: " (Told(next)) } }
        @if !row.evidence.trim().is_empty() {
            details {
                summary { "what it was seen in" }
                pre.console { @for line in row.evidence.lines() { span.line { (line) } "\n" } }
                @if let Some(file) = &row.file { p.small { "All of it: " a.mono href=(link(file)) { (file) } } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::audit::sample;

    #[test]
    fn the_page_has_the_verdict_each_condition_and_where_each_way_to_boot_ends() {
        let mut audit = sample::audit();
        audit.conditions[4].observed = "<script>alert(1)</script>".into();
        let text = text(&audit, "/nowhere".into());
        for words in [
            "audit pre-nixos",
            "pre-nixos.service failed: exit-code",
            "BIOS, from a CD",
            "<span class=\"bad\"><span aria-hidden=\"true\"> ✗</span> ends here</span>",
            "blocked by storage-service",
            "Next: ",
            "vgcreate: no disk /dev/vda",
        ] {
            assert!(text.contains(words), "{words:?} is not in:\n{text}");
        }
        assert!(!text.contains("<script"), "what was seen is escaped");
    }
}
