//! Who may have how much memory, through the program and without a machine: each run stops at the end of its preflight, where its
//! memory is promised and nothing is made yet.
//!
//! Needs the fixture's `.venv` (`make venv`).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so best by failing")]

#[path = "vm/lane.rs"]
#[allow(dead_code, reason = "shared with others, which use other parts")]
mod lane;
#[path = "vm/stop.rs"]
#[allow(dead_code, reason = "shared with others, which use other parts")]
mod stop;

use host::process::die_with_us;
use lane::{Lane, User};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;
use stop::Stop;

/// How long a preflight may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A project whose host takes more than half of the memory that there is: two of it do not fit.
fn project() -> Lane {
    let lane = Lane::new(User::Caller);
    let path = lane.dir.join("profiles/askari.json");
    let most = host::memory::available().unwrap().0 * 6 / 10;
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"mem_mib\": 3072", &format!("\"mem_mib\": {most}"))).unwrap();
    lane
}

/// A `cycle` with a state of its own, as another user or checkout has, which fails where it would need its image.
fn cycle(lane: &Lane, name: &str, stop: Option<&Stop>, more: &[&str]) -> Command {
    let args = ["cycle", "askari", "--image", "./none.img", "--min-free-mib", "0", "--accel", "tcg"];
    let mut command = lane.command(&[&args, more].concat());
    command
        .env("BOMA_STATE", lane.dir.join(format!("s-{name}")))
        .env("BOMA_RUNS", lane.dir.join(format!("runs-{name}")));
    command.env("BOMA_PROMISES", lane.dir.join("promises")).stdout(Stdio::null()).stderr(Stdio::piped());
    command.envs(stop.map(|stop| ("BOMA_FAILPOINT", &stop.folder)));
    // At its failpoint it would stand still for ever after a test that failed.
    die_with_us(&mut command);
    command
}

fn promises(lane: &Lane) -> usize {
    lane.dir.join("promises").read_dir_utf8().map_or(0, Iterator::count)
}

#[test]
fn of_two_runs_in_the_same_second_where_one_fits_the_other_is_refused_and_names_it() {
    let lane = project();
    let stops = ["a", "b"].map(|name| Stop::at(lane.dir.join(format!("stop-{name}")), "phase:preflight"));
    let mut runs =
        [("a", &stops[0]), ("b", &stops[1])].map(|(name, stop)| cycle(&lane, name, Some(stop), &[]).spawn().unwrap());
    // Both end their preflight; the one that failed in it stops there as well.
    let stopped = stops.each_ref().map(|stop| stop.wait(LIMIT, || false).unwrap());
    assert_eq!(promises(&lane), 1, "one of them has promised");
    stopped.into_iter().for_each(Stop::go_on);
    let mut ended = runs.each_mut().map(|run| {
        let mut text = String::new();
        run.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (run.wait().unwrap().code().unwrap(), text)
    });
    ended.sort_by_key(|(code, _)| *code);
    let [(first, _), (second, why)] = &ended;
    assert_eq!((first, second), (&2, &3), "{ended:?}");
    for words in ["beside what is promised", "`boma-it-askari-", "wait for them with --wait"] {
        assert!(why.contains(words), "{words}: {why}");
    }
    assert_eq!(promises(&lane), 0, "nothing is left of either");
}

#[test]
fn a_run_that_waits_takes_its_turn_when_the_other_was_killed_and_one_that_is_stopped_leaves_the_queue() {
    let lane = project();
    let stop = Stop::at(lane.dir.join("stop-a"), "phase:preflight");
    let mut first = cycle(&lane, "a", Some(&stop), &[]).spawn().unwrap();
    stop.wait(LIMIT, || false).unwrap();
    let waiting = |name: &str| {
        let mut child = cycle(&lane, name, None, &["--wait"]).spawn().unwrap();
        let (mut said, mut text) = (BufReader::new(child.stderr.take().unwrap()), String::new());
        while !text.contains("waiting for memory: `boma-it-askari-") {
            assert!(said.read_line(&mut text).unwrap() > 0, "it ended: {text}");
        }
        (child, said, text)
    };
    let (mut second, mut said, mut text) = waiting("b");
    let (mut third, mut rest, mut last) = waiting("c");
    assert!(last.contains("waits for"), "it stands behind the one that waits already: {last}");
    assert_eq!(promises(&lane), 3);
    // Whoever stops a run that waits has it end at once.
    kill(Pid::from_raw(third.id().cast_signed()), Signal::SIGINT).unwrap();
    rest.read_to_string(&mut last).unwrap();
    assert_eq!(third.wait().unwrap().code(), Some(130), "{last}");
    assert_eq!(promises(&lane), 2);
    assert!(second.try_wait().unwrap().is_none());
    // The kernel ends the promise of a process that was killed, even of one that stands still.
    first.kill().unwrap();
    first.wait().unwrap();
    said.read_to_string(&mut text).unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(2), "its turn came, and then it had no image: {text}");
    assert!(text.contains("preflight  ok"), "{text}");
    assert_eq!(promises(&lane), 0);
}
