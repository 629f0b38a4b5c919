//! Units that ran and do not, that came back, or that keep failing.

use super::{Meaning, Said};
use crate::observe::diff::Raw;
use crate::observe::finding::is_broken;
use crate::observe::state::{Section, State};

/// A timer that has a next time, and one that has none.
const TIMER: (&str, &str) = ("active (waiting)", "active (elapsed)");

/// Whether a timer had a next time and has none.
fn has_no_next_time(raw: &Raw) -> bool {
    raw.key.ends_with(".timer/active")
        && (raw.before.as_deref(), raw.after.as_deref()) == (Some(TIMER.0), Some(TIMER.1))
}

/// What the difference means.
pub(super) fn unit(raw: &Raw, before: &State, after: &State) -> Meaning<Said> {
    let lost = |what: String, why: &str| Meaning::Lost((what, why.to_owned()));
    let reason = after.known.reasons.get(&raw.id());
    if reason.is_some_and(|reason| reason.excuses) {
        return Meaning::Nothing;
    }
    let reason = reason.map(|reason| reason.why.as_str());
    if let Some(unit) = raw.key.strip_suffix("/restarted") {
        return restarted(raw, unit, after);
    }
    let unit = raw.key.strip_suffix("/active").unwrap_or(&raw.key);
    let was = raw.before.as_deref().unwrap_or("inactive");
    let is = raw.after.as_deref().unwrap_or("inactive");
    let enabled = before.promises("enabled", unit);
    if is_broken(is) {
        // One that had failed before is as it was.
        let how = match after.known.restarts.get(unit) {
            _ if is == "failed" => "has failed".to_owned(),
            Some(times) => format!("fails again and again, {times} times since the boot"),
            None => "fails again and again".to_owned(),
        };
        let why = if enabled { "it is started at boot; its journal has the reason" } else { "" };
        return if is_broken(was) { Meaning::Nothing } else { lost(format!("{unit} was {was} and {how}"), why) };
    }
    if raw.before.is_none() {
        return back(unit, is, enabled, before);
    }
    if has_no_next_time(raw) {
        let why = reason.unwrap_or("nothing that it counts from has happened since the boot");
        return lost(format!("{unit} is active and has no next time"), why);
    }
    // Only what had come to rest as active can be lost, and a process that runs is more than one that has ended.
    if !was.starts_with("active") || (is.starts_with("active") && !was.contains("(running)")) {
        return Meaning::Nothing;
    }
    if raw.after.is_none() && before.promises("on-demand", unit) {
        return Meaning::Nothing;
    }
    let idle;
    let why = match (enabled, raw.after.is_none(), reason) {
        (_, _, Some(why)) => why,
        (false, true, None) if unit.starts_with("user ") => {
            "it ran in the session of its user; without a login and without lingering, nothing starts it"
        }
        (false, true, None) => "it is not enabled, and nothing starts it at boot",
        (true, true, None) => {
            idle = wanted_by_idle_units(unit, after);
            idle.as_deref().unwrap_or("it is enabled, but was not started or has ended")
        }
        (_, false, None) => "",
    };
    lost(format!("{unit} was {was} and is {is}"), why)
}

/// The units whose links want it, where none of them runs: being enabled does not start it then. Of targets systemd itself
/// is asked.
fn wanted_by_idle_units(unit: &str, after: &State) -> Option<String> {
    let wanter = |key: &str| {
        let (folder, name) = key.rsplit_once('/')?;
        let wants = folder.rsplit('/').next()?;
        let wanter = wants.strip_suffix(".wants").or(wants.strip_suffix(".requires"))?;
        (name == unit).then(|| wanter.to_owned())
    };
    let wanters: Vec<_> = after.facts(Section::UnitFiles)?.keys().filter_map(|key| wanter(key)).collect();
    let idle = |name: &String| {
        !name.ends_with(".target") && !after.word(Section::Units, &format!("{name}/active")).starts_with("active")
    };
    (!wanters.is_empty() && wanters.iter().all(idle))
        .then(|| format!("only {} wants it, and that does not run", wanters.join(" and ")))
}

/// A unit that systemd had to start again, and that runs now.
fn restarted(raw: &Raw, unit: &str, after: &State) -> Meaning<Said> {
    let times = after.known.restarts.get(unit).copied().unwrap_or(0);
    match raw.before.is_none() && times > 0 {
        true => {
            let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
            Meaning::Lost((
                format!("{unit} ended, and systemd started it again, {times} since the boot"),
                String::new(),
            ))
        }
        false => Meaning::Nothing,
    }
}

/// A unit that did not run before and does now.
fn back(unit: &str, is: &str, enabled: bool, before: &State) -> Meaning<Said> {
    let runs = is == "active (running)" || (!unit.ends_with(".service") && is.starts_with("active"));
    // One that does its work and ends (a set of rules that is loaded) has done it for the first time, or once more.
    let done = is == "active (exited)";
    match (runs && enabled, before.known.stopped.contains(unit)) {
        (false, false) if done && enabled => {
            Meaning::TookEffect(format!("{unit} has done its work: it was enabled, and had not been started"))
        }
        (false, _) => Meaning::Nothing,
        (true, true) => Meaning::Lost((
            format!("{unit} was stopped and is {is}"),
            "it is enabled, so the boot has started it".to_owned(),
        )),
        (true, false) => Meaning::TookEffect(format!("{unit} is {is}: it was enabled, and had not been started")),
    }
}
