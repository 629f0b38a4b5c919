//! A port of the host's loopback that leads into the network, with everything that can go wrong on the way.

use crate::driver::Job;
use crate::guest::Guest;
use crate::world::{Held, Who, World};
use host::lock::Lock;
use rstest::rstest;
use vm::forward::{Forwarded, Listen};
use vm::network::{Mode, NetPlan};

fn port(forwarded: &Forwarded) -> u16 {
    match &forwarded.listen {
        Listen::Tcp(at) => at.port(),
        Listen::Unix(path) => panic!("{path} is no port"),
    }
}

struct Site {
    _servers: [Held; 2],
    guest: Guest,
    alive: Option<Lock>,
    world: World,
    plan: NetPlan,
    /// What enters the network.
    enter: String,
}

impl Site {
    /// A VM that echoes on 7 and says hello on 80; its monitor is alive.
    fn new(who: Who, mode: Mode) -> Self {
        let world = World::new(who);
        let plan = world.plan(mode);
        let enter = world.ensure(&plan).unwrap().enter.join(" ");
        let guest = Guest::plug(&world, &plan);
        guest.dhcp(&world, &plan);
        let servers = [Job::Echo { port: 7 }, Job::Serve { port: 80 }].map(|job| world.held(guest.prefix(), &job));
        world.job::<()>(&Job::Ttl { exe: world.path("boma-qemu"), state: world.path("state"), seconds: 3600 });
        let alive = Lock::try_take(&world.path("state/vms/askari/alive.lock"), "a monitor").unwrap();
        Self { _servers: servers, guest, alive: Some(alive), world, plan, enter }
    }

    /// `HOSTPORT:VMPORT`, or `PATH=VMPORT`.
    fn forward(&self, ports: &str) -> Result<Forwarded, String> {
        self.forward_for(ports, false)
    }

    fn forward_for(&self, ports: &str, expose: bool) -> Result<Forwarded, String> {
        let (exe, state) = (self.world.path("boma-qemu"), self.world.path("state"));
        let (name, vm, ports) = (self.plan.name.clone(), self.plan.vm.ip, ports.into());
        self.world.job(&Job::Forward { exe, state, name, vm, ports, expose })
    }

    /// What another user of this host hears, and root as well: neither is the one who forwards.
    fn said_to_others(&self, netcat: &str) -> [String; 2] {
        let other = "setpriv --reuid 40043 --regid 40043 --clear-groups --inh-caps=-all --bounding-set=-all";
        let root = if self.world.who == Who::Root { other } else { "" };
        [other, root].map(|who| self.world.root(&format!("{who} {netcat} </dev/null; true")).trim().to_owned())
    }

    fn said(&self, port: u16) -> String {
        self.world.run_as_who(&format!("nc -w 2 127.0.0.1 {port} </dev/null"))
    }
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn a_port_of_the_loopback_leads_to_the_vm_and_goes_with_it(#[case] who: Who, #[case] mode: Mode) {
    let mut site = Site::new(who, mode);
    let hello = site.forward("0:80").unwrap();
    let echo = site.forward("0:7").unwrap();
    let world = &site.world;
    assert_eq!(site.said(port(&hello)), "hello");
    // Only there: not on the host's other addresses, and not in the network.
    let at = |address: &str| world.run_as_who(&format!("nc -w 1 {address} {} </dev/null; echo", port(&hello)));
    assert_eq!((at("192.0.2.2"), at("127.0.0.2")), (String::new(), String::new()));
    // Half closed: all is said before the first byte comes back, and more than any buffer holds.
    let at_echo = port(&echo);
    let half = format!("head -c 3000000 /dev/zero | nc -N -w 5 127.0.0.1 {at_echo} | wc -c");
    assert_eq!(world.run_as_who(&half), "3000000");
    // Many at once, each open until all are.
    let many = format!(
        "for n in $(seq 60); do (echo $n; sleep 1) | nc -N -w 5 127.0.0.1 {at_echo} & done | sort -n | uniq | wc -l; wait"
    );
    assert_eq!(world.run_as_who(&many), "60");
    // Nobody listens in the VM: a broken connection and no silence, and the forwarder goes on.
    let nobody = site.forward("0:81").unwrap();
    assert_eq!(site.said(port(&nobody)), "");
    assert_eq!(site.said(port(&hello)), "hello");
    // The same without a port of the host: one connection on standard input and output, as ssh's ProxyCommand has it.
    let connect = |port: u16| {
        let (enter, exe, vm) = (&site.enter, world.path("boma-qemu"), site.plan.vm.ip);
        format!("{enter} {exe} @connect {vm}:{port}")
    };
    assert_eq!(world.run_as_who(&format!("{} </dev/null", connect(80))), "hello");
    assert_eq!(world.run_as_who(&format!("head -c 3000000 /dev/zero | {} | wc -c", connect(7))), "3000000");
    let refused = world.run_as_who(&format!("{} </dev/null 2>&1; echo $?", connect(81)));
    assert!(refused.contains("cannot connect to") && refused.ends_with("\n4"), "{refused}");
    // With the monitor ends the forwarder.
    drop(site.alive.take());
    site.world.until("every forwarder ends with the VM", || {
        [&hello, &echo, &nobody].iter().all(|forwarded| !forwarded.process.is_alive())
    });
    assert_eq!(site.said(port(&hello)), "");
}

#[test]
fn what_is_forwarded_is_in_the_ledger_and_a_port_in_use_is_named() {
    let site = Site::new(Who::Root, Mode::Namespace);
    let first = site.forward("0:80").unwrap();
    let refused = site.forward(&format!("{}:80", port(&first))).unwrap_err();
    assert!(refused.contains("cannot listen on 127.0.0.1:") && refused.contains("in use"), "{refused}");
    let exposed = site.forward("0.0.0.0:0:80").unwrap_err();
    assert!(exposed.contains("others could reach the VM") && exposed.contains("0.0.0.0"), "{exposed}");
    let world = &site.world;
    let boma = |command: &str| {
        let (root, state, exe) = (env!("CARGO_MANIFEST_DIR"), world.path("state"), world.path("boma-qemu"));
        world.run_as_who(&format!("cd {root}; BOMA_STATE={state} {exe} {command} 2>&1"))
    };
    let status = boma("status");
    assert!(status.contains(&format!("forwards {first}")), "{status}");
    assert!(status.contains("in its own network namespace, net:[") && status.contains("nsenter --target"), "{status}");
    let Site { alive, .. } = &site;
    assert!(alive.is_some() && first.process.is_alive());
    // As `down` does for a monitor that does not listen: by the ledger alone.
    let down = boma("down askari");
    assert!(!first.process.is_alive() && !world.path("state/vms/askari").exists(), "{down}");
    assert_eq!(world.processes(), Vec::<String>::new());
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn a_port_of_the_loopback_is_for_the_user_who_forwards_and_for_nobody_else(#[case] who: Who, #[case] mode: Mode) {
    let site = Site::new(who, mode);
    let nobodys = || ["", ""].map(str::to_owned);
    // The same port for everybody: the others can connect where they are let in.
    let open = site.forward_for("0:80", true).unwrap();
    assert_eq!(
        site.said_to_others(&format!("nc -w 2 127.0.0.1 {}", port(&open))),
        ["hello", "hello"].map(str::to_owned)
    );
    assert!(open.to_string().ends_with("for whoever reaches it"), "{open}");
    let own = site.forward("0:80").unwrap();
    let to_own = format!("nc -w 2 127.0.0.1 {}", port(&own));
    assert_eq!(site.said_to_others(&to_own), nobodys());
    assert_eq!(site.said(port(&own)), "hello");
    // Not by giving the connection up at once, when the kernel says that it is root's: the VM hears of none.
    let echo = site.forward("0:7").unwrap();
    site.guest.run(
        "nft 'add table inet heard; add chain inet heard in { type filter hook input priority 0; }; add rule inet heard in tcp dport 7 counter'",
    );
    let packets = || site.guest.run("nft list chain inet heard in | grep -o 'packets [0-9]*'").trim().to_owned();
    let given_up = format!(
        "python3 -c 'import socket
for n in range(200):
    s = socket.create_connection((\"127.0.0.1\", {})); s.send(b\"x\"); s.close()'",
        port(&echo)
    );
    site.said_to_others(&given_up);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(packets(), "packets 0");
    // The user's own are heard: not given up before the kernel was asked, for then they have no owner either.
    site.world.run_as_who(
        &given_up.replace("s.close()", "time.sleep(0.01); s.close()").replace("socket\n", "socket, time\n"),
    );
    assert_ne!(packets(), "packets 0", "the user's own are heard");
    let log = std::fs::read_to_string(site.world.path("state/vms/askari/forward.log")).unwrap();
    assert!(log.contains("refused a connection of uid 40043"), "{log}");
    // Nor from another network namespace, nor over the host's other addresses.
    let elsewhere = format!("nc -w 1 192.0.2.2 {} </dev/null; true", port(&own));
    assert_eq!(site.world.outside(&elsewhere), "");
    // By IPv6's spelling of the same address.
    let mapped = format!("nc -w 2 ::ffff:127.0.0.1 {}", port(&own));
    assert_eq!(site.said_to_others(&mapped), nobodys());
    assert_eq!(site.world.run_as_who(&format!("{mapped} </dev/null")), "hello");
    let of = if who == Who::Root { 0 } else { 40042 };
    assert!(own.to_string().ends_with(&format!("for uid {of} only")), "{own}");
}

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn a_socket_is_for_the_user_who_forwards_and_goes_with_the_forwarder(#[case] who: Who, #[case] mode: Mode) {
    let mut site = Site::new(who, mode);
    let path = site.world.path("home/web.sock");
    let spec = format!("{path}=80");
    let first = site.forward(&spec).unwrap();
    let netcat = format!("nc -U -w 2 {path}");
    let hello = |site: &Site| site.world.run_as_who(&format!("{netcat} </dev/null"));
    assert_eq!(hello(&site), "hello");
    assert_eq!(
        site.world.root(&format!("stat -c %a:%u {path}")).trim(),
        if who == Who::Root { "600:0" } else { "600:40042" }
    );
    let others = site.said_to_others(&netcat);
    assert_eq!(others[0], "");
    // With the mode open to all it would be heard: the folder hides nothing.
    site.world.root(&format!("chmod 666 {path}"));
    assert_eq!(site.said_to_others(&netcat)[0], "hello");
    // What stands there is not taken over.
    let refused = site.forward(&spec).unwrap_err();
    assert!(refused.contains("cannot listen on") && refused.contains("exists"), "{refused}");
    let boma = |site: &Site, command: &str| {
        let (root, state, exe) = (env!("CARGO_MANIFEST_DIR"), site.world.path("state"), site.world.path("boma-qemu"));
        site.world.run_as_who(&format!("cd {root}; BOMA_STATE={state} {exe} {command} 2>&1"))
    };
    assert!(boma(&site, "status").contains(&format!("forwards {first}")));
    // A forwarder that is killed leaves its file, and the ledger has it.
    assert!(first.process.end(std::time::Duration::ZERO).is_ok());
    site.world.root(&format!("kill -KILL {} 2>/dev/null; true", first.process.pid));
    // With the monitor ends the next one, and its file goes.
    let second = format!("{}=80", site.world.path("home/second.sock"));
    let second = site.forward(&second).unwrap();
    drop(site.alive.take());
    site.world.until("the forwarder ends with the VM", || !second.process.is_alive());
    assert!(!site.world.path("home/second.sock").exists());
    let down = boma(&site, "down askari");
    assert!(!path.exists(), "{down}");
    assert_eq!(site.world.processes(), Vec::<String>::new(), "{down}");
}

#[test]
fn a_file_that_took_a_sockets_place_is_not_removed() {
    let site = Site::new(Who::Root, Mode::Namespace);
    let path = site.world.path("home/web.sock");
    let first = site.forward(&format!("{path}=80")).unwrap();
    assert!(first.process.end(std::time::Duration::ZERO).is_ok());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "mine").unwrap();
    let (root, state, exe) = (env!("CARGO_MANIFEST_DIR"), site.world.path("state"), site.world.path("boma-qemu"));
    site.world.run_as_who(&format!("cd {root}; BOMA_STATE={state} {exe} down askari"));
    assert!(!site.world.path("state/vms/askari").exists());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}
