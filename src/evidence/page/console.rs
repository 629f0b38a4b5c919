//! The places of the console log that the rules matched, with the lines around them.

use crate::page::html::cycle::{ConsoleLine, Highlight, RuleMatch};
use crate::page::html::parts::Weight;
use camino::Utf8Path;
use host::failure::Failure;
use std::ops::Range;
use vm::console::boots::{Part, parts};
use vm::console::engine::Line;
use vm::console::gap;
use vm::console::rules::Severity;
use vm::monitor::events::{self, Event, JournalError, What, console_cuts, read_all};

/// Lines that are shown before and after a match.
const BEFORE: usize = 3;
const AFTER: usize = 5;
/// Places that are shown; the rest is counted.
const MOST: usize = 16;

/// The first places, and how many more there are. The events tell what matched: they are what was seen live.
pub(super) fn highlights(folder: &Utf8Path) -> (Vec<Highlight>, usize) {
    let log = folder.join("console.log");
    let length = std::fs::metadata(&log).map_or(0, |meta| usize::try_from(meta.len()).unwrap_or(usize::MAX));
    let events = match read_all(&folder.join("events.ndjson")) {
        Ok(events) => events,
        Err(JournalError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound && length == 0 => {
            Vec::new()
        }
        // Without it nothing is known of what matched: that is not "nothing".
        Err(error) => return (vec![unreadable(error)], 0),
    };
    let matches: Vec<_> = events.iter().filter_map(matched).collect();
    let parts = parts(length, &console_cuts(&events));
    let mut places: Vec<_> = parts.iter().flat_map(|part| in_part(part, &log, &matches)).collect();
    let more = places.len().saturating_sub(MOST);
    places.truncate(MOST);
    (places, more)
}

fn matched(event: &Event) -> Option<&events::RuleMatch> {
    match &event.what {
        What::ConsoleRule(matched) => Some(matched),
        _ => None,
    }
}

/// In the place of what matched: why that is not known.
fn unreadable(error: JournalError) -> Highlight {
    let means = format!("what the console said is not known: {}", Failure::from(error));
    let rules = vec![RuleMatch { id: "journal".into(), weight: Weight::Critical, means }];
    Highlight { part: "journal".into(), rules, lines: Vec::new() }
}

fn in_part(part: &Part, log: &Utf8Path, matches: &[&events::RuleMatch]) -> Vec<Highlight> {
    let here = |at: u64| usize::try_from(at).is_ok_and(|at| part.range.contains(&at));
    let matches: Vec<_> = matches.iter().copied().filter(|matched| here(matched.offset)).collect();
    if matches.is_empty() {
        return Vec::new();
    }
    let lines = lines(log, part.range.start as u64..part.range.end as u64);
    let line_of = |at: u64| lines.partition_point(|line| line.offset <= at).saturating_sub(1);
    let mut found: Vec<_> = matches.into_iter().map(|matched| (line_of(matched.offset), matched)).collect();
    found.sort_by_key(|(line, _)| *line);
    let mut groups: Vec<Vec<(usize, &events::RuleMatch)>> = Vec::new();
    for found in found {
        match groups.last_mut().and_then(|group| Some((group.last()?.0, group))) {
            // Matches whose surroundings touch are one place.
            Some((last, group)) if found.0.saturating_sub(last) <= BEFORE + AFTER => group.push(found),
            _ => groups.push(vec![found]),
        }
    }
    groups.iter().map(|group| place(part, &lines, group)).collect()
}

fn place(part: &Part, lines: &[Line], group: &[(usize, &events::RuleMatch)]) -> Highlight {
    let matched: Vec<usize> = group.iter().map(|(line, _)| *line).collect();
    let (first, last) = (matched.iter().min().copied().unwrap_or(0), matched.iter().max().copied().unwrap_or(0));
    let mut rules: Vec<RuleMatch> = Vec::new();
    for (_, events::RuleMatch { id, severity, means, .. }) in group {
        if rules.iter().all(|rule| rule.id != *id) {
            rules.push(RuleMatch { id: id.clone(), weight: weight(*severity), means: means.clone() });
        }
    }
    let around = first.saturating_sub(BEFORE)..lines.len().min(last + AFTER + 1);
    let shown = |n: usize| ConsoleLine { text: lines[n].text.clone(), matched: matched.contains(&n) };
    Highlight { part: part.name().replace('-', " "), rules, lines: around.map(shown).collect() }
}

fn weight(severity: Severity) -> Weight {
    match severity {
        Severity::Critical => Weight::Critical,
        Severity::Error => Weight::Error,
        Severity::Warning => Weight::Warning,
    }
}

/// The clean lines that are not empty, with their places in the log.
fn lines(log: &Utf8Path, range: Range<u64>) -> Vec<Line> {
    let mut lines = gap::lines(log, range).unwrap_or_default();
    lines.retain(|line| !line.text.trim().is_empty());
    lines
}
