//! All rules over a whole log of any size: how often each matched, and where first.

use super::allow::Allowed;
use super::rules::{Finding, RULES, Rule, Severity, Watcher};
use serde::Serialize;
use std::cmp::Reverse;

/// Matches of one rule that are kept; of the others only the number is.
const KEPT: usize = 10;

/// A check that goes on.
#[derive(Debug)]
pub struct Check {
    watcher: Watcher,
    bytes: u64,
    tallies: Vec<Tally>,
}

/// What one rule found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// The rule's name.
    pub id: &'static str,
    /// How bad a match is.
    pub severity: Severity,
    /// Whether a boot that matches cannot get anywhere any more; never, if the rule is allowed.
    pub fatal: bool,
    /// What a match means.
    pub means: &'static str,
    /// Why it is allowed, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
    /// How many lines matched.
    pub count: u64,
    /// The first of them.
    pub first: Vec<Finding>,
}

/// What all rules found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The size of the log.
    pub bytes: u64,
    /// Its lines: line feeds, and what stands behind the last.
    pub lines: u64,
    /// Only the rules that matched; the worst first, then as they came.
    pub found: Vec<Tally>,
}

/// What a report comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing, or warnings, or what is allowed.
    Well,
    /// Something is broken.
    Broken,
    /// A boot did not get anywhere.
    Fatal,
}

impl Check {
    /// A check of a log from its beginning.
    pub fn new(allowed: Allowed) -> Self {
        Self { watcher: Watcher::new(0, allowed), bytes: 0, tallies: Vec::new() }
    }

    /// Take the log's next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let found = self.watcher.feed(bytes);
        self.count(found);
    }

    /// The machine was restarted here: what was unfinished stays so.
    pub fn cut(&mut self) {
        let found = self.watcher.cut();
        self.count(found);
    }

    /// The log ends here.
    pub fn end(mut self) -> Report {
        self.cut();
        self.tallies.sort_by_key(|tally| Reverse((tally.allowed.is_none(), tally.fatal, tally.severity)));
        Report { bytes: self.bytes, lines: self.watcher.row(), found: self.tallies }
    }

    fn count(&mut self, found: Vec<Finding>) {
        for finding in found {
            let known = self.tallies.iter().position(|tally| tally.id == finding.id);
            let at = known.unwrap_or_else(|| {
                let Finding { id, severity, fatal, means, ref allowed, .. } = finding;
                let allowed = allowed.clone();
                self.tallies.push(Tally { id, severity, fatal, means, allowed, count: 0, first: Vec::new() });
                self.tallies.len() - 1
            });
            self.tallies[at].count += 1;
            if self.tallies[at].first.len() < KEPT {
                self.tallies[at].first.push(finding);
            }
        }
    }
}

impl Report {
    /// What it comes to.
    pub fn verdict(&self) -> Verdict {
        let counts = || self.found.iter().filter(|tally| tally.allowed.is_none());
        if counts().any(|tally| tally.fatal) {
            Verdict::Fatal
        } else if counts().any(|tally| tally.severity >= Severity::Error) {
            Verdict::Broken
        } else {
            Verdict::Well
        }
    }
}

/// One word for how bad a match is.
pub fn degree(severity: Severity, fatal: bool) -> &'static str {
    match (fatal, severity) {
        (true, _) => "fatal",
        (false, Severity::Critical) => "critical",
        (false, Severity::Error) => "error",
        (false, Severity::Warning) => "warning",
    }
}

/// All rules, the worst first.
pub fn rules() -> Vec<&'static Rule> {
    let mut rules: Vec<_> = RULES.iter().collect();
    rules.sort_by_key(|rule| Reverse((rule.fatal, rule.severity)));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(log: &str, allowed: &str) -> Report {
        let mut check = Check::new(serde_json::from_str(allowed).unwrap());
        check.feed(log.as_bytes());
        check.end()
    }

    #[test]
    fn the_worst_comes_first_with_the_places_of_its_lines() {
        let log = "foo[7]: segfault at 0\nfine\nDropping to a shell!\nOut of memory: Killed process 1 (x)\n";
        let report = report(log, "[]");
        let found: Vec<_> = report.found.iter().map(|tally| (tally.id, tally.first[0].row)).collect();
        assert_eq!(found, [("initramfs-shell", 3), ("oom-kill", 4), ("segfault", 1)]);
        assert_eq!((report.bytes, report.lines), (log.len() as u64, 5));
        assert_eq!(report.verdict(), Verdict::Fatal);
    }

    #[test]
    fn a_warning_is_no_failure_and_an_error_is_no_lost_boot() {
        assert_eq!(report("nothing\n", "[]").verdict(), Verdict::Well);
        assert_eq!(report("foo[7]: segfault at 0\n", "[]").verdict(), Verdict::Well);
        assert_eq!(report("Out of memory: Killed process 1 (x)\n", "[]").verdict(), Verdict::Broken);
        assert_eq!(report("Dropping to a shell!", "[]").verdict(), Verdict::Fatal, "an unfinished line counts");
    }

    #[test]
    fn what_is_allowed_is_listed_last_and_is_no_failure() {
        let log = "Dropping to a shell!\nfoo[7]: segfault at 0\n";
        let report = report(log, r#"[{"id": "initramfs-shell", "why": "it is meant to"}]"#);
        assert_eq!(report.found.iter().map(|tally| tally.id).collect::<Vec<_>>(), ["segfault", "initramfs-shell"]);
        assert_eq!(report.verdict(), Verdict::Well);
        assert_eq!(report.found[1].allowed.as_deref(), Some("it is meant to"));
    }

    #[test]
    fn a_flood_of_matches_is_counted_and_not_kept() {
        let report = report(&"Dropping to a shell!\n".repeat(100_000), "[]");
        assert_eq!((report.found[0].count, report.found[0].first.len()), (100_000, KEPT));
    }

    #[test]
    fn a_line_that_a_restart_cut_off_is_not_joined_with_the_next_boots() {
        let mut check = Check::new(Allowed::default());
        check.feed(b"Dropping to ");
        check.cut();
        check.feed(b"a shell!\n");
        assert_eq!(check.end().verdict(), Verdict::Well);
    }
}
