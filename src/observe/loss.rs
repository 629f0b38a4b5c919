//! Which differences are losses, and what to say of them.
//!
//! What was there and is gone, or is another, is a loss. What is new is none, with two exceptions: a unit that has
//! failed was well before, and a rule that refuses packets, new in a chain that was there, takes something away.

use super::diff::Raw;
use super::finding::{Severity, is_broken};
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

/// The loss that a difference is, if it is one.
pub(super) fn loss(raw: &Raw, before: &State, after: &State) -> Option<Loss> {
    let (what, why) = match raw.section {
        _ if raw.key.is_empty() => (section_gone(raw)?, String::new()),
        Section::Units => unit(raw, before, after)?,
        Section::Nft => filter(raw, before)?,
        _ => (gone_or_changed(raw)?, cause(raw, before)),
    };
    let severity = match raw.section {
        Section::Modules | Section::UnitFiles | Section::Kernel => Severity::Minor,
        Section::System if raw.key == "synchronised" => Severity::Minor,
        _ => Severity::Serious,
    };
    let what = if why.is_empty() { what } else { format!("{what}: {why}") };
    Some(Loss { what, severity })
}

/// A whole section that was seen before.
fn section_gone(raw: &Raw) -> Option<String> {
    let before = raw.before.as_deref().filter(|before| !before.starts_with("cannot be read"))?;
    Some(match &raw.after {
        None => format!("{} ({before}) can no longer be seen: what showed it is gone or does not run", raw.section),
        Some(now) => format!("{} {now}", raw.section),
    })
}

/// A unit that ran and does not, or that has failed.
fn unit(raw: &Raw, before: &State, after: &State) -> Option<(String, String)> {
    let unit = raw.key.strip_suffix("/active").unwrap_or(&raw.key);
    let was = raw.before.as_deref().unwrap_or("inactive");
    let is = raw.after.as_deref().unwrap_or("inactive");
    let enabled = before.promises("enabled", unit);
    if is_broken(is) {
        // One that had failed before is as it was.
        let how = if is == "failed" { "has failed" } else { "fails again and again" };
        let why = if enabled { "it is started at boot; its journal has the reason" } else { "" };
        return (!is_broken(was)).then(|| (format!("{unit} was {was} and {how}"), why.to_owned()));
    }
    // Only what had come to rest as active can be lost, and a process that runs is more than one that has ended.
    if !was.starts_with("active") || (is.starts_with("active") && !was.contains("(running)")) {
        return None;
    }
    if raw.after.is_none() && (before.promises("on-demand", unit) || after.promises("skipped", unit)) {
        return None;
    }
    let why = match (enabled, raw.after.is_none()) {
        (false, true) => "it is not enabled, and nothing starts it at boot",
        (true, true) => "it is enabled, but was not started or has ended",
        _ => "",
    };
    Some((format!("{unit} was {was} and is {is}"), why.to_owned()))
}

/// Words of nft by which a rule refuses a packet.
const REFUSING: [&str; 2] = ["drop", "reject"];

/// A part of the packet filter.
fn filter(raw: &Raw, before: &State) -> Option<(String, String)> {
    let (chain, rule) = raw.key.split_once("/rules/").unwrap_or((&raw.key, ""));
    if raw.before.is_none() {
        let refuses = rule.split(' ').any(|word| REFUSING.contains(&word) || word.eq_ignore_ascii_case("drop"));
        return refuses
            .then(|| (format!("the chain {chain} has a new rule that refuses packets: {rule}"), String::new()));
    }
    let what = match (rule, &raw.after) {
        ("order", Some(_)) => format!("the rules of the chain {chain} stand in another order"),
        ("", _) => gone_or_changed(raw)?,
        _ => format!("the chain {chain} has lost a rule: {rule}"),
    };
    let why = match raw.after.is_none() && !before.promises("enabled", "nftables.service") {
        true => "nftables.service is not enabled, so no file of rules is loaded at boot",
        false => "",
    };
    Some((what, why.to_owned()))
}

fn gone_or_changed(raw: &Raw) -> Option<String> {
    let before = raw.before.as_deref()?;
    let name = match raw.section {
        Section::Sysctl | Section::Nft => raw.key.clone(),
        section => format!("{} {}", noun(section), raw.key),
    };
    let short = |text: &str| match text.split_once('\n') {
        Some((first, _)) => format!("{first} …"),
        None => text.to_owned(),
    };
    Some(match &raw.after {
        None => format!("{name} is gone (it was {})", short(before)),
        Some(after) => format!("{name} was {} and is {}", short(before), short(after)),
    })
}

fn noun(section: Section) -> &'static str {
    match section {
        Section::Containers => "container",
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
        Section::Users => "the user",
        Section::Groups => "the group",
        Section::UnitFiles => "the link",
        Section::Resolv => "the resolver's",
        Section::System | Section::Kernel => "the system's",
        Section::Units | Section::Nft | Section::Sysctl => "",
    }
}

/// Why it may have gone, from what was set up to be there after a boot.
fn cause(raw: &Raw, before: &State) -> String {
    let key = raw.key.as_str();
    let text = match raw.section {
        Section::Sysctl if before.promises("sysctl", key) => {
            "a file in sysctl.d sets it, and something sets it otherwise later"
        }
        Section::Sysctl => "it was set at run time, and no file in sysctl.d sets it",
        Section::Modules if before.promises("modules-load", key) => {
            "modules-load.d names it, so it could not be loaded"
        }
        Section::Modules => "no file in modules-load.d names it",
        Section::Mounts if before.promises("fstab", key) => "/etc/fstab has it, so it could not be mounted",
        Section::Mounts => "/etc/fstab does not have it",
        Section::Swaps if before.promises("fstab-source", key) => "/etc/fstab has it, so it could not be switched on",
        Section::Swaps => "/etc/fstab does not have it",
        Section::Containers => return container(key, before),
        Section::System if key == "hostname" => {
            return format!(
                "/etc/hostname said {:?} before the reboot",
                before.word(Section::System, "static-hostname")
            );
        }
        Section::Routes
            if raw.before.as_deref().is_some_and(|was| was.contains("proto boot") || !was.contains("proto")) =>
        {
            "it was added by hand"
        }
        Section::UnitFiles if key.starts_with("run/") => "it held until the reboot only (--runtime)",
        _ => "",
    };
    text.to_owned()
}

/// Why a container does not run: the name is the first part of the key.
fn container(key: &str, before: &State) -> String {
    let Some(name) = key.strip_suffix("/state") else { return String::new() };
    match before.word(Section::Containers, &format!("{name}/restart")) {
        "no" => "its restart policy is `no`, so Docker does not start it at boot".into(),
        "" => String::new(),
        policy => format!("its restart policy is `{policy}`, so Docker should have started it"),
    }
}
