//! A machine on the bridge that stands for the VM: a network namespace on a cable that is called as
//! the VM's tap is.

use crate::driver::Job;
use crate::world::{Held, World, holding_behind, must, tried};
use vm::network::NetPlan;

pub(crate) struct Guest {
    held: Held,
    prefix: Vec<String>,
}

impl Guest {
    /// Plug it in, and give it the address that DHCP gives.
    pub(crate) fn plug(world: &World, plan: &NetPlan) -> Self {
        let site = site(world, plan);
        let unshare = [site.clone(), vec!["unshare".into(), "--net".into()]].concat();
        let held = holding_behind(&unshare, "echo; exec sleep 1000");
        let pid = held.pid();
        must(
            &site,
            &format!(
                "ip link add {tap} type veth peer name eth0 netns {pid} && ip link set {tap} master {bridge} up",
                tap = plan.vm.tap,
                bridge = plan.bridge
            ),
        );
        let into = ["nsenter", "-t", &pid.to_string(), "-n"].map(str::to_owned).to_vec();
        let prefix = [site, into].concat();
        let guest = Self { held, prefix };
        guest.run(&format!("ip link set eth0 address {}; ip link set lo up; ip link set eth0 up", plan.vm.mac));
        guest
    }

    /// Ask for an address and take it.
    pub(crate) fn dhcp(&self, world: &World, plan: &NetPlan) -> (String, String, String) {
        let job = Job::Dhcp { device: "eth0".into(), mac: plan.vm.mac.to_string() };
        let got: (String, String, String) = world.ask(&self.prefix, &job);
        self.run(&format!("ip addr add {}/24 dev eth0; ip route add default via {}", got.0, got.1));
        got
    }

    pub(crate) fn run(&self, script: &str) -> String {
        must(&self.prefix, script)
    }

    /// A process in its network namespace.
    pub(crate) fn pid(&self) -> u32 {
        self.held.pid()
    }

    pub(crate) fn prefix(&self) -> &[String] {
        &self.prefix
    }

    /// Whether a TCP port can be connected to.
    pub(crate) fn connects(&self, to: &str, port: u16) -> bool {
        tried(&self.prefix, &format!("nc -z -w 1 {to} {port}")).status.success()
    }

    /// What a TCP port answers, if it does.
    pub(crate) fn fetch(&self, to: &str, port: u16) -> Option<String> {
        let out = tried(&self.prefix, &format!("nc -w 1 {to} {port} </dev/null"));
        let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// What our resolver answers for a name: A and AAAA.
    pub(crate) fn look_up(&self, world: &World, plan: &NetPlan, name: &str) -> Option<String> {
        let conf = world.path("guest-resolv.conf");
        std::fs::write(&conf, format!("nameserver {}\n", plan.gateway)).unwrap();
        let mount = [self.prefix.clone(), vec!["unshare".into(), "--mount".into()]].concat();
        let out = tried(
            &mount,
            &format!(
                "mount --bind {conf} /etc/resolv.conf; mount --bind /dev/null /etc/hosts; getent ahosts {name} | cut -d' ' -f1 | sort -u"
            ),
        );
        let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

/// The prefix to where the bridge is, with every capability there.
pub(crate) fn site(world: &World, plan: &NetPlan) -> Vec<String> {
    let ready = world.ready(plan);
    let guest = &ready["guest"];
    match (guest["pid"].as_u64(), guest["start_time"].as_u64()) {
        (Some(pid), Some(start)) => {
            let exe = world.path("boma-qemu").to_string();
            let enter = [&exe, "@enter", "--keeper", &format!("{pid}:{start}"), "--keep", "all", "--"];
            [world.as_who(), enter.map(str::to_owned).to_vec()].concat()
        }
        _ => ["nsenter", "-t", &world.host_pid().to_string(), "-n"].map(str::to_owned).to_vec(),
    }
}
