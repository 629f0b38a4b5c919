//! The network with real ip, nft, dnsmasq and pasta, in hosts that are namespaces of the tests' own.
//!
//! Needs root, to make those hosts; boma-qemu itself runs in them as root and as a user without any
//! privilege. What happens inside is seen from outside, never taken from boma-qemu's word.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test's helpers fail by panicking and speak by printing

mod askari;
#[path = "../ansible/at_hand.rs"]
mod at_hand;
mod authority;
mod broken;
mod containment;
mod controller;
mod driver;
mod egress;
#[path = "../project/executable.rs"]
mod executable;
mod forward;
mod frames;
mod guest;
mod kill;
mod never;
mod orphan;
mod public;
mod reach;
#[path = "../vm/stop.rs"]
mod stop;
mod strangers;
mod table;
mod ttl;
mod world;

use driver::Job;
use guest::Guest;
use host::ledger::{Change, Ledger};
use rstest::rstest;
use vm::network::{Egress, Mode, NetDir, NetPlan};
use world::{Who, World, must};

/// Not a test: what the tests start again in other namespaces. Without a job it has nothing to do.
#[test]
fn the_driver() {
    if let Ok(job) = std::env::var(driver::JOB) {
        driver::main(serde_json::from_str(&job).unwrap());
    }
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn a_network_comes_and_goes_without_a_trace(#[case] who: Who, #[case] mode: Mode) {
    let world = World::new(who);
    let (plan, before) = (world.plan(mode), world.state());
    let ways = world.ensure(&plan).unwrap();
    if mode == Mode::Namespace {
        assert_eq!(world.state(), before, "in namespace mode the host does not change at all");
    }
    let guest = Guest::plug(&world, &plan);
    assert_eq!(guest.dhcp(&world, &plan).0, plan.vm.ip.to_string());
    assert_eq!(guest.fetch("203.0.113.7", 80).as_deref(), Some("hello"));
    let start = std::time::Instant::now();
    assert_eq!(world.release(&plan), []);
    println!("up {} ms, down {} ms", ways.milliseconds, start.elapsed().as_millis());
    drop(guest);
    world.until("the guest's cable goes with it", || !world.state().contains("boma-tap0"));
    assert_eq!(world.state(), before);
    assert_eq!(world.processes(), Vec::<String>::new());
    assert!(!world.path("state/net/boma-it").exists());
}

/// What may never be reached: private networks, CGNAT, link-local, the never list, a network behind a
/// VPN of the host's, the host's network, the host itself, and services on the bridge's own address.
const FORBIDDEN: [&str; 10] = [
    "10.99.0.5",
    "172.20.0.5",
    "192.168.44.5",
    "100.64.9.9",
    "169.254.169.254",
    "198.51.100.136",
    "198.51.100.70",
    "192.0.2.1",
    "192.0.2.2",
    "10.213.77.1",
];

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn the_guest_reaches_the_internet_and_nothing_near(#[case] who: Who, #[case] mode: Mode) {
    let world = World::new(who);
    let plan = world.plan(mode);
    world.ensure(&plan).unwrap();
    for forbidden in FORBIDDEN.iter().filter(|address| **address != plan.gateway.to_string()) {
        // From the host itself: each is there and answers.
        world.root(&format!("nc -z -w 2 {forbidden} 80"));
    }
    world.outside("nft flush set inet seen at");
    let guest = Guest::plug(&world, &plan);
    let (address, gateway) = (plan.vm.ip.to_string(), plan.gateway.to_string());
    assert_eq!(guest.dhcp(&world, &plan), (address.clone(), gateway.clone(), gateway.clone()));

    guest.run(&format!("{} -c 1 -W 2 {gateway}", world.path("ping")));
    assert_eq!(guest.look_up(&world, &plan, "public.test").as_deref(), Some("203.0.113.7"));
    assert_eq!(guest.look_up(&world, &plan, "stub.test").as_ref(), Some(&address));
    assert_eq!(guest.look_up(&world, &plan, "boma-it-test").as_ref(), Some(&address));
    assert_eq!(guest.look_up(&world, &plan, "askari.test"), None, "a name on the never list has no address");
    assert_eq!(guest.fetch("203.0.113.7", 80).as_deref(), Some("hello"));
    for forbidden in FORBIDDEN {
        assert_eq!(guest.fetch(forbidden, 80), None, "{forbidden}");
    }
    assert_eq!(world.seen(), "203.0.113.7", "nothing else was even tried outside");

    // Others' addresses, by IP and by Ethernet; and the same with our own, which shows that the way is open.
    guest.run("ip addr add 10.213.77.11/24 dev eth0; ip addr add 203.0.113.50/32 dev eth0");
    for spoofed in ["10.213.77.11", "10.213.77.2", "203.0.113.50"] {
        guest.run(&format!(
            "ip addr add {spoofed}/32 dev eth0 2>/dev/null; echo x | nc -u -w 1 -s {spoofed} 203.0.113.8 9999"
        ));
    }
    guest.run(&format!("echo x | nc -u -w 1 -s {address} 203.0.113.9 9999"));
    // IPv6, with a router that the guest has made up.
    let bridge_mac = "02:b0:0a:d5:4d:01";
    guest.run(&format!(
        "ip -6 addr add 2001:db8:1::10/64 dev eth0 nodad; ip -6 neigh add fe80::1 lladdr {bridge_mac} dev eth0
         ip -6 route add default via fe80::1 dev eth0; echo x | nc -6 -u -w 1 2001:db8::1 9999; true"
    ));
    assert_eq!(world.seen(), "203.0.113.7 203.0.113.9");
    guest.run("ip link set eth0 down; ip link set eth0 address 52:54:00:00:00:01; ip link set eth0 up");
    assert_eq!(guest.fetch("203.0.113.7", 80), None, "another's Ethernet address");
}

#[rstest]
#[case::namespace(Mode::Namespace)]
#[case::host(Mode::Host)]
fn without_egress_there_are_only_stubs(#[case] mode: Mode) {
    let world = World::new(Who::Root);
    let mut plan = world.plan(mode);
    plan.egress = Egress::None;
    world.ensure(&plan).unwrap();
    let guest = Guest::plug(&world, &plan);
    guest.dhcp(&world, &plan);
    assert_eq!(guest.look_up(&world, &plan, "stub.test"), Some(plan.vm.ip.to_string()));
    assert_eq!(guest.look_up(&world, &plan, "public.test"), None);
    assert_eq!(guest.fetch("203.0.113.7", 80), None);
    assert_eq!(world.seen(), "");
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn a_network_that_the_host_joins_later_is_forbidden_too(#[case] who: Who, #[case] mode: Mode) {
    let world = World::new(who);
    let plan = world.plan(mode);
    world.ensure(&plan).unwrap();
    let guest = Guest::plug(&world, &plan);
    guest.dhcp(&world, &plan);
    assert_eq!(guest.fetch("203.0.113.8", 80).as_deref(), Some("hello"));
    // As a VPN does when it comes up.
    world.root("ip route add 203.0.113.8/30 via 192.0.2.1");
    world.until("the VPN's network is forbidden", || guest.fetch("203.0.113.8", 80).is_none());
    assert_eq!(guest.fetch("203.0.113.7", 80).as_deref(), Some("hello"));
    assert!(!world.path("state/net/boma-it/broken").exists());
}

#[test]
fn a_resolver_on_the_hosts_loopback_serves_the_guest_and_nothing_else_there_does() {
    let world = World::new(Who::User);
    let plan = world.plan(Mode::Namespace);
    let argv = "dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --listen-address=127.0.0.53 \
        --bind-interfaces --user=root --group= --address=/public.test/203.0.113.7 --pid-file= --log-facility=/dev/null";
    let mut resolver = std::process::Command::new("nsenter");
    resolver.args(["-t", &world.host_pid().to_string(), "-n", "-m"]).args(argv.split_whitespace());
    let _resolver = world::Held(resolver.spawn().unwrap());
    world.root(&format!("echo nameserver 127.0.0.53 > {}", world.path("resolv.conf")));
    world.ensure(&plan).unwrap();
    let guest = Guest::plug(&world, &plan);
    guest.dhcp(&world, &plan);
    assert_eq!(guest.look_up(&world, &plan, "public.test").as_deref(), Some("203.0.113.7"));
    for near in ["169.254.77.1", "169.254.77.53", "127.0.0.1"] {
        assert_eq!(guest.fetch(near, 80), None, "{near}");
    }
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn when_the_holder_is_killed_everything_ends_or_is_in_the_ledger(#[case] who: Who, #[case] mode: Mode) {
    let world = World::new(who);
    let (plan, before) = (world.plan(mode), world.state());
    world.ensure(&plan).unwrap();
    let holder = world.ready(&plan)["holder"]["pid"].as_i64().unwrap();
    world.root(&format!("kill -KILL {holder}"));
    world.until("every process dies with the holder", || world.processes().is_empty());
    match mode {
        Mode::Namespace => assert_eq!(world.state(), before),
        Mode::Host => {
            assert!(world.state().contains("boma-it"), "the bridge stays: nobody is there to remove it");
            // The next one finds it and starts anew.
            world.ensure(&plan).unwrap();
            let holder = world.ready(&plan)["holder"]["pid"].as_i64().unwrap();
            world.root(&format!("kill -KILL {holder}"));
            world.until("every process dies with the holder", || world.processes().is_empty());
        }
    }
    assert_eq!(world.release(&plan), []);
    assert_eq!(world.state(), before);
    assert!(!world.path("state/net/boma-it").exists());
}

#[rstest]
#[case::dnsmasq("dnsmasq", Mode::Namespace)]
#[case::dnsmasq_on_the_host("dnsmasq", Mode::Host)]
#[case::pasta("pasta", Mode::Namespace)]
fn a_part_that_is_killed_is_told_by_name(#[case] part: &str, #[case] mode: Mode) {
    let world = World::new(Who::Root);
    let plan = world.plan(mode);
    world.ensure(&plan).unwrap();
    let network = NetDir::at(world.path("state/net/boma-it"));
    assert_eq!(network.broken_why().unwrap(), None);
    let ledger = Ledger::open(&network.ledger()).unwrap();
    let named = |change: &Change| match change {
        Change::Process { role, id } if role == part => Some(*id),
        _ => None,
    };
    assert!(ledger.changes().find_map(named).unwrap().end(std::time::Duration::ZERO).is_ok());
    world.until("it is told", || network.broken_why().unwrap().is_some_and(|why| why.contains(part)));
}

#[test]
fn traffic_that_is_not_ours_passes_while_the_network_is_on_the_host() {
    let world = World::new(Who::Root);
    world.root("echo 1 > /proc/sys/net/ipv4/ip_forward; nft add table inet theirs");
    let other = world::holding("exec unshare --net sh -c 'echo; exec sleep 1000'");
    let pid = other.pid();
    world.root(&format!(
        "set -e; ip link add lan1 type veth peer name eth0 netns {pid}
         echo 1 > /proc/sys/net/ipv6/conf/lan1/disable_ipv6 # its address would come and settle later
         ip addr add 10.44.0.1/24 dev lan1; ip link set lan1 up
         nsenter -t {pid} -n sh -c 'ip addr add 10.44.0.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.44.0.1'
         until ip link show lan1 | grep -q 'state UP'; do sleep 0.05; done"
    ));
    world.outside("ip route add 10.44.0.0/24 via 192.0.2.2");
    let (plan, before) = (world.plan(Mode::Host), world.state());
    world.ensure(&plan).unwrap();
    // Private addresses, forwarded by the host, not by us: neither filtered nor translated.
    world.root(&format!("nsenter -t {pid} -n nc -z -w 2 10.99.0.5 80; nsenter -t {pid} -n ping -c 1 -W 2 172.20.0.5"));
    world.outside("ping -c 1 -W 2 10.44.0.2");
    assert_eq!(world.release(&plan), []);
    assert_eq!(world.state(), before, "forwarding stays on, since it was");
}

#[test]
fn a_network_that_is_up_is_found_again_and_is_not_bent_to_another_plan() {
    let world = World::new(Who::Root);
    let mut plan = world.plan(Mode::Namespace);
    let first = world.ensure(&plan).unwrap();
    let second = world.ensure(&plan).unwrap();
    assert_eq!(first.enter, second.enter);
    plan.egress = Egress::None;
    let error = world.ensure(&plan).err().unwrap();
    assert!(error.to_string().contains("another plan"), "{error}");
}

#[test]
fn what_enters_the_network_has_only_the_capability_that_it_needs() {
    let world = World::new(Who::User);
    let plan = world.plan(Mode::Namespace);
    let ways = world.ensure(&plan).unwrap();
    let capabilities = |prefix: &[String]| {
        let argv = [prefix, &["grep".into(), "-E".into(), "Cap(Prm|Bnd|Amb)|NoNew".into(), "/proc/self/status".into()]]
            .concat();
        String::from_utf8(world.command(&argv).stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let (none, net_admin) = ("0000000000000000", "0000000000001000");
    assert_eq!(capabilities(&ways.enter), format!("CapPrm: {none} CapBnd: {none} CapAmb: {none} NoNewPrivs: 1"));
    assert_eq!(
        capabilities(&ways.enter_net_admin),
        format!("CapPrm: {net_admin} CapBnd: {net_admin} CapAmb: {net_admin} NoNewPrivs: 1")
    );
    let prefix = [world.onto_host(), ways.enter_net_admin].concat();
    let tap = Job::Tap { tap: plan.vm.tap.clone(), bridge: plan.bridge.clone() };
    let held = world.held(&prefix, &tap);
    let links = || must(&guest::site(&world, &plan), "ip -o link show master boma-it");
    assert!(links().contains("boma-tap0"), "{}", links());
    drop(held);
    world.until("the tap goes with its holder", || !links().contains("boma-tap0"));
}

#[test]
fn a_start_that_cannot_succeed_names_the_cause_and_leaves_nothing() {
    let world = World::new(Who::Root);
    let plan = world.plan(Mode::Host);
    let refused = |world: &World, plan: &NetPlan, words: &[&str]| {
        let before = world.state();
        let error = world.ensure(plan).err().unwrap().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        assert_eq!(world.state(), before);
        assert_eq!(world.processes(), Vec::<String>::new());
        assert!(!world.path("state/net/boma-it").exists());
    };
    let port = world.held(&world.onto_host(), &Job::Serve { port: 53 });
    refused(&world, &plan, &["10.213.77.1", "53", "in use"]);
    drop(port);
    world.root("ip link add lan0 type bridge; ip link set lan0 addrgenmode none; ip addr add 10.213.0.9/16 dev lan0; ip link set lan0 up");
    refused(&world, &plan, &["10.213.77.0/24", "10.213.0.0/16", "lan0"]);
    let plan = world.plan(Mode::Namespace);
    world.root(&format!(
        "printf '#!/bin/sh\\necho no luck; exit 3' > {0}; chmod 755 {0}; mount --bind {0} /usr/bin/pasta",
        world.path("pasta")
    ));
    refused(&world, &plan, &["pasta", "exit status: 3", "no luck"]);
    world.root("echo 'while :; do :; done' > /usr/bin/pasta");
    refused(&world, &plan, &["pasta", "not ready"]);
}
