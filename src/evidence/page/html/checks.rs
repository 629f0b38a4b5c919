//! The outcome checks as one matrix.

use super::text::Told;
use crate::playbook::checks::Check;
use crate::record::Checks;
use maud::{Markup, html};

/// One outcome check, at each time that the checks ran.
struct Row<'a> {
    id: &'a str,
    hint: bool,
    /// What it said, in the order of the columns; none where it did not run.
    answers: Vec<Option<&'a Check>>,
}

/// A row for each check that ever ran.
fn rows(runs: &[Checks]) -> Vec<Row<'_>> {
    let mut ids: Vec<&str> = Vec::new();
    for check in runs.iter().flat_map(|run| &run.checks) {
        if !ids.contains(&check.id.as_str()) {
            ids.push(&check.id);
        }
    }
    let row = |id| {
        let answers: Vec<_> = runs.iter().map(|run| run.checks.iter().find(|check| check.id == id)).collect();
        Row { id, hint: answers.iter().rev().flatten().next().is_some_and(|check| check.hint), answers }
    };
    ids.into_iter().map(row).collect()
}

/// The first column after the restart, if there is one after it and one before it.
pub(super) fn first_after(runs: &[Checks]) -> Option<usize> {
    runs.iter().position(|run| run.when.starts_with("after")).filter(|first| *first > 0)
}

/// What a restart did to a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Holds,
    Broken,
    Mended,
    FailedAlready,
    /// It failed, and there is nothing to compare with.
    Fails,
    /// It did not look, so nothing is known but that it does not hold.
    Unseen,
    Unknown,
}

impl Change {
    /// From the answer before (if there is one) to the one after.
    fn of(before: Option<&Check>, after: Option<&Check>) -> Self {
        if after.is_some_and(|answer| !answer.looked) {
            return Self::Unseen;
        }
        // Nothing can be compared with a look that was none.
        let before = before.filter(|answer| answer.looked);
        match (before.map(|a| a.ok), after.map(|a| a.ok)) {
            (_, None) => Self::Unknown,
            (Some(true) | None, Some(true)) => Self::Holds,
            (Some(false), Some(true)) => Self::Mended,
            (Some(true), Some(false)) => Self::Broken,
            (Some(false), Some(false)) => Self::FailedAlready,
            (None, Some(false)) => Self::Fails,
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Holds => ("holds", "soft"),
            Self::Broken => ("broken by the restart", "pill bad"),
            Self::Mended => ("mended by the restart", "pill good"),
            Self::FailedAlready => ("failed already", "pill warn"),
            Self::Fails => ("fails", "pill bad"),
            Self::Unseen => ("did not look", "pill bad"),
            Self::Unknown => ("not known", "soft"),
        }
    }
}

/// What became of the checks, in a few words; and whether that is good.
pub(super) fn short(runs: &[Checks]) -> (String, Option<bool>) {
    let (checks, restart) = (rows(runs), first_after(runs));
    let failed = |change| {
        let judged = checks.iter().filter(|row| !row.hint);
        judged.filter(|row| compared(row, restart) == change).count()
    };
    let broken = failed(Change::Broken);
    let red = broken + failed(Change::FailedAlready) + failed(Change::Fails) + failed(Change::Unseen);
    match (checks.is_empty(), broken, red) {
        (true, ..) => ("did not run".into(), None),
        (_, 0, 0) => ("all hold".into(), Some(true)),
        (_, 0, red) => (format!("{red} of {} failed", checks.len()), Some(false)),
        (_, broken, _) => (format!("{broken} of {} broken by the restart", checks.len()), Some(false)),
    }
}

/// The last answer compared with that of the column before the restart.
fn compared(row: &Row<'_>, restart: Option<usize>) -> Change {
    let answer = |column: usize| row.answers.get(column).copied().flatten();
    let before = restart.and_then(|first_after| answer(first_after.checked_sub(1)?));
    Change::of(before, row.answers.last().copied().flatten())
}

/// The matrix: a column for each time that the checks ran.
pub(super) fn matrix(runs: &[Checks]) -> Markup {
    let (checks, restart, columns) = (rows(runs), first_after(runs), runs.len() + 2);
    // The page speaks of restarts: what is no reboot must not be called one.
    let times: Vec<_> = runs.iter().map(|run| run.when.trim_end_matches(" the reboot")).collect();
    html! {
        table.matrix role="table" {
            thead role="rowgroup" { tr role="row" {
                th scope="col" role="columnheader" { "check" }
                @for time in &times { th scope="col" role="columnheader" { (time) } }
                th scope="col" role="columnheader" { "which means" }
            } }
            tbody role="rowgroup" { @for row in &checks {
                @let said = row.answers.iter().rev().flatten().next().map(|check| check.detail.trim()).filter(|s| !s.is_empty());
                @let change = compared(row, restart);
                tr.opened[said.is_some()] role="row" {
                    th scope="row" role="rowheader" { code { (row.id) } @if row.hint { " " span."soft small" { "hint" } } }
                    @for (column, time) in times.iter().enumerate() { td role="cell" {
                        // Seen where there is no room for columns.
                        span.when aria-hidden="true" { (time.split(' ').next().unwrap_or(time)) " " }
                        (cell(row.answers[column], row.hint))
                    } }
                    td role="cell" { @let (words, class) = words(change, row.hint); span class=(class) { (words) } }
                }
                @if let Some(said) = said {
                    tr.said role="row" { td.said-bad[matches!(change, Change::Broken | Change::Fails | Change::FailedAlready | Change::Unseen)] colspan=(columns) role="cell" { (Told(said)) } }
                }
            } }
        }
    }
}

/// A hint explains; it is never broken or mended.
fn words(change: Change, hint: bool) -> (&'static str, &'static str) {
    match (hint, change) {
        (true, Change::Broken | Change::Fails | Change::FailedAlready) => ("explains", "soft"),
        (true, Change::Unseen) => ("did not look", "pill warn"),
        (true, Change::Mended) => ("holds", "soft"),
        _ => change.words(),
    }
}

fn cell(answer: Option<&Check>, hint: bool) -> Markup {
    let (sign, word, class) = match (answer.map(|a| a.ok), hint) {
        (None, _) => ("–", "not run", "soft"),
        _ if answer.is_some_and(|a| !a.looked) => ("?", "did not look", if hint { "warn" } else { "bad" }),
        (Some(true), _) => ("✓", "ok", "good"),
        (Some(false), true) => ("✗", "no", "warn"),
        (Some(false), false) => ("✗", "failed", "bad"),
    };
    html! { span class=(format!("tag {class}")) { span aria-hidden="true" { (sign) " " } (word) } }
}

/// What the checks of one run say, in a few words; and whether that is as it must be.
pub(super) fn tally(checks: &[Check]) -> (String, Option<bool>) {
    let red: Vec<_> = checks.iter().filter(|check| check.is_red()).map(|check| check.id.as_str()).collect();
    match (checks.len(), red.is_empty()) {
        (0, _) => ("not run".into(), None),
        (all, true) => (format!("all {all} hold"), Some(true)),
        (_, false) => (red.join(", "), Some(false)),
    }
}
