//! Why something may have gone, from what was set up to be there after a boot, and from what the guest says itself.

use crate::observe::diff::Raw;
use crate::observe::state::{Section, State};

/// The cause; empty where it is not known.
pub(super) fn cause(raw: &Raw, before: &State, after: &State) -> String {
    if let Some(reason) = after.known.reasons.get(&raw.id()) {
        return reason.why.clone();
    }
    let key = raw.key.as_str();
    let text = match raw.section {
        Section::Sysctl => return sysctl(key, before, after),
        Section::Modules if before.promises("modules-load", key) => {
            "modules-load.d names it, so it could not be loaded"
        }
        Section::Modules => "no file in modules-load.d names it",
        Section::Mounts if key.ends_with("/options") => "",
        Section::Mounts if before.promises("fstab", key) => "/etc/fstab has it, so it could not be mounted",
        Section::Mounts => "/etc/fstab does not have it",
        Section::BlockDevices => "nothing has set it up at boot",
        Section::Swaps if before.promises("fstab-source", key) => "/etc/fstab has it, so it could not be switched on",
        Section::Swaps => "/etc/fstab does not have it",
        Section::Containers => return container(raw, before, after),
        Section::Podman => return podman(raw, before).to_owned(),
        Section::Processes => "a login had started it, and no unit does",
        Section::System if key.starts_with("environment/") => "`systemctl set-environment` holds until the reboot only",
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
        Section::Wireguard => return peer(key, before),
        Section::UnitFiles if key.starts_with("run/") => "it held until the reboot only (--runtime)",
        Section::Permissions if key.starts_with("/run/") => "/run is empty at each boot",
        Section::Permissions if key.starts_with("/sys/") => "/sys is made anew at each boot",
        Section::Permissions => "/dev is made anew at each boot",
        Section::Sys => "it was set at run time, and a boot begins with the kernel's own",
        Section::Kernel if key == "ipv6" => return ipv6(after),
        _ => "",
    };
    text.to_owned()
}

/// The modules that have parameters of their own, by the beginning of the name.
const MODULES: [(&str, &str); 3] = [
    ("net.bridge.", "br_netfilter"),
    ("net.netfilter.nf_conntrack_", "nf_conntrack"),
    ("net.nf_conntrack_max", "nf_conntrack"),
];

/// Why a kernel parameter is another.
fn sysctl(key: &str, before: &State, after: &State) -> String {
    let Some(set) = after.known.sysctl.get(key).or_else(|| before.known.sysctl.get(key)) else {
        return match before.promises("sysctl", key) {
            true => "a file in sysctl.d sets it, and something sets it otherwise later".into(),
            false => "it was set at run time, and no file in sysctl.d sets it".into(),
        };
    };
    let said = format!("{} sets it to {}", set.file, set.value);
    // modules-load.d comes before sysctl.d; all other modules come after it.
    let module = MODULES.iter().find(|(prefix, _)| key.starts_with(prefix)).map(|(_, module)| *module);
    match module.filter(|module| !after.promises("modules-load", module)) {
        Some(module) => format!(
            "{said}, but that was before its module was loaded: no file in modules-load.d names {module}, so the module \
             came later"
        ),
        None => format!("{said}, and something has set it otherwise since"),
    }
}

/// Why a peer is gone.
fn peer(key: &str, before: &State) -> String {
    let peer = key.split_once('/').map_or("", |(_, peer)| peer.trim_end_matches("/keepalive"));
    match before.known.peers_on_disk.contains(peer) {
        true => "a file in /etc/wireguard has it, and it was not set".into(),
        false => "it was set at run time, and no file in /etc/wireguard has it".into(),
    }
}

/// Who has switched IPv6 off.
fn ipv6(after: &State) -> String {
    let line = after.fact(Section::Kernel, "command-line").map(ToString::to_string).unwrap_or_default();
    match line.lines().find(|word| word.starts_with("ipv6.disable")) {
        Some(word) => format!("the kernel's command line has {word}"),
        None => String::new(),
    }
}

/// Why a container is not in the state in which it was.
fn container(raw: &Raw, before: &State, after: &State) -> String {
    let Some(name) = raw.key.strip_suffix("/state") else { return String::new() };
    let policy = before.word(Section::Containers, &format!("{name}/restart"));
    if raw.after.as_deref() == Some("running") {
        return match policy {
            "" | "no" => String::new(),
            policy => format!("its restart policy `{policy}` starts it again at boot"),
        };
    }
    if let Some(error) = after.known.container_errors.get(name) {
        let late = late_address(error, after).map(|late| format!("; {late}")).unwrap_or_default();
        return format!("Docker could not start it: {error}{late}");
    }
    let restarts = after.known.restarts.get(&format!("container/{name}")).copied().unwrap_or(0);
    match policy {
        "" => String::new(),
        "no" => "its restart policy is `no`, so Docker does not start it at boot".into(),
        "on-failure" => "its restart policy is `on-failure`, which starts it after a failure and not at boot".into(),
        policy if restarts > 0 => {
            format!("Docker has started it again {restarts} times (restart policy `{policy}`), and it ended each time")
        }
        policy => format!("its restart policy is `{policy}`, so Docker should have started it"),
    }
}

/// Why a container of podman's does not run: no daemon starts it at boot, only a unit does.
fn podman(raw: &Raw, before: &State) -> &'static str {
    let Some(name) = raw.key.strip_suffix("/state") else { return "" };
    match before.word(Section::Podman, &format!("{name}/restart")) {
        _ if raw.after.as_deref() == Some("running") => "",
        _ if name.contains('@') => "nothing starts it without a login of its user",
        "" => "",
        "no" => "its restart policy is `no`, and no unit that is started at boot makes it",
        _ if !before.promises("enabled", "podman-restart.service") => {
            "podman-restart.service is not enabled, so its restart policy counts for nothing at boot"
        }
        _ => "podman-restart.service should have started it",
    }
}

/// An address that was not there when Docker wanted to listen on it, and is now.
fn late_address(error: &str, after: &State) -> Option<String> {
    if !error.contains("cannot assign requested address") {
        return None;
    }
    let mut addresses = after.facts(Section::Addresses)?.keys().filter_map(|key| {
        let mut parts = key.split('/');
        Some((parts.next()?, parts.next()?))
    });
    let (link, address) = addresses.find(|(_, address)| error.contains(&format!("{address}:")))?;
    Some(format!("{address} came to {link} after that, and Docker does not try again"))
}
