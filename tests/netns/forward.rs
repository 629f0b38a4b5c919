//! A port of the host's loopback that leads into the network, with everything that can go wrong on the way.

use crate::driver::Job;
use crate::guest::Guest;
use crate::world::{Held, Who, World};
use boma_qemu::forward::Forwarded;
use boma_qemu::host::lock::Lock;
use boma_qemu::network::{Mode, NetPlan};
use rstest::rstest;

struct Site {
    _servers: [Held; 2],
    _guest: Guest,
    alive: Option<Lock>,
    world: World,
    plan: NetPlan,
}

impl Site {
    /// A VM that echoes on 7 and says hello on 80; its monitor is alive.
    fn new(who: Who, mode: Mode) -> Self {
        let world = World::new(who);
        let plan = world.plan(mode);
        world.ensure(&plan).unwrap();
        let guest = Guest::plug(&world, &plan);
        guest.dhcp(&world, &plan);
        let servers = [Job::Echo { port: 7 }, Job::Serve { port: 80 }].map(|job| world.held(guest.prefix(), &job));
        world.job::<()>(&Job::Ttl { exe: world.path("boma-qemu"), state: world.path("state"), seconds: 3600 });
        let alive = Lock::try_take(&world.path("state/vms/askari/alive.lock"), "a monitor").unwrap();
        Self { _servers: servers, _guest: guest, alive: Some(alive), world, plan }
    }

    fn forward(&self, ports: &str) -> Result<Forwarded, String> {
        let (exe, state) = (self.world.path("boma-qemu"), self.world.path("state"));
        let (name, vm, ports) = (self.plan.name.clone(), self.plan.vm.ip, ports.into());
        self.world.job(&Job::Forward { exe, state, name, vm, ports })
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
    assert_eq!(site.said(hello.listen.port()), "hello");
    // Only there: not on the host's other addresses, and not in the network.
    let at = |address: &str| world.run_as_who(&format!("nc -w 1 {address} {} </dev/null; echo", hello.listen.port()));
    assert_eq!((at("192.0.2.2"), at("127.0.0.2")), (String::new(), String::new()));
    // Half closed: all is said before the first byte comes back, and more than any buffer holds.
    let port = echo.listen.port();
    let half = format!("head -c 3000000 /dev/zero | nc -N -w 5 127.0.0.1 {port} | wc -c");
    assert_eq!(world.run_as_who(&half), "3000000");
    // Many at once, each open until all are.
    let many = format!(
        "for n in $(seq 60); do (echo $n; sleep 1) | nc -N -w 5 127.0.0.1 {port} & done | sort -n | uniq | wc -l; wait"
    );
    assert_eq!(world.run_as_who(&many), "60");
    // Nobody listens in the VM: a broken connection and no silence, and the forwarder goes on.
    let nobody = site.forward("0:81").unwrap();
    assert_eq!(site.said(nobody.listen.port()), "");
    assert_eq!(site.said(hello.listen.port()), "hello");
    // With the monitor ends the forwarder.
    drop(site.alive.take());
    site.world.until("every forwarder ends with the VM", || {
        [hello, echo, nobody].iter().all(|forwarded| !forwarded.process.is_alive())
    });
    assert_eq!(site.said(hello.listen.port()), "");
}

#[test]
fn what_is_forwarded_is_in_the_ledger_and_a_port_in_use_is_named() {
    let site = Site::new(Who::Root, Mode::Namespace);
    let first = site.forward("0:80").unwrap();
    let refused = site.forward(&format!("{}:80", first.listen.port())).unwrap_err();
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
