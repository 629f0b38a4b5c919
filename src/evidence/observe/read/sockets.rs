//! Who listens.

use super::files::is_drawn;
use super::there;
use crate::observe::state::{Fact, Facts};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// The ports that the kernel hands out when nobody asks for a certain one, and which of them are still held some seconds
/// later.
pub(super) struct Ephemeral {
    ports: RangeInclusive<u16>,
    kept: BTreeSet<String>,
}

/// Programs that ask other hosts, each time from another port.
const ASKING: [&str; 8] =
    ["avahi-daemon", "chronyd", "dnsmasq", "named", "pdns_recursor", "systemd-resolve", "systemd-timesyn", "unbound"];

impl Ephemeral {
    /// From the kernel's parameters, and from a second `ss -Hulnp`.
    pub(super) fn of(sysctl: &str, later: &str) -> Self {
        let kept = later.lines().filter_map(|line| line.split_whitespace().nth(3)).map(str::to_owned).collect();
        Self { ports: ephemeral_ports(sysctl), kept }
    }

    /// Whether a program only waits there for an answer.
    fn waits(&self, at: &str, names: &BTreeSet<String>) -> bool {
        !self.kept.contains(at) || names.iter().any(|name| ASKING.contains(&name.as_str()))
    }
}

fn ephemeral_ports(sysctl: &str) -> RangeInclusive<u16> {
    let line = sysctl.lines().find_map(|line| line.strip_prefix("./net/ipv4/ip_local_port_range:"));
    let ports: Vec<u16> = line.unwrap_or_default().split_whitespace().filter_map(|port| port.parse().ok()).collect();
    match ports[..] {
        [first, last] => first..=last,
        // The kernel's own default.
        _ => 32768..=60999,
    }
}

/// Who listens where: TCP sockets that listen, and UDP sockets that anybody may talk to.
pub(super) fn sockets(text: &str, ephemeral: &Ephemeral) -> Facts {
    let mut found: BTreeMap<String, (BTreeSet<String>, usize)> = BTreeMap::new();
    for (key, names, _) in text.lines().filter_map(|line| socket(line, ephemeral)) {
        let (all, times) = found.entry(key).or_default();
        all.extend(names);
        *times += 1;
    }
    let facts = found.into_iter().map(|(key, (names, times))| {
        let more = if times > 1 && key.contains(EPHEMERAL) { format!(" on {times} ports") } else { String::new() };
        (key, Fact::One(holder(&names) + &more))
    });
    facts.collect()
}

/// What stands for the number of a port that the kernel may have chosen.
const EPHEMERAL: &str = ":ephemeral ";

/// The processes that hold each of those sockets.
pub(super) fn socket_pids(text: &str, ephemeral: &Ephemeral) -> Vec<(String, Vec<u32>)> {
    text.lines().filter_map(|line| socket(line, ephemeral)).map(|(key, _, pids)| (key, pids)).collect()
}

/// One row of `ss -Htulnp`: its fact's name, who holds it, and their process ids.
fn socket(line: &str, ephemeral: &Ephemeral) -> Option<(String, BTreeSet<String>, Vec<u32>)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let (protocol, at) = (words.first()?, words.get(4)?);
    let (host, port) = at.rsplit_once(':')?;
    let (mut names, pids) = holders(line);
    // What systemd itself holds starts the service when somebody comes; whether it runs already does not matter.
    if names.contains("systemd") {
        names = ["systemd".to_owned()].into();
    }
    let random = port.parse::<u16>().is_ok_and(|port| ephemeral.ports.contains(&port));
    // A program that sends datagrams waits on such a port for the answer.
    if random && *protocol == "udp" && !names.is_empty() && ephemeral.waits(at, &names) {
        return None;
    }
    let host = steady(host);
    let key = match random {
        false => format!("{protocol} {host}:{port}"),
        // The number may be another each time, so only that this program listens there on some port is a fact.
        true => format!("{protocol} {host}{EPHEMERAL}{}", holder(&names)),
    };
    Some((key, names, pids))
}

/// Who listens on a socket in the file system, from `ss -Hxlnp`. What a program has drawn a name for is noise.
pub(super) fn unix_sockets(text: &str) -> Facts {
    let mut facts = Facts::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let Some(path) = words.get(4).filter(|path| path.starts_with('/') && !is_drawn(path)) else { continue };
        let (names, _) = holders(line);
        let names = if names.contains("systemd") { ["systemd".to_owned()].into() } else { names };
        there(&mut facts, format!("unix {path}"), holder(&names));
    }
    facts
}

/// Who holds a socket, in words. WireGuard's and NFS's belong to no process.
fn holder(names: &BTreeSet<String>) -> String {
    match names.is_empty() {
        true => "the kernel".to_owned(),
        false => names.iter().cloned().collect::<Vec<_>>().join(" "),
    }
}

/// The processes that hold a socket, by name and by id: `users:(("sshd",pid=638,fd=6),…)`.
fn holders(line: &str) -> (BTreeSet<String>, Vec<u32>) {
    let users = line.split_once("users:(").map_or("", |(_, users)| users);
    let each = || users.split("(\"").skip(1);
    let names = each().filter_map(|user| user.split('"').next()).map(str::to_owned).collect();
    let pids = each().filter_map(|user| user.split_once("pid=")?.1.split([',', ')']).next()?.parse().ok());
    (names, pids.collect())
}

/// A link-local address is made from a hardware address, which may be random; its interface is not.
fn steady(host: &str) -> String {
    match (host.starts_with("[fe80:"), host.split_once('%')) {
        (true, Some((_, interface))) => format!("[link-local]%{}", interface.trim_end_matches(']')),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::seen;
    use super::*;

    #[test]
    fn a_port_that_the_kernel_chose_is_known_by_who_listens_there() {
        let text = "tcp LISTEN 0 128 127.0.0.1:44301 0.0.0.0:* users:((\"containerd\",pid=652,fd=7))\n\
                    tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=1,fd=3),(\"systemd\",pid=1,fd=9))\n\
                    udp UNCONN 0 0 0.0.0.0:40001 0.0.0.0:* users:((\"dig\",pid=9,fd=3))\n\
                    udp UNCONN 0 0 0.0.0.0:34197 0.0.0.0:* users:((\"factorio\",pid=11,fd=3))\n\
                    udp UNCONN 0 0 0.0.0.0:34198 0.0.0.0:* users:((\"factorio\",pid=11,fd=4))\n\
                    udp UNCONN 0 0 0.0.0.0:40002 0.0.0.0:* users:((\"dnsmasq\",pid=12,fd=4))\n\
                    udp UNCONN 0 0 0.0.0.0:51820 0.0.0.0:*\n\
                    udp UNCONN 0 0 [fe80::5054:ff:fe12:3456]%eth0:546 [::]:* users:((\"dhcp\",pid=7,fd=1))\n";
        let later = "UNCONN 0 0 0.0.0.0:34197 0.0.0.0:*\nUNCONN 0 0 0.0.0.0:34198 0.0.0.0:*\nUNCONN 0 0 0.0.0.0:40002 0.0.0.0:*\n";
        let seen = seen(sockets(text, &Ephemeral::of("", later)));
        assert_eq!(
            seen,
            [
                "tcp 0.0.0.0:22 = systemd",
                "tcp 127.0.0.1:ephemeral containerd = containerd",
                "udp 0.0.0.0:ephemeral factorio = factorio on 2 ports",
                "udp 0.0.0.0:ephemeral the kernel = the kernel",
                "udp [link-local]%eth0:546 = dhcp",
            ]
        );
    }
}
