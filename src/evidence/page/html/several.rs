//! The page of several runs: what each came to, and where its own page is.

use super::head::{self, Short};
use super::parts::{Mood, Verdict};
use super::text::{Told, link, seconds};
use super::{document, part};
use crate::several::{Grid, Row, Several};
use camino::Utf8Path;
use host::failure::Exit;
use maud::{Markup, html};

/// The page of several runs, which lies in `folder`.
pub fn page(all: &Several, folder: &Utf8Path) -> String {
    let what = all.command.as_str();
    let verdict = Verdict {
        mood: match all.code == Exit::Passed.code() {
            true => Mood::Good,
            false if all.rows.iter().any(|row| mood(row) == Mood::Bad) => Mood::Bad,
            false => Mood::Open,
        },
        headline: all.headline(),
        ..Verdict::default()
    };
    let short = |row: &Row| (mood(row) != Mood::Open).then_some(row.passed());
    let passed = all.rows.iter().filter(|row| row.passed()).count();
    let strip = [Short {
        id: "runs",
        name: "Runs",
        says: format!("{passed} of {} passed", all.rows.len()),
        mood: all.rows.iter().map(short).min().unwrap_or(None),
    }];
    let facts = [
        ("command", all.command.clone()),
        ("took", seconds(all.seconds)),
        ("at once", all.at_once.to_string()),
        ("exit code", all.code.to_string()),
    ];
    let body = html! {
        (head::head(what, &all.started, &verdict, &strip))
        @if let Some(grid) = all.grid() { (part("grid", "Matrix", "", &matrix(all, &grid, folder))) }
        (part("runs", "Runs", "", &runs(all, folder)))
        (part("facts", "Facts", "", &head::facts(&facts)))
        (head::foot(&all.version))
    };
    document(&format!("{what} · boma-qemu"), &body)
}

fn mood(row: &Row) -> Mood {
    match row.code {
        Some(0 | 7) => Mood::Good,
        Some(5 | 6 | 8) => Mood::Bad,
        _ => Mood::Open,
    }
}

fn class(row: &Row) -> &'static str {
    match mood(row) {
        Mood::Good => "good",
        Mood::Bad => "bad",
        Mood::Open => "warn",
    }
}

/// Where a run's own page is, seen from this one.
fn place(row: &Row, folder: &Utf8Path, file: &str) -> Option<String> {
    let (run, runs) = (row.run.as_ref()?, folder.parent()?);
    Some(link(&format!("../{}/{file}", run.strip_prefix(runs).ok()?)))
}

fn told(row: &Row, text: &str, folder: &Utf8Path) -> Markup {
    let words = html! { span class=(class(row)) { (text) } };
    match place(row, folder, crate::page::PAGE) {
        Some(place) => html! { a href=(place) { (words) } },
        None => words,
    }
}

fn runs(all: &Several, folder: &Utf8Path) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "run" } th scope="col" { "verdict" } th scope="col" { "exit" } th scope="col" { "took" } th scope="col" { "said" } } }
            tbody { @for row in &all.rows {
                tr {
                    th scope="row" { (told(row, &row.name, folder)) }
                    td {
                        (Told(&row.headline))
                        @for leak in &row.leaks { br; span.bad { "left: " (leak.what) } }
                    }
                    td { (row.code.map_or("-".into(), |code| code.to_string())) }
                    td.nowrap { (seconds(row.seconds)) }
                    td { a.mono href=(link(&row.log)) { (row.log) } }
                }
            } }
        }
    }
}

fn matrix(all: &Several, grid: &Grid<'_>, folder: &Utf8Path) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "" } @for column in &grid.columns { th scope="col" { (column) } } } }
            tbody { @for (name, cells) in &grid.lines {
                tr {
                    th scope="row" { (name) }
                    @for cell in cells {
                        td { @if let Some(row) = cell.and_then(|n| all.rows.get(n)) { (told(row, row.word(), folder)) } }
                    }
                }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_leads_to_each_runs_own_and_escapes_what_was_said() {
        let mut rows: Vec<_> = [("a", "guest"), ("b", "reset")]
            .map(|(host, via)| {
                let asked = [("via".to_owned(), via.to_owned())].into();
                Row::new(host.into(), host.parse().unwrap(), asked, format!("{host}.log"))
            })
            .into();
        rows[0].code = Some(0);
        rows[0].run = Some("/runs/2026-a".into());
        rows[1].code = Some(6);
        rows[1].headline = "FAILED: <script>b".into();
        let (version, command) = ("1".to_owned(), "matrix --hosts a,b".to_owned());
        let all =
            Several { schema: 1, version, command, started: String::new(), seconds: 2.0, at_once: 2, rows, code: 6 };
        let page = page(&all, Utf8Path::new("/runs/2026-several"));
        for part in ["./../2026-a/report.html", "./a.log", "FAILED: &lt;script&gt;b", "Matrix", "1 of 2 runs passed"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(page.contains("is-bad"), "{page}");
    }
}
