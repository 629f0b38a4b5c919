//! Two real looks at the same guest, before and after a reboot, and what small changes make of them.

use super::*;
use proptest::prelude::*;

const BEFORE: &str = include_str!("../../../tests/fixtures/observe/askari-before.txt");
const AFTER: &str = include_str!("../../../tests/fixtures/observe/askari-after.txt");

fn read(text: &str) -> State {
    read::state(&answers::answers(text))
}

/// Note what the guest says of the one unit that is for a first boot only.
fn excuse(state: &mut State) {
    let reason = Reason { why: "its own condition left it out".into(), excuses: true };
    state.known.reasons.insert("units/systemd-machine-id-commit.service/active".into(), reason);
}

/// The findings of a second look, as ids.
fn lost(before: &str, after: &str) -> Vec<String> {
    let mut after = read(after);
    // What the guest is asked about units that are gone.
    excuse(&mut after);
    Diff::between(&read(before), &after).findings(&[]).into_iter().map(|finding| finding.id).collect()
}

/// A look in which one text stands for another, which must be there.
fn but(look: &str, old: &str, new: &str) -> String {
    assert!(look.contains(old), "{old:?} is not in the fixture");
    look.replace(old, new)
}

#[test]
fn the_script_is_one_the_shell_can_read() {
    for what in [Asked::Everything, Asked::WhatMoves] {
        host::cmd::Cmd::new("sh").args(["-n", "-c", &script(what)]).run().unwrap();
    }
}

#[test]
fn a_clean_reboot_loses_nothing() {
    assert_eq!(lost(BEFORE, AFTER), Vec::<String>::new());
}

#[test]
fn every_section_of_a_real_look_is_read() {
    for look in [BEFORE, AFTER] {
        let state = read(look);
        for section in Section::ALL {
            let seen = state.facts(section).is_some() || section == Section::Podman;
            assert!(seen, "{section}: {:?}", state.sections[&section]);
        }
        for (section, key, value) in [
            (Section::Units, "docker.service/active", "active (running)"),
            (Section::Containers, "reverse_proxy/state", "running"),
            (Section::Containers, "reverse_proxy/restart", "unless-stopped"),
            (Section::Containers, "reverse_proxy/ports/*:443", "443/tcp"),
            (Section::Sockets, "tcp 0.0.0.0:22", "sshd"),
            (Section::Sockets, "tcp 127.0.0.1:ephemeral containerd", "containerd"),
            (Section::Nft, "ip filter/FORWARD/policy", "drop"),
            (Section::Addresses, "enp0s2/10.213.77.10/24", "scope global"),
            (Section::Routes, "main/default dev enp0s2 metric 100", "via 10.213.77.1 src 10.213.77.10 proto dhcp"),
            (Section::Sysctl, "net.ipv4.ip_forward", "1"),
            (Section::Mounts, "/", "ext4 /dev/vda2 relatime,rw"),
            (Section::Modules, "br_netfilter", "loaded"),
            (Section::Users, "ansible", "uid 1000 gid 1000 /home/ansible /bin/bash locked"),
            (Section::Users, "boma-rescue", "uid 986 gid 986 / /bin/bash password"),
            (Section::System, "hostname", "askari"),
            (Section::System, "timezone", "Etc/UTC"),
        ] {
            assert_eq!(state.word(section, key), value, "{section}/{key}");
        }
        assert!(state.promises("enabled", "docker.service") && !state.promises("enabled", "polkit.service"));
    }
}

#[test]
fn no_random_name_no_process_and_no_hash_gets_into_a_state() {
    let text = serde_json::to_string(&[read(BEFORE), read(AFTER)]).unwrap();
    for noise in ["veth794f3f8", "veth71abe42", "pid=", "a96673c753ea", "172.18.0.2", "fe80::", "$y$", "02:42"] {
        assert!(!text.contains(noise), "{noise}");
    }
}

#[test]
fn a_unit_that_is_skipped_by_its_own_conditions_is_lost_only_if_that_is_not_so() {
    let diff = Diff::between(&read(BEFORE), &read(AFTER));
    let ids: Vec<_> = diff.findings(&[]).into_iter().map(|finding| finding.id).collect();
    assert_eq!(ids, ["units/systemd-machine-id-commit.service/active"]);
}

#[test]
fn what_the_boot_loader_says_of_itself_is_not_missed_after_a_kexec() {
    let kexec = but(AFTER, "BOOT_IMAGE=/boot/vmlinuz-6.12.118+deb13-cloud-amd64 ", "");
    assert_eq!(
        lost(BEFORE, &but(&kexec, "./kernel/bootloader_type:114", "./kernel/bootloader_type:208")),
        Vec::<String>::new()
    );
}

#[test]
fn each_loss_has_a_name_and_says_why() {
    let word = |look: &str, old: &str, new: &str| but(look, old, new);
    let sysctl = "./net/ipv4/ip_forward:";
    for (before, after, id, why) in [
        (
            BEFORE.to_owned(),
            word(AFTER, "cron.service loaded active running", "cron.service loaded inactive dead"),
            "units/cron.service/active",
            "it is enabled, but was not started",
        ),
        (
            BEFORE.to_owned(),
            word(AFTER, "cron.service loaded active running", "cron.service loaded failed failed"),
            "units/cron.service/active",
            "has failed",
        ),
        (
            BEFORE.to_owned(),
            word(AFTER, "rc-local.service loaded inactive dead", "rc-local.service loaded failed failed"),
            "units/rc-local.service/active",
            "was inactive and has failed",
        ),
        (
            word(BEFORE, &format!("{sysctl}1"), &format!("{sysctl}0")),
            AFTER.to_owned(),
            "sysctl/net.ipv4.ip_forward",
            "no file in sysctl.d sets it",
        ),
        (
            BEFORE.to_owned(),
            word(AFTER, "/proc/modules:br_netfilter ", "/proc/modules:x "),
            "modules/br_netfilter",
            "modules-load.d",
        ),
        (
            BEFORE.to_owned(),
            word(AFTER, "/proc/sys/kernel/hostname:askari", "/proc/sys/kernel/hostname:localhost"),
            "system/hostname",
            "/etc/hostname said \"askari\"",
        ),
        (
            BEFORE.to_owned(),
            word(
                AFTER,
                "hook forward priority filter; policy drop;\n\t\tcounter",
                "hook forward priority filter; policy accept;\n\t\tcounter",
            ),
            "nft/ip filter/FORWARD/policy",
            "was drop and is accept",
        ),
        (
            BEFORE.to_owned(),
            word(AFTER, "\t\tfib daddr type local counter jump DOCKER\n", ""),
            "nft/ip nat/PREROUTING/rules/fib daddr type local counter jump DOCKER",
            "has lost a rule",
        ),
        (
            BEFORE.to_owned(),
            word(
                AFTER,
                "\t\tcounter jump DOCKER-USER\n\t\tcounter jump DOCKER-ISOLATION-STAGE-1\n",
                "\t\tcounter jump DOCKER-ISOLATION-STAGE-1\n\t\tcounter jump DOCKER-USER\n",
            ),
            "nft/ip filter/FORWARD/rules/order",
            "another order",
        ),
        (
            BEFORE.to_owned(),
            word(AFTER, "\t\tcounter jump DOCKER-USER\n", "\t\tiifname \"eth9\" drop\n\t\tcounter jump DOCKER-USER\n"),
            "nft/ip filter/FORWARD/rules/iifname \"eth9\" drop",
            "new rule that refuses",
        ),
        (
            word(BEFORE, "\"restart\":\"unless-stopped\"", "\"restart\":\"no\""),
            word(AFTER, "\"state\":\"running\"", "\"state\":\"exited\""),
            "containers/reverse_proxy/state",
            "restart policy is `no`",
        ),
        (
            BEFORE.to_owned(),
            word(AFTER, "0.0.0.0:22 ", "127.0.0.1:22 "),
            "sockets/tcp 0.0.0.0:22",
            "the listener tcp 0.0.0.0:22 is gone",
        ),
        (
            word(
                BEFORE,
                "/proc/swaps:Filename",
                "/proc/1/mountinfo:99 29 0:77 / /data rw - ext4 /dev/vdc rw\n/proc/swaps:Filename",
            ),
            AFTER.to_owned(),
            "mounts//data",
            "/etc/fstab does not have it",
        ),
        (
            BEFORE.to_owned(),
            word(AFTER, "/etc/resolv.conf:nameserver 127.0.0.53", "/etc/resolv.conf:nameserver 192.0.2.1"),
            "resolv/nameserver/127.0.0.53",
            "gone",
        ),
        (
            word(
                BEFORE,
                "[{\"dst\":\"default\"",
                "[{\"dst\":\"198.51.100.0/24\",\"gateway\":\"10.213.77.1\",\"dev\":\"enp0s2\",\"flags\":[]},{\"dst\":\"default\"",
            ),
            AFTER.to_owned(),
            "routes/main/198.51.100.0/24 dev enp0s2",
            "it was added by hand",
        ),
        (
            word(
                BEFORE,
                "\"addr_info\":[{\"family\":\"inet\",\"local\":\"10.213.77.10\"",
                "\"addr_info\":[{\"family\":\"inet\",\"local\":\"10.9.9.9\",\"prefixlen\":32,\"scope\":\"global\"},{\"family\":\"inet\",\"local\":\"10.213.77.10\"",
            ),
            AFTER.to_owned(),
            "addresses/enp0s2/10.9.9.9/32",
            "gone",
        ),
    ] {
        let mut now = read(&after);
        excuse(&mut now);
        let findings = Diff::between(&read(&before), &now).findings(&[]);
        let found = findings.iter().find(|finding| finding.id == id);
        let found = found.unwrap_or_else(|| panic!("{id} is not among {findings:?}"));
        assert!(found.what.contains(why), "{id}: {}", found.what);
    }
}

#[test]
fn a_container_that_is_gone_is_one_finding_and_not_one_for_each_of_its_parts() {
    let start = AFTER.find("{\"name\":\"/reverse_proxy\"").unwrap();
    let end = start + AFTER[start..].find('\n').unwrap();
    let after = format!("{}{}", &AFTER[..start], &AFTER[end..]);
    let ids: Vec<_> = lost(BEFORE, &after).into_iter().filter(|id| id.starts_with("containers")).collect();
    assert_eq!(ids, ["containers/reverse_proxy"]);
}

#[test]
fn a_guest_without_docker_or_nft_is_looked_at_and_losing_them_is_one_finding() {
    let cut = |look: &str, name: &str, why: &str| {
        let start = look.find(&format!("\x1e{name}\n")).unwrap();
        let end = look[start + 1..].find('\x1e').map_or(look.len(), |at| start + 1 + at);
        format!("{}\x1e{name}\n\n\x1fabsent {why}\n{}", &look[..start], &look[end..])
    };
    let without = |look: &str| cut(&cut(look, "nft", "no nft program"), "docker-networks", "no docker program");
    assert_eq!(lost(&without(BEFORE), &without(AFTER)), Vec::<String>::new());
    assert_eq!(lost(BEFORE, &without(AFTER)), ["docker-networks", "nft"]);
}

#[test]
fn the_allow_list_takes_a_finding_away_and_tells_what_it_did_not_need() {
    let allow =
        |id: &str| crate::allowed::AllowedLoss { id: id.into(), why: "meant".into(), until: None, ticket: None };
    let after = read(&but(AFTER, "0.0.0.0:22 ", "127.0.0.1:22 "));
    let judged = Diff::between(&read(BEFORE), &after).judge(&[
        allow("sockets/tcp *:22"),
        allow("units/*/active"),
        allow("nft/*"),
    ]);
    assert_eq!(judged.findings, []);
    let allowed: Vec<_> = judged.allowed.iter().map(|(finding, why)| (finding.id.as_str(), why.as_str())).collect();
    assert!(allowed.contains(&("sockets/tcp 0.0.0.0:22", "meant")), "{allowed:?}");
    assert_eq!(judged.unused, ["nft/*"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_fact_of_a_real_state_that_goes_is_told(pick in any::<prop::sample::Index>()) {
        let before = read(BEFORE);
        let all: Vec<_> = before.sections.iter().flat_map(|(section, observed)| match observed {
            Observed::Facts(facts) => facts.keys().map(|key| (*section, key.clone())).collect(),
            _ => Vec::new(),
        }).collect();
        let (section, key) = &all[pick.index(all.len())];
        let mut after = before.clone();
        let Some(Observed::Facts(facts)) = after.sections.get_mut(section) else { unreachable!() };
        facts.remove(key);
        let diff = Diff::between(&before, &after);
        prop_assert_eq!(diff.changes.len(), 1);
        prop_assert_eq!(diff.changes[0].id(), format!("{section}/{key}"));
        prop_assert!(Diff::between(&before, &before).is_empty());
    }
}
