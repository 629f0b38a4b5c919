//! What one look at a guest saw: facts, by section.
//!
//! A fact is a name and a value, or a name and a list where the order of the lines has a meaning. Names are
//! stable across boots: no process id, no handle, no random id is ever part of one.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a guest looked like, section by section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Every section that was asked for.
    pub sections: BTreeMap<Section, Observed>,
    /// What is set up to be there after a boot (`fstab`, `modules-load`, `sysctl.d`, …). It explains a loss
    /// and is never compared.
    #[serde(default)]
    pub promised: BTreeMap<String, Vec<String>>,
    /// What else explains a difference; never compared either.
    #[serde(default)]
    pub known: Known,
}

/// What is known of a guest besides its facts: counts, and what stands behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    /// How often a unit (`web.service`) was started again by systemd, or a container (`container/web`) by Docker.
    pub restarts: BTreeMap<String, u64>,
    /// Units that were stopped in this boot, and do not run now.
    pub stopped: BTreeSet<String>,
    /// Services that run although no unit and no timer, socket or path wants them.
    pub unwanted: BTreeSet<String>,
    /// Timers that count from a run of their service, and from nothing else.
    pub timers_without_a_start: BTreeSet<String>,
    /// The unit whose main process holds a socket, by the socket's fact.
    pub owners: BTreeMap<String, String>,
    /// What the files in `sysctl.d` set, by the parameter's name.
    pub sysctl: BTreeMap<String, Setting>,
    /// Where units of their own mount something at boot.
    pub mount_units: BTreeSet<String>,
    /// The modules that use a module.
    pub module_users: BTreeMap<String, Vec<String>>,
    /// Why Docker could not start a container, in its own words.
    pub container_errors: BTreeMap<String, String>,
    /// The chains in the files that nftables.service loads at boot.
    pub chains_on_disk: BTreeSet<String>,
    /// Those of them whose files were written since the last boot.
    pub new_chains_on_disk: BTreeSet<String>,
    /// The rules in those files that were there at the last boot, without the blanks between their words.
    pub rules_on_disk: BTreeSet<String>,
    /// Whether `/etc/fstab` was written since the last boot.
    pub fstab_is_new: bool,
    /// The boot that this was seen in, as the kernel calls it; empty where that was not asked for.
    pub boot_id: String,
    /// WireGuard's peers in its files, by their public keys.
    pub peers_on_disk: BTreeSet<String>,
    /// Why something is not as it was, by the id of its difference, where the guest says so itself.
    pub reasons: BTreeMap<String, Reason>,
}

/// What a file sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The value.
    pub value: String,
    /// The file.
    pub file: String,
    /// Whether the file was written since the last boot, which so has not read it.
    pub is_new: bool,
}

/// What a guest says of a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The reason, as a part of a sentence.
    pub why: String,
    /// Whether it is no loss for that reason.
    pub excuses: bool,
}

/// The facts of a section, by name.
pub type Facts = BTreeMap<String, Fact>;

/// What came of one section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observed {
    /// There is nothing to ask: the guest has no such tool, or its service does not run.
    Absent(String),
    /// The tool is there and failed, in its own words.
    Failed(String),
    /// What is so.
    Facts(Facts),
}

/// The value of a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fact {
    /// One value.
    One(String),
    /// Lines whose order counts: the rules of a chain, the name servers.
    List(Vec<String>),
}

/// A section of a [`State`]. Its name is the first part of every finding's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// Units: what they are doing.
    Units,
    /// Unit files: what is enabled.
    UnitFiles,
    /// Containers, and what they publish.
    Containers,
    /// Podman's containers.
    Podman,
    /// Docker's networks.
    DockerNetworks,
    /// Docker's volumes.
    DockerVolumes,
    /// Processes that belong to no unit: a login has left them behind.
    Processes,
    /// Cron's jobs for the boot.
    Cron,
    /// Listening sockets.
    Sockets,
    /// The packet filter.
    Nft,
    /// Sets of addresses of the old packet filter.
    Ipsets,
    /// Network interfaces.
    Links,
    /// Their addresses.
    Addresses,
    /// WireGuard's peers.
    Wireguard,
    /// Routes of all tables.
    Routes,
    /// The rules that choose a routing table.
    IpRules,
    /// Neighbours that were entered by hand.
    Neighbours,
    /// How packets queue, and what the network cards do themselves.
    Qdiscs,
    /// Name resolution.
    Resolv,
    /// Kernel parameters at run time.
    Sysctl,
    /// Settings below `/sys`, and parameters of modules.
    Sys,
    /// Mounted file systems.
    Mounts,
    /// Volumes of the device mapper, and arrays.
    BlockDevices,
    /// Swap.
    Swaps,
    /// Kernel modules.
    Modules,
    /// Modes, owners and access lists of files in memory: below `/run` and `/dev`.
    Permissions,
    /// Files below `/etc`, crontabs and keys that may log in, as digests.
    Etc,
    /// AppArmor's profiles.
    Apparmor,
    /// Programs for foreign executables.
    Binfmt,
    /// Users.
    Users,
    /// Groups.
    Groups,
    /// Host name, time zone, time synchronisation.
    System,
    /// The kernel and its command line.
    Kernel,
}

impl Section {
    /// Every section, in the order in which a person wants to read them.
    pub const ALL: [Self; 33] = [
        Self::Units,
        Self::UnitFiles,
        Self::Containers,
        Self::Podman,
        Self::DockerNetworks,
        Self::DockerVolumes,
        Self::Processes,
        Self::Cron,
        Self::Sockets,
        Self::Nft,
        Self::Ipsets,
        Self::Links,
        Self::Addresses,
        Self::Wireguard,
        Self::Routes,
        Self::IpRules,
        Self::Neighbours,
        Self::Qdiscs,
        Self::Resolv,
        Self::Sysctl,
        Self::Sys,
        Self::Mounts,
        Self::BlockDevices,
        Self::Swaps,
        Self::Modules,
        Self::Permissions,
        Self::Etc,
        Self::Apparmor,
        Self::Binfmt,
        Self::Users,
        Self::Groups,
        Self::System,
        Self::Kernel,
    ];

    /// Its name, the first part of a finding's id.
    pub fn name(self) -> &'static str {
        match self {
            Self::Units => "units",
            Self::UnitFiles => "unit-files",
            Self::Containers => "containers",
            Self::Podman => "podman",
            Self::DockerNetworks => "docker-networks",
            Self::DockerVolumes => "docker-volumes",
            Self::Processes => "processes",
            Self::Cron => "cron",
            Self::Sockets => "sockets",
            Self::Nft => "nft",
            Self::Ipsets => "ipsets",
            Self::Links => "links",
            Self::Addresses => "addresses",
            Self::Wireguard => "wireguard",
            Self::Routes => "routes",
            Self::IpRules => "ip-rules",
            Self::Neighbours => "neighbours",
            Self::Qdiscs => "qdiscs",
            Self::Resolv => "resolv",
            Self::Sysctl => "sysctl",
            Self::Sys => "sys",
            Self::Mounts => "mounts",
            Self::BlockDevices => "block-devices",
            Self::Swaps => "swaps",
            Self::Modules => "modules",
            Self::Permissions => "permissions",
            Self::Etc => "etc",
            Self::Apparmor => "apparmor",
            Self::Binfmt => "binfmt",
            Self::Users => "users",
            Self::Groups => "groups",
            Self::System => "system",
            Self::Kernel => "kernel",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl State {
    /// One fact, if its section was seen and has it.
    pub fn fact(&self, section: Section, key: &str) -> Option<&Fact> {
        self.facts(section)?.get(key)
    }

    /// One fact's value as a single word; empty where it is not known.
    pub fn word(&self, section: Section, key: &str) -> &str {
        match self.fact(section, key) {
            Some(Fact::One(value)) => value,
            _ => "",
        }
    }

    /// The facts of a section that are one value, if it was seen.
    pub fn words(&self, section: Section) -> impl Iterator<Item = (&str, &str)> {
        self.facts(section).into_iter().flatten().filter_map(|(key, fact)| match fact {
            Fact::One(value) => Some((key.as_str(), value.as_str())),
            Fact::List(_) => None,
        })
    }

    /// The facts of a section, if it was seen.
    pub fn facts(&self, section: Section) -> Option<&Facts> {
        match self.sections.get(&section) {
            Some(Observed::Facts(facts)) => Some(facts),
            _ => None,
        }
    }

    /// The sections whose tool failed, with its words.
    pub fn failed(&self) -> impl Iterator<Item = (Section, &str)> {
        self.sections.iter().filter_map(|(section, observed)| match observed {
            Observed::Failed(why) => Some((*section, why.as_str())),
            _ => None,
        })
    }

    /// Whether something of that name is set up to be there after a boot.
    pub fn promises(&self, what: &str, name: &str) -> bool {
        self.promised.get(what).is_some_and(|names| names.iter().any(|known| known == name))
    }
}

impl From<&str> for Fact {
    fn from(value: &str) -> Self {
        Self::One(value.to_owned())
    }
}

impl From<String> for Fact {
    fn from(value: String) -> Self {
        Self::One(value)
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(value) => f.write_str(value),
            Self::List(lines) => f.write_str(&lines.join("\n")),
        }
    }
}

/// A state of these facts, each with its section.
#[cfg(test)]
pub(super) fn state_for_tests(facts: &[(Section, &str, &str)]) -> State {
    let mut sections: BTreeMap<Section, Facts> = BTreeMap::new();
    for (section, key, value) in facts {
        sections.entry(*section).or_default().insert((*key).to_owned(), Fact::from(*value));
    }
    let sections = sections.into_iter().map(|(section, facts)| (section, Observed::Facts(facts))).collect();
    State { sections, ..State::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sections_name_is_its_name_in_json() {
        for section in Section::ALL {
            assert_eq!(serde_json::to_value(section).unwrap(), section.name());
        }
    }
}
