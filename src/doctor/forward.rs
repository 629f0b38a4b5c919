//! Forward chains of others: where one drops by default, as Docker and UFW set it up, an accept in our own
//! table does not help, for a packet must pass every chain at the hook (nft(8)).

use super::{Finding, Outcome, Site};
use host::cmd::Cmd;
use host::programs::find;
use std::io::ErrorKind;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(2);

/// Whether the guest's packets would get through this host.
pub(super) fn check(site: &Site) -> Finding {
    let net = &site.input.net;
    let Some(nft) = find(&site.input.path, "nft") else {
        return Finding::warn("cannot list the packet filters without `nft`", site.os.install("nft", "nftables"));
    };
    // Terse: without the elements of sets, of which there may be many thousands.
    match Cmd::new(nft).args(["--terse", "list", "ruleset"]).limit(LIMIT).run() {
        Ok(out) => {
            let (legacy, unseen) = match legacy_forward(&site.input.path) {
                Ok(legacy) => (legacy, None),
                Err(why) => (String::new(), Some(why)),
            };
            let finding = judge(&out.stdout, &legacy, net.name.as_str(), net.bridge.as_str());
            match unseen {
                Some(why) if finding.result == Outcome::Ok => {
                    Finding::warn(format!("cannot list iptables' own packet filters: {why}"), "run as root to know")
                }
                _ => finding,
            }
        }
        Err(error) => Finding::warn(format!("cannot list the packet filters: {error}"), "run as root to know"),
    }
}

/// The FORWARD chain of the old kernel tables, if they are in use; empty if not. They are listed only then: listing
/// would load them.
fn legacy_forward(path: &str) -> Result<String, String> {
    let names = "/proc/net/ip_tables_names";
    let tables = match std::fs::read_to_string(names) {
        Ok(tables) => tables,
        // A kernel that has not loaded them.
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(e) => return Err(format!("cannot read {names}: {e}")),
    };
    if !tables.lines().any(|table| table == "filter") {
        return Ok(String::new());
    }
    let iptables = find(path, "iptables-legacy").or_else(|| find(path, "iptables"));
    let iptables = iptables.ok_or("the kernel has such a table, and there is no `iptables`")?;
    Cmd::new(iptables).args(["-S", "FORWARD"]).limit(LIMIT).run().map(|out| out.stdout).map_err(|e| e.to_string())
}

fn judge(ruleset: &str, legacy: &str, own_table: &str, bridge: &str) -> Finding {
    let (mut drops, mut others) = dropping(ruleset, own_table);
    if legacy.lines().any(|line| matches!(line.trim(), "-P FORWARD DROP" | "-P FORWARD REJECT")) {
        drops.push("iptables-legacy FORWARD".into());
    }
    others.push_str(legacy);
    if drops.is_empty() {
        return Finding::ok("no forward chain of this host drops by default");
    }
    let seen = format!("{} drops what no rule accepts", drops.join(", "));
    let named = others.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| word == bridge);
    let fix = let_through(&others, &drops[0], bridge);
    match named {
        true => Finding::warn(format!("{seen}; a rule names {bridge}, so it may be let through"), fix),
        false => Finding::fail(format!("{seen}, and no rule names {bridge}"), fix),
    }
}

/// The chains at the forward hook whose policy is drop, as `ip filter FORWARD`, and the ruleset without
/// our own tables.
fn dropping(ruleset: &str, own_table: &str) -> (Vec<String>, String) {
    let (mut drops, mut others) = (Vec::new(), String::new());
    let (mut table, mut chain) = ("", "");
    for line in ruleset.lines() {
        let words = line.trim().trim_end_matches('{').trim_end();
        if !line.starts_with(char::is_whitespace)
            && let Some(name) = words.strip_prefix("table ")
        {
            table = name;
        } else if let Some(name) = words.strip_prefix("chain ") {
            chain = name;
        }
        if table.split(' ').nth(1) == Some(own_table) {
            continue;
        }
        others.push_str(line);
        others.push('\n');
        // IPv6 does not leave the bridge anyway.
        if line.contains("hook forward") && line.contains("policy drop") && !table.starts_with("ip6 ") {
            drops.push(format!("{table} {chain}"));
        }
    }
    (drops, others)
}

/// How to let the bridge through, in the way of whoever drops.
fn let_through(ruleset: &str, chain: &str, bridge: &str) -> String {
    let way = if ruleset.contains("DOCKER-USER") {
        format!("iptables -I DOCKER-USER -i {bridge} -j ACCEPT; iptables -I DOCKER-USER -o {bridge} -j ACCEPT")
    } else if ruleset.contains("ufw-") {
        format!("ufw route allow in on {bridge}; ufw route allow out on {bridge}")
    } else if let Some(chain) = chain.strip_prefix("iptables-legacy ") {
        format!("iptables-legacy -I {chain} -i {bridge} -j ACCEPT; iptables-legacy -I {chain} -o {bridge} -j ACCEPT")
    } else {
        format!("nft insert rule {chain} iifname {bridge} accept; nft insert rule {chain} oifname {bridge} accept")
    };
    format!("use --net namespace; or {way}")
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    const DOCKER: &str = r#"# Warning: table ip filter is managed by iptables-nft, do not touch!
table ip nat {
	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
	}
}
table ip filter {
	chain DOCKER-USER {
		counter packets 0 bytes 0 return
	}

	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		counter packets 0 bytes 0 jump DOCKER-USER
	}
}
table ip6 filter {
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
	}
}
"#;
    const OWN: &str = r#"table inet boma-it {
	chain forward {
		type filter hook forward priority filter; policy drop;
		iifname "boma-it" jump outwards
	}
}
"#;

    #[test]
    fn a_forward_chain_that_drops_is_named_with_the_way_through_it() {
        let finding = judge(DOCKER, "", "boma-it", "boma-it");
        assert_eq!(finding.result, Outcome::Fail);
        assert!(finding.probed.starts_with("ip filter FORWARD drops"), "{}", finding.probed);
        assert!(finding.fix.unwrap().contains("iptables -I DOCKER-USER -i boma-it -j ACCEPT"));
    }

    #[test]
    fn our_own_table_neither_drops_nor_names_the_bridge() {
        assert_eq!(judge(OWN, "", "boma-it", "boma-it").result, Outcome::Ok);
        assert_eq!(judge(&format!("{OWN}{DOCKER}"), "", "boma-it", "boma-it").result, Outcome::Fail);
    }

    #[test]
    fn a_rule_that_names_the_bridge_makes_it_a_warning() {
        let let_in = DOCKER.replace("counter packets 0 bytes 0 return", "iifname \"boma-it\" accept");
        assert_eq!(judge(&let_in, "", "boma-it", "boma-it").result, Outcome::Warn);
        let similar = DOCKER.replace("counter packets 0 bytes 0 return", "iifname \"boma-it-t0\" accept");
        assert_eq!(judge(&similar, "", "boma-it", "boma-it").result, Outcome::Fail);
    }

    #[test]
    fn the_policy_of_the_old_tables_counts_too() {
        assert_eq!(judge("", "-P FORWARD ACCEPT\n", "boma-it", "boma-it").result, Outcome::Ok);
        let ufw = judge("", "-P FORWARD DROP\n-A FORWARD -j ufw-before-forward\n", "boma-it", "boma-it");
        assert_eq!(ufw.result, Outcome::Fail);
        assert!(ufw.fix.unwrap().contains("ufw route allow in on boma-it"));
        let plain = judge("", "-P FORWARD DROP\n", "boma-it", "boma-it");
        assert!(plain.fix.unwrap().contains("iptables-legacy -I FORWARD -i boma-it"));
    }

    #[test]
    fn a_plain_nft_host_gets_nft_words() {
        let text = "table inet filter {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n";
        let fix = judge(text, "", "boma-it", "boma-it").fix.unwrap();
        assert!(fix.contains("nft insert rule inet filter forward iifname boma-it accept"), "{fix}");
    }
}
