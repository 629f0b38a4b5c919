//! A guest that is cut off while it runs, and gets back what it had.

use crate::driver::Job;
use crate::guest::{Guest, site};
use crate::world::{Who, World, listen, must, tried};
use rstest::rstest;
use std::time::Duration;
use vm::network::{Egress, Mode, NetPlan};

fn set(world: &World, plan: &NetPlan, egress: Egress) -> Result<(), String> {
    world.job(&Job::Egress { state: world.path("state"), name: plan.name.clone(), egress })
}

/// The rules that are in force, without their counters.
fn rules(world: &World, plan: &NetPlan) -> String {
    must(&site(world, plan), "nft --stateless list table inet boma-it")
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn a_guest_is_cut_off_while_it_runs_and_gets_back_what_it_had_and_no_more(#[case] who: Who, #[case] mode: Mode) {
    let world = World::new(who);
    let (plan, before) = (world.plan(mode), world.state());
    world.ensure(&plan).unwrap();
    let guest = Guest::plug(&world, &plan);
    guest.dhcp(&world, &plan);
    assert_eq!(guest.fetch("203.0.113.7", 80).as_deref(), Some("hello"));
    assert_eq!(guest.look_up(&world, &plan, "public.test").as_deref(), Some("203.0.113.7"));
    // A network that the host has joined since the start stays forbidden through all of it.
    world.root("ip route add 203.0.113.8/30 via 192.0.2.1");
    world.until("the VPN's network is forbidden", || guest.fetch("203.0.113.8", 80).is_none());
    let open = rules(&world, &plan);

    // A connection that stands is cut as well.
    let [heard, cut, over] = ["heard", "cut", "over"].map(|name| world.path(name));
    let outside = ["nsenter".into(), "-t".into(), world.outside_pid().to_string(), "-n".into()];
    std::thread::scope(|scope| {
        scope.spawn(|| tried(&outside, &listen("203.0.113.7", &heard, &over)));
        world.until("it listens", || !world.outside("ss -Hltn sport = :9999").is_empty());
        // However long the cut may take: the second word comes after it.
        let talk =
            format!("(echo one; until [ -e {cut} ]; do sleep 0.1; done; echo two; sleep 2) | nc -q 1 203.0.113.7 9999");
        let prefix = guest.prefix();
        scope.spawn(move || tried(prefix, &talk));
        let said = || std::fs::read_to_string(&heard).unwrap_or_default();
        world.until("the connection stands", || said() == "one\n");
        set(&world, &plan, Egress::None).unwrap();
        world.root(&format!("touch {cut}"));
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(said(), "one\n", "the connection went on");
        world.root(&format!("touch {over}"));
    });
    world.outside("nft flush set inet seen at");
    assert_eq!(guest.fetch("203.0.113.7", 80), None);
    assert_eq!(guest.look_up(&world, &plan, "public.test"), None);
    assert_eq!(guest.look_up(&world, &plan, "stub.test"), None, "there is no resolver at all");
    assert_eq!(world.seen(), "", "nothing was even tried outside");
    assert_eq!(world.ready(&plan)["cut"], true);
    assert_eq!(world.ready(&plan)["plan"]["egress"], "nat", "what it was made from does not change");
    // Twice is as good as once, and the bridge works all the time.
    set(&world, &plan, Egress::None).unwrap();
    guest.run(&format!("{} -c 1 -W 2 {}", world.path("ping"), plan.gateway));

    set(&world, &plan, Egress::Nat).unwrap();
    assert_eq!(world.ready(&plan)["cut"], false);
    assert_eq!(rules(&world, &plan), open);
    assert_eq!(guest.fetch("203.0.113.7", 80).as_deref(), Some("hello"));
    assert_eq!(guest.look_up(&world, &plan, "public.test").as_deref(), Some("203.0.113.7"));
    for forbidden in ["203.0.113.8", "198.51.100.136", "10.99.0.5", "192.0.2.2"] {
        assert_eq!(guest.fetch(forbidden, 80), None, "{forbidden}");
    }

    set(&world, &plan, Egress::None).unwrap();
    // The connection that was cut in the middle would keep the guest's namespace, and so its cable, for minutes.
    must(&site(&world, &plan), &format!("ip link delete {}", plan.vm.tap));
    drop(guest);
    assert_eq!(world.release(&plan), []);
    world.root("ip route del 203.0.113.8/30 via 192.0.2.1");
    assert_eq!(world.state(), before);
}

#[test]
fn a_network_without_a_way_out_is_not_opened_later() {
    let world = World::new(Who::Root);
    let mut plan = world.plan(Mode::Host);
    plan.egress = Egress::None;
    world.ensure(&plan).unwrap();
    let before = rules(&world, &plan);
    for egress in [Egress::Nat, Egress::None] {
        let refused = set(&world, &plan, egress).unwrap_err();
        assert!(refused.contains("started with --egress none"), "{refused}");
    }
    assert_eq!(rules(&world, &plan), before);
}
