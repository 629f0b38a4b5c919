//! The never list while a VM runs: names that are refused, and names that get other addresses.

use crate::driver::Job;
use crate::guest::Guest;
use crate::world::{Who, World, listen, tried};
use rstest::rstest;
use std::net::IpAddr;
use std::time::Duration;
use vm::network::plan::Allow;
use vm::network::{Mode, NetPlan};

/// Where a name of the list goes while the VM runs.
pub(crate) const MOVED: &str = "203.0.113.66";

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn a_name_on_the_never_list_has_no_address_in_any_spelling_and_all_others_have(#[case] who: Who, #[case] mode: Mode) {
    let world = World::new(who);
    let mut plan = world.plan(mode);
    plan.never.insert("dev".into(), Vec::new());
    world.ensure(&plan).unwrap();
    let guest = Guest::plug(&world, &plan);
    guest.dhcp(&world, &plan);
    for refused in ["askari.test", "ASKARI.Test", "askari.test.", "git.askari.test", "dev"] {
        assert_ne!(world.addresses(refused), "", "{refused}: the test would prove nothing");
        assert_eq!(guest.look_up(&world, &plan, refused), None, "{refused}");
    }
    for other in ["public.test", "notaskari.test", "public.dev"] {
        assert_eq!(guest.look_up(&world, &plan, other).as_deref(), Some("203.0.113.7"), "{other}");
    }
}

/// The prefix onto the playbook side of the network.
fn controller(world: &World, plan: &NetPlan) -> Vec<String> {
    let pid = world.ready(plan)["controller"]["pid"].as_u64().unwrap();
    ["nsenter", "-t", &pid.to_string(), "-n"].map(str::to_owned).to_vec()
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn what_a_name_moves_to_is_out_of_reach_for_guest_and_playbooks_even_where_an_exception_opens_it(
    #[case] who: Who,
    #[case] mode: Mode,
) {
    let world = World::new(who);
    let mut plan = world.plan(mode);
    let to = "203.0.113.64/28".parse().unwrap();
    let allow = Allow { name: "mirror".into(), to, port: None, why: "packages".into() };
    plan.allow.push(allow.clone());
    plan.controller_allow.push(allow);
    world.ensure(&plan).unwrap();
    let guest = Guest::plug(&world, &plan);
    guest.dhcp(&world, &plan);
    let playbooks = controller(&world, &plan);
    let reached = || tried(&playbooks, &format!("nc -z -w 1 {MOVED} 80")).status.success();
    assert!(guest.connects(MOVED, 80) && reached(), "without the never list it is open");
    // An alias leads the guest to the new address.
    world.moves("askari.test", MOVED);
    world.until("the new address is out of reach", || !guest.connects(MOVED, 80));
    assert!(!reached(), "for the playbooks, too");
    assert_eq!(
        guest.look_up(&world, &plan, "alias.test").as_deref(),
        Some(MOVED),
        "the name of an alias is not refused"
    );
    world.outside("nft flush set inet seen at");
    assert!(!guest.connects(MOVED, 80) && !reached());
    // What it had stays forbidden, and everything else is as it was.
    assert_eq!(guest.fetch("198.51.100.136", 80), None);
    assert_eq!(world.seen(), "", "nothing was even tried outside");
    assert_eq!(guest.fetch("203.0.113.7", 80).as_deref(), Some("hello"));
    // A resolver that is silent opens nothing.
    world.root(&format!("echo nameserver 192.0.2.1 > {}", world.path("resolv.conf")));
    std::thread::sleep(Duration::from_secs(4));
    assert!(!guest.connects(MOVED, 80));
    assert!(!world.path("state/net/boma-it/broken").exists());
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn a_connection_to_what_a_name_moves_to_is_cut(#[case] who: Who, #[case] mode: Mode) {
    let world = World::new(who);
    let plan = world.plan(mode);
    world.ensure(&plan).unwrap();
    let guest = Guest::plug(&world, &plan);
    guest.dhcp(&world, &plan);
    let [heard, moved, over] = ["heard", "moved", "over"].map(|name| world.path(name));
    let outside = ["nsenter".into(), "-t".into(), world.outside_pid().to_string(), "-n".into()];
    std::thread::scope(|scope| {
        scope.spawn(|| tried(&outside, &listen(MOVED, &heard, &over)));
        world.until("it listens", || !world.outside("ss -Hltn sport = :9999").is_empty());
        let talk =
            format!("(echo one; until [ -e {moved} ]; do sleep 0.1; done; echo two; sleep 2) | nc -q 1 {MOVED} 9999");
        let prefix = guest.prefix();
        scope.spawn(move || tried(prefix, &talk));
        let said = || std::fs::read_to_string(&heard).unwrap_or_default();
        world.until("the connection stands", || said() == "one\n");
        world.moves("askari.test", MOVED);
        world.until("the new address is out of reach", || !guest.connects(MOVED, 80));
        world.root(&format!("touch {moved}"));
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(said(), "one\n", "the connection went on");
        world.root(&format!("touch {over}"));
    });
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn the_ipv6_address_of_a_name_is_neither_told_nor_reached(#[case] who: Who, #[case] mode: Mode) {
    let world = World::new(who);
    let plan = world.plan(mode);
    world.ensure(&plan).unwrap();
    let guest = Guest::plug(&world, &plan);
    guest.dhcp(&world, &plan);
    assert!(world.addresses("askari.test").contains("2001:db8::136"));
    let send = "echo x | nc -6 -u -w 1 2001:db8::136 9999; true";
    world.root("ip -6 route add 2001:db8::136 via 2001:db8::1");
    // The first packets are lost as long as the neighbour is not known.
    world.until("without the bridge it is reached", || {
        world.root(send);
        world.seen() == "2001:db8::136"
    });
    world.outside("nft flush set inet seen at6");
    guest.run(&format!(
        "ip -6 addr add 2001:db8:1::10/64 dev eth0 nodad; ip -6 neigh add fe80::1 lladdr 02:b0:0a:d5:4d:01 dev eth0
         ip -6 route add default via fe80::1 dev eth0; {send}"
    ));
    assert_eq!(world.seen(), "");
    assert_eq!(guest.look_up(&world, &plan, "askari.test"), None);
}

/// Put a name out of reach while the network is up; what is new.
fn forbid(world: &World, plan: &NetPlan, name: &str, addresses: &[&str]) -> Result<Vec<String>, String> {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let never = [(name.to_owned(), addresses)].into();
    world.job(&Job::Forbid { state: world.path("state"), name: plan.name.clone(), never })
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn what_is_added_while_the_network_is_up_is_refused_out_of_reach_and_followed(#[case] who: Who, #[case] mode: Mode) {
    let world = World::new(who);
    let plan = world.plan(mode);
    world.ensure(&plan).unwrap();
    let guest = Guest::plug(&world, &plan);
    guest.dhcp(&world, &plan);
    assert_eq!(guest.fetch("203.0.113.7", 80).as_deref(), Some("hello"));
    assert_eq!(guest.look_up(&world, &plan, "public.test").as_deref(), Some("203.0.113.7"));
    assert_eq!(forbid(&world, &plan, "public.test", &["203.0.113.7"]).unwrap(), ["public.test"]);
    assert_eq!(guest.fetch("203.0.113.7", 80), None);
    world.until("the name is refused", || guest.look_up(&world, &plan, "public.test").is_none());
    assert_eq!(guest.look_up(&world, &plan, "askari.test"), None, "what stood there before is refused as before");
    // The holder follows it from now on.
    assert!(guest.connects(MOVED, 80), "without the never list it is open");
    world.moves("public.test", MOVED);
    world.until("its new address is out of reach", || !guest.connects(MOVED, 80));
    assert_eq!(world.ready(&plan)["plan"]["never"]["public.test"][0], "203.0.113.7");
    assert!(forbid(&world, &plan, "public.test", &[]).unwrap().is_empty(), "nothing is new, and nothing is taken off");
    assert!(!world.path("state/net/boma-it/broken").exists());
}

#[test]
fn what_an_exception_opens_cannot_be_put_out_of_reach_beside_it() {
    let world = World::new(Who::Root);
    let mut plan = world.plan(Mode::Host);
    let to = "203.0.113.64/28".parse().unwrap();
    plan.allow.push(Allow { name: "mirror".into(), to, port: None, why: "packages".into() });
    world.ensure(&plan).unwrap();
    let refused = forbid(&world, &plan, "other.test", &[MOVED]).unwrap_err();
    assert!(refused.contains("mirror") && refused.contains(MOVED), "{refused}");
    assert!(world.ready(&plan)["plan"]["never"]["other.test"].is_null());
}
