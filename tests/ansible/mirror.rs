//! The transient inventory means what the real one means: the same variables with the same values.

use crate::world::{World, run};
use boma_qemu::ansible::Controller;
use boma_qemu::ansible::connection;
use serde_json::{Map, Value};

/// Each variable is set on two or more levels, so that a wrong order shows.
fn repository(world: &World) {
    world.write("ansible.cfg", "[defaults]\nvault_password_file = password\ninterpreter_python = /usr/bin/python3\n");
    world.write("password", "open\n");
    let vaulted = encrypt(world, "inline secret");
    world.write(
        "inv/hosts.yml",
        &format!(
            "all:\n  vars: {{v_all: inline, v_all2: inline, inline_all: 1}}\n  children:\n    site:\n      vars: {{v_site: inline, v_parent: site, deep: '{{{{ v_all }}}}'}}\n      children:\n        web:\n          vars: {{v_web: inline, v_parent: web, v_prio: web}}\n          hosts:\n            askari:\n              ansible_host: 198.51.100.136\n              v_host: inline\n              v_host2: inline\n              secret: {vaulted}\n            ubongo: {{ansible_host: 203.0.113.20}}\n    zeta:\n      vars: {{v_prio: zeta, v_flat: zeta, v_parent: zeta}}\n      hosts: {{askari: {{}}}}\n    alpha:\n      vars: {{ansible_group_priority: 10, v_prio: alpha, v_flat: alpha, v_parent: alpha}}\n      hosts: {{askari: {{}}}}\n",
        ),
    );
    world.write("inv/group_vars/all/a.yml", "v_all: dir\nv_web: all\nv_host: all\n");
    world.write("inv/group_vars/all/b.yml", "v_all3: dir\n");
    world.write("inv/group_vars/site.yml", "v_site: file\nv_web: site\n");
    world.write("inv/group_vars/web", "v_web: file\nv_host2: web\n");
    world.write("inv/host_vars/askari/x.yml", "v_host: file\nansible_host: 198.51.100.137\n");
    world.write("play/group_vars/all.yml", "v_all2: play\nv_all: play\nv_site: play\n");
    world.write("play/host_vars/askari.yml", "v_host2: play\n");
    world.write(
        "play/probe.yml",
        "- hosts: askari\n  gather_facts: false\n  connection: local\n  tasks:\n    - copy:\n        content: \"{{ dict(names | zip(query('vars', *names))) | to_json }}\"\n        dest: \"{{ out }}\"\n      vars: {ansible_connection: local, names: \"{{ query('varnames', '^(v_|inline|deep|secret|inventory_|group_names)') }}\"}\n",
    );
}

fn encrypt(world: &World, text: &str) -> String {
    let bin =
        crate::at_hand::ansible().map_or_else(|| "ansible-vault".to_owned(), |bin| bin.join("ansible-vault").into());
    let password = world.path("repo/password");
    let said = run(&bin, &["encrypt_string", "--vault-password-file", password.as_str(), text]);
    said.replace("\n", "\n                ")
}

fn playbook_sees(world: &World, controller: &Controller, inventory: &str, more: &[&str]) -> Map<String, Value> {
    let out = world.path("seen.json");
    let _ = std::fs::remove_file(&out);
    let probe = world.path("repo/play/probe.yml");
    let vars = format!("out={out}");
    let args = [&["-i", inventory, "--limit", "askari", "-e", &vars], more, &[probe.as_str()]].concat();
    let run = controller.over_real_inventory("ansible-playbook", &args);
    let done = std::process::Command::new(&run.argv[0])
        .args(&run.argv[1..])
        .env_clear()
        .envs(run.env)
        .current_dir(run.cwd)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap()
}

#[test]
fn every_variable_has_the_value_that_it_has_for_the_real_host() {
    let world = World::without_vm();
    repository(&world);
    let mut controller = world.controller_of(&world.path("repo"), "inv/hosts.yml", "web");
    controller.groups.extend(["zeta".into(), "alpha".into()]);
    let found = world.look(&controller, &[]).unwrap();
    assert_eq!(found.notes, Vec::<String>::new());
    let connection = world.connection();
    controller.write_folder(&connection, &found.inline).unwrap();

    let real = playbook_sees(&world, &controller, controller.inventory.as_str(), &[]);
    let mirrored = playbook_sees(&world, &controller, controller.folder.inventory().as_str(), &[]);
    assert_eq!(real, mirrored);
    for (name, value) in [
        ("v_all", "play"),
        ("v_all2", "play"),
        ("v_all3", "dir"),
        ("v_site", "file"),
        ("v_web", "file"),
        ("v_prio", "web"),
        ("v_flat", "alpha"),
        ("v_parent", "web"),
        ("v_host", "file"),
        ("v_host2", "play"),
        ("deep", "play"),
        ("secret", "inline secret"),
        ("inventory_hostname", "askari"),
    ] {
        assert_eq!(mirrored[name], value, "{name} in {mirrored:?}");
    }
    // The values are open in Ansible only: on disk the vaulted one stays closed.
    let text = std::fs::read_to_string(controller.folder.inventory()).unwrap();
    assert!(text.contains("$ANSIBLE_VAULT;") && !text.contains("inline secret"));
    assert!(!text.contains("198.51.100.13"), "{text}");
}

/// Several files, children in an order of their own, an empty group, connection variables on every level.
fn estate(world: &World) {
    world.write("ansible.cfg", "[defaults]\ninventory = hosts\ninterpreter_python = /usr/bin/python3\n");
    world.write(
        "hosts/10-web.ini",
        "[web]\nzulu ansible_host=203.0.113.7\naskari ansible_host=198.51.100.136\n[site:children]\nweb\ndb\n[db]\nalpha\n[empty]\n",
    );
    world.write(
        "hosts/20-services.yml",
        "monitoring:\n  vars: {ansible_port: 2222, rank: 7}\n  hosts:\n    mon1: {ansible_host: '{{ net }}.9', scrapes: '{{ groups.web }}'}\n    alone:\nall: {vars: {net: 203.0.113}}\n",
    );
    world.write("hosts/host_vars/mon1.yml", "ansible_user: prom\nansible_ssh_common_args: -o ProxyJump=bastion\n");
    world.write("play/host_vars/alpha.yml", "ansible_ssh_host: 203.0.113.12\n");
    world.write(
        "play/probe.yml",
        "- hosts: askari\n  gather_facts: false\n  tasks:\n    - copy: {content: '{{ seen | to_json }}', dest: '{{ out }}'}\n      delegate_to: localhost\n      vars:\n        names: [ansible_host, ansible_ssh_host, ansible_port, ansible_user, ansible_ssh_common_args, rank, scrapes, inventory_dir, group_names]\n        others: \"{{ groups.all | difference(['askari']) }}\"\n        seen:\n          groups: '{{ groups }}'\n          order: '{{ groups.all }}'\n          site: '{{ groups.site }}'\n          addresses: \"{{ groups.monitoring | map('extract', hostvars, 'ansible_host') | map('default', 'none') }}\"\n          vars: \"{{ dict(others | zip(others | map('extract', hostvars) | map('dict2items') | map('selectattr', 'key', 'in', names) | map('items2dict'))) }}\"\n",
    );
}

#[test]
fn templates_see_the_other_hosts_and_groups_as_the_real_inventory_has_them() {
    let world = World::without_vm();
    estate(&world);
    let controller = world.controller_of(&world.path("repo"), "hosts", "web");
    let found = world.look(&controller, &[]).unwrap();
    assert_eq!(found.notes, Vec::<String>::new());
    let real = playbook_sees(&world, &controller, controller.inventory.as_str(), &[]);
    let connection = world.connection();
    controller.write_folder(&connection, &found.inline).unwrap();
    let (inventory, vars) = (controller.folder.inventory(), format!("@{}", controller.folder.connection()));
    let mirrored = playbook_sees(&world, &controller, inventory.as_str(), &["-e", &vars]);
    assert_eq!(mirrored, real);
    assert_eq!(mirrored["addresses"], serde_json::json!(["203.0.113.9", "none"]));
    assert_eq!(mirrored["site"], serde_json::json!(["zulu", "askari", "alpha"]));
    assert_eq!(mirrored["vars"]["mon1"]["ansible_port"], 2222);
}

#[test]
fn a_template_that_reads_facts_of_other_hosts_is_named_with_its_line() {
    let world = World::without_vm();
    estate(&world);
    let line = "allow {{ hostvars[host].ansible_default_ipv4.address }};";
    world.write("roles/x/templates/a.j2", &format!("# {{{{ hostvars[inventory_hostname].ansible_fqdn }}}}\n{line}\n"));
    world.write(
        "roles/x/tasks/main.yml",
        "- debug: {msg: \"{{ groups.web | map('extract', hostvars, ['ansible_facts', 'fqdn']) }}\"}\n",
    );
    let found = world.look(&world.controller_of(&world.path("repo"), "hosts", "web"), &[]).unwrap();
    assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
    assert!(found.notes[0].contains("main.yml:1 ") && found.notes[1].contains("a.j2:2 "), "{:?}", found.notes);
}

#[test]
fn the_list_of_connection_variables_is_that_of_the_installed_ssh_plugin() {
    let bin = crate::at_hand::ansible().map_or_else(|| "ansible-doc".to_owned(), |bin| bin.join("ansible-doc").into());
    let said = run(&bin, &["-t", "connection", "ssh", "--json"]);
    let doc: Value = serde_json::from_str(&said).unwrap();
    let options = doc.as_object().unwrap().values().next().unwrap()["doc"]["options"].as_object().unwrap();
    // How a task is carried out is the repository's business; only where to, as whom and with which key is ours.
    let theirs =
        ["pipelining", "reconnection_retries", "sftp_batch_mode", "ssh_transfer_method", "use_tty", "verbosity"];
    let names = options.iter().filter(|(option, _)| !theirs.contains(&option.as_str())).flat_map(|(_, option)| {
        option["vars"]
            .as_array()
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .map(|var| var["name"].as_str().unwrap().to_owned())
    });
    let magic = |name: &str| name == "inventory_hostname" || name.starts_with("delegated_vars[");
    let missed: Vec<_> = names.filter(|name| !connection::is_about_connecting(name) && !magic(name)).collect();
    assert_eq!(missed, Vec::<String>::new());
}
