//! What a reboot will take away or bring back, from one look: a preview, and never a verdict.
//!
//! What runs and is on no disk is lost; what is on a disk and does not run comes. Only what the look shows for certain is
//! said: whether a program makes its folder in `/run` again, say, is not seen before it does.

use super::consequences::is_dockers;
use super::diff::{Change, Diff};
use super::state::{Fact, Section, State};
use serde::{Deserialize, Serialize};

/// Something that a reboot will change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foretold {
    /// The id that the difference will have (`units/web.service/active`).
    pub id: String,
    /// What will be, and why: one sentence.
    pub what: String,
    /// Whether it came true, once the reboot has been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_true: Option<bool>,
}

/// What a reboot will change of this state.
pub fn foretell(state: &State) -> Vec<Foretold> {
    let parts: [fn(&State) -> Vec<Foretold>; 9] =
        [units, timers, processes, containers, filters, routes, mounts, settings, until_the_reboot];
    parts.iter().flat_map(|part| part(state)).collect()
}

/// What came true of it: the difference that was foretold, or that of which it is a part.
pub(super) fn held_against(mut foretold: Vec<Foretold>, diff: &Diff) -> Vec<Foretold> {
    let ids: Vec<_> = diff.changes.iter().map(Change::id).collect();
    for one in &mut foretold {
        let part =
            |id: &String| one.id == *id || one.id.strip_prefix(id.as_str()).is_some_and(|rest| rest.starts_with('/'));
        one.came_true = Some(ids.iter().any(part));
    }
    foretold
}

fn say(section: Section, key: &str, what: String) -> Foretold {
    Foretold { id: format!("{section}/{key}"), what, came_true: None }
}

/// Services that run and are not enabled, and those that were stopped and are.
fn units(state: &State) -> Vec<Foretold> {
    let runs = state.words(Section::Units).filter_map(|(key, value)| Some((key.strip_suffix("/active")?, value)));
    let lost = runs.filter(|(unit, value)| {
        let service = unit.ends_with(".service") && !unit.starts_with("user ") && *value == "active (running)";
        let started = state.promises("enabled", unit) || state.promises("on-demand", unit);
        service && !started && state.known.unwanted.contains(*unit)
    });
    let lost = lost.map(|(unit, _)| (unit, format!("{unit} runs and is not enabled: it will not come back")));
    let back = state.known.stopped.iter().filter(|unit| state.promises("enabled", unit));
    let back = back.map(|unit| (unit.as_str(), format!("{unit} was stopped and is enabled: it will come back")));
    lost.chain(back).map(|(unit, what)| say(Section::Units, &format!("{unit}/active"), what)).collect()
}

/// Timers that count from a run of their service only: after a boot there is none.
fn timers(state: &State) -> Vec<Foretold> {
    let rows = state.words(Section::Units).filter_map(|(key, value)| Some((key.strip_suffix("/active")?, value)));
    let rows =
        rows.filter(|(unit, value)| *value == "active (waiting)" && state.known.timers_without_a_start.contains(*unit));
    rows.map(|(unit, _)| {
        let what = format!("{unit} counts from a run of its service only: after the boot it will have no next time");
        say(Section::Units, &format!("{unit}/active"), what)
    })
    .collect()
}

/// Processes that a login has left behind.
fn processes(state: &State) -> Vec<Foretold> {
    let all = state.words(Section::Processes);
    all.map(|(name, _)| {
        say(Section::Processes, name, format!("the process {name} was started by a login, and no unit starts it"))
    })
    .collect()
}

/// Containers that Docker will not start, and those that it will start again.
fn containers(state: &State) -> Vec<Foretold> {
    let rows = state.words(Section::Containers).filter_map(|(key, value)| Some((key.strip_suffix("/state")?, value)));
    rows.filter_map(|(name, now)| {
        let policy = state.word(Section::Containers, &format!("{name}/restart"));
        let what = match (now, policy) {
            ("running", "no" | "on-failure") => {
                format!("the container {name} runs, and its restart policy is `{policy}`: it will not come back")
            }
            ("exited", "always") => {
                format!("the container {name} was stopped, and its restart policy is `always`: it will come back")
            }
            _ => return None,
        };
        Some(say(Section::Containers, &format!("{name}/state"), what))
    })
    .collect()
}

/// Tables that no file has, and chains that a file has and the kernel has not.
fn filters(state: &State) -> Vec<Foretold> {
    let loads = state.promises("enabled", "nftables.service");
    let on_disk = |chain: &str| loads && state.known.chains_on_disk.contains(chain);
    let Some(facts) = state.facts(Section::Nft) else { return Vec::new() };
    let chain = |key: &str| facts.get(key).is_some_and(|fact| *fact == Fact::from("chain"));
    let lost = facts.keys().filter(|key| chain(key) && !on_disk(key) && !is_dockers(key, facts)).map(|key| {
        say(Section::Nft, key, format!("the chain {key} is in the kernel, and no file that is loaded at boot has it"))
    });
    let new = state.known.new_chains_on_disk.iter().filter(|key| loads && !facts.contains_key(*key)).map(|key| {
        say(
            Section::Nft,
            key,
            format!("the chain {key} is on the disk and not loaded: it will take effect at the boot"),
        )
    });
    lost.chain(new).collect()
}

/// Routes that were added by hand.
fn routes(state: &State) -> Vec<Foretold> {
    let by_hand =
        state.words(Section::Routes).filter(|(_, value)| value.contains("proto boot") || !value.contains("proto"));
    by_hand
        .map(|(key, _)| say(Section::Routes, key, format!("the route {key} was added by hand: it will be gone")))
        .collect()
}

/// Mounts and swap that fstab does not have, and no unit that is enabled.
fn mounts(state: &State) -> Vec<Foretold> {
    let of_a_device = |value: &str| {
        value.split(' ').nth(1).is_some_and(|source| source.starts_with("/dev/") || source.contains(":/"))
    };
    let mounts = state.words(Section::Mounts).filter(|(key, value)| !key.ends_with("/options") && of_a_device(value));
    let mounts = mounts
        .filter(|(key, _)| *key != "/" && !state.promises("fstab", key) && !state.known.mount_units.contains(*key));
    let mounts =
        mounts.map(|(key, _)| say(Section::Mounts, key, format!("{key} is mounted, and /etc/fstab does not have it")));
    let swaps =
        state.words(Section::Swaps).filter(|(key, _)| !state.promises("fstab-source", key) && !key.contains("zram"));
    let swaps =
        swaps.map(|(key, _)| say(Section::Swaps, key, format!("{key} is swapped to, and /etc/fstab does not have it")));
    mounts.chain(swaps).collect()
}

/// Parameters that a file sets otherwise, and a host name that is another on the disk.
fn settings(state: &State) -> Vec<Foretold> {
    let set = state.known.sysctl.iter().filter_map(|(key, set)| {
        let now = state.fact(Section::Sysctl, key)?.to_string();
        (now != set.value).then(|| {
            let what =
                format!("{key} is {now}, and {} sets it to {}: that will take effect at the boot", set.file, set.value);
            say(Section::Sysctl, key, what)
        })
    });
    let (now, disk) = (state.word(Section::System, "hostname"), state.word(Section::System, "static-hostname"));
    let name = (now != disk && !disk.is_empty() && !now.is_empty())
        .then(|| say(Section::System, "hostname", format!("the host name is {now}, and /etc/hostname says {disk}")));
    set.chain(name).collect()
}

/// What holds until the reboot only: drop-ins in `/run`, and peers that no file has.
fn until_the_reboot(state: &State) -> Vec<Foretold> {
    let files = state.words(Section::UnitFiles).filter(|(key, value)| {
        // What `set-property --runtime` and `edit --runtime` write; generators write others, at each boot.
        let by_hand = key.starts_with("run/systemd/system.control/") || key.ends_with("/override.conf");
        by_hand && value.contains('=')
    });
    let files = files.map(|(key, _)| say(Section::UnitFiles, key, format!("/{key} holds until the reboot only")));
    let peers = state.words(Section::Wireguard).filter_map(|(key, _)| {
        let (_, peer) = key.split_once('/').filter(|(_, peer)| !peer.ends_with("/keepalive"))?;
        let known = state.known.peers_on_disk.contains(peer);
        (!known && peer.ends_with('=')).then(|| {
            say(
                Section::Wireguard,
                key,
                format!("the WireGuard peer {key} is in the kernel, and no file in /etc/wireguard has it"),
            )
        })
    });
    files.chain(peers).collect()
}

#[cfg(test)]
mod tests {
    use super::super::state::{Setting, state_for_tests};
    use super::*;

    #[test]
    fn what_runs_and_is_on_no_disk_is_foretold_and_what_is_on_it_and_does_not_run() {
        let mut state = state_for_tests(&[
            (Section::Units, "by-hand.service/active", "active (running)"),
            (Section::Units, "ssh.service/active", "active (running)"),
            (Section::Units, "sweep.timer/active", "active (waiting)"),
            (Section::Processes, "game", "1 process"),
            (Section::Containers, "web/state", "running"),
            (Section::Containers, "web/restart", "no"),
            (Section::Containers, "batch/state", "exited"),
            (Section::Containers, "batch/restart", "always"),
            (Section::Nft, "inet filter/input", "chain"),
            (Section::Nft, "inet hand/input", "chain"),
            (Section::Routes, "main/198.51.100.0/24 dev eth0", "via 10.0.0.1"),
            (Section::Routes, "main/default dev eth0", "via 10.0.0.1 proto dhcp"),
            (Section::Mounts, "/data", "ext4 /dev/vdb rw"),
            (Section::Mounts, "/data/options", ""),
            (Section::Sysctl, "vm.swappiness", "60"),
            (Section::UnitFiles, "run/systemd/system.control/a.service.d/50-MemoryMax.conf", "MemoryMax=1"),
            (Section::Wireguard, "vpn0/KEY=", "allowed 10.0.0.2/32"),
        ]);
        state
            .promised
            .insert("enabled".into(), vec!["ssh.service".into(), "cron.service".into(), "nftables.service".into()]);
        state.known.stopped.insert("cron.service".into());
        state.known.timers_without_a_start.insert("sweep.timer".into());
        state.known.chains_on_disk.insert("inet filter/input".into());
        state.known.unwanted.insert("by-hand.service".into());
        let set = Setting { value: "10".into(), file: "/etc/sysctl.d/a.conf".into(), is_new: true };
        state.known.sysctl.insert("vm.swappiness".into(), set);
        let mut ids: Vec<_> = foretell(&state).into_iter().map(|one| one.id).collect();
        ids.sort();
        assert_eq!(
            ids,
            [
                "containers/batch/state",
                "containers/web/state",
                "mounts//data",
                "nft/inet hand/input",
                "processes/game",
                "routes/main/198.51.100.0/24 dev eth0",
                "sysctl/vm.swappiness",
                "unit-files/run/systemd/system.control/a.service.d/50-MemoryMax.conf",
                "units/by-hand.service/active",
                "units/cron.service/active",
                "units/sweep.timer/active",
                "wireguard/vpn0/KEY=",
            ]
        );
    }
}
