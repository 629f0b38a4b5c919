//! Interfaces, addresses and routes.

use super::{is_random_veth, there};
use crate::observe::state::{Fact, Facts};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

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
    txqlen: Option<u64>,
    ifalias: Option<String>,
    /// Its own hardware address, which is only told where it has been given another.
    permaddr: Option<String>,
    address: Option<String>,
    linkinfo: Option<Value>,
    #[serde(default)]
    addr_info: Vec<Value>,
}

fn all_links(text: &str) -> Result<Vec<Link>, String> {
    let links: Vec<Link> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    Ok(links.into_iter().filter(|link| !link.ifname.is_empty() && !is_random_veth(&link.ifname)).collect())
}

/// Flags of an interface that nobody but a person or a program sets.
const BY_HAND: [&str; 3] = ["PROMISC", "ALLMULTI", "NOARP"];

/// Interfaces. A hardware address is left out, unless it is not the device's own: bridges and pairs get a random one each
/// time.
pub(super) fn links(text: &str) -> Result<Facts, String> {
    let mut facts = Facts::new();
    for link in all_links(text)? {
        let name = &link.ifname;
        let kind = link.linkinfo.as_ref().and_then(|info| info["info_kind"].as_str());
        there(&mut facts, name.as_str(), kind.unwrap_or(&link.link_type));
        there(&mut facts, format!("{name}/mtu"), link.mtu.to_string());
        let up = link.flags.iter().any(|flag| flag == "UP");
        there(&mut facts, format!("{name}/admin"), if up { "up" } else { "down" });
        let set: Vec<_> =
            link.flags.iter().filter(|flag| BY_HAND.contains(&flag.as_str())).map(String::as_str).collect();
        let address = link.permaddr.as_ref().and(link.address.as_ref()).filter(|_| kind.is_none());
        for (what, value) in [
            ("flags", (!set.is_empty()).then(|| set.join(" ").to_lowercase())),
            ("txqueuelen", link.txqlen.map(|length| length.to_string())),
            ("alias", link.ifalias.clone()),
            ("address", address.cloned()),
        ] {
            facts.extend(value.map(|value| (format!("{name}/{what}"), Fact::One(value))));
        }
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

#[cfg(test)]
mod tests {
    use super::super::seen;
    use super::*;

    #[test]
    fn what_was_set_on_an_interface_is_a_fact_and_its_own_address_is_none() {
        let text = r#"[{"ifname":"eth0","link_type":"ether","flags":["UP","PROMISC"],"mtu":1500,"operstate":"UP","txqlen":1000,
            "address":"52:54:00:00:00:01"},
            {"ifname":"eth1","link_type":"ether","flags":[],"mtu":1500,"operstate":"DOWN","ifalias":"uplink",
            "address":"02:00:00:00:00:07","permaddr":"52:54:00:00:00:02"}]"#;
        let seen = seen(links(text).unwrap());
        assert_eq!(
            seen,
            [
                "eth0 = ether",
                "eth0/admin = up",
                "eth0/carrier = up",
                "eth0/flags = promisc",
                "eth0/mtu = 1500",
                "eth0/txqueuelen = 1000",
                "eth1 = ether",
                "eth1/address = 02:00:00:00:00:07",
                "eth1/admin = down",
                "eth1/alias = uplink",
                "eth1/carrier = down",
                "eth1/mtu = 1500",
            ]
        );
    }

    #[test]
    fn a_route_of_every_table_is_known_by_where_it_leads_and_not_by_what_it_is_doing() {
        let text = r#"[{"dst":"10.8.0.0/16","gateway":"10.1.1.1","dev":"eth0","table":"vpn","protocol":"boot","flags":["linkdown"]},
                       {"type":"blackhole","dst":"192.0.2.0/24","flags":[]},
                       {"dst":"172.17.0.0/16","dev":"docker0","protocol":"kernel","scope":"link","flags":["linkdown"]}]
                      [{"dst":"default","gateway":"fe80::1","dev":"eth0","protocol":"ra","metric":1024,"expires":1799,"flags":[]}]"#;
        let seen = seen(routes(text).unwrap());
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
        let seen = seen(addresses(text).unwrap());
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
