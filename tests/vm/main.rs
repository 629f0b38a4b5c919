//! The real thing: a real Debian 13 guest, real Docker, the real Ansible, a real reboot. Red must be red,
//! green must be green, and the host must be as it was.
//!
//! One machine at a time: run with `--test-threads=1`. Needs what `.ci/install` installs and the
//! fixture's `.venv` (`make venv`); builds the golden image if there is none.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so best by failing")]

mod clean;
mod hundred;
mod kill;
mod kill_booted;
#[allow(dead_code, reason = "shared with vm_applied, which uses other parts")]
mod lane;
mod secrets;
mod stop;

use camino::Utf8Path;
use lane::{HostState, Lane, User};
use nix::sys::signal::{Signal, kill as signal};
use nix::unistd::Pid;
use std::process::{Child, Stdio};

#[test]
#[ignore = "prove's red case as a run of its own: make soak"]
fn a_red_cycle_fails_after_the_reboot_keeps_the_vm_and_prune_leaves_nothing() {
    let lane = Lane::new(User::Caller);
    let before = HostState::now();
    let run = lane.boma(&["cycle", "askari", "-e", "@overrides/askari.red.yml", "-e", SHORT]);
    run.exits(6);
    run.says(&["FAILED", "published_port_answers", "boma-qemu down askari"]);
    red_is_explained(&lane.dir.join("runs/latest"));

    // The VM was kept, and can be looked at.
    lane.boma(&["ssh", "askari", "--", "systemctl is-active docker"]).exits(0).says(&["active"]);
    lane.boma(&["qmp", "askari", "query-status"]).exits(0).says(&["running"]);
    lane.boma(&["cycle", "askari"]).exits(2).says(&["only one may run", "boma-qemu down askari"]);
    lane.boma(&["prune"]).exits(0);
    before.is_now();
    lane.is_empty();
}

/// What stays dead is waited for in vain: not longer than a live one may need.
const SHORT: &str = "verify__seconds=25";

/// The evidence of a red case says what it was.
fn red_is_explained(run: &Utf8Path) {
    let evidence = |name: &str| {
        let path = run.join(name);
        String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))).into_owned()
    };
    let result: serde_json::Value = serde_json::from_str(&evidence("result.json")).unwrap();
    assert_eq!(result["exit"], "verify");
    let ok = |run: usize, id: &str| {
        let checks = result["checks"][run]["checks"].as_array().unwrap().clone();
        checks.iter().find(|c| c["id"] == id).unwrap()["ok"].as_bool().unwrap()
    };
    assert!(ok(0, "published_port_answers"), "green before the reboot");
    assert!(!ok(1, "published_port_answers"), "red after it");
    assert!(ok(1, "docker_active"), "and Docker itself runs");
    let reboot = &result["reboot"];
    assert_ne!(reboot["boot_id_before"], reboot["boot_id_after"]);
    assert_eq!((&reboot["mode"], &reboot["proof"]), (&"guest".into(), &"reboot".into()));
    assert_eq!(
        (&reboot["evidence"][0]["kind"], &reboot["evidence"][0]["reason"]),
        (&"RESET".into(), &"guest-reset".into())
    );
    assert!(reboot["last_words"]["journal"].is_string() || reboot["last_words"]["console"].is_string());
    let rules = evidence("guest/nft.txt");
    assert!(rules.contains("hook forward") && rules.contains("policy drop"), "{rules}");
    assert!(evidence("console/boot-1.log").contains("reboot: Restarting system"));
    assert!(evidence("console/boot-2.log").contains("Linux version"));
    for name in ["guest/docker-ps.txt", "guest/failed-units.txt", "qemu-argv.txt", "events.ndjson", "ansible.log"] {
        assert!(!evidence(name).is_empty(), "{name} is empty");
    }
}

/// A reader of the journal that goes on reading.
fn follow(lane: &Lane) -> Child {
    lane.command(&["events", "askari", "--follow"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn ctrl_c_and_a_killed_run_leave_a_vm_that_prune_removes() {
    let lane = Lane::new(User::Caller);
    let before = HostState::now();
    let stopped = lane.boma_signalled(&["cycle", "askari"], "boot ...", "-INT");
    stopped.exits(130).says(&["stopped by the user", "boma-qemu down askari"]);
    assert_eq!(lane.result()["exit"], "interrupted");
    // The VM was kept. A monitor that is killed takes QEMU along, and what is left is prune's.
    lane.boma(&["cycle", "askari"]).exits(2).says(&["only one may run", "boma-qemu down askari"]);
    let reader = follow(&lane);
    lane.kill_monitor();
    let read = reader.wait_with_output().unwrap();
    assert_eq!(read.status.code(), Some(4), "its reader is told: {read:?}");
    lane.boma(&["prune"]).exits(0).says(&["removed: VM of askari"]);
    lane.is_empty();

    lane.boma_signalled(&["cycle", "askari"], "boot ...", "-KILL");
    lane.boma(&["status"]).exits(0).says(&["askari: running"]);
    // A QEMU that is frozen is named in time, and is no obstacle; whoever reads the journal sees its end.
    let (reader, started) = (follow(&lane), lane.events("qemu-started"));
    let qemu = started.last().unwrap()["data"]["pid"].as_i64().unwrap();
    signal(Pid::from_raw(qemu.try_into().unwrap()), Signal::SIGSTOP).unwrap();
    let start = std::time::Instant::now();
    let frozen = lane.boma(&["qmp", "askari", "query-status", "--timeout", "1"]);
    frozen.exits(4).says(&["did not answer query-status within 1s", &format!("process {qemu}, is stopped (SIGSTOP)")]);
    assert!(start.elapsed().as_secs() < 3, "{:?}", start.elapsed());
    lane.boma(&["prune"]).exits(0).says(&["removed: VM of askari"]);
    let read = reader.wait_with_output().unwrap();
    assert!(read.status.success(), "{read:?}");
    assert!(String::from_utf8(read.stdout).unwrap().lines().last().unwrap().contains("\"kind\":\"qemu-exited\""));
    before.is_now();
    lane.is_empty();
}

#[test]
fn prove_sees_the_known_fault_and_passes_the_green_case_as_an_ordinary_user() {
    let lane = Lane::new(User::Ordinary);
    let before = HostState::now();
    // In namespaces of our own the host's links, filters, routes and settings do not change even for a moment.
    let run = before.stays_while(|| lane.boma(&["prove", "askari", "-e", SHORT]));
    run.exits(0);
    run.says(&["the red case", "the green case", "PROVED", "came back from its reboot", "nothing is lost"]);
    assert_eq!(lane.result()["state"]["judged"]["findings"], serde_json::json!([]));
    red_is_explained(&lane.first_run());
    before.is_now();
    lane.is_empty();
}
