//! Which differences are losses, and what to say of them.
//!
//! What was there and is gone, or is another, is a loss. What is new is none, with these exceptions: a unit that has
//! failed was well before; what was stopped and runs again was meant to be stopped; and a rule or a chain that refuses
//! packets takes something away. What the disk had said before, and the running system had not, is no loss: the boot
//! has only brought it into effect.

mod cause;
mod filter;
mod unit;

use super::diff::Raw;
use super::finding::Severity;
use super::state::{Section, State};
use serde::{Deserialize, Serialize};

/// Why a difference is a loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// What is lost, and where it is known, why; one sentence.
    pub what: String,
    /// How much it weighs.
    pub severity: Severity,
}

/// What a difference means; `L` is how a loss is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning<L = Loss> {
    /// Something is lost.
    Lost(L),
    /// What the disk had said before took effect at the boot, in a sentence.
    TookEffect(String),
    /// Nothing worth reporting.
    Nothing,
}

/// What is lost, and why; the second is empty where it is not known.
type Said = (String, String);

/// What a difference means.
pub(super) fn meaning(raw: &Raw, before: &State, after: &State) -> Meaning {
    if let Some(said) = took_effect(raw, before, after) {
        return Meaning::TookEffect(said);
    }
    let of = |said: Option<Said>| said.map_or(Meaning::Nothing, Meaning::Lost);
    let meaning = match raw.section {
        _ if raw.key.is_empty() => of(section_gone(raw).map(|what| (what, String::new()))),
        Section::Units => unit::unit(raw, before, after),
        Section::Nft => filter::filter(raw, before),
        Section::Sys if raw.after.is_none() => Meaning::Nothing,
        Section::Cron => of(cron(raw)),
        Section::Mounts | Section::Swaps if raw.before.is_none() => of(back(raw, before)),
        _ => of(gone_or_changed(raw).map(|what| (what, cause::cause(raw, before, after)))),
    };
    match meaning {
        Meaning::Lost((what, why)) => {
            let what = if why.is_empty() { what } else { format!("{what}: {why}") };
            Meaning::Lost(Loss { what, severity: severity(raw) })
        }
        Meaning::TookEffect(said) => Meaning::TookEffect(said),
        Meaning::Nothing => Meaning::Nothing,
    }
}

/// How much a loss weighs.
fn severity(raw: &Raw) -> Severity {
    let of_a_file = raw.before.as_deref().is_some_and(|was| was.starts_with("file ")) && raw.after.is_none();
    let is_file = || of_a_file && !raw.key.starts_with("/sys/");
    match raw.section {
        Section::Modules => Severity::Minor,
        Section::Kernel if raw.key != "ipv6" => Severity::Minor,
        // A link says what is enabled; a file says how a unit runs.
        Section::UnitFiles if !raw.before.as_deref().is_some_and(|was| was.contains('=')) => Severity::Minor,
        Section::System if raw.key == "synchronised" => Severity::Minor,
        Section::Units if raw.key.ends_with("/restarted") => Severity::Minor,
        // A file in memory that no program made again: a mark, more often than something that others need.
        Section::Permissions if is_file() => Severity::Minor,
        _ => Severity::Serious,
    }
}

/// What the disk had said before the reboot, and the running system had not. A file that is older than the last boot was
/// in effect after that one: what ran otherwise had been set by hand, and is lost.
fn took_effect<'r>(raw: &'r Raw, before: &State, after: &State) -> Option<String> {
    match raw.section {
        Section::Sysctl => {
            let set = before.known.sysctl.get(&raw.key).filter(|set| set.is_new)?;
            (raw.after.as_ref() == Some(&set.value))
                .then(|| format!("{} is {}, as {} had said since it was written", raw.key, set.value, set.file))
        }
        Section::Kernel if raw.before.is_none() => {
            raw.key.strip_prefix("command-line/").map(|word| format!("the kernel's command line has {word}"))
        }
        Section::Mounts | Section::Swaps if before.known.fstab_is_new => {
            let (what, _) = back(raw, before)?;
            Some(format!("{what}: /etc/fstab had said so since it was written"))
        }
        // A soft reboot goes over the nodes that a kernel which runs on has made since its boot.
        Section::Permissions if !before.known.boot_id.is_empty() && before.known.boot_id == after.known.boot_id => {
            let words = |text: &'r Option<String>| text.as_deref()?.strip_prefix("device ")?.split_once(' ');
            let ((_, owner), (mode, new_owner)) = (words(&raw.before)?, words(&raw.after)?);
            (owner == new_owner && before.promises("device-modes", &format!("{} {mode}", raw.key)))
                .then(|| format!("{} has mode {mode}, as tmpfiles.d had said", raw.key))
        }
        Section::Cron if raw.after.as_deref() == Some("was run at boot") => {
            Some(format!("cron has run {} (@reboot)", raw.key))
        }
        _ => None,
    }
}

/// What fstab has, was not there before, and is.
fn back(raw: &Raw, before: &State) -> Option<Said> {
    let now = raw.after.as_deref().filter(|_| raw.before.is_none())?;
    let (file, verb) = match raw.section {
        Section::Swaps => ("fstab-source", "swapped to"),
        _ => ("fstab", "mounted"),
    };
    let what = format!("{} was not {verb} and is ({now})", raw.key);
    before.promises(file, &raw.key).then(|| (what, "/etc/fstab has it, so the boot has brought it back".to_owned()))
}

/// A job of cron's for the boot that cron has not run at this one.
fn cron(raw: &Raw) -> Option<Said> {
    match raw.after.as_deref() {
        Some("was not run at boot") => Some((
            format!("cron has not run {} (@reboot)", raw.key),
            "its journal of this boot does not have it".into(),
        )),
        Some(_) => None,
        None => Some((format!("cron's job {} (@reboot) is gone", raw.key), String::new())),
    }
}

/// A whole section that was seen before.
fn section_gone(raw: &Raw) -> Option<String> {
    let before = raw.before.as_deref().filter(|before| !before.starts_with("cannot be read"))?;
    Some(match &raw.after {
        None => format!("{} ({before}) can no longer be seen: what showed it is gone or does not run", raw.section),
        Some(now) => format!("{} {now}", raw.section),
    })
}

fn gone_or_changed(raw: &Raw) -> Option<String> {
    let before = raw.before.as_deref()?;
    let name = match raw.section {
        Section::Sysctl | Section::Nft | Section::Permissions => raw.key.clone(),
        Section::Sys => format!("/sys/{}", raw.key),
        Section::UnitFiles if before.contains('=') => format!("the file /{}", raw.key),
        section => format!("{} {}", noun(section), raw.key),
    };
    let short = |text: &str| match (raw.section, text.split_once('\n')) {
        // The settings of a drop-in stand below the name of their section.
        (Section::UnitFiles, _) => text.replace('\n', " "),
        (_, Some((first, _))) => format!("{first} …"),
        (_, None) => text.to_owned(),
    };
    if raw.section == Section::Etc && raw.after.is_some() {
        return Some(rewritten(raw));
    }
    if raw.section == Section::Permissions && raw.key.starts_with("/sys/") && raw.after.is_none() {
        return Some(format!("{name} was {before} and is as the kernel makes it"));
    }
    Some(match &raw.after {
        None => format!("{name} is gone (it was {})", short(before)),
        Some(after) => format!("{name} was {} and is {}", short(before), short(after)),
    })
}

/// A file that a boot wrote anew; where its lines are known, the first that went and the first that came.
fn rewritten(raw: &Raw) -> String {
    let lines = |text: &Option<String>| text.iter().flat_map(|t| t.lines()).map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines(&raw.before), lines(&raw.after));
    let gone = old.iter().find(|line| !new.contains(line)).map(|line| format!(" `{line}` is gone"));
    let came = new.iter().find(|line| !old.contains(line)).map(|line| format!(" `{line}` is new"));
    let told: Vec<_> = match raw.key.as_str() {
        "/etc/hosts" => gone.into_iter().chain(came).collect(),
        _ => Vec::new(),
    };
    match told.is_empty() {
        true => format!("the file {} is not what it was", raw.key),
        false => format!("the file {} is not what it was;{}", raw.key, told.join(",")),
    }
}

fn noun(section: Section) -> &'static str {
    match section {
        Section::Containers | Section::Podman => "container",
        Section::Processes => "the process",
        Section::Cron => "cron's job",
        Section::DockerNetworks => "Docker's network",
        Section::DockerVolumes => "Docker's volume",
        Section::Sockets => "the listener",
        Section::Links => "the interface",
        Section::Addresses => "the address",
        Section::Routes => "the route",
        Section::IpRules => "the routing rule",
        Section::Mounts => "the mount",
        Section::Swaps => "the swap",
        Section::Modules => "the module",
        Section::Ipsets => "the set",
        Section::Wireguard => "the WireGuard peer",
        Section::Neighbours => "the permanent neighbour",
        Section::Qdiscs => "the queue",
        Section::BlockDevices => "the block device",
        Section::Etc => "the file",
        Section::Apparmor => "the AppArmor profile",
        Section::Binfmt => "the binary format",
        Section::Users => "the user",
        Section::Groups => "the group",
        Section::UnitFiles => "the link",
        Section::Resolv => "the resolver's",
        Section::System | Section::Kernel => "the system's",
        Section::Units | Section::Nft | Section::Sysctl | Section::Sys | Section::Permissions => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::{Setting, state_for_tests};
    use super::*;

    fn raw(section: Section, key: &str, before: Option<&str>, after: Option<&str>) -> Raw {
        Raw { section, key: key.into(), before: before.map(str::to_owned), after: after.map(str::to_owned) }
    }

    fn lost(meaning: Meaning) -> String {
        match meaning {
            Meaning::Lost(loss) => loss.what,
            other => panic!("{other:?} is no loss"),
        }
    }

    #[test]
    fn what_a_new_file_says_takes_effect_and_what_an_old_one_says_undoes_what_was_set_by_hand() {
        let raw = raw(Section::Sysctl, "vm.swappiness", Some("60"), Some("10"));
        let state = |is_new| {
            let mut state = State::default();
            let set = Setting { value: "10".into(), file: "/etc/sysctl.d/a.conf".into(), is_new };
            state.known.sysctl.insert("vm.swappiness".into(), set);
            state
        };
        assert!(matches!(meaning(&raw, &state(true), &State::default()), Meaning::TookEffect(_)));
        lost(meaning(&raw, &state(false), &State::default()));
    }

    #[test]
    fn a_soft_reboot_gives_a_device_node_the_mode_that_tmpfiles_has_for_it_and_a_boot_that_does_has_lost_one() {
        let raw = raw(Section::Permissions, "/dev/autofs", Some("device 644 root:root"), Some("device 600 root:root"));
        let state = |boot: &str| {
            let mut state = State::default();
            state.known.boot_id = boot.into();
            state.promised.insert("device-modes".into(), vec!["/dev/autofs 600".into()]);
            state
        };
        assert!(matches!(meaning(&raw, &state("a"), &state("a")), Meaning::TookEffect(_)));
        lost(meaning(&raw, &state("a"), &state("b")));
        lost(meaning(&raw, &state(""), &state("")));
        let other = Raw { after: Some("device 666 root:root".into()), ..raw };
        lost(meaning(&other, &state("a"), &state("a")));
    }

    #[test]
    fn a_new_base_chain_that_drops_is_a_loss_unless_a_new_file_has_it() {
        let table =
            raw(Section::Nft, "inet filter", None, Some("table\ninput: chain\ninput/policy: drop\nout/policy: accept"));
        let chain = raw(Section::Nft, "inet filter/input", None, Some("chain\npolicy: drop"));
        let mut disk = State::default();
        disk.promised.insert("enabled".into(), vec!["nftables.service".into()]);
        for raw in [&table, &chain] {
            let what = lost(meaning(raw, &disk, &State::default()));
            assert!(what.contains("inet filter/input") && !what.contains("out"), "{what}");
        }
        disk.known.new_chains_on_disk.insert("inet filter/input".into());
        assert!(matches!(meaning(&table, &disk, &State::default()), Meaning::TookEffect(_)));
        let open = raw(Section::Nft, "inet filter/input", None, Some("chain\npolicy: accept"));
        assert_eq!(meaning(&open, &State::default(), &State::default()), Meaning::Nothing);
    }

    #[test]
    fn what_was_stopped_and_runs_again_is_a_loss_and_what_never_ran_took_effect() {
        let raw = raw(Section::Units, "web.service/active", None, Some("active (running)"));
        let mut before = State::default();
        assert_eq!(meaning(&raw, &before, &State::default()), Meaning::Nothing);
        before.promised.insert("enabled".into(), vec!["web.service".into()]);
        assert!(matches!(meaning(&raw, &before, &State::default()), Meaning::TookEffect(_)));
        before.known.stopped.insert("web.service".into());
        assert!(lost(meaning(&raw, &before, &State::default())).contains("the boot has started it"));
    }

    #[test]
    fn what_each_boot_makes_of_itself_is_told_to_nobody() {
        let base = [
            (Section::Permissions, "/run", "folder 755 root:root"),
            (Section::Units, "a.service/active", "active (running)"),
        ];
        let new = [
            (Section::Permissions, "/run/lvm/pvs_online", "folder 700 root:root"),
            (Section::Permissions, "/dev/dm-0", "block 660 root:disk"),
            (Section::Units, "systemd-fsck@dev-data.service/active", "active (exited)"),
            (Section::Units, "new.service/active", "active (running)"),
        ];
        let (before, after) = (state_for_tests(&base), state_for_tests(&[&base[..], &new].concat()));
        let told: Vec<_> = crate::observe::Diff::between(&before, &after).changes.into_iter().map(|c| c.key).collect();
        assert_eq!(told, ["new.service/active"]);
    }

    #[test]
    fn a_oneshot_that_was_enabled_and_not_started_took_effect() {
        let raw = raw(Section::Units, "nftables.service/active", None, Some("active (exited)"));
        let mut before = State::default();
        before.promised.insert("enabled".into(), vec!["nftables.service".into()]);
        assert!(matches!(meaning(&raw, &before, &State::default()), Meaning::TookEffect(_)));
        before.known.stopped.insert("nftables.service".into());
        assert_eq!(meaning(&raw, &before, &State::default()), Meaning::Nothing);
    }

    #[test]
    fn a_parameter_that_was_set_before_its_module_was_there_is_said_to_be_so() {
        let raw = raw(Section::Sysctl, "net.netfilter.nf_conntrack_max", Some("200000"), Some("65536"));
        let mut after = State::default();
        let set = Setting { value: "200000".into(), file: "/etc/sysctl.d/60-c.conf".into(), is_new: true };
        after.known.sysctl.insert(raw.key.clone(), set);
        assert!(lost(meaning(&raw, &after, &after)).contains("before its module was loaded"));
        after.promised.insert("modules-load".into(), vec!["nf_conntrack".into()]);
        assert!(lost(meaning(&raw, &after, &after)).contains("something has set it otherwise since"));
    }

    #[test]
    fn a_container_says_what_docker_did_with_it() {
        let policy = |policy: &str| state_for_tests(&[(Section::Containers, "web/restart", policy)]);
        let down = raw(Section::Containers, "web/state", Some("running"), Some("exited"));
        let back = raw(Section::Containers, "web/state", Some("exited"), Some("running"));
        let mut after = state_for_tests(&[(Section::Addresses, "mesh0/10.66.0.1/24", "scope global")]);
        assert!(lost(meaning(&down, &policy("always"), &after)).contains("should have started it"));
        assert!(lost(meaning(&back, &policy("always"), &after)).contains("`always` starts it again at boot"));
        let error = "listen tcp4 10.66.0.1:8072: bind: cannot assign requested address";
        after.known.container_errors.insert("web".into(), error.into());
        let what = lost(meaning(&down, &policy("always"), &after));
        assert!(what.contains(error) && what.contains("10.66.0.1 came to mesh0 after that"), "{what}");
    }

    #[test]
    fn what_was_switched_off_by_hand_and_is_on_the_disk_comes_back() {
        let swap = raw(Section::Swaps, "/dev/vda5", None, Some("partition"));
        let mount = raw(Section::Mounts, "/srv", None, Some("ext4 /dev/vdb rw"));
        let rule = raw(
            Section::Nft,
            "inet filter/input/rules/tcp dport { 80, 443 } accept",
            None,
            Some("tcp dport { 80, 443 } accept"),
        );
        let all = [&swap, &mount, &rule];
        let mut before = State::default();
        all.iter().for_each(|raw| assert_eq!(meaning(raw, &before, &State::default()), Meaning::Nothing));
        before.promised.insert("fstab".into(), vec!["/srv".into()]);
        before.promised.insert("fstab-source".into(), vec!["UUID=1".into(), "/dev/vda5".into()]);
        before.promised.insert("enabled".into(), vec!["nftables.service".into()]);
        before.known.rules_on_disk.insert("inet filter/input: tcpdport{80,443}accept".into());
        all.iter().for_each(|raw| drop(lost(meaning(raw, &before, &State::default()))));
        before.known.fstab_is_new = true;
        for raw in [&swap, &mount] {
            assert!(matches!(meaning(raw, &before, &State::default()), Meaning::TookEffect(_)));
        }
    }

    #[test]
    fn a_job_for_the_boot_is_lost_where_cron_has_not_run_it() {
        let job = |now: &str| raw(Section::Cron, "root: up", Some("is new since the boot"), Some(now));
        lost(meaning(&job("was not run at boot"), &State::default(), &State::default()));
        assert!(matches!(
            meaning(&job("was run at boot"), &State::default(), &State::default()),
            Meaning::TookEffect(_)
        ));
    }

    #[test]
    fn podman_starts_no_container_at_boot_unless_its_unit_is_enabled() {
        let down = raw(Section::Podman, "web/state", Some("running"), Some("exited"));
        let mut before = state_for_tests(&[(Section::Podman, "web/restart", "always")]);
        assert!(lost(meaning(&down, &before, &before)).contains("podman-restart.service is not enabled"));
        before.promised.insert("enabled".into(), vec!["podman-restart.service".into()]);
        assert!(lost(meaning(&down, &before, &before)).contains("should have started it"));
    }

    #[test]
    fn a_unit_that_only_an_idle_unit_wants_is_enabled_and_not_started() {
        let gone = raw(Section::Units, "reload.service/active", Some("active (running)"), None);
        let link = "etc/systemd/system/firewalld.service.wants/reload.service";
        let mut before = State::default();
        before.promised.insert("enabled".into(), vec!["reload.service".into()]);
        let after = state_for_tests(&[(Section::UnitFiles, link, "reload.service")]);
        assert!(lost(meaning(&gone, &before, &after)).contains("only firewalld.service wants it"));
        let after = state_for_tests(&[
            (Section::UnitFiles, link, "reload.service"),
            (Section::Units, "firewalld.service/active", "active (running)"),
        ]);
        assert!(lost(meaning(&gone, &before, &after)).contains("was not started or has ended"));
    }

    #[test]
    fn a_timer_without_a_next_time_is_lost_though_it_is_active() {
        let timer = raw(Section::Units, "sweep.timer/active", Some("active (waiting)"), Some("active (elapsed)"));
        assert!(lost(meaning(&timer, &State::default(), &State::default())).contains("has no next time"));
        let mut once = State::default();
        let reason = super::super::Reason { why: "it elapses once, and has".into(), excuses: true };
        once.known.reasons.insert("units/sweep.timer/active".into(), reason);
        assert_eq!(meaning(&timer, &State::default(), &once), Meaning::Nothing);
    }
}
