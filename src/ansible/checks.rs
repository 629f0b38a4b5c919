//! What the verify playbook found: named checks, as the profile's `red` refers to them.
//!
//! A verify playbook hands its checks over in the file that the variable `boma_checks_file` names:
//! `{"checks": [{"id": "docker_active", "ok": true, "hint": false, "detail": "…"}]}`. One that does not is still
//! good for something: then each of its tasks on the VM, or each item of a task's loop, is a check.

use super::events::{Status, TaskResult};
use serde::{Deserialize, Serialize};

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
    let mut seen = std::collections::BTreeSet::new();
    match checks.iter().find(|check| !seen.insert(check.id.as_str())) {
        Some(twice) => Err(format!("the check {} is in it twice", twice.id)),
        None => Ok(checks),
    }
}

/// The checks of a verify playbook that hands nothing over.
pub fn from_results(results: &[TaskResult]) -> Vec<Check> {
    let ran =
        results.iter().filter(|r| !matches!(r.status, Status::Skipped) && r.action != "gather_facts" && !r.ignored);
    ran.flat_map(|result| {
        let id = |text: &str| text.to_owned();
        match result.items.is_empty() {
            true => vec![Check {
                id: id(&result.task),
                ok: result.status == Status::Ok,
                hint: false,
                detail: result.message.clone(),
            }],
            false => result
                .items
                .iter()
                .map(|item| Check {
                    id: format!("{}: {}", result.task, item.label),
                    ok: item.ok,
                    hint: false,
                    detail: item.message.clone(),
                })
                .collect(),
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_read_as_the_playbook_wrote_them() {
        let text = r#"{"checks": [{"id": "a", "ok": true, "detail": "fine"}, {"id": "h", "ok": false, "hint": true}]}"#;
        let checks = parse(text).unwrap();
        assert_eq!((checks[0].ok, checks[0].hint, checks[1].hint), (true, false, true));
    }

    #[test]
    fn a_list_that_could_never_fail_is_no_list_of_checks() {
        for bad in [r#"{"checks": []}"#, r#"{"checks": [{"id": "h", "ok": false, "hint": true}]}"#, "[]", ""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(r#"{"checks": [{"id": "a", "ok": "false"}]}"#).is_err(), "text is not a truth value");
        assert!(parse(r#"{"checks": [{"id": "a", "ok": true}, {"id": "a", "ok": false}]}"#).is_err());
    }
}
