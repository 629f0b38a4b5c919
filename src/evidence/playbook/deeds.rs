//! What playbooks did to the VM: the tasks that changed something, with what each was given. What a reboot then loses
//! can be told with the task that had set it.

use super::events::TaskResult;
use serde::{Deserialize, Serialize};

/// How many are kept, the newest of them: the last that fits is the one that counts.
const MOST: usize = 2000;

/// A task that changed something on the VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// Its role; empty where it is of none.
    pub role: String,
    /// Its own name.
    pub task: String,
    /// File and line.
    pub place: String,
    /// The module or action, without its collection.
    pub module: String,
    /// What it was given, for each thing that it changed. It holds what a secret may hide in, and stays with the VM.
    pub given: Vec<String>,
}

impl Deed {
    /// The deed that a result tells of. What only looks or was only tried has done nothing, and of what `no_log` hides
    /// nothing is known.
    fn of(result: &TaskResult) -> Option<Self> {
        let did = result.changed && result.ran_on_vm() && !result.only_prepares() && !result.given.is_empty();
        did.then(|| Self {
            role: result.role.clone(),
            task: result.bare_task().to_owned(),
            place: result.place.clone(),
            module: result.module().to_owned(),
            given: result.given.clone(),
        })
    }
}

/// Add what these results tell of, in their order.
pub fn add(deeds: &mut Vec<Deed>, results: &[TaskResult]) {
    deeds.extend(results.iter().filter_map(Deed::of));
    deeds.drain(..deeds.len().saturating_sub(MOST));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::events::Status;
    use crate::testing::result;

    fn changed(task: &str) -> TaskResult {
        TaskResult { changed: true, given: vec!["sysctl -w a.b=1".into()], ..result(task, Status::Ok) }
    }

    #[test]
    fn only_what_really_changed_the_vm_and_hides_nothing_is_a_deed() {
        let in_role = TaskResult { role: "base".into(), task: "base : Set : it".into(), ..changed("") };
        let not = [
            result("unchanged", Status::Ok),
            TaskResult { check_mode: true, ..changed("tried") },
            TaskResult { on_host: false, ..changed("here") },
            TaskResult { given: Vec::new(), ..changed("hidden") },
            TaskResult { status: Status::Skipped, ..changed("skipped") },
        ];
        let mut deeds = Vec::new();
        add(&mut deeds, &[&not[..], &[in_role, changed("plain")]].concat());
        let told: Vec<_> = deeds.iter().map(|deed| (deed.role.as_str(), deed.task.as_str())).collect();
        assert_eq!(told, [("base", "Set : it"), ("", "plain")]);
    }

    #[test]
    fn the_newest_deeds_are_kept() {
        let mut deeds = Vec::new();
        let results: Vec<_> = (0..MOST + 5).map(|n| changed(&n.to_string())).collect();
        add(&mut deeds, &results);
        assert_eq!((deeds.len(), deeds[0].task.as_str()), (MOST, "5"));
    }
}
