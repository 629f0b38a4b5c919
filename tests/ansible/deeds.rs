//! What the plugin tells of the tasks that changed something, with the real Ansible.

use crate::world::World;
use evidence::playbook::deeds;

#[test]
fn what_a_task_that_changed_something_was_given_is_told_and_nothing_that_is_hidden() {
    let tasks = r#"
- name: Command
  command: touch /root/a
- name: Words
  command: {argv: [sh, -s, "two words"], stdin: "touch /root/b # net.ipv4.ip_forward"}
- name: Shell
  shell: echo one > /root/c; echo two >> /root/c
- name: Raw
  raw: touch /root/d
- name: Each
  command: "touch /root/{{ item }}"
  args: {creates: "/root/{{ item }}"}
  loop: [a, e, f]
- name: File
  file: {path: /root/dir, state: directory, mode: "0700"}
- name: Content
  copy: {content: content-of-a-file, dest: /root/g}
- name: Hidden
  command: touch /root/hidden-name
  no_log: true
- name: Unchanged
  command: "true"
  changed_when: false
- name: Only tried
  file: {path: /root/tried, state: touch}
  check_mode: true
"#;
    let world = World::new().repo();
    world.write("site.yml", "- hosts: web\n  gather_facts: false\n  roles: [base]\n");
    world.write("roles/base/tasks/main.yml", tasks);
    let controller = world.controller();
    let outcome = world.play(&controller, "site.yml").unwrap();
    let mut all = Vec::new();
    deeds::add(&mut all, &outcome.results);
    let told: Vec<_> = all.iter().map(|deed| (deed.task.as_str(), deed.module.as_str())).collect();
    let expected = [
        ("Command", "command"),
        ("Words", "command"),
        ("Shell", "shell"),
        ("Raw", "raw"),
        ("Each", "command"),
        ("File", "file"),
        ("Content", "copy"),
    ];
    assert_eq!(told, expected);
    assert!(
        all.iter().all(|deed| deed.role == "base" && deed.place.contains("/roles/base/tasks/main.yml:")),
        "{all:?}"
    );
    assert_eq!(all[0].given, ["touch /root/a"]);
    assert_eq!(all[1].given, ["sh -s 'two words'\ntouch /root/b # net.ipv4.ip_forward"]);
    assert_eq!(all[2].given, ["echo one > /root/c; echo two >> /root/c"]);
    assert_eq!(all[3].given, ["touch /root/d"]);
    assert_eq!(all[4].given, ["touch /root/e", "touch /root/f"], "only of what it changed");
    assert!(all[5].given[0].contains("path=/root/dir") && all[5].given[0].contains("state=directory"), "{all:?}");
    assert!(
        !format!("{all:?}").contains("hidden-name") && !format!("{all:?}").contains("content-of-a-file"),
        "{all:?}"
    );
}
