//! `init` and `lint`, through the program: from a repository that knows nothing of it to a profile that can be planned.

use crate::at_hand::ansible;
use crate::world::World;
use camino::Utf8PathBuf;
use serde_json::Value;
use std::process::{Command, Output};

/// A repository with its inventory in a folder, a host behind another port, a task for another host.
fn estate() -> World {
    let world = World::without_vm();
    world.write("ansible.cfg", "[defaults]\ninventory = hosts\nroles_path = roles\n");
    world.write(
        "hosts/10.ini",
        "[web]\nweb1 ansible_host=203.0.113.21 ansible_port=2222 ansible_user=deploy\n[db]\ndb1 ansible_host=203.0.113.31 ansible_user=root\n[site:children]\nweb\ndb\n",
    );
    world.write("hosts/20.yml", "backup: {hosts: {store: {ansible_host: 203.0.113.41}}}\n");
    world.write("host_vars/web1.yml", "server_name: www.example.com\nopen_ports: ['{{ ssh_port }}', 80]\n");
    world.write("host_vars/gone.yml", "a: 1\n");
    world.write("group_vars/all.yml", "ssh_port: 2222\n");
    world.write("site.yml", "- hosts: site\n  roles: [base, restic]\n- hosts: db\n  roles: [db]\n");
    world.write("other.yml", "- hosts: web\n  tasks: []\n");
    world.write("roles/base/defaults/main.yml", "metrics_port: 9100\n");
    world.write("roles/base/tasks/main.yml", "- debug: {msg: '{{ metrics_port }}'}\n");
    world.write("roles/db/tasks/main.yml", "- ping:\n  delegate_to: store\n");
    world.write(
        "roles/restic/tasks/main.yml",
        "- name: Known there\n  ping:\n  delegate_to: store\n  when: restic_register | default(true)\n",
    );
    world
}

fn boma(world: &World, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boma-qemu"));
    command.args(["--json", "--root", world.path("root").as_str()]).args(args);
    command.env("BOMA_STATE", world.path("state")).env_remove("BOMA_REPO").current_dir(world.path(""));
    let bin = ansible().map_or_else(String::new, |bin| format!("{bin}:"));
    command.env("PATH", format!("{bin}{}", std::env::var("PATH").unwrap())).output().unwrap()
}

fn init(world: &World, host: &str) -> Output {
    boma(world, &["init", host, "--repo", world.path("repo").as_str()])
}

fn object(out: &Output) -> Value {
    let text = String::from_utf8_lossy(&out.stdout);
    text.lines().find_map(|line| serde_json::from_str(line).ok()).unwrap_or_else(|| panic!("{text}{out:?}"))
}

fn read(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.path("root").join(name)).unwrap()
}

#[test]
fn init_writes_a_profile_that_can_be_planned_and_names_what_is_to_be_decided() {
    let world = estate();
    let made = init(&world, "web1");
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let profile: Value = serde_json::from_str(&read(&world, "profiles/web1.json")).unwrap();
    assert_eq!((&profile["user"], &profile["inventory"]), (&"deploy".into(), &"hosts".into()));
    assert_eq!(profile["groups"], serde_json::json!(["web"]));
    assert_eq!(profile["applies"], serde_json::json!([{"playbook": "site.yml", "tags": []}]));
    assert_eq!(profile["dns"], serde_json::json!({"www.example.com": "vm"}));
    assert!(profile["//"].to_string().contains("host_vars/gone.yml"), "{profile}");
    let overlay = read(&world, "overrides/web1.yml");
    assert!(overlay.contains("restic_register: false") && overlay.contains("#   restic"), "{overlay}");
    assert!(!overlay.contains("roles/db"), "a role of another host: {overlay}");
    let verify = profile["verify"].as_array().unwrap();
    let probes: Vec<_> = verify.iter().map(|one| one["probe"].clone()).collect();
    assert_eq!(probes, [serde_json::json!({"failed-units": {}}), serde_json::json!({"tcp": {"port": 80}})]);
    assert!(profile["verify"].to_string().contains("metrics_port"), "{profile}");
    assert!(!world.path("root/verify").exists(), "no playbook is needed");
    let plan = boma(&world, &["plan", "web1"]);
    assert_eq!(plan.status.code(), Some(0), "{plan:?}");
    // Marks are no error.
    let lint = boma(&world, &["lint", "web1"]);
    assert_eq!(lint.status.code(), Some(0), "{lint:?}");
    let said = object(&lint);
    assert!(said["suspicious"].as_array().unwrap().iter().all(|one| one["undecided"] == true), "{said}");
}

#[test]
fn what_the_real_host_does_today_becomes_checks_of_the_profile() {
    let world = estate();
    let live = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/observe/askari-before.txt");
    let made = boma(&world, &["init", "web1", "--repo", world.path("repo").as_str(), "--from-live", live]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let profile: Value = serde_json::from_str(&read(&world, "profiles/web1.json")).unwrap();
    let names: Vec<_> = profile["verify"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"docker.service is up") && names.contains(&"port 80 answers"), "{names:?}");
    assert_eq!(names.iter().filter(|name| **name == "port 80 answers").count(), 1, "{names:?}");
    assert_eq!(boma(&world, &["plan", "web1"]).status.code(), Some(0));
    let wrong = boma(&world, &["init", "db1", "--repo", world.path("repo").as_str(), "--from-live", "nosuch"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!world.path("root/profiles/db1.json").exists(), "refused before anything is written");
}

#[test]
fn a_host_that_logs_in_as_root_is_mirrored_as_root_and_a_task_without_a_gate_is_named() {
    let world = estate();
    assert_eq!(init(&world, "db1").status.code(), Some(0));
    let profile: Value = serde_json::from_str(&read(&world, "profiles/db1.json")).unwrap();
    assert_eq!(profile["user"], "root");
    assert!(read(&world, "overrides/db1.yml").contains("roles/db/tasks/main.yml: \"store\", to store"));
    assert_eq!(boma(&world, &["plan", "db1"]).status.code(), Some(0));
}

#[test]
fn gates_of_many_forms_are_closed_and_what_has_no_gate_is_skipped_whoever_it_is_for() {
    let world = estate();
    world.write("group_vars/all.yml", "ssh_port: 2222\nshy: false\ntell: true\nserver: store\n");
    world.write(
        "roles/base/tasks/main.yml",
        "- block:\n    - {ping: , name: In a block, delegate_to: store}\n  when: [tell | bool, ansible_system == 'Linux']\n\
         - {ping: , name: Not, delegate_to: store, when: not (quiet | default(false)) | bool}\n\
         - {ping: , name: And, delegate_to: store, when: \"not shy and server != ''\"}\n\
         - {ping: , name: More than a gate, delegate_to: '{{ server }}', when: server}\n\
         - {ping: , name: First of a group, delegate_to: \"{{ groups['backup'] | first }}\", when: a or b}\n\
         - {ping: , name: By item, delegate_to: '{{ item }}', loop: [store]}\n\
         - {ping: , name: Here, delegate_to: localhost}\n\
         - {ping: , name: Itself, delegate_to: '{{ inventory_hostname }}'}\n",
    );
    world.write("roles/base/meta/main.yml", "dependencies: [below]\n");
    world.write("roles/below/tasks/main.yml", "- {ping: , name: Of a dependency, delegate_to: store}\n");
    world.write(
        "site.yml",
        "- hosts: site\n  roles: [base]\n  post_tasks:\n    - {ping: , name: Of a play, delegate_to: store}\n",
    );
    assert_eq!(init(&world, "web1").status.code(), Some(0));
    let overlay = read(&world, "overrides/web1.yml");
    let vars: Vec<_> = overlay.lines().filter(|line| !line.starts_with(['#', '-']) && !line.is_empty()).collect();
    assert_eq!(
        vars,
        ["boma_vm: true", "quiet: true", "shy: true", "tell: false", "boma_skip_delegated: true"],
        "{overlay}"
    );
    for skipped in [
        "\"More than a gate\", to store",
        "\"First of a group\", to store",
        "\"By item\", to {{ item }}",
        "roles/below/tasks/main.yml: \"Of a dependency\"",
        "site.yml: \"Of a play\"",
    ] {
        assert!(overlay.contains(skipped), "{skipped}: {overlay}");
    }
    assert!(!overlay.contains("Itself") && !overlay.contains("Here"), "{overlay}");
}

#[test]
fn the_way_in_disks_and_networks_are_found_wherever_they_are_written() {
    let world = estate();
    world.write(
        "ansible.cfg",
        "[defaults]\ninventory = hosts\nroles_path = roles\nremote_user = ops\nremote_port = 2222\n",
    );
    world.write("hosts/10.ini", "[web]\nweb1\n[db]\ndb1 ansible_host=203.0.113.31\n[site:children]\nweb\ndb\n");
    world.write(
        "host_vars/web1.yml",
        "volumes: [{name: a, devices: ['/dev/sdb1']}, {name: b, devices: [/dev/disk/by-id/virtio-logs0-part1]}]\n\
         wan_interface: ens18\nssh_allowed_from: [192.0.2.0/24, '{{ office }}']\noffice: 198.51.100.4\ntrusted_words: [a, b]\n",
    );
    world.write("roles/base/tasks/main.yml", "# not /dev/sdh\n- command: mkfs.ext4 /dev/sdc\n");
    assert_eq!(init(&world, "web1").status.code(), Some(0));
    let profile: Value = serde_json::from_str(&read(&world, "profiles/web1.json")).unwrap();
    assert_eq!((&profile["user"], &profile["disk_bus"]), (&"ops".into(), &"virtio-scsi".into()));
    assert_eq!(profile["interface"], "ens18");
    let disks =
        serde_json::json!([{"size_gib": 8}, {"size_gib": 8}, {"size_gib": 8, "serial": "logs0", "bus": "virtio-blk"}]);
    assert_eq!(profile["disks"], disks);
    assert!(profile["//"].to_string().contains("/dev/sdb, /dev/sdc"), "{profile}");
    assert!(!profile["verify"].to_string().contains("2222"), "the way in is no port to ask for: {profile}");
    let overlay = read(&world, "overrides/web1.yml");
    assert!(overlay.contains("ssh_allowed_from: [\"192.0.2.0/24\", \"198.51.100.4\", \"10."), "{overlay}");
    assert!(!overlay.contains("trusted_words"), "{overlay}");
    // That of an inventory is the host's.
    world.write("site.yml", "- hosts: site\n  remote_user: admin\n  roles: [base]\n");
    assert_eq!(init(&world, "db1").status.code(), Some(0));
    let profile: Value = serde_json::from_str(&read(&world, "profiles/db1.json")).unwrap();
    assert_eq!((&profile["user"], &profile["never_unresolved"]), (&"admin".into(), &"note".into()));
    assert!(profile["//"].to_string().contains("no address here of web1"), "{profile}");
}

#[test]
fn init_overwrites_nothing_and_an_unknown_host_is_refused_with_the_known_ones() {
    let world = estate();
    let unknown = init(&world, "nope");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("db1, store, web1"), "{unknown:?}");
    assert_eq!(init(&world, "web1").status.code(), Some(0));
    std::fs::remove_file(world.path("root/profiles/web1.json")).unwrap();
    std::fs::write(world.path("root/overrides/web1.yml"), "mine: 1\n").unwrap();
    assert_eq!(init(&world, "web1").status.code(), Some(2));
    assert_eq!(read(&world, "overrides/web1.yml"), "mine: 1\n");
    assert!(!world.path("root/profiles/web1.json").exists());
}

#[test]
fn lint_names_a_variable_that_nobody_reads_a_check_that_is_not_there_and_an_allowance_that_is_over() {
    let world = estate();
    assert_eq!(init(&world, "web1").status.code(), Some(0));
    let path = world.path("root/profiles/web1.json");
    let mut profile: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    profile["red"] =
        serde_json::json!({"overrides": "overrides/red.yml", "fails": ["port 80 answers", "no such check"]});
    profile["state"] = serde_json::json!({"allow": [{"id": "units/x", "why": "y", "until": "2020-01-01"}]});
    std::fs::write(&path, profile.to_string()).unwrap();
    std::fs::write(world.path("root/overrides/red.yml"), "metrics_prot: 1\nmetrics_port: '{{ ssh_port }}'\n").unwrap();
    let out = boma(&world, &["lint", "web1"]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    let said = object(&out);
    let wrong: Vec<_> = said["suspicious"].as_array().unwrap().iter().filter(|one| one["undecided"] == false).collect();
    let about = |file: &str, word: &str| {
        wrong.iter().any(|one| one["file"] == file && one["what"].as_str().unwrap().contains(word))
    };
    assert_eq!(wrong.len(), 3, "{said}");
    assert!(about("overrides/red.yml", "metrics_prot") && about("profiles/web1.json", "no such check"), "{said}");
    assert!(about("profiles/web1.json", "units/x"), "{said}");
    std::fs::write(&path, "{\"inventry\": 1}").unwrap();
    let broken: Utf8PathBuf = path;
    let out = boma(&world, &["lint", "web1"]);
    assert!(
        out.status.code() == Some(2) && String::from_utf8_lossy(&out.stderr).contains("line 1"),
        "{broken}: {out:?}"
    );
}

#[test]
fn lint_tells_probes_that_ask_the_same_and_a_red_case_without_its_check_and_plan_shows_each_entry() {
    let world = estate();
    assert_eq!(init(&world, "web1").status.code(), Some(0));
    let mut profile: Value = serde_json::from_str(&read(&world, "profiles/web1.json")).unwrap();
    let entries = profile["verify"].as_array_mut().unwrap();
    entries.push(serde_json::json!({"name": "the web again", "probe": {"tcp": {"port": 80}}}));
    entries.push(serde_json::json!({"name": "tests", "run": ["./tests.sh", "a b"], "format": "tap"}));
    profile["red"] = serde_json::json!({
        "overrides": "overrides/web1.yml", "fails": ["the web again", "tests: one", "nobody's"]
    });
    std::fs::write(world.path("root/profiles/web1.json"), profile.to_string()).unwrap();
    let lint = boma(&world, &["lint", "web1"]);
    assert_eq!(lint.status.code(), Some(2), "{lint:?}");
    let said = object(&lint);
    let wrong: Vec<_> = said["suspicious"].as_array().unwrap().iter().filter(|one| one["undecided"] == false).collect();
    assert_eq!(wrong.len(), 2, "{said}");
    assert!(said.to_string().contains("ask the same") && said.to_string().contains("is called nobody's"), "{said}");
    let plan = boma(&world, &["plan", "web1"]);
    let text = format!("{plan:?}");
    for wanted in ["failed-units", "the web again", "./tests.sh"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}
