//! Verify playbooks that cannot look, or do not: no verdict, neither good nor bad.

use crate::world::World;
use boma_qemu::ansible::AnsibleError;
use evidence::playbook::checks::{Check, never_looked};
use host::failure::Blame;

const HEAD: &str = "- hosts: all\n  gather_facts: false\n";
const CRASH: &str = "- name: Probe\n  command: /no/such/probe\n  delegate_to: localhost\n";
const HAND_OVER: &str = "- name: Hand over\n  copy: {content: '{\"checks\": [{\"id\": \"a\", \"ok\": true}]}', dest: '{{ boma_checks_file }}'}\n  delegate_to: localhost\n";

fn indented(tasks: &str) -> String {
    tasks.lines().map(|line| format!("    {line}\n")).collect()
}

fn verify(world: &World, text: &str) -> Result<Vec<Check>, AnsibleError> {
    let playbook = world.write("verify.yml", text);
    world.verify(&world.controller(), &playbook).map(|(_, checks)| checks)
}

fn told(checks: &[Check]) -> Vec<(&str, bool, bool)> {
    checks.iter().map(|check| (check.id.as_str(), check.ok, check.looked)).collect()
}

#[test]
fn a_probe_that_crashes_before_the_hand_over_is_no_verdict() {
    crashes(&["in the play", "in a role"]);
}

#[test]
#[ignore = "a run of Ansible each: make soak"]
fn a_probe_that_crashes_before_the_hand_over_is_no_verdict_wherever_both_are_written() {
    crashes(&["in an include", "in a later include", "in a role by a template", "in an imported playbook"]);
}

fn crashes(places: &[&str]) {
    let world = World::new().repo();
    let up = "    - command: 'true'\n";
    world.write("tasks/look.yml", &format!("{CRASH}{HAND_OVER}"));
    world.write("tasks/hand.yml", HAND_OVER);
    world.write("roles/looks/tasks/main.yml", &format!("{CRASH}- include_tasks: more.yml\n"));
    world.write("roles/looks/tasks/more.yml", HAND_OVER);
    world.write("roles/by_name/tasks/main.yml", HAND_OVER);
    world.write("imported.yml", &format!("{HEAD}  tasks:\n{up}{}", indented(&format!("{CRASH}{HAND_OVER}"))));
    let ways = [
        ("in the play", format!("{HEAD}  tasks:\n{up}{}", indented(&format!("{CRASH}{HAND_OVER}")))),
        ("in a role", format!("{HEAD}  pre_tasks:\n{up}  roles: [looks]\n")),
        ("in an include", format!("{HEAD}  tasks:\n{up}    - include_tasks: tasks/look.yml\n")),
        ("in a later include", format!("{HEAD}  tasks:\n{up}{}    - include_tasks: tasks/hand.yml\n", indented(CRASH))),
        (
            "in a role by a template",
            format!(
                "{HEAD}  vars: {{role: by_name}}\n  tasks:\n{up}{}    - include_role: {{name: '{{{{ role }}}}'}}\n",
                indented(CRASH)
            ),
        ),
        ("in an imported playbook", "- import_playbook: imported.yml\n".to_owned()),
    ];
    for (way, text) in ways.into_iter().filter(|(way, _)| places.contains(way)) {
        let error = verify(&world, &text).unwrap_err();
        assert!(error.exit().code() == 4 && error.to_string().contains("Probe\""), "{way}: {error}");
        assert!(
            matches!(error, AnsibleError::TaskFailed(_)),
            "{way}: a task of one that hands over is no check: {error}"
        );
    }
}

#[test]
fn a_failure_before_the_hand_over_that_is_caught_leaves_the_hand_over_to_answer() {
    let world = World::new().repo();
    let caught = format!("- block:\n{}  rescue:\n    - debug: msg=x\n", indented(CRASH));
    let text = format!("{HEAD}  tasks:\n    - command: 'true'\n{}", indented(&format!("{caught}{HAND_OVER}")));
    assert_eq!(told(&verify(&world, &text).unwrap()), [("a", true, true)]);
}

#[test]
fn a_task_that_is_a_check_and_comes_to_no_answer_is_no_verdict() {
    come_to_no_answer(&["shell: nosuchprobe | grep -q up", "command: /no/such/probe\n      failed_when: false"]);
    let world = World::new().repo();
    let text = format!("{HEAD}  tasks:\n    - name: Probe\n      command: cat /no/such/file\n");
    assert_eq!(told(&verify(&world, &text).unwrap()), [("Probe", false, true)], "it has answered");
}

#[test]
#[ignore = "a run of Ansible each: make soak"]
fn no_way_to_come_to_no_answer_is_a_verdict() {
    come_to_no_answer(&[
        "command: /no/such/probe",
        "shell: nosuchprobe --now",
        "shell: nosuchprobe | grep -q up",
        "command: echo {{ nowhere }}",
        "assert: {that: nowhere == 1}",
        "command: 'true'\n      when: nowhere == 1",
        "command: 'true'\n      vars: {ansible_python_interpreter: /no/python3}",
        "command: sleep 60\n      timeout: 1",
        "command: /no/such/probe\n      failed_when: false",
        "command: '{{ item }}'\n      loop: ['true', /no/such/probe]",
    ]);
    let world = World::new().repo();
    for way in ["command: 'false'", "uri: {url: 'http://127.0.0.1:1/'}"] {
        let text = format!("{HEAD}  tasks:\n    - name: Probe\n      {way}\n");
        assert_eq!(told(&verify(&world, &text).unwrap()), [("Probe", false, true)], "{way} has answered");
    }
}

fn come_to_no_answer(ways: &[&str]) {
    let world = World::new().repo();
    for way in ways {
        let text = format!("{HEAD}  tasks:\n    - name: Up\n      command: 'true'\n    - name: Probe\n      {way}\n");
        let error = verify(&world, &text).unwrap_err();
        assert!(error.exit().code() == 4 && error.to_string().contains("Probe\""), "{way}: {error}");
    }
}

#[test]
fn skipped_checks_did_not_look_and_facts_are_no_checks() {
    let world = World::new().repo();
    let facts = "    - setup: {gather_subset: ['!all']}\n    - ping:\n    - set_fact: {a: 1}\n";
    let skipped = "    - name: Site\n      command: 'true'\n      when: domain is defined\n    - name: Port\n      command: 'true'\n      loop: [a, b]\n      when: item == 'c'\n";
    let checks = verify(&world, &format!("{HEAD}  tasks:\n{facts}{skipped}")).unwrap();
    let none = |id| (id, false, false);
    assert_eq!(told(&checks), [none("Site"), none("Port: a"), none("Port: b")]);
    assert_eq!(never_looked(&checks, &[]).len(), 3);
    let error = verify(&world, &format!("{HEAD}  tasks:\n{facts}")).unwrap_err();
    assert!(error.exit().code() == 4, "{error}");
    let error = verify(&world, &format!("{HEAD}  tasks:\n{skipped}")).unwrap_err();
    assert!(error.exit().code() == 4, "{error}");
}

#[test]
fn a_fail_with_a_condition_of_its_own_has_looked_and_one_that_its_block_skips_has_not() {
    let world = World::new().repo();
    let text = format!(
        "{HEAD}  tasks:\n    - command: 'true'\n      register: r\n    - name: Bad\n      fail: {{msg: x}}\n      when: r.rc != 0\n    - when: domain is defined\n      block:\n        - name: Blocked\n          fail: {{msg: x}}\n"
    );
    let checks = verify(&world, &text).unwrap();
    assert_eq!(told(&checks)[1..], [("Bad", true, true), ("Blocked", false, false)]);
}

#[test]
fn a_handed_over_check_may_say_that_it_did_not_look() {
    let world = World::new().repo();
    let list =
        r#"{"checks": [{"id": "a", "ok": true}, {"id": "b", "ok": false, "looked": false, "detail": "no nft"}]}"#;
    let text = format!(
        "{HEAD}  tasks:\n    - command: 'true'\n    - copy: {{content: '{list}', dest: '{{{{ boma_checks_file }}}}'}}\n      delegate_to: localhost\n"
    );
    let checks = verify(&world, &text).unwrap();
    assert_eq!(told(&checks), [("a", true, true), ("b", false, false)]);
    assert_eq!(never_looked(&checks, &[]), ["b (no nft)"]);
}
