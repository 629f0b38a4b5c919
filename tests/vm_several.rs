//! Several machines at once, with the smallest guest there is: a boot sector that halts. It never asks for an address, so a
//! `cycle` of it ends when its time is over, with 4; what is shown is who runs beside whom, and what is left.
//!
//! Needs what the tests in `vm` need.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so best by failing")]

#[path = "vm/lane.rs"]
#[allow(dead_code, reason = "shared with others, which use other parts")]
mod lane;

use lane::{HostState, Lane, User};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A project, of which nothing is left running when a test has failed.
struct Project(Lane);

impl std::ops::Deref for Project {
    type Target = Lane;
    fn deref(&self) -> &Lane {
        &self.0
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        for state in ["s", "s-a", "s-b"].into_iter().filter(|_| std::thread::panicking()) {
            drop(self.command(&["prune", "--all"]).env("BOMA_STATE", self.dir.join(state)).status());
        }
    }
}

/// A project whose hosts are such machines with so much memory.
fn project(mem_mib: u64) -> Project {
    let lane = Lane::new(User::Caller);
    // cli; hlt; jmp back to it
    let mut disk = vec![0xfa, 0xf4, 0xeb, 0xfc];
    disk.resize(510, 0);
    disk.extend([0x55, 0xaa]);
    disk.resize(1 << 20, 0);
    std::fs::write(lane.dir.join("tiny.img"), disk).unwrap();
    let text = std::fs::read_to_string(lane.dir.join("profiles/askari.json")).unwrap();
    let text = text.replace("\"mem_mib\": 3072", &format!("\"mem_mib\": {mem_mib}"));
    for host in ["askari", "ubongo"] {
        std::fs::write(lane.dir.join(format!("profiles/{host}.json")), &text).unwrap();
    }
    Project(lane)
}

/// More than half of what there is: two of them do not fit.
fn most() -> u64 {
    host::memory::available().unwrap().0 * 6 / 10
}

/// `cycle`, with what others promise in a folder of the test's own.
fn cycle(lane: &Lane, hosts: &str, timeout: &str, more: &[&str]) -> Command {
    let args = ["cycle", hosts, "--image", "tiny.img", "--timeout", timeout, "--min-free-mib", "0", "--accel", "tcg"];
    let mut command = lane.command(&[&args, more].concat());
    command.env("BOMA_PROMISES", lane.dir.join("promises")).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The same with a state and evidence of its own, as another user or checkout has.
fn apart(lane: &Lane, name: &str, timeout: &str, more: &[&str]) -> Command {
    let mut command = cycle(lane, "askari", timeout, &[more, &["--remove"]].concat());
    command.env("BOMA_STATE", lane.dir.join(format!("s-{name}")));
    command.env("BOMA_RUNS", lane.dir.join(format!("runs-{name}")));
    command
}

fn end(child: Child) -> (i32, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = [stderr, stdout].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    eprintln!("{text}");
    (status.code().unwrap_or(-1), text)
}

/// From when to when QEMU ran at least, on the host's monotonic clock.
fn ran(run: &camino::Utf8Path) -> (f64, f64) {
    let text = std::fs::read_to_string(run.join("events.ndjson")).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let at = |kind: &str| {
        let event =
            events.iter().find(|event| event["kind"] == kind).unwrap_or_else(|| panic!("{kind} is not in {text}"));
        event["mono"].as_f64().unwrap()
    };
    // Such a machine says nothing more: it ran at least until its boot was given up.
    let result: Value = serde_json::from_str(&std::fs::read_to_string(run.join("result.json")).unwrap()).unwrap();
    let phases = result["phases"].as_array().unwrap();
    let boot = phases.iter().find(|phase| phase["name"] == "boot").unwrap()["seconds"].as_f64().unwrap();
    (at("qemu-started"), at("qemu-started") + boot - 1.0)
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(180), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn promises(lane: &Lane) -> usize {
    lane.dir.join("promises").read_dir_utf8().map_or(0, Iterator::count)
}

#[test]
#[ignore = "three boots that end by their time; a part of make soak"]
fn of_two_cycles_that_start_in_the_same_second_where_one_fits_the_other_is_refused_or_waits() {
    let lane = project(most());
    let before = HostState::now();
    let both = |more: &[&str]| {
        let [a, b] = ["a", "b"].map(|name| apart(&lane, name, "12", more).spawn().unwrap());
        [end(a), end(b)]
    };
    let mut refused = both(&[]);
    refused.sort_by_key(|(code, _)| *code);
    let [(first, why), (second, booted)] = &refused;
    assert_eq!((first, second), (&3, &4), "one is refused, the other boots and gets no address");
    for words in ["beside what is promised", "`boma-it-askari-", "--wait"] {
        assert!(why.contains(words), "{words}: {why}");
    }
    assert!(booted.contains("no DHCP lease") || booted.contains("lease"), "{booted}");

    let waited = both(&["--wait"]);
    assert_eq!(waited.each_ref().map(|(code, _)| *code), [4, 4]);
    assert_eq!(waited.iter().filter(|(_, text)| text.contains("waiting for memory: `boma-it-askari-")).count(), 1);
    let [a, b] = ["a", "b"].map(|name| ran(&lane.dir.join(format!("runs-{name}/latest"))));
    assert!(a.1 <= b.0 || b.1 <= a.0, "they ran one after the other: {a:?} {b:?}");
    assert_eq!(promises(&lane), 0);
    before.is_now();
}

#[test]
#[ignore = "two boots that end by their time; a part of make soak"]
fn several_hosts_run_side_by_side_each_with_its_evidence_and_one_report() {
    let lane = project(512);
    let before = HostState::now();
    let child = cycle(&lane, "askari,ubongo", "25", &["--jobs", "2", "--json"]).spawn().unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    eprintln!("{said}");
    assert_eq!(out.status.code(), Some(4), "the worst of both");
    let events: Vec<Value> =
        String::from_utf8(out.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for host in ["askari", "ubongo"] {
        let phases = events.iter().filter(|event| event["run"] == host && event["event"] == "phase-end");
        assert!(phases.clone().any(|event| event["phase"] == "boot" && event["ok"] == false), "{host}");
        assert!(said.contains(&format!("{host}: boot ...")), "each line has its host before it");
    }
    let all = events.last().unwrap();
    assert_eq!((&all["event"], &all["several"]["code"]), (&"several".into(), &4.into()));
    let rows = all["several"]["rows"].as_array().unwrap();
    let runs: Vec<_> = rows.iter().map(|row| camino::Utf8PathBuf::from(row["run"].as_str().unwrap())).collect();
    assert_eq!(rows.iter().map(|row| &row["host"]).collect::<Vec<_>>(), ["askari", "ubongo"]);
    assert!(runs.iter().all(|run| run.join("report.html").exists() && run.join("result.json").exists()));
    let report = std::fs::read_to_string(all["report"].as_str().unwrap()).unwrap();
    assert!(
        runs.iter().all(|run| report.contains(&format!("../{}/report.html", run.file_name().unwrap()))),
        "{report}"
    );
    let [a, b] = [ran(&runs[0]), ran(&runs[1])];
    assert!(a.0 < b.1 && b.0 < a.1, "they ran at the same time: {a:?} {b:?}");
    before.is_now();
    lane.is_empty();
    assert_eq!(promises(&lane), 0);
}

/// A run of both hosts that is up to where both machines run.
fn both_up(lane: &Lane) -> Child {
    let child = cycle(lane, "askari,ubongo", "600", &["--jobs", "2"]).spawn().unwrap();
    for path in ["s/lanes/1/vms/askari/ctl.sock", "s/lanes/2/vms/ubongo/ctl.sock"] {
        wait_for(path, || lane.dir.join(path).exists());
    }
    child
}

#[test]
#[ignore = "four boots; a part of make soak"]
fn whoever_stops_several_runs_ends_all_of_them_and_whoever_kills_them_leaves_them_to_prune() {
    let lane = project(512);
    let before = HostState::now();
    let child = both_up(&lane);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let (code, said) = end(child);
    assert_eq!(code, 130);
    assert!(said.contains("0 of 2 runs passed (exit 130)"), "{said}");
    lane.is_empty();

    let mut child = both_up(&lane);
    let boma = |args: &[&str]| lane.boma(args);
    // While they are at work, each of them is where its host's commands look for it, and nobody else's to change.
    boma(&["status"]).exits(0).says(&["askari: running", "ubongo: running"]);
    boma(&["qmp", "ubongo", "query-status"]).exits(0);
    boma(&["down", "ubongo"]).exits(2).says(&["another run is at work"]);
    child.kill().unwrap();
    child.wait().unwrap();
    let runs = |host: &str| {
        let line = format!("^{0}/boma-qemu --root {0} --json cycle {host}", lane.dir);
        !Command::new("pgrep").args(["-f", &line]).output().unwrap().stdout.is_empty()
    };
    wait_for("the runs end with whoever has started them", || !runs("askari") && !runs("ubongo"));
    boma(&["cycle", "askari,ubongo"]).exits(2).says(&["the VM of askari is running already", "boma-qemu down askari"]);
    boma(&["down", "ubongo"]).exits(0).says(&["removed: VM of ubongo"]);
    boma(&["prune"]).exits(0).says(&["removed: VM of askari"]);
    before.is_now();
    lane.is_empty();
}
