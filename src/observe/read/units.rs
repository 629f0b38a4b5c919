//! systemd's units, and what is enabled.

use super::there;
use crate::observe::state::{Fact, Facts};
use std::collections::BTreeSet;

/// Units that do something or should: active ones, and those that failed or keep trying. One that is not active is no
/// fact, so it makes no difference whether systemd happens to have it loaded.
pub(super) fn units(text: &str) -> Facts {
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
            // Of the other kinds it tells what they are waiting for right now.
            _ => active.to_owned(),
        };
        there(&mut facts, format!("{unit}/active"), value);
    }
    facts
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

/// Services that systemd was to start at this boot and left out, because by their own conditions there was nothing to
/// do: what runs at a first boot or after an update only.
pub(in crate::observe) fn skipped(text: &str) -> Vec<String> {
    let blocks = text.split("\n\n");
    let value = |block: &str, key: &str| {
        block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned)).unwrap_or_default()
    };
    blocks
        .filter(|b| {
            value(b, "ConditionResult") == "no" && !matches!(value(b, "ConditionTimestampMonotonic").as_str(), "" | "0")
        })
        .map(|block| value(block, "Id"))
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
        let seen: Vec<_> = units(text).into_iter().map(|(key, value)| format!("{key} {value}")).collect();
        assert_eq!(
            seen,
            [
                "a.timer/active active",
                "bad.service/active failed",
                "caddy.service/active active (running)",
                "data.mount/active failed",
                "loop.service/active activating (auto-restart)",
                "once.service/active active (exited)",
            ]
        );
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

    #[test]
    fn skipped_at_boot_is_another_thing_than_never_asked_for() {
        let block = |id: &str, result: &str, at: &str| {
            format!("Id={id}\nConditionResult={result}\nConditionTimestampMonotonic={at}\n\n")
        };
        let text = block("ldconfig.service", "no", "38771800")
            + &block("wg-quick@mesh.service", "no", "0")
            + &block("a.service", "yes", "7");
        assert_eq!(skipped(&text), ["ldconfig.service"]);
    }
}
