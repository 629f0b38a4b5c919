//! What our callback plugin saw of a playbook run (`plugins/boma_events.py`).

use serde::Deserialize;
use std::collections::BTreeMap;

/// One line of the events file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A task begins on a host.
    Start {
        /// The play.
        play: String,
        /// The task.
        task: String,
        /// The host.
        host: String,
    },
    /// A task ended on a host.
    Result(Box<TaskResult>),
    /// The playbook ended; the recap of each host.
    End {
        /// By host.
        hosts: BTreeMap<String, Recap>,
    },
}

/// How a task ended on a host.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TaskResult {
    /// The play.
    pub play: String,
    /// The task.
    pub task: String,
    /// File and line.
    #[serde(rename = "where")]
    pub place: String,
    /// The module or action.
    pub action: String,
    /// The host in the inventory.
    pub host: String,
    /// The host that it was delegated to, where that is neither itself nor this side.
    pub delegated: Option<String>,
    /// Whether it went to the VM: not delegated to this side, over ssh, not an action that stays on this side.
    pub on_host: bool,
    /// How it ended.
    pub status: Status,
    /// Whether the playbook says to go on all the same.
    pub ignored: bool,
    /// Whether it changed something.
    pub changed: bool,
    /// How long it took.
    pub seconds: f64,
    /// The result's own words.
    pub message: String,
    /// A loop's items.
    pub items: Vec<Item>,
    /// What the guard asked for.
    pub resolved: Option<serde_json::Map<String, serde_json::Value>>,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Well.
    Ok,
    /// Not.
    Failed,
    /// It was not run.
    Skipped,
    /// The host did not answer.
    Unreachable,
}

/// One item of a task's loop.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Item {
    /// Its label.
    pub label: String,
    /// Whether it went well.
    pub ok: bool,
    /// The result's own words.
    pub message: String,
}

/// One host's line of the recap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct Recap {
    /// Tasks that went well, changed ones included.
    pub ok: u32,
    /// Tasks that changed something.
    pub changed: u32,
    /// Tasks that the host did not answer.
    pub unreachable: u32,
    /// Tasks that failed.
    pub failures: u32,
    /// Tasks that were not run.
    pub skipped: u32,
    /// Failures that the playbook caught.
    pub rescued: u32,
    /// Failures that the playbook ignored.
    pub ignored: u32,
}

/// The events of a file. A line that was not written to its end (Ansible was killed) is no event.
pub fn parse(text: &str) -> Vec<Event> {
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

impl TaskResult {
    /// Whether it really ran on the VM.
    pub fn ran_on_vm(&self) -> bool {
        self.on_host && matches!(self.status, Status::Ok | Status::Failed)
    }

    /// The words that explain a failure, with the failed items of a loop.
    pub fn why(&self) -> String {
        let items: Vec<_> =
            self.items.iter().filter(|i| !i.ok).map(|i| format!("{}: {}", i.label, i.message)).collect();
        match (items.is_empty(), self.message.is_empty()) {
            (false, _) => items.join("; "),
            (true, false) => self.message.clone(),
            (true, true) => "it gave no reason".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULT: &str = r#"{"event": "result", "play": "p", "task": "t", "where": "/r/x.yml:3", "action": "command", "host": "askari", "delegated": null, "on_host": true, "status": "failed", "ignored": false, "changed": false, "seconds": 0.1, "message": "one or more items failed", "items": [{"label": "a", "ok": true, "message": ""}, {"label": "b", "ok": false, "message": "exit code 1"}], "resolved": null}"#;

    #[test]
    fn a_line_that_was_not_finished_is_no_event() {
        let text = format!("{RESULT}\n{}", &RESULT[..60]);
        assert_eq!(parse(&text).len(), 1);
    }

    #[test]
    fn a_failed_loop_is_explained_by_its_failed_items() {
        let [Event::Result(result)] = &parse(&format!("{RESULT}\n"))[..] else { panic!("one result") };
        assert_eq!(result.why(), "b: exit code 1");
    }
}
