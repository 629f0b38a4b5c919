//! Judging what the guest said of a file.
//!
//! Fuzzed as `checks`.

use super::guest::Answer;
use super::judge::Verdict::{self, Fails, Holds, Unseen};
use super::judge::{said, shown, unasked};
use super::probe::Probe;

/// Whether a program said that there is no such file. Any other reason leaves open whether there is.
pub(super) fn is_missing(answer: &Answer) -> bool {
    let says = |line: &str| line.ends_with(": No such file or directory") || line.ends_with(": Not a directory");
    answer.code == 1 && answer.errors.lines().count() == 1 && answer.errors.lines().all(says)
}

/// The answer has a line of `stat`, and then what is in the file where that is asked.
pub(super) fn file(probe: &Probe, answer: &Answer) -> Verdict {
    let Probe::File { path, exists, mode, owner, group, contains } = probe else {
        return Unseen("this is not about a file".into());
    };
    match (is_missing(answer), exists) {
        (true, true) => return Fails(format!("{path} does not exist")),
        (true, false) => return Holds(format!("{path} does not exist")),
        (false, false) if answer.code == 0 => return Fails(format!("{path} exists: {}", shown(&answer.output))),
        (false, true) if answer.code == 0 => {}
        (false, _) => return Unseen(said(answer)),
    }
    let (head, content) = answer.output.split_once('\n').unwrap_or((&answer.output, ""));
    let mut words = head.splitn(4, ' ');
    let (Some(own_mode), Some(own_owner), Some(own_group), Some(kind)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return unasked(answer).unwrap_or_else(|| Unseen(format!("stat says {}", shown(head))));
    };
    let bits = |mode: &str| u32::from_str_radix(mode, 8).ok();
    let told = format!("{path} is a {kind}, {own_mode} {own_owner}:{own_group}");
    if mode.as_deref().is_some_and(|mode| bits(mode) != bits(own_mode)) {
        return Fails(format!("{told}, and not {}", mode.as_deref().unwrap_or_default()));
    }
    if owner.as_deref().is_some_and(|owner| owner != own_owner) {
        return Fails(format!("{told}, and not {}'s", owner.as_deref().unwrap_or_default()));
    }
    if group.as_deref().is_some_and(|group| group != own_group) {
        return Fails(format!("{told}, and not of the group {}", group.as_deref().unwrap_or_default()));
    }
    match contains {
        Some(pattern) if pattern.is_in(content) => Holds(told),
        Some(_) if answer.cut => {
            Unseen(format!("{path} is longer than is read of it (1 MiB), and nothing before matches"))
        }
        Some(pattern) => Fails(format!("{path} has nothing that matches {pattern}")),
        None => Holds(told),
    }
}
