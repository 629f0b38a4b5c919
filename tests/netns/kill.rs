//! Kill anywhere: a network is made or removed up to each point of its ledger, one process is killed there, the others
//! go on, and then `prune` must leave the host as it was.

use crate::driver::{ANSWER, Job};
use crate::stop::{Stop, Victim};
use crate::world::{Who, World};
use host::ledger::{self, Kind};
use rstest::rstest;
use std::collections::BTreeSet;
use std::process::{Output, Stdio};
use std::time::Duration;
use vm::network::{Mode, NetPlan};

/// How long a run may take to a point.
const LIMIT: Duration = Duration::from_secs(120);

/// What a network's commands never do: no file is in a ledger by itself, and the only socket is a VM's.
const NOT_OF_A_NETWORK: [Kind; 2] = [Kind::File, Kind::Socket];

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
#[ignore = "every point and every victim, minutes: make soak"]
fn whoever_is_killed_at_any_point_of_a_network_prune_leaves_nothing(#[case] who: Who, #[case] mode: Mode) {
    let site = Site::new(who, mode);
    let points = site.points();
    let mut rows = 0;
    for point in &points {
        let mut n = 0;
        while let Some(row) = site.row(point, n) {
            println!("{row}");
            n += 1;
        }
        assert!(n > 0, "{point}: not even the one who was stopped there could be killed");
        rows += n;
    }
    println!("{who:?} {mode:?}: {} points, {rows} rows, all clean", points.len());
}

/// The points that differ most: what is on the host and in no ledger yet, or no longer.
#[rstest]
#[case::namespace_as_a_user(Who::User, Mode::Namespace, &["done:folder/boma-it", "done:process/network holder", "undoing:process/network holder", "undoing:folder/boma-it"])]
#[case::host(Who::Root, Mode::Host, &["intent:link/boma-it", "done:sysctl/net/ipv4/ip_forward", "undoing:link/boma-it"])]
fn whoever_is_killed_at_some_points_of_a_network_prune_leaves_nothing(
    #[case] who: Who,
    #[case] mode: Mode,
    #[case] points: &[&str],
) {
    let site = Site::new(who, mode);
    for point in points {
        let victims = (0..).map_while(|n| site.row(point, n)).inspect(|row| println!("{row}")).count();
        assert!(victims > 0, "{point}");
    }
}

#[test]
fn every_step_of_every_kind_of_change_of_a_network_is_a_point() {
    let points = Site::new(Who::Root, Mode::Host).points();
    let reached: BTreeSet<_> = points.iter().filter_map(|point| point.split('/').next()).collect();
    let wanted = |class: &String| !NOT_OF_A_NETWORK.iter().any(|kind| class.ends_with(&format!(":{}", kind.word())));
    let all: Vec<_> = ledger::classes().filter(wanted).collect();
    assert_eq!(reached, all.iter().map(String::as_str).collect());
}

#[rstest]
#[case::the_guests("guest")]
#[case::the_controllers("controller")]
fn a_keeper_that_is_killed_breaks_the_network_and_that_is_said(#[case] side: &str) {
    let site = Site::new(Who::User, Mode::Namespace);
    site.world.ensure(&site.plan).unwrap();
    let keeper = site.world.ready(&site.plan)[side]["pid"].as_i64().unwrap();
    site.world.root(&format!("kill -KILL {keeper}"));
    let broken = site.world.path("state/net/boma-it/broken");
    let said = || std::fs::read_to_string(&broken).unwrap_or_default();
    site.world.until("the holder says it", || said().contains(&keeper.to_string()));
    site.prune("after it");
}

/// A world, its plan, and what it looks like without a network.
struct Site {
    world: World,
    plan: NetPlan,
    before: String,
}

impl Site {
    fn new(who: Who, mode: Mode) -> Self {
        let world = World::new(who);
        let (plan, before) = (world.plan(mode), world.state());
        Self { world, plan, before }
    }

    /// Every point of making and removing, in the order in which they come first.
    fn points(&self) -> Vec<String> {
        let stop = self.stop("");
        for job in [self.making(), self.removing()] {
            assert!(self.start(&job, &stop).wait_with_output().unwrap().status.success());
        }
        self.is_clean("the run without a stop");
        stop.reached()
    }

    /// Go to a point, kill the `n`th of those who live there, and look; none if there are not so many.
    fn row(&self, point: &str, n: usize) -> Option<String> {
        let removes = point.starts_with("undo");
        if removes {
            self.world.ensure(&self.plan).unwrap();
        }
        let stop = self.stop(point);
        let command = self.start(&if removes { self.removing() } else { self.making() }, &stop);
        let stopped = stop.wait(LIMIT, || false).unwrap();
        let victim = stop.victims(&self.world.path(""), command.id().cast_signed()).get(n).cloned();
        if let Some(victim) = &victim {
            victim.kill();
        }
        Stop::go_on(stopped);
        let out = command.wait_with_output().unwrap();
        let Some(Victim { name, .. }) = victim else {
            self.prune(point);
            return None;
        };
        let ended = told(&out);
        // A plain new start, in every second row, goes over what is left.
        let again = match n % 2 == 1 {
            true => format!(", a new start {}", if self.world.ensure(&self.plan).is_ok() { "works" } else { "fails" }),
            false => String::new(),
        };
        assert!(!again.ends_with("fails"), "{point}, {name} killed: a new start fails");
        let said = self.prune(&format!("{point}, {name} killed"));
        Some(format!("{point:<40} {name:<28} the command: {ended}{again}; prune: {said}; clean"))
    }

    fn prune(&self, row: &str) -> String {
        let out = self.world.boma(&["prune"]);
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{row}: {said}");
        self.is_clean(row);
        said.trim().to_owned()
    }

    fn is_clean(&self, row: &str) {
        self.world.until(&format!("{row}: every process ends"), || self.world.processes().is_empty());
        assert_eq!(self.world.state(), self.before, "{row}");
        let left: Vec<_> = match self.world.path("state/net").read_dir_utf8() {
            Ok(entries) => entries.map(|entry| entry.unwrap().file_name().to_owned()).collect(),
            Err(_) => Vec::new(),
        };
        // The lock lies beside the folder, which comes and goes.
        assert!(left.iter().all(|name| name == "boma-it.lock"), "{row}: {left:?}");
        let shared = self.world.root("ls /run/boma-qemu 2>/dev/null || true");
        assert!(shared.lines().all(|name| name.ends_with(".lock")), "{row}: {shared}");
    }

    fn making(&self) -> Job {
        let (exe, state) = (self.world.path("boma-qemu"), self.world.path("state"));
        Job::Ensure { exe, state, plan: Box::new(self.plan.clone()) }
    }

    fn removing(&self) -> Job {
        Job::Release { state: self.world.path("state"), name: self.plan.name.clone() }
    }

    /// A run that stops at a point.
    fn stop(&self, point: &str) -> Stop {
        Stop::at(self.world.path("stop"), point)
    }

    fn start(&self, job: &Job, stop: &Stop) -> std::process::Child {
        let mut command = self.world.driver(&self.world.onto_host(), job);
        command.env("BOMA_FAILPOINT", &stop.folder).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }
}

/// What the command said of its work, in short.
fn told(out: &Output) -> String {
    let text = String::from_utf8_lossy(&out.stdout);
    let answer = text.lines().find_map(|line| line.strip_prefix(ANSWER)).unwrap_or("was killed");
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap_or(answer.into());
    match &answer {
        serde_json::Value::String(said) => said.clone(),
        serde_json::Value::Array(leaks) => format!("{} leaks", leaks.len()),
        _ => match answer["Err"]["chain"].as_array() {
            Some(chain) => chain.first().map(ToString::to_string).unwrap_or_default(),
            None => "success".into(),
        },
    }
}
