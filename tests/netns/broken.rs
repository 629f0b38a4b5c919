//! A disk that is full, that can only be read, or that went away in the middle of things.

use crate::driver::Job;
use crate::world::{Who, World};
use host::failure::Failure;
use host::ledger::{Change, Ledger};
use rstest::rstest;
use vm::network::Mode;

/// How many bytes a file may have, and then it is full: below, at and between the lines of a ledger.
const STEP: usize = 61;

#[rstest]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn a_disk_that_is_full_at_any_write_is_said_and_leaves_nothing(#[case] who: Who, #[case] mode: Mode) {
    let world = World::new(who);
    let (plan, before) = (world.plan(mode), world.state());
    let (exe, state) = (world.path("boma-qemu"), world.path("state"));
    let making = Job::Ensure { exe, state, plan: Box::new(plan.clone()) };
    let mut refused = 0;
    for bytes in (0..).step_by(STEP) {
        // A write beyond it fails, as on a full disk (EFBIG), in every process of the network.
        let full = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh", "prlimit", &format!("--fsize={bytes}")];
        let prefix = [world.onto_host(), full.map(str::to_owned).to_vec()].concat();
        let made: Result<serde_json::Value, Failure> = world.ask(&prefix, &making);
        let out = world.boma(&["prune"]);
        assert!(out.status.success(), "{bytes} bytes: {out:?}");
        world.until("every process ends", || world.processes().is_empty());
        assert_eq!(world.state(), before, "{bytes} bytes");
        assert!(!world.path("state/net/boma-it").exists(), "{bytes} bytes");
        match made {
            Err(failure) => assert!(!failure.chain.is_empty(), "{bytes} bytes: {failure}"),
            Ok(_) => break,
        }
        refused += 1;
    }
    println!("{refused} sizes at which the disk was full");
    assert!(refused > 15, "only {refused}: the ledger alone has more lines");
}

#[test]
fn a_write_that_failed_half_way_does_not_spoil_the_ledger() {
    let world = World::new(Who::Root);
    let path = world.path("ledger.ndjson");
    world.job::<()>(&Job::HalfLine { ledger: path.clone() });
    let changes: Vec<_> = Ledger::open(&path).unwrap().changes().cloned().collect();
    let folder = |name: &str| Change::Folder { path: name.into() };
    assert_eq!(changes, [folder("/nonexistent/first"), folder("/nonexistent/third")]);
}

#[test]
fn a_state_folder_that_can_only_be_read_is_said_and_nothing_is_begun() {
    let world = World::new(Who::Root);
    let (plan, before) = (world.plan(Mode::Host), world.state());
    let state = world.path("state");
    let read_only = format!("mount --bind {state} {state} && mount -o remount,bind,ro {state}");
    world.root(&read_only);
    let error = world.ensure(&plan).err().unwrap().to_string();
    assert!(error.contains("Read-only file system") && error.contains(state.as_str()), "{error}");
    assert_eq!(world.state(), before);
    world.root(&format!("umount {state}"));
    // While a network is up: nothing is removed that could not be written down, and later all of it.
    world.ensure(&plan).unwrap();
    let up = world.state();
    world.root(&read_only);
    let out = world.boma(&["prune"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && said.contains("Read-only file system"), "{said}");
    assert_eq!(world.state(), up);
    world.root(&format!("umount {state}"));
    assert!(world.boma(&["prune"]).status.success());
    assert_eq!(world.state(), before);
}

#[test]
fn a_folder_that_was_removed_in_part_is_removed_by_the_next_prune() {
    let world = World::new(Who::Root);
    let vm = world.path("state/vms/askari");
    world.root(&format!(
        "set -e; mkdir -p {vm}; cd {vm}; for n in 1 2 3 4 5 6 7 8; do mkdir $n a$n; touch $n/f z$n; done; mount -t tmpfs tmpfs 5"
    ));
    Ledger::open(&vm.join("ledger.ndjson")).unwrap().adopt(Change::Folder { path: vm.clone() }).unwrap();
    let out = world.boma(&["prune"]);
    assert_eq!(out.status.code(), Some(7), "what is mounted there cannot be removed: {out:?}");
    assert!(vm.join("ledger.ndjson").exists(), "what is left is still known");
    world.root(&format!("umount {vm}/5"));
    let out = world.boma(&["prune"]);
    assert!(out.status.success() && !vm.exists(), "{out:?}");
}

#[test]
fn a_ledger_that_cannot_be_read_is_named_and_holds_up_nothing_else() {
    let world = World::new(Who::Root);
    let (plan, before) = (world.plan(Mode::Host), world.state());
    world.ensure(&plan).unwrap();
    let vm = world.path("state/vms/askari");
    world.root(&format!("mkdir -m 700 -p {vm} && echo nonsense > {vm}/ledger.ndjson"));
    let out = world.boma(&["prune"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(7), "{said}");
    assert!(said.contains("ledger.ndjson is damaged at line 1"), "{said}");
    assert_eq!(world.state(), before, "the network is gone all the same");
    assert!(vm.join("ledger.ndjson").exists(), "it stays, to be read");
}
