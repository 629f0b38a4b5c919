//! A part of a playbook, as `apply --tags`, `--skip-tags` and `--start-at-task` have it: what of it runs, and what is none.

use crate::at_hand::block_on;
use crate::world::{LIMIT, VM, World, entry};
use boma_qemu::ansible::inventory::Inline;
use boma_qemu::ansible::run::{Applied, Runner};
use boma_qemu::ansible::{AnsibleError, Selection, guard};
use host::failure::Blame;

/// Four tasks, of which one gathers facts and one is in a role's file that is included while the playbook runs.
const SITE: &str = "- hosts: web
  tasks:
    - name: First
      command: echo first
      tags: [one]
    - name: Second
      command: echo second
      tags: [two, slow]
    - name: Later
      include_tasks: later.yml
      tags: [three]
    - name: Last
      command: echo last
      tags: [one]
";
const LATER: &str = "- name: Included
  command: echo included
";

fn tags(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Run a part of the playbook, when the guard has seen the same command.
fn part(world: &World, by: &Selection) -> Applied {
    world.write("site.yml", SITE);
    world.write("later.yml", LATER);
    let (controller, connection) = (world.controller(), world.connection());
    controller.write_folder(&connection, &Inline::default()).unwrap();
    let (prefix, log, limit) = (world.prefix(), world.path("ansible.log"), LIMIT);
    guard::check(&controller, &connection, &[controller.narrowed(&entry("site.yml"), by)], &prefix).unwrap();
    let runner = Runner { controller: &controller, address: VM, prefix: &prefix, log: &log, limit };
    block_on(runner.narrowed(&entry("site.yml"), by, &mut |_| {})).unwrap()
}

/// The commands that ran.
fn ran(applied: &Applied) -> Vec<&str> {
    let commands = applied.outcome.results.iter().filter(|result| result.module() == "command");
    commands.map(|result| result.task.as_str()).collect()
}

#[test]
fn tags_and_skipped_tags_choose_among_the_tasks_and_a_tag_of_no_task_is_named() {
    let world = World::new().repo();
    let by = Selection { tags: tags(&["one", "oen"]), ..Selection::default() };
    let applied = part(&world, &by);
    assert_eq!((ran(&applied), applied.unknown.clone()), (vec!["First", "Last"], tags(&["oen"])));
    applied.judged.unwrap();
    let by = Selection { skip_tags: tags(&["one", "three"]), ..Selection::default() };
    let applied = part(&world, &by);
    assert_eq!((ran(&applied), applied.unknown.len()), (vec!["Second"], 0));
    applied.judged.unwrap();
}

#[test]
fn a_selection_of_nothing_is_nothing_that_was_applied() {
    let world = World::new().repo();
    let applied = part(&world, &Selection { tags: tags(&["oen"]), ..Selection::default() });
    assert_eq!((ran(&applied).len(), applied.unknown.clone()), (0, tags(&["oen"])));
    assert!(matches!(applied.judged, Err(AnsibleError::NothingRan { .. })), "{:?}", applied.judged);
}

#[test]
fn a_playbook_begins_with_a_task_by_its_name_and_without_such_a_task_it_is_no_success() {
    let world = World::new().repo();
    let from = |task: &str| Selection { start_at_task: Some(task.into()), ..Selection::default() };
    let applied = part(&world, &from("Second"));
    assert_eq!(ran(&applied), ["Second", "Included", "Last"]);
    applied.judged.unwrap();
    // The second is there, but only when the playbook has come to it.
    for unknown in ["Secnod", "Included"] {
        let applied = part(&world, &from(unknown));
        assert_eq!(ran(&applied).len(), 0, "{unknown}");
        let error = applied.judged.unwrap_err();
        assert!(matches!(error, AnsibleError::NoSuchTask { .. }) && error.exit().code() == 2, "{unknown}: {error}");
        assert!(error.to_string().contains(unknown) && error.next().unwrap().contains("--list-tasks"), "{error}");
    }
}

#[test]
fn the_guard_sees_the_tags_that_the_run_will_have() {
    let world = World::new().repo();
    let play =
        "- hosts: \"{{ 'localhost' if 'here' in ansible_run_tags else 'web' }}\"\n  tasks:\n    - command: 'true'\n";
    world.write("site.yml", play);
    let (controller, connection) = (world.controller(), world.connection());
    controller.write_folder(&connection, &Inline::default()).unwrap();
    let guarded = |by: &Selection| {
        guard::check(&controller, &connection, &[controller.narrowed(&entry("site.yml"), by)], &world.prefix())
    };
    guarded(&Selection::default()).unwrap();
    let error = guarded(&Selection { tags: tags(&["here"]), ..Selection::default() }).unwrap_err();
    assert!(matches!(error, AnsibleError::NoHost { .. } | AnsibleError::OtherHosts { .. }), "{error}");
}
