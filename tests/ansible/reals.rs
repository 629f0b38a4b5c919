//! Where every real host is: in whatever file, template or vault an inventory says it.

use crate::at_hand::{ansible, fixtures};
use crate::project::Project;
use crate::world::World;
use boma_qemu::ansible::Controller;
use boma_qemu::ansible::hosts::RealHosts;
use camino::{Utf8Path, Utf8PathBuf};
use host::secrets;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const CONFIG: &str = "[defaults]\nvault_password_file = password\ninventory = ";

/// A repository with a vault; its inventory is `inventories/real/hosts.yml`, and ansible.cfg names no other.
fn repo() -> World {
    let world = World::without_vm();
    world.write("ansible.cfg", &format!("{CONFIG}inventories/real/hosts.yml\n"));
    world.write("password", "p\n");
    world.write("inventories/real/hosts.yml", "web:\n  hosts:\n    askari: {ansible_host: 198.51.100.136}\n");
    world
}

fn controller(world: &World) -> Controller {
    world.controller_of(&world.path("repo"), "inventories/real/hosts.yml", "web")
}

fn look(world: &World, controller: &Controller, playbooks: &[Utf8PathBuf]) -> RealHosts {
    world.look(controller, playbooks).unwrap().real
}

fn of(world: &World) -> RealHosts {
    look(world, &controller(world), &[])
}

/// Something in the vault, as a YAML value.
fn vaulted(world: &World, password: &str, text: &str) -> String {
    let file = world.write("other", password);
    let program = ansible().unwrap().join("ansible-vault");
    let args = ["encrypt_string", "--vault-password-file", file.as_str(), text];
    let done = Command::new(program).args(args).current_dir("/").output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8(done.stdout).unwrap();
    let lines: Vec<_> = said.lines().map(|line| format!("        {}", line.trim())).collect();
    lines.join("\n").trim_start().to_owned() + "\n"
}

#[test]
fn an_address_in_the_vault_is_opened_and_is_a_secret() {
    let world = repo();
    let value = vaulted(&world, "p", "203.0.113.20");
    world.write(
        "inventories/real/hosts.yml",
        &format!("web:\n  hosts:\n    askari:\n      ansible_host: {value}    ubongo:\n      ansible_ssh_host: '{{{{ vault_address }}}}'\n"),
    );
    let inside = vaulted(&world, "p", "203.0.113.21");
    world.write("inventories/real/group_vars/web.yml", &format!("vault_address: {inside}"));
    let controller = controller(&world);
    let found = world.look(&controller, &[]).unwrap();
    assert_eq!(found.real.hosts["askari"], ["203.0.113.20"]);
    assert_eq!(found.real.hosts["ubongo"], ["203.0.113.21"]);
    assert_eq!(found.real.unknown, [].into());
    assert!(found.secrets.iter().any(|secret| secret == "203.0.113.20"));
    secrets::know(found.secrets);
    assert!(!secrets::mask("at 203.0.113.20").contains("203.0.113.20"));
}

#[test]
fn a_template_is_resolved_and_one_that_cannot_be_is_named_and_hides_no_other_host() {
    let world = repo();
    world.write(
        "inventories/real/hosts.yml",
        "web:\n  hosts:\n    askari:\n    ubongo: {ansible_host: '{{ mesh }}', mesh: 203.0.113.20}\n    chapa: {ansible_host: '{{ nowhere }}'}\n    chapa.example.net:\n",
    );
    let found = of(&world);
    assert_eq!(found.hosts["ubongo"], ["203.0.113.20"]);
    assert_eq!(found.hosts["chapa.example.net"], Vec::<String>::new());
    assert_eq!(found.unknown.keys().collect::<Vec<_>>(), ["chapa"]);
    assert!(found.unknown["chapa"].contains("nowhere"), "{found:?}");
}

#[test]
fn variables_beside_a_playbook_count_as_well() {
    let world = repo();
    let playbook = world.write("playbooks/site.yml", "- hosts: all\n");
    world.write("playbooks/host_vars/askari.yml", "ansible_host: 203.0.113.44\n");
    let found = look(&world, &controller(&world), &[playbook]);
    assert_eq!(found.hosts["askari"], ["198.51.100.136", "203.0.113.44"]);
}

#[test]
fn every_file_beside_the_inventory_counts_and_what_is_no_inventory_is_said() {
    let world = repo();
    world.write(
        "inventories/real/home.ini",
        "[home]\nubongo ansible_host=203.0.113.20\naskari ansible_host=203.0.113.9\n",
    );
    world.write("inventories/real/README.md", "# hosts: these\n");
    world.write("inventories/real/site.yml", "---\n- name: x\n  hosts: all\n");
    let found = of(&world);
    assert_eq!(found.hosts["ubongo"], ["203.0.113.20"]);
    // Two files name one host: both addresses are real.
    let mut both = found.hosts["askari"].clone();
    both.sort();
    assert_eq!(both, ["198.51.100.136", "203.0.113.9"]);
    assert_eq!(found.unknown, [].into());
    let skipped: Vec<_> = found.skipped.iter().filter_map(|path| path.file_name()).collect();
    assert_eq!(skipped, ["site.yml"]);
}

#[test]
fn an_inventory_that_cannot_be_read_is_named_and_no_program_beside_one_is_run() {
    let world = repo();
    world.write("inventories/real/broken.yml", "all:\n  hosts: [hunter2]\n");
    world.write("inventories/real/cloud.yml", "plugin: no.such.plugin\n");
    let ran = world.path("ran");
    let script = world.write("inventories/real/dynamic", &format!("#!/bin/sh\ntouch {ran}; echo '{{}}'\n"));
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let locked = vaulted(&world, "other password", "203.0.113.20");
    world.write("inventories/real/locked.yml", &format!("db:\n  hosts:\n    chapa:\n      ansible_host: {locked}"));
    let found = of(&world);
    let unknown: Vec<_> = found.unknown.keys().filter_map(|name| Utf8Path::new(name).file_name()).collect();
    assert_eq!(unknown, ["broken.yml", "cloud.yml", "dynamic", "chapa"]);
    assert!(!ran.exists(), "it was run");
    let why = &found.unknown[script.as_str()];
    assert!(why.contains("is not run") && why.contains("ansible.cfg") && why.contains("move it out"), "{why}");
    assert!(!format!("{:?}", found.unknown).contains("hunter2"), "{found:?}");
}

#[test]
fn a_folder_and_every_inventory_of_ansible_cfg_count() {
    let world = repo();
    world.write("ansible.cfg", &format!("{CONFIG}elsewhere,inventories/lab.ini\n"));
    world.write("elsewhere/one.yml", "all:\n  hosts:\n    chapa: {ansible_host: 192.0.2.30}\n");
    world.write("elsewhere/deep/two.ini", "[db]\nchapa ansible_host=192.0.2.31\npumbaa ansible_host=192.0.2.32\n");
    world.write("inventories/lab.ini", "lab1 ansible_host=192.0.2.40\n");
    let found = of(&world);
    assert_eq!(found.hosts["chapa"].len(), 2, "{found:?}");
    assert_eq!(
        (&found.hosts["pumbaa"][..], &found.hosts["lab1"][..]),
        (&["192.0.2.32".to_owned()][..], &["192.0.2.40".to_owned()][..])
    );
    assert_eq!(found.unknown, [].into());
    // The folder as the profile's own inventory.
    let of_folder = world.controller_of(&world.path("repo"), "elsewhere", "db");
    let found = look(&world, &Controller { host: "chapa".parse().unwrap(), ..of_folder }, &[]);
    assert_eq!((found.hosts["chapa"].len(), found.hosts.contains_key("pumbaa")), (2, true), "{found:?}");
    // One that is named and is not there could hold anything.
    world.write("ansible.cfg", &format!("{CONFIG}inventories/real/hosts.yml,/nowhere/hosts\n"));
    assert!(of(&world).unknown.keys().any(|name| name.contains("/nowhere/hosts")));
}

#[test]
fn in_the_repositorys_own_folder_only_the_inventory_counts() {
    let world = World::without_vm().repo();
    world.write("other.ini", "ubongo2 ansible_host=203.0.113.20\n");
    let found = look(&world, &world.controller(), &[]);
    assert_eq!(found.hosts.keys().collect::<Vec<_>>(), ["askari", "ubongo"]);
}

#[test]
fn the_fixtures_hosts_are_all_known() {
    let world = World::without_vm();
    let controller =
        world.controller_of(&fixtures().join("boma"), "inventories/production/offsite.yml", "offsite_hosts");
    let found = look(&world, &controller, &[]);
    assert_eq!((found.hosts.len(), found.unknown.len(), found.skipped.len()), (3, 0, 0), "{found:?}");
}

#[test]
fn a_run_does_not_start_where_a_name_cannot_be_looked_up_and_says_the_way_out_in_one_line() {
    let project = Project::new();
    let profile = project.dir.join("profiles/askari.json");
    let text = std::fs::read_to_string(&profile).unwrap();
    std::fs::write(&profile, text.replace("\"never_unresolved\": \"note\",", "")).unwrap();
    let inner = project.command(&["up", "askari"]);
    // Without any network, and so without any name server.
    let mut command = Command::new("unshare");
    command.args(["--net", "--"]).arg(inner.get_program()).args(inner.get_args()).current_dir(&project.dir);
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env_remove("BOMA_ROOT").env_remove("BOMA_REPO");
    let way_out = "\"never_unresolved\": \"note\" in profiles/askari.json";
    project.refused_as(command, 2, &["mesh.example.net (it could not be looked up", way_out]);
    std::fs::write(&profile, text.replace("\"note\"", "\"ignore\"")).unwrap();
    project.refused(&["plan", "askari"], 2, &["unknown variant `ignore`"]);
}
