//! What unit tests share; it is in no program.

use crate::playbook::events::{Status, TaskResult};
use serde_json::json;
use vm::reboot::Restart;

/// What a task of this name ended with.
pub fn result(task: &str, status: Status) -> TaskResult {
    TaskResult {
        play: "p".into(),
        role: String::new(),
        task: task.into(),
        place: "/r/x.yml:3".into(),
        handler: false,
        action: "command".into(),
        host: "askari".into(),
        delegated: None,
        on_host: true,
        status,
        ignored: false,
        changed: false,
        check_mode: false,
        idle: false,
        left_out: false,
        broke: false,
        held: false,
        tags: Vec::new(),
        jobs: Vec::new(),
        rebooted: false,
        seconds: 0.1,
        message: "exit code 1".into(),
        items: Vec::new(),
        given: Vec::new(),
        diff: String::new(),
        resolved: None,
    }
}

/// A proved reboot.
#[allow(clippy::unwrap_used, reason = "a literal")]
pub fn restart() -> Restart {
    serde_json::from_value(json!({
        "mode": "guest", "proof": "reboot",
        "boot_id_before": "6f1e2b1c-8f0e-4f0e-9d59-3a4b5c6d7e8f", "boot_id_after": "0f1e2b1c-8f0e-4f0e-9d59-3a4b5c6d7e8f",
        "prepared": [], "triggered": null, "asked_seq": 10, "asked_mono": 100.0,
        "evidence": [{"seq": 11, "mono": 101.0, "kind": "RESET", "reason": "guest-reset"}],
        "last_words": {"journal": "Reached target reboot.target", "console": null},
        "down_s": 1.0, "ssh_s": 20.0, "settled_s": 30.0,
        "settled": {"system": "running", "failed_units": [], "cloud_init": "done"}
    }))
    .unwrap()
}
