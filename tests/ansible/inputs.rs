//! Bad input is found before anything boots, and told without a secret.

use crate::at_hand::fixtures;
use crate::executable;
use crate::world::World;
use boma_qemu::ansible::preflight::Preflight;
use boma_qemu::ansible::{AnsibleError, Controller};
use host::failure::Blame;

fn check(world: &World, controller: &Controller, playbooks: &[&str]) -> Result<Preflight, AnsibleError> {
    let playbooks: Vec<_> = playbooks.iter().map(|name| controller.repo.join(name)).collect();
    world.look(controller, &playbooks)
}

/// The error, told as the user sees it.
fn told(world: &World, controller: &Controller) -> (u8, String) {
    let failure = host::failure::Failure::from(check(world, controller, &["site.yml"]).unwrap_err());
    (failure.exit.code(), failure.to_string())
}

fn repo() -> World {
    let world = World::without_vm().repo();
    world.write("site.yml", "- hosts: all\n");
    world
}

#[test]
fn the_fixture_repository_is_understood_and_its_vault_opens() {
    let world = World::without_vm();
    let repo = fixtures().join("boma");
    let controller = world.controller_of(&repo, "inventories/production/offsite.yml", "offsite_hosts");
    let found = check(&world, &controller, &["playbooks/site.yml", "playbooks/offsite.yml"]).unwrap();
    assert_eq!(found.notes, Vec::<String>::new());
    assert_eq!(found.real.hosts["askari"], ["198.51.100.136"]);
    assert_eq!(found.real.hosts.len(), 3);
    assert!(std::fs::read_dir(world.path("")).unwrap().next().is_none(), "preflight left something behind");
}

#[test]
fn a_locked_vault_fails_at_once_and_names_the_file() {
    let world = repo();
    let vault =
        std::fs::read(fixtures().join("boma/inventories/production/group_vars/offsite_hosts/vault.yml")).unwrap();
    world.write("group_vars/web/vault.yml", std::str::from_utf8(&vault).unwrap());
    for password in [None, Some("wrong\n")] {
        if let Some(password) = password {
            world.write("password", password);
            world.write("ansible.cfg", "[defaults]\nvault_password_file = password\n");
        }
        let (code, said) = told(&world, &world.controller());
        assert!(code == 2 && said.contains("the vault is locked") && said.contains("vault.yml"), "{said}");
    }
}

#[test]
fn a_locked_value_in_an_open_file_and_a_locked_overlay_count_as_a_locked_vault() {
    let world = repo();
    let vault =
        std::fs::read_to_string(fixtures().join("boma/inventories/production/group_vars/offsite_hosts/vault.yml"))
            .unwrap();
    world.write("password", "wrong\n");
    world.write("ansible.cfg", "[defaults]\nvault_password_file = password\n");
    let mut controller = world.controller();
    controller.overlays = vec![world.write("overlay.yml", &vault)];
    assert!(told(&world, &controller).1.contains("the vault is locked"));
    let value = vault.lines().map(|line| format!("  {line}\n")).collect::<String>();
    world.write("group_vars/web.yml", &format!("secret: !vault |\n{value}"));
    assert!(told(&world, &world.controller()).1.contains("the vault is locked"));
}

#[test]
fn files_that_are_not_there_or_not_variables_are_named() {
    let world = repo();
    let overlay = |path: camino::Utf8PathBuf| Controller { overlays: vec![path], ..world.controller() };
    let (code, said) = told(&world, &overlay(fixtures().join("overlays/not_yaml.yml")));
    assert!(code == 2 && said.contains("not_yaml.yml is not a YAML mapping") && said.contains("line"), "{said}");
    let said = told(&world, &overlay(fixtures().join("overlays/not_a_mapping.yml"))).1;
    assert!(said.contains("not_a_mapping.yml is not a YAML mapping"), "{said}");
    assert!(told(&world, &overlay("/nowhere.yml".into())).1.contains("extra-vars file /nowhere.yml does not exist"));
    std::fs::remove_file(world.path("repo/site.yml")).unwrap();
    assert!(told(&world, &world.controller()).1.contains("repo/site.yml does not exist"));
    std::fs::remove_file(world.path("repo/hosts.yml")).unwrap();
    world.write("site.yml", "- hosts: all\n");
    assert!(told(&world, &world.controller()).1.contains("real inventory"));
}

#[test]
fn a_host_that_is_not_in_the_inventory_and_groups_that_differ_are_said() {
    let world = repo();
    let other = Controller { host: "pumbaa".parse().unwrap(), ..world.controller() };
    let (code, said) = told(&world, &other);
    assert!(
        code == 2 && said.contains("pumbaa is not in the real inventory") && said.contains("askari, ubongo"),
        "{said}"
    );
    let groups = Controller { groups: vec!["db".into()], ..world.controller() };
    let notes = check(&world, &groups, &[]).unwrap().notes.join("\n");
    assert!(notes.contains("the real askari is in the group web") && notes.contains("into the group db"), "{notes}");
}

#[test]
fn a_broken_inventory_is_told_without_an_excerpt() {
    let world = repo();
    world.write("host_vars/askari.yml", "password: hunter2\nb: [\n");
    let (code, said) = told(&world, &world.controller());
    assert!(code == 2 && said.contains("askari.yml") && !said.contains("hunter2"), "{said}");
    world.write("host_vars/askari.yml", "");
    world.write("hosts.yml", "password: hunter2\nb: [\n");
    let (code, said) = told(&world, &world.controller());
    assert!(code == 2 && said.contains("hosts.yml") && !said.contains("hunter2"), "{said}");
}

#[test]
fn an_ansible_that_is_missing_or_too_old_is_told_with_the_way_to_get_one() {
    let world = repo();
    let bin = world.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let missing = Controller { bin: Some(bin.clone()), ..world.controller() };
    let (code, said) = told(&world, &missing);
    assert!(code == 3 && said.contains("cannot run") && said.contains("pip install"), "{said}");
    executable::write(bin.join("ansible-playbook"), "#!/bin/sh\necho 'ansible-playbook [core 2.14.18]'\n");
    let error = check(&world, &missing, &["site.yml"]).unwrap_err();
    assert!(error.exit().code() == 3 && error.to_string().contains("2.14.18"), "{error}");
}
