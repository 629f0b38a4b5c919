//! The checks as text for people, at most 100 columns wide.

use super::{Check, Outcome, can_run};
use anstyle::{AnsiColor, Style};
use host::presence::{IN_MEMORY, ignore};
use host::visible::Painted;
use std::fmt::Write;

/// The width of the text.
const WIDTH: usize = 100;

/// The table: one line per check, with the fix below what is not as it should be, and a last line that says
/// whether a VM could run.
///
pub fn table(checks: &[Check]) -> Painted {
    let widest = checks.iter().map(|check| check.id.len()).max().unwrap_or(0);
    let indent = 6 + widest + 2;
    let mut text = Painted::default();
    for check in checks {
        let (word, style) = word(check.result);
        let seen = wrap(check.probed.split_whitespace(), indent, "");
        text.paint(style, &format!("{word:<6}"));
        ignore(writeln!(text, "{id:<widest$}  {seen}", id = check.id), IN_MEMORY);
        if let (Outcome::Warn | Outcome::Fail, Some(fix)) = (check.result, &check.fix) {
            ignore(
                writeln!(text, "{:indent$}{}", "", wrap(format!("fix: {fix}").split_whitespace(), indent, "     ")),
                IN_MEMORY,
            );
        }
    }
    let ids: Vec<_> = checks.iter().filter(|check| check.result == Outcome::Fail).map(|check| check.id).collect();
    let last = match can_run(checks) {
        true => "a VM can run here".to_owned(),
        false => format!("a VM cannot run here: {}", ids.join(", ")),
    };
    ignore(writeln!(text), IN_MEMORY);
    text.paint_lines(Style::new().bold(), &wrap(last.split_whitespace(), 0, "  "));
    text
}

fn word(result: Outcome) -> (&'static str, Style) {
    let colour = |colour: AnsiColor| colour.on_default();
    match result {
        Outcome::Ok => ("ok", colour(AnsiColor::Green)),
        Outcome::Warn => ("warn", colour(AnsiColor::Yellow)),
        Outcome::Fail => ("FAIL", colour(AnsiColor::Red).bold()),
        Outcome::NotNeeded => ("-", Style::new().dimmed()),
    }
}

/// Words in lines; every line but the first starts with `indent` spaces and `hang`. A word that is
/// longer than a line stays whole: it is a path or a command to be copied.
pub(crate) fn wrap<'a>(words: impl IntoIterator<Item = &'a str>, indent: usize, hang: &str) -> String {
    wrap_at(WIDTH, words, indent, hang)
}

/// The same for another width of the text.
pub(crate) fn wrap_at<'a>(width: usize, words: impl IntoIterator<Item = &'a str>, indent: usize, hang: &str) -> String {
    let mut out = String::new();
    let mut column = indent;
    for word in words {
        let length = word.chars().count();
        let first = column == indent;
        if !first && column + 1 + length > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            out.push_str(hang);
            column = indent + hang.len();
        } else if !first {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::NeededFor;
    use super::*;

    fn check(id: &'static str, result: Outcome, probed: &str, fix: Option<&str>) -> Check {
        Check { id, probed: probed.into(), result, fix: fix.map(str::to_owned), needed_for: NeededFor::Both }
    }

    fn plain(checks: &[Check]) -> String {
        anstream::adapter::strip_str(table(checks).as_str()).to_string()
    }

    #[test]
    fn fixes_are_shown_only_where_something_is_wrong_and_lines_line_up() {
        let long = "mkdir -p /a/quite/long/path && mount -o remount,rw /a/quite/long/path && then look again at it";
        let text = plain(&[
            check("qemu", Outcome::Ok, "10.0.2 (/usr/bin/qemu-system-x86_64)", Some("never shown")),
            check("kvm", Outcome::Warn, "TCG, which is slower", Some("switch it on")),
            check("state", Outcome::Fail, "/var/lib/boma-qemu: cannot write", Some(long)),
            check("port-53", Outcome::NotNeeded, "only `--net host` needs it", None),
        ]);
        insta::assert_snapshot!(text, @r"
        ok    qemu     10.0.2 (/usr/bin/qemu-system-x86_64)
        warn  kvm      TCG, which is slower
                       fix: switch it on
        FAIL  state    /var/lib/boma-qemu: cannot write
                       fix: mkdir -p /a/quite/long/path && mount -o remount,rw /a/quite/long/path && then
                            look again at it
        -     port-53  only `--net host` needs it

        a VM cannot run here: state
        ");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn without_a_failure_a_vm_can_run() {
        let text = plain(&[check("kvm", Outcome::Warn, "TCG", Some("switch it on"))]);
        assert!(text.ends_with("\na VM can run here"), "{text}");
    }
}
