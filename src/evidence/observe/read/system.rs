//! Kernel parameters, mounts, modules, users, names, and what else a system is made of.

use super::{Files, is_random_veth, there};
use crate::observe::state::{Fact, Facts, Setting};
use std::collections::{BTreeMap, BTreeSet};

/// Parameters that count, measure or draw something: their value says nothing about how the machine is set up.
const MEASURED: [&str; 19] = [
    "fs.aio-nr",
    "fs.dentry-state",
    "fs.file-nr",
    "fs.inode-nr",
    "fs.inode-state",
    "fs.quota.",
    // The boot loader's own number, which kexec changes and nobody can set.
    "kernel.bootloader_",
    "kernel.ns_last_pid",
    "kernel.pty.nr",
    "kernel.tainted",
    // Lowered by the kernel itself whenever a sample took too long.
    "kernel.perf_event_max_sample_rate",
    "net.ipv4.tcp_fastopen_key",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_expect_count",
    "kernel.sched_domain.",
    "kernel.rcu_",
    // Seen as the host name, and as the kernel.
    "kernel.hostname",
    "kernel.osrelease",
    "kernel.version",
];

/// Kernel parameters at run time.
pub(super) fn sysctl(text: &str) -> Facts {
    let mut values: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        let Some((path, value)) = line.strip_prefix("./").and_then(|line| line.split_once(':')) else { continue };
        // A dot inside a name (an interface `eth0.7`) is written as a slash, as sysctl(8) has it.
        let key = path.split('/').map(|part| part.replace('.', "/")).collect::<Vec<_>>().join(".");
        let noise = MEASURED.iter().any(|name| key == *name || (name.ends_with(['.', '_']) && key.starts_with(name)));
        if !noise && !path.split('/').any(is_random_veth) {
            values.entry(key).or_default().push(value);
        }
    }
    let text = |lines: Vec<&str>| lines.join("\n").split_whitespace().collect::<Vec<_>>().join(" ");
    values.into_iter().map(|(key, lines)| (key, Fact::One(text(lines)))).collect()
}

/// The keys that files in `sysctl.d` set.
pub(super) fn sysctl_files(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    lines.filter_map(|line| line.split_once('=')).map(|(key, _)| sysctl_key(key)).collect()
}

/// What the files in `sysctl.d` set: of two files with one name the first folder's counts, and of two settings the one in
/// the file whose name is the last (sysctl.d(5)). `written` names the files that were written since the last boot.
pub(super) fn sysctl_values(files: &Files, written: &BTreeSet<&str>) -> BTreeMap<String, Setting> {
    let folders = ["/etc/sysctl.d/", "/run/sysctl.d/", "/usr/local/lib/sysctl.d/", "/usr/lib/sysctl.d/"];
    let mut by_name: BTreeMap<&str, (&str, Vec<&str>)> = BTreeMap::new();
    for folder in folders {
        for (path, lines) in files.below(&[folder]) {
            by_name.entry(&path[folder.len()..]).or_insert((path, lines));
        }
    }
    let mut values = BTreeMap::new();
    for (file, line) in by_name.into_values().flat_map(|(path, lines)| lines.into_iter().map(move |line| (path, line)))
    {
        let line = line.trim();
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) else { continue };
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        let setting = Setting { value, file: file.to_owned(), is_new: written.contains(file) };
        values.insert(sysctl_key(key), setting);
    }
    values
}

/// A parameter's name with dots; `-` before one means that it may fail.
fn sysctl_key(key: &str) -> String {
    let key = key.trim().trim_start_matches('-');
    if key.contains('/') && !key.contains('.') { key.replace('/', ".") } else { key.to_owned() }
}

/// The modules that use each module: the fourth column of `/proc/modules`.
pub(super) fn module_users(text: &str) -> BTreeMap<String, Vec<String>> {
    let rows = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (name, users) = (words.next()?, words.nth(2)?);
        let users = users.split(',').filter(|user| !matches!(*user, "" | "-"));
        Some((name.to_owned(), users.map(str::to_owned).collect::<Vec<_>>()))
    });
    rows.filter(|(_, users)| !users.is_empty()).collect()
}

/// Mounted file systems.
pub(super) fn mounts(text: &str) -> Facts {
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let dash = |row: &[&str]| row.iter().position(|word| *word == "-");
    let kind = |row: &[&str]| dash(row).and_then(|at| row.get(at + 1).copied()).unwrap_or_default().to_owned();
    let automatic: BTreeSet<_> = rows.iter().filter(|row| kind(row) == "autofs").filter_map(|row| row.get(4)).collect();
    let mut facts = Facts::new();
    for row in &rows {
        let (Some(at), Some(point), Some(options)) = (dash(row), row.get(4), row.get(5)) else { continue };
        let (kind, source) = (kind(row), row.get(at + 2).copied().unwrap_or_default());
        // Loop devices are handed out in any order.
        let source = if source.starts_with("/dev/loop") { "/dev/loop" } else { source };
        // What is mounted when somebody looks at it is there as soon as somebody does.
        let on_demand = kind != "autofs" && automatic.contains(point);
        if on_demand || is_of_others(point) {
            continue;
        }
        // Of what has no device the superblock's options are the kernel's to choose (sizes come from the memory).
        let superblock: BTreeSet<_> = row.get(at + 3).iter().flat_map(|all| all.split(',')).collect();
        let of_a_device = source.starts_with("/dev/") || source.contains(":/") || source.starts_with("//");
        if of_a_device && source != "/dev/loop" {
            let all: Vec<_> = superblock.iter().filter(|option| !matches!(**option, "rw" | "ro")).copied().collect();
            there(&mut facts, format!("{}/options", unescaped(point).trim_end_matches('/')), all.join(","));
        }
        let read_only = row.get(at + 3).is_some_and(|all| all.split(',').any(|option| option == "ro"));
        let mut options: BTreeSet<_> = options.split(',').collect();
        if read_only {
            options.remove("rw");
            options.insert("ro");
        }
        let options: Vec<_> = options.into_iter().collect();
        let root = row.get(3).filter(|root| **root != "/").map(|root| format!("[{root}]")).unwrap_or_default();
        // The last one mounted at a place is the one that is seen there.
        there(
            &mut facts,
            unescaped(point),
            format!("{kind} {source}{root} {}{}", options.join(","), propagation(&row[6..at])),
        );
    }
    facts
}

/// How mounts below this one are passed on; systemd makes all of them shared (mount_namespaces(7)).
fn propagation(fields: &[&str]) -> &'static str {
    let has = |mark: &str| fields.iter().any(|field| field.starts_with(mark));
    match (has("shared:"), has("master:"), has("unbindable")) {
        (true, ..) => "",
        (_, true, _) => " slave",
        (.., true) => " unbindable",
        _ => " private",
    }
}

/// Quotas that are on, from `quotaon -pa`: `user quota on /srv (/dev/vdb) is on`.
pub(super) fn quotas(text: &str) -> Facts {
    let rows = text.lines().filter_map(|line| {
        let (kind, rest) = line.trim().split_once(" quota on ")?;
        let (point, rest) = rest.split_once(" (")?;
        Some((format!("{}/quota/{kind}", point.trim_end_matches('/')), rest.rsplit_once(" is ")?.1))
    });
    rows.filter(|(_, state)| state.starts_with("on")).map(|(key, state)| (key, Fact::from(state))).collect()
}

/// Mounts that come and go with a container, a service's start or a login.
fn is_of_others(point: &str) -> bool {
    [
        "/var/lib/docker/",
        "/run/docker/",
        "/var/lib/containers/",
        "/run/containerd/",
        "/var/lib/kubelet/",
        "/run/credentials/",
        "/run/user/",
    ]
    .iter()
    .any(|folder| point.starts_with(folder))
}

/// The kernel writes blanks as `\040`.
fn unescaped(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// Swap in use.
pub(super) fn swaps(text: &str) -> Facts {
    let rows = text.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace();
        let (name, kind) = (words.next()?, words.next()?);
        // A priority below zero is the kernel's choice.
        let priority = words.nth(2).filter(|priority| !priority.starts_with('-'));
        let priority = priority.map(|priority| format!(" priority {priority}")).unwrap_or_default();
        Some((name.to_owned(), Fact::One(format!("{kind}{priority}"))))
    });
    rows.collect()
}

/// Kernel modules that are loaded.
pub(super) fn modules(text: &str) -> Facts {
    text.lines().filter_map(|line| line.split(' ').next()).map(|name| (name.to_owned(), "loaded".into())).collect()
}

/// The n-th word of each line that is no comment.
pub(super) fn fields(text: &str, n: usize) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    lines.filter_map(|line| line.split_whitespace().nth(n)).map(str::to_owned).collect()
}

/// The sources in fstab, and beside each that has another name the device that it stands for: `UUID=…`, `LABEL=…`, links.
pub(super) fn devices(sources: Vec<String>, links: &str) -> Vec<String> {
    let device = |source: &String| {
        let path = match source.split_once('=') {
            Some((tag, value)) => format!("/dev/disk/by-{}/{}", tag.to_lowercase(), value.trim_matches('"')),
            None => source.clone(),
        };
        Some(format!("/dev/{}", link(links, &path)?.trim_start_matches("../")))
    };
    let devices: Vec<_> = sources.iter().filter_map(device).collect();
    sources.into_iter().chain(devices).collect()
}

/// The variables that systemd gives every service, by name. A value may be a secret.
pub(super) fn environment(text: &str) -> Facts {
    let names = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    names.map(|name| (format!("environment/{name}"), Fact::from("set"))).collect()
}

/// Name resolution: what `/etc/resolv.conf` says, and the servers behind systemd-resolved, if it runs.
pub(super) fn resolv(files: &Files, links: &str) -> Facts {
    let mut facts = Facts::new();
    let target = link(links, "/etc/resolv.conf").filter(|target| !target.is_empty());
    there(&mut facts, "file", target.map_or("a file of its own".to_owned(), |target| format!("a link to {target}")));
    for (prefix, path) in [("", "/etc/resolv.conf"), ("uplink/", "/run/systemd/resolve/resolv.conf")] {
        let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in files.text(path).lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            let key = match words.next() {
                Some(key @ ("nameserver" | "search" | "options")) => key,
                Some("domain") => "search",
                _ => continue,
            };
            lists.entry(format!("{prefix}{key}")).or_default().extend(words.map(str::to_owned));
        }
        facts.extend(lists.into_iter().map(|(key, list)| (key, Fact::List(list))));
    }
    facts
}

/// What a link points to; nothing if there is none, and an empty text if it is no link.
fn link<'a>(links: &'a str, path: &str) -> Option<&'a str> {
    links.lines().find_map(|line| line.strip_prefix(path)?.strip_prefix(' '))
}

/// Users: all that `/etc/passwd` has, and whether there is a password.
pub(super) fn users(passwd: &str, passwords: &str) -> Facts {
    let password = |user: &str| {
        let mark = passwords.lines().find_map(|line| line.strip_prefix(user)?.strip_prefix(':'));
        match mark {
            Some("set") => "password",
            Some("empty") => "empty password",
            Some(_) => "locked",
            None => "no shadow entry",
        }
    };
    let rows = passwd.lines().filter_map(|line| {
        let words: Vec<_> = line.split(':').collect();
        let [name, _, uid, gid, _, home, shell] = words[..] else { return None };
        Some((name.to_owned(), Fact::One(format!("uid {uid} gid {gid} {home} {shell} {}", password(name)))))
    });
    rows.collect()
}

/// Groups and their members.
pub(super) fn groups(text: &str) -> Facts {
    let mut facts = Facts::new();
    for line in text.lines() {
        let words: Vec<_> = line.split(':').collect();
        let [name, _, gid, members] = words[..] else { continue };
        there(&mut facts, name, format!("gid {gid}"));
        let members: BTreeSet<_> = members.split(',').filter(|member| !member.is_empty()).collect();
        facts.insert(format!("{name}/members"), Fact::List(members.into_iter().map(str::to_owned).collect()));
    }
    facts
}

/// Names, the time zone, and whether somebody keeps the clock right.
pub(super) fn system(files: &Files, links: &str, chrony: &str) -> Facts {
    let mut facts = Facts::new();
    for (key, path) in [
        ("hostname", "/proc/sys/kernel/hostname"),
        ("static-hostname", "/etc/hostname"),
        ("machine-id", "/etc/machine-id"),
    ] {
        there(&mut facts, key, files.text(path).trim());
    }
    let zone = link(links, "/etc/localtime").filter(|zone| !zone.is_empty()).unwrap_or("a file of its own");
    there(&mut facts, "timezone", zone.rsplit_once("zoneinfo/").map_or(zone, |(_, zone)| zone));
    // timesyncd makes this file when a server has first answered; chrony has a word for it.
    let timesyncd = link(links, "/run/systemd/timesync/synchronized").is_some();
    let chrony = chrony.lines().any(|line| line.starts_with("Leap status") && line.ends_with("Normal"));
    match (timesyncd, chrony) {
        (_, true) => there(&mut facts, "synchronised", "by chrony"),
        (true, _) => there(&mut facts, "synchronised", "by systemd-timesyncd"),
        _ => {}
    }
    facts
}

/// The kernel's release and its command line, word by word.
pub(super) fn kernel(files: &Files, sysctl: &str) -> Facts {
    let mut facts = Facts::new();
    there(&mut facts, "ipv6", if sysctl.contains("./net/ipv6/conf/all/") { "on" } else { "off" });
    there(&mut facts, "release", files.text("/proc/sys/kernel/osrelease").trim());
    // What the boot loader adds to tell where the kernel came from is not the system's; kexec takes it away.
    let line = files.text("/proc/cmdline");
    let words = line.split_whitespace().filter(|word| !word.starts_with("BOOT_IMAGE=")).map(str::to_owned).collect();
    facts.insert("command-line".into(), Fact::List(words));
    facts
}
