//! The places of the console log that the rules matched, with the lines around them.

use crate::console::boots::{Part, parts};
use crate::console::engine::Line;
use crate::console::gap;
use crate::monitor::events::{Event, console_cuts, read_all};
use crate::report::html::cycle::{ConsoleLine, Highlight, RuleMatch};
use crate::report::html::parts::Weight;
use camino::Utf8Path;
use std::ops::Range;

/// Lines that are shown before and after a match.
const BEFORE: usize = 3;
const AFTER: usize = 5;
/// Places that are shown; the rest is counted.
const MOST: usize = 16;

/// The first places, and how many more there are. The events tell what matched: they are what was seen live.
pub(super) fn highlights(folder: &Utf8Path) -> (Vec<Highlight>, usize) {
    let log = folder.join("console.log");
    let length = std::fs::metadata(&log).map_or(0, |meta| usize::try_from(meta.len()).unwrap_or(usize::MAX));
    let events = read_all(&folder.join("events.ndjson")).unwrap_or_default();
    let parts = parts(length, &console_cuts(&events));
    let mut places: Vec<_> = parts.iter().flat_map(|part| in_part(part, &log, &events)).collect();
    let more = places.len().saturating_sub(MOST);
    places.truncate(MOST);
    (places, more)
}

fn in_part(part: &Part, log: &Utf8Path, events: &[Event]) -> Vec<Highlight> {
    let offset = |event: &Event| event.data["offset"].as_u64().and_then(|at| usize::try_from(at).ok());
    let here =
        |event: &&Event| event.kind == "console-rule" && offset(event).is_some_and(|at| part.range.contains(&at));
    let matches: Vec<_> = events.iter().filter(here).collect();
    if matches.is_empty() {
        return Vec::new();
    }
    let lines = lines(log, part.range.start as u64..part.range.end as u64);
    let line_of = |event: &Event| {
        let at = event.data["offset"].as_u64().unwrap_or_default();
        lines.partition_point(|line| line.offset <= at).saturating_sub(1)
    };
    let mut found: Vec<_> = matches.into_iter().map(|event| (line_of(event), event)).collect();
    found.sort_by_key(|(line, _)| *line);
    let mut groups: Vec<Vec<(usize, &Event)>> = Vec::new();
    for found in found {
        match groups.last_mut().and_then(|group| Some((group.last()?.0, group))) {
            // Matches whose surroundings touch are one place.
            Some((last, group)) if found.0.saturating_sub(last) <= BEFORE + AFTER => group.push(found),
            _ => groups.push(vec![found]),
        }
    }
    groups.iter().map(|group| place(part, &lines, group)).collect()
}

fn place(part: &Part, lines: &[Line], group: &[(usize, &Event)]) -> Highlight {
    let matched: Vec<usize> = group.iter().map(|(line, _)| *line).collect();
    let (first, last) = (matched.iter().min().copied().unwrap_or(0), matched.iter().max().copied().unwrap_or(0));
    let mut rules: Vec<RuleMatch> = Vec::new();
    for (_, event) in group {
        let text = |key: &str| event.text(key).unwrap_or_default().to_owned();
        if rules.iter().all(|rule| rule.id != text("id")) {
            rules.push(RuleMatch { id: text("id"), weight: weight(event), means: text("means") });
        }
    }
    let around = first.saturating_sub(BEFORE)..lines.len().min(last + AFTER + 1);
    let shown = |n: usize| ConsoleLine { text: lines[n].text.clone(), matched: matched.contains(&n) };
    Highlight { part: part.name().replace('-', " "), rules, lines: around.map(shown).collect() }
}

fn weight(event: &Event) -> Weight {
    match event.text("severity") {
        Some("critical") => Weight::Critical,
        Some("error") => Weight::Error,
        Some("warning") => Weight::Warning,
        _ => Weight::Note,
    }
}

/// The clean lines that are not empty, with their places in the log.
fn lines(log: &Utf8Path, range: Range<u64>) -> Vec<Line> {
    let mut lines = gap::lines(log, range).unwrap_or_default();
    lines.retain(|line| !line.text.trim().is_empty());
    lines
}
