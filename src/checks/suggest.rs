//! Checks that a state suggests: what a host does today, asked as probes.
//!
//! A suggestion says that it is so now, not that it has to be: which of them matter, a person decides.

use super::{Probe, Question, WITHIN};
use crate::checks::probe::{Port, Protocol, Run};
use crate::form::pattern::Pattern;
use evidence::observe::{Section, State};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A probe that holds on the host that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion {
    /// What to ask.
    pub question: Question,
    /// What was seen that suggests it.
    pub why: String,
}

/// The sections of a state that suggest something: one that could not be seen suggests nothing.
pub const SECTIONS: [Section; 5] =
    [Section::Units, Section::Sockets, Section::Containers, Section::Mounts, Section::Sysctl];

/// Services that any Debian or Red Hat host runs, by the beginning of their names. That one of them fails is asked by
/// `failed-units`.
const ORDINARY: [&str; 32] = [
    "NetworkManager",
    "accounts-daemon.",
    "acpid.",
    "apparmor.",
    "apt-daily",
    "auditd.",
    "blk-availability.",
    "cloud-",
    "console-setup.",
    "cron.",
    "crond.",
    "dbus",
    "dracut-",
    "e2scrub",
    "getty",
    "ifup@",
    "keyboard-setup.",
    "kmod-static-nodes.",
    "ldconfig.",
    "lvm2-",
    "modprobe@",
    "networking.",
    "plymouth",
    "polkit.",
    "qemu-guest-agent.",
    "resolvconf.",
    "serial-getty@",
    "systemd-",
    "udisks2.",
    "unattended-upgrades.",
    "user-runtime-dir@",
    "user@",
];

/// Programs whose sockets any host has.
const RESOLVERS: [&str; 3] = ["systemd-resolve", "systemd-network", "systemd-timesyn"];

/// The ports of DHCP's clients.
const DHCP: [u16; 2] = [68, 546];

/// Places where every host mounts something, and what is mounted below is the kernel's or systemd's business.
const ORDINARY_MOUNTS: [&str; 9] =
    ["/boot", "/dev", "/efi", "/proc", "/run", "/snap", "/sys", "/tmp", "/var/lib/docker"];

/// All that a state suggests, the most telling first.
pub fn suggest(state: &State) -> Vec<Suggestion> {
    let mut all = vec![failed_units(state)];
    all.extend(ports(state));
    all.extend(containers(state));
    all.extend(services(state));
    all.extend(mounts(state));
    all.extend(settings(state));
    all
}

impl Suggestion {
    fn new(name: String, probe: Probe, why: String) -> Self {
        Self { question: Question { name, probe, within: WITHIN }, why }
    }

    /// As an entry of a profile's `verify`. What stands before the reason is for the user to decide.
    pub fn entry(&self, before: &str) -> Value {
        let Question { name, probe, .. } = &self.question;
        json!({"//": format!("{before}{}", self.why), "name": name, "probe": probe})
    }
}

/// No unit fails, but for those that fail today.
fn failed_units(state: &State) -> Suggestion {
    let mut except = Vec::new();
    for (key, value) in state.words(Section::Units) {
        if let (Some(unit), "failed", false) = (key.strip_suffix("/active"), value, key.starts_with("user ")) {
            except.push(unit.to_owned());
        }
    }
    let why = match except.is_empty() {
        true => "no unit has failed".to_owned(),
        false => format!("failed at that time: {}; repair them, and take them out here", except.join(", ")),
    };
    Suggestion::new("no failed units".into(), Probe::FailedUnits { except }, why)
}

/// A port, and who listens there at which addresses.
#[derive(Default)]
struct Listener {
    addresses: BTreeSet<IpAddr>,
    holders: BTreeSet<String>,
}

/// What others can connect to is asked from outside; what listens for the host itself, inside.
fn ports(state: &State) -> Vec<Suggestion> {
    let mut found: BTreeMap<(Protocol, u16), Listener> = BTreeMap::new();
    for (key, holder) in state.words(Section::Sockets) {
        let Some((protocol, address, port)) = socket(key) else { continue };
        if RESOLVERS.contains(&holder) || (protocol == Protocol::Udp && DHCP.contains(&port)) {
            continue;
        }
        let one = found.entry((protocol, port)).or_default();
        one.addresses.insert(address);
        one.holders.insert(holder.to_owned());
    }
    found.into_iter().map(|((protocol, port), listener)| asked(protocol, port, &listener)).collect()
}

fn asked(protocol: Protocol, port: u16, listener: &Listener) -> Suggestion {
    let who = listener.holders.iter().cloned().collect::<Vec<_>>().join(", ");
    let own = listener.addresses.iter().all(IpAddr::is_loopback);
    let at: Vec<_> = listener.addresses.iter().map(IpAddr::to_string).collect();
    let why = format!("{who} listens at {}", at.join(", "));
    match (protocol, own) {
        (Protocol::Tcp, false) => {
            Suggestion::new(format!("port {port} answers"), Probe::Tcp { port, expect: Port::Open }, why)
        }
        _ => {
            let address = if own { listener.addresses.first().copied() } else { None };
            let name = match protocol {
                Protocol::Tcp => format!("{who} listens on {port}"),
                Protocol::Udp => format!("{who} listens on {port}/udp"),
            };
            Suggestion::new(name, Probe::Listening { port, protocol, address }, why)
        }
    }
}

/// `tcp 0.0.0.0:80`, with the interface of an address taken off (`127.0.0.53%lo`). Sockets without a number of their own,
/// Unix sockets and link-local addresses have none that could be asked.
fn socket(key: &str) -> Option<(Protocol, IpAddr, u16)> {
    let (protocol, at) = key.split_once(' ')?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let (host, port) = at.rsplit_once(':')?;
    let host = host.split('%').next().unwrap_or(host).trim_matches(['[', ']']);
    let address = if host == "*" { IpAddr::from([0; 16]) } else { host.parse().ok()? };
    Some((protocol, address, port.parse().ok()?))
}

/// Containers that run; those that say whether they are well are asked that.
fn containers(state: &State) -> Vec<Suggestion> {
    let running = state.words(Section::Containers).filter_map(|(key, value)| {
        // A user's own containers (`name@user`) are that user's to ask.
        key.strip_suffix("/state").filter(|name| value == "running" && !name.contains(['/', '@']))
    });
    running.filter_map(|name| container(state, name)).collect()
}

fn container(state: &State, name: &str) -> Option<Suggestion> {
    let healthy = state.word(Section::Containers, &format!("{name}/health")) == "healthy";
    let (format, word) =
        if healthy { ("{{.State.Health.Status}}", "healthy") } else { ("{{.State.Status}}", "running") };
    let run = ["docker", "container", "inspect", "--format", format, name].map(str::to_owned);
    let stdout = Some(Pattern::try_from(format!("^{word}$")).ok()?);
    let probe = Probe::Command { run: Run::Argv(run.to_vec()), code: 0, stdout };
    Some(Suggestion::new(format!("container {name} is {word}"), probe, format!("it is {word}")))
}

/// Services that this host has and not every host.
fn services(state: &State) -> Vec<Suggestion> {
    let mut found = Vec::new();
    for (key, value) in state.words(Section::Units) {
        let Some(unit) = key.strip_suffix("/active").filter(|unit| unit.ends_with(".service")) else { continue };
        let ordinary = key.starts_with("user ") || ORDINARY.iter().any(|begin| unit.starts_with(begin));
        let sub = value.strip_prefix("active (").and_then(|rest| rest.strip_suffix(')'));
        if let (Some(sub @ ("running" | "exited")), false) = (sub, ordinary) {
            let sub = (sub == "running").then(|| sub.to_owned());
            let probe = Probe::Unit { name: unit.to_owned(), state: "active".into(), sub };
            found.push(Suggestion::new(format!("{unit} is up"), probe, format!("it is {value}")));
        }
    }
    found
}

/// File systems that are set up to be mounted at boot, and are.
fn mounts(state: &State) -> Vec<Suggestion> {
    let fstab = state.promised.get("fstab").into_iter().flatten();
    let paths: BTreeSet<_> = fstab.chain(&state.known.mount_units).filter(|path| !is_ordinary(path)).collect();
    let mounted = paths.into_iter().filter_map(|path| {
        let kind = state.word(Section::Mounts, path).split(' ').next().filter(|kind| !kind.is_empty())?;
        let probe = Probe::Mount { path: path.clone(), source: None, kind: Some(kind.to_owned()), options: Vec::new() };
        Some(Suggestion::new(format!("{path} is mounted"), probe, format!("a {kind} is mounted there at boot")))
    });
    mounted.collect()
}

fn is_ordinary(path: &str) -> bool {
    path == "/"
        || ORDINARY_MOUNTS
            .iter()
            .any(|place| path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Kernel parameters that files of the host's own set, and that have that value.
fn settings(state: &State) -> Vec<Suggestion> {
    let set = state.known.sysctl.iter().filter(|(_, setting)| setting.file.starts_with("/etc/"));
    let holds = set.filter(|(key, setting)| words(state.word(Section::Sysctl, key)) == words(&setting.value));
    let each = holds.map(|(key, setting)| {
        let probe = Probe::Sysctl { key: key.clone(), value: setting.value.clone() };
        Suggestion::new(format!("{key} is set"), probe, format!("{} sets it", setting.file))
    });
    each.collect()
}

fn words(value: &str) -> Vec<&str> {
    value.split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKARI: &str = include_str!("../../tests/fixtures/observe/askari-before.txt");

    fn state(sections: Value) -> State {
        serde_json::from_value(json!({"sections": sections})).unwrap()
    }

    fn named<'s>(all: &'s [Suggestion], name: &str) -> &'s Suggestion {
        let names: Vec<_> = all.iter().map(|one| one.question.name.as_str()).collect();
        all.iter().find(|one| one.question.name == name).unwrap_or_else(|| panic!("{name} is not among {names:?}"))
    }

    #[test]
    fn a_real_host_suggests_what_it_does_and_nothing_that_every_host_does() {
        let all = suggest(&evidence::observe::read(ASKARI));
        assert_eq!(named(&all, "port 443 answers").question.probe, Probe::Tcp { port: 443, expect: Port::Open });
        named(&all, "docker.service is up");
        named(&all, "container reverse_proxy is running");
        assert!(all.iter().all(|one| !one.question.name.contains("systemd-")), "{all:?}");
    }

    #[test]
    fn a_socket_for_the_host_itself_is_asked_inside_and_one_for_others_from_outside() {
        let of = |keys: &[&str]| {
            let facts: BTreeMap<_, _> = keys.iter().map(|key| (*key, "db")).collect();
            let found = ports(&state(json!({"sockets": {"facts": facts}})));
            found.into_iter().map(|one| serde_json::to_value(one.question.probe).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(
            of(&["tcp 127.0.0.1:5432", "tcp [::1]:5432"]),
            [json!({"listening": {"port": 5432, "protocol": "tcp", "address": "127.0.0.1"}})]
        );
        assert_eq!(of(&["tcp 127.0.0.1:80", "tcp *:80"]), [json!({"tcp": {"port": 80, "expect": "open"}})]);
        assert_eq!(
            of(&["udp 0.0.0.0:51820", "unix /run/db", "tcp 0.0.0.0:ephemeral db", "udp 0.0.0.0:68"]),
            [json!({"listening": {"port": 51820, "protocol": "udp"}})]
        );
    }

    #[test]
    fn what_has_failed_at_that_time_is_left_out_of_the_question_and_told() {
        let facts = json!({"a.service/active": "failed", "user bob: b.service/active": "failed"});
        let one = failed_units(&state(json!({"units": {"facts": facts}})));
        assert_eq!(one.question.probe, Probe::FailedUnits { except: vec!["a.service".into()] });
        assert!(one.why.contains("a.service"));
    }
}
