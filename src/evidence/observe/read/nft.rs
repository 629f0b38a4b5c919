//! The packet filter: nft's ruleset as text, chain by chain, and the old iptables tables where there still are some.

use super::docker::Address;
use super::there;
use crate::observe::state::{Fact, Facts};
use std::collections::BTreeSet;

/// Read `nft -s list ruleset` and `iptables-legacy-save`. The order of tables and of chains has no meaning; that of the
/// rules inside a chain has.
pub(super) fn ruleset(text: &str, legacy: &str, addresses: &[Address]) -> Result<Facts, String> {
    let mut facts = Facts::new();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    while let Some(line) = lines.next() {
        let name = line.strip_prefix("table ").and_then(|l| l.strip_suffix('{'));
        let table = name.ok_or_else(|| format!("{line:?} is not a table"))?.trim().to_owned();
        there(&mut facts, table.as_str(), "table");
        loop {
            let line = lines.next().ok_or_else(|| format!("table {table} has no end"))?;
            match line.strip_suffix('{').map(str::trim) {
                Some(head) => {
                    let body = block(&mut lines).ok_or_else(|| format!("{head} has no end"))?;
                    part(&mut facts, &table, head, body, addresses);
                }
                None if line == "}" => break,
                // `flags`, `comment`: words about the table itself.
                None => there(&mut facts, format!("{table}/{}", line.split(' ').next().unwrap_or(line)), line),
            }
        }
    }
    legacy_tables(&mut facts, legacy, addresses);
    Ok(facts)
}

/// The chains in files for nft, with their family and table (`inet filter/forward`), and after each the rules in it that
/// stand on one line.
fn parts<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, Option<&'a str>)> {
    let mut parts = Vec::new();
    let (mut table, mut chain) = (String::new(), String::new());
    for line in lines.map(str::trim) {
        let head = |word: &str| line.strip_prefix(word).map(|rest| rest.trim_end_matches(['{', ' ']).to_owned());
        if let Some(name) = head("table ") {
            // Without a family it is IPv4's.
            table = if name.contains(' ') { name } else { format!("ip {name}") };
        } else if let Some(name) = head("chain ") {
            chain = format!("{table}/{name}");
            parts.push((chain.clone(), None));
        } else if !line.is_empty() && !line.starts_with(['#', '}']) && !line.starts_with("type ") {
            parts.push((chain.clone(), Some(line)));
        }
    }
    parts
}

/// The names of the chains in files for nft.
pub(super) fn chains<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    parts(lines).into_iter().filter(|(_, rule)| rule.is_none()).map(|(chain, _)| chain).collect()
}

/// The rules in files for nft, by their chain.
pub(super) fn rules<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    parts(lines).into_iter().filter_map(|(chain, rule)| Some(on_disk(&chain, rule?))).collect()
}

/// A rule in a form in which a file and the kernel say the same: without blanks and quotes.
pub(in crate::observe) fn on_disk(chain: &str, rule: &str) -> String {
    let text: String = rule.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
    format!("{chain}: {}", text.trim_end_matches(';'))
}

/// The lines up to the brace that closes a block, with those joined that nft broke inside a brace.
fn block<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Option<Vec<String>> {
    let mut body: Vec<String> = Vec::new();
    let mut open = 0;
    loop {
        let line = lines.next()?;
        if open == 0 && line == "}" {
            return Some(body);
        }
        match (open, body.last_mut()) {
            (1.., Some(last)) => *last = format!("{last} {line}"),
            _ => body.push(line.to_owned()),
        }
        open += depth(line);
    }
}

/// How many braces a line opens more than it closes; those inside quotes (log prefixes, comments) are text.
fn depth(line: &str) -> i32 {
    let mut quoted = false;
    line.chars().fold(0, |depth, c| {
        quoted ^= c == '"';
        match c {
            '{' if !quoted => depth + 1,
            '}' if !quoted => depth - 1,
            _ => depth,
        }
    })
}

/// A chain, a set, or another object of a table.
fn part(facts: &mut Facts, table: &str, head: &str, body: Vec<String>, addresses: &[Address]) {
    let (kind, name) = head.split_once(' ').unwrap_or(("", head));
    if kind == "chain" {
        let key = format!("{table}/{name}");
        there(facts, key.as_str(), "chain");
        let mut rules = Vec::new();
        for line in body {
            match line.strip_prefix("type ") {
                Some(hook) => base(facts, &key, hook),
                None if line.starts_with("comment ") => {}
                None => rules.push(line),
            }
        }
        facts.insert(format!("{key}/rules"), Fact::List(canonical(rules, addresses)));
        return;
    }
    let key = format!("{table}/{head}");
    // Elements of a set with a timeout, and those that rules add, come and go by themselves.
    let lively =
        body.iter().any(|line| line.starts_with("timeout ") || line.contains("flags ") && line.contains("dynamic"));
    let (elements, words): (Vec<_>, Vec<_>) = body.into_iter().partition(|line| line.starts_with("elements"));
    there(facts, key.as_str(), words.join("; "));
    if !lively {
        let inner = elements.first().and_then(|line| line.split_once('{')?.1.rsplit_once('}')).map_or("", |(e, _)| e);
        let mut elements: Vec<_> = split_elements(inner).into_iter().filter(|e| !e.contains(" timeout ")).collect();
        elements.sort();
        facts.insert(format!("{key}/elements"), Fact::List(elements));
    }
}

/// The elements of a set; the commas inside a concatenation's braces or quotes are not ours.
fn split_elements(text: &str) -> Vec<String> {
    text.split(',').map(|e| e.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|e| !e.is_empty()).collect()
}

/// The line of a base chain: `filter hook forward priority filter; policy drop;`.
fn base(facts: &mut Facts, key: &str, line: &str) {
    for piece in line.split(';').map(str::trim).filter(|piece| !piece.is_empty()) {
        match piece.strip_prefix("policy ") {
            Some(policy) => there(facts, format!("{key}/policy"), policy),
            None if piece.starts_with("comment ") => {}
            None => there(facts, format!("{key}/hook"), format!("type {piece}")),
        }
    }
}

/// The rules of a chain with what Docker chose freely put in one form: a container is called by its name and not by the
/// address that it got this time, and in a row of Docker's rules the networks and containers stand in a fixed order
/// (Docker starts them in any). The order of the rules of one network and container stays, and so does every other.
fn canonical(rules: Vec<String>, addresses: &[Address]) -> Vec<String> {
    let mut rules: Vec<Rule> = rules.into_iter().map(|rule| named(rule, addresses)).collect();
    for row in rules.chunk_by_mut(|a, b| a.owner.is_some() == b.owner.is_some()) {
        row.sort_by(|a, b| a.owner.cmp(&b.owner));
    }
    rules.into_iter().map(|rule| rule.text).collect()
}

/// A rule, and if it is one of Docker's, whose: a bridge, and a container or none.
struct Rule {
    owner: Option<(String, String)>,
    text: String,
}

/// A rule with containers called by their names.
fn named(rule: String, addresses: &[Address]) -> Rule {
    let mut of_container = None;
    let words = rule.split(' ').map(|word| {
        let (address, rest) = match word.strip_prefix('[').and_then(|w| w.split_once(']')) {
            Some((address, rest)) => (address, rest.to_owned()),
            None if word.matches(':').count() > 1 => (word, String::new()),
            None => word.split_once(':').map_or((word, String::new()), |(a, port)| (a, format!(":{port}"))),
        };
        let address = address.strip_suffix("/32").or(address.strip_suffix("/128")).unwrap_or(address);
        match addresses.iter().find(|known| known.address == address) {
            None => word.to_owned(),
            Some(known) => {
                of_container = Some((known.bridge.clone(), known.container.clone()));
                format!("{}{rest}", known.container)
            }
        }
    });
    let text = words.collect::<Vec<_>>().join(" ");
    let bridge = || bridge_of(&text).map(|bridge| (bridge, String::new()));
    let owner = of_container.or_else(bridge);
    Rule { owner, text }
}

/// The first of Docker's bridges that a rule names.
fn bridge_of(rule: &str) -> Option<String> {
    let mut words = rule.split([' ', '"', '!']);
    let id = |word: &str| {
        word.strip_prefix("br-").is_some_and(|id| id.len() == 12 && id.chars().all(|c| c.is_ascii_hexdigit()))
    };
    words.find(|word| *word == "docker0" || id(word)).map(str::to_owned)
}

/// What `iptables-legacy-save` prints: `*table`, `:CHAIN POLICY [packets:bytes]`, `-A CHAIN rule`.
fn legacy_tables(facts: &mut Facts, text: &str, addresses: &[Address]) {
    let (mut family, mut table) = ("ip", String::new());
    let mut chains: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("family ") {
            family = if name == "ip6" { "ip6" } else { "ip" };
        } else if let Some(name) = line.strip_prefix('*') {
            table = format!("legacy {family} {name}");
            there(facts, table.as_str(), "table");
        } else if let Some((chain, policy)) = line.strip_prefix(':').and_then(|l| l.split_once(' ')) {
            chains.entry(format!("{table}/{chain}")).or_default();
            let policy = policy.split(' ').next().unwrap_or("-");
            if policy != "-" {
                there(facts, format!("{table}/{chain}/policy"), policy.to_lowercase());
            }
        } else if let Some((chain, rule)) = line.strip_prefix("-A ").and_then(|l| l.split_once(' ')) {
            chains.entry(format!("{table}/{chain}")).or_default().push(rule.to_owned());
        }
    }
    for (chain, rules) in chains {
        there(facts, chain.as_str(), "chain");
        facts.insert(format!("{chain}/rules"), Fact::List(canonical(rules, addresses)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, legacy: &str) -> Vec<String> {
        let line = |(key, fact): (String, Fact)| match fact {
            Fact::One(value) => format!("{key} = {value}"),
            Fact::List(list) => format!("{key} = [{}]", list.join(" | ")),
        };
        ruleset(text, legacy, &[]).unwrap().into_iter().map(line).collect()
    }

    #[test]
    fn sets_that_fill_themselves_have_no_elements_and_others_have_them_in_order() {
        let text = "table inet t {\n\
            \tset blocked {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\telements = { 192.0.2.9,\n\t\t\t     192.0.2.1 }\n\t}\n\
            \tset banned {\n\t\ttype ipv4_addr\n\t\tflags timeout\n\t\telements = { 192.0.2.7 timeout 1h, 192.0.2.8 }\n\t}\n\
            \tset seen {\n\t\ttype ipv4_addr\n\t\tflags dynamic,timeout\n\t\ttimeout 1m\n\t\telements = { 192.0.2.3 }\n\t}\n\
            \tchain c {\n\t\ttype filter hook input priority filter + 10; policy accept;\n\t\tip saddr { 192.0.2.1,\n\t\t\t   192.0.2.2 } log prefix \"{ odd: \" drop\n\t\taccept\n\t}\n}\n";
        assert_eq!(
            lines(text, ""),
            [
                "inet t = table",
                "inet t/c = chain",
                "inet t/c/hook = type filter hook input priority filter + 10",
                "inet t/c/policy = accept",
                "inet t/c/rules = [ip saddr { 192.0.2.1, 192.0.2.2 } log prefix \"{ odd: \" drop | accept]",
                "inet t/set banned = type ipv4_addr; flags timeout",
                "inet t/set banned/elements = [192.0.2.8]",
                "inet t/set blocked = type ipv4_addr; flags interval",
                "inet t/set blocked/elements = [192.0.2.1 | 192.0.2.9]",
                "inet t/set seen = type ipv4_addr; flags dynamic,timeout; timeout 1m",
            ]
        );
    }

    #[test]
    fn the_old_iptables_are_read_without_their_counters() {
        let legacy =
            "family ip\n# Generated\n*filter\n:INPUT DROP [12:3456]\n:own - [0:0]\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n";
        assert_eq!(
            lines("", legacy),
            [
                "legacy ip filter = table",
                "legacy ip filter/INPUT = chain",
                "legacy ip filter/INPUT/policy = drop",
                "legacy ip filter/INPUT/rules = [-i lo -j ACCEPT]",
                "legacy ip filter/own = chain",
                "legacy ip filter/own/rules = []",
            ]
        );
    }

    #[test]
    fn a_ruleset_that_is_cut_off_is_an_error() {
        assert!(ruleset("table inet t {\n\tchain c {\n", "", &[]).unwrap_err().contains("has no end"));
        assert!(ruleset("Error: no\n", "", &[]).unwrap_err().contains("is not a table"));
    }
}
