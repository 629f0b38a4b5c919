//! What counts as applied: a playbook that only pretends is an error, and what a reader could take for more is reported.

use crate::at_hand::block_on;
use crate::world::{LIMIT, VM, World};
use boma_qemu::ansible::AnsibleError;
use boma_qemu::ansible::inventory::Inline;
use boma_qemu::ansible::run::{Applied, Runner};
use boma_qemu::profile::Apply;
use evidence::playbook::reports::Kind;
use host::failure::Blame;
use std::time::{Duration, Instant};

/// Run a playbook with these tags, as `apply` does when the guard has seen it.
fn applied(world: &World, text: &str, tags: &[&str]) -> Applied {
    world.write("site.yml", text);
    let controller = world.controller();
    controller.write_folder(&world.connection(), &Inline::default()).unwrap();
    let (prefix, log, limit) = (world.prefix(), world.path("ansible.log"), LIMIT);
    let runner = Runner { controller: &controller, address: VM, prefix: &prefix, log: &log, limit };
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let apply = Apply { playbook: "site.yml".into(), tags };
    block_on(runner.apply(&apply, &mut |_| {})).unwrap()
}

fn error(world: &World, text: &str, tags: &[&str]) -> AnsibleError {
    applied(world, text, tags).judged.unwrap_err()
}

fn kinds(applied: &Applied) -> Vec<(Kind, &str)> {
    applied.outcome.reports.iter().map(|report| (report.kind, report.task.as_str())).collect()
}

#[test]
fn a_playbook_in_check_mode_is_not_applied_however_the_mode_is_set() {
    let world = World::new().repo();
    let tasks = "    - copy: {content: x, dest: /root/written}\n    - command: 'true'\n    - service_facts:\n";
    for head in ["  check_mode: true", "  check_mode: \"{{ dry_run | default(true) }}\"", "  vars: {dry_run: true}"] {
        let tasks = match head.contains("vars") {
            true => tasks
                .replace("dest: /root/written}", "dest: /root/written}\n      check_mode: \"{{ dry_run }}\"")
                .replace("    - command: 'true'\n", ""),
            false => tasks.to_owned(),
        };
        let error = error(&world, &format!("- hosts: web\n  gather_facts: false\n{head}\n  tasks:\n{tasks}"), &[]);
        assert!(matches!(error, AnsibleError::NothingRan { .. }) && error.exit().code() == 5, "{head}: {error}");
        assert!(error.to_string().contains("in check mode only"), "{head}: {error}");
    }
}

#[test]
fn a_task_that_is_tried_on_purpose_fails_no_playbook_and_is_reported() {
    let world = World::new().repo();
    let text = "- hosts: web\n  gather_facts: false\n  tasks:\n    - name: Try\n      copy: {content: x, dest: /root/a}\n      check_mode: true\n      register: tried\n    - name: Do\n      copy: {content: x, dest: /root/b}\n";
    let applied = applied(&world, text, &[]);
    applied.judged.as_ref().unwrap();
    assert_eq!((applied.outcome.tasks, applied.outcome.changed), (1, 1));
    assert_eq!(kinds(&applied), [(Kind::CheckMode, "Try")]);
    assert!(applied.outcome.reports[0].place.ends_with("site.yml:4"), "{:?}", applied.outcome.reports);
}

/// A task for each of `always`, `web` and `db`, of which the last does not run.
const TAGGED: &str = "- hosts: web\n  gather_facts: false\n  tasks:\n    - command: 'true'\n      tags: always\n    - command: 'true'\n      tags: web\n    - command: 'true'\n      tags: [db]\n      when: false\n";

#[test]
fn a_tag_that_no_task_has_is_named_though_tasks_with_always_ran() {
    let world = World::new().repo();
    applied(&world, TAGGED, &["db,web"]).judged.unwrap();
    names_the_tag(&world, &["web", "dbb"], "dbb");
}

#[test]
#[ignore = "a run of Ansible each: make soak"]
fn no_spelling_of_tags_hides_one_that_no_task_has() {
    let world = World::new().repo();
    for tags in [&["web"][..], &["web", "db"], &[]] {
        applied(&world, TAGGED, tags).judged.unwrap();
    }
    names_the_tag(&world, &["wbe"], "wbe");
}

fn names_the_tag(world: &World, tags: &[&str], named: &str) {
    let error = error(world, TAGGED, tags);
    assert!(error.exit().code() == 2 && error.to_string().contains(&format!("the tag {named} ")), "{error}");
}

#[test]
fn a_job_that_is_left_in_the_background_is_waited_for_and_judged() {
    let world = World::new().repo();
    let start = |name: &str, script: &str, more: &str| {
        format!("    - name: {name}\n      shell: {script}\n      async: 60\n      poll: 0\n{more}")
    };
    let head = "- hosts: web\n  gather_facts: false\n  tasks:\n";
    let asked = "      register: asked\n    - async_status: {jid: '{{ asked.ansible_job_id }}'}\n      register: r\n      until: r is finished\n      delay: 1\n      retries: 20\n";
    let began = Instant::now();
    let text =
        format!("{head}{}{}", start("Asked for", "sleep 1", asked), start("Left", "sleep 6; touch /root/done", ""));
    let done = applied(&world, &text, &[]);
    done.judged.as_ref().unwrap();
    assert_eq!(kinds(&done), [(Kind::AsyncWaited, "Left")]);
    assert!(began.elapsed() > Duration::from_secs(6), "it was not waited for");
    let failed = error(&world, &format!("{head}{}", start("Left", "sleep 2; echo no room >&2; exit 3", "")), &[]);
    assert!(failed.exit().code() == 5 && failed.to_string().contains("no room"), "{failed}");
    assert!(failed.next().unwrap().contains("site.yml:4"), "{:?}", failed.next());
    let looped = "      loop: [0, 4]\n";
    let failed = error(&world, &format!("{head}{}", start("Each", "sleep 1; exit {{ item }}", looped)), &[]);
    assert!(failed.to_string().contains("\"Each\"") && failed.to_string().contains("exit code 4"), "{failed}");
}

#[test]
fn a_job_that_does_not_end_in_time_is_an_error() {
    let world = World::new().repo();
    world.write("site.yml", "- hosts: web\n  gather_facts: false\n  tasks:\n    - name: Left\n      command: sleep 600\n      async: 900\n      poll: 0\n");
    let controller = world.controller();
    controller.write_folder(&world.connection(), &Inline::default()).unwrap();
    let error = world.run(&controller, "site.yml", Duration::from_secs(60)).unwrap_err();
    assert!(matches!(error, AnsibleError::StillRunning { .. }) && error.exit().code() == 5, "{error}");
    assert!(error.to_string().contains("\"Left\""), "{error}");
}

#[test]
fn a_play_that_ends_itself_before_a_task_ran_is_not_applied_and_later_it_is_reported() {
    let world = World::new().repo();
    let head = "- hosts: web\n  gather_facts: false\n  tasks:\n";
    let end = "    - name: Stop\n      meta: end_play\n    - command: 'false'\n";
    let error = error(&world, &format!("{head}{end}"), &[]);
    assert!(matches!(error, AnsibleError::NothingRan { .. }) && error.to_string().contains("site.yml:4"), "{error}");
    let not = "    - name: Not\n      meta: end_host\n      when: false\n";
    let applied = applied(&world, &format!("{head}    - command: 'true'\n{not}{end}"), &[]);
    applied.judged.as_ref().unwrap();
    assert_eq!(kinds(&applied), [(Kind::Ended, "Stop")]);
    assert!(applied.outcome.reports[0].message.contains("1 tasks had run"), "{:?}", applied.outcome.reports);
}

#[test]
fn what_was_caught_ignored_or_not_for_this_host_is_reported_with_its_place() {
    let world = World::new().repo();
    let text = "- hosts: web\n  gather_facts: false\n  tasks:\n    - block:\n        - name: Caught\n          command: 'false'\n      rescue:\n        - command: 'true'\n    - name: Ignored\n      shell: echo so what >&2; exit 4\n      ignore_errors: true\n- name: Here\n  hosts: localhost\n  tasks:\n    - command: 'true'\n- name: Others\n  hosts: [db, cache]\n  tasks:\n    - command: 'true'\n";
    let applied = applied(&world, text, &[]);
    applied.judged.as_ref().unwrap();
    let all = [
        (Kind::Rescued, "Caught"),
        (Kind::Ignored, "Ignored"),
        (Kind::NotMirrored, "Here"),
        (Kind::NotMirrored, "Others"),
    ];
    assert_eq!(kinds(&applied), all);
    let said: Vec<_> = applied.outcome.reports.iter().map(ToString::to_string).collect();
    assert!(said[1].contains("site.yml:9") && said[1].contains("so what"), "{said:?}");
    assert!(said[3].contains("hosts: db, cache") && said[3].contains("not mirrored"), "{said:?}");
}
