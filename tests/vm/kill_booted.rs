//! Kill anywhere, in a guest that has booted: while a playbook runs, while the machine restarts. One machine for all of
//! it: what does not belong to the machine can be killed again and again; its network goes last.

#![allow(clippy::print_stdout, reason = "its table is the result")]

use crate::lane::{HostState, Lane, User};
use crate::stop::{Stop, Victim};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How long anything here may take, on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_secs(600);

#[test]
#[ignore = "boots a guest twice: make soak"]
fn whoever_is_killed_while_a_playbook_runs_leaves_a_machine_that_can_be_used() {
    let site = Site { lane: Lane::new(User::Caller), before: HostState::now() };
    let lane = &site.lane;
    site.write_a_short_playbook();
    lane.boma(&["up", "askari", "--timeout", "1800", "-e", "verify__seconds=1"]).exits(0);
    let machine = site.names(&site.stop(), 0);
    for (args, point) in POINTS {
        site.row_at(args, point, &machine);
    }

    // Nobody else gets in between, and the run goes on.
    let (stop, apply, _) = site.applying();
    let at_work = format!("another run is at work: `boma-qemu apply askari`, pid {}", apply.id());
    for args in [&["down", "askari"][..], &["prune"], &["reset", "askari"], &["reboot", "askari"]] {
        lane.boma(args).exits(2).says(&[&at_work]);
    }
    site.row(stop, apply, "the command", 0, &machine);
    for (name, nth) in [("ansible-playbook", 0), ("ansible-playbook", 1), ("ssh", 0), ("@confined", 0)] {
        let (stop, apply, _) = site.applying();
        site.row(stop, apply, name, nth, &machine);
    }

    // A command that is killed in the middle of a restart: the machine comes back without it.
    let seen = lane.events("RESET").len();
    let mut reboot = site.start(&["reboot", "askari"], &site.stop());
    site.until(&mut reboot, || lane.events("RESET").len() > seen);
    reboot.kill().unwrap();
    reboot.wait().unwrap();
    lane.boma(&["wait", "askari", "ssh", "--timeout", "600"]).exits(0);
    assert_eq!(site.names(&site.stop(), 0), machine);

    // A network that has lost a part is named by the next command, and not mistaken for a fault of the guest's.
    let kill = |name: &str| {
        let stop = site.stop();
        stop.victims(&lane.dir, 0).iter().find(|victim| victim.name == name).unwrap().kill();
    };
    kill("dnsmasq");
    site.until_broken();
    lane.boma(&["assert", "askari"]).exits(4).says(&["dnsmasq", "SIGKILL", "`boma-qemu down`"]);
    kill("@net");
    lane.boma(&["assert", "askari"]).exits(4).says(&["network boma-it of the VM is gone"]);
    // It was made by `up`, to stay: only who asks for it by name removes it.
    lane.boma(&["prune"]).exits(0).says(&["was kept on purpose"]);
    lane.boma(&["down", "askari"]).exits(0);
    site.before.is_now();
    lane.is_empty();
}

/// The ends of the phases that need a guest, and the command that comes there.
const POINTS: [(&[&str], &str); 4] = [
    (&["apply", "askari"], "phase:guard"),
    (&["apply", "askari"], "phase:short"),
    (&["apply", "askari"], "phase:snapshot"),
    (&["assert", "askari"], "phase:assert"),
];

/// Long enough to be killed in, and nothing else.
const SHORT: &str = "- hosts: askari
  gather_facts: false
  tasks:
    - name: Wait
      ansible.builtin.command: sleep 10
      changed_when: false
";

struct Site {
    lane: Lane,
    before: HostState,
}

impl Site {
    fn write_a_short_playbook(&self) {
        let dir = &self.lane.dir;
        std::fs::write(dir.join("tests/fixtures/boma/playbooks/short.yml"), SHORT).unwrap();
        let path = dir.join("profiles/askari.json");
        let mut profile: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        profile["applies"] = serde_json::json!([{"playbook": "playbooks/short.yml", "tags": []}]);
        std::fs::write(&path, profile.to_string()).unwrap();
    }

    /// Kill the command at the end of a phase.
    fn row_at(&self, args: &[&str], point: &str, machine: &[String]) {
        let stop = Stop::at(self.lane.dir.join("stop"), point);
        let mut command = self.start(args, &stop);
        stop.wait(LIMIT, || command.try_wait().unwrap().is_some()).unwrap_or_else(|| panic!("{point} is not reached"));
        command.kill().unwrap();
        command.wait().unwrap();
        self.is_the_machine(&stop, machine, point);
        println!("{args:?} at {point}: the command was killed; clean");
    }

    /// The processes of the machine are there and no other, and it can be used.
    fn is_the_machine(&self, stop: &Stop, machine: &[String], row: &str) {
        let start = Instant::now();
        while self.names(stop, 0) != machine {
            let left = self.names(stop, 0);
            assert!(start.elapsed().as_secs() < 5, "{row}: {left:?} is not {machine:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.lane.quiet(&["ssh", "askari", "--", "true"]).exits(0);
    }

    fn stop(&self) -> Stop {
        Stop::at(self.lane.dir.join("stop"), "")
    }

    fn start(&self, args: &[&str], stop: &Stop) -> Child {
        let mut command = self.lane.command(args);
        command.env("BOMA_FAILPOINT", &stop.folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// A run whose playbook speaks to the guest, and who lives then.
    fn applying(&self) -> (Stop, Child, Vec<Victim>) {
        let stop = self.stop();
        let mut apply = self.start(&["apply", "askari", "--no-snapshot"], &stop);
        let pid = apply_id(&apply);
        let speaks = |victims: &[Victim]| {
            let has = |name: &str, n: usize| victims.iter().filter(|victim| victim.name == name).count() >= n;
            has("ansible-playbook", 2) && has("ssh", 1)
        };
        let start = Instant::now();
        loop {
            let found = stop.victims(&self.lane.dir, pid);
            if speaks(&found) {
                return (stop, apply, found);
            }
            assert!(apply.try_wait().unwrap().is_none() && start.elapsed() < LIMIT, "{found:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kill one, let the rest go on to its end, and see that the machine is as it was.
    fn row(&self, stop: Stop, apply: Child, name: &str, nth: usize, machine: &[String]) {
        let victims = stop.victims(&self.lane.dir, apply_id(&apply));
        let names: Vec<_> = victims.iter().map(|victim| victim.name.clone()).collect();
        let victim = victims.into_iter().filter(|victim| victim.name == name).nth(nth);
        victim.unwrap_or_else(|| panic!("no {name} among {names:?}")).kill();
        let out = apply.wait_with_output().unwrap();
        self.is_the_machine(&stop, machine, name);
        println!("apply, {name} {nth}: the command: {:?}; {}; clean", out.status.code(), last(&out.stderr));
    }

    /// The names of all processes but the command.
    fn names(&self, stop: &Stop, command: i32) -> Vec<String> {
        let mut names: Vec<_> =
            stop.victims(&self.lane.dir, command).into_iter().skip(1).map(|victim| victim.name).collect();
        names.sort();
        names
    }

    fn until_broken(&self) {
        let start = Instant::now();
        while !self.lane.dir.join("s/net/boma-it/broken").exists() {
            assert!(start.elapsed().as_secs() < 5, "the network's holder does not say it");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn until(&self, child: &mut Child, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(child.try_wait().unwrap().is_none() && start.elapsed() < LIMIT, "the command has ended");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn apply_id(child: &Child) -> i32 {
    child.id().cast_signed()
}

fn last(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr).into_owned();
    text.lines().find(|line| line.starts_with("error:")).unwrap_or_default().to_owned()
}
