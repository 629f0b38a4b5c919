//! systemd's units, and what is enabled.

use super::there;
use crate::observe::state::{Fact, Facts};
use std::collections::{BTreeMap, BTreeSet};

/// Units that do something or should: active ones, and those that failed or keep trying. One that is not active is no
/// fact, so it makes no difference whether systemd happens to have it loaded. One that systemd had to start again
/// says so.
pub(super) fn units(text: &str, services: &[Service]) -> Facts {
    let mut facts = Facts::new();
    for (unit, active, sub) in rows(text) {
        let kind = unit.rsplit_once('.').map_or("", |(_, kind)| kind);
        let failed = active == "failed" || sub.starts_with("auto-restart");
        if is_transient(unit) || (is_seen_elsewhere(kind) && !failed) {
            continue;
        }
        let value = match (active, kind) {
            ("inactive", _) => continue,
            // A service says with its sub-state whether there still is a process.
            ("active" | "activating" | "deactivating" | "reloading", "service") => format!("{active} ({sub})"),
            // A timer without a next time never elapses again. One whose service runs has none for that moment.
            ("active", "timer") if sub != "running" => format!("{active} ({sub})"),
            // Of the other kinds it tells what they are waiting for right now.
            _ => active.to_owned(),
        };
        there(&mut facts, format!("{unit}/active"), value);
        if services.iter().any(|service| service.unit == unit && service.restarts > 0) && !is_getty(unit) {
            there(&mut facts, format!("{unit}/restarted"), "by systemd");
        }
    }
    facts
}

/// Consoles are started again after each login.
fn is_getty(unit: &str) -> bool {
    unit.split('@').next().is_some_and(|name| name.ends_with("getty") || name == "console-getty.service")
}

/// The units of users' own managers, each behind its user: `user bob: sync.service/active`. Only services and timers
/// are anybody's business.
pub(super) fn with_users(mut facts: Facts, text: &str) -> Facts {
    for part in text.split("user ").skip(1) {
        let Some((user, rows)) = part.split_once('\n') else { continue };
        let own = units(rows, &[]).into_iter().filter(|(key, _)| {
            let unit = key.trim_end_matches("/active");
            unit.ends_with(".service") || unit.ends_with(".timer")
        });
        facts.extend(own.map(|(key, value)| (format!("user {user}: {key}"), value)));
    }
    facts
}

/// What systemd knows of a unit besides its state.
pub(super) struct Service {
    pub(super) unit: String,
    pub(super) restarts: u64,
    pub(super) main_pid: Option<u32>,
    /// Nothing starts it: no unit wants it, and no timer, socket or path.
    pub(super) unwanted: bool,
    /// A timer that counts from a run of its service only.
    pub(super) without_a_start: bool,
}

/// `systemctl show`, unit by unit.
pub(super) fn services(text: &str) -> Vec<Service> {
    let service = |block: BTreeMap<&str, &str>| {
        let word = |key: &str| block.get(key).copied().unwrap_or_default();
        let timers = word("TimersMonotonic");
        let counts_from = |words: &[&str]| words.iter().any(|word| timers.contains(word));
        let runs = counts_from(&["OnUnitActiveUSec", "OnUnitInactiveUSec"]);
        let starts =
            counts_from(&["OnBootUSec", "OnStartupUSec", "OnActiveUSec"]) || !word("TimersCalendar").is_empty();
        let wanted = ["WantedBy", "RequiredBy", "UpheldBy", "BoundBy", "TriggeredBy"];
        Some(Service {
            unit: Some(word("Id")).filter(|unit| !unit.is_empty())?.to_owned(),
            restarts: word("NRestarts").parse().unwrap_or(0),
            main_pid: word("MainPID").parse().ok().filter(|pid| *pid > 0),
            unwanted: word("ActiveState") == "active" && wanted.iter().all(|key| word(key).is_empty()),
            without_a_start: runs && !starts,
        })
    };
    blocks(text).filter_map(service).collect()
}

/// The units that systemd has stopped in this boot and that have not been started since, nor failed.
pub(super) fn stopped(messages: &str, units: &str) -> BTreeSet<String> {
    let idle = |unit: &&str| !rows(units).any(|(other, active, _)| other == *unit && active != "inactive");
    messages.lines().map(str::trim).filter(|unit| !unit.is_empty()).filter(idle).map(str::to_owned).collect()
}

/// The blocks of `systemctl show`: a property and its value per line, an empty line between two units.
pub(in crate::observe) fn blocks(text: &str) -> impl Iterator<Item = BTreeMap<&str, &str>> {
    let blocks = text.split("\n\n").map(|block| block.lines().filter_map(|line| line.split_once('=')).collect());
    blocks.filter(|block: &BTreeMap<_, _>| !block.is_empty())
}

/// The rows of `systemctl list-units`: name, active, sub.
fn rows(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (unit, _load) = (words.next()?, words.next()?);
        Some((unit, words.next()?, words.next()?))
    })
}

/// Kinds that have a section of their own (mounts, swap), mirror the hardware (devices), group processes that somebody
/// else started (scopes) or other units (slices, targets). Only that one has failed is worth telling.
fn is_seen_elsewhere(kind: &str) -> bool {
    matches!(kind, "mount" | "swap" | "device" | "scope" | "slice" | "target")
}

/// Units of a login, of one connection, or with a name that systemd made up: they come and go with what they serve.
fn is_transient(unit: &str) -> bool {
    unit.starts_with("user@")
        || unit.starts_with("user-runtime-dir@")
        || unit.starts_with("session-")
        || unit.strip_prefix("run-").and_then(|rest| rest.rsplit_once('.')).is_some_and(|(name, _)| is_made_up(name))
        || is_per_connection(unit)
        || is_of_container(unit)
}

/// A timer or service that a container engine made for one container, called by its id: `<64 hex digits>….timer`.
fn is_of_container(unit: &str) -> bool {
    unit.chars().take_while(char::is_ascii_hexdigit).count() >= 64
}

/// The names that systemd-run makes up: `run-r<hex>`, `run-u<n>`, `run-p<pid>-i<id>`, `run-<pid>`.
fn is_made_up(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let hex = |text: &str| text.len() >= 4 && text.chars().all(|c| c.is_ascii_hexdigit());
    let pair = |text: &str| text.split_once("-i").is_some_and(|(pid, id)| digits(pid) && digits(id));
    digits(name)
        || name.strip_prefix('r').is_some_and(hex)
        || name.strip_prefix('u').is_some_and(digits)
        || name.strip_prefix('p').is_some_and(pair)
}

/// An instance of a socket with `Accept=yes`: `sshd@3-10.0.0.2:22-10.0.0.1:4711.service`.
fn is_per_connection(unit: &str) -> bool {
    let instance = unit.split_once('@').and_then(|(_, rest)| rest.strip_suffix(".service"));
    let number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    instance.and_then(|i| i.split_once('-')).is_some_and(|(n, peer)| number(n) && peer.contains([':', '-']))
}

/// The links by which units are enabled, aliased or masked, in `/etc` and (until the reboot only) in `/run`.
pub(super) fn links(text: &str) -> Facts {
    let own = |path: &&str| path.starts_with("/etc/systemd/") || path.starts_with("/run/systemd/system/");
    let links = text.lines().filter_map(|line| line.split_once(' ')).filter(|(path, _)| own(path));
    let name = |target: &str| target.rsplit('/').next().unwrap_or(target).to_owned();
    let value = |target: &str| if target == "/dev/null" { "masked".to_owned() } else { name(target) };
    links.map(|(path, target)| (path.trim_start_matches('/').to_owned(), Fact::One(value(target)))).collect()
}

/// The units that something wants: they are started at boot, if that is.
pub(super) fn wanted(text: &str) -> Vec<String> {
    let wants = [".wants/", ".requires/", ".upholds/"];
    let names = text.lines().filter_map(|line| line.split(' ').next());
    let names = names.filter(|path| wants.iter().any(|folder| path.contains(folder)));
    let names: BTreeSet<_> = names.filter_map(|path| path.rsplit('/').next()).map(str::to_owned).collect();
    names.into_iter().collect()
}

/// Where units that are wanted mount something: `srv-data.mount` is `/srv/data` (systemd.mount(5)).
pub(super) fn mounted_by_units(links: &str) -> BTreeSet<String> {
    let names = wanted(links).into_iter();
    let names = names.filter_map(|name| name.strip_suffix(".mount").or(name.strip_suffix(".automount")).map(unescaped));
    names.collect()
}

/// The path that a unit's name stands for: `-` for `/`, `\\x2d` for `-`.
fn unescaped(name: &str) -> String {
    let path = name.replace('-', "/").replace("\\x2d", "-");
    format!("/{}", path.trim_start_matches('/'))
}

/// Services that run when somebody asks for them and not otherwise: they cannot be enabled, nothing wants them, and a
/// D-Bus name or an active socket, path or timer starts them. That one of them runs is no property of the machine.
pub(super) fn on_demand(units: &str, installable: &str, wanted_links: &str, bus: &str) -> Vec<String> {
    let file = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let installable: BTreeSet<_> = installable.lines().map(file).collect();
    let enabled: BTreeSet<_> = wanted(wanted_links).into_iter().collect();
    let names = bus.lines().filter_map(|line| line.split_once('=')).map(|(_, name)| name.trim());
    let alias = |name: &str| {
        let links = wanted_links.lines().filter_map(|line| line.split_once(' '));
        links.into_iter().find(|(path, _)| file(path) == name).map_or(name.to_owned(), |(_, target)| file(target))
    };
    let by_bus: BTreeSet<_> = names.map(alias).collect();
    let active: BTreeSet<_> = rows(units).filter(|(_, active, _)| *active == "active").map(|(unit, ..)| unit).collect();
    let triggered = |stem: &str| {
        let stem = stem.split_once('@').map_or(stem, |(template, _)| template);
        ["socket", "path", "timer"].iter().any(|kind| active.contains(format!("{stem}.{kind}").as_str()))
    };
    let services = rows(units).filter_map(|(unit, ..)| Some((unit, unit.strip_suffix(".service")?)));
    let template = |unit: &str| unit.split_once('@').map_or(unit.to_owned(), |(name, _)| format!("{name}@.service"));
    services
        .filter(|(unit, stem)| by_bus.contains(*unit) || triggered(stem))
        .filter(|(unit, _)| !installable.contains(&template(unit)) && !enabled.contains(*unit))
        .map(|(unit, _)| unit.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_idle_is_no_fact_and_one_that_failed_is() {
        let text = "caddy.service   loaded active     running      Caddy\n\
                    once.service    loaded active     exited       Once\n\
                    idle.service    loaded inactive   dead         Idle\n\
                    bad.service     loaded failed     failed       Bad\n\
                    loop.service    loaded activating auto-restart Loop\n\
                    data.mount      loaded failed     failed       /data\n\
                    home.mount      loaded active     mounted      /home\n\
                    a.timer         loaded active     waiting      A\n\
                    x.target        loaded active     active       X\n";
        let services = services("Id=caddy.service\nNRestarts=2\n\nId=getty@tty1.service\nNRestarts=2\n");
        let seen: Vec<_> = units(text, &services).into_iter().map(|(key, value)| format!("{key} {value}")).collect();
        assert_eq!(
            seen,
            [
                "a.timer/active active (waiting)",
                "bad.service/active failed",
                "caddy.service/active active (running)",
                "caddy.service/restarted by systemd",
                "data.mount/active failed",
                "loop.service/active activating (auto-restart)",
                "once.service/active active (exited)",
            ]
        );
    }

    #[test]
    fn a_unit_that_was_stopped_is_one_that_does_not_run_now() {
        let units = "again.service loaded active running x\nfailed.service loaded failed failed x\ncron.service loaded inactive dead x\n";
        let stopped: Vec<_> =
            stopped("cron.service\nagain.service\nfailed.service\ncron.service\n", units).into_iter().collect();
        assert_eq!(stopped, ["cron.service"]);
    }

    #[test]
    fn a_users_own_services_are_told_by_their_user() {
        let text = "user bob\nsync.service loaded active running x\ndbus.socket loaded active running x\n";
        let seen: Vec<_> = with_users(Facts::new(), text).into_keys().collect();
        assert_eq!(seen, ["user bob: sync.service/active"]);
    }

    #[test]
    fn sessions_connections_and_made_up_names_are_noise_and_named_units_are_not() {
        for unit in [
            "user@1000.service",
            "session-9.scope",
            "run-r3a5f.service",
            "run-u12.service",
            "run-p410-i411.service",
            "run-1234.scope",
            "sshd@3-10.213.77.10:22-10.213.77.1:4711.service",
        ] {
            assert!(is_transient(unit), "{unit}");
        }
        for unit in [
            "web.service",
            "run-app1.service",
            "run-report.service",
            "getty@tty1.service",
            "wg-quick@mesh.service",
            "pg@15-main.service",
        ] {
            assert!(!is_transient(unit), "{unit}");
        }
    }

    #[test]
    fn a_service_that_can_be_enabled_is_never_on_demand_only() {
        let row = |unit: &str| format!("{unit} loaded active running x\n");
        let units: String = [
            "docker.service",
            "docker.socket",
            "systemd-hostnamed.service",
            "polkit.service",
            "dbus.service",
            "dbus.socket",
        ]
        .map(row)
        .concat();
        let installable = "usr/lib/systemd/system/docker.service\n";
        let wanted = "/usr/lib/systemd/system/dbus-org.freedesktop.hostname1.service systemd-hostnamed.service\n\
                      /usr/lib/systemd/system/multi-user.target.wants/dbus.service ../dbus.service\n";
        let bus = "SystemdService=polkit.service\nSystemdService=dbus-org.freedesktop.hostname1.service\n";
        assert_eq!(on_demand(&units, installable, wanted, bus), ["systemd-hostnamed.service", "polkit.service"]);
    }
}
