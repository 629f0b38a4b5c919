use super::*;
use crate::profile::{Profile, Unresolved};

fn found() -> Found {
    let delegated = |task: &str, gate: Option<&str>| Delegated {
        task: task.into(),
        file: "roles/backup/tasks/main.yml".into(),
        to: "backup1".into(),
        gate: gate.map(str::to_owned),
        closed: false,
    };
    Found {
        groups: vec!["web".into()],
        user: Some("deploy".into()),
        port: Some("2222".into()),
        playbooks: vec!["site.yml".into()],
        ports: [
            ("firewall_open_tcp".into(), vec![80, 2222]),
            ("smtp_port".into(), vec![587]),
            ("ssh_port".into(), vec![2222]),
        ]
        .into(),
        names: vec!["www.example.com".into()],
        disks: vec!["/dev/disk/by-id/virtio-logs".into(), "/dev/vdc".into()],
        interfaces: [("lan_dev".into(), "eth1".into()), ("uplink_dev".into(), "eth2".into())].into(),
        networks: [("ssh_from".into(), vec!["192.0.2.0/24".into()])].into(),
        delegated: vec![delegated("Known to it", Some("backup_register")), delegated("Its key", None)],
        roles: vec!["backup".into()],
        strangers: vec!["host_vars/gone.yml".into()],
        by_name: vec!["backup.example.net".into()],
    }
}

fn made(found: &Found) -> Draft {
    let here = Here {
        repo: "/r".into(),
        inventory: "hosts".into(),
        controller: Ipv4Addr::new(10, 9, 8, 2),
        unresolved: &found.by_name,
    };
    draft(&"web1".parse().unwrap(), &here, found, None)
}

#[test]
fn the_profile_is_one_and_says_what_has_to_be_decided() {
    let text = serde_json::to_string_pretty(&made(&found()).profile).unwrap();
    let profile = Profile::parse("web1.json".into(), &text).unwrap();
    assert_eq!((profile.user.as_str(), profile.groups), ("deploy", vec!["web".to_owned()]));
    assert_eq!(profile.dns["www.example.com"], "vm");
    let serials: Vec<_> = profile.disks.iter().enumerate().map(|(n, disk)| disk.serial(n)).collect();
    assert_eq!(serials, ["data0", "data1", "logs"], "what is called vdc is the third disk");
    assert_eq!(profile.interface.unwrap().as_str(), "eth2");
    assert_eq!(profile.never_unresolved, Unresolved::Note);
    assert!(text.contains("no address here of backup.example.net"), "{text}");
    let plain = made(&Found::default()).profile;
    assert!(plain["never_unresolved"] == "refuse" && !plain.to_string().contains("DECIDE never"), "{plain}");
    assert!(text.contains("DECIDE image") && text.contains("host_vars/gone.yml"), "{text}");
}

#[test]
fn the_overlay_closes_the_gates_of_what_is_delegated_and_names_what_has_none() {
    insta::assert_snapshot!(made(&found()).overlay, @r##"
    ---
    # How the VM that stands for web1 differs from web1. Every stub is here, and nowhere else.
    # Written by `boma-qemu init web1`; DECIDE marks what only you can know.

    # For roles that must know: only the VM has it.
    boma_vm: true

    # DECIDE: from the VM nothing goes to another host. This gates what would be delegated to one:
    #   roles/backup/tasks/main.yml: "Known to it", to backup1
    backup_register: false

    # DECIDE: these are delegated to another host, and nothing else keeps them from it: they are skipped, and each run names
    # them. Without this line they end a run.
    #   roles/backup/tasks/main.yml: "Its key", to backup1
    boma_skip_delegated: true

    # DECIDE: if a firewall or sshd lets only these in, this program is one of them, or no login comes.
    ssh_from: ["192.0.2.0/24", "10.9.8.2"]

    # DECIDE: by their names these roles may connect the host with others. The VM runs them with the real variables and
    # secrets: set here what keeps them from registering, joining, sending and backing up.
    #   backup
    "##);
}

#[test]
fn the_checks_are_that_no_unit_has_failed_and_that_the_open_ports_but_for_sshs_own_answer() {
    let checks = made(&found()).profile["verify"].clone();
    let probes: Vec<_> = checks.as_array().unwrap().iter().map(|one| one["probe"].clone()).collect();
    assert_eq!(probes, [serde_json::json!({"failed-units": {}}), serde_json::json!({"tcp": {"port": 80}})]);
    let text = checks.to_string();
    assert!(text.contains("smtp_port: [587]") && !text.contains("2222"), "{text}");
    let nothing = made(&Found::default());
    assert_eq!(nothing.profile["verify"].as_array().unwrap().len(), 1);
    assert!(nothing.overlay.contains("boma_vm: true"));
}

#[test]
fn what_was_seen_of_the_real_host_is_asked_too_and_nothing_twice() {
    let live = serde_json::json!({"sections": {"sockets": {"facts": {
        "tcp 0.0.0.0:80": "nginx", "tcp 127.0.0.1:5432": "postgres",
    }}}});
    let live = serde_json::from_value(live).unwrap();
    let found = found();
    let here = Here {
        repo: "/r".into(),
        inventory: "hosts".into(),
        controller: Ipv4Addr::new(10, 9, 8, 2),
        unresolved: &found.by_name,
    };
    let made = draft(&"web1".parse().unwrap(), &here, &found, Some(&live));
    let names: Vec<_> = made.profile["verify"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["no failed units", "port 80 answers", "postgres listens on 5432"]);
    let text = serde_json::to_string(&made.profile).unwrap();
    assert!(text.contains("DECIDE: seen on the real host"), "{text}");
    Profile::parse("web1.json".into(), &text).unwrap();
}

#[test]
fn every_suggestion_is_an_entry_that_a_profile_may_have() {
    let all = suggest(&evidence::observe::read(include_str!("../../tests/fixtures/observe/askari-before.txt")));
    let list: Vec<_> = all.iter().map(|one| one.entry("")).collect();
    let read: crate::profile::Verify = serde_json::from_value(Value::Array(list)).unwrap();
    let questions: Vec<_> = read.questions().cloned().collect();
    assert_eq!(questions, all.into_iter().map(|one| one.question).collect::<Vec<_>>());
}
