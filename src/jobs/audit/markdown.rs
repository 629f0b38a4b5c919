//! The report of an audit in Markdown: what came of it on top, then each condition with its evidence. It is read where
//! reviews are, so it names everything and links to nothing but the files beside it.

use crate::audit::outcome::{Audit, Judged, Outcome};
use crate::audit::{Phase, Severity};
use host::presence::{IN_MEMORY, ignore};
use std::fmt::Write;

/// The whole text.
pub(super) fn text(audit: &Audit) -> String {
    let mut out = String::new();
    ignore(write(audit, &mut out), IN_MEMORY);
    out
}

fn write(audit: &Audit, out: &mut String) -> std::fmt::Result {
    let [passed, failed, blocked, skipped] = audit.counts();
    writeln!(out, "# {}\n", line(&super::verdict(audit)))?;
    writeln!(out, "- image: {}", audit.image.as_ref().map_or("none".into(), |image| format!("`{image}`")))?;
    if let Some(machine) = &audit.machine {
        writeln!(out, "- machine: {machine}; its serial transcript is [console.log](console.log)")?;
    }
    writeln!(out, "- begun: {}, took {:.0} s", audit.started, audit.seconds)?;
    writeln!(out, "- {passed} passed, {failed} failed, {blocked} blocked, {skipped} skipped")?;
    if let Some(failure) = &audit.failure {
        writeln!(out, "- {}", line(&failure.chain.join(": ")))?;
    }
    for leak in &audit.leaks {
        writeln!(out, "- LEFT ON THE HOST: {}: {}", line(&leak.what), line(&leak.why))?;
    }
    writeln!(out, "\n| phase | condition | result | s | what was seen |\n|---|---|---|---:|---|")?;
    for one in &audit.conditions {
        let cell = line(&one.line()).replace('|', "\\|");
        writeln!(out, "| {} | {} | {} | {:.1} | {cell} |", one.phase, one.id, word(one), one.seconds)?;
    }
    for phase in Phase::ALL {
        let own: Vec<_> = audit.conditions.iter().filter(|one| one.phase == phase && was_seen(one)).collect();
        if !own.is_empty() {
            writeln!(out, "\n## {phase}")?;
        }
        for one in own {
            write_one(one, out)?;
        }
    }
    Ok(())
}

/// Whether there is more to say than the table does.
fn was_seen(one: &Judged) -> bool {
    matches!(one.outcome, Outcome::Passed | Outcome::Failed { .. })
}

fn write_one(one: &Judged, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n### {}: {}\n\n{}", one.id, word(one), line(&one.what))?;
    if !one.observed.is_empty() {
        writeln!(out, "\nSeen: {}", line(&one.observed))?;
    }
    if let Outcome::Failed { cause, next, .. } = &one.outcome {
        writeln!(out, "\nCause: {}\n\nNext: {}", line(cause), line(next))?;
    }
    if !one.evidence.trim().is_empty() {
        let fence = fence(&one.evidence);
        writeln!(out, "\n{fence}text\n{}\n{fence}", one.evidence.trim_end())?;
    }
    match &one.file {
        Some(file) => writeln!(out, "\nAll of it: [{file}]({file})"),
        None => Ok(()),
    }
}

/// The result in one word.
pub(super) fn word(one: &Judged) -> &'static str {
    match (&one.outcome, one.severity) {
        (Outcome::Passed, _) => "passed",
        (Outcome::Failed { .. }, Severity::Must) => "FAILED",
        (Outcome::Failed { .. }, Severity::Should) => "failed (should)",
        (Outcome::Blocked { .. }, _) => "blocked",
        (Outcome::Skipped { .. }, _) => "skipped",
    }
}

fn line(text: &str) -> String {
    host::visible::block(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A fence that is longer than any in the text.
fn fence(text: &str) -> String {
    let mut longest = 2;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat(longest + 1)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_report_has_each_condition_with_its_evidence() {
        let text = text(&sample::audit());
        for words in [
            "# FAILED: pre-nixos: storage-service: pre-nixos.service failed: exit-code",
            "- machine: tcg, BIOS, 2048 MiB; its serial transcript is [console.log](console.log)\n",
            "- 2 passed, 2 failed, 1 blocked, 1 skipped\n",
            "| runtime | volume-group | blocked | 0.0 | blocked by storage-service |\n",
            "| host | disk-free-runs | failed (should) | 0.0 |",
            "9 entries of 2 configurations \\| each has",
            "### storage-service: FAILED\n\nWhat storage-service is about holds.\n\nSeen: failed (failed)\n",
            "\nCause: pre-nixos.service failed: exit-code",
            "\nNext: read its journal below",
            "\n````text\nActiveState=failed\n```\nvgcreate: no disk /dev/vda\n````\n",
            "All of it: [conditions/storage-service.txt](conditions/storage-service.txt)",
        ] {
            assert!(text.contains(words), "{words:?} is not in:\n{text}");
        }
        assert!(!text.contains("### volume-group"), "there is nothing more to say of what was not looked at");
    }

    #[test]
    fn evidence_cannot_end_its_own_fence() {
        assert_eq!(fence("a ``` b"), "````");
        assert_eq!(fence("a"), "```");
    }
}
