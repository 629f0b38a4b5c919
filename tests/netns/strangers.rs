//! Never the wrong thing: what is not in a ledger is left alone whatever its name, and what is shared stays until its
//! last user goes.

use crate::driver::{ANSWER, Job};
use crate::world::{Held, Who, World, enter};
use host::failure::Failure;
use host::ledger::Leak;
use rstest::rstest;
use std::process::{Command, Stdio};
use vm::network::{Mode, NetPlan};

#[rstest]
#[case::a_bridge("ip link add boma-it type bridge; ip link set boma-it addrgenmode none")]
#[case::the_controllers_port("ip link add boma-it-ctl type bridge; ip link set boma-it-ctl addrgenmode none")]
#[case::the_guests_table("nft add table inet boma-it")]
#[case::the_ports_table("nft add table bridge boma-it")]
fn what_bears_our_name_on_the_host_is_a_reason_to_stop_and_is_not_removed(#[case] theirs: &str) {
    let world = World::new(Who::Root);
    let plan = world.plan(Mode::Host);
    world.root(&theirs.replace("boma-it-ctl", &plan.controller_port().to_string()));
    let before = world.state();
    let error = world.ensure(&plan).err().unwrap().to_string();
    assert!(error.contains("taken") && error.contains("not ours"), "{error}");
    assert!(world.boma(&["prune", "--all"]).status.success());
    assert_eq!(world.state(), before);
    assert_eq!(world.processes(), Vec::<String>::new());
}

#[test]
fn prune_leaves_bridges_tables_and_processes_alone_that_only_look_like_ours() {
    let world = World::new(Who::Root);
    let plan = world.plan(Mode::Namespace);
    world.ensure(&plan).unwrap();
    let bin = world.path("decoys");
    world.root(&format!(
        "set -e; for l in boma-it boma-tap0 boma-it-old; do ip link add $l type bridge; ip link set $l addrgenmode none; done
         nft add table inet boma-it; nft add table bridge boma-it; mkdir {bin}
         for p in dnsmasq pasta qemu-system-x86_64 boma-qemu; do cp $(command -v sleep) {bin}/$p; done"
    ));
    let mut sleepers = ["dnsmasq", "pasta", "qemu-system-x86_64", "boma-qemu"].map(|program| {
        let mut command = Command::new(bin.join(program));
        Held(command.arg("1000").stdin(Stdio::null()).spawn().unwrap())
    });
    let before = world.state();
    let out = world.boma(&["prune", "--all"]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("network boma-it"), "{out:?}");
    assert_eq!(world.state(), before);
    assert!(sleepers.iter_mut().all(|sleeper| sleeper.0.try_wait().unwrap().is_none()), "a stranger was ended");
}

#[rstest]
#[case::the_first_goes_first(false, false)]
#[case::the_second_goes_first(true, false)]
#[case::the_first_is_killed(false, true)]
fn forwarding_goes_back_with_the_last_of_two_networks_on_the_host(#[case] swapped: bool, #[case] killed: bool) {
    let world = World::new(Who::Root);
    let before = world.state();
    assert_eq!(forwarding(&world), "0");
    let (one, two) = (world.plan(Mode::Host), other(&world));
    ensure(&world, &one, "state").unwrap();
    ensure(&world, &two, "other").unwrap();
    assert_eq!(forwarding(&world), "1");
    if killed {
        let holder = world.ready(&one)["holder"]["pid"].as_i64().unwrap();
        world.root(&format!("kill -KILL {holder}"));
    }
    let (first, last) = match swapped {
        false => ((&one, "state"), (&two, "other")),
        true => ((&two, "other"), (&one, "state")),
    };
    assert_eq!(release(&world, first.0, first.1), []);
    assert_eq!(forwarding(&world), "1", "the other one needs it");
    assert_eq!(release(&world, last.0, last.1), []);
    assert_eq!(forwarding(&world), "0");
    assert_eq!(world.state(), before);
}

#[test]
fn forwarding_that_was_on_stays_on() {
    let world = World::new(Who::Root);
    world.root("echo 1 > /proc/sys/net/ipv4/ip_forward");
    let (one, two) = (world.plan(Mode::Host), other(&world));
    ensure(&world, &one, "state").unwrap();
    ensure(&world, &two, "other").unwrap();
    assert_eq!((release(&world, &one, "state"), release(&world, &two, "other")), (vec![], vec![]));
    assert_eq!(forwarding(&world), "1");
}

#[test]
fn of_two_checkouts_that_start_the_same_network_on_the_host_at_once_one_gets_it() {
    let world = World::new(Who::Root);
    let (plan, before) = (world.plan(Mode::Host), world.state());
    for _ in 0..5 {
        let answers = ["state", "other"]
            .map(|state| start(&world, &making(&world, &plan, state)))
            .map(answer::<Result<serde_json::Value, Failure>>);
        let won: Vec<_> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{answers:?}");
        let refused = answers.iter().find_map(|answer| answer.as_ref().err()).unwrap().to_string();
        assert!(refused.contains("taken"), "{refused}");
        // The one that was refused takes nothing from the other.
        assert!(world.state().contains("table inet boma-it") && world.state().contains("boma-it"));
        let (winner, loser) = if won[0] { ("state", "other") } else { ("other", "state") };
        assert_eq!(release(&world, &plan, loser), []);
        assert!(world.state().contains("table bridge boma-it"));
        assert_eq!(release(&world, &plan, winner), []);
        assert_eq!(world.state(), before);
    }
}

#[rstest]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn two_commands_that_start_a_network_at_once_share_it_and_two_that_remove_it_both_succeed(
    #[case] who: Who,
    #[case] mode: Mode,
) {
    let world = World::new(who);
    let (plan, before) = (world.plan(mode), world.state());
    for _ in 0..3 {
        let making = making(&world, &plan, "state");
        let ways = [(); 2].map(|()| start(&world, &making)).map(answer::<Result<serde_json::Value, Failure>>);
        assert_eq!(ways[0].as_ref().unwrap()["enter"], ways[1].as_ref().unwrap()["enter"]);
        let removing = Job::Release { state: world.path("state"), name: plan.name.clone() };
        let leaks = [(); 2].map(|()| start(&world, &removing)).map(answer::<Vec<Leak>>);
        assert_eq!(leaks, [vec![], vec![]]);
        assert_eq!(world.state(), before);
        assert_eq!(world.processes(), Vec::<String>::new());
    }
}

#[test]
fn two_users_have_networks_side_by_side() {
    let world = World::new(Who::User);
    let (plan, before) = (world.plan(Mode::Namespace), world.state());
    world.ensure(&plan).unwrap();
    // Root, in a state folder of its own, with the same plan.
    let job = making(&world, &plan, "roots");
    let roots: Result<serde_json::Value, Failure> = world.ask(&enter(world.host_pid()), &job);
    roots.unwrap();
    let gone: Vec<Leak> =
        world.ask(&enter(world.host_pid()), &Job::Release { state: world.path("roots"), name: plan.name.clone() });
    assert_eq!(gone, []);
    assert!(!world.processes().is_empty(), "the user's network stays");
    assert_eq!(world.release(&plan), []);
    assert_eq!(world.state(), before);
}

/// Another project's network: other names, another subnet.
fn other(world: &World) -> NetPlan {
    let text = serde_json::to_string(&world.plan(Mode::Host)).unwrap();
    let text = text.replace("boma-it", "boma-2").replace("boma-tap0", "boma-tap2").replace("10.213.77.", "10.213.78.");
    serde_json::from_str(&text).unwrap()
}

fn forwarding(world: &World) -> String {
    world.root("cat /proc/sys/net/ipv4/ip_forward").trim().to_owned()
}

fn making(world: &World, plan: &NetPlan, state: &str) -> Job {
    Job::Ensure { exe: world.path("boma-qemu"), state: world.path(state), plan: Box::new(plan.clone()) }
}

fn ensure(world: &World, plan: &NetPlan, state: &str) -> Result<serde_json::Value, Failure> {
    world.job(&making(world, plan, state))
}

fn release(world: &World, plan: &NetPlan, state: &str) -> Vec<Leak> {
    world.job(&Job::Release { state: world.path(state), name: plan.name.clone() })
}

fn start(world: &World, job: &Job) -> std::process::Child {
    world.driver(&world.onto_host(), job).stdout(Stdio::piped()).spawn().unwrap()
}

fn answer<T: serde::de::DeserializeOwned>(child: std::process::Child) -> T {
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(ANSWER)).unwrap_or_else(|| panic!("no answer: {text}"));
    serde_json::from_str(line).unwrap()
}
