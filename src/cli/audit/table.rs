//! An audit for a terminal, 80 columns wide: a line for each condition, and below what does not hold its cause and the
//! next step. What was skipped is counted, by its reason.

use crate::audit::outcome::{Audit, Judged, Outcome};
use crate::audit::scope::Left;
use crate::audit::{Condition, Severity};
use crate::doctor::wrap_at;
use anstyle::{AnsiColor, Style};
use host::presence::{IN_MEMORY, ignore};
use host::visible::{Painted, line};
use std::fmt::Write;

/// The width of the text.
const WIDTH: usize = 80;
/// Where causes begin.
const INDENT: usize = 9;

/// The table and the verdict.
pub(super) fn text(audit: &Audit) -> Painted {
    let mut out = Painted::default();
    ignore(write(audit, &mut out), IN_MEMORY);
    out
}

fn write(audit: &Audit, out: &mut Painted) -> std::fmt::Result {
    let width = audit.conditions.iter().map(|one| one.id.as_str().len()).max().unwrap_or(0);
    let mut phase = None;
    let mut skipped: Vec<(&str, usize)> = Vec::new();
    for one in &audit.conditions {
        if let Outcome::Skipped { reason } = &one.outcome {
            match skipped.iter_mut().find(|(other, _)| other == reason) {
                Some((_, count)) => *count += 1,
                None => skipped.push((reason, 1)),
            }
            continue;
        }
        let shown = if phase == Some(one.phase) { String::new() } else { one.phase.to_string() };
        phase = Some(one.phase);
        write_row(one, &shown, width, out)?;
    }
    for (reason, count) in skipped {
        let text = format!("{count} skipped: {reason}");
        writeln!(out, "{:<INDENT$}{}", "-", wrap_at(WIDTH, text.split_whitespace(), INDENT, "  "))?;
    }
    let [passed, failed, blocked, skipped] = audit.counts();
    let counts = format!("{passed} passed, {failed} failed, {blocked} blocked, {skipped} skipped");
    let verdict = wrap_at(WIDTH, crate::jobs::audit::verdict(audit).split_whitespace(), 0, "  ");
    writeln!(out)?;
    out.paint_lines(Style::new().bold(), &verdict);
    writeln!(out, "\n  {counts} in {:.0} s", audit.seconds)?;
    for leak in &audit.leaks {
        writeln!(out, "  LEAKED    {}: {}", line(&leak.what), line(&leak.why))?;
    }
    write!(out, "  evidence  {}", line(audit.run.as_str()))
}

fn write_row(one: &Judged, phase: &str, width: usize, out: &mut Painted) -> std::fmt::Result {
    let (word, style) = word(one);
    let took = match one.outcome {
        Outcome::Passed | Outcome::Failed { .. } => format!("{:.1} s", one.seconds),
        Outcome::Blocked { .. } | Outcome::Skipped { .. } => String::new(),
    };
    write!(out, "{phase:<7}  {:<width$}  ", one.id.as_str())?;
    out.paint(style, word);
    let gap = " ".repeat(7 - word.len().min(7));
    let room = WIDTH.saturating_sub(INDENT + width + 2 + 7 + 2 + 7 + 2);
    let said = line(&one.line()).into_owned();
    match &one.outcome {
        Outcome::Passed => writeln!(out, "{gap}  {took:>7}  {}", cut(&said, room)),
        Outcome::Failed { next, .. } => {
            writeln!(out, "{gap}  {took:>7}")?;
            below(&said, out)?;
            below(&format!("next: {next}"), out)
        }
        _ if said.chars().count() <= room => writeln!(out, "{gap}  {took:>7}  {said}"),
        _ => {
            writeln!(out)?;
            below(&said, out)
        }
    }
}

fn below(text: &str, out: &mut Painted) -> std::fmt::Result {
    writeln!(out, "{:INDENT$}{}", "", wrap_at(WIDTH, text.split_whitespace(), INDENT, "  "))
}

fn word(one: &Judged) -> (&'static str, Style) {
    let colour = |colour: AnsiColor| colour.on_default();
    match (&one.outcome, one.severity) {
        (Outcome::Passed, _) => ("ok", colour(AnsiColor::Green)),
        (Outcome::Failed { .. }, Severity::Must) => ("FAILED", colour(AnsiColor::Red).bold()),
        (Outcome::Failed { .. }, Severity::Should) => ("warn", colour(AnsiColor::Yellow)),
        (Outcome::Blocked { .. }, _) => ("blocked", colour(AnsiColor::Magenta)),
        (Outcome::Skipped { .. }, _) => ("-", Style::new().dimmed()),
    }
}

/// The beginning of a line that has no room for all of it.
fn cut(text: &str, room: usize) -> String {
    match text.chars().count() <= room {
        true => text.to_owned(),
        false => text.chars().take(room.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// The conditions of a profile, in the order in which they would be looked at.
pub(super) fn list(conditions: &[&Condition], leaves_out: impl Fn(&Condition) -> Option<Left>) -> String {
    let width = conditions.iter().map(|one| one.id.as_str().len()).max().unwrap_or(0);
    let mut phase = None;
    let mut out = String::new();
    for one in conditions {
        let shown = if phase == Some(one.phase) { String::new() } else { one.phase.to_string() };
        phase = Some(one.phase);
        let mut text = one.what.clone();
        if one.severity == Severity::Should {
            text += " (should)";
        }
        if !one.after.is_empty() {
            text += &format!(" [after {}]", crate::audit::outcome::listed(&one.after));
        }
        if let Some(reason) = leaves_out(one) {
            text += &format!(" [skipped: {reason}]");
        }
        let text = wrap_at(WIDTH, text.split_whitespace(), INDENT + width + 2, "");
        ignore(writeln!(out, "{shown:<7}  {:<width$}  {text}", one.id.as_str()), IN_MEMORY);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::audit::sample;

    #[test]
    fn the_table_fits_a_terminal_and_says_what_to_do() {
        let text = anstream::adapter::strip_str(text(&sample::audit()).as_str()).to_string();
        let too_long: Vec<_> = text.lines().filter(|line| line.chars().count() > WIDTH).collect();
        assert!(too_long.is_empty(), "{too_long:#?}");
        let line = |words: &str| {
            let found = text.lines().find(|line| line.contains(words));
            found.unwrap_or_else(|| panic!("{words:?} is not in:\n{text}")).to_owned()
        };
        assert!(
            line("qemu-devices").starts_with("host     qemu-devices ")
                && line("qemu-devices").ends_with("3 of 3 are there")
        );
        assert!(line("serial-in-loaders").ends_with('…'), "what was seen has no room for all of it");
        assert!(line("storage-service  ").starts_with("runtime  storage-service    FAILED"));
        assert!(line("pre-nixos.service failed: exit-code").starts_with("         pre-nixos"));
        assert!(line("next: read its journal").starts_with("         next: "));
        assert!(line("volume-group").ends_with("blocked by storage-service"));
        assert!(line("disk-free-runs").contains("warn"), "what only should hold is no failure");
        assert!(line("1 skipped: ").starts_with("-        1 skipped: "), "a reason stands there once");
        assert!(text.contains("\nFAILED: pre-nixos: storage-service: pre-nixos.service failed: exit-code,"), "{text}");
        assert!(text.contains("\n  2 passed, 2 failed, 1 blocked, 1 skipped in 153 s\n"));
    }
}
