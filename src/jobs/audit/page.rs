//! From an audit, and the evidence beside it, to what its page shows.

use super::verdict;
use crate::audit::Severity;
use crate::audit::outcome::{Audit, Judged, Outcome};
use camino::{Utf8Path, Utf8PathBuf};
use evidence::page::{self, files};
use evidence::report::html::audit::{AuditPage, Came, Row, Way};
use evidence::report::html::parts::{Fact, Mood, Verdict};
use evidence::report::{RunFolder, html};
use host::failure::Exit;
use host::failure::Failure;

/// Write the page of an audit again from its evidence; where it is.
pub fn again(folder: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    let audit: Audit = page::read(&folder.join(FILE))?;
    RunFolder::open(folder).write(page::PAGE, html::audit(&of(&audit, folder)))?;
    Ok(folder.join(page::PAGE))
}

/// Where an audit's result lies in its folder.
pub const FILE: &str = "audit.json";

/// The page of an audit whose evidence lies in `folder`.
pub fn of(audit: &Audit, folder: &Utf8Path) -> AuditPage {
    let image = audit.image.as_ref().map(ToString::to_string).unwrap_or_default();
    let facts = [
        ("profile", audit.profile.to_string()),
        ("image", image),
        ("machine", audit.machine.clone().unwrap_or_default()),
        ("took", format!("{:.0} s", audit.seconds)),
        ("boma-qemu", audit.version.clone()),
    ];
    let known = facts.into_iter().filter(|(_, value)| !value.is_empty());
    AuditPage {
        profile: audit.profile.to_string(),
        command: files::command(folder).unwrap_or_else(|| format!("audit {}", audit.profile)),
        started: audit.started.clone(),
        version: audit.version.clone(),
        verdict: of_verdict(audit),
        facts: known.map(|(label, value)| Fact { label: label.into(), value }).collect(),
        paths: audit.boot_paths.iter().map(way).collect(),
        conditions: audit.conditions.iter().map(row).collect(),
        leaks: audit.leaks.iter().map(|leak| (leak.what.clone(), leak.why.clone())).collect(),
        files: files::of_audit(folder),
    }
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

fn way(path: &crate::audit::image::BootPath) -> Way {
    let steps = path.steps.iter().map(|step| (step.what.clone(), step.found.clone(), step.ok));
    Way { by: path.by.clone(), steps: steps.collect() }
}

fn row(one: &Judged) -> Row {
    let came = match (&one.outcome, one.severity) {
        (Outcome::Passed, _) => Came::Passed,
        (Outcome::Failed { .. }, Severity::Must) => Came::Failed,
        (Outcome::Failed { .. }, Severity::Should) => Came::Warned,
        (Outcome::Blocked { .. }, _) => Came::Blocked,
        (Outcome::Skipped { .. }, _) => Came::Skipped,
    };
    let (said, next) = match &one.outcome {
        Outcome::Failed { cause, next, .. } => (cause.clone(), Some(next.clone())),
        _ => (one.line(), None),
    };
    Row {
        phase: one.phase.to_string(),
        id: one.id.to_string(),
        what: one.what.clone(),
        came,
        said,
        next,
        seconds: matches!(came, Came::Passed | Came::Failed | Came::Warned).then_some(one.seconds),
        evidence: one.evidence.clone(),
        file: one.file.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::audit::sample;
    use evidence::report::html;

    #[test]
    fn the_page_has_the_verdict_each_condition_and_where_each_way_to_boot_ends() {
        let mut audit = sample::audit();
        audit.conditions[4].observed = "<script>alert(1)</script>".into();
        let text = html::audit(&of(&audit, "/nowhere".into()));
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
