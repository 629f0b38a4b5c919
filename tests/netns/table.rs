//! The containment table: what a hostile guest can send, sent, and what has come through anywhere.
//!
//! Witnesses stand behind every filter of ours: in the outside, on the host, where the bridge is, in another VM and in
//! the controller's namespace. They write down each packet that is delivered there and begins something new.

use crate::driver::Job;
use crate::frames::{
    self, ARP, BROADCAST, IPV4, IPV6, QINQ, VLAN, arp_claim, ethernet, icmp_echo, ipv4, ipv6, tagged, tcp, udp,
};
use crate::guest::Guest;
use crate::never::MOVED;
use crate::world::{Held, Who, World, must};
use rstest::rstest;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use vm::network::{Mode, NetFile, NetPlan};

/// What is sent.
enum Send {
    /// A script in the guest.
    Script(String),
    /// Frames, as they are.
    Frames(Vec<Vec<u8>>),
}

struct Attempt {
    name: String,
    send: Send,
    /// What comes through, as the witnesses call it; nothing, most of the time.
    expected: &'static [&'static str],
}

fn frame(name: impl Into<String>, frame: Vec<u8>) -> Attempt {
    Attempt { name: name.into(), send: Send::Frames(vec![frame]), expected: &[] }
}

fn script(name: impl Into<String>, text: impl Into<String>) -> Attempt {
    Attempt { name: name.into(), send: Send::Script(text.into()), expected: &[] }
}

fn allowed(attempt: Attempt, expected: &'static [&'static str]) -> Attempt {
    Attempt { expected, ..attempt }
}

/// Near things that no guest may reach, and what each stands for. All of them answer on TCP port 80.
const NEAR: [(&str, &str); 13] = [
    ("LAN", "192.168.44.5"),
    ("LAN", "172.20.0.5"),
    ("LAN", "10.99.0.5"),
    ("mesh (CGNAT)", "100.64.9.9"),
    ("link-local", "169.254.169.254"),
    ("real host", "198.51.100.136"),
    ("real host, where its name has moved to", MOVED),
    ("network of the host's VPN", "198.51.100.70"),
    ("host's router", "192.0.2.1"),
    ("host", "192.0.2.2"),
    ("host, as its loopback", "127.0.0.1"),
    ("another VM", "10.213.78.10"),
    ("another VM's router", "10.213.78.1"),
];

/// A network with a guest, another with another VM, and the witnesses.
struct Site {
    places: Vec<(&'static str, Vec<String>)>,
    guest: Guest,
    _other: (Guest, Held),
    plan: NetPlan,
    world: World,
    bridge: [u8; 6],
    /// Where the other VM's bridge is.
    other_site: Vec<String>,
}

const WITNESS: &str = r#"table inet witness {
  set v4 { type ipv4_addr . inet_proto; flags dynamic; }
  set v6 { type ipv6_addr . inet_proto; flags dynamic; }
  chain in {
    type filter hook input priority 300; policy accept;
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } iifname "eth0" accept
    ct state established,related accept
    # A server whose client is cut off in the middle of a connection goes on sending its end, for longer than connection
    # tracking remembers whose it was.
    tcp sport 80 tcp flags & syn == 0 accept
    # The host itself asks again and again where the names of the never list are.
    ip saddr 192.0.2.2 ip daddr 10.99.0.53 udp dport 53 accept
    add @v4 { ip daddr . ip protocol }
    add @v6 { ip6 daddr . meta l4proto }
  }
}
table arp witness {
  set claimed { type ipv4_addr; flags dynamic; }
  chain in {
    type filter hook input priority 300; policy accept;
    arp saddr ether MAC arp saddr ip != { 0.0.0.0, VM } add @claimed { arp saddr ip }
  }
}
"#;

impl Site {
    fn new(who: Who, mode: Mode) -> Self {
        let world = World::new(who);
        let plan = world.plan(mode);
        world.ensure(&plan).unwrap();
        let other_plan = second(&world, mode);
        world.ensure(&other_plan).unwrap();
        let (guest, other) = (Guest::plug(&world, &plan), Guest::plug(&world, &other_plan));
        guest.dhcp(&world, &plan);
        other.dhcp(&world, &other_plan);
        assert!(guest.connects(MOVED, 80), "what no name of the list has is open");
        world.moves("askari.test", MOVED);
        world.until("the name's new address is forbidden", || !guest.connects(MOVED, 80));
        let serves = world.held(other.prefix(), &Job::Serve { port: 80 });
        let into = |pid: &str| ["nsenter", "-t", pid, "-n"].map(str::to_owned).to_vec();
        let keeper = |plan: &NetPlan, which: &str| world.ready(plan)[which]["pid"].as_u64().map(|pid| pid.to_string());
        let mut places = vec![
            ("outside", into(&world.outside_pid().to_string())),
            ("host", into(&world.host_pid().to_string())),
            ("another VM", other.prefix().to_vec()),
            ("controller", into(&keeper(&plan, "controller").unwrap())),
        ];
        for (name, plan) in [("network", &plan), ("another network", &other_plan)] {
            // On the host there is no other place than the host.
            places.extend(keeper(plan, "guest").map(|pid| (name, into(&pid))));
        }
        let witness = WITNESS.replace("MAC", &plan.vm.mac.to_string()).replace("VM", &plan.vm.ip.to_string());
        for (_, place) in &places {
            must(place, &format!("nft -f - <<'E'\n{witness}E"));
        }
        let site = crate::guest::site(&world, &plan);
        let bridge = frames::mac(must(&site, "cat /sys/class/net/boma-it/address 2>/dev/null || ip -o link show boma-it | sed 's/.*ether \\([^ ]*\\).*/\\1/'").trim());
        let other_site = crate::guest::site(&world, &other_plan);
        Self { places, guest, _other: (other, serves), plan, world, bridge, other_site }
    }

    /// The same addresses from where they may be reached: they are there, and each witness writes.
    fn is_near_and_seen(&self) {
        for (_, address) in NEAR.iter().take(10) {
            self.world.root(&format!("nc -z -w 2 {address} 80"));
        }
        must(&self.other_site, "nc -z -w 2 10.213.78.10 80");
        let controller = self.places.iter().find(|(name, _)| *name == "controller").unwrap();
        crate::world::tried(&controller.1, "nc -z -w 2 127.0.0.1 80");
        let seen = self.seen();
        for (witness, count) in [("outside", 9), ("host", 1), ("another VM", 1), ("controller", 1)] {
            let prefix = format!("{witness}: ");
            assert_eq!(seen.iter().filter(|line| line.starts_with(&prefix)).count(), count, "{seen:?}");
        }
    }

    /// What has come through since the last look.
    fn seen(&self) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        for (name, place) in &self.places {
            let text = must(
                place,
                "nft list table inet witness && nft list table arp witness && nft 'flush set inet witness v4; flush set inet witness v6; flush set arp witness claimed'",
            );
            for elements in text.split("elements = {").skip(1) {
                let elements = elements.split('}').next().unwrap().split(',').map(str::trim);
                seen.extend(elements.map(|element| format!("{name}: {element}")));
            }
        }
        seen
    }

    fn attempt(&self, attempt: &Attempt) -> BTreeSet<String> {
        match &attempt.send {
            // Whether it thinks that it got through is not asked: the witnesses know.
            Send::Script(text) => drop(crate::world::tried(self.guest.prefix(), text)),
            Send::Frames(frames) => {
                let job = Job::Frames { device: "eth0".into(), frames: frames.clone() };
                self.world.ask(self.guest.prefix(), &job)
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(30));
        self.seen()
    }
}

/// A second network, with another VM.
fn second(world: &World, mode: Mode) -> NetPlan {
    let file = world.path("boma-it2.json");
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/net/boma-it.json")).unwrap();
    std::fs::write(&file, text.replace("boma-it", "boma-it2").replace("10.213.77.", "10.213.78.")).unwrap();
    let names = ("boma-it-other".parse().unwrap(), "boma-tap1".parse().unwrap(), "52:54:00:12:34:99".parse().unwrap());
    NetFile::read(&file).unwrap().plan(mode, names.0, names.1, names.2)
}

fn attempts(site: &Site) -> Vec<Attempt> {
    let mut all = ordinary(site);
    all.extend(near(site));
    all.extend(services(site));
    all.extend(lies(site));
    all.extend(wrapped(site));
    all.extend(six(site));
    all
}

/// What must work, or the rest would prove nothing.
fn ordinary(site: &Site) -> Vec<Attempt> {
    let (ping, gateway) = (site.world.path("ping"), site.plan.gateway);
    let own = site.ip_frame([203, 0, 113, 9].into(), 17, &udp(5000, 9999, b"x"));
    vec![
        allowed(script("the internet, TCP", "nc -z -w 1 203.0.113.7 80"), &["outside: 203.0.113.7 . tcp"]),
        allowed(frame("the internet, UDP, a frame of our own making", own), &["outside: 203.0.113.9 . udp"]),
        allowed(script("ping of its router", format!("{ping} -c 1 -W 1 {gateway}")), &["router: 10.213.77.1 . icmp"]),
    ]
}

fn near(site: &Site) -> Vec<Attempt> {
    let mut all = Vec::new();
    for (what, address) in NEAR {
        let to: Ipv4Addr = address.parse().unwrap();
        let syn = tcp((site.plan.vm.ip, to), 5001, 80, 2);
        all.push(frame(format!("{what}, {address}, UDP"), site.ip_frame(to, 17, &udp(5000, 9999, b"x"))));
        all.push(frame(format!("{what}, {address}, TCP SYN"), site.ip_frame(to, 6, &syn)));
        all.push(frame(format!("{what}, {address}, ping"), site.ip_frame(to, 1, &icmp_echo())));
        all.push(frame(format!("{what}, {address}, SCTP"), site.ip_frame(to, 132, &[0; 32])));
    }
    all.push(script("LAN, 10.99.0.5, a TCP connection", "nc -z -w 1 10.99.0.5 80"));
    all.push(script("another VM, a TCP connection", "nc -z -w 1 10.213.78.10 80"));
    all
}

/// The services of the host, and of what stands for it in namespace mode.
fn services(site: &Site) -> Vec<Attempt> {
    let (vm, gateway, controller) = (site.plan.vm.ip, site.plan.gateway, site.plan.controller);
    let mut all = Vec::new();
    for port in [22, 80, 443, 5355, 9090] {
        all.push(script(format!("its router, TCP port {port}"), format!("nc -z -w 1 {gateway} {port}")));
    }
    let multicast = Ipv4Addr::new(224, 0, 0, 251);
    let to_all =
        |to: Ipv4Addr| ethernet(BROADCAST, site.mac(), IPV4, &ipv4(vm, to, 17, &[], 0, &udp(5000, 5353, b"x")));
    all.push(frame("its router, UDP port 9999", site.ip_frame(gateway, 17, &udp(5000, 9999, b"x"))));
    all.push(frame(
        "its router, an answer to nothing",
        site.ip_frame(gateway, 6, &tcp((vm, gateway), 80, 40000, 0x12)),
    ));
    all.push(frame("everybody, UDP broadcast", to_all(Ipv4Addr::BROADCAST)));
    all.push(frame("everybody in the subnet, UDP broadcast", to_all([10, 213, 77, 255].into())));
    all.push(frame("mDNS, multicast", to_all(multicast)));
    for near in ["169.254.77.1", "169.254.77.53"] {
        all.push(script(format!("what pasta maps, {near}, TCP"), format!("nc -z -w 1 {near} 80")));
        let udp = site.ip_frame(near.parse().unwrap(), 17, &udp(5000, 9999, b"x"));
        all.push(frame(format!("what pasta maps, {near}, UDP"), udp));
    }
    all.push(script("the controller, TCP", format!("nc -z -w 1 {controller} 22")));
    let to_controller = |protocol, payload: &[u8]| {
        ethernet(BROADCAST, site.mac(), IPV4, &ipv4(vm, controller, protocol, &[], 0, payload))
    };
    all.push(frame("the controller, UDP", to_controller(17, &udp(5000, 9999, b"x"))));
    all.push(frame("the controller, ping", to_controller(1, &icmp_echo())));
    all
}

/// Others' addresses.
fn lies(site: &Site) -> Vec<Attempt> {
    let (vm, gateway, controller) = (site.plan.vm.ip, site.plan.gateway, site.plan.controller);
    let far = Ipv4Addr::new(203, 0, 113, 9);
    let datagram = udp(5000, 9999, b"x");
    let mut all = Vec::new();
    for from in [
        "10.213.77.11",
        "10.213.77.1",
        "10.213.77.2",
        "203.0.113.50",
        "198.51.100.136",
        "192.0.2.2",
        "127.0.0.1",
        "0.0.0.0",
    ] {
        let packet = ipv4(from.parse().unwrap(), far, 17, &[], 0, &datagram);
        all.push(frame(format!("the source address {from}"), ethernet(site.bridge, site.mac(), IPV4, &packet)));
    }
    let other_mac = [0x52, 0x54, 0, 0, 0, 1];
    let own = ipv4(vm, far, 17, &[], 0, &datagram);
    all.push(frame("another's Ethernet address", ethernet(site.bridge, other_mac, IPV4, &own)));
    all.push(frame("the router's Ethernet address", ethernet(site.bridge, site.bridge, IPV4, &own)));
    for (whose, address) in
        [("the router's", gateway), ("the controller's", controller), ("the real host's", [198, 51, 100, 136].into())]
    {
        let claim = arp_claim(site.mac(), address);
        all.push(frame(format!("an ARP claim of {whose} address"), ethernet(BROADCAST, site.mac(), ARP, &claim)));
    }
    // A DHCP server's words, as its own and as the router's.
    for from in [vm, gateway] {
        let offer = ipv4(from, Ipv4Addr::BROADCAST, 17, &[], 0, &udp(67, 68, &[2; 300]));
        all.push(frame(format!("a DHCP offer from {from}"), ethernet(BROADCAST, site.mac(), IPV4, &offer)));
        let to_one = ipv4(from, controller, 17, &[], 0, &udp(67, 68, &[2; 300]));
        all.push(frame(
            format!("a DHCP offer from {from} to the controller"),
            ethernet(BROADCAST, site.mac(), IPV4, &to_one),
        ));
    }
    all
}

/// In wrappings that a filter may not look into.
fn wrapped(site: &Site) -> Vec<Attempt> {
    let vm = site.plan.vm.ip;
    let lan = Ipv4Addr::new(10, 99, 0, 5);
    let far = Ipv4Addr::new(203, 0, 113, 9);
    let datagram = udp(5000, 9999, &[7; 64]);
    let (first, second) = datagram.split_at(40);
    let piece =
        |fragment, part: &[u8]| ethernet(site.bridge, site.mac(), IPV4, &ipv4(vm, lan, 17, &[], fragment, part));
    let ours = site.ip_frame(far, 17, &datagram);
    let no_ip = |kind: u16| ethernet(site.bridge, site.mac(), kind, &ipv4(vm, far, 17, &[], 0, &datagram));
    // Loose source route: by our router to the LAN (RFC 791, option 131).
    let mut route = vec![131, 7, 4];
    route.extend(lan.octets());
    route.push(0);
    let routed = ethernet(site.bridge, site.mac(), IPV4, &ipv4(vm, far, 17, &route, 0, &datagram));
    vec![
        Attempt {
            name: "LAN, in two fragments".into(),
            send: Send::Frames(vec![piece(0x2000, first), piece(5, second)]),
            expected: &[],
        },
        frame("LAN, by a source route", routed),
        frame("a tag for a VLAN", tagged(&ours, &[VLAN])),
        frame("two tags for VLANs", tagged(&ours, &[QINQ, VLAN])),
        frame("PPPoE", no_ip(0x8864)),
        frame("MPLS", no_ip(0x8847)),
        frame("an Ethernet type that nobody has", no_ip(0x88b5)),
        frame(
            "a spanning tree's bridge",
            ethernet([1, 0x80, 0xc2, 0, 0, 0], site.mac(), 38, &[0x42, 0x42, 3, 0, 0, 0, 0]),
        ),
    ]
}

fn six(site: &Site) -> Vec<Attempt> {
    let guest: Ipv6Addr = "fe80::5054:ff:fe12:3456".parse().unwrap();
    let global: Ipv6Addr = "2001:db8:1::10".parse().unwrap();
    let datagram = udp(5000, 9999, b"x");
    let multicast = [0x33, 0x33, 0, 0, 0, 1];
    let to = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    let mut all = Vec::new();
    for (what, from, address) in [
        ("the internet", global, "2001:db8::1"),
        ("the host", global, "2001:db8::2"),
        ("an address of the local kind", global, "fd00::5"),
        ("the bridge", guest, "fe80::b0:aff:fed5:4d01"),
    ] {
        let packet = ipv6(from, to(address), 17, &datagram);
        all.push(frame(format!("IPv6, {what}, {address}"), ethernet(site.bridge, site.mac(), IPV6, &packet)));
    }
    let everybody = ipv6(guest, to("ff02::1"), 17, &datagram);
    all.push(frame("IPv6, everybody on the link", ethernet(multicast, site.mac(), IPV6, &everybody)));
    // A router's word: a default router for 1800 s (RFC 4861), and a DHCPv6 server's.
    let router = ipv6(guest, to("ff02::1"), 58, &[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    all.push(frame("IPv6, a router's advertisement", ethernet(multicast, site.mac(), IPV6, &router)));
    let server = ipv6(guest, to("ff02::1"), 17, &udp(547, 546, &[2; 64]));
    all.push(frame("IPv6, a DHCP server's words", ethernet(multicast, site.mac(), IPV6, &server)));
    all
}

impl Site {
    fn mac(&self) -> [u8; 6] {
        frames::mac(&self.plan.vm.mac.to_string())
    }

    /// A packet of the guest's own, by its router.
    fn ip_frame(&self, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
        ethernet(self.bridge, self.mac(), IPV4, &ipv4(self.plan.vm.ip, to, protocol, &[], 0, payload))
    }
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn nothing_that_a_hostile_guest_sends_comes_through(#[case] who: Who, #[case] mode: Mode) {
    let site = Site::new(who, mode);
    site.is_near_and_seen();
    let router = if mode == Mode::Host { "host: " } else { "network: " };
    let (mut wrong, attempts) = (Vec::new(), attempts(&site));
    println!("{:<56} {:<34} observed", "attempt", "expected");
    for attempt in &attempts {
        let expected: BTreeSet<_> = attempt.expected.iter().map(|line| line.replace("router: ", router)).collect();
        let observed = site.attempt(attempt);
        let told = |lines: &BTreeSet<String>| match lines.is_empty() {
            true => "nothing".to_owned(),
            false => lines.iter().cloned().collect::<Vec<_>>().join(", "),
        };
        println!("{:<56} {:<34} {}", attempt.name, told(&expected), told(&observed));
        if observed != expected {
            wrong.push(format!("{}: {}", attempt.name, told(&observed)));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    println!("{} attempts", attempts.len());
}
