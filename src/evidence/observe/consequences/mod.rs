//! One cause, one finding: which loss comes of which other one.
//!
//! A loss comes of another only by a relation that the two states show: a listener whose process was the lost unit's, an
//! address on a lost interface, a container of a Docker that does not run. What is merely lost at the same time stays a
//! finding of its own.

use crate::observe::diff::Change;
use crate::observe::state::{Facts, Section, State};
use std::collections::BTreeMap;

/// Note for each loss the one that it comes of, if any: the first in the chain of causes.
pub(super) fn trace(changes: &mut [Change], before: &State) {
    let lost = Lost::of(changes, before);
    let parents: Vec<_> = changes.iter().enumerate().map(|(n, change)| lost.parent(n, change, before)).collect();
    let ids: Vec<_> = changes.iter().map(Change::id).collect();
    for n in 0..changes.len() {
        let mut root = n;
        // As many steps as there are losses: a circle ends as well.
        for _ in 0..changes.len() {
            match parents[root] {
                Some(parent) if parent != n => root = parent,
                _ => break,
            }
        }
        changes[n].comes_of = (root != n).then(|| ids[root].clone());
    }
}

/// The losses that others can come of, by what they are about.
struct Lost<'a> {
    units: BTreeMap<&'a str, usize>,
    links: BTreeMap<&'a str, usize>,
    addresses: BTreeMap<&'a str, usize>,
    containers: BTreeMap<&'a str, usize>,
    podman: BTreeMap<&'a str, usize>,
    processes: BTreeMap<&'a str, usize>,
    modules: BTreeMap<&'a str, usize>,
    sockets: BTreeMap<&'a str, usize>,
    parameters: BTreeMap<&'a str, usize>,
    settings: BTreeMap<&'a str, usize>,
    volumes: BTreeMap<&'a str, usize>,
    loops: Vec<usize>,
    /// Consoles that the kernel's command line named, by their terminal.
    consoles: BTreeMap<&'a str, usize>,
    /// An interface of WireGuard's.
    wireguard: Option<usize>,
    /// IPv6 as a whole.
    ipv6: Option<usize>,
}

/// Docker's service, which makes much of what a host with containers consists of.
const DOCKER: &str = "docker.service";

/// Modules that Docker's networks, filters and images make the kernel load.
const DOCKERS_MODULES: [&str; 13] = [
    "br_netfilter",
    "bridge",
    "ip_tables",
    "iptable_filter",
    "iptable_nat",
    "nf_conntrack_netlink",
    "nf_nat",
    "nf_tables",
    "nft_",
    "overlay",
    "veth",
    "xfrm_",
    "xt_",
];

impl<'a> Lost<'a> {
    fn of(changes: &'a [Change], before: &State) -> Self {
        let of = |section: Section, name: &dyn Fn(&'a Change) -> Option<&'a str>| {
            let own = changes.iter().enumerate().filter(|(_, c)| c.section == section && c.loss.is_some());
            own.filter_map(|(n, change)| Some((name(change)?, n))).collect::<BTreeMap<_, _>>()
        };
        let whole = |change: &'a Change| (change.after.is_none()).then_some(change.key.as_str());
        let off = |key: &str| matches!(key, "net.ipv6.conf.all.disable_ipv6" | "net.ipv6.conf.default.disable_ipv6");
        let ipv6 = |change: &Change| match change.section {
            Section::Kernel => change.key == "ipv6" && before.word(Section::Kernel, "ipv6") == "on",
            Section::Sysctl => off(&change.key) && change.after.as_deref() == Some("1"),
            _ => false,
        };
        let containers = |change: &'a Change| {
            let runs = change.before.as_deref() == Some("running") && change.name("/state").is_some();
            match (runs, change.after.is_none() && !change.key.contains('/')) {
                (true, _) => change.name("/state"),
                (_, true) => Some(change.key.as_str()),
                _ => None,
            }
        };
        let links = of(Section::Links, &|change| whole(change).filter(|name| !name.contains('/')));
        Self {
            wireguard: links.iter().find(|(link, _)| is_wireguard(link, before)).map(|(_, n)| *n),
            units: of(Section::Units, &|change| change.name("/active")),
            links,
            addresses: of(Section::Addresses, &|change| whole(change).and_then(|key| key.split('/').nth(1))),
            containers: of(Section::Containers, &containers),
            podman: of(Section::Podman, &containers),
            processes: of(Section::Processes, &whole),
            modules: of(Section::Modules, &whole),
            sockets: of(Section::Sockets, &|change| whole(change).and_then(|key| key.strip_prefix("unix "))),
            parameters: of(Section::Sysctl, &|change| Some(change.key.as_str())),
            settings: of(Section::Sys, &|change| Some(change.key.as_str())),
            volumes: of(Section::BlockDevices, &whole),
            loops: of(Section::BlockDevices, &|change| whole(change).filter(|_| is_loop(change)))
                .into_values()
                .collect(),
            consoles: of(Section::Kernel, &|change| {
                whole(change)?.strip_prefix("command-line/console=").map(|console| first(console, ','))
            }),
            ipv6: changes.iter().position(|change| change.loss.is_some() && ipv6(change)),
        }
    }

    /// The loss that this one comes of directly.
    fn parent(&self, own: usize, change: &Change, before: &State) -> Option<usize> {
        change.loss.as_ref()?;
        let found = match change.section {
            Section::Units => self.of_unit(change),
            Section::Podman => self.podman.get(first(&change.key, '/')).copied(),
            Section::Containers => self.of_container(change),
            Section::DockerNetworks | Section::DockerVolumes => self.docker(),
            Section::Sockets => self.of_socket(change, before),
            Section::Permissions => self.of_path(&change.key, self.sockets.get(change.key.as_str())),
            Section::Nft => self.of_filter(change),
            Section::Links => self.of_link(change),
            Section::Addresses => self.on_link(first(&change.key, '/')),
            Section::Wireguard | Section::Qdiscs | Section::Neighbours => self.on_link(first(&change.key, '/')),
            Section::Routes => self.of_route(change),
            Section::Sysctl => self.of_sysctl(change),
            Section::Modules => self.of_module(change, before),
            Section::Resolv => self.unit("systemd-resolved.service"),
            Section::Apparmor => self
                .unit("apparmor.service")
                .or_else(|| change.key.starts_with("docker").then(|| self.docker()).flatten()),
            Section::System => ["chrony.service", "systemd-timesyncd.service"].iter().find_map(|unit| self.unit(unit)),
            Section::Mounts | Section::Swaps => self.of_mount(change),
            _ => None,
        };
        let found = found.or_else(|| self.ipv6.filter(|_| is_ipv6(change)));
        found.filter(|parent| *parent != own)
    }

    fn unit(&self, name: &str) -> Option<usize> {
        self.units.get(name).copied()
    }

    fn docker(&self) -> Option<usize> {
        self.unit(DOCKER)
    }

    /// A socket or a path unit goes with its service, and so does what systemd had to start again; a serial getty goes
    /// with its console (systemd-getty-generator(8)).
    fn of_unit(&self, change: &Change) -> Option<usize> {
        if let Some(unit) = change.name("/restarted") {
            return self.unit(unit);
        }
        let unit = change.name("/active")?;
        if let Some(terminal) = unit.strip_prefix("serial-getty@").and_then(|name| name.strip_suffix(".service")) {
            return self.consoles.get(terminal).copied();
        }
        let (stem, kind) = unit.rsplit_once('.')?;
        matches!(kind, "socket" | "path").then(|| self.unit(&format!("{stem}.service"))).flatten()
    }

    fn of_container(&self, change: &Change) -> Option<usize> {
        self.docker().or_else(|| self.containers.get(first(&change.key, '/')).copied())
    }

    /// A listener goes with the unit, the container, the interface or the address that it belongs to.
    fn of_socket(&self, change: &Change, before: &State) -> Option<usize> {
        let owner = before.known.owners.get(&change.key).and_then(|unit| self.unit(unit));
        if owner.is_some() {
            return owner;
        }
        if let Some(path) = change.key.strip_prefix("unix ") {
            return self.of_path(path, None);
        }
        let (host, port) = change.key.split_once(' ')?.1.rsplit_once(':')?;
        let host = host.trim_matches(['[', ']']);
        let who = change.before.as_deref().unwrap_or_default();
        let container = || {
            let (at, any) = (format!("/ports/{host}:{port}"), format!("/ports/*:{port}"));
            let published =
                before.facts(Section::Containers)?.keys().find(|key| key.ends_with(&at) || key.ends_with(&any));
            self.containers.get(first(published?, '/')).copied()
        };
        let who = who.split(" on ").next().unwrap_or(who);
        match who {
            "docker-proxy" => container().or_else(|| self.docker()),
            "dockerd" | "containerd" => self.unit(&format!("{who}.service")).or_else(|| self.docker()),
            "the kernel" => self.wireguard,
            "conmon" => self.podman.values().next().copied(),
            _ => self.unit(&format!("{who}.service")).or_else(|| self.processes.get(who).copied()),
        }
        .or_else(|| self.addresses.get(host).copied())
    }

    /// What is in memory goes with who made it: a socket with its listener, a folder with the unit that is called like it.
    fn of_path(&self, path: &str, listener: Option<&usize>) -> Option<usize> {
        let name = || {
            let stem = first(path.trim_start_matches("/var").strip_prefix("/run/")?, '/');
            let stem = stem.split(['.', '-']).next().unwrap_or(stem);
            self.unit(&format!("{stem}.service"))
        };
        listener.copied().or_else(name)
    }

    fn of_filter(&self, change: &Change) -> Option<usize> {
        let text = format!("{} {}", change.key, change.before.as_deref().unwrap_or_default());
        // A container's address is called by the container's name.
        let container = self.containers.iter().find(|(name, _)| text.contains(&format!(" {name}@")));
        if let Some((_, container)) = container.filter(|_| change.before.is_some()) {
            return Some(*container);
        }
        let dockers = text.contains("DOCKER") || text.contains("docker0") || text.contains("\"br-");
        match dockers {
            true => self.docker(),
            false => self.unit("nftables.service"),
        }
    }

    /// A bridge of Docker's goes with it, a mesh's interface with the unit that makes it.
    fn of_link(&self, change: &Change) -> Option<usize> {
        let name = first(&change.key, '/');
        if let Some(whole) = self.links.get(name).filter(|_| change.key.contains('/')) {
            return Some(*whole);
        }
        let named = self
            .units
            .iter()
            .find(|(unit, _)| unit.split_once('@').and_then(|(_, rest)| rest.strip_suffix(".service")) == Some(name));
        named.map(|(_, n)| *n).or_else(|| self.docker().filter(|_| is_dockers_link(name)))
    }

    fn on_link(&self, name: &str) -> Option<usize> {
        self.links.get(name).copied().or_else(|| self.docker().filter(|_| is_dockers_link(name)))
    }

    fn on_any_link(&self, parameter: &Change) -> Option<usize> {
        parameter.key.split('.').find_map(|part| self.on_link(part))
    }

    fn of_route(&self, change: &Change) -> Option<usize> {
        let words: Vec<_> = change.key.split(' ').collect();
        let after_word = |words: &[&str], word: &str| {
            words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1)).map(|w| (*w).to_owned())
        };
        let value: Vec<_> = change.before.as_deref().unwrap_or_default().split(' ').collect();
        let source = after_word(&value, "src");
        let link = after_word(&words, "dev").and_then(|link| self.on_link(&link));
        link.or_else(|| self.addresses.get(source?.as_str()).copied())
    }

    /// A parameter goes with the module or the interface that has it.
    fn of_sysctl(&self, change: &Change) -> Option<usize> {
        match change.key.as_str() {
            // The same parameter by its older name.
            "net.nf_conntrack_max" => return self.parameters.get("net.netfilter.nf_conntrack_max").copied(),
            // The kernel sets it when huge pages are switched on or off.
            "vm.min_free_kbytes" => return self.settings.get("kernel/mm/transparent_hugepage/enabled").copied(),
            // The kernel sets it to the opposite of forwarding.
            "net.ipv4.conf.all.accept_redirects" => return self.parameters.get("net.ipv4.ip_forward").copied(),
            // WireGuard's driver switches it off for all when it makes its interface.
            "net.ipv4.conf.all.send_redirects" => return self.wireguard.or_else(|| self.on_any_link(change)),
            _ => {}
        }
        let owner = [("net.bridge.", "br_netfilter"), ("net.netfilter.", "nf_conntrack")];
        let owner = owner.iter().find(|(prefix, _)| change.key.starts_with(prefix) && change.after.is_none());
        let module = owner.and_then(|(_, module)| self.modules.get(module).copied());
        module.or_else(|| self.on_any_link(change)).or_else(|| {
            // Docker switches forwarding on when it starts.
            self.docker().filter(|_| change.key.contains("forward"))
        })
    }

    /// A module goes with the module that uses it, or with what needs it.
    fn of_module(&self, change: &Change, before: &State) -> Option<usize> {
        let name = change.key.as_str();
        let users = before.known.module_users.get(name).into_iter().flatten();
        let user = users.into_iter().find_map(|user| self.modules.get(user.as_str()).copied());
        let link = || self.links.iter().find(|(link, _)| before.word(Section::Links, link) == name).map(|(_, n)| *n);
        let docker = || {
            let own = DOCKERS_MODULES.iter().any(|own| name == *own || (own.ends_with('_') && name.starts_with(own)));
            self.docker().filter(|_| own)
        };
        // Each container that runs has a pair of them.
        let container = || self.containers.values().next().copied().filter(|_| name == "veth");
        user.or_else(link).or_else(docker).or_else(container)
    }

    fn of_mount(&self, change: &Change) -> Option<usize> {
        let source = change.before.as_deref()?.split(' ').nth(1).unwrap_or(&change.key);
        if source == "/dev/loop" {
            // Which of them it is, the kernel does not say by name.
            return self.loops.first().copied();
        }
        let name = source.strip_prefix("/dev/mapper/").or_else(|| source.strip_prefix("/dev/"))?;
        self.volumes.get(name.split('[').next().unwrap_or(name)).copied()
    }
}

fn first(text: &str, mark: char) -> &str {
    text.split(mark).next().unwrap_or(text)
}

fn is_loop(change: &Change) -> bool {
    change.before.as_deref() == Some("loop device")
}

fn is_wireguard(link: &str, before: &State) -> bool {
    before.word(Section::Links, link) == "wireguard"
}

/// Bridges that Docker made: its own first one, and one for each network, by the network's id.
fn is_dockers_link(name: &str) -> bool {
    let id = name.strip_prefix("br-").unwrap_or_default();
    name == "docker0" || (id.len() == 12 && id.chars().all(|c| c.is_ascii_hexdigit()))
}

/// Whether a chain is one that Docker made: its own, or one of a table that has no others.
pub(super) fn is_dockers(chain: &str, facts: &Facts) -> bool {
    let Some((table, _)) = chain.split_once('/') else { return false };
    let own = |key: &str| key.contains("/DOCKER");
    let with_docker = || facts.keys().any(|key| key.starts_with(&format!("{table}/DOCKER")));
    own(chain)
        || (matches!(table, "ip nat" | "ip filter" | "ip raw" | "ip6 nat" | "ip6 filter" | "ip6 raw") && with_docker())
}

/// Whether something exists only where there is IPv6.
fn is_ipv6(change: &Change) -> bool {
    let key = change.key.as_str();
    match change.section {
        Section::Sysctl => key.starts_with("net.ipv6."),
        Section::Sockets => key.contains('['),
        Section::Addresses => key.split('/').nth(1).is_some_and(|address| address.contains(':')),
        Section::Routes => {
            key.split([' ', '/']).any(|word| word.contains("::"))
                || change.before.as_deref().is_some_and(|was| was.contains("::"))
        }
        Section::IpRules | Section::Nft => key.starts_with("ip6 ") || key.starts_with("ip6/"),
        Section::Sys => key.starts_with("module/ipv6/"),
        Section::Modules => key.contains("ipv6") || key.contains("ip6"),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
