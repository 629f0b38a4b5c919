//! Parts of the packet filter.

use super::{Meaning, Said, gone_or_changed};
use crate::observe::diff::Raw;
use crate::observe::read::on_disk;
use crate::observe::state::State;

/// Words of nft by which a rule refuses a packet.
const REFUSING: [&str; 2] = ["drop", "reject"];

/// What loads the files of rules at boot.
const SERVICE: &str = "nftables.service";

/// What the difference means.
pub(super) fn filter(raw: &Raw, before: &State) -> Meaning<Said> {
    let (chain, rule) = raw.key.split_once("/rules/").unwrap_or((&raw.key, ""));
    if raw.before.is_none() {
        return new(raw, chain, rule, before);
    }
    let what = match (rule, &raw.after) {
        ("order", Some(_)) => format!("the rules of the chain {chain} stand in another order"),
        ("", _) => match gone_or_changed(raw) {
            Some(what) => what,
            None => return Meaning::Nothing,
        },
        _ => format!("the chain {chain} has lost a rule: {rule}"),
    };
    let why = match raw.after.is_none() {
        true if chain.contains("/DOCKER") => "Docker makes its chains anew when it starts",
        true if !before.promises("enabled", SERVICE) => {
            "nftables.service is not enabled, so no file of rules is loaded at boot"
        }
        _ => "",
    };
    Meaning::Lost((what, why.to_owned()))
}

/// What is new takes something away where it refuses packets.
fn new(raw: &Raw, chain: &str, rule: &str, before: &State) -> Meaning<Said> {
    let refuses = rule.split(' ').any(|word| REFUSING.contains(&word) || word.eq_ignore_ascii_case("drop"));
    if refuses {
        let what = format!("the chain {chain} has a new rule that refuses packets: {rule}");
        return Meaning::Lost((what, String::new()));
    }
    if before.promises("enabled", SERVICE) && before.known.rules_on_disk.contains(&on_disk(chain, rule)) {
        let what = format!("the chain {chain} has a rule again that had been taken out: {rule}");
        return Meaning::Lost((what, "a file that nftables.service loads at boot has it".into()));
    }
    let closed = closed(raw);
    if closed.is_empty() {
        return Meaning::Nothing;
    }
    let loaded =
        |chain: &String| before.promises("enabled", SERVICE) && before.known.new_chains_on_disk.contains(chain);
    let what = format!("{} refuses what no rule of it accepts (policy drop)", closed.join(", "));
    match closed.iter().all(loaded) {
        true => {
            Meaning::TookEffect(format!("{what}: nftables.service loads it at boot, and it had not been loaded yet"))
        }
        false => Meaning::Lost((format!("new: {what}"), String::new())),
    }
}

/// The base chains with the policy drop in what is new: a chain, or a whole table. Its parts stand one to a line.
fn closed(raw: &Raw) -> Vec<String> {
    let lines = raw.after.as_deref().unwrap_or_default().lines();
    let parts = lines.filter_map(|line| line.strip_suffix("policy: drop"));
    let mut chains: Vec<_> = parts.map(|part| format!("{}/{part}", raw.key).trim_end_matches('/').to_owned()).collect();
    if let (Some(chain), Some("drop")) = (raw.key.strip_suffix("/policy"), raw.after.as_deref()) {
        chains.push(chain.to_owned());
    }
    chains
}
