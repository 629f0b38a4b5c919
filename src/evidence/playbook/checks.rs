//! What `verify` found: named checks, as the profile's `red` refers to them.
//!
//! A verify playbook hands its checks over in the file that the variable `boma_checks_file` names:
//! `{"checks": [{"id": "docker_active", "ok": true, "hint": false, "detail": "…"}]}`. One that does not is still
//! good for something: then each of its tasks on the VM, or each item of a task's loop, is a check.
//!
//! A check answers in one of three ways: it held, it failed, or it did not look (`"ok": false, "looked": false`).
//! What did not look is never green. What looked once and does not any more is red: that it cannot be asked may be
//! the very thing that broke.

use super::events::{Status, TaskResult};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What one check said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub id: String,
    /// Whether it held.
    pub ok: bool,
    /// A hint explains a failure and never makes one.
    #[serde(default)]
    pub hint: bool,
    /// What it saw.
    #[serde(default)]
    pub detail: String,
    /// Whether it looked at all; one that did not is not ok.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub looked: bool,
}

fn yes() -> bool {
    true
}

fn is_yes(looked: &bool) -> bool {
    *looked
}

impl Check {
    /// A check that did not look, and why.
    pub fn did_not_look(id: impl Into<String>, why: impl Into<String>) -> Self {
        Self { id: id.into(), ok: false, hint: false, detail: why.into(), looked: false }
    }

    /// Whether it fails a run: a hint never does.
    pub fn is_red(&self) -> bool {
        !self.ok && !self.hint
    }
}

#[derive(Deserialize)]
struct HandedOver {
    checks: Vec<Check>,
}

/// The checks of a file that a verify playbook handed over.
pub fn parse(text: &str) -> Result<Vec<Check>, String> {
    let HandedOver { checks } = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if checks.iter().all(|check| check.hint) {
        return Err("there is no check in it that could fail".into());
    }
    if let Some(both) = checks.iter().find(|check| check.ok && !check.looked) {
        return Err(format!("the check {} says that it is ok and that it did not look", both.id));
    }
    let mut seen = BTreeSet::new();
    match checks.iter().find(|check| !seen.insert(check.id.as_str())) {
        Some(twice) => Err(format!("the check {} is in it twice", twice.id)),
        None => Ok(checks),
    }
}

/// The checks of a verify playbook that hands nothing over. Tasks of one name are numbered: each is a check of its own.
pub fn from_results(results: &[TaskResult]) -> Vec<Check> {
    let mut checks: Vec<_> = results.iter().filter(|result| !result.only_prepares()).flat_map(of_task).collect();
    number(&mut checks);
    checks
}

/// Number the checks of one name from the second on: each is a check of its own.
pub fn number(checks: &mut [Check]) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for check in checks {
        let own = check.id.clone();
        while !taken.insert(check.id.clone()) {
            let times = times.entry(own.clone()).or_insert(1);
            *times += 1;
            check.id = format!("{own} ({times})");
        }
    }
}

fn of_task(result: &TaskResult) -> Vec<Check> {
    let one = |id: String, status: Status, broke: bool, message: &str| {
        let check = match unseen(result, status, broke) {
            Some(why) if message.is_empty() => Check::did_not_look(id, why),
            Some(why) => Check::did_not_look(id, format!("{why}: {message}")),
            None => {
                let ok = status == Status::Ok || result.held;
                Check { id, ok, hint: false, detail: message.to_owned(), looked: true }
            }
        };
        // What the playbook ignores may fail without a consequence.
        Check { hint: result.ignored, ..check }
    };
    match result.items.is_empty() {
        true => vec![one(result.task.clone(), result.status, result.broke, &result.message)],
        false => result
            .items
            .iter()
            .map(|item| one(format!("{}: {}", result.task, item.label), item.status, item.broke, &item.message))
            .collect(),
    }
}

/// Why a task, or an item of its loop, is no answer; nothing if it is one.
fn unseen(result: &TaskResult, status: Status, broke: bool) -> Option<&'static str> {
    match status {
        _ if broke => Some("it could not look"),
        _ if result.held => None,
        _ if result.check_mode => Some("only tried, in check mode"),
        Status::Skipped => Some("skipped"),
        Status::Unreachable => Some("unreachable"),
        Status::Ok if result.module() != "async_status" && result.jobs.iter().any(|job| !job.finished) => {
            Some("started in the background and not waited for")
        }
        Status::Ok | Status::Failed => None,
    }
}

/// Hold a run of the checks against the earlier ones of the same VM, each with its time: what looked in one of them has
/// to look again. What is not in this run is added.
pub fn hold_against(checks: &mut Vec<Check>, earlier: &[(&str, &[Check])]) {
    let mut looked: Vec<(&Check, &str)> = Vec::new();
    // The last answer is the one that is told.
    for (when, run) in earlier.iter().rev() {
        for check in run.iter().filter(|check| check.looked) {
            if !looked.iter().any(|(seen, _)| seen.id == check.id) {
                looked.push((check, *when));
            }
        }
    }
    let mut missing = Vec::new();
    for (before, when) in looked {
        let was = if before.ok { "it was ok" } else { "it had failed" };
        let why = format!("did not look ({was} {when})");
        match checks.iter_mut().find(|check| check.id == before.id) {
            Some(check) if check.looked => {}
            Some(check) if check.detail.is_empty() => check.detail = why,
            Some(check) => check.detail = format!("{why}: {}", check.detail),
            None => missing.push(Check { hint: before.hint, ..Check::did_not_look(&before.id, why) }),
        }
    }
    checks.extend(missing);
}

/// The checks that have not looked in this run nor in an earlier one, told by name and reason: nothing is known of
/// what they are for.
pub fn never_looked(checks: &[Check], earlier: &[(&str, &[Check])]) -> Vec<String> {
    let before = |id: &str| earlier.iter().any(|(_, run)| run.iter().any(|check| check.looked && check.id == id));
    let never = checks.iter().filter(|check| !check.looked && !check.hint && !before(&check.id));
    never.map(|check| format!("{} ({})", check.id, check.detail.lines().next().unwrap_or_default())).collect()
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
