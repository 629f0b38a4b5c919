//! From the guest's answers to a [`State`]. What is noise is left out here, each time for a reason that holds on any
//! machine; what is left has names that are the same on the next boot.

mod docker;
mod network;
mod nft;
mod system;
mod units;

pub(super) use units::skipped;

use super::answers::{Answer, section, text};
use super::state::{Fact, Facts, Section, State};
use std::collections::BTreeMap;

/// Read all answers.
pub(super) fn state(answers: &BTreeMap<String, Answer>) -> State {
    let files = Files::new(text(answers, "files"));
    let links = text(answers, "links");
    let ephemeral = network::ephemeral_ports(text(answers, "sysctl"));
    let containers = docker::addresses(text(answers, "containers"));
    let mut sections = BTreeMap::new();
    let mut put = |name: Section, from: &str, read: &dyn Fn(&str) -> Result<Facts, String>| {
        sections.insert(name, section(answers.get(from), read));
    };
    put(Section::Units, "units", &|t| Ok(units::units(t)));
    put(Section::UnitFiles, "links", &|t| Ok(units::links(t)));
    put(Section::Containers, "containers", &docker::containers);
    put(Section::DockerNetworks, "docker-networks", &docker::networks);
    put(Section::DockerVolumes, "docker-volumes", &docker::volumes);
    put(Section::Sockets, "sockets", &|t| Ok(network::sockets(t, &ephemeral)));
    put(Section::Nft, "nft", &|t| nft::ruleset(t, text(answers, "legacy"), &containers));
    put(Section::Links, "addresses", &network::links);
    put(Section::Addresses, "addresses", &network::addresses);
    put(Section::Routes, "routes", &network::routes);
    put(Section::IpRules, "ip-rules", &network::ip_rules);
    put(Section::Resolv, "files", &|_| Ok(system::resolv(&files, links)));
    put(Section::Sysctl, "sysctl", &|t| Ok(system::sysctl(t)));
    put(Section::Mounts, "files", &|_| Ok(system::mounts(&files.text("/proc/1/mountinfo"))));
    put(Section::Swaps, "files", &|_| Ok(system::swaps(&files.text("/proc/swaps"))));
    put(Section::Modules, "files", &|_| Ok(system::modules(&files.text("/proc/modules"))));
    put(Section::Users, "passwords", &|t| Ok(system::users(&files.text("/etc/passwd"), t)));
    put(Section::Groups, "files", &|_| Ok(system::groups(&files.text("/etc/group"))));
    put(Section::System, "files", &|_| Ok(system::system(&files, links, text(answers, "chrony"))));
    put(Section::Kernel, "files", &|_| Ok(system::kernel(&files)));
    State { sections, promised: promised(answers, &files) }
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
        ("fstab-source", system::fields(&fstab, 0)),
        ("modules-load", system::fields(&files.all("/modules"), 0)),
        ("sysctl", system::sysctl_files(&files.all("/sysctl."))),
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

    fn lines(&self, wanted: impl Fn(&str) -> bool) -> String {
        let lines: Vec<_> = self.0.iter().filter(|(path, _)| wanted(path)).map(|(_, line)| *line).collect();
        lines.join("\n")
    }
}

/// A fact that says nothing but that something is there.
fn there(facts: &mut Facts, key: impl Into<String>, value: impl Into<String>) {
    facts.insert(key.into(), Fact::One(value.into()));
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
