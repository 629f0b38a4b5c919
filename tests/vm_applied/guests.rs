//! Guests that go wrong, and whatever waits for them: named at once, with the right exit code.

use crate::applied::{Applied, applied, signal};
use nix::sys::signal::Signal;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use vm::monitor::events::monotonic;

/// A command that goes on while the test does something else.
struct Going {
    child: Child,
}

/// How it ended.
struct Ended {
    code: Option<i32>,
    said: String,
    /// When it did, by the clock of the journal.
    at: f64,
}

impl Going {
    fn start(vm: &Applied, args: &[&str]) -> Self {
        let mut command = vm.lane.command(args);
        Self { child: command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap() }
    }

    fn end(self) -> Ended {
        let out = self.child.wait_with_output().unwrap();
        let at = monotonic();
        let said = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        eprintln!("{said}");
        Ended { code: out.status.code(), said, at }
    }
}

/// The length of the console log over time, as somebody sees it who has nothing to do with the monitor.
fn lengths(vm: &Applied, stop: &AtomicBool) -> Vec<(f64, u64)> {
    let log = vm.folder().join("console.log");
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        seen.push((monotonic(), std::fs::metadata(&log).unwrap().len()));
        std::thread::sleep(Duration::from_millis(10));
    }
    seen
}

/// Reset the machine and wait for what cannot come; how the waits ended, and the fatal events with the time from
/// their line's end in the log to each.
fn ended_by(vm: &Applied, waits: &[&str]) -> (Vec<Ended>, Vec<(serde_json::Value, f64)>) {
    let since = vm.last_event();
    let stop = AtomicBool::new(false);
    let (ended, lengths) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| lengths(vm, &stop));
        vm.boma(&["qmp", "askari", "system_reset"]).exits(0);
        vm.boma(&["wait", "askari", "event=boot", "--since", &since.to_string()]).exits(0);
        let going: Vec<_> =
            waits.iter().map(|wait| Going::start(vm, &["wait", "askari", wait, "--timeout", "900"])).collect();
        let ended = going.into_iter().map(Going::end).collect();
        stop.store(true, Ordering::Relaxed);
        (ended, watching.join().unwrap())
    });
    let fatal = vm.events(since).into_iter().filter(|event| event["data"]["fatal"] == true);
    let timed = |event: serde_json::Value| {
        let line_end = event["data"]["offset"].as_u64().unwrap() + event["data"]["line"].as_str().unwrap().len() as u64;
        let (at, _) = lengths.iter().find(|(_, length)| *length >= line_end).unwrap();
        let late = event["mono"].as_f64().unwrap() - at;
        (event, late)
    };
    (ended, fatal.map(timed).collect())
}

#[test]
fn a_guest_in_emergency_mode_is_told_within_two_seconds_of_its_line() {
    let vm = applied();
    let old = vm.root("cat /proc/sys/kernel/random/boot_id");
    // A mount that fails at once; a device that does not exist would be waited for.
    vm.root("echo 'tmpfs /srv/broken tmpfs size=nonsense 0 0' >>/etc/fstab; sync");
    let (ended, fatal) = ended_by(&vm, &["ssh", &format!("boot-id-changed={old}"), "settled", "console=login: $"]);
    let (first, late) = &fatal[0];
    eprintln!(
        "{late:.3} s from the line to the event, {:.3} s to the wait's end: {first}",
        ended[0].at - first["mono"].as_f64().unwrap()
    );
    assert_eq!(first["data"]["id"], "emergency-mode");
    assert!(*late < 2.0, "{late} s");
    for ended in &ended {
        assert_eq!(ended.code, Some(8), "{}", ended.said);
        assert!(ended.said.contains("the console says emergency-mode") && ended.said.contains("console's last lines"));
        // The prompt has to come after its line, and to answer.
        assert!(ended.at - first["mono"].as_f64().unwrap() < 5.0, "{}", ended.said);
    }
    // What begins to wait now knows it from the journal; and the check of the log agrees.
    let start = Instant::now();
    vm.boma(&["wait", "askari", "ssh"]).exits(8);
    assert!(start.elapsed() < Duration::from_secs(5));
    vm.boma(&["console", "askari", "--check"]).exits(8).says(&["fatal     emergency-mode", "local-fs-failed"]);
    // A machine that was brought back is not in emergency mode any more.
    vm.boma(&["reset", "askari"]).exits(0);
    vm.boma(&["wait", "askari", "ssh"]).exits(0);
    vm.is_fresh();
}

const PANICS: &str = "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n[Service]\nType=oneshot\n\
                      ExecStart=/bin/sh -c 'echo c >/proc/sysrq-trigger'\n[Install]\nWantedBy=sysinit.target\n";

#[test]
fn a_guest_that_panics_at_boot_and_stays_so_is_told_at_once() {
    let vm = applied();
    let old = vm.root("cat /proc/sys/kernel/random/boot_id");
    let unit = PANICS.replace('\n', "\\n").replace('\'', "\"");
    vm.root(&format!("printf '{unit}' >/etc/systemd/system/panics.service; systemctl enable panics; sync"));
    let (ended, fatal) = ended_by(&vm, &["ssh", &format!("boot-id-changed={old}")]);
    let ids: Vec<_> = fatal.iter().map(|(event, _)| event["data"]["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["kernel-panic", "panic-halt"]);
    assert!(fatal.iter().all(|(_, late)| *late < 2.0), "{fatal:?}");
    // So early there is no driver for the pvpanic device, which would tell QEMU: the console is all there is.
    let panicked = &fatal[0].0;
    for (ended, why) in ended.iter().zip(["kernel-panic", "panic-halt"]) {
        assert_eq!(ended.code, Some(8), "{}", ended.said);
        assert!(ended.said.contains(why), "{}", ended.said);
        // Its processors are looked at for four seconds.
        assert!(ended.at - panicked["mono"].as_f64().unwrap() < 8.0, "{}", ended.said);
    }
}

#[test]
fn a_qemu_that_is_killed_from_outside_ends_every_wait_within_a_second() {
    let vm = applied();
    let qemu = vm.qemu();
    let waits = ["event=RESET", "console=never said", "boot-id-changed", "settled"];
    let going: Vec<_> = waits[..3].iter().map(|wait| Going::start(&vm, &["wait", "askari", wait])).collect();
    // The third has to read the boot id first.
    vm.boma(&["wait", "askari", "settled"]).exits(0);
    let killed = monotonic();
    signal(qemu, Signal::SIGKILL);
    for ended in going.into_iter().map(Going::end) {
        assert_eq!(ended.code, Some(4), "{}", ended.said);
        assert!(ended.said.contains("QEMU has ended: signal: 9 (SIGKILL)"), "{}", ended.said);
        assert!(ended.at - killed < 1.0, "{:.3} s: {}", ended.at - killed, ended.said);
    }
    vm.boma(&["wait", "askari", "ssh"]).exits(4).says(&["QEMU has ended"]);
    vm.boma(&["qmp", "askari", "query-status"]).exits(4).says(&["QEMU is not running"]);
    vm.boma(&["fault", "askari", "link=down"]).exits(4).says(&["QEMU is not running"]);
}

#[test]
fn a_qmp_that_is_silent_is_told_within_the_time_that_was_given() {
    let vm = applied();
    let qemu = vm.qemu();
    signal(qemu, Signal::SIGSTOP);
    let start = Instant::now();
    vm.boma(&["qmp", "askari", "query-status", "--timeout", "2"]).exits(4).says(&[
        "did not answer query-status within 2s",
        &format!("process {qemu}, is stopped (SIGSTOP)"),
        "--timeout",
    ]);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    vm.boma(&["status"]).exits(0).says(&["askari: running"]);
    vm.boma(&["wait", "askari", "event=RESET", "--timeout", "1"]).exits(4).says(&["not within 1s"]);
    signal(qemu, Signal::SIGCONT);
    vm.boma(&["qmp", "askari", "query-status"]).exits(0).says(&["running"]);
}
