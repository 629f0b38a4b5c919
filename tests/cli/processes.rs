//! What a command starts, and what of it others can see.

use crate::project::Project;
use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A copy of the playbook repository whose vault is opened by this program.
fn repo_with(world: &Project, vault_password: &str) -> Utf8PathBuf {
    let repo = world.dir.join("repo");
    let fixture = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/boma");
    assert!(Command::new("cp").args(["-a", fixture.as_str(), repo.as_str()]).status().unwrap().success());
    std::fs::write(repo.join("bin/vault-password"), vault_password).unwrap();
    repo
}

/// The text of a file below /proc, with spaces for zeros.
fn proc(pid: u32, file: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()).replace('\0', " ")
}

fn descendants(pid: u32) -> Vec<u32> {
    let children = proc(pid, &format!("task/{pid}/children"));
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .flat_map(|pid| [vec![pid], descendants(pid)].concat())
        .collect()
}

/// What we start is not in the terminal's group, so a Ctrl-C there comes to us alone.
#[test]
fn one_interrupt_ends_what_runs_with_all_that_it_has_started() {
    let world = Project::new();
    // What it writes stays in the confinement; what it runs is seen.
    let program = "#!/bin/sh\nif (: </dev/tty); then exec sleep 78; fi\nexec sleep 77\n";
    let repo = repo_with(&world, program);
    let mut command = world.command(&["up", "askari", "--min-free-mib", "1", "--repo", repo.as_str()]);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let runs = |pid: u32, line: &str| proc(pid, "cmdline").trim_end() == line;
    while !descendants(child.id()).iter().any(|pid| runs(*pid, "sleep 77")) {
        assert!(!descendants(child.id()).iter().any(|pid| runs(*pid, "sleep 78")), "it has a terminal");
        assert!(start.elapsed().as_secs() < 60, "the vault is not opened");
        std::thread::sleep(Duration::from_millis(20));
    }
    let below = descendants(child.id());
    let group =
        |pid: u32| proc(pid, "stat").rsplit_once(')').and_then(|(_, rest)| Some(rest.split(' ').nth(3)?.to_owned()));
    assert!(below.iter().all(|pid| group(*pid) != group(child.id())), "a session of its own");
    let asked = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(asked.elapsed().as_secs() < 60, "{:?}", asked.elapsed());
    assert!(below.iter().all(|pid| !runs(*pid, "sleep 77")));
}

#[test]
fn a_token_given_with_e_is_not_in_the_plan_nor_in_the_process_list() {
    let world = Project::new();
    std::fs::write(world.dir.join("given.yml"), "deploy_token: tok-in-a-file\n").unwrap();
    let given = ["-e", "secret=tok-on-the-line", "-e", "{\"a\": {\"b\": \"tok-in-json\"}}", "-e", "@given.yml"];
    let tokens = ["tok-on-the-line", "tok-in-json", "tok-in-a-file", "tok-in-the-environment"];
    for json in [&[][..], &["--json"]] {
        let out = world.boma(&[&["plan", "askari"], &given[..], json].concat());
        let out = { out }.env("A_TOKEN", tokens[3]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        assert!(tokens.iter().all(|token| !said.contains(token)), "{said}");
    }
    // One that goes on for a while: the vault's password program takes its time.
    let repo = repo_with(&world, "#!/bin/sh\nsleep 30\n");
    let mut command = world.command(&["up", "askari", "--min-free-mib", "1", "--repo", repo.as_str()]);
    command.args(given).env("A_TOKEN", tokens[3]).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    let all = loop {
        let all = descendants(child.id());
        if all.iter().any(|pid| proc(*pid, "cmdline").contains("vault-password")) || start.elapsed().as_secs() > 30 {
            break all;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let own = proc(child.id(), "cmdline");
    let others: Vec<_> = all.iter().map(|pid| proc(*pid, "cmdline") + &proc(*pid, "environ")).collect();
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    for pid in all {
        if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    assert!(others.iter().any(|other| other.contains("vault-password")), "it got that far: {others:?}");
    assert!(own.contains("secret=***") && tokens.iter().all(|token| !own.contains(token)), "{own}");
    for other in others {
        assert!(tokens.iter().all(|token| !other.contains(token)), "{other}");
    }
}
