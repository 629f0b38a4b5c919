//! Real hosts that no inventory lists: bastions in ssh's arguments and configuration, and what playbooks name themselves.

use crate::world::World;
use boma_qemu::ansible::hosts::RealHosts;
use std::collections::BTreeSet;

/// A repository whose host has these lines of variables, with this section for ssh in ansible.cfg.
fn repo(vars: &str, ssh: &str) -> World {
    let world = World::without_vm();
    world.write("ansible.cfg", &format!("[defaults]\ninventory = inv/hosts.yml\n[ssh_connection]\n{ssh}\n"));
    world.write("inv/hosts.yml", "web:\n  hosts:\n    askari: {ansible_host: 198.51.100.136}\n");
    world.write("inv/host_vars/askari.yml", &format!("---\n{vars}\n"));
    world.write("site.yml", "- hosts: all\n");
    world
}

fn look(world: &World) -> RealHosts {
    let controller = world.controller_of(&world.path("repo"), "inv/hosts.yml", "web");
    world.look(&controller, &[world.path("repo/site.yml")]).unwrap().real
}

/// The hosts besides the one of the inventory, each with where it is.
fn others(real: &RealHosts) -> String {
    assert_eq!(real.unknown, [].into(), "{real:?}");
    let others = real.hosts.iter().filter(|(name, _)| *name != "askari");
    others.map(|(name, at)| format!("{name}{at:?}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_bastion_is_found_wherever_ssh_is_told_of_it() {
    for (vars, ssh, expected) in [
        (
            "ansible_ssh_common_args: -o ProxyJump=admin@b1.example.net:2222,203.0.113.4",
            "",
            r#"203.0.113.4[] b1.example.net[]"#,
        ),
        ("ansible_ssh_extra_args: -J b2.example.net", "", "b2.example.net[]"),
        ("", "ssh_args = -C -o ProxyJump=b3.example.net", "b3.example.net[]"),
        ("", "ssh_common_args = -o 'ProxyCommand=ssh -q -W %h:%p root@b4.example.net'", "b4.example.net[]"),
        (
            "ansible_ssh_common_args: -o ProxyCommand='nc -X connect -x proxy.example.net:3128 %h %p'",
            "",
            "proxy.example.net[]",
        ),
        ("ansible_ssh_args: -o ProxyJump={{ jump }}\njump: '{{ gate }}'\ngate: 203.0.113.5", "", "203.0.113.5[]"),
        ("ansible_sftp_extra_args: -o ProxyJump=b5.example.net", "", "b5.example.net[]"),
        ("ansible_connection: local\nansible_ssh_common_args: -o ProxyJump=b6.example.net", "", ""),
    ] {
        assert_eq!(others(&look(&repo(vars, ssh))), expected, "{vars}{ssh}");
    }
}

#[test]
fn a_name_of_sshs_own_configuration_is_where_that_says() {
    let world = repo("", "ssh_args = -F ssh_config");
    let config = "Host gate\n  HostName 203.0.113.7\n  ProxyJump outer.example.net\nHost 198.51.100.136\n  HostName 192.0.2.8\n  ProxyJump gate\n";
    world.write("ssh_config", config);
    let real = look(&world);
    assert_eq!(others(&real), r#"gate["203.0.113.7"] outer.example.net[]"#);
    assert_eq!(real.hosts["askari"], ["198.51.100.136", "192.0.2.8"]);
}

#[test]
fn a_way_that_does_not_say_by_which_host_it_goes_is_not_known() {
    for vars in [
        "ansible_ssh_common_args: -o ProxyCommand='/usr/local/bin/tunnel %h'",
        "ansible_ssh_common_args: -o ProxyJump={{ nowhere }}",
        "ansible_ssh_common_args: -o NoSuchOption=1",
    ] {
        let real = look(&repo(vars, ""));
        assert_eq!(real.unknown.keys().collect::<Vec<_>>(), ["askari"], "{vars}");
        assert_eq!(real.hosts["askari"], ["198.51.100.136"], "what is known counts all the same");
    }
}

#[test]
fn hosts_that_playbooks_and_roles_name_count_and_those_of_playbooks_that_are_not_run_do_not() {
    let world = repo("mgmt: 203.0.113.40", "");
    world.write(
        "site.yml",
        "- import_playbook: plays/more.yml\n- hosts: all\n  vars: {ansible_host: 203.0.113.30}\n  roles: [web]\n  tasks:\n    - ping:\n      vars: {ansible_ssh_host: '{{ mgmt }}'}\n    - ping:\n      delegate_to: localhost\n    - ping:\n      delegate_to: \"{{ groups['web'][0] }}\"\n    - ping:\n      delegate_to: askari\n",
    );
    world.write("plays/more.yml", "- hosts: all\n  tasks:\n    - ping:\n      delegate_to: 203.0.113.31\n");
    world.write("plays/not_run.yml", "- hosts: all\n  tasks:\n    - ping:\n      delegate_to: 203.0.113.99\n");
    world.write(
        "roles/web/tasks/deep/er.yml",
        "- block:\n    - ping:\n      delegate_to: lb.example.net\n    - ansible.builtin.add_host: {name: new.example.net, ansible_host: 203.0.113.32}\n    - add_host: name=203.0.113.33 groups=x\n",
    );
    world.write("roles/web/tasks/main.yml", "- ping:\n  vars:\n    ansible_ssh_common_args: -J jump.example.net\n");
    let real = look(&world);
    let names: BTreeSet<_> = real.hosts.keys().map(String::as_str).collect();
    let expected = [
        "203.0.113.30",
        "203.0.113.31",
        "203.0.113.32",
        "203.0.113.33",
        "203.0.113.40",
        "askari",
        "jump.example.net",
        "lb.example.net",
        "new.example.net",
    ];
    assert_eq!(names, expected.into(), "{real:?}");
    assert_eq!(real.unknown, [].into());
    world.write("roles/web/tasks/main.yml", "- ping:\n  vars: {ansible_host: '{{ nowhere }}'}\n");
    let unknown = look(&world).unknown;
    let (name, why) = unknown.first_key_value().unwrap();
    assert!(
        name.contains("ansible_host in ") && name.ends_with("roles/web/tasks/main.yml") && why.contains("nowhere"),
        "{unknown:?}"
    );
}
