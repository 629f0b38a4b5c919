//! What stands between a login and the guest, from the guest's own answers. Pure, so that each case is a test.
//!
//! Only what is certain is a cause: a service that is on its way is none, and neither is a guest in which all seems well.

use super::facts::Facts;
use crate::ssh::Ways;
use host::failure::Exit;
use std::collections::BTreeSet;
use std::fmt;

/// What stands between a login and the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The guest does not have its address.
    Address {
        /// Its addresses, with their interfaces.
        has: Vec<String>,
        /// The address that it was given.
        lacks: String,
        /// Whether one of them is the real host's, as the inventory has it.
        real: bool,
    },
    /// sshd has failed, or was never started.
    Service {
        /// The unit.
        unit: String,
        /// How it is.
        state: String,
        /// Its own words.
        words: String,
    },
    /// sshd listens elsewhere.
    Elsewhere {
        /// Its ports.
        ports: Vec<u16>,
        /// The port that was asked.
        not: u16,
    },
    /// sshd listens on other addresses only.
    Bound {
        /// Where it listens.
        to: Vec<String>,
        /// The guest's address.
        not: String,
    },
    /// A file system is full, and sshd does not run.
    Full {
        /// Where.
        mounts: Vec<String>,
    },
    /// The host key is another.
    HostKey,
    /// The user is not there any more.
    NoUser {
        /// The user.
        user: String,
    },
    /// sshd's configuration keeps the user out.
    NotAllowed {
        /// The user.
        user: String,
        /// The rule.
        rule: String,
    },
    /// The harness's key is in no file of the user's keys.
    Key {
        /// The user.
        user: String,
        /// The files.
        files: Vec<String>,
    },
    /// All is well but the way: nothing comes through.
    Firewall {
        /// The chains that can have dropped it.
        chains: Vec<String>,
        /// The port on which sshd listens.
        port: u16,
        /// The port that was asked before sshd was found there.
        not: Option<u16>,
        /// Whether the connection was refused, and not just left unanswered.
        rejects: bool,
    },
    /// systemd lets nobody in.
    NoLogin {
        /// What it says to them.
        words: String,
    },
}

impl Cause {
    /// Whose fault it is: the host's, but for an address that only the real network has.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Address { real: true, .. } => Exit::Lost,
            _ => Exit::Verify,
        }
    }

    /// What to do next.
    pub fn next(&self) -> String {
        match self {
            Self::Address { real: true, .. } => {
                "leave the static address out of the mirror by a variable in the profile's overlay: its network cannot carry the real one".into()
            }
            Self::Address { .. } => "see what configures the interface (netplan, networkd, ifupdown) in guest/".into(),
            Self::Elsewhere { .. } => {
                "if it is meant, say so in the inventory (ansible_port): the host must answer as it says".into()
            }
            Self::Bound { .. } => {
                "let sshd listen on the host's own address as well until a reboot has shown that the other way comes back; if it started before the address was there: After= its interface, or net.ipv4.ip_nonlocal_bind"
                    .into()
            }
            Self::Service { unit, .. } => format!("see `journalctl -b -u {unit}` in guest/sshd.txt"),
            Self::Full { .. } => "see guest/disks.txt".into(),
            Self::Firewall { .. } => "see guest/nft.txt and guest/iptables.txt for what accepts the port".into(),
            Self::HostKey | Self::NoUser { .. } | Self::NotAllowed { .. } | Self::Key { .. } | Self::NoLogin { .. } => {
                "see guest/sshd.txt".into()
            }
        }
    }

    /// The cause for a user, if the answers have one. `said` is what ssh said while sshd was known to listen; it may be
    /// empty.
    pub fn of(facts: &Facts, ways: &Ways, user: &str, pinned: &str, said: &str) -> Option<Self> {
        if !facts.are_whole() {
            return None;
        }
        None.or_else(|| address(facts, ways))
            .or_else(|| service(facts))
            .or_else(|| listener(facts, ways))
            .or_else(|| host_key(facts, pinned))
            .or_else(|| user_of(facts, user))
            .or_else(|| firewall(facts, ways, said))
    }
}

/// The guest's addresses, with their interfaces.
fn addresses(facts: &Facts) -> impl Iterator<Item = (String, String)> {
    // `ip -br`: name, state, addresses.
    let lines = facts.lines("addresses").map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.flat_map(|words| {
        let name = words.first().map(|name| (*name).to_owned()).unwrap_or_default();
        let addresses = words.into_iter().skip(2).filter(|word| word.contains('/')).map(str::to_owned);
        addresses.map(|address| (name.clone(), address)).collect::<Vec<_>>()
    })
}

/// An address as `ip` has it, without the length of its prefix.
fn host(address: &str) -> &str {
    address.split('/').next().unwrap_or_default()
}

/// The guest without its own address.
fn address(facts: &Facts, ways: &Ways) -> Option<Cause> {
    if facts.get("addresses").is_empty() {
        return None;
    }
    let all = addresses(facts);
    // Docker's and libvirt's own bridges say nothing about the way in.
    let all: Vec<_> =
        all.filter(|(name, _)| !["docker", "br-", "veth", "virbr"].iter().any(|own| name.starts_with(own))).collect();
    let own = ways.address.to_string();
    if all.iter().any(|(_, address)| host(address) == own) {
        return None;
    }
    let real = all.iter().any(|(_, address)| ways.real.iter().any(|real| real == host(address)));
    let has = all.into_iter().map(|(name, address)| format!("{address} on {name}")).collect();
    Some(Cause::Address { has, lacks: own, real })
}

/// The units that can bring sshd; the first that is there is the one.
const UNITS: [&str; 3] = ["ssh.service", "sshd.service", "ssh.socket"];

/// No sshd at all.
fn service(facts: &Facts) -> Option<Cause> {
    if facts.lines("listen").next().is_some() {
        return None;
    }
    let there: Vec<_> = UNITS.iter().filter(|unit| facts.unit(unit, "LoadState") == "loaded").collect();
    let state = |unit: &str| (facts.unit(unit, "ActiveState"), facts.unit(unit, "SubState"));
    if there.iter().any(|unit| matches!(state(unit).0, "activating" | "reloading")) {
        return None;
    }
    let full: Vec<_> = facts.lines("full").filter(|line| line.contains(" 100% ")).collect();
    let mount = |line: &&str| line.split_whitespace().last().map(str::to_owned);
    if !full.is_empty() {
        return Some(Cause::Full { mounts: full.iter().filter_map(mount).collect() });
    }
    let masked = UNITS.iter().find(|unit| facts.unit(unit, "LoadState") == "masked");
    let unit = there.iter().find(|unit| state(unit).0 == "failed").or(there.first()).copied();
    let Some(unit) = unit.or(masked) else {
        let nothing = UNITS.iter().all(|unit| facts.unit(unit, "LoadState") == "not-found");
        return nothing.then(|| Cause::Service {
            unit: UNITS[0].into(),
            state: "there is no unit of an ssh server".into(),
            words: String::new(),
        });
    };
    let (active, sub) = state(unit);
    if active == "active" && sub != "exited" {
        // A socket that listens would show among the listeners: nothing is certain here.
        return None;
    }
    let enabled = facts.unit(unit, "UnitFileState");
    let state = match active {
        "failed" => format!("failed ({})", facts.unit(unit, "Result")),
        _ if facts.unit(unit, "LoadState") == "masked" => "is masked".into(),
        _ => format!("is {active}, and {enabled} at boot"),
    };
    // sshd's own test of its configuration names file and line.
    let test: Vec<_> = facts.lines("sshd-test").collect();
    let words: Vec<_> = match (active == "failed", test.is_empty()) {
        (true, false) => test,
        (true, true) => facts.lines("words").filter(|line| is_sshds(line)).collect(),
        // What it said while it ran is not why it does not.
        (false, _) => Vec::new(),
    };
    let words = words[words.len().saturating_sub(2)..].join(" | ");
    Some(Cause::Service { unit: (*unit).to_owned(), state, words })
}

/// Whether a line of the unit's journal is more than systemd's own account of it.
fn is_sshds(line: &str) -> bool {
    !["Starting ", "Started ", "Stopped ", "Stopping ", "ssh.service: ", "sshd.service: ", "Failed to start "]
        .iter()
        .any(|own| line.starts_with(own))
}

/// Where sshd listens: an address and a port each.
fn sockets(facts: &Facts) -> impl Iterator<Item = (&str, u16)> {
    // `ss -Hltnp`: state, two queues, local address and port.
    let local = facts.lines("listen").filter_map(|line| line.split_whitespace().nth(3)?.rsplit_once(':'));
    local.filter_map(|(address, port)| Some((address, port.parse().ok()?)))
}

/// The ports on which sshd listens at the guest's address.
pub(super) fn ports(facts: &Facts, ways: &Ways) -> BTreeSet<u16> {
    let own = ways.address.to_string();
    let covers = |address: &str| {
        let address = address.trim_matches(['[', ']']).split('%').next().unwrap_or_default();
        matches!(address, "*" | "0.0.0.0" | "::") || address == own
    };
    sockets(facts).filter(|(address, _)| covers(address)).map(|(_, port)| port).collect()
}

/// The interface that has an address: by it sshd can still be reached.
fn on(facts: &Facts, address: &str) -> String {
    let name = addresses(facts).find(|(_, own)| host(own) == address).map(|(name, _)| name);
    match (name, facts.get("addresses").is_empty()) {
        (Some(name), _) => format!(" (on {name})"),
        // The guest was not asked for its loopback, nor for its IPv6 addresses.
        (None, false) if !address.starts_with("127.") && !address.contains(':') => " (which no interface has)".into(),
        (None, _) => String::new(),
    }
}

/// sshd is there, and not where it is asked.
fn listener(facts: &Facts, ways: &Ways) -> Option<Cause> {
    let expected = ways.expected_ports();
    let is_found = |port: u16| ways.found.as_ref().is_some_and(|found| found.port == port);
    let ports = ports(facts, ways);
    if sockets(facts).next().is_none() || ports.iter().any(|port| expected.contains(port) || is_found(*port)) {
        return None;
    }
    Some(match ports.is_empty() {
        true => {
            let to = sockets(facts).map(|(address, port)| format!("{address}:{port}{}", on(facts, address))).collect();
            Cause::Bound { to, not: ways.address.to_string() }
        }
        false => Cause::Elsewhere { ports: ports.into_iter().collect(), not: ways.current.port },
    })
}

fn host_key(facts: &Facts, pinned: &str) -> Option<Cause> {
    let mut keys = facts.lines("hostkeys").peekable();
    keys.peek()?;
    let key = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        Some((words.next()?, words.next()?))
    };
    let now: Vec<_> = facts.lines("hostkeys").filter_map(key).collect();
    // A client takes the first of the types that it knows and the server has; it tries no other where that key is another.
    let mut known = pinned.lines().filter_map(|line| key(line.split_once(' ')?.1));
    let taken = known.find(|(kind, _)| now.iter().any(|(other, _)| other == kind));
    (!taken.is_some_and(|key| now.contains(&key))).then_some(Cause::HostKey)
}

fn user_of(facts: &Facts, user: &str) -> Option<Cause> {
    let mut account = facts.lines("user");
    let first = account.next().unwrap_or_default();
    if facts.get("user").contains("no such user") || (!first.is_empty() && !first.starts_with(&format!("{user}:"))) {
        return Some(Cause::NoUser { user: user.to_owned() });
    }
    let groups: Vec<_> = account.next().unwrap_or_default().split_whitespace().collect();
    if let Some(rule) = keeps_out(facts, user, &groups) {
        return Some(Cause::NotAllowed { user: user.to_owned(), rule });
    }
    if let shell @ ("/usr/sbin/nologin" | "/sbin/nologin" | "/bin/false" | "/usr/bin/false") =
        first.rsplit(':').next().unwrap_or_default()
    {
        return Some(Cause::NotAllowed { user: user.to_owned(), rule: format!("its shell is {shell}") });
    }
    if !facts.get("nologin").is_empty() {
        return Some(Cause::NoLogin { words: facts.get("nologin").to_owned() });
    }
    // Each line: the file, then how often the key is in it.
    let files: Vec<_> = facts.lines("keys").filter_map(|line| line.rsplit_once(' ')).collect();
    let is_in = |count: &str| count.parse::<u32>().is_ok_and(|count| count > 0);
    let gone = !files.is_empty()
        && files.iter().all(|(_, count)| *count == "none" || count.parse::<u32>().is_ok())
        && !files.iter().any(|(_, count)| is_in(count));
    gone.then(|| Cause::Key {
        user: user.to_owned(),
        files: files.iter().map(|(file, _)| (*file).to_owned()).collect(),
    })
}

/// The rule of sshd's that keeps a user out. Patterns with wildcards are left to ssh's own words.
fn keeps_out(facts: &Facts, user: &str, groups: &[&str]) -> Option<String> {
    // `sshd -T` prints a line for each name.
    let names = |keyword: &str| {
        let lines = facts.lines("sshd").filter_map(|line| line.split_once(' '));
        let own = lines.filter(|(name, _)| name.eq_ignore_ascii_case(keyword));
        own.flat_map(|(_, names)| names.split_whitespace()).map(str::to_owned).collect::<Vec<_>>()
    };
    let plain = |names: &[String]| names.iter().all(|name| !name.contains(['*', '?', '!', '@']));
    let (allowed, denied) = (names("allowusers"), names("denyusers"));
    let (allowed_groups, denied_groups) = (names("allowgroups"), names("denygroups"));
    let in_group = |names: &[String]| names.iter().any(|name| groups.contains(&name.as_str()));
    if denied.iter().any(|name| name == user) {
        return Some(format!("DenyUsers {}", denied.join(" ")));
    }
    if !allowed.is_empty() && plain(&allowed) && !allowed.iter().any(|name| name == user) {
        return Some(format!("AllowUsers {}", allowed.join(" ")));
    }
    if in_group(&denied_groups) {
        return Some(format!("DenyGroups {}", denied_groups.join(" ")));
    }
    if !allowed_groups.is_empty() && plain(&allowed_groups) && !groups.is_empty() && !in_group(&allowed_groups) {
        return Some(format!("AllowGroups {}", allowed_groups.join(" ")));
    }
    match facts.sshd("pubkeyauthentication") {
        Some("no") => Some("PubkeyAuthentication no".into()),
        _ if user == "root" && facts.sshd("permitrootlogin") == Some("no") => Some("PermitRootLogin no".into()),
        _ => None,
    }
}

/// Where all is well in the guest and a connection comes to nothing, its filter stands in between. `said` are the words of
/// attempts that were made while sshd listened.
fn firewall(facts: &Facts, ways: &Ways, said: &str) -> Option<Cause> {
    let (port, rejects) = ports(facts, ways).into_iter().find_map(|port| Some((port, is_rejected(said, port)?)))?;
    let mut chains = Vec::new();
    let mut table = "";
    let mut chain = "";
    for line in facts.lines("filter") {
        if let Some(name) = line.strip_prefix("table ") {
            table = name.trim_end_matches([' ', '{']);
        } else if let Some(name) = line.strip_prefix("chain ") {
            chain = name.trim_end_matches([' ', '{']);
        } else if line.contains("hook input") && line.contains("policy drop") {
            chains.push(format!("{table} {chain}"));
        }
    }
    chains.dedup();
    let not = (!ways.expected_ports().contains(&port)).then_some(ways.current.port);
    Some(Cause::Firewall { chains, port, not, rejects })
}

/// Whether the connection to a port was rejected or left unanswered; none where neither is said. ssh's words are
/// `connect to host H port P: Connection timed out`; a daemon that answers and is slow is told otherwise.
fn is_rejected(said: &str, port: u16) -> Option<bool> {
    let (_, words) = said.split_once(&format!(" port {port}: "))?;
    let words = words.split("; ").next().unwrap_or_default().to_lowercase();
    let rejected = ["connection refused", "no route to host", "unreachable", "permission denied"];
    match words.contains("timed out") {
        true => Some(false),
        false => rejected.iter().any(|word| words.contains(word)).then_some(true),
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { has, lacks, real } => {
                match has.is_empty() {
                    true => write!(f, "the guest has no IPv4 address (it was given {lacks})")?,
                    false => write!(f, "its address is {} now, not {lacks}", has.join(", "))?,
                }
                if *real {
                    f.write_str(", as the inventory says: the mirror's network cannot carry it")
                } else {
                    Ok(())
                }
            }
            Self::Service { unit, state, words } if words.is_empty() => write!(f, "{unit} {state}"),
            Self::Service { unit, state, words } => write!(f, "{unit} {state}: {words}"),
            Self::Elsewhere { ports, not } => {
                let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
                write!(f, "sshd listens on {} now, not on {not}", ports.join(", "))
            }
            Self::Bound { to, not } => {
                write!(f, "sshd listens on {} only, and the host is reached at {not}", to.join(", "))
            }
            Self::Full { mounts } => write!(f, "no space is left on {}, and sshd does not run", mounts.join(", ")),
            Self::HostKey => f.write_str("the host key is another one"),
            Self::NoUser { user } => write!(f, "there is no user {user} any more"),
            Self::NotAllowed { user, rule } => write!(f, "sshd lets {user} in no more ({rule})"),
            Self::Key { user, files } => {
                write!(f, "the harness's key is not in {} of {user} any more", files.join(", "))
            }
            Self::Firewall { chains, port, not, rejects } => {
                match not {
                    Some(not) => write!(f, "sshd listens on {port} now, not on {not}, and nothing reaches it")?,
                    None => write!(f, "sshd listens, and nothing reaches port {port}")?,
                }
                write!(f, ": the guest's packet filter {} it", if *rejects { "rejects" } else { "drops" })?;
                if chains.is_empty() { Ok(()) } else { write!(f, " (policy drop: {})", chains.join(", ")) }
            }
            Self::NoLogin { words } => write!(f, "logins are refused: {words:?}"),
        }
    }
}

#[cfg(test)]
mod tests;
