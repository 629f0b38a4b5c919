//! Playbooks on the VM's stand-in: what passes, what must not, and what never reaches the real host.

use crate::at_hand::{block_on, fixtures};
use crate::world::{REAL, VM, World};
use boma_qemu::ansible::inventory::Inline;
use boma_qemu::ansible::run::Runner;
use boma_qemu::ansible::{AnsibleError, Controller};
use evidence::playbook::reports::Kind;
use host::failure::Blame;
use std::time::{Duration, Instant};

/// The playbooks of `fixtures/adversarial`, run after the guard has seen them.
fn adversarial(name: &str) -> (World, Result<usize, AnsibleError>) {
    let world = World::new().repo();
    let text = std::fs::read_to_string(fixtures().join("adversarial").join(name)).unwrap();
    world.write("site.yml", &text);
    let done = world.apply(&world.controller(), "site.yml").map(|outcome| outcome.tasks);
    assert_eq!(world.packets_to_the_real_host(), 0, "{}", world.log());
    (world, done)
}

#[test]
fn a_playbook_that_does_its_work_on_the_vm_passes_and_is_counted() {
    let world = World::new().repo();
    world.write(
        "site.yml",
        "- hosts: web\n  tasks:\n    - command: 'true'\n    - command: 'false'\n      when: false\n    - debug: msg=x\n    - command: 'true'\n      changed_when: false\n",
    );
    let outcome = world.apply(&world.controller(), "site.yml").unwrap();
    assert_eq!((outcome.tasks, outcome.changed, outcome.recap.skipped), (2, 1, 1), "{}", world.log());
    assert_eq!(world.packets_to_the_real_host(), 0);
    assert!(world.log().contains("PLAY RECAP"));
}

#[test]
fn the_failed_task_is_named_with_its_place_and_its_words() {
    let world = World::new().repo();
    world.write("site.yml", "- name: Web\n  hosts: web\n  gather_facts: false\n  tasks:\n    - name: Break\n      shell: echo no such bridge >&2; exit 3\n");
    let error = world.play(&world.controller(), "site.yml").unwrap_err();
    let said = error.to_string();
    assert!(said.contains("\"Break\" of play \"Web\"") && said.contains("no such bridge"), "{said}");
    assert!(error.exit().code() == 5 && error.next().unwrap().contains("site.yml:5"), "{:?}", error.next());
}

#[test]
fn what_no_log_hides_is_in_no_log_no_event_and_no_error() {
    let world = World::new().repo();
    world.write("site.yml", "- hosts: web\n  gather_facts: false\n  tasks:\n    - name: Hide\n      shell: echo hunter2 >&2; exit 3\n      no_log: true\n");
    let said = world.play(&world.controller(), "site.yml").unwrap_err().to_string();
    let events = std::fs::read_to_string(world.controller().folder.events()).unwrap();
    assert!(said.contains("hidden by no_log"), "{said}");
    assert!(!format!("{said}{events}{}", world.log()).contains("hunter2"));
}

#[test]
fn a_vm_that_is_gone_is_lost_and_not_a_failed_playbook() {
    let world = World::new().repo();
    world.write(
        "site.yml",
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - command: 'true'\n      ignore_errors: true\n",
    );
    let mut connection = world.connection();
    connection.port = 2;
    let controller = world.controller();
    controller.write_folder(&connection, &Inline::default()).unwrap();
    let error = world.run(&controller, "site.yml", Duration::from_secs(60)).unwrap_err();
    assert!(matches!(error, AnsibleError::Unreachable { .. }) && error.exit().code() == 4, "{error}");
}

#[test]
fn another_host_key_than_the_pinned_one_is_refused() {
    let world = World::new().repo();
    world.write("site.yml", "- hosts: web\n  gather_facts: false\n  tasks:\n    - command: 'true'\n");
    let controller = world.controller();
    let connection = world.connection();
    let other = std::fs::read_to_string(world.path("keys/id_ed25519.pub")).unwrap();
    std::fs::write(&connection.known_hosts, format!("{VM} {other}")).unwrap();
    controller.write_folder(&connection, &Inline::default()).unwrap();
    let error = world.run(&controller, "site.yml", Duration::from_secs(60)).unwrap_err();
    assert!(error.to_string().contains("Host key verification failed"), "{error}");
}

#[test]
fn a_playbook_that_hangs_is_stopped_with_its_workers_and_the_task_is_named() {
    let world = World::new().repo();
    world.write(
        "site.yml",
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - name: Wait for ever\n      command: sleep 600\n",
    );
    let controller = world.controller();
    controller.write_folder(&world.connection(), &Inline::default()).unwrap();
    // Long enough for a busy machine to come to the task.
    let error = world.run(&controller, "site.yml", Duration::from_secs(30)).unwrap_err();
    assert!(error.to_string().contains("task \"Wait for ever\" was running"), "{error}");
}

#[test]
fn a_run_that_is_dropped_leaves_no_process() {
    let world = World::new().repo();
    let marker = world.path("repo/dropped.yml");
    world.write("dropped.yml", "- hosts: web\n  gather_facts: false\n  tasks:\n    - command: sleep 600\n");
    let controller = world.controller();
    controller.write_folder(&world.connection(), &Inline::default()).unwrap();
    let (prefix, log) = (world.prefix(), world.path("ansible.log"));
    let limit = Duration::from_secs(60);
    let runner = Runner { controller: &controller, address: VM, prefix: &prefix, log: &log, limit };
    let apply = boma_qemu::profile::Apply { playbook: "dropped.yml".into(), tags: vec![] };
    block_on(async {
        let mut ignore = |_: &str| {};
        let run = runner.apply(&apply, &mut ignore);
        assert!(tokio::time::timeout(Duration::from_secs(3), run).await.is_err());
    });
    let deadline = Instant::now() + Duration::from_secs(5);
    while named_in_a_command_line(marker.as_str()) {
        assert!(Instant::now() < deadline, "a process of the dropped run is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn named_in_a_command_line(text: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[test]
fn playbooks_that_never_touch_the_vm_are_no_pass() {
    for name in ["has_no_task.yml", "delegates_everything_to_localhost.yml", "adds_the_real_host.yml"] {
        let (world, done) = adversarial(name);
        assert!(matches!(done, Err(AnsibleError::NothingRan { .. })), "{name}: {done:?}\n{}", world.log());
    }
}

#[test]
fn playbooks_that_select_nothing_are_refused_before_they_run() {
    for name in ["runs_on_localhost_only.yml", "runs_on_no_host.yml"] {
        let (world, done) = adversarial(name);
        assert!(matches!(done, Err(AnsibleError::NoHost { .. })), "{name}: {done:?}");
        assert_eq!(world.log(), "");
    }
}

#[test]
fn a_task_for_the_real_host_is_a_failure_and_sends_it_nothing() {
    let (world, done) = adversarial("delegates_to_the_real_host.yml");
    let said = done.unwrap_err().to_string();
    assert!(said.contains(&format!("is delegated to {REAL}")), "{said}");
    assert_eq!(world.packets_to_the_real_host(), 0);
}

#[test]
fn a_task_for_another_host_of_the_inventory_runs_nowhere_and_ansible_says_why() {
    let world = World::new().repo();
    world.write(
        "site.yml",
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - command: 'true'\n    - command: touch /root/went-astray\n      delegate_to: ubongo\n      ignore_unreachable: true\n      vars: {ansible_ssh_executable: ssh}\n    - command: test ! -e /root/went-astray\n",
    );
    let error = world.apply(&world.controller(), "site.yml").unwrap_err().to_string();
    assert!(error.contains("is delegated to ubongo, a real host, to which nothing goes"), "{error}");
    assert!(world.log().contains("this is a real host, and boma-qemu lets nothing go to it"), "{}", world.log());
    assert!(!world.log().contains("failed=1"), "{}", world.log());
    assert_eq!(world.packets_to_the_real_host(), 0);
}

#[test]
fn tasks_for_other_hosts_are_skipped_where_the_overlay_says_so_and_are_told_of() {
    let world = World::new().repo();
    world.write(
        "site.yml",
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - name: There\n      command: touch /root/went-astray\n      delegate_to: ubongo\n      failed_when: false\n    - name: Each\n      command: touch /root/went-astray\n      delegate_to: '{{ item }}'\n      loop: [ubongo, askari]\n      changed_when: item == 'askari'\n    - name: Not wanted\n      command: 'true'\n      delegate_to: ubongo\n      when: false\n    - name: This side\n      command: 'true'\n      delegate_to: localhost\n    - command: test -e /root/went-astray\n",
    );
    let overlay = world.write("../overlay.yml", "boma_skip_delegated: true\n");
    let controller = Controller { overlays: vec![overlay], ..world.controller() };
    let outcome = world.apply(&controller, "site.yml").unwrap();
    let told: Vec<_> = outcome.reports.iter().map(|report| (report.kind, report.task.as_str())).collect();
    assert_eq!(told, [(Kind::LeftOut, "There"), (Kind::LeftOut, "Each")], "{:?}", outcome.reports);
    assert!(outcome.reports[0].message.contains("would have gone to ubongo"), "{:?}", outcome.reports);
    assert_eq!(world.packets_to_the_real_host(), 0);
    // For the VM itself the loop has run; elsewhere nothing has.
    assert!(world.log().contains("changed: [askari] => (item=askari)"), "{}", world.log());
    assert!(!world.log().contains("changed: [askari -> ubongo"), "{}", world.log());
}

#[test]
fn a_play_with_a_local_connection_does_its_work_here_and_is_no_pass() {
    let world = World::new().repo();
    world.write(
        "site.yml",
        "- hosts: web\n  gather_facts: false\n  connection: local\n  tasks:\n    - command: 'true'\n",
    );
    let error = world.apply(&world.controller(), "site.yml").unwrap_err();
    assert!(matches!(error, AnsibleError::NothingRan { .. }), "{error}");
}

#[test]
fn a_connection_plugin_set_by_the_repository_is_seen_before_a_task_runs() {
    let world = World::new().repo();
    world.write("group_vars/web.yml", "ansible_connection: local\n");
    world.write("site.yml", "- hosts: web\n  tasks:\n    - command: 'true'\n");
    let error = world.apply(&world.controller(), "site.yml").unwrap_err();
    assert!(error.to_string().contains("resolves to \"local\""), "{error}");
    assert_eq!(world.log(), "");
}

#[test]
fn settings_of_the_repository_and_the_users_extra_vars_do_not_change_the_way() {
    let world = World::new().repo();
    world.write(
        "ansible.cfg",
        &format!("[defaults]\ninterpreter_python = /usr/bin/python3\ninventory = hosts.yml\nhost_key_checking = False\nremote_port = 22\nlog_path = /dev/full\ntransport = local\nfact_caching = jsonfile\nfact_caching_connection = facts\n[ssh_connection]\nssh_args = -F none -o ProxyJump={REAL}\nssh_executable = false\n"),
    );
    world.write("site.yml", "- hosts: web\n  vars:\n    ansible_host: 198.51.100.136\n  tasks:\n    - command: 'true'\n      vars:\n        ansible_ssh_host: 198.51.100.136\n");
    let mut controller = world.controller();
    controller.user = vec![format!("ansible_host={REAL}").parse().unwrap(), "ansible_ssh_port=22".parse().unwrap()];
    let outcome = world.apply(&controller, "site.yml").unwrap();
    assert_eq!((outcome.tasks, world.packets_to_the_real_host()), (1, 0));
    assert!(!world.path("repo/facts").exists(), "facts of the VM were kept as the real host's");
}

#[test]
fn a_playbook_for_all_hosts_reaches_the_vm_alone_whatever_inventory_the_repository_names() {
    let world = World::new().repo();
    world.write(
        "ansible.cfg",
        "[defaults]\ninterpreter_python = /usr/bin/python3\ninventory = hosts.yml,also.yml,any.real\ninventory_plugins = plugins\n\
         [inventory]\nenable_plugins = real, yaml\n[connection]\npipelining = True\n\
         [ssh_connection]\ncontrol_path = ~/.ssh/%%h\ncontrol_path_dir = ~/.ssh\nssh_args = -o ControlMaster=no -o ControlPath=~/.ssh/%h\n",
    );
    world.write(
        "also.yml",
        &format!("web:\n  hosts:\n    real: {{ansible_host: {REAL}}}\n    askari: {{ansible_host: {REAL}}}\n"),
    );
    world.write("any.real", "");
    // It says that it was loaded, in a file of its own.
    let loaded = world.path("loaded");
    world.write(
        "plugins/real.py",
        &format!(
            "from ansible.plugins.inventory import BaseInventoryPlugin\n\
             class InventoryModule(BaseInventoryPlugin):\n    NAME = 'real'\n\
             \x20   def verify_file(self, path):\n        return path.endswith('.real')\n\
             \x20   def parse(self, inventory, loader, path, cache=True):\n        open('{loaded}', 'w').close()\n\
             \x20       inventory.add_host('plugged')\n        inventory.set_variable('plugged', 'ansible_host', '{REAL}')\n"
        ),
    );
    world.write("site.yml", "- hosts: all\n  gather_facts: false\n  tasks:\n    - command: 'true'\n");
    let outcome = world.apply(&world.controller(), "site.yml").unwrap();
    assert_eq!((outcome.tasks, world.packets_to_the_real_host()), (1, 0));
    assert!(!loaded.exists(), "the repository's inventories are not read in a run");
}

#[test]
fn later_extra_vars_win_and_the_users_are_the_last_before_the_connection() {
    let world = World::new().repo();
    world.write("group_vars/all.yml", "a: group\nb: group\nc: group\nd: group\n");
    world.write("site.yml", "- hosts: web\n  gather_facts: false\n  tasks:\n    - shell: echo '{{ a }} {{ b }} {{ c }} {{ d }}' >&2; exit 1\n");
    let mut controller = world.controller();
    controller.overlays =
        vec![world.write("o.yml", "b: overlay\nc: overlay\n"), world.write("tier.yml", "c: tier\nd: tier\n")];
    controller.user = vec!["d=user 1".parse().unwrap(), r#"{"d": "user 2"}"#.parse().unwrap()];
    let said = world.play(&controller, "site.yml").unwrap_err().to_string();
    assert!(said.contains("group overlay tier user 2"), "{said}");
}

#[test]
fn a_verify_playbook_hands_its_checks_over_red_or_green() {
    let world = World::new().repo();
    let verify = world.write(
        "verify.yml",
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - command: 'true'\n    - copy:\n        content: \"{{ {'checks': [{'id': 'a', 'ok': true, 'detail': ansible_host}, {'id': 'b', 'ok': (good | default(false) | bool), 'detail': 'd'}]} | to_json }}\"\n        dest: \"{{ boma_checks_file }}\"\n      delegate_to: localhost\n    - assert: {that: good | default(false) | bool}\n",
    );
    for good in [false, true] {
        let mut controller = world.controller();
        controller.user = vec![format!("good={good}").parse().unwrap()];
        let (outcome, checks) = world.verify(&controller, &verify).unwrap();
        assert_eq!((outcome.tasks, checks[0].detail.as_str()), (1, VM.to_string().as_str()));
        assert_eq!((checks[1].id.as_str(), checks[1].ok), ("b", good));
    }
}

#[test]
fn a_verify_playbook_that_breaks_before_it_hands_over_gives_no_verdict() {
    let world = World::new().repo();
    let verify = world.write("verify.yml", "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: Look\n      command: 'false'\n    - copy: {content: '', dest: '{{ boma_checks_file }}'}\n");
    let error = world.verify(&world.controller(), &verify).unwrap_err();
    assert!(error.exit().code() == 4 && error.to_string().contains("task \"Look\""), "{error}");
}

#[test]
fn the_tasks_of_a_verify_playbook_that_hands_nothing_over_are_the_checks() {
    let world = World::new().repo();
    let verify = world.write("verify.yml", "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: Up\n      command: 'true'\n    - name: Answers\n      command: test {{ item }} = a\n      loop: [a, b]\n      loop_control: {label: 'port {{ item }}'}\n");
    let (_, checks) = world.verify(&world.controller(), &verify).unwrap();
    let said: Vec<_> = checks.iter().map(|check| (check.id.as_str(), check.ok)).collect();
    assert_eq!(said, [("Up", true), ("Answers: port a", true), ("Answers: port b", false)]);
}
