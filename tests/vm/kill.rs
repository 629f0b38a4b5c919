//! Kill anywhere: a run is taken to each point, one process is killed there, the others go on, and then `prune` must
//! leave the host as it was. No guest has to boot for it: QEMU is just switched on at the last of the points.
//!
//! The points of the network's own ledger are in the netns lane (`tests/netns/kill.rs`), those of a booted guest in
//! `kill_booted.rs`.

#![allow(clippy::print_stdout, reason = "its table is the result")]

use crate::lane::{HostState, Lane, User};
use crate::stop::{Stop, Victim};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a run may take to a point, on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_secs(240);

/// The points of a run until the machine is switched on, and of the removal of what is there then.
const MAKING: [&str; 11] = [
    "phase:preflight",
    "phase:image",
    "intent:folder/askari",
    "done:folder/askari",
    "intent:process/keeper of --ttl",
    "done:process/keeper of --ttl",
    "phase:prepare",
    "phase:network",
    "intent:process/monitor",
    "done:process/monitor",
    "phase:switched on",
];
const REMOVING: [&str; 6] = [
    "undoing:process/monitor",
    "undoing:process/keeper of --ttl",
    "undoing:folder/askari",
    "undone:process/monitor",
    "undone:process/keeper of --ttl",
    "undone:folder/askari",
];

#[test]
#[ignore = "every point and every victim, half an hour: make soak"]
fn whoever_is_killed_before_the_guest_boots_prune_leaves_nothing() {
    matrix(&Lane::new(User::Caller), &["--net", "namespace"]);
}

#[test]
#[ignore = "every point and every victim, half an hour: make soak"]
fn whoever_is_killed_before_the_guest_boots_prune_leaves_nothing_on_the_hosts_own_network() {
    matrix(&Lane::new(User::Caller), &["--net", "host"]);
}

#[test]
#[ignore = "every point and every victim, half an hour: make soak"]
fn whoever_is_killed_before_the_guest_boots_prune_leaves_nothing_of_an_ordinary_users() {
    matrix(&Lane::new(User::Ordinary), &["--net", "namespace"]);
}

fn matrix(lane: &Lane, options: &[&str]) {
    let site = Site { lane, options, before: HostState::now() };
    site.these_are_all_points();
    let mut rows = 0;
    for point in MAKING.into_iter().chain(REMOVING) {
        let start = rows;
        while site.row(point, rows - start) {
            rows += 1;
        }
        assert!(rows > start, "{point}");
    }
    println!("{options:?}: {} points, {rows} rows, all clean", MAKING.len() + REMOVING.len());
}

struct Site<'a> {
    lane: &'a Lane,
    options: &'a [&'a str],
    before: HostState,
}

impl Site<'_> {
    /// Go to a point and kill the `n`th of those who live there; `false` if there are not so many.
    fn row(&self, point: &str, n: usize) -> bool {
        let removes = REMOVING.contains(&point);
        if removes {
            // What is there to be removed: a machine that was switched on, whose command was killed.
            let (stop, mut up) = self.start("phase:switched on", &self.up());
            stop.wait(LIMIT, || ended(&mut up)).unwrap();
            up.kill().unwrap();
            up.wait().unwrap();
        }
        let (stop, mut command) = self.start(point, &if removes { vec!["prune"] } else { self.up() });
        let stopped = stop.wait(LIMIT, || ended(&mut command)).unwrap_or_else(|| panic!("{point} is not reached"));
        let victim = stop.victims(&self.lane.dir, command.id().cast_signed()).get(n).cloned();
        // Nobody waits for a boot that is of no interest: the command goes with the last victim.
        let goes_on = victim.is_some() && point != "phase:switched on";
        victim.iter().for_each(Victim::kill);
        if !goes_on {
            let _ = command.kill();
        }
        Stop::go_on(stopped);
        let out = if removes { command.wait_with_output().unwrap() } else { self.end(command) };
        let again = if n % 2 == 1 { self.a_new_start(point) } else { String::new() };
        let pruned = self.lane.quiet(&["prune"]);
        pruned.exits(0);
        self.before.is_now();
        self.lane.is_empty();
        let Some(Victim { name, .. }) = victim else { return false };
        println!("{point:<26} {name:<24} the command: {}{again}; prune: {}; clean", told(&out), pruned.out().trim());
        true
    }

    /// Nothing was added to a run since these points were written down; those of the network are its own matrix's.
    fn these_are_all_points(&self) {
        let (stop, mut up) = self.start("phase:switched on", &self.up());
        stop.wait(LIMIT, || ended(&mut up)).unwrap();
        let making = stop.reached();
        up.kill().unwrap();
        up.wait().unwrap();
        let (stop, prune) = self.start("", &["prune"]);
        assert!(prune.wait_with_output().unwrap().status.success());
        let at = |name: &str| making.iter().position(|point| point == name).unwrap();
        let mut own = [&making[..=at("phase:prepare")], &making[at("phase:network")..]].concat();
        // The preflight's folder has a drawn name, by which nobody can be stopped, and is removed before there is a machine.
        own.retain(|point| !point.contains(":folder/preflight-"));
        assert_eq!(own, MAKING);
        let ours = ["/monitor", "/keeper of --ttl", "/askari"];
        let removing = stop.reached().into_iter().filter(|point| ours.iter().any(|own| point.ends_with(own)));
        assert_eq!(removing.collect::<std::collections::HashSet<_>>(), REMOVING.map(str::to_owned).into());
    }

    fn up(&self) -> Vec<&str> {
        [&["up", "askari"], self.options].concat()
    }

    fn start(&self, point: &str, args: &[&str]) -> (Stop, Child) {
        let stop = Stop::at(self.lane.dir.join("stop"), point);
        let mut command = self.lane.command(args);
        command.env("BOMA_FAILPOINT", &stop.folder).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        (stop, child)
    }

    /// The command goes on until it would wait for the guest to boot.
    fn end(&self, mut command: Child) -> Output {
        let start = Instant::now();
        while !ended(&mut command) {
            assert!(start.elapsed() < LIMIT, "the command does not end");
            let boots = std::fs::read_to_string(self.lane.dir.join("s/vms/askari/events.ndjson")).unwrap_or_default();
            if boots.contains("qemu-started") {
                let _ = command.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        command.wait_with_output().unwrap()
    }

    /// A plain new `up`: it goes over what a dead run has left, and is refused by a machine that runs.
    fn a_new_start(&self, point: &str) -> String {
        let (stop, mut up) = self.start("phase:network", &self.up());
        let stopped = stop.wait(LIMIT, || ended(&mut up));
        let _ = up.kill();
        let out = up.wait_with_output().unwrap();
        match stopped {
            Some(_) => ", a new start works".into(),
            None => {
                assert_eq!(out.status.code(), Some(2), "{point}: {out:?}");
                assert!(String::from_utf8_lossy(&out.stderr).contains("only one may run"), "{point}: {out:?}");
                ", a new start is refused: the machine runs".into()
            }
        }
    }
}

fn ended(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_some()
}

fn told(out: &Output) -> String {
    let text = String::from_utf8_lossy(&out.stderr);
    let error = text.lines().find(|line| line.starts_with("error:")).unwrap_or_default();
    match out.status.code() {
        Some(code) => format!("exit {code} {error}"),
        None => "was killed".into(),
    }
}

#[test]
fn commands_that_come_while_a_run_is_at_work_are_refused_and_harm_nothing() {
    let lane = Lane::new(User::Caller);
    let site = Site { lane: &lane, options: &[], before: HostState::now() };
    // Two in the same moment: one of them gets the lock.
    let stop = Stop::at(lane.dir.join("stop"), "phase:network");
    let mut both = [(); 2].map(|()| {
        let mut command = lane.command(&["cycle", "askari"]);
        command.env("BOMA_FAILPOINT", &stop.folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    let stopped = stop.wait(LIMIT, || false).unwrap();
    let loser = usize::from(both[0].id().cast_signed() == stopped);
    let refused = both[loser].wait().unwrap();
    assert_eq!(refused.code(), Some(2));
    let mut said = String::new();
    std::io::Read::read_to_string(both[loser].stderr.as_mut().unwrap(), &mut said).unwrap();
    assert!(said.contains(&format!("another run is at work: `boma-qemu cycle askari`, pid {stopped}")), "{said}");

    // The winner is in the middle of its work.
    let at_work = format!("another run is at work: `boma-qemu cycle askari`, pid {stopped}");
    for args in [&["prune"][..], &["prune", "--all"], &["down", "askari"], &["up", "askari"], &["net", "down"]] {
        lane.boma(args).exits(2).says(&[&at_work, "wait for it to end"]);
    }
    lane.boma(&["status"]).exits(0);
    assert!(lane.dir.join("s/vms/askari/disk.qcow2").exists(), "its folder is still there");
    // It has not noticed. Killed, it is no obstacle.
    both[1 - loser].kill().unwrap();
    both[1 - loser].wait().unwrap();
    lane.boma(&["prune"]).exits(0).says(&["removed: VM of askari"]);
    site.before.is_now();
    lane.is_empty();
}

#[test]
fn a_run_that_is_killed_in_its_preflight_leaves_nothing_after_prune() {
    let lane = Lane::new(User::Caller);
    let scratch = || {
        let entries = lane.dir.join("s").read_dir_utf8().ok()?;
        entries.filter_map(Result::ok).find(|entry| entry.file_name().starts_with("preflight-"))
    };
    let mut up = lane.command(&["up", "askari"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while scratch().is_none() {
        assert!(start.elapsed() < LIMIT && !ended(&mut up));
        std::thread::sleep(Duration::from_millis(5));
    }
    up.kill().unwrap();
    up.wait().unwrap();
    assert!(scratch().is_some(), "it was killed in the middle");
    lane.boma(&["prune"]).exits(0);
    lane.is_empty();
}

#[test]
#[ignore = "a dozen starts: make soak"]
fn a_disk_that_is_full_at_any_file_of_a_run_is_said_and_leaves_nothing_after_prune() {
    let lane = Lane::new(User::Caller);
    let site = Site { lane: &lane, options: &[], before: HostState::now() };
    // From no byte at all to where the overlay is whole and QEMU was started.
    for bytes in (6..).map(|n| if n == 6 { 0 } else { 1_u64 << n }) {
        let full = ["-c", "trap '' XFSZ; exec \"$@\"", "sh", "prlimit", &format!("--fsize={bytes}")];
        let plain = lane.command(&["up", "askari"]);
        let mut up = std::process::Command::new("sh");
        up.args(full).arg(plain.get_program()).args(plain.get_args()).current_dir(&lane.dir);
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => up.env(name, value),
                None => up.env_remove(name),
            };
        }
        let up = up.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = site.end(up);
        println!("{bytes:>8} bytes: {}", told(&out));
        assert!(!out.status.success());
        lane.quiet(&["prune"]).exits(0);
        site.before.is_now();
        lane.is_empty();
        if out.status.code().is_none() {
            assert!(bytes > 1 << 10, "it has come that far without a disk");
            return;
        }
    }
}
