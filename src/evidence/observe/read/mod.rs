//! From the guest's answers to a [`State`]. What is noise is left out here, each time for a reason that holds on any
//! machine; what is left has names that are the same on the next boot.

mod by_hand;
mod docker;
mod files;
mod kernel_network;
mod network;
mod nft;
mod sockets;
mod system;
mod units;

pub(super) use nft::on_disk;
pub(super) use units::blocks;

use super::answers::{Answer, section, text};
use super::state::{Fact, Facts, Known, Section, State};
use std::collections::{BTreeMap, BTreeSet};

/// Read all answers.
pub(super) fn state(answers: &BTreeMap<String, Answer>) -> State {
    let files = Files::new(text(answers, "files"));
    let links = text(answers, "links");
    let ephemeral = sockets::Ephemeral::of(text(answers, "sysctl"), text(answers, "sockets-again"));
    let containers = docker::addresses(text(answers, "containers"));
    let written: BTreeSet<_> = text(answers, "written").lines().collect();
    let mut sections = BTreeMap::new();
    // What a section is made from besides its own answer.
    let others = |name: Section| -> &[&str] {
        match name {
            Section::Units => &["services", "stopped", "user-units"],
            Section::UnitFiles => &["runtime"],
            Section::Containers => &["container-mounts"],
            Section::Podman => &["conmons"],
            Section::Mounts => &["quotas"],
            Section::System => &["environment"],
            Section::Cron => &["cron-log", "written"],
            Section::Sockets => &["unix-sockets", "sockets-again"],
            Section::Qdiscs => &["offloads"],
            Section::Permissions => &["sys-permissions", "acls", "units"],
            Section::Etc => &["files"],
            _ => &[],
        }
    };
    let mut put = |name: Section, from: &str, read: &dyn Fn(&str) -> Result<Facts, String>| {
        sections.insert(name, section(answers, from, others(name), read));
    };
    let services = units::services(text(answers, "services"));
    put(Section::Units, "units", &|t| Ok(units::with_users(units::units(t, &services), text(answers, "user-units"))));
    put(Section::UnitFiles, "links", &|t| Ok(with(units::links(t), files::runtime(text(answers, "runtime")))));
    put(Section::Containers, "containers", &|t| docker::containers(t, text(answers, "container-mounts")));
    put(Section::Podman, "podman", &|t| docker::podman(t, text(answers, "conmons")));
    put(Section::DockerNetworks, "docker-networks", &docker::networks);
    put(Section::DockerVolumes, "docker-volumes", &docker::volumes);
    let unix = text(answers, "unix-sockets");
    put(Section::Sockets, "sockets", &|t| Ok(with(sockets::sockets(t, &ephemeral), sockets::unix_sockets(unix))));
    put(Section::Nft, "nft", &|t| nft::ruleset(t, text(answers, "legacy"), &containers));
    put(Section::Links, "addresses", &network::links);
    put(Section::Addresses, "addresses", &network::addresses);
    put(Section::Routes, "routes", &network::routes);
    put(Section::IpRules, "ip-rules", &network::ip_rules);
    put(Section::Wireguard, "wireguard", &|t| Ok(kernel_network::wireguard(t)));
    put(Section::Neighbours, "neighbours", &kernel_network::neighbours);
    put(Section::Qdiscs, "qdiscs", &|t| Ok(kernel_network::qdiscs(t, text(answers, "offloads"))));
    put(Section::Ipsets, "ipsets", &|t| Ok(kernel_network::ipsets(t)));
    let units = text(answers, "units");
    let below_sys = text(answers, "sys-permissions");
    put(Section::Permissions, "permissions", &|t| {
        let permissions = |lines: &str| files::permissions(lines, text(answers, "acls"), units);
        Ok(with(permissions(t), permissions(below_sys)))
    });
    put(Section::Etc, "etc", &|t| Ok(files::etc(t, &files)));
    put(Section::Sys, "sys", &|t| Ok(files::sys(t)));
    put(Section::BlockDevices, "sys", &|t| Ok(files::block_devices(t)));
    put(Section::Apparmor, "sys", &|t| Ok(files::apparmor(t)));
    put(Section::Binfmt, "binfmt", &|t| Ok(files::binfmt(t)));
    put(Section::Processes, "processes", &|t| Ok(by_hand::processes(t)));
    put(Section::Cron, "cron", &|t| Ok(by_hand::cron(t, text(answers, "cron-log"), &written)));
    put(Section::Resolv, "files", &|_| Ok(system::resolv(&files, links)));
    put(Section::Sysctl, "sysctl", &|t| Ok(system::sysctl(t)));
    put(Section::Mounts, "files", &|_| {
        Ok(with(system::mounts(&files.text("/proc/1/mountinfo")), system::quotas(text(answers, "quotas"))))
    });
    put(Section::Swaps, "files", &|_| Ok(system::swaps(&files.text("/proc/swaps"))));
    put(Section::Modules, "files", &|_| Ok(system::modules(&files.text("/proc/modules"))));
    put(Section::Users, "passwords", &|t| Ok(system::users(&files.text("/etc/passwd"), t)));
    put(Section::Groups, "files", &|_| Ok(system::groups(&files.text("/etc/group"))));
    let environment = text(answers, "environment");
    put(Section::System, "files", &|_| {
        Ok(with(system::system(&files, links, text(answers, "chrony")), system::environment(environment)))
    });
    put(Section::Kernel, "files", &|_| Ok(system::kernel(&files, text(answers, "sysctl"))));
    State {
        sections,
        promised: promised(answers, &files),
        known: known(answers, &files, &services, &ephemeral, &written),
    }
}

/// What explains a difference and is none itself.
fn known(
    answers: &BTreeMap<String, Answer>,
    files: &Files,
    services: &[units::Service],
    ephemeral: &sockets::Ephemeral,
    written: &BTreeSet<&str>,
) -> Known {
    let containers = text(answers, "containers");
    let rules = files.below(&["/etc/nftables"]);
    let chains = |wanted: &dyn Fn(&str) -> bool| {
        let lines = rules.iter().filter(|(path, _)| wanted(path)).flat_map(|(_, lines)| lines.iter().copied());
        nft::chains(lines)
    };
    let mut owners = BTreeMap::new();
    for (fact, pids) in sockets::socket_pids(text(answers, "sockets"), ephemeral) {
        let unit = services.iter().find(|service| service.main_pid.is_some_and(|pid| pids.contains(&pid)));
        owners.extend(unit.map(|service| (fact, service.unit.clone())));
    }
    let named = |which: &dyn Fn(&units::Service) -> bool| {
        services.iter().filter(|service| which(service)).map(|service| service.unit.clone()).collect()
    };
    let restarts = services.iter().filter(|s| s.restarts > 0).map(|service| (service.unit.clone(), service.restarts));
    Known {
        restarts: restarts.chain(docker::restarts(containers)).collect(),
        stopped: units::stopped(text(answers, "stopped"), text(answers, "units")),
        unwanted: named(&|service| service.unwanted),
        timers_without_a_start: named(&|service| service.without_a_start),
        owners,
        sysctl: system::sysctl_values(files, written),
        mount_units: units::mounted_by_units(text(answers, "links")),
        module_users: system::module_users(&files.text("/proc/modules")),
        container_errors: docker::errors(containers),
        chains_on_disk: chains(&|_| true),
        new_chains_on_disk: chains(&|path| written.contains(path)),
        rules_on_disk: nft::rules(
            rules.iter().filter(|(path, _)| !written.contains(path)).flat_map(|(_, lines)| lines.iter().copied()),
        ),
        fstab_is_new: written.contains("/etc/fstab"),
        boot_id: files.text("/proc/sys/kernel/random/boot_id"),
        peers_on_disk: kernel_network::peers_on_disk(text(answers, "peers")),
        reasons: BTreeMap::new(),
    }
}

/// The facts of two kinds that are one section.
fn with(mut facts: Facts, more: Facts) -> Facts {
    facts.extend(more);
    facts
}

/// What is set up to be there after a boot, for the words of a finding.
fn promised(answers: &BTreeMap<String, Answer>, files: &Files) -> BTreeMap<String, Vec<String>> {
    let text = |name: &str| text(answers, name);
    let fstab = files.text("/etc/fstab");
    let on_demand = units::on_demand(text("units"), text("installable"), text("links"), text("bus-names"));
    let promised = [
        ("enabled", units::wanted(text("links"))),
        ("on-demand", on_demand),
        ("fstab", system::fields(&fstab, 1)),
        ("fstab-source", system::devices(system::fields(&fstab, 0), text("links"))),
        ("modules-load", system::fields(&files.all("/modules"), 0)),
        ("sysctl", system::sysctl_files(&files.all("/sysctl."))),
        ("device-modes", files::device_modes(&files.all("/tmpfiles.d/"))),
    ];
    promised.map(|(name, names)| (name.to_owned(), names)).into()
}

/// The lines of several files, as `grep -s ''` prints them: `path:line`.
struct Files<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Files<'a> {
    fn new(text: &'a str) -> Self {
        Self(text.lines().filter_map(|line| line.split_once(':')).collect())
    }

    /// One file.
    fn text(&self, path: &str) -> String {
        self.lines(|p| p == path)
    }

    /// The files of `/etc`, `/run` and `/usr/lib` whose path has a certain part, one after the other.
    fn all(&self, part: &str) -> String {
        self.lines(|p| p.contains(part) && !p.starts_with("/proc/"))
    }

    /// The files below one of these folders, each with its lines, in the order in which they were given.
    fn below(&self, folders: &[&str]) -> Vec<(&'a str, Vec<&'a str>)> {
        let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
        for (path, line) in self.0.iter().filter(|(path, _)| folders.iter().any(|folder| path.starts_with(folder))) {
            match found.last_mut() {
                Some((last, lines)) if last == path => lines.push(line),
                _ => found.push((path, vec![line])),
            }
        }
        found
    }

    fn lines(&self, wanted: impl Fn(&str) -> bool) -> String {
        let lines: Vec<_> = self.0.iter().filter(|(path, _)| wanted(path)).map(|(_, line)| *line).collect();
        lines.join("\n")
    }
}

/// A fact that says nothing but that something is there.
fn there(facts: &mut Facts, key: impl Into<String>, value: impl Into<String>) {
    facts.insert(key.into(), Fact::One(value.into()));
}

/// Facts as a test writes them.
#[cfg(test)]
fn seen(facts: Facts) -> Vec<String> {
    facts.into_iter().map(|(key, value)| format!("{key} = {value}")).collect()
}

/// Whether a link is one end of a container's pair: the kernel's and Docker's random names. A pair that was named by
/// a person (`veth-lan`) is not.
fn is_random_veth(name: &str) -> bool {
    name.strip_prefix("veth")
        .is_some_and(|rest| (rest.len() >= 6 || rest.is_empty()) && rest.chars().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_random_names_of_pairs_are_noise() {
        assert!(is_random_veth("vethc57da97") && is_random_veth("veth0a1b2c3d"));
        assert!(!is_random_veth("veth0") && !is_random_veth("veth-lan") && !is_random_veth("vethernet"));
    }
}
