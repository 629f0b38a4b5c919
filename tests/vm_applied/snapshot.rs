//! `reset`: back to the snapshot, from every state, and never a reboot.

use crate::applied::{Applied, applied, signal, until};
use nix::sys::signal::Signal;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bring it back, and see that it is the very machine.
fn comes_back(vm: &Applied) {
    let (since, snapshot) = (vm.last_event(), snapshot(vm));
    let ran = vm.boma(&["reset", "askari", "--json"]);
    let line = ran.exits(0).out().lines().find(|line| line.contains("\"event\":\"restore\"")).unwrap();
    let restore = serde_json::from_str::<serde_json::Value>(line).unwrap()["restore"].clone();
    assert_eq!(restore["boot_id"], snapshot["boot_id"]);
    assert_eq!(restore["nonce"], snapshot["nonce"]);
    assert_eq!(restore["qemu_pid"], vm.qemu());
    // The guest's own word, asked by another command.
    let said = vm.root("cat /proc/sys/kernel/random/boot_id /run/boma-it.nonce");
    let mut said = said.lines();
    assert_eq!(said.next(), snapshot["boot_id"].as_str());
    assert_eq!(said.next(), snapshot["nonce"].as_str());
    let since_restore = vm.events(restore["seq"].as_u64().unwrap());
    let restarts = since_restore.iter().filter(|event| ["RESET", "boot"].contains(&event["kind"].as_str().unwrap()));
    assert_eq!(restarts.count(), 0);
    assert!(vm.events(since).iter().any(|event| event["kind"] == "restore" && event["data"]["snapshot"] == "applied"));
    vm.is_fresh();
}

fn description(vm: &Applied) -> camino::Utf8PathBuf {
    vm.folder().join("snapshots/applied/taken.json")
}

fn snapshot(vm: &Applied) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(description(vm)).unwrap()).unwrap()
}

#[test]
fn what_happened_since_the_snapshot_never_happened() {
    let vm = applied();
    let failed = vm.root("systemctl list-units --failed --plain --no-legend");
    vm.root("echo x >/root/after; echo x >/run/after; hostname changed; rm -rf /etc/nftables.d /var/lib/dpkg; sync");
    vm.root("systemd-run --quiet --unit=stays sleep 1000; systemctl is-active stays");
    comes_back(&vm);
    let left =
        "ls /root/after /run/after 2>/dev/null; hostname; ls -d /var/lib/dpkg; systemctl is-active stays || true";
    assert_eq!(vm.root(left), "askari\n/var/lib/dpkg\ninactive");
    assert_eq!(vm.root("systemctl list-units --failed --plain --no-legend"), failed);
}

/// DHCPRELEASE (RFC 2131), by hand: no client of the guest sends it on demand.
const RELEASE: &str = "python3 - <<END
import socket
mac = bytes.fromhex(open(\"/sys/class/net/enp0s2/address\").read().strip().replace(\":\", \"\"))
ip, server = map(socket.inet_aton, (\"10.213.77.10\", \"10.213.77.1\"))
packet = bytes([1, 1, 6, 0]) + b\"boma\" + bytes(4) + ip + bytes(12) + mac.ljust(16, bytes(1)) + bytes(192)
packet += bytes.fromhex(\"63825363\") + bytes([53, 1, 7, 54, 4]) + server + bytes([61, 7, 1]) + mac + bytes([255])
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
out.bind((\"10.213.77.10\", 68))
out.sendto(packet, (\"10.213.77.1\", 67))
END";

#[test]
fn the_clock_is_right_again_and_the_lease_is_back() {
    let vm = applied();
    let leases = || std::fs::read_to_string(vm.lane.dir.join("s/net/boma-it/leases")).unwrap_or_default();
    let address = "10.213.77.10";
    assert!(leases().contains(address));
    // The guest gives its lease back and stands still: nobody can renew it but a restored guest.
    vm.root(RELEASE);
    until(Duration::from_secs(60), || match leases() {
        left if left.contains(address) => Err(format!("the lease is still there: {left}")),
        _ => Ok(()),
    });
    vm.boma(&["qmp", "askari", "stop"]).exits(0);
    comes_back(&vm);
    assert!(leases().contains(address), "{:?}", leases());
    let guest: f64 = vm.root("date +%s.%N").parse().unwrap();
    let host = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((guest - host).abs() < 3.0, "the guest's clock is {:.1} s off", guest - host);
}

#[test]
fn a_paused_machine_comes_back() {
    let vm = applied();
    vm.boma(&["qmp", "askari", "stop"]).exits(0);
    comes_back(&vm);
}

#[test]
fn a_machine_without_qemu_comes_back() {
    let vm = applied();
    signal(vm.qemu(), Signal::SIGKILL);
    comes_back(&vm);
}

#[test]
fn a_frozen_qemu_is_no_obstacle() {
    let vm = applied();
    signal(vm.qemu(), Signal::SIGSTOP);
    comes_back(&vm);
}

#[test]
fn a_machine_in_the_middle_of_a_boot_comes_back() {
    let vm = applied();
    vm.boma(&["qmp", "askari", "system_reset"]).exits(0);
    comes_back(&vm);
}

#[test]
fn a_panicked_machine_comes_back() {
    let vm = applied();
    vm.root("(sleep 1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &");
    let panicked = || vm.events(0).iter().any(|event| event["kind"] == "GUEST_PANICKED");
    until(Duration::from_secs(60), || panicked().then_some(()).ok_or_else(|| "no panic".into()));
    comes_back(&vm);
}

#[test]
fn a_machine_that_was_switched_off_comes_back() {
    let vm = applied();
    vm.root("systemctl --no-block poweroff");
    vm.until_state("shutdown");
    comes_back(&vm);
}

#[test]
fn a_guest_that_stands_still_comes_back() {
    let vm = applied();
    vm.root("(sleep 1; kill -STOP -1) >/dev/null 2>&1 &");
    comes_back(&vm);
}

#[test]
fn a_snapshot_that_is_damaged_is_an_error_with_a_next_step_and_not_a_boot() {
    let vm = applied();
    let path = description(&vm);
    let whole = std::fs::read_to_string(&path).unwrap();
    let mut other: serde_json::Value = serde_json::from_str(&whole).unwrap();
    other["nonce"] = "0".repeat(32).into();
    std::fs::write(&path, other.to_string()).unwrap();
    vm.boma(&["reset", "askari"]).exits(4).says(&["not the snapshot's machine", "nonce", "boma-qemu down"]);
    // One that is described and not there.
    let nosuch = vm.folder().join("snapshots/nosuch");
    let copied =
        std::process::Command::new("cp").args(["-a", path.parent().unwrap().as_str(), nosuch.as_str()]).status();
    assert!(copied.unwrap().success());
    other["name"] = "nosuch".into();
    std::fs::write(nosuch.join("taken.json"), other.to_string()).unwrap();
    let reset = vm.boma(&["reset", "askari", "--to", "nosuch"]);
    reset.exits(4).says(&["cannot go on from what was saved", "nosuch", "boma-qemu down"]);
    std::fs::remove_dir_all(&nosuch).unwrap();
    assert!(!vm.events(vm.last_event() - 3).iter().any(|event| event["kind"] == "boot"));
    std::fs::write(&path, whole).unwrap();
    comes_back(&vm);
}

/// The snapshots of the VM: their names, and what each comes from.
fn tree(vm: &Applied) -> Vec<(String, Option<String>)> {
    let ran = vm.boma(&["snapshots", "askari", "--json"]);
    let lines = ran.exits(0).out().lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let each = lines.map(|line| (text(&line["snapshot"]["name"]).unwrap(), text(&line["snapshot"]["from"]["name"])));
    each.collect()
}

#[test]
fn snapshots_by_name_are_a_tree_and_each_is_what_it_was_taken_of() {
    let vm = applied();
    let there = || vm.root("ls /run/seen-* 2>/dev/null || true");
    vm.root("touch /run/seen-a");
    vm.boma(&["snapshot", "askari", "a"]).exits(0);
    vm.root("touch /run/seen-b");
    vm.boma(&["snapshot", "askari", "b"]).exits(0);
    vm.boma(&["reset", "askari", "--to", "a"]).exits(0);
    assert_eq!(there(), "/run/seen-a");
    assert!(vm.lane.result()["reboot"].is_null(), "a restore is no reboot");
    vm.boma(&["snapshot", "askari", "a"]).exits(2).says(&["there is a snapshot a already", "--drop a"]);
    vm.boma(&["snapshot", "askari", "applied"]).exits(2).says(&["the one that `apply` takes"]);
    let from = |name: &str| Some(name.to_owned());
    assert_eq!(
        tree(&vm),
        [("applied".to_owned(), None), ("a".to_owned(), from("applied")), ("b".to_owned(), from("a"))]
    );
    vm.boma(&["snapshot", "askari", "--drop", "a"]).exits(0);
    vm.boma(&["reset", "askari", "--to", "a"]).exits(2).says(&["no snapshot a; it has applied, b"]);
    vm.boma(&["reset", "askari", "--to", "b"]).exits(0);
    assert_eq!(there(), "/run/seen-a\n/run/seen-b");
    vm.boma(&["snapshot", "askari", "--drop", "b"]).exits(0);
    vm.boma(&["reset", "askari"]).exits(0);
    assert_eq!(there(), "");
    vm.is_fresh();
}
