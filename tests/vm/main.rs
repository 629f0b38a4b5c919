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
mod package;
mod scenarios;
mod secrets;
mod stop;
mod strangers;
mod templates;
mod upgrade;

use lane::{HostState, Lane, User};
use nix::sys::signal::{Signal, kill as signal};
use nix::unistd::Pid;
use std::process::{Child, Stdio};

/// A reader of the journal that goes on reading.
fn follow(lane: &Lane) -> Child {
    lane.command(&["events", "askari", "--follow"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn ctrl_c_and_a_killed_run_on_the_hosts_own_network_leave_a_vm_that_prune_removes() {
    let lane = Lane::new(User::Caller);
    let before = HostState::now();
    let cycle = ["cycle", "askari", "--net", "host"];
    let stopped = lane.boma_signalled(&cycle, "boot ...", "-INT");
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

    lane.boma_signalled(&cycle, "boot ...", "-KILL");
    lane.boma(&["status"]).exits(0).says(&["askari: running"]);
    assert!(HostState::now().links.contains("boma-it"), "the bridge is on the host");
    lane.boma(&["reset", "askari"]).exits(2).says(&["no snapshot", "boma-qemu apply"]);
    // Whoever started it is gone; the guest boots on, and the host's network serves it.
    lane.boma(&["wait", "askari", "lease", "--timeout", "900"]).exits(0);
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
