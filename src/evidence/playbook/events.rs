//! What our callback plugin saw of a playbook run (`plugins/boma_events.py`).

use serde::Deserialize;
use std::collections::BTreeMap;

/// One line of the events file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase", deny_unknown_fields)]
pub enum Event {
    /// The playbook was read.
    Playbook {
        /// Whether something that it may load names the file that checks are handed over in.
        hands_over: bool,
    },
    /// A play selects no host that is mirrored.
    Unmatched {
        /// The play.
        play: String,
        /// What it selects by.
        hosts: Vec<String>,
    },
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
    /// The playbook asked for the end of a play, a batch, a host or a role.
    Ended {
        /// How (`end_play`).
        how: String,
        /// The play.
        play: String,
        /// The task.
        task: String,
        /// File and line.
        #[serde(rename = "where")]
        place: String,
    },
    /// The plugin itself failed, so that something was not told.
    Broken {
        /// Where, and why.
        why: String,
    },
    /// The playbook ended; the recap of each host.
    End {
        /// By host.
        hosts: BTreeMap<String, Recap>,
    },
}

/// How a task ended on a host.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskResult {
    /// The play.
    pub play: String,
    /// The role that it is of; empty where it is of none.
    #[serde(default)]
    pub role: String,
    /// The task, with its role's name before it.
    pub task: String,
    /// File and line.
    #[serde(rename = "where")]
    pub place: String,
    /// Whether it is a handler: it runs because of another task.
    #[serde(default)]
    pub handler: bool,
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
    /// Whether the playbook says to go on even if it fails.
    pub ignored: bool,
    /// Whether it changed something.
    pub changed: bool,
    /// Whether it was only tried: in check mode nothing is done.
    pub check_mode: bool,
    /// Whether it was not to run: its condition did not hold, or its loop was empty.
    #[serde(default)]
    pub idle: bool,
    /// Whether it was skipped because it would have gone to another host, and the overlay leaves such tasks out.
    #[serde(default)]
    pub left_out: bool,
    /// Whether it came to no answer: its program is missing, its module crashed, a variable is unknown.
    pub broke: bool,
    /// Whether it is a `fail` that was skipped by a condition of its own: it looked, and all was well.
    pub held: bool,
    /// Its tags, with those of its block, role and play.
    pub tags: Vec<String>,
    /// The background jobs that it started or asked for.
    pub jobs: Vec<Job>,
    /// Whether it restarted the machine.
    pub rebooted: bool,
    /// How long it took.
    pub seconds: f64,
    /// The result's own words.
    pub message: String,
    /// A loop's items.
    pub items: Vec<Item>,
    /// What it was given, for each thing that it really changed: a program's command line and input, or a module's
    /// arguments. Nothing of what `no_log` hides.
    #[serde(default)]
    pub given: Vec<String>,
    /// What it would change, in a pass with `--check --diff`; a loop's items have one each.
    #[serde(default)]
    pub diff: String,
    /// What the guard asked for.
    pub resolved: Option<serde_json::Map<String, serde_json::Value>>,
}

/// A background job (`async`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Ansible's name for it; empty where `no_log` hides it.
    pub id: String,
    /// Whether it has ended.
    pub finished: bool,
    /// The file on the host that its result goes into; known of one that was started.
    pub file: String,
    /// After how many seconds Ansible's wrapper ends it.
    pub limit: u64,
    /// Whether it runs as another user than the one that logs in.
    pub r#become: bool,
    /// That user, where the task names one.
    pub become_user: Option<String>,
}

/// How a task, or an item of its loop, ended.
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
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its label.
    pub label: String,
    /// How it ended.
    pub status: Status,
    /// Whether it came to no answer, as [`TaskResult::broke`].
    pub broke: bool,
    /// Whether it changed something.
    #[serde(default)]
    pub changed: bool,
    /// Whether it was not to run.
    #[serde(default)]
    pub idle: bool,
    /// What it would change, as [`TaskResult::diff`].
    #[serde(default)]
    pub diff: String,
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

/// The events of a file. A last line that was not written to its end (Ansible was killed) is no event; any other that
/// cannot be read is an error, for it may be the one that matters. The error says which line, and why.
pub fn parse(text: &str) -> Result<Vec<Event>, String> {
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let read = |(n, line)| match serde_json::from_str(line) {
        Ok(Event::Broken { why }) => Err(format!("line {}: {why}", n + 1)),
        Ok(event) => Ok(event),
        Err(error) => Err(format!("line {}: {error}", n + 1)),
    };
    whole.enumerate().map(read).collect()
}

/// The results among events.
pub fn results(events: &[Event]) -> impl DoubleEndedIterator<Item = &TaskResult> {
    events.iter().filter_map(|event| match event {
        Event::Result(result) => Some(result.as_ref()),
        _ => None,
    })
}

impl Event {
    /// The same event, with every text of others changed by `mask`: what it says may hold a secret.
    pub fn masked(mut self, mask: impl Fn(&str) -> String) -> Self {
        let hide = |text: &mut String| *text = mask(text);
        match &mut self {
            Self::Playbook { .. } | Self::Broken { .. } | Self::End { .. } => {}
            Self::Unmatched { play, .. } => hide(play),
            Self::Start { play, task, .. } | Self::Ended { play, task, .. } => [play, task].into_iter().for_each(hide),
            Self::Result(result) => {
                let own = [&mut result.play, &mut result.task, &mut result.message, &mut result.diff];
                own.into_iter().chain(&mut result.given).for_each(hide);
                for item in &mut result.items {
                    [&mut item.label, &mut item.message, &mut item.diff].into_iter().for_each(hide);
                }
            }
        }
        self
    }
}

/// Actions that are no check, whatever becomes of them: they prepare the others, or cannot fail for the host's sake.
const PREPARES: [&str; 22] = [
    "add_host",
    "debug",
    "find",
    "group_by",
    "import_playbook",
    "import_role",
    "import_tasks",
    "include",
    "include_role",
    "include_tasks",
    "include_vars",
    "meta",
    "pause",
    "ping",
    "reboot",
    "set_fact",
    "set_stats",
    "setup",
    "stat",
    "tempfile",
    "validate_argument_spec",
    "wait_for_connection",
];

impl Item {
    /// Whether it failed.
    pub fn is_bad(&self) -> bool {
        matches!(self.status, Status::Failed | Status::Unreachable)
    }
}

impl TaskResult {
    /// Whether it really ran on the VM. What was only tried did not.
    pub fn ran_on_vm(&self) -> bool {
        self.on_host && !self.check_mode && matches!(self.status, Status::Ok | Status::Failed)
    }

    /// Whether it would have run on the VM, and was only tried in check mode.
    pub fn was_only_tried(&self) -> bool {
        self.on_host && self.check_mode && self.status != Status::Unreachable
    }

    /// The task's own name, without its role's.
    pub fn bare_task(&self) -> &str {
        let rest = self.task.strip_prefix(self.role.as_str()).and_then(|rest| rest.strip_prefix(" : "));
        rest.filter(|_| !self.role.is_empty()).unwrap_or(&self.task)
    }

    /// The action without its collection.
    pub fn module(&self) -> &str {
        self.action.rsplit('.').next().unwrap_or(&self.action)
    }

    /// Whether it only looks, prepares or waits, and can neither change the host nor be a check of it.
    pub fn only_prepares(&self) -> bool {
        let module = self.module();
        PREPARES.contains(&module) || module.ends_with("_facts")
    }

    /// Whether it failed.
    pub fn is_bad(&self) -> bool {
        matches!(self.status, Status::Failed | Status::Unreachable)
    }

    /// The words that explain a failure, with the failed items of a loop.
    pub fn why(&self) -> String {
        let items: Vec<_> =
            self.items.iter().filter(|i| i.is_bad()).map(|i| format!("{}: {}", i.label, i.message)).collect();
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

    const RESULT: &str = r#"{"event": "result", "play": "p", "task": "t", "where": "/r/x.yml:3", "action": "command", "host": "askari", "delegated": null, "on_host": true, "status": "failed", "ignored": false, "changed": false, "check_mode": false, "broke": false, "held": false, "tags": [], "jobs": [], "rebooted": false, "seconds": 0.1, "message": "one or more items failed", "items": [{"label": "a", "status": "ok", "broke": false, "message": ""}, {"label": "b", "status": "failed", "broke": false, "message": "exit code 1"}], "resolved": null}"#;

    #[test]
    fn a_last_line_that_was_not_finished_is_no_event() {
        let text = format!("{RESULT}\n{}", &RESULT[..60]);
        assert_eq!(parse(&text).unwrap().len(), 1);
    }

    #[test]
    fn any_other_line_that_cannot_be_read_is_an_error_that_names_it() {
        let end = r#"{"event": "end", "hosts": {}}"#;
        let unknown = r#"{"event": "result", "x": 1}"#.to_owned();
        let odd = RESULT.replace("\"failed\"", "\"odd\"");
        let broken = r#"{"event": "broken", "why": "result: KeyError: 'x'"}"#;
        let more = RESULT.replace("\"broke\"", "\"more\": 1, \"broke\"");
        for bad in [&RESULT[..60], "", &unknown, &odd, &more, r#"{"event": "news"}"#, broken] {
            let error = parse(&format!("{RESULT}\n{bad}\n{end}\n")).unwrap_err();
            assert!(error.starts_with("line 2: "), "{bad}: {error}");
        }
    }

    #[test]
    fn a_failed_loop_is_explained_by_its_failed_items() {
        let events = parse(&format!("{RESULT}\n")).unwrap();
        assert_eq!(results(&events).next().unwrap().why(), "b: exit code 1");
    }

    #[test]
    fn a_secret_is_masked_in_words_and_never_in_what_decides() {
        let events = parse(&format!("{RESULT}\n")).unwrap();
        let masked: Vec<_> = events.into_iter().map(|e| e.masked(|text| text.replace("failed", "***"))).collect();
        let result = results(&masked).next().unwrap();
        assert_eq!((result.message.as_str(), result.status), ("one or more items ***", Status::Failed));
    }
}
