//! What the passes over the playbooks see with the real Ansible: what a second run changes, and what check mode says
//! before and after something was lost.

use crate::at_hand::block_on;
use crate::world::{LIMIT, VM, World};
use boma_qemu::ansible::inventory::Inline;
use boma_qemu::ansible::run::Runner;
use boma_qemu::ansible::{AnsibleError, Controller};
use boma_qemu::profile::Apply;
use evidence::playbook::tried::{self, Compared, Pass, Told, Tried};
use host::failure::Blame;
use host::secrets;

const SITE: &str = "- hosts: web\n  gather_facts: false\n  roles: [base]\n";

/// A world with a role of these tasks.
fn role(tasks: &str, handlers: &str) -> (World, Controller) {
    let world = World::new().repo();
    world.write("site.yml", SITE);
    world.write("roles/base/tasks/main.yml", tasks);
    world.write("roles/base/handlers/main.yml", handlers);
    let controller = world.controller();
    (world, controller)
}

fn try_it(world: &World, controller: &Controller) -> Result<Tried, AnsibleError> {
    controller.write_folder(&world.connection(), &Inline::default())?;
    let (prefix, log, limit) = (world.prefix(), world.path("ansible.log"), LIMIT);
    let runner = Runner { controller, address: VM, prefix: &prefix, log: &log, limit };
    let apply = Apply { playbook: "site.yml".into(), tags: Vec::new() };
    block_on(runner.check_mode(&apply, &mut |_| {}))
}

/// Run a command on the VM.
fn on_vm(world: &World, controller: &Controller, command: &str) {
    let text = format!("- hosts: web\n  gather_facts: false\n  tasks:\n    - shell: {command}\n");
    world.write("command.yml", &text);
    world.play(controller, "command.yml").unwrap();
}

fn names(told: &[Told]) -> Vec<String> {
    told.iter().map(|told| format!("{} {}{}", told.role, told.task, told.item)).collect()
}

const TASKS: &str = r#"
- name: Settings
  copy: {content: "forward = 1\n", dest: /root/settings}
  notify: Reload
- name: Kept
  copy: {content: x, dest: /root/kept}
- name: Each
  copy: {content: x, dest: "/root/{{ item }}"}
  loop: [one, two]
- name: Program
  command: touch /root/made
  args: {creates: /root/made}
- name: Plain command
  command: touch /root/plain
- name: Reads
  command: cat /root/kept
  check_mode: false
  changed_when: false
- name: Never done
  copy: {content: "{{ lookup('pipe', 'date +%N') }}", dest: /root/stamp}
- name: Hidden
  copy: {content: hidden-thing, dest: /root/hidden}
  no_log: true
- name: Not wanted
  copy: {content: x, dest: /root/unwanted}
  when: false
- name: None of them
  copy: {content: x, dest: "/root/{{ item }}"}
  loop: []
"#;

#[test]
fn check_mode_names_what_was_lost_with_its_difference_and_nothing_that_was_not() {
    let (world, controller) = role(TASKS, "- name: Reload\n  command: touch /root/reloaded\n");
    world.play(&controller, "site.yml").unwrap();
    let before: Pass = Ok(try_it(&world, &controller).unwrap());
    on_vm(&world, &controller, "cd /root && rm settings two made plain hidden reloaded");
    let after: Pass = Ok(try_it(&world, &controller).unwrap());
    on_vm(
        &world,
        &controller,
        "cd /root && for f in settings two made plain hidden reloaded; do test ! -e $f || exit 1; done",
    );
    let Compared { judged, undone, allowed: _, again, unjudged, ran, unseen, unused } =
        tried::compare(&[before], &[after], &[]);
    assert_eq!(names(&undone), ["base Settings", "base Eachtwo", "base Program", "base Hidden"]);
    assert!(
        undone[0].said.contains("+forward = 1") && undone[0].place.ends_with("base/tasks/main.yml:2"),
        "{undone:?}"
    );
    assert_eq!(undone[3].said, "", "what no_log hides is hidden here too");
    assert_eq!(names(&again), ["base Never done"]);
    assert_eq!(names(&unjudged), ["base Plain command"]);
    assert_eq!((names(&ran), ran[0].said.as_str()), (vec!["base Reads".into()], "it ran and changed nothing"));
    assert_eq!((judged, unseen, unused), (8, Vec::<String>::new(), Vec::<String>::new()));
}

#[test]
fn a_second_run_changes_only_what_is_never_done() {
    let (world, controller) = role(TASKS, "- name: Reload\n  command: touch /root/reloaded\n");
    world.play(&controller, "site.yml").unwrap();
    let second = world.play(&controller, "site.yml").unwrap();
    assert_eq!(names(&tried::changed(&second.results)), ["base Plain command", "base Never done"]);
}

#[test]
fn a_task_that_only_check_mode_breaks_ends_the_pass_and_what_came_before_it_is_judged() {
    let tasks = "- name: Before\n  copy: {content: x, dest: /root/before}\n- name: Asks\n  command: echo yes\n  register: asked\n- name: Needs it\n  copy: {content: x, dest: /root/needs}\n  when: asked.stdout_lines[0] == 'yes'\n- name: After\n  copy: {content: x, dest: /root/after}\n";
    let (world, controller) = role(tasks, "[]\n");
    world.play(&controller, "site.yml").unwrap();
    let before = try_it(&world, &controller).unwrap();
    assert!(before.ended.as_ref().is_some_and(|task| task.contains("Needs it")), "{:?}", before.ended);
    on_vm(&world, &controller, "rm /root/before /root/after");
    let after = try_it(&world, &controller).unwrap();
    let compared = tried::compare(&[Ok(before)], &[Ok(after)], &[]);
    assert_eq!(names(&compared.undone), ["base Before"]);
    assert_eq!(names(&compared.unjudged), ["base Asks", "base Needs it"]);
    assert_eq!(compared.unseen.len(), 1, "{:?}", compared.unseen);
}

#[test]
fn a_pass_that_reaches_no_vm_is_an_error_and_no_answer() {
    let (world, controller) = role("- copy: {content: x, dest: /root/x}\n", "[]\n");
    world.play(&controller, "site.yml").unwrap();
    let mut elsewhere = world.connection();
    elsewhere.port = 2223;
    controller.write_folder(&elsewhere, &Inline::default()).unwrap();
    let (prefix, log, limit) = (world.prefix(), world.path("ansible.log"), LIMIT);
    let runner = Runner { controller: &controller, address: VM, prefix: &prefix, log: &log, limit };
    let apply = Apply { playbook: "site.yml".into(), tags: Vec::new() };
    let error = block_on(runner.check_mode(&apply, &mut |_| {})).unwrap_err();
    assert!(matches!(error, AnsibleError::Unreachable { .. }) && error.exit().code() == 4, "{error}");
}

#[test]
fn a_secret_in_a_difference_is_masked_wherever_it_is_kept() {
    let token = "tok-Diff-8a41c0de";
    let (world, controller) = role(&format!("- copy: {{content: 'token = {token}', dest: /root/x}}\n"), "[]\n");
    secrets::know([token.to_owned()]);
    let tried = try_it(&world, &controller).unwrap();
    assert!(tried.results[0].diff.contains("token = ****"), "{:?}", tried.results);
    let events = std::fs::read_to_string(controller.folder.events()).unwrap();
    for (what, text) in [("results", format!("{:?}", tried.results)), ("log", world.log()), ("events", events)] {
        assert!(!text.contains(token), "the {what}: {text}");
    }
}
