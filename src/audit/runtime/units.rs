//! systemd's units.

use super::{Answer, Asked, fields, quoted};
use crate::audit::outcome::Seen;
use std::collections::BTreeMap;

/// What stands between a unit's state and its journal.
const JOURNAL: &str = "-- journal --";

/// How a unit is defined.
pub(super) fn properties<'k>(unit: &str, names: impl Iterator<Item = &'k String>) -> String {
    let names: String = names.map(|name| format!(" -p {}", quoted(name))).collect();
    format!("systemctl show -p LoadState{names} -- {}", quoted(unit))
}

pub(super) fn judge_properties(unit: &str, expect: &BTreeMap<String, String>, answer: &Answer) -> Seen {
    let found: BTreeMap<&str, &str> = fields(&answer.output).collect();
    if let Some(seen) = not_there(unit, &found, answer) {
        return seen;
    }
    let said = |name: &str| found.get(name).copied().unwrap_or("unknown to this systemd");
    let differs = expect.iter().filter(|(name, value)| said(name) != value.as_str());
    let differs: Vec<_> = differs.map(|(name, value)| format!("{name} is {} and not {value}", said(name))).collect();
    let observed: Vec<_> = expect.keys().map(|name| format!("{name}={}", said(name))).collect();
    let cause = (!differs.is_empty()).then(|| format!("{unit}: {}", differs.join(", ")));
    Seen::judged(observed.join(" "), cause)
}

/// What is asked about a unit.
const ASKED: &str =
    "-p LoadState -p ActiveState -p SubState -p Result -p ExecMainStatus -p ExecMainExitTimestampMonotonic -p Job";

/// Wait until the unit is in one of the states, or cannot come there any more: it failed, it does not exist, or it is not
/// running and nothing is queued that could start it. Then print its state and its journal.
pub(super) fn state(unit: &str, expect: &[String], sub: &[String], asked: &Asked<'_>) -> String {
    let active = any_of("ActiveState", expect);
    let reached = match sub.is_empty() {
        true => format!("{active}) break;;"),
        false => format!("{active}) case $s in {}) break;; esac;;", any_of("SubState", sub)),
    };
    wait_until(unit, &reached, asked)
}

/// The same until the unit's work is done: a oneshot is then active if it remains so, else inactive, and it has run.
pub(super) fn success(unit: &str, asked: &Asked<'_>) -> String {
    let done = r#"*"
ActiveState=active
"*) break;; *"
ActiveState=inactive
"*) case $s in *"
ExecMainExitTimestampMonotonic=0
"*) ;; *) break;; esac;;"#;
    wait_until(unit, done, asked)
}

/// A pattern of the shell for a property with one of the values.
fn any_of(name: &str, values: &[String]) -> String {
    values.iter().map(|value| format!("*\"\n{name}={value}\n\"*")).collect::<Vec<_>>().join("|")
}

fn wait_until(unit: &str, reached: &str, asked: &Asked<'_>) -> String {
    let unit = quoted(unit);
    let begin = wait_begins(asked);
    // A newline before and after, so that each property stands between two.
    format!(
        r#"{begin}; while :; do
s="
$(systemctl show {ASKED} -- {unit})
"
case $s in {reached} esac
case $s in *"
LoadState=not-found
"*|*"
ActiveState=failed
"*) break;; *"
ActiveState=inactive
"*) [ -n "$(systemctl list-jobs --no-legend)" ] || break;; esac
{WAIT_GOES_ON}
done; printf '%s{JOURNAL}\n' "$s"; journalctl -b -u {unit} -n 80 --no-pager -o short-monotonic 2>&1"#
    )
}

/// What a wait in the guest's shell begins with. The time is read and not counted: an emulated machine may take a second for
/// an answer, and its last words have to come before the command's own time is up.
pub(super) fn wait_begins(asked: &Asked<'_>) -> String {
    // `/proc/uptime` has seconds with two decimals, and the shell reckons in whole numbers.
    let clock = r#"now() { read -r up _ </proc/uptime; echo "${up%.*}${up#*.}"; }"#;
    format!("{clock}; end=$(($(now) + {}00))", patience(asked))
}

/// What a wait's loop ends with.
pub(super) const WAIT_GOES_ON: &str = r#"[ "$(now)" -lt "$end" ] || break; sleep 0.25"#;

/// The time that the guest waits: a little less than all, so that its own words come through.
pub(super) fn patience(asked: &Asked<'_>) -> u64 {
    asked.limit.as_secs().saturating_sub(5).max(1)
}

pub(super) fn judge_state(unit: &str, expect: &[String], sub: &[String], asked: &Asked<'_>, answer: &Answer) -> Seen {
    let is = |values: &[String], value: &str| values.iter().any(|one| one == value);
    let wanted = match sub.is_empty() {
        true => expect.join(" or "),
        false => format!("{} ({})", expect.join(" or "), sub.join(" or ")),
    };
    judge(unit, asked, answer, &wanted, |unit| {
        is(expect, unit.said("ActiveState")) && (sub.is_empty() || is(sub, unit.said("SubState")))
    })
}

pub(super) fn judge_success(unit: &str, asked: &Asked<'_>, answer: &Answer) -> Seen {
    judge(unit, asked, answer, "done", |unit| {
        let ran = !matches!(unit.said("ExecMainExitTimestampMonotonic"), "0" | "?");
        ran && unit.said("Result") == "success" && matches!(unit.said("ActiveState"), "active" | "inactive")
    })
}

/// A unit as `systemctl show` has it.
struct Unit<'a>(BTreeMap<&'a str, &'a str>);

impl Unit<'_> {
    fn said(&self, name: &str) -> &str {
        self.0.get(name).copied().unwrap_or("?")
    }
}

fn judge(unit: &str, asked: &Asked<'_>, answer: &Answer, wanted: &str, holds: impl Fn(&Unit<'_>) -> bool) -> Seen {
    let (state, journal) = answer.output.split_once(JOURNAL).unwrap_or((&answer.output, ""));
    let found = Unit(fields(state).collect());
    if let Some(seen) = not_there(unit, &found.0, answer) {
        return seen;
    }
    let active = found.said("ActiveState");
    let observed = format!("{active} ({})", found.said("SubState"));
    let cause = match active {
        _ if holds(&found) => None,
        "failed" => {
            let (result, code) = (found.said("Result"), found.said("ExecMainStatus"));
            Some(format!("{unit} failed: {result}, exit code {code}{}", last_words(journal)))
        }
        "activating" | "deactivating" | "reloading" => {
            Some(format!("{unit} is still {observed} after {} s, and not {wanted}", patience(asked)))
        }
        _ => Some(format!("{unit} is {observed}, and not {wanted}")),
    };
    Seen::judged(observed, cause).in_text(format!("{}\n{}", state.trim(), journal.trim()))
}

/// The last thing that the unit itself said: systemd's own lines about it follow. A line of the journal is
/// `[   10.102938] host program[pid]: words`.
fn last_words(journal: &str) -> String {
    let said = |line: &'_ str| {
        let (_, rest) = line.trim_start().strip_prefix('[')?.split_once("] ")?;
        let (program, words) = rest.split_once("]: ")?;
        (!program.ends_with(" systemd[1")).then(|| format!("; it last said: {words}"))
    };
    journal.lines().rev().find_map(said).unwrap_or_default()
}

/// The unit does not exist, or systemd does not answer.
fn not_there(unit: &str, found: &BTreeMap<&str, &str>, answer: &Answer) -> Option<Seen> {
    match found.get("LoadState").copied() {
        None => {
            Some(Seen::unknown(format!("systemctl does not say how {unit} is: {}", super::last_line(&answer.output))))
        }
        Some("not-found") => Some(Seen::fails("not found", format!("there is no unit {unit}"))),
        Some(bad @ ("bad-setting" | "error")) => Some(Seen::fails(bad, format!("{unit} cannot be loaded: {bad}"))),
        Some("masked") => Some(Seen::fails("masked", format!("{unit} is masked"))),
        Some(_) => None,
    }
}
