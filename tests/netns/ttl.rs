//! A VM that nobody takes down goes by itself, with its network, and never under a command's hands.
//!
//! The VM is a folder and a ledger here: what it has beyond that is taken down by the same undo.

use crate::driver::{Job, Ways};
use crate::world::{Who, World};
use host::deadline::boottime;
use host::failure::Failure;
use host::lock::Lock;
use rstest::rstest;
use std::time::Duration;
use vm::network::{Mode, NetPlan};

/// A world with a network, and a VM in it that lives so many seconds.
fn forgotten(who: Who, mode: Mode, seconds: u64) -> (World, NetPlan, String) {
    let world = World::new(who);
    let (plan, before) = (world.plan(mode), world.state());
    world.ensure(&plan).unwrap();
    let (exe, state) = (world.path("boma-qemu"), world.path("state"));
    world.job::<()>(&Job::Ttl { exe, state, seconds });
    (world, plan, before)
}

fn is_gone(world: &World) -> bool {
    !world.path("state/vms/askari").exists() && !world.path("state/net/boma-it").exists()
}

#[rstest]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn a_forgotten_vm_goes_with_its_network_and_without_a_trace(#[case] who: Who, #[case] mode: Mode) {
    let (world, _, before) = forgotten(who, mode, 1);
    assert!(!is_gone(&world) && world.path("state/vms/askari/expiry.json").exists());
    world.until("the VM is removed", || is_gone(&world));
    world.until("no process is left, the keeper of the time not either", || world.processes().is_empty());
    assert_eq!(world.state(), before);
}

#[test]
fn nothing_is_removed_while_a_command_is_at_work() {
    let (world, _, _) = forgotten(Who::Root, Mode::Namespace, 1);
    let at_work = Lock::try_take(&world.path("state/run.lock"), "a command").unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(world.path("state/vms/askari").exists() && world.path("state/net/boma-it").exists());
    drop(at_work);
    world.until("the VM is removed when the command has ended", || is_gone(&world));
    world.until("no process is left", || world.processes().is_empty());
}

#[test]
fn the_time_that_the_host_sleeps_counts() {
    let world = World::new(Who::Root);
    // CLOCK_BOOTTIME is two hours further there and CLOCK_MONOTONIC is not: as on a host that has slept. Only the wait
    // is put there: a process's start time, by which the ledger knows it, is another in there, too.
    let slept = ["unshare", "--time", "--fork", "--boottime", "7200", "--"].map(str::to_owned);
    let start = std::time::Instant::now();
    world.ask::<()>(&[world.onto_host(), slept.to_vec()].concat(), &Job::Sleep { until: boottime() + 3600.0 });
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    let start = std::time::Instant::now();
    world.ask::<()>(&world.onto_host(), &Job::Sleep { until: boottime() + 2.0 });
    assert!(start.elapsed().as_secs_f64() >= 1.9, "{:?}", start.elapsed());
}

#[test]
fn no_process_that_stays_has_the_callers_environment() {
    const TOKEN: &str = "A_TOKEN=tok-in-the-environment-5150";
    let world = World::new(Who::User);
    let plan = world.plan(Mode::Namespace);
    let prefix = [world.onto_host(), vec!["env".into(), TOKEN.into()]].concat();
    let (exe, state) = (world.path("boma-qemu"), world.path("state"));
    let job = Job::Ensure { exe: exe.clone(), state: state.clone(), plan: Box::new(plan) };
    world.ask::<Result<Ways, Failure>>(&prefix, &job).unwrap();
    world.ask::<()>(&prefix, &Job::Ttl { exe, state, seconds: 3600 });
    assert!(world.processes().len() > 4, "{:?}", world.processes());
    for process in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environment).contains(TOKEN), "{:?}", process.path());
    }
    assert!(world.boma(&["prune"]).status.success());
    assert_eq!(world.processes(), Vec::<String>::new());
}

#[test]
fn a_vm_that_is_taken_down_takes_its_keeper_along() {
    let (world, plan, _) = forgotten(Who::Root, Mode::Namespace, 3600);
    let root = env!("CARGO_MANIFEST_DIR");
    let down = format!("cd {root}; BOMA_STATE={} {} down askari", world.path("state"), world.path("boma-qemu"));
    assert!(world.run_as_who(&down).contains("removed: VM of askari, network boma-it"));
    assert_eq!(world.processes(), Vec::<String>::new());
    assert!(is_gone(&world), "{}", plan.name);
}

#[test]
fn a_vm_whose_folder_is_deleted_takes_its_keeper_along() {
    let (world, _, before) = forgotten(Who::User, Mode::Namespace, 3600);
    world.root(&format!("rm -rf {}", world.path("state")));
    world.until("every process ends", || world.processes().is_empty());
    assert_eq!(world.state(), before);
}

#[test]
fn no_process_that_stays_has_the_callers_descriptors() {
    let world = World::new(Who::User);
    let (plan, held) = (world.plan(Mode::Namespace), world.path("home/lock"));
    let script = ["sh", "-c", &format!("exec 9>{held}; exec \"$@\""), "sh"].map(str::to_owned);
    let prefix = [world.onto_host(), script.to_vec()].concat();
    let (exe, state) = (world.path("boma-qemu"), world.path("state"));
    let job = Job::Ensure { exe: exe.clone(), state: state.clone(), plan: Box::new(plan) };
    world.ask::<Result<Ways, Failure>>(&prefix, &job).unwrap();
    world.ask::<()>(&prefix, &Job::Ttl { exe, state, seconds: 3600 });
    assert!(held.exists() && world.processes().len() > 4, "{:?}", world.processes());
    for process in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let open = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().filter_map(Result::ok);
        let has = open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|file| file == held);
        assert!(!has, "{:?} has a lock of the caller's", process.path());
    }
}
