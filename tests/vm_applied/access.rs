//! Guests whose way in is gone, or is another, after a reboot: named in seconds, in the guest's own words.

use crate::applied::{Applied, applied};

/// The failure of the last command, from its record.
pub(crate) fn failure(vm: &Applied) -> String {
    let result = vm.lane.result();
    let chain = result["failure"]["chain"].as_array().unwrap().clone();
    chain.iter().map(|part| part.as_str().unwrap().to_owned()).collect::<Vec<_>>().join(": ")
}

/// A reboot after which nothing can log in: red, and known soon after the boot has settled.
fn cannot_be_reached(vm: &Applied, cause: &str) {
    let since = vm.last_event();
    vm.boma(&["reboot", "askari", "--via", "acpi", "--timeout", "900"]).exits(6);
    // The restart itself has shown all that this mode shows: otherwise no login would have been waited for.
    let events = vm.events(since).into_iter().map(|event| event["kind"].as_str().unwrap().to_owned());
    let shown: Vec<_> = events.filter(|kind| ["POWERDOWN", "SHUTDOWN", "RESET"].contains(&kind.as_str())).collect();
    assert_eq!(shown[..3], ["POWERDOWN", "SHUTDOWN", "RESET"]);
    let said = failure(vm);
    assert!(said.contains(&format!("cannot be reached: {cause}")), "{said}");
    let (_, after) = said.split_once("seen over the console ").unwrap();
    let seconds: f64 = after.split_once('s').unwrap().0.parse().unwrap();
    eprintln!("known {seconds} s after the boot had settled");
    assert!(seconds <= 20.0, "{said}");
}

#[test]
fn a_broken_sshd_is_said_to_be_the_cause_and_the_guest_is_asked_over_its_console() {
    let vm = applied();
    vm.trim();
    // Root has no password to come in by either.
    vm.root("echo 'Nonsense yes' >/etc/ssh/sshd_config.d/10-nonsense.conf; passwd --quiet --lock root");
    cannot_be_reached(&vm, "ssh.service failed (exit-code): /etc/ssh/sshd_config.d/10-nonsense.conf");
    assert!(vm.lane.evidence("guest/failed-units.txt").contains("[exit"), "asked over the console");
    assert!(vm.lane.evidence("guest/nft.txt").contains("[exit 0]"));
}

/// The host's own firewall lets port 22 in, and no other.
#[test]
#[ignore = "a boot: make soak"]
fn a_port_that_the_hosts_own_filter_does_not_let_through_is_named() {
    let vm = applied();
    vm.trim();
    vm.root("echo 'Port 2222' >/etc/ssh/sshd_config.d/10-port.conf; sync");
    cannot_be_reached(&vm, "sshd listens on 2222 now, not on 22, and nothing reaches it");
}

#[test]
#[ignore = "a boot: make soak"]
fn an_address_that_is_another_after_the_reboot_is_named() {
    let vm = applied();
    vm.root(
        "rm /etc/netplan/*; printf 'network: {version: 2, ethernets: {lan: {match: {name: \"en*\"}, dhcp4: false, addresses: [10.213.77.50/24]}}}' >/etc/netplan/90-static.yaml
         chmod 600 /etc/netplan/90-static.yaml; echo 'network: {config: disabled}' >/etc/cloud/cloud.cfg.d/99-no-network.cfg",
    );
    cannot_be_reached(&vm, "its address is 10.213.77.50/24");
}

/// A machine that does not stay up has not come back, however well it looks in between.
#[test]
#[ignore = "two boots: make soak"]
fn a_guest_that_restarts_by_itself_after_it_has_settled_is_red() {
    let vm = applied();
    vm.root(
        "printf '[Service]\nType=exec\nExecStart=/bin/sh -c \"until systemctl is-system-running --quiet; do sleep 1; done; sleep 20; reboot\"\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/restless.service
         systemctl enable --quiet restless.service",
    );
    vm.boma(&["reboot", "askari", "--timeout", "900"]).exits(6);
    let said = failure(&vm);
    assert!(said.contains("restarted") && said.contains("RESET guest-reset"), "{said}");
}
