//! What several runs came to: a row for each, and one end of all.
//!
//! Not fuzzed: what is read here is this program's own evidence.

use crate::record::Record;
use camino::Utf8PathBuf;
use host::failure::{Exit, Failure};
use host::ledger::Leak;
use host::names::HostName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Several runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Several {
    /// The format of this file.
    pub schema: u32,
    /// The version of boma-qemu that wrote it.
    pub version: String,
    /// What was asked for.
    pub command: String,
    /// When it began (UTC, RFC 3339).
    pub started: String,
    /// How long all of it took, in seconds.
    pub seconds: f64,
    /// How many runs were at work at once, at most.
    pub at_once: usize,
    /// The runs, in the order asked for.
    pub rows: Vec<Row>,
    /// The exit code of all: [`worst`].
    pub code: u8,
}

/// One of several runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What it is called: its host, and what tells it from other runs of that host.
    pub name: String,
    /// The mirrored host.
    pub host: HostName,
    /// What was asked for of this one in particular: `via`, `image`, `certs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<String, String>,
    /// Its exit code; none: it was not begun.
    pub code: Option<u8>,
    /// Its verdict in one sentence.
    pub headline: String,
    /// Why there is no run to judge, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Its evidence folder; none where it came to none.
    pub run: Option<Utf8PathBuf>,
    /// All that it said, a file beside this one.
    pub log: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What was left of it on this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaks: Vec<Leak>,
}

/// The exit codes from the worst to the best. A failure that is proved comes before a run without a verdict: whatever
/// else is looked at again, that change is not to be rolled out.
pub const ORDER: [Exit; 11] = [
    Exit::Interrupted,
    Exit::Guest,
    Exit::Verify,
    Exit::Apply,
    Exit::Unfaithful,
    Exit::Bug,
    Exit::Lost,
    Exit::Host,
    Exit::Usage,
    Exit::Leaked,
    Exit::Passed,
];

/// The exit code of several runs: the first in [`ORDER`] that one of them ended with. One that was not begun was interrupted,
/// and a code that is none of ours is a bug.
pub fn worst(codes: impl Iterator<Item = Option<u8>>) -> u8 {
    let rank = |code: Option<u8>| {
        let code = code.unwrap_or(Exit::Interrupted.code());
        let known = |code: u8| ORDER.iter().position(|exit| exit.code() == code);
        known(code).or_else(|| known(Exit::Bug.code())).unwrap_or_default()
    };
    // Nothing that was run has proved anything.
    codes.map(rank).min().map_or(Exit::Lost, |rank| ORDER[rank]).code()
}

impl Row {
    /// A run that has not begun.
    pub fn new(name: String, host: HostName, asked: BTreeMap<String, String>, log: String) -> Self {
        let headline = format!("NOT BEGUN: {host}");
        let (code, failure, run, leaks) = (None, None, None, Vec::new());
        Self { name, host, asked, code, headline, failure, run, log, seconds: 0.0, leaks }
    }

    /// Whether it passed.
    pub fn passed(&self) -> bool {
        self.code == Some(Exit::Passed.code())
    }

    /// What its record says of it, which comes to this headline.
    pub fn judged(&mut self, record: &Record, headline: String) {
        self.headline = headline;
        self.run = Some(record.run.clone());
        self.leaks.clone_from(&record.leaks);
    }

    /// There is no record: it failed before there was a run, or was lost.
    pub fn unjudged(&mut self, failure: Failure) {
        self.headline = format!("NO VERDICT: {}: {}", self.host, failure.chain.join(": "));
        self.failure = Some(failure);
    }

    /// The word that its verdict begins with.
    pub fn word(&self) -> &str {
        self.headline.split(':').next().unwrap_or_default()
    }
}

/// Runs in a table: what tells them apart to the left and at the top.
#[derive(Debug, PartialEq)]
pub struct Grid<'a> {
    /// What stands at the top, from left to right: the modes.
    pub columns: Vec<&'a str>,
    /// What stands to the left, and the number of the run in each column.
    pub lines: Vec<(String, Vec<Option<usize>>)>,
}

impl Several {
    /// How they ended up in one sentence.
    pub fn headline(&self) -> String {
        let (passed, all) = (self.rows.iter().filter(|row| row.passed()).count(), self.rows.len());
        let word = if self.code == Exit::Passed.code() { "PASSED" } else { "NOT PASSED" };
        format!("{word}: {passed} of {all} runs passed (exit {})", self.code)
    }

    /// The runs as a table of hosts and modes, where they have modes that differ.
    pub fn grid(&self) -> Option<Grid<'_>> {
        let mut columns = Vec::new();
        for row in &self.rows {
            let at = row.asked.get("via")?.as_str();
            if !columns.contains(&at) {
                columns.push(at);
            }
        }
        let mut lines: Vec<(String, Vec<Option<usize>>)> = Vec::new();
        for (n, row) in self.rows.iter().enumerate() {
            let others = row.asked.iter().filter(|(key, _)| *key != "via").map(|(_, value)| value.as_str());
            let left = [row.host.as_str()].into_iter().chain(others).collect::<Vec<_>>().join(" ");
            let line = match lines.iter().position(|(name, _)| *name == left) {
                Some(line) => line,
                None => {
                    lines.push((left, vec![None; columns.len()]));
                    lines.len() - 1
                }
            };
            let column = columns.iter().position(|column| row.asked.get("via").is_some_and(|via| via == column))?;
            lines[line].1[column] = Some(n);
        }
        (columns.len() > 1).then_some(Grid { columns, lines })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(host: &str, asked: &[(&str, &str)], code: Option<u8>) -> Row {
        let asked = asked.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let row = Row::new(host.into(), host.parse().unwrap(), asked, format!("{host}.log"));
        Row { code, ..row }
    }

    #[test]
    fn the_worst_end_is_that_of_all_and_a_proved_failure_comes_before_no_verdict() {
        let worst = |codes: &[u8]| worst(codes.iter().map(|code| Some(*code)));
        assert_eq!([worst(&[0, 0]), worst(&[0, 7]), worst(&[7, 2, 3]), worst(&[4, 6, 0])], [0, 7, 3, 6]);
        assert_eq!([worst(&[5, 6]), worst(&[6, 8]), worst(&[8, 130]), worst(&[1, 4])], [6, 8, 130, 1]);
        assert_eq!(worst(&[0, 77]), 1, "a code that is none of ours");
        assert_eq!(super::worst([Some(0), None].into_iter()), 130, "one that was not begun");
        assert_eq!(worst(&[]), 4);
        let all: std::collections::BTreeSet<_> = ORDER.iter().map(|exit| exit.code()).collect();
        assert_eq!(all.len(), ORDER.len());
    }

    #[test]
    fn a_matrix_has_its_modes_at_the_top_and_the_rest_to_the_left() {
        let cells = [("a", "guest"), ("a", "reset"), ("b", "guest"), ("b", "reset")];
        let rows = cells.map(|(host, via)| row(host, &[("via", via), ("image", "x")], Some(0)));
        let (version, command, started) = (String::new(), String::new(), String::new());
        let mut all =
            Several { schema: 1, version, command, started, seconds: 1.0, at_once: 2, rows: rows.into(), code: 0 };
        let lines = vec![("a x".into(), vec![Some(0), Some(1)]), ("b x".into(), vec![Some(2), Some(3)])];
        assert_eq!(all.grid(), Some(Grid { columns: vec!["guest", "reset"], lines }));
        assert_eq!(all.headline(), "PASSED: 4 of 4 runs passed (exit 0)");
        all.rows.truncate(1);
        assert_eq!(all.grid(), None, "one mode is no matrix");
        all.rows = vec![row("a", &[], Some(6)), row("b", &[], Some(0))];
        assert_eq!(all.grid(), None);
    }
}
