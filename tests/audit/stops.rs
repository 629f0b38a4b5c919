//! The reading of an image ends when its limit is over, when the audit's is, and when the user says so.

use crate::program::condition;
use crate::project::Project;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A small ISO with 60 GB of nothing behind it, which takes minutes to be hashed and no room.
fn large(world: &Project) -> String {
    let image = world.dir.join("large.iso");
    let small = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso";
    assert!(std::path::Path::new(small).exists(), "`.ci/install` installs grub-rescue-pc");
    std::fs::copy(small, &image).unwrap();
    std::fs::OpenOptions::new().write(true).open(&image).unwrap().set_len(60_000_000_000).unwrap();
    image.into_string()
}

fn profile(world: &Project, limit: u64) {
    let mut sum = condition("sum", "image", json!({"checksum": {}}), &["one"]);
    sum["limit"] = limit.into();
    let one = condition("one", "image", json!({"one-image": {}}), &[]);
    let whole = condition("whole", "image", json!({"whole": {}}), &["one"]);
    world.own(json!([one, sum, whole]), json!({"image": large(world)}));
}

fn results(audit: &Value) -> Vec<&str> {
    audit["conditions"].as_array().unwrap().iter().map(|one| one["result"].as_str().unwrap()).collect()
}

/// Wait until a process has read so many bytes.
fn has_read(child: &Child, bytes: u64) {
    let start = Instant::now();
    let read = || {
        let text = std::fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("rchar: "))?;
        line.parse::<u64>().ok()
    };
    while read().is_none_or(|read| read < bytes) {
        assert!(start.elapsed() < Duration::from_secs(120), "nothing is read");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn ctrl_c_in_the_middle_of_a_checksum_ends_the_audit_in_order() {
    let world = Project::new();
    profile(&world, 3600);
    let mut child = world.command(&["audit", "own", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Past the first condition it is the checksum that reads, and far more than the image's structure has.
    let first = |line: &std::io::Result<String>| line.as_ref().is_ok_and(|line| line.contains("\"condition\""));
    assert!(lines.by_ref().any(|line| first(&line)));
    has_read(&child, 64 << 20);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let asked = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // Hashing the rest would take minutes.
    assert!(asked.elapsed() < Duration::from_secs(60), "{:?}", asked.elapsed());
    let audit = world.audit();
    assert_eq!(results(&audit), ["passed", "skipped", "skipped"]);
    assert_eq!(audit["exit"], "interrupted");
    drop(lines);
}

#[test]
fn a_limit_ends_a_checksum_and_the_next_condition_is_looked_at() {
    let world = Project::new();
    profile(&world, 1);
    let (code, out, _) = world.run(&["audit", "own"]);
    assert_eq!(code, 4, "{out}");
    let audit = world.audit();
    assert_eq!(results(&audit), ["passed", "failed", "passed"], "{out}");
    assert_eq!(audit["conditions"][1]["cause"], "could not look: the image was not read within 1 s");
}

#[test]
fn the_audits_own_time_ends_a_checksum() {
    let world = Project::new();
    profile(&world, 3600);
    let (code, _, err) = world.run(&["audit", "own", "--timeout", "2"]);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("the audit did not end within 2 s"), "{err}");
    assert_eq!(results(&world.audit()), ["passed", "skipped", "skipped"]);
}
