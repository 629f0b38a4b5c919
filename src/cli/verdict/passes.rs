//! What the passes over the playbooks say, as the verdict has it.

use super::SHOWN;
use evidence::playbook::tried::{Compared, Told, summary};
use evidence::record::{CheckMode, Record};
use host::visible::line;
use std::fmt::Write;

/// How many lines of a difference are shown; the rest is in `result.json`.
const LINES: usize = 6;

/// The second run and the passes in check mode, as far as there were any.
pub(super) fn write(record: &Record, out: &mut String) -> std::fmt::Result {
    if let Some(second) = &record.idempotence {
        let said = match second.changed.len() {
            0 => format!("nothing changed in {} tasks of the second run", second.tasks),
            n => format!("{n} of {} tasks changed something again in the second run", second.tasks),
        };
        writeln!(out, "  {:<10} {said}", "again")?;
        write_told(&second.changed, out)?;
    }
    match &record.check_mode {
        None => Ok(()),
        Some(CheckMode::LeftOut { why }) => writeln!(out, "  {:<10} {}", "check mode", line(why)),
        Some(CheckMode::Compared { compared, .. }) => write_compared(compared, out),
    }
}

fn write_compared(compared: &Compared, out: &mut String) -> std::fmt::Result {
    writeln!(out, "  {:<10} {}", "check mode", summary(compared))?;
    write_told(&compared.undone, out)?;
    compared.unseen.iter().try_for_each(|why| writeln!(out, "             could not look: {}", line(why)))?;
    compared.unused.iter().try_for_each(|id| writeln!(out, "             state.allow: {id:?} matched no task"))
}

/// Tasks with the changed lines of their differences.
fn write_told(told: &[Told], out: &mut String) -> std::fmt::Result {
    for task in told.iter().take(SHOWN) {
        writeln!(out, "             {}", line(&task.to_string()))?;
        let is_header = |line: &&str| line.starts_with("--- ") || line.starts_with("+++ ");
        let changed = task.said.lines().filter(|line| line.starts_with(['+', '-'])).filter(|line| !is_header(line));
        changed.take(LINES).try_for_each(|one| writeln!(out, "               {}", line(one)))?;
    }
    match told.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(out, "             and {more} more in result.json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::record::Idempotence;

    fn told(task: &str, said: &str) -> Told {
        Told {
            role: "base".into(),
            task: task.into(),
            place: "/r/m.yml:3".into(),
            item: String::new(),
            said: said.into(),
        }
    }

    fn text(record: &Record) -> String {
        let mut out = String::new();
        write(record, &mut out).unwrap();
        out
    }

    #[test]
    fn each_task_is_told_with_its_role_its_place_and_what_would_change() {
        let mut record: Record = serde_json::from_str(include_str!("../../../tests/fixtures/record.json")).unwrap();
        assert_eq!(text(&record), "");
        let diff = "--- before: /etc/x\n+++ after: /tmp/y\n@@ -0,0 +1 @@\n+forward = 1\n";
        let (undone, unseen) = (vec![told("Settings", diff)], vec!["after the reboot: why".into()]);
        let compared = Compared { judged: 4, undone, unseen, ..Compared::default() };
        record.idempotence = Some(Idempotence { seconds: 1.0, tasks: 7, changed: vec![told("Token", "")] });
        record.check_mode = Some(CheckMode::Compared { seconds: 2.0, compared });
        insta::assert_snapshot!(text(&record), @r"
          again      1 of 7 tasks changed something again in the second run
                     base: Token (/r/m.yml:3)
          check mode 1 of 4 tasks would do its work again
                     base: Settings (/r/m.yml:3)
                       +forward = 1
                     could not look: after the reboot: why
        ");
        record.check_mode = Some(CheckMode::LeftOut { why: "left out: why".into() });
        assert!(text(&record).ends_with("  check mode left out: why\n"));
    }
}
