//! The outcome checks as one matrix.

use super::parts::{Answer, CheckRow};
use super::text::Told;
use maud::{Markup, html};

/// What a restart did to a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
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
    pub(super) fn of(before: Option<&Answer>, after: Option<&Answer>) -> Self {
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
pub(super) fn short(checks: &[CheckRow], restart: Option<usize>) -> (String, Option<bool>) {
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
fn compared(row: &CheckRow, restart: Option<usize>) -> Change {
    let answer = |column: usize| row.answers.get(column).and_then(Option::as_ref);
    let before = restart.and_then(|first_after| answer(first_after.checked_sub(1)?));
    Change::of(before, row.answers.last().and_then(Option::as_ref))
}

/// The matrix. `restart` is the first column after the restart, if there is one.
pub(super) fn matrix(times: &[String], checks: &[CheckRow], restart: Option<usize>) -> Markup {
    let columns = times.len() + 2;
    html! {
        table.matrix role="table" {
            thead role="rowgroup" { tr role="row" {
                th scope="col" role="columnheader" { "check" }
                @for time in times { th scope="col" role="columnheader" { (time) } }
                th scope="col" role="columnheader" { "which means" }
            } }
            tbody role="rowgroup" { @for row in checks {
                @let said = row.answers.iter().rev().flatten().next().map(|answer| answer.said.trim()).filter(|s| !s.is_empty());
                @let change = compared(row, restart);
                tr.opened[said.is_some()] role="row" {
                    th scope="row" role="rowheader" { code { (row.id) } @if row.hint { " " span."soft small" { "hint" } } }
                    @for (column, time) in times.iter().enumerate() { td role="cell" {
                        // Seen where there is no room for columns.
                        span.when aria-hidden="true" { (time.split(' ').next().unwrap_or(time)) " " }
                        (cell(row.answers.get(column).and_then(Option::as_ref), row.hint))
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

fn cell(answer: Option<&Answer>, hint: bool) -> Markup {
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
pub(super) fn tally(checks: &[CheckRow]) -> (String, Option<bool>) {
    let red = checks.iter().filter(|row| !row.hint && matches!(compared(row, None), Change::Fails | Change::Unseen));
    let red: Vec<_> = red.map(|row| row.id.as_str()).collect();
    match (checks.len(), red.is_empty()) {
        (0, _) => ("not run".into(), None),
        (all, true) => (format!("all {all} hold"), Some(true)),
        (_, false) => (red.join(", "), Some(false)),
    }
}
