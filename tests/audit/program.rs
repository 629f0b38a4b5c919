//! The program from outside: what it refuses, lists, prints and keeps.

use crate::project::Project;
use assert_cmd::Command;
use camino::Utf8Path;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

impl Project {
    /// A profile `own` with these conditions.
    pub(crate) fn own(&self, conditions: Value, more: Value) {
        let mut profile = json!({
            "kind": "audit", "guest": {"dialect": "debian", "user": "x"}, "machine": {"disks": []}, "conditions": conditions
        });
        for (key, value) in more.as_object().unwrap() {
            profile[key] = value.clone();
        }
        std::fs::write(self.dir.join("profiles/own.json"), profile.to_string()).unwrap();
    }

    pub(crate) fn run(&self, args: &[&str]) -> (i32, String, String) {
        let out = Command::from_std(self.command(args)).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
    }

    pub(crate) fn audit(&self) -> Value {
        let text = std::fs::read(self.dir.join("runs/latest/audit.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

/// What an audit came to.
pub(crate) struct Run {
    pub(crate) code: i32,
    /// Both streams.
    pub(crate) told: String,
    /// Its `audit.json`; null where none was written.
    pub(crate) audit: Value,
}

impl Run {
    /// What came of each condition.
    pub(crate) fn results(&self) -> Vec<&str> {
        self.audit["conditions"].as_array().unwrap().iter().map(|one| one["result"].as_str().unwrap()).collect()
    }

    /// Why a condition failed.
    pub(crate) fn cause(&self, number: usize) -> &str {
        self.audit["conditions"][number]["cause"].as_str().unwrap_or_else(|| panic!("{number}: {}", self.told))
    }
}

impl Project {
    /// Run the program, and read what the newest audit came to.
    pub(crate) fn audited(&self, args: &[&str]) -> Run {
        let (code, out, err) = self.run(args);
        let text = std::fs::read(self.dir.join("runs/latest/audit.json")).unwrap_or_default();
        Run { code, told: out + &err, audit: serde_json::from_slice(&text).unwrap_or_default() }
    }
}

pub(crate) fn condition(id: &str, phase: &str, probe: Value, after: &[&str]) -> Value {
    json!({"id": id, "phase": phase, "what": format!("{id} holds"), "hint": format!("mend {id}"), "probe": probe, "after": after})
}

#[test]
fn an_audit_is_no_host_and_what_does_not_exist_is_refused_with_what_does() {
    let world = Project::new();
    world.refused(&["cycle", "pre-nixos"], 2, &["the profile of an audit", "boma-qemu audit pre-nixos"]);
    world.refused(&["audit", "askari"], 2, &["is the profile of a host, not of an audit", "boma-qemu cycle askari"]);
    world.refused(&["cycle", "nosuch"], 2, &["(there are: askari)"]);
    world.refused(&["audit", "nosuch"], 2, &["(there are: pre-nixos)"]);
    world.refused(&["audit", "pre-nixos", "--image", "no.iso"], 2, &["--image: no file matches", "/no.iso: "]);
    world.refused(&["audit", "pre-nixos", "--image", "/dev/zero"], 2, &["it is no regular file"]);
    world.refused(&["audit", "pre-nixos", "--only", "host,nosuch"], 2, &["has no condition nosuch", "--list"]);
    assert!(!world.dir.join("runs").exists(), "evidence of nothing");
}

#[test]
fn a_list_shows_every_condition_in_its_order_and_does_nothing() {
    let world = Project::new();
    let (code, listed, _) = world.run(&["audit", "pre-nixos", "--list"]);
    assert_eq!(code, 0);
    let text = std::fs::read_to_string(world.dir.join("profiles/pre-nixos.json")).unwrap();
    let profile: Value = serde_json::from_str(&text).unwrap();
    for condition in profile["conditions"].as_array().unwrap() {
        assert!(listed.contains(condition["id"].as_str().unwrap()), "{condition} is not in {listed}");
    }
    assert!(listed.lines().all(|line| line.chars().count() <= 80), "{listed}");
    assert!(!world.dir.join("runs").exists() && !world.dir.join("s/vms").exists());
    let (_, given, _) = world.run(&["audit", "pre-nixos", "--list", "--image", "x.iso"]);
    assert!(given.contains("skipped: --image names an image"), "{given}");
}

#[test]
fn all_that_holds_is_exit_0_and_the_evidence_has_every_form() {
    let world = Project::new();
    world.own(
        json!([
            condition("home", "host", json!({"shell-environment": {"set": ["HOME"]}}), &[]),
            condition("here", "host", json!({"disk-free": {"folder": "runs", "at-least-mib": 1}}), &["home"]),
        ]),
        json!({}),
    );
    let (code, out, _) = world.run(&["audit", "own"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("PASSED: all that own must have holds") && !out.contains('\u{1b}'), "{out}");
    assert!(out.lines().take_while(|line| !line.contains("evidence")).all(|line| line.chars().count() <= 80), "{out}");
    for file in ["started", "audit.json", "junit.xml", "report.md", "report.html"] {
        assert!(world.dir.join("runs/latest").join(file).exists(), "{file}");
    }
    assert_eq!(world.audit()["conditions"][1]["result"], "passed");
    let report = std::fs::read_to_string(world.dir.join("runs/latest/report.md")).unwrap();
    assert!(report.contains("### home: passed") && report.contains("== a fresh login shell"), "{report}");
}

#[test]
fn a_must_that_fails_is_exit_6_and_is_named_first_with_its_next_step() {
    let world = Project::new();
    let wanted = json!({"commands-present": {"names": ["no-such-program"]}});
    world.own(
        json!([
            condition("tool", "host", wanted, &[]),
            condition("works", "host", json!({"command-works": {"argv": ["true"]}}), &["tool"]),
            condition("other", "host", json!({"command-works": {"argv": ["true"]}}), &[]),
        ]),
        json!({}),
    );
    let (code, out, err) = world.run(&["audit", "own", "--json"]);
    assert_eq!(code, 6, "{err}");
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let results: Vec<_> = events.iter().filter(|event| event["event"] == "condition").collect();
    let result = |n: usize| results[n]["condition"]["result"].as_str().unwrap();
    assert_eq!([result(0), result(1), result(2)], ["failed", "blocked", "passed"]);
    assert_eq!(results[1]["condition"]["by"], json!(["tool"]));
    assert!(err.contains("error: tool: in a fresh login shell: not found: no-such-program"), "{err}");
    assert!(err.contains("next:  mend tool"), "{err}");
    let junit = std::fs::read_to_string(world.dir.join("runs/latest/junit.xml")).unwrap();
    assert!(junit.contains(r#"failures="1""#) && junit.contains("blocked by tool"), "{junit}");
    let (code, ..) = world.run(&["audit", "own", "--only", "other"]);
    assert_eq!(code, 0, "what was not asked for fails nothing");
}

#[test]
fn a_stop_in_the_middle_keeps_what_was_seen() {
    let world = Project::new();
    world.own(
        json!([
            condition("first", "host", json!({"command-works": {"argv": ["true"]}}), &[]),
            condition("build", "host", json!({"build": {}}), &[]),
            condition("last", "host", json!({"command-works": {"argv": ["true"]}}), &[]),
        ]),
        json!({"build": {"command": ["sh", "-c", "echo begun; sleep 100"], "folder": "."}, "image": "x.iso"}),
    );
    let mut child = world.command(&["audit", "own"]).spawn().unwrap();
    let start = Instant::now();
    let log = world.dir.join("runs/latest/build.log");
    while !std::fs::read_to_string(&log).unwrap_or_default().contains("\nbegun") {
        assert!(start.elapsed() < Duration::from_secs(30), "the build does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    let asked = Instant::now();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(60), "{:?}", asked.elapsed());
    let audit = world.audit();
    let results: Vec<_> = audit["conditions"].as_array().unwrap().iter().map(|one| one["result"].clone()).collect();
    assert_eq!(results, ["passed", "skipped", "skipped"]);
    assert_eq!(audit["conditions"][1]["reason"], "not come to: stopped by the user");
    assert_eq!(audit["exit"], "interrupted");
}

#[test]
fn an_audit_that_takes_too_long_is_ended_and_says_so() {
    let world = Project::new();
    world.own(
        json!([condition("build", "host", json!({"build": {}}), &[])]),
        json!({"build": {"command": ["sleep", "100"], "folder": "."}, "image": "x.iso"}),
    );
    let (code, _, err) = world.run(&["audit", "own", "--timeout", "1"]);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("the audit did not end within 1 s") && err.contains("--timeout"), "{err}");
}

/// An image that nobody here made: package grub-rescue-pc.
#[test]
fn a_foreign_image_is_audited_for_what_it_boots() {
    let image = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso";
    assert!(Utf8Path::new(image).exists(), "`.ci/install` installs grub-rescue-pc");
    let world = Project::new();
    let args = |which: &str| json!({"loader-args": {"expect": ["console=ttyS0,115200"], "entries": which}});
    world.own(
        json!([
            condition("one", "image", json!({"one-image": {}}), &[]),
            condition("whole", "image", json!({"whole": {}}), &["one"]),
            condition("bios", "image", json!({"el-torito": {"expect": ["bios"]}}), &["whole"]),
            condition("efi", "image", json!({"el-torito": {"expect": ["efi"]}}), &["whole"]),
            condition("grub", "image", json!({"files-present": {"paths": ["/boot/grub/i386-pc/*.mod"]}}), &["whole"]),
            condition("serial", "image", args("all"), &["whole"]),
            condition("squashfs", "image", json!({"squashfs-lists": {"files": ["/x"]}}), &["whole"]),
        ]),
        json!({}),
    );
    let (code, out, _) = world.run(&["audit", "own", "--image", image]);
    assert_eq!(code, 6, "{out}");
    let audit = world.audit();
    let results: Vec<_> =
        audit["conditions"].as_array().unwrap().iter().map(|one| one["result"].as_str().unwrap().to_owned()).collect();
    assert_eq!(results, ["passed", "passed", "passed", "failed", "passed", "failed", "passed"], "{out}");
    assert!(out.contains("nothing to boot for EFI: BIOS"), "{out}");
    let cause = audit["conditions"][5]["cause"].as_str().unwrap();
    assert!(cause.ends_with("(\"GNU/Linux\") lacks console=ttyS0,115200"), "{cause}");
}
