//! Interfaces, addresses, routes, and who listens.

use super::files::is_drawn;
use super::{is_random_veth, there};
use crate::observe::state::{Fact, Facts};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// An interface, as `ip -j -d address` has it.
#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    mtu: u64,
    #[serde(default)]
    operstate: String,
    #[serde(default)]
    link_type: String,
    master: Option<String>,
    linkinfo: Option<Value>,
    #[serde(default)]
    addr_info: Vec<Value>,
}

fn all_links(text: &str) -> Result<Vec<Link>, String> {
    let links: Vec<Link> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    Ok(links.into_iter().filter(|link| !link.ifname.is_empty() && !is_random_veth(&link.ifname)).collect())
}

/// Interfaces. A hardware address is left out: bridges and pairs get a random one each time.
pub(super) fn links(text: &str) -> Result<Facts, String> {
    let mut facts = Facts::new();
    for link in all_links(text)? {
        let name = &link.ifname;
        let kind = link.linkinfo.as_ref().and_then(|info| info["info_kind"].as_str());
        there(&mut facts, name.as_str(), kind.unwrap_or(&link.link_type));
        there(&mut facts, format!("{name}/mtu"), link.mtu.to_string());
        let up = link.flags.iter().any(|flag| flag == "UP");
        there(&mut facts, format!("{name}/admin"), if up { "up" } else { "down" });
        // A bridge has a carrier while something is plugged into it: that is seen where it is plugged in.
        if kind.is_none() {
            there(&mut facts, format!("{name}/carrier"), link.operstate.to_lowercase());
        }
        if let Some(details) = link.linkinfo.as_ref().and_then(|info| details(kind?, &info["info_data"])) {
            there(&mut facts, format!("{name}/details"), details);
        }
        if let Some(master) = &link.master {
            there(&mut facts, format!("{name}/master"), master.as_str());
        }
    }
    Ok(facts)
}

/// What an interface of that kind was made with; of the other kinds what they are doing is among it.
fn details(kind: &str, data: &Value) -> Option<String> {
    let keys: &[&str] = match kind {
        "vlan" => &["protocol", "id"],
        "bond" => &["mode", "miimon", "xmit_hash_policy", "ad_lacp_rate", "primary"],
        "vxlan" => &["id", "group", "group6", "local", "local6", "remote", "remote6", "port", "ttl"],
        "macvlan" | "macvtap" | "ipvlan" => &["mode"],
        "bridge" => &["stp_state", "vlan_filtering", "mcast_snooping", "group_fwd_mask"],
        "gre" | "gretap" | "ipip" | "sit" | "vti" | "ip6tnl" | "geneve" => &["id", "local", "remote", "ikey", "okey"],
        _ => return None,
    };
    let known = keys.iter().filter(|key| !data[**key].is_null());
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some(known.map(|key| format!("{key} {}", word(&data[*key]))).collect::<Vec<_>>().join(" "))
}

/// Addresses. Those that the kernel makes by itself (link-local ones from a hardware address, and temporary ones) are
/// random.
pub(super) fn addresses(text: &str) -> Result<Facts, String> {
    let mut facts = Facts::new();
    for link in all_links(text)? {
        for address in &link.addr_info {
            let word = |key: &str| address[key].as_str().unwrap_or_default();
            let flag = |key: &str| address[key] == true;
            let own = word("protocol") == "kernel_ll" || flag("temporary");
            // An older iproute2 does not say who made it.
            let link_local = word("family") == "inet6" && word("scope") == "link" && address.get("protocol").is_none();
            if own || (link_local && word("local").contains("ff:fe")) {
                continue;
            }
            let peer = address["address"].as_str().map(|peer| format!(" peer {peer}")).unwrap_or_default();
            let bad = if flag("dadfailed") { " dadfailed" } else { "" };
            let key = format!("{}/{}/{}", link.ifname, word("local"), address["prefixlen"]);
            there(&mut facts, key, format!("scope {}{peer}{bad}", word("scope")));
        }
    }
    Ok(facts)
}

/// A route, as `ip -j route show table all` has it.
#[derive(Deserialize)]
struct Route {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    dst: String,
    dev: Option<String>,
    gateway: Option<String>,
    via: Option<Value>,
    table: Option<String>,
    #[serde(default)]
    protocol: String,
    scope: Option<String>,
    prefsrc: Option<String>,
    metric: Option<u64>,
    #[serde(default)]
    flags: Vec<String>,
    nexthops: Option<Value>,
}

/// Routes of all tables. Those that the kernel makes by itself come and go with an address, and are seen there.
pub(super) fn routes(text: &str) -> Result<Facts, String> {
    let mut facts = Facts::new();
    for route in arrays::<Route>(text)? {
        if route.protocol == "kernel" || route.dev.as_deref().is_some_and(is_random_veth) {
            continue;
        }
        let mut key = format!("{}/{}", route.table.as_deref().unwrap_or("main"), route.dst);
        if !matches!(route.kind.as_str(), "" | "unicast") {
            key = format!("{key} {}", route.kind);
        }
        let add = |to: &mut String, name: &str, value: Option<String>| {
            if let Some(value) = value {
                *to = format!("{to}{}{name} {value}", if to.is_empty() { "" } else { " " });
            }
        };
        add(&mut key, "dev", route.dev);
        add(&mut key, "metric", route.metric.filter(|metric| *metric != 0).map(|metric| metric.to_string()));
        let mut value = String::new();
        add(&mut value, "via", route.gateway.or(route.via.map(|via| via.to_string())));
        add(&mut value, "nexthops", route.nexthops.map(|hops| without_flags(&hops)));
        add(&mut value, "src", route.prefsrc);
        add(&mut value, "scope", route.scope);
        add(&mut value, "proto", Some(route.protocol).filter(|protocol| !protocol.is_empty()));
        add(&mut value, "flags", route.flags.iter().any(|flag| flag == "onlink").then(|| "onlink".to_owned()));
        while facts.contains_key(&key) {
            key.push('+');
        }
        there(&mut facts, key, value);
    }
    Ok(facts)
}

/// The hops of a route, without what they are doing just now (`linkdown`).
fn without_flags(hops: &Value) -> String {
    let mut hops = hops.clone();
    for hop in hops.as_array_mut().into_iter().flatten() {
        if let Some(hop) = hop.as_object_mut() {
            hop.shift_remove("flags");
        }
    }
    hops.to_string()
}

/// The rules that choose a routing table.
pub(super) fn ip_rules(text: &str) -> Result<Facts, String> {
    let mut facts = Facts::new();
    // IPv4's come first, then IPv6's, each as a list of its own.
    let lists = serde_json::Deserializer::from_str(text).into_iter::<Vec<BTreeMap<String, Value>>>();
    for (list, family) in lists.zip(["ip", "ip6"]) {
        for mut rule in list.map_err(|e| e.to_string())? {
            let word = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let priority = rule.remove("priority").map(word).unwrap_or_default();
            let from = rule.remove("src").map(word).unwrap_or_default();
            let rest: Vec<_> = rule.into_iter().map(|(key, value)| format!("{key} {}", word(value))).collect();
            let mut key = format!("{family}/{priority} from {from}");
            while facts.contains_key(&key) {
                key.push('+');
            }
            there(&mut facts, key, rest.join(" "));
        }
    }
    Ok(facts)
}

/// Several JSON lists, one after the other.
fn arrays<T: serde::de::DeserializeOwned>(text: &str) -> Result<Vec<T>, String> {
    let mut all = Vec::new();
    for list in serde_json::Deserializer::from_str(text).into_iter::<Vec<T>>() {
        all.extend(list.map_err(|e| e.to_string())?);
    }
    Ok(all)
}

/// The ports that the kernel hands out when nobody asks for a certain one.
pub(super) fn ephemeral_ports(sysctl: &str) -> RangeInclusive<u16> {
    let line = sysctl.lines().find_map(|line| line.strip_prefix("./net/ipv4/ip_local_port_range:"));
    let ports: Vec<u16> = line.unwrap_or_default().split_whitespace().filter_map(|port| port.parse().ok()).collect();
    match ports[..] {
        [first, last] => first..=last,
        // The kernel's own default.
        _ => 32768..=60999,
    }
}

/// Who listens where: TCP sockets that listen, and UDP sockets that anybody may talk to.
pub(super) fn sockets(text: &str, ephemeral: &RangeInclusive<u16>) -> Facts {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (key, names, _) in text.lines().filter_map(|line| socket(line, ephemeral)) {
        found.entry(key).or_default().extend(names);
    }
    found.into_iter().map(|(key, names)| (key, Fact::One(holder(&names)))).collect()
}

/// The processes that hold each of those sockets.
pub(super) fn socket_pids(text: &str, ephemeral: &RangeInclusive<u16>) -> Vec<(String, Vec<u32>)> {
    text.lines().filter_map(|line| socket(line, ephemeral)).map(|(key, _, pids)| (key, pids)).collect()
}

/// One row of `ss -Htulnp`: its fact's name, who holds it, and their process ids.
fn socket(line: &str, ephemeral: &RangeInclusive<u16>) -> Option<(String, BTreeSet<String>, Vec<u32>)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let (protocol, (host, port)) = (words.first()?, words.get(4)?.rsplit_once(':')?);
    let (mut names, pids) = holders(line);
    // What systemd itself holds starts the service when somebody comes; whether it runs already does not matter.
    if names.contains("systemd") {
        names = ["systemd".to_owned()].into();
    }
    let random = port.parse().is_ok_and(|port| ephemeral.contains(&port));
    // A program that sends datagrams waits on such a port for the answer; nobody else can know the number.
    if random && *protocol == "udp" && !names.is_empty() {
        return None;
    }
    let host = steady(host);
    let key = match random {
        false => format!("{protocol} {host}:{port}"),
        // The number may be another each time, so only that this program listens there on some port is a fact.
        true => format!("{protocol} {host}:ephemeral {}", holder(&names)),
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
    use super::*;

    #[test]
    fn a_port_that_the_kernel_chose_is_known_by_who_listens_there() {
        let text = "tcp LISTEN 0 128 127.0.0.1:44301 0.0.0.0:* users:((\"containerd\",pid=652,fd=7))\n\
                    tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=1,fd=3),(\"systemd\",pid=1,fd=9))\n\
                    udp UNCONN 0 0 0.0.0.0:40001 0.0.0.0:* users:((\"dig\",pid=9,fd=3))\n\
                    udp UNCONN 0 0 0.0.0.0:51820 0.0.0.0:*\n\
                    udp UNCONN 0 0 [fe80::5054:ff:fe12:3456]%eth0:546 [::]:* users:((\"dhcp\",pid=7,fd=1))\n";
        let seen: Vec<_> =
            sockets(text, &(32768..=60999)).into_iter().map(|(key, who)| format!("{key} = {who}")).collect();
        assert_eq!(
            seen,
            [
                "tcp 0.0.0.0:22 = systemd",
                "tcp 127.0.0.1:ephemeral containerd = containerd",
                "udp 0.0.0.0:ephemeral the kernel = the kernel",
                "udp [link-local]%eth0:546 = dhcp",
            ]
        );
    }

    #[test]
    fn a_route_of_every_table_is_known_by_where_it_leads_and_not_by_what_it_is_doing() {
        let text = r#"[{"dst":"10.8.0.0/16","gateway":"10.1.1.1","dev":"eth0","table":"vpn","protocol":"boot","flags":["linkdown"]},
                       {"type":"blackhole","dst":"192.0.2.0/24","flags":[]},
                       {"dst":"172.17.0.0/16","dev":"docker0","protocol":"kernel","scope":"link","flags":["linkdown"]}]
                      [{"dst":"default","gateway":"fe80::1","dev":"eth0","protocol":"ra","metric":1024,"expires":1799,"flags":[]}]"#;
        let seen: Vec<_> = routes(text).unwrap().into_iter().map(|(key, to)| format!("{key} = {to}")).collect();
        assert_eq!(
            seen,
            [
                "main/192.0.2.0/24 blackhole = ",
                "main/default dev eth0 metric 1024 = via fe80::1 proto ra",
                "vpn/10.8.0.0/16 dev eth0 = via 10.1.1.1 proto boot",
            ]
        );
    }

    #[test]
    fn an_address_that_the_kernel_drew_is_noise_and_one_given_by_hand_is_not() {
        let text = r#"[{"ifname":"eth0","link_type":"ether","mtu":1500,"flags":["UP"],"operstate":"UP","addr_info":[
            {"family":"inet","local":"10.0.0.2","prefixlen":24,"scope":"global","valid_life_time":41756},
            {"family":"inet6","local":"fe80::5054:ff:fe12:3456","prefixlen":64,"scope":"link","protocol":"kernel_ll"},
            {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"},
            {"family":"inet6","local":"2001:db8::7a1f","prefixlen":64,"scope":"global","temporary":true,"dynamic":true},
            {"family":"inet6","local":"2001:db8::2","prefixlen":64,"scope":"global","dadfailed":true}]},
            {"ifname":"vethc57da97","addr_info":[{"family":"inet","local":"10.9.9.9","prefixlen":24,"scope":"global"}]}]"#;
        let seen: Vec<_> = addresses(text).unwrap().into_iter().map(|(key, to)| format!("{key} = {to}")).collect();
        assert_eq!(
            seen,
            [
                "eth0/10.0.0.2/24 = scope global",
                "eth0/2001:db8::2/64 = scope global dadfailed",
                "eth0/fe80::1/64 = scope link",
            ]
        );
    }
}
