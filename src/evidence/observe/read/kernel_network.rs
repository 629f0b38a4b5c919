//! What only the kernel knows of the network: WireGuard's peers, permanent neighbours, queues, sets of addresses.

use super::{is_random_veth, there};
use crate::observe::state::{Fact, Facts};
use serde::Deserialize;
use std::collections::BTreeSet;

/// WireGuard's peers, from `wg show all …`, once per setting; its name stands alone on the line before. An end point is
/// left out: it is where a peer was heard last.
pub(super) fn wireguard(text: &str) -> Facts {
    let mut facts = Facts::new();
    let mut setting = "";
    for line in text.lines() {
        let words: Vec<_> = line.split('\t').collect();
        match (setting, &words[..]) {
            (_, [name]) => setting = name,
            ("fwmark", [link, mark]) if *mark != "off" => there(&mut facts, format!("{link}/fwmark"), *mark),
            ("allowed-ips", [link, peer, addresses]) => {
                let addresses: BTreeSet<_> = addresses.split(' ').filter(|address| *address != "(none)").collect();
                let addresses = addresses.into_iter().collect::<Vec<_>>().join(", ");
                there(&mut facts, format!("{link}/{peer}"), format!("allowed {addresses}"));
            }
            ("persistent-keepalive", [link, peer, seconds]) if *seconds != "off" => {
                there(&mut facts, format!("{link}/{peer}/keepalive"), format!("{seconds} s"));
            }
            _ => {}
        }
    }
    facts
}

/// The public keys in WireGuard's files.
pub(super) fn peers_on_disk(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.split_once('=')).map(|(_, key)| key.trim().to_owned()).collect()
}

#[derive(Deserialize)]
struct Neighbour {
    dst: String,
    dev: String,
    lladdr: Option<String>,
}

/// Permanent neighbours, from `ip -j neighbour show nud permanent`.
pub(super) fn neighbours(text: &str) -> Result<Facts, String> {
    let text = if text.trim().is_empty() { "[]" } else { text };
    let all: Vec<Neighbour> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let all = all.into_iter().filter(|one| !is_random_veth(&one.dev));
    Ok(all.map(|one| (format!("{}/{}", one.dev, one.dst), Fact::One(one.lladdr.unwrap_or_default()))).collect())
}

/// How packets queue on each interface (`tc qdisc show`), and what its hardware does itself (`ethtool -k`).
pub(super) fn qdiscs(text: &str, offloads: &str) -> Facts {
    let mut facts = Facts::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let ["qdisc", kind, handle, "dev", link, rest @ ..] = &words[..] else { continue };
        // Without a number of its own it is the kernel's choice; a container's pair comes and goes.
        if is_random_veth(link) || (*handle == "0:" && rest.first() != Some(&"root")) {
            continue;
        }
        let (place, rest) = match rest {
            ["root", rest @ ..] => ("root".to_owned(), rest),
            ["parent", at, rest @ ..] => (format!("parent {at}"), rest),
            [place, rest @ ..] => ((*place).to_owned(), rest),
            [] => continue,
        };
        let rest: Vec<_> = match rest {
            ["refcnt", _, rest @ ..] => rest.to_vec(),
            rest => rest.to_vec(),
        };
        there(&mut facts, format!("{link}/{place}"), format!("{kind} {}", rest.join(" ")).trim_end());
    }
    hardware(&mut facts, offloads);
    facts
}

/// What `ethtool` says of each network card: its features, rings, channels, how interrupts are gathered, and pauses. Each
/// begins with a line `Features for eth0:`; of rings and channels the limits come first.
fn hardware(facts: &mut Facts, text: &str) {
    let (mut link, mut what) = ("", String::new());
    let mut limits = false;
    for line in text.lines() {
        if let Some((head, name)) = line.split_once(" for ").filter(|_| line.ends_with(':')) {
            (link, limits) = (name.trim_end_matches(':'), false);
            let kind = head.split(' ').next().unwrap_or_default().to_lowercase();
            what = if kind == "features" { String::new() } else { format!("{kind}/") };
            continue;
        }
        match line.trim_end_matches(':') {
            "Pre-set maximums" => limits = true,
            "Current hardware settings" => limits = false,
            _ => {}
        }
        let Some((key, value)) = line.split_once(':').map(|(key, value)| (key.trim(), value.trim())) else { continue };
        if !limits && !value.is_empty() && !value.contains("[fixed]") && value != "n/a" {
            there(facts, format!("{link}/{what}{}", key.to_lowercase()), value);
        }
    }
}

/// The sets of `ipset save`. Entries with a timeout come and go by themselves.
pub(super) fn ipsets(text: &str) -> Facts {
    let mut facts = Facts::new();
    let mut entries: std::collections::BTreeMap<&str, BTreeSet<&str>> = std::collections::BTreeMap::new();
    for line in text.lines() {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (name, what) = rest.split_once(' ').unwrap_or((rest, ""));
        match verb {
            "create" => {
                let kept: Vec<_> = what.split(' ').collect();
                // What the set chose by itself when it was made.
                let at = kept.iter().position(|word| *word == "initval");
                let kept: Vec<_> =
                    kept.iter().enumerate().filter(|(n, _)| at.is_none_or(|at| *n != at && *n != at + 1)).collect();
                let kept: Vec<_> = kept.into_iter().map(|(_, word)| *word).collect();
                there(&mut facts, name, kept.join(" "));
                entries.entry(name).or_default();
            }
            "add" if !what.contains(" timeout ") => {
                entries.entry(name).or_default().insert(what);
            }
            _ => {}
        }
    }
    for (name, entries) in entries {
        facts.insert(format!("{name}/entries"), Fact::List(entries.into_iter().map(str::to_owned).collect()));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::super::seen;
    use super::*;

    #[test]
    fn a_peer_is_known_by_its_key_with_the_addresses_that_it_may_have() {
        let text = "allowed-ips\nvpn0\tPEERA=\t10.67.0.3/32 10.67.0.2/32\nvpn0\tPEERB=\t(none)\n\
                    persistent-keepalive\nvpn0\tPEERA=\t25\nvpn0\tPEERB=\toff\nfwmark\nvpn0\toff\nwg1\t0xca6c\n";
        assert_eq!(
            seen(wireguard(text)),
            [
                "vpn0/PEERA= = allowed 10.67.0.2/32, 10.67.0.3/32",
                "vpn0/PEERA=/keepalive = 25 s",
                "vpn0/PEERB= = allowed ",
                "wg1/fwmark = 0xca6c",
            ]
        );
    }

    #[test]
    fn a_queue_is_known_by_its_place_and_not_by_how_often_it_is_held() {
        let text = "qdisc noqueue 0: dev lo root refcnt 2 \n\
                    qdisc mq 0: dev eth0 root \n\
                    qdisc fq_codel 0: dev eth0 parent :1 limit 10240p flows 1024\n\
                    qdisc tbf 8001: dev eth1 root refcnt 2 rate 1Mbit burst 5Kb lat 70ms \n\
                    qdisc noqueue 0: dev vethc57da97 root refcnt 2 \n";
        let offloads = "Features for eth0:\nrx-checksumming: on [fixed]\ntx-checksumming: off\n\
                        Ring parameters for eth0:\nPre-set maximums:\nRX:\t\t1024\nCurrent hardware settings:\nRX:\t\t256\nTX Push:\tn/a\n";
        assert_eq!(
            seen(qdiscs(text, offloads)),
            [
                "eth0/ring/rx = 256",
                "eth0/root = mq",
                "eth0/tx-checksumming = off",
                "eth1/root = tbf rate 1Mbit burst 5Kb lat 70ms",
                "lo/root = noqueue",
            ]
        );
    }

    #[test]
    fn a_set_is_known_by_its_entries_and_not_by_what_expires() {
        let text = "create blocked hash:net family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x5f6a\n\
                    add blocked 192.0.2.0/24\nadd blocked 198.51.100.7 timeout 300\n";
        assert_eq!(
            seen(ipsets(text)),
            [
                "blocked = hash:net family inet hashsize 1024 maxelem 65536 bucketsize 12",
                "blocked/entries = 192.0.2.0/24"
            ]
        );
    }

    #[test]
    fn a_neighbour_that_was_entered_by_hand_is_known_by_its_hardware_address() {
        let text = r#"[{"dst":"10.0.0.9","dev":"eth0","lladdr":"02:00:00:00:00:09","state":["PERMANENT"]}]"#;
        assert_eq!(seen(neighbours(text).unwrap()), ["eth0/10.0.0.9 = 02:00:00:00:00:09"]);
        assert_eq!(neighbours("").unwrap(), Facts::new());
    }
}
