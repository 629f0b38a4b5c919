//! A first profile of a host with its checks, and its overlay, from what was found of it: pure text makers. What only the user
//! can know is marked with DECIDE.
//!
//! Not fuzzed: what is read here is what this program's own plugin says of the user's repository.

use crate::ansible::draft::{Delegated, Found};
use crate::checks::suggest::suggest;
use crate::profile::DEFAULT_IMAGE;
use camino::Utf8Path;
use evidence::observe::State;
use host::names::HostName;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

/// Parts of names of variables whose ports are open to others.
const OPEN: [&str; 5] = ["open", "publish", "expose", "allow", "public"];

/// Words in names of variables whose network card leads to others.
const OUTER: [&str; 8] = ["wan", "uplink", "public", "external", "ext", "outside", "primary", "default"];

/// The size of a data disk of which only the name is known.
const DISK_GIB: u64 = 8;

/// The two files.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// `profiles/HOST.json`.
    pub profile: Value,
    /// `overrides/HOST.yml`.
    pub overlay: String,
}

/// What was seen of the real host, behind what its variables say. What both ask is asked once.
fn with_live(verify: &mut Value, live: &State) {
    let Value::Array(entries) = verify else { return };
    let named = |entries: &[Value], name: &str| entries.iter().any(|entry| entry["name"] == name);
    for one in suggest(live) {
        if !named(entries, &one.question.name) {
            entries.push(one.entry("DECIDE: seen on the real host: "));
        }
    }
}

/// What is known of where it is to run.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    /// The playbook repository, as it is to be written.
    pub repo: &'a Utf8Path,
    /// The inventory in it.
    pub inventory: &'a Utf8Path,
    /// Where logins and requests come from, in the VM's network.
    pub controller: Ipv4Addr,
    /// Real hosts of which there is no address here.
    pub unresolved: &'a [String],
}

/// Make them. `live` is what was seen of the real host.
pub fn draft(host: &HostName, here: &Here<'_>, found: &Found, live: Option<&State>) -> Draft {
    let mut profile = profile(host, here, found);
    if let Some(live) = live {
        with_live(&mut profile["verify"], live);
    }
    Draft { profile, overlay: overlay(host, here, found) }
}

fn profile(host: &HostName, here: &Here<'_>, found: &Found) -> Value {
    let applies: Vec<_> = found.playbooks.iter().map(|playbook| json!({"playbook": playbook, "tags": []})).collect();
    let names: BTreeMap<_, _> = found.names.iter().map(|name| (name, "vm")).collect();
    let mut profile = json!({
        "$schema": "../schemas/host.json",
        "//": about(host, here, found),
        "image": DEFAULT_IMAGE,
        "repo": here.repo,
        "inventory": here.inventory,
        "user": found.user.as_deref().unwrap_or("ansible"),
        "groups": found.groups,
        "applies": applies,
        "extra_vars_files": [format!("overrides/{host}.yml")],
        "mem_mib": 2048,
        "vcpus": 2,
        "disk_gib": 20,
        "verify": verify(found),
        "dns": names,
        "never": [],
        "never_unresolved": if here.unresolved.is_empty() { "refuse" } else { "note" },
    });
    if let Some(name) = outer(&found.interfaces) {
        profile["interface"] = name.into();
    }
    let disks = disks(&found.disks);
    if !disks.is_empty() {
        if is_scsi(&found.disks) {
            profile["disk_bus"] = "virtio-scsi".into();
        }
        profile["disks"] = disks.into();
    }
    profile
}

/// The interface that leads to others: by its variable's name, else the first.
fn outer(interfaces: &BTreeMap<String, String>) -> Option<&str> {
    let is_outer = |variable: &str| variable.split('_').any(|word| OUTER.contains(&word));
    let outer = interfaces.iter().find(|(variable, _)| is_outer(variable)).map(|(_, name)| name);
    outer.or_else(|| interfaces.values().min()).map(String::as_str)
}

/// The disks that have these names, and those before them: the last letter says how many there are. A serial number is in the
/// name by which udev knows it.
fn disks(names: &[String]) -> Vec<Value> {
    let letter = |name: &String| name.bytes().last().filter(|_| !name.contains("by-id"));
    let last = names.iter().filter_map(letter).max().unwrap_or(b'a');
    let mut disks: Vec<_> = (0..last.saturating_sub(b'a')).map(|_| json!({"size_gib": DISK_GIB})).collect();
    let serials = names.iter().filter_map(|name| name.strip_prefix("/dev/disk/by-id/"));
    disks.extend(serials.map(|id| match id.strip_prefix("scsi-0QEMU_QEMU_HARDDISK_") {
        Some(serial) => json!({"size_gib": DISK_GIB, "serial": serial, "bus": "virtio-scsi"}),
        None => json!({"size_gib": DISK_GIB, "serial": id.trim_start_matches("virtio-"), "bus": "virtio-blk"}),
    }));
    disks
}

/// Whether the host sees its disks as SCSI disks.
fn is_scsi(names: &[String]) -> bool {
    names.iter().any(|disk| disk.starts_with("/dev/sd"))
}

fn about(host: &HostName, here: &Here<'_>, found: &Found) -> Vec<String> {
    let mut lines = vec![
        format!("Written by `boma-qemu init {host}`. docs/runbook.md, \"Adding a profile\", has every key."),
        format!("DECIDE image, mem_mib and disk_gib: as the real {host} is. `boma-qemu image list` has the images."),
    ];
    if found.user.is_none() {
        lines.push("DECIDE user: the inventory names none.".into());
    }
    if found.playbooks.is_empty() {
        lines.push(format!("DECIDE applies: no playbook selects {host}."));
    } else if found.playbooks.len() > 1 {
        lines.push(format!("DECIDE applies: these are all playbooks that select {host}, by name; put them in order."));
    }
    if !found.disks.is_empty() {
        lines.push(format!(
            "DECIDE disks: its variables or roles name {}; they are blank, and of a size that is a guess.",
            found.disks.join(", ")
        ));
    }
    if let Some(name) = outer(&found.interfaces) {
        let all: Vec<_> = found.interfaces.iter().map(|(variable, name)| format!("{variable}: {name}")).collect();
        lines.push(format!(
            "DECIDE interface: its variables name network cards ({}); the VM's first is called {name}, and others are for `nics`.",
            all.join(", ")
        ));
    }
    if !found.names.is_empty() {
        lines.push(
            "DECIDE dns: names in its variables; those that are its own lead to the VM, take the others out.".into(),
        );
    }
    if !here.unresolved.is_empty() {
        lines.push(format!(
            "DECIDE never_unresolved: there is no address here of {}. With \"note\" a run goes on and refuses these by their names \
             only; \"refuse\" does not start until they can be looked up.",
            here.unresolved.join(", ")
        ));
    }
    if !found.strangers.is_empty() {
        lines.push(format!("The inventory has no host or group for these variables: {}.", found.strangers.join(", ")));
    }
    lines
}

fn overlay(host: &HostName, here: &Here<'_>, found: &Found) -> String {
    let mut text = format!(
        "---\n# How the VM that stands for {host} differs from {host}. Every stub is here, and nowhere else.\n\
         # Written by `boma-qemu init {host}`; DECIDE marks what only you can know.\n\n\
         # For roles that must know: only the VM has it.\nboma_vm: true\n"
    );
    let mut gates: BTreeMap<(&str, bool), Vec<&Delegated>> = BTreeMap::new();
    let mut open = Vec::new();
    for one in &found.delegated {
        match &one.gate {
            Some(gate) => gates.entry((gate, one.closed)).or_default().push(one),
            None => open.push(one),
        }
    }
    for ((gate, closed), tasks) in gates {
        text += "\n# DECIDE: from the VM nothing goes to another host. This gates what would be delegated to one:\n";
        text += &listed(&tasks);
        put(&mut text, format_args!("{gate}: {closed}\n"));
    }
    if !open.is_empty() {
        text += "\n# DECIDE: these are delegated to another host, and nothing else keeps them from it: they are skipped, and each run names\n\
                 # them. Without this line they end a run.\n";
        text += &listed(&open);
        text += "boma_skip_delegated: true\n";
    }
    for (name, networks) in &found.networks {
        text +=
            "\n# DECIDE: if a firewall or sshd lets only these in, this program is one of them, or no login comes.\n";
        let all = networks.iter().cloned().chain([here.controller.to_string()]);
        let all: Vec<_> = all.map(|network| format!("\"{network}\"")).collect();
        put(&mut text, format_args!("{name}: [{}]\n", all.join(", ")));
    }
    if !found.roles.is_empty() {
        text += "\n# DECIDE: by their names these roles may connect the host with others. The VM runs them with the real variables and\n\
                 # secrets: set here what keeps them from registering, joining, sending and backing up.\n";
        found.roles.iter().for_each(|role| put(&mut text, format_args!("#   {role}\n")));
    }
    text
}

fn listed(tasks: &[&Delegated]) -> String {
    let line = |one: &&Delegated| format!("#   {}: \"{}\", to {}\n", one.file, one.task, one.to);
    tasks.iter().map(line).collect()
}

/// What must be true of the host: no unit has failed, and what its variables open to others answers.
fn verify(found: &Found) -> Vec<Value> {
    let way_in = found.port.as_deref().unwrap_or("22");
    let (open, other): (Vec<_>, Vec<_>) = found.ports.iter().partition(|(name, _)| is_open(name));
    let mut entries = vec![json!({
        "//": "DECIDE: add what only you know, a request that a user would make. docs/runbook.md, \"Checks\", has every probe.",
        "name": "no failed units",
        "probe": {"failed-units": {}},
    })];
    let mut asked = Vec::new();
    for (variable, ports) in open {
        for port in ports.iter().filter(|port| port.to_string() != way_in) {
            if !asked.contains(port) {
                asked.push(*port);
                entries.push(json!({
                    "//": format!("DECIDE: {variable} has it."),
                    "name": format!("port {port} answers"),
                    "probe": {"tcp": {"port": port}},
                    "within": 60,
                }));
            }
        }
    }
    let new = |ports: &[u16]| {
        ports.iter().copied().filter(|port| !asked.contains(port) && port.to_string() != way_in).collect::<Vec<_>>()
    };
    let other: Vec<_> = other.into_iter().map(|(variable, ports)| (variable, new(ports))).collect();
    let other: Vec<_> = other.iter().filter(|(_, ports)| !ports.is_empty()).collect();
    if !other.is_empty() {
        let other: Vec<_> = other.iter().map(|(variable, ports)| format!("{variable}: {ports:?}")).collect();
        let last = entries.len() - 1;
        entries[last]["// other ports"] = format!(
            "DECIDE: other ports in its variables; ask those that are open to others in the same way: {}.",
            other.join("; ")
        )
        .into();
    }
    entries
}

fn is_open(variable: &str) -> bool {
    OPEN.iter().any(|word| variable.contains(word))
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    host::presence::ignore(text.write_fmt(what), host::presence::IN_MEMORY);
}

#[cfg(test)]
mod tests;
