//! TAP, versions 12 to 14 (<https://testanything.org/tap-version-14-specification.html>). What is indented (subtests, YAML) belongs
//! to a test whose own line says how it ended. Lines that are no TAP are the tests' own output.

use super::{looked, skipped};
use evidence::playbook::checks::Check;
use std::collections::BTreeSet;

/// The tests; the error is for a run that did not come to its end or was planned otherwise.
pub(super) fn read(text: &str) -> Result<Vec<Check>, String> {
    let mut plan: Option<(usize, String)> = None;
    let (mut checks, mut numbers): (Vec<Check>, BTreeSet<usize>) = (Vec::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(why) = line.strip_prefix("Bail out!") {
            return Err(format!("it bailed out: {}", why.trim()));
        }
        if let Some(planned) = planned(line) {
            if plan.replace(planned).is_some() {
                return Err("there are two plans in its TAP".into());
            }
        } else if let Some(test) = Test::of(line) {
            let number = test.number.unwrap_or(checks.len() + 1);
            if !numbers.insert(number) {
                return Err(format!("there are two tests {number} in its TAP"));
            }
            checks.push(test.check(number));
        } else if let (Some(said), Some(last)) = (line.strip_prefix('#'), checks.last_mut()) {
            // What is said after a test that failed is about it.
            if !last.ok && last.detail.is_empty() {
                last.detail = said.trim().to_owned();
            }
        }
    }
    let Some((count, why)) = plan else { return Err("its TAP has no plan (1..N), so it may have broken off".into()) };
    if count == 0 {
        return Err(format!("its TAP plans no test: {}", if why.is_empty() { "without a reason" } else { &why }));
    }
    match checks.len() == count && numbers.last().is_some_and(|last| *last <= count) {
        true => Ok(checks),
        false => Err(format!("its TAP plans {count} tests and has {}", checks.len())),
    }
}

/// `1..N`, with a reason behind a `#`.
fn planned(line: &str) -> Option<(usize, String)> {
    let (count, why) = line.strip_prefix("1..")?.split_once('#').unwrap_or((line.strip_prefix("1..")?, ""));
    Some((count.trim().parse().ok()?, why.trim().to_owned()))
}

/// One line of a test.
struct Test<'t> {
    ok: bool,
    number: Option<usize>,
    name: String,
    directive: Option<&'t str>,
}

impl<'t> Test<'t> {
    fn of(line: &'t str) -> Option<Self> {
        let (ok, rest) = match line.strip_prefix("not ok") {
            Some(rest) => (false, rest),
            None => (true, line.strip_prefix("ok")?),
        };
        if !rest.is_empty() && !rest.starts_with(' ') {
            return None;
        }
        let rest = rest.trim_start();
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..digits].parse().ok();
        let rest = if number.is_some() { rest[digits..].trim_start() } else { rest };
        let (name, directive) = split(rest);
        let name = name.trim().trim_start_matches("- ").trim_start_matches('-').trim().replace("\\#", "#");
        Some(Self { ok, number, name, directive: directive.map(str::trim) })
    }

    fn check(self, number: usize) -> Check {
        let id = if self.name.is_empty() { format!("test {number}") } else { self.name };
        let is =
            |word: &str| self.directive.filter(|text| text.get(..4).is_some_and(|own| own.eq_ignore_ascii_case(word)));
        if let Some(why) = is("skip") {
            return skipped(id, why[4..].trim_start_matches(|c: char| c.is_ascii_alphabetic()));
        }
        let check = looked(id, self.ok, "");
        // What is still to be done is known to fail.
        Check { hint: is("todo").is_some(), ..check }
    }
}

/// A description and what stands behind its first `#` that is not escaped.
fn split(text: &str) -> (&str, Option<&str>) {
    let at = text.match_indices('#').map(|(at, _)| at).find(|at| !text[..*at].ends_with('\\'));
    at.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])))
}
