//! Making a network, part by part. The ledger knows each part before it exists.

use super::authority::{self, Authority};
use super::caps::Keep;
use super::dir::NetDir;
use super::enter::Enter;
use super::keep::{NetnsHolder, Space};
use super::part::{Part, Readiness};
use super::plan::{Egress, Mode, NetPlan};
use super::{NetError, dnsmasq, host_facts, nft};
use camino::{Utf8Path, Utf8PathBuf};
use host::cmd::Cmd;
use host::dirs::{make_private, write_private};
use host::ledger::{Change, Ledger, Netns};
use host::presence::{Presence, ignore};
use host::process::ProcessId;
use host::turn;
use std::fmt::Write;

/// All that the holder holds.
#[derive(Debug)]
pub(crate) struct Built {
    /// The namespace holder of the guest side; none in host mode.
    pub guest: Option<NetnsHolder>,
    /// The namespace holder of the controller side.
    pub controller: NetnsHolder,
    /// dnsmasq, and pasta where there is a way out.
    pub parts: Vec<Part>,
}

/// What every step needs.
struct Site<'a> {
    exe: &'a Utf8Path,
    dir: &'a NetDir,
    plan: &'a NetPlan,
    ledger: &'a mut Ledger,
}

/// Make everything, in this order: namespaces, the way out (it takes longest, so it starts first and is
/// waited for last), filters before the bridge that they guard, the bridge, forwarding, the
/// controller's side, DHCP and DNS.
pub(crate) fn build(exe: &Utf8Path, dir: &NetDir, plan: &mut NetPlan, ledger: &mut Ledger) -> Result<Built, NetError> {
    let _turn = match plan.mode {
        Mode::Namespace => None,
        Mode::Host => turn::turn()?,
    };
    let host = host_facts::gather()?;
    if plan.mode == Mode::Host
        && let Some(clash) = host.iter().find(|network| network.to.overlaps(&plan.subnet))
    {
        return Err(NetError::Clash { subnet: plan.subnet, other: clash.to, device: clash.device.clone() });
    }
    plan.host_networks = host.into_iter().map(|network| network.to).collect();
    let mut site = Site { exe, dir, plan, ledger };
    let guest = match site.plan.mode {
        Mode::Namespace => Some(site.holder("namespace holder", &[], Space::UserAndRouter)?),
        Mode::Host => None,
    };
    let at = guest.as_ref().map(|netns| netns.id);
    let mut parts = Vec::new();
    if let Some(guest) = at
        && site.plan.has_way_out()
    {
        parts.push(site.pasta(guest)?);
    }
    site.filters(at)?;
    site.bridge(at)?;
    let controller = site.controller(at)?;
    parts.push(site.dnsmasq(at)?);
    for part in &mut parts {
        part.await_ready().map_err(|error| explain(error, &site))?;
    }
    if let Some(authority) = site.plan.authority.clone() {
        site.authority(at, &authority, &mut parts)?;
    }
    let mut built = Built { guest, controller, parts };
    // One can have died while another was waited for.
    match built.dead() {
        None => Ok(built),
        Some(error) => Err(error),
    }
}

impl Built {
    /// The end of a part or a namespace holder, if one has ended: then the network no longer works.
    pub(crate) fn dead(&mut self) -> Option<NetError> {
        for part in &mut self.parts {
            if let Some(status) = part.ended() {
                return Some(NetError::Ended { program: part.name, status, said: part.last_words() });
            }
        }
        let mut holders = self.guest.iter().chain([&self.controller]);
        holders.find(|netns| !netns.id.is_alive()).map(|netns| NetError::NetnsGone { pid: netns.id.pid })
    }
}

impl Site<'_> {
    fn holder(&mut self, role: &str, prefix: &[String], space: Space) -> Result<NetnsHolder, NetError> {
        let netns = NetnsHolder::start(self.exe, prefix, space)?;
        self.process(role, netns.id)?;
        Ok(netns)
    }

    /// Into the ledger with a child. It cannot be there before it has a pid, but it dies with the
    /// holder, which is in the ledger.
    fn process(&mut self, role: &str, id: ProcessId) -> Result<(), NetError> {
        Ok(self.ledger.adopt(Change::Process { role: role.into(), id })?)
    }

    /// The same with a part. One that has ended already is seen when it is waited for.
    fn part(&mut self, role: &str, part: &Part) -> Result<(), NetError> {
        match ProcessId::of(part.child.id().cast_signed()) {
            Ok(id) => self.process(role, id),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(NetError::Unknown { why: format!("cannot write {role} down: {e}") }),
        }
    }

    /// Into the ledger with something that is known by its name alone. What bears that name on the host already is
    /// somebody else's, and would be removed as ours.
    fn claim(&mut self, change: Change) -> Result<(), NetError> {
        let on_the_host = self.plan.mode == Mode::Host;
        if on_the_host {
            match change.presence() {
                Presence::Gone => {}
                Presence::There => return Err(NetError::Taken { what: change.to_string() }),
                Presence::Unknown(why) => return Err(NetError::Unknown { why }),
            }
        }
        Ok(self.ledger.adopt(change)?)
    }

    /// A short command with `CAP_NET_ADMIN` in the namespaces of `at`.
    fn admin(&self, at: Option<ProcessId>, program: &str) -> Cmd {
        let prefix = Enter { netns: at, keep: Keep::NetAdmin, bound: true }.prefix(self.exe);
        Cmd::new(&prefix[0]).args(&prefix[1..]).arg(program)
    }

    fn ip(&self, at: Option<ProcessId>, lines: String) -> Result<(), NetError> {
        self.admin(at, "ip").args(["-batch", "-"]).stdin(lines).run().map(drop).map_err(NetError::Command)
    }

    fn nft(&self, at: Option<ProcessId>, text: String) -> Result<(), NetError> {
        self.admin(at, "nft").args(["-f", "-"]).stdin(text).run().map(drop).map_err(NetError::Command)
    }

    fn pasta(&mut self, guest: ProcessId) -> Result<Part, NetError> {
        // It joins the namespaces by itself, from outside, and then drops what it had.
        let mut argv = Enter { netns: None, keep: Keep::All, bound: true }.prefix(self.exe);
        argv.extend(pasta_argv(self.plan, guest.pid, is_superuser()));
        // No pid file: where AppArmor holds pasta, it may write in few places.
        let readiness = Readiness::Route { of: guest, through: self.plan.uplink.interface.clone() };
        let part = Part::start("pasta", self.dir.path(), &argv, readiness)?;
        self.part("pasta", &part)?;
        Ok(part)
    }

    fn filters(&mut self, at: Option<ProcessId>) -> Result<(), NetError> {
        let netns = netns(at);
        let table = |family: &str| Change::NftTable { family: family.into(), name: self.plan.name.to_string(), netns };
        let (ports, guest) = (table("bridge"), table("inet"));
        let text = nft::ports(self.plan) + &nft::guest(self.plan);
        self.claim(ports)?;
        self.claim(guest)?;
        self.nft(at, text)
    }

    fn bridge(&mut self, at: Option<ProcessId>) -> Result<(), NetError> {
        let NetPlan { bridge, gateway, subnet, mode, authority, .. } = self.plan;
        let mut lines = format!(
            // A fixed address: a bridge otherwise takes over that of its lowest port. Without a
            // forwarding delay the guest's first DHCP question gets through.
            "link add name {bridge} address {} type bridge forward_delay 0 stp_state 0 mcast_snooping 0\n\
             link set dev {bridge} addrgenmode none\naddr add {gateway}/{} dev {bridge}\nlink set dev {bridge} up\n",
            bridge_mac(self.plan),
            subnet.bits(),
        );
        if *mode == Mode::Namespace {
            lines.push_str("link set dev lo up\n");
        }
        // Not on the bridge: the resolver takes that one's addresses for its own.
        if let Some(Authority { address, .. }) = authority {
            ignore(writeln!(lines, "addr add {address}/32 dev lo"), "writing into a String cannot fail");
        }
        self.claim(Change::Link { name: bridge.to_string(), netns: netns(at) })?;
        self.ip(at, lines)?;
        match mode {
            // The namespace holder has switched it on in its own.
            Mode::Namespace => Ok(()),
            Mode::Host => self.forwarding(),
        }
    }

    fn forwarding(&mut self) -> Result<(), NetError> {
        let key = "net/ipv4/ip_forward";
        let path = Utf8PathBuf::from(format!("/proc/sys/{key}"));
        let file = |source| NetError::File { path: path.clone(), source };
        let now = std::fs::read_to_string(&path).map_err(file)?;
        let shared = |e: std::io::Error| NetError::Unknown { why: format!("cannot see who else needs {key}: {e}") };
        let old = turn::before(key, now.trim()).map_err(shared)?;
        if old == "1" {
            return Ok(());
        }
        let user = ProcessId::own();
        let change =
            Change::Sysctl { key: key.into(), old: old.clone(), new: "1".into(), netns: Netns::Host, user: Some(user) };
        self.ledger.adopt(change)?;
        turn::join(key, &old, user).map_err(shared)?;
        std::fs::write(&path, "1").map_err(file)
    }

    fn controller(&mut self, at: Option<ProcessId>) -> Result<NetnsHolder, NetError> {
        let NetPlan { bridge, controller, subnet, gateway, .. } = self.plan;
        let (prefix, space) = match at {
            Some(_) => (Enter { netns: at, keep: Keep::All, bound: false }.prefix(self.exe), Space::Net),
            None => (Vec::new(), Space::UserAndNet),
        };
        let held = self.holder("namespace holder of the controller", &prefix, space)?;
        let port = self.plan.controller_port();
        self.claim(Change::Link { name: port.clone(), netns: netns(at) })?;
        self.ip(
            at,
            format!(
                "link add name {port} type veth peer name eth0 netns {}\n\
                 link set dev {port} addrgenmode none\nlink set dev {port} master {bridge} up\n",
                held.id.pid
            ),
        )?;
        let inside = Some(held.id);
        self.nft(inside, nft::controller(self.plan))?;
        let mut lines = format!(
            "link set dev lo up\nlink set dev eth0 addrgenmode none\n\
             addr add {controller}/{} dev eth0\nlink set dev eth0 up\n",
            subnet.bits()
        );
        for exception in &self.plan.controller_allow {
            ignore(
                writeln!(lines, "route replace {} via {gateway}", exception.to),
                "writing into a String cannot fail",
            );
        }
        self.ip(inside, lines)?;
        Ok(held)
    }

    /// The authority, then the ACME server, which the authority writes the configuration of and asks for its root.
    fn authority(
        &mut self,
        at: Option<ProcessId>,
        authority: &Authority,
        parts: &mut Vec<Part>,
    ) -> Result<(), NetError> {
        let dir = self.dir.authority();
        make_private(dir.path())?;
        write_private(&dir.plan(), serde_json::to_vec_pretty(authority).unwrap_or_default())?;
        let serve = [self.exe.to_string(), authority::NAME.into(), dir.path().to_string()];
        // Its validations wait up to 15 s and it refuses every twentieth request, unless it is told not to.
        let dns = format!("{}:{}", authority.address, authority::RESOLVER_PORT);
        let steady = ["env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", authority::ACME];
        let config = [dir.acme_config().as_str(), &dns].map(str::to_owned);
        let acme = steady.map(str::to_owned).into_iter();
        let acme = acme.chain(["-config".into(), config[0].clone(), "-dnsserver".into(), config[1].clone()]);
        let each = [
            ("authority", Keep::Ports, serve.to_vec(), dir.acme_config()),
            (authority::ACME, Keep::None, acme.collect(), dir.issuers()),
        ];
        for (name, keep, command, written) in each {
            let mut argv = Enter { netns: at, keep, bound: true }.prefix(self.exe);
            argv.extend(command);
            let mut part = Part::start(name, self.dir.path(), &argv, Readiness::File(written))?;
            self.part(name, &part)?;
            part.await_ready()?;
            parts.push(part);
        }
        Ok(())
    }

    fn dnsmasq(&mut self, at: Option<ProcessId>) -> Result<Part, NetError> {
        let config = self.dir.path().join("dnsmasq.conf");
        let own = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
        write_private(&config, dnsmasq::config(self.plan, self.dir.path()))?;
        write_private(&self.dir.refused(), dnsmasq::refused(self.plan))?;
        write_private(&self.dir.resolv_conf(), format!("nameserver {}\n", self.plan.gateway))?;
        write_private(&self.dir.hosts(), format!("127.0.0.1 localhost {own}\n::1 localhost\n"))?;
        if let Some(client) = &self.plan.leased_to {
            write_private(&self.dir.leases(), dnsmasq::lease(self.plan, client))?;
        }
        let mut argv = Enter { netns: at, keep: Keep::Dnsmasq, bound: true }.prefix(self.exe);
        argv.extend(["dnsmasq".into(), "--keep-in-foreground".into(), format!("--conf-file={config}")]);
        if is_superuser() {
            // It would change to a user of its own, for which it lacks the capability here.
            argv.extend(["--user=root".into(), "--group=".into()]);
        }
        let readiness = Readiness::File(self.dir.dnsmasq_pid());
        let part = Part::start("dnsmasq", self.dir.path(), &argv, readiness)?;
        self.part("dnsmasq", &part)?;
        Ok(part)
    }
}

/// pasta's command line. It copies the host's addresses unless it is given others, and it forwards
/// ports both ways, and the gateway's address to the host's loopback, unless it is told not to.
fn pasta_argv(plan: &NetPlan, guest: i32, superuser: bool) -> Vec<String> {
    let uplink = &plan.uplink;
    let mut argv = vec!["pasta".to_owned()];
    if superuser {
        // As root it changes to "nobody", who may not join the namespaces.
        argv.extend(["--runas".into(), "0".into()]);
    }
    let options = [
        "--foreground",
        "--ipv4-only",
        "--config-net",
        "--no-map-gw",
        "--no-dhcp",
        "--no-dhcpv6",
        "--no-ndp",
        "--no-ra",
    ];
    argv.extend(options.map(str::to_owned));
    let off = ["--tcp-ports", "--udp-ports", "--tcp-ns", "--udp-ns"];
    argv.extend(off.into_iter().flat_map(|option| [option.to_owned(), "none".into()]));
    let values = [
        ("--ns-ifname", uplink.interface.to_string()),
        ("--address", uplink.address.to_string()),
        ("--netmask", uplink.subnet.mask().to_string()),
        ("--gateway", uplink.gateway.to_string()),
    ];
    argv.extend(values.into_iter().flat_map(|(option, value)| [option.to_owned(), value]));
    if plan.egress == Egress::Nat {
        argv.extend(["--dns-forward".into(), uplink.dns.to_string()]);
    }
    argv.push(guest.to_string());
    argv
}

/// A locally administered address made from the gateway's, so that it is the same every time.
fn bridge_mac(plan: &NetPlan) -> String {
    let [a, b, c, d] = plan.gateway.octets();
    format!("02:b0:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// dnsmasq's most usual reason is worth a name of its own.
fn explain(error: NetError, site: &Site<'_>) -> NetError {
    match error {
        NetError::Ended { program: "dnsmasq", said, .. } if said.contains("Address already in use") => {
            NetError::PortBusy { address: site.plan.gateway, said }
        }
        other => other,
    }
}

fn netns(at: Option<ProcessId>) -> Netns {
    at.map_or(Netns::Host, Netns::Kept)
}

fn is_superuser() -> bool {
    rustix::process::geteuid().is_root()
}
