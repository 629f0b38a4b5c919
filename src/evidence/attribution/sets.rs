//! Whether a statement sets what a finding has lost.
//!
//! Only what is certain counts: the thing by its whole name, its value where it has one, and a command or module that
//! makes it. What only reads, names or removes it does not.

use super::statement::{Statement, words};
use crate::observe::{Finding, Section};

/// Whether this statement had set what is lost.
pub(super) fn sets(finding: &Finding, statement: &Statement) -> bool {
    // What was not there before the reboot, nobody had set.
    let Some(was) = finding.before.as_deref() else { return false };
    let Some(key) = finding.id.strip_prefix(finding.section.name()).and_then(|rest| rest.strip_prefix('/')) else {
        return false;
    };
    match finding.section {
        Section::Sysctl => sysctl(key, was, statement),
        Section::Routes => route(key, was, statement),
        Section::Addresses => address(key, statement),
        Section::Links => link(key, was, statement),
        Section::IpRules => ip_rule(key, was, statement),
        Section::Containers => container(key, statement),
        Section::DockerNetworks => of_docker("network", key, statement),
        Section::DockerVolumes => of_docker("volume", key, statement),
        Section::Units => unit(key, was, statement),
        Section::UnitFiles => unit_file(key, statement),
        Section::Nft => nft(key, was, statement),
        Section::Mounts => mount(key, statement),
        Section::Swaps => statement.calls(&["swapon"]) && statement.has_word(key),
        Section::Modules => module(key, statement),
        Section::System => key == "hostname" && hostname(was, statement),
        // Who listens, whom the resolver asks and what the kernel says comes of something else that was set.
        _ => false,
    }
}

/// Whether the words stand in it as one phrase.
fn phrase(statement: &Statement, text: &str) -> bool {
    let words = words(text);
    statement.has(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Whether a module call has this argument with this value.
fn arg(statement: &Statement, name: &str, value: &str) -> bool {
    phrase(statement, &format!("{name}={value}"))
}

fn is_absent(statement: &Statement) -> bool {
    ["absent", "stopped"].iter().any(|state| arg(statement, "state", state))
}

fn sysctl(key: &str, was: &str, statement: &Statement) -> bool {
    if statement.module.is_some() {
        let named = arg(statement, "name", key) && arg(statement, "value", was);
        return statement.is(&["sysctl"]) && named && !is_absent(statement);
    }
    // sysctl(8) takes both spellings; a dot within a name is a slash in the first.
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    let swapped: String = key.chars().map(swap).collect();
    let file = format!("/proc/sys/{swapped}");
    let by_program = [key, &swapped].iter().any(|key| phrase(statement, &format!("{key}={was}")));
    let by_file = ["> ", "| tee ", "| sudo tee "].iter().any(|to| phrase(statement, &format!("{was} {to}{file}")));
    (statement.calls(&["sysctl"]) && by_program) || by_file
}

/// The words after the `add` (or its like) of an object of ip(8).
fn added<'a>(statement: &'a Statement, objects: &[&str]) -> Option<&'a [String]> {
    let verbs = ["add", "append", "replace", "change", "prepend", "a"];
    let pairs = objects.iter().flat_map(|object| verbs.iter().map(move |verb| [*object, *verb]));
    pairs.into_iter().find_map(|pair| statement.after(&pair)).filter(|_| statement.module.is_none())
}

/// The word that follows a name.
fn value_of<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word == name)?;
    words.get(at + 1).map(String::as_str)
}

/// Whether a host or a network is the same in both spellings.
fn same_network(seen: &str, given: &str) -> bool {
    let length = if seen.contains(':') { "128" } else { "32" };
    let whole = format!("{seen}/{length}");
    seen == given || whole == given || (seen == "default" && matches!(given, "0.0.0.0/0" | "::/0"))
}

fn route(key: &str, was: &str, statement: &Statement) -> bool {
    const KINDS: [&str; 12] = [
        "unicast",
        "local",
        "broadcast",
        "blackhole",
        "unreachable",
        "prohibit",
        "throw",
        "to",
        "-net",
        "-host",
        "inet",
        "inet6",
    ];
    let (Some(given), Some((table, rest))) = (added(statement, &["route", "ro", "r"]), key.split_once('/')) else {
        return false;
    };
    let seen = words(rest);
    let destination = seen.first().map_or("", String::as_str);
    let Some(to) = given.iter().find(|word| !KINDS.contains(&word.as_str())) else { return false };
    let device = value_of(given, "dev").is_none_or(|dev| value_of(&seen, "dev") == Some(dev));
    let through = value_of(given, "via").or(value_of(given, "gw"));
    let gateway = through.is_none_or(|via| value_of(&words(was), "via") == Some(via));
    device && gateway && value_of(given, "table").unwrap_or("main") == table && same_network(destination, to)
}

fn address(key: &str, statement: &Statement) -> bool {
    let (Some(given), Some((device, address))) = (added(statement, &["addr", "address", "a"]), key.split_once('/'))
    else {
        return false;
    };
    let bare = address.strip_suffix("/32").or(address.strip_suffix("/128")).unwrap_or(address);
    let named = given.iter().find(|word| *word != "local").is_some_and(|to| *to == address || *to == bare);
    named && value_of(given, "dev") == Some(device)
}

fn link(key: &str, was: &str, statement: &Statement) -> bool {
    if statement.module.is_some() {
        return false;
    }
    let (name, part) = key.split_once('/').unwrap_or((key, ""));
    if part.is_empty() {
        let given = ["link", "l"].iter().find_map(|object| statement.after(&[*object, "add"]));
        let own = given.and_then(|given| value_of(given, "name").or(given.first().map(String::as_str)));
        return own == Some(name) || statement.has(&["brctl", "addbr", name]);
    }
    let given = ["link", "l"].iter().find_map(|object| statement.after(&[*object, "set"]));
    let Some(given) = given.filter(|given| given.iter().any(|word| word == name)) else { return false };
    match part {
        "mtu" | "master" => value_of(given, part) == Some(was),
        "admin" => given.iter().any(|word| word == was),
        _ => false,
    }
}

fn ip_rule(key: &str, was: &str, statement: &Statement) -> bool {
    let seen = words(key.split_once('/').map_or(key, |(_, rule)| rule));
    let (Some(given), Some(priority)) = (added(statement, &["rule", "ru"]), seen.first()) else { return false };
    let was = words(was);
    let from = value_of(&seen, "from").unwrap_or("all");
    let length = value_of(&was, "srclen").map(|length| format!("{from}/{length}"));
    let to_table = ["lookup", "table"].iter().find_map(|word| value_of(given, word));
    let given_from = value_of(given, "from").unwrap_or("all");
    let same_from = given_from == from || Some(given_from) == length.as_deref();
    let number = ["pref", "priority", "preference", "order"].iter().find_map(|word| value_of(given, word));
    // Without a number the kernel chose one: then it takes the source to know the rule by.
    let same_number = number.map_or(from != "all", |number| number == priority);
    same_from && same_number && to_table.is_some() && to_table == value_of(&was, "table")
}

fn container(key: &str, statement: &Statement) -> bool {
    let name = key.split('/').next().unwrap_or(key);
    if statement.module.is_some() {
        let modules = ["docker_container", "podman_container"];
        return statement.is(&modules) && arg(statement, "name", name) && !is_absent(statement);
    }
    let made = ["run", "create"].iter().any(|verb| statement.has_word(verb)) && statement.has(&["--name", name]);
    let started = ["start", "restart"].iter().any(|verb| statement.has(&[*verb, name]));
    statement.calls(&["docker", "podman", "nerdctl"]) && (made || started)
}

/// A network or a volume of Docker's.
fn of_docker(kind: &str, name: &str, statement: &Statement) -> bool {
    const TAKE_A_VALUE: [&str; 10] =
        ["-d", "--driver", "-o", "--opt", "--label", "--subnet", "--gateway", "--ip-range", "--ipam-driver", "--scope"];
    if statement.module.is_some() {
        let modules = [format!("docker_{kind}"), format!("podman_{kind}")];
        let own = modules.iter().any(|module| statement.is(&[module.as_str()]));
        return own && arg(statement, "name", name) && !is_absent(statement);
    }
    let Some(given) = statement.after(&[kind, "create"]) else { return false };
    let places = given.iter().enumerate().filter(|(_, word)| *word == name);
    let is_its_name = |at: usize| at == 0 || !TAKE_A_VALUE.contains(&given[at - 1].as_str());
    statement.calls(&["docker", "podman"]) && places.into_iter().any(|(at, _)| is_its_name(at))
}

/// Both ways to call a unit: a service's kind may be left out.
fn names(unit: &str) -> Vec<&str> {
    [Some(unit), unit.strip_suffix(".service")].into_iter().flatten().collect()
}

const SERVICE_MODULES: [&str; 4] = ["systemd", "systemd_service", "service", "sysvinit"];

fn unit(key: &str, was: &str, statement: &Statement) -> bool {
    let names = names(key.strip_suffix("/active").unwrap_or(key));
    if !was.starts_with("active") {
        return false;
    }
    if statement.module.is_some() {
        let starts = ["started", "restarted", "reloaded"].iter().any(|state| arg(statement, "state", state));
        return statement.is(&SERVICE_MODULES) && starts && names.iter().any(|name| arg(statement, "name", name));
    }
    let starts = ["start", "restart", "reload-or-restart"].iter().any(|verb| {
        let after = statement.after(&[*verb]).unwrap_or_default();
        statement.calls(&["systemctl"]) && names.iter().any(|name| after.iter().any(|word| word == name))
    });
    let enables = ["enable", "reenable"].iter().any(|verb| statement.has_word(verb)) && statement.has_word("--now");
    let named = names.iter().any(|name| statement.has_word(name));
    let by_service = names
        .iter()
        .any(|name| statement.has(&["service", *name, "start"]) || statement.has(&["service", *name, "restart"]));
    let made_up = statement.calls(&["systemd-run"]) && names.iter().any(|name| statement.has(&["--unit", *name]));
    starts || (statement.calls(&["systemctl"]) && enables && named) || by_service || made_up
}

fn unit_file(key: &str, statement: &Statement) -> bool {
    let names = names(key.rsplit('/').next().unwrap_or(key));
    let until_reboot = key.starts_with("run/");
    if statement.module.is_some() {
        let enables = arg(statement, "enabled", "True") || arg(statement, "masked", "True");
        let named = names.iter().any(|name| arg(statement, "name", name));
        return statement.is(&SERVICE_MODULES) && enables && named && !until_reboot;
    }
    let enables = ["enable", "reenable", "mask", "link"].iter().any(|verb| statement.has_word(verb));
    let named = names.iter().any(|name| statement.has_word(name));
    statement.calls(&["systemctl"]) && enables && named && statement.has_word("--runtime") == until_reboot
}

fn nft(key: &str, was: &str, statement: &Statement) -> bool {
    if statement.module.is_some() {
        return false;
    }
    let (table, part) = key.split_once('/').unwrap_or((key, ""));
    // The family that may be left out.
    let tables: Vec<_> = [Some(table), table.strip_prefix("ip ")].into_iter().flatten().collect();
    let made = |verbs: &[&str], what: &str, name: &str| {
        let all = tables.iter().flat_map(|table| verbs.iter().map(move |verb| format!("{verb} {what} {table} {name}")));
        let find = |text: String| {
            let words = words(&text);
            statement.after(&words.iter().map(String::as_str).collect::<Vec<_>>()).map(<[String]>::to_vec)
        };
        all.into_iter().find_map(find)
    };
    let begins_with =
        |given: Option<Vec<String>>, text: &str| given.is_some_and(|given| given.starts_with(&words(text)));
    if part.is_empty() {
        return made(&["add", "create"], "table", "").is_some();
    }
    if let Some((chain, rule)) = part.split_once("/rules/") {
        return begins_with(made(&["add", "insert", "replace"], "rule", chain), rule);
    }
    if let Some((set, element)) = part.strip_prefix("set ").and_then(|set| set.split_once("/elements/")) {
        let given = made(&["add", "create"], "element", set).unwrap_or_default();
        let element = words(element);
        return given.windows(element.len().max(1)).any(|words| words == element);
    }
    if let Some(chain) = part.strip_suffix("/policy") {
        return made(&["add", "create", ""], "chain", chain).is_some() && statement.has(&["policy", was]);
    }
    match part.split_once(' ') {
        Some((kind, name)) => made(&["add", "create"], kind, name).is_some(),
        None if part.contains('/') => false,
        None => made(&["add", "create"], "chain", part).is_some(),
    }
}

fn mount(key: &str, statement: &Statement) -> bool {
    if statement.module.is_some() {
        let mounts = ["mounted", "ephemeral", "remounted"].iter().any(|state| arg(statement, "state", state));
        let named = ["path", "name"].iter().any(|name| arg(statement, name, key));
        return statement.is(&["mount"]) && mounts && named;
    }
    // The last operand is the place, the first the device.
    let end = statement.words.iter().position(|word| matches!(word.as_str(), ">" | "|" | "&"));
    let operands = &statement.words[..end.unwrap_or(statement.words.len())];
    let last = operands.last().filter(|last| end.is_none() || *last != "2");
    statement.calls(&["mount"]) && last.is_some_and(|last| last == key)
}

fn module(key: &str, statement: &Statement) -> bool {
    // The kernel takes both for the same.
    let same = |word: &str| word.replace('-', "_") == key.replace('-', "_");
    if statement.module.is_some() {
        let named = statement.after(&["name"]).and_then(<[String]>::first).is_some_and(|name| same(name));
        return statement.is(&["modprobe"]) && named && !is_absent(statement);
    }
    let removes = ["-r", "--remove"].iter().any(|flag| statement.has_word(flag));
    statement.calls(&["modprobe", "insmod"]) && !removes && statement.words.iter().any(|word| same(word))
}

fn hostname(was: &str, statement: &Statement) -> bool {
    if statement.module.is_some() {
        return statement.is(&["hostname"]) && arg(statement, "name", was);
    }
    let by_systemd = statement.calls(&["hostnamectl"])
        && ["set-hostname", "hostname"].iter().any(|verb| statement.has_word(verb))
        && statement.has_word(was);
    by_systemd || statement.has(&["hostname", was])
}
