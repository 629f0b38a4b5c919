//! A change on top of what is there: a role that renames a drop-in leaves the old one behind on every host but a fresh one.

use crate::lane::{Lane, User};
use camino::Utf8Path;
use serde_json::{Value, json};
use std::process::Command;

/// The role as of a commit: how it calls its drop-in, and what it does besides.
fn role(name: &str, more: &str) -> String {
    format!(
        "- name: A folder for drop-ins
  ansible.builtin.file: {{path: /etc/systemd/system/systemd-timesyncd.service.d, state: directory, mode: '0755'}}
- name: A drop-in
  ansible.builtin.copy:
    dest: /etc/systemd/system/systemd-timesyncd.service.d/{name}
    content: \"[Service]\\nMemoryMax=96M\\n\"
    mode: '0644'
{more}"
    )
}

const REMOVED: &str = "- name: What an earlier version has left
  ansible.builtin.file: {path: /etc/systemd/system/systemd-timesyncd.service.d/10-memory.conf, state: absent}
";

const PROFILE: &str = r#"{
  "image": "debian-13", "firmware": "bios", "repo": "repo", "inventory": "hosts.yml", "applies": [{"playbook": "site.yml"}],
  "verify": [{"name": "time is kept", "probe": {"unit": {"name": "systemd-timesyncd.service"}}}],
  "package_lists": "leave", "mem_mib": 1024
}"#;

fn git(repo: &Utf8Path, args: &[&str]) -> String {
    let who = ["-c", "user.name=t", "-c", "user.email=t@example.net"];
    let out = Command::new("git").args(["-C", repo.as_str()]).args(who).args(args).output().unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A project whose repository has two commits; the second renames the drop-in.
fn project() -> Lane {
    let lane = Lane::new(User::Caller);
    let repo = lane.dir.join("repo");
    std::fs::create_dir_all(repo.join("roles/time/tasks")).unwrap();
    let write = |file: &str, text: &str| std::fs::write(repo.join(file), text).unwrap();
    write("hosts.yml", "all:\n  hosts:\n    box1:\n      ansible_host: 198.51.100.7\n");
    write("site.yml", "- hosts: box1\n  become: true\n  gather_facts: false\n  roles: [time]\n");
    write("roles/time/tasks/main.yml", &role("10-memory.conf", ""));
    // Ansible itself is no part of any revision.
    write(".gitignore", ".venv\n");
    let venv = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/boma/.venv").canonicalize().unwrap();
    std::os::unix::fs::symlink(venv, repo.join(".venv")).unwrap();
    git(&repo, &["init", "-q"]);
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "-q", "-m", "one"]);
    write("roles/time/tasks/main.yml", &role("20-memory.conf", ""));
    git(&repo, &["commit", "-q", "-a", "-m", "two"]);
    std::fs::write(lane.dir.join("profiles/box1.json"), PROFILE).unwrap();
    lane
}

#[test]
#[ignore = "four cycles of its own; a part of make soak"]
fn a_drop_in_that_a_role_has_renamed_is_left_behind_on_an_upgraded_host_and_named() {
    let lane = project();
    let repo = lane.dir.join("repo");
    let (first, second) = (git(&repo, &["rev-parse", "HEAD~1"]), git(&repo, &["rev-parse", "HEAD"]));
    let plan = lane.boma(&["plan", "box1", "--from", "HEAD~1"]);
    plan.exits(0).says(&[&format!("revision HEAD~1, commit {first}"), "on top of it"]);

    // What an earlier run of this test has kept is none of this one's.
    let own = format!("run={}", std::process::id());
    let cycle = ["cycle", "box1", "--from", "HEAD~1", "--both", "-e", own.as_str()];
    let old = "files/etc/systemd/system/systemd-timesyncd.service.d/10-memory.conf";
    let both = lane.boma(&cycle);
    both.exits(6).says(&["== the fresh host", "PASSED: box1", "== the upgraded host", old, "left behind"]);
    let result = lane.result();
    let told = |result: &Value| {
        let findings = result["ends"]["findings"].as_array().unwrap().clone();
        findings.iter().map(|one| (one["id"].clone(), one["side"].clone())).collect::<Vec<_>>()
    };
    // That alone: two machines differ in much that says nothing.
    assert_eq!(told(&result), [(json!(format!("ends/{old}")), json!("only-upgraded"))], "{result}");
    let on_top = &result["on_top"];
    assert_eq!((&on_top["rev"], &on_top["commit"], &on_top["tree"]), (&json!("HEAD~1"), &json!(first), &json!(second)));
    assert_eq!(on_top["base"]["how"], "made", "{on_top}");
    assert_eq!((&on_top["tree_changed"], on_top["playbooks"].as_array().unwrap().len()), (&json!(false), 1));
    assert_eq!(
        result["playbooks"].as_array().unwrap().len(),
        1,
        "what came first has no part in the verdict: {result}"
    );
    let kept = on_top["base"]["key"].clone();
    // The machine is kept as after every failure, and has both.
    let there = ["ssh", "box1", "--", "ls /etc/systemd/system/systemd-timesyncd.service.d"];
    lane.boma(&there).exits(0).says(&["10-memory.conf", "20-memory.conf"]);
    lane.boma(&["down", "box1"]).exits(0);
    lane.is_empty();

    // A role that removes what it has left brings both to one end.
    std::fs::write(repo.join("roles/time/tasks/main.yml"), role("20-memory.conf", REMOVED)).unwrap();
    lane.boma(&cycle).exits(0).says(&["both hosts end as one", "applied on top of HEAD~1", "with uncommitted changes"]);
    assert_eq!(told(&lane.result()), []);
    // What was kept is the same host, with the earlier revision applied: it was not applied again.
    let on_top = lane.result()["on_top"].clone();
    assert_eq!((&on_top["base"]["how"], &on_top["base"]["key"]), (&json!("reused"), &kept), "{on_top}");
    assert_eq!(on_top["playbooks"], json!([]));
    assert_eq!(git(&repo, &["worktree", "list"]).lines().count(), 1);
    lane.is_empty();
}
