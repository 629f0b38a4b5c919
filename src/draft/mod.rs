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

/// Parts of names of variables whose ports are open to others.
const OPEN: [&str; 5] = ["open", "publish", "expose", "allow", "public"];

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

/// Make them. `repo` is as it is to be written; `inventory` lies in it. `live` is what was seen of the real host.
pub fn draft(host: &HostName, repo: &Utf8Path, inventory: &Utf8Path, found: &Found, live: Option<&State>) -> Draft {
    let mut profile = profile(host, repo, inventory, found);
    if let Some(live) = live {
        with_live(&mut profile["verify"], live);
    }
    Draft { profile, overlay: overlay(host, found) }
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

fn profile(host: &HostName, repo: &Utf8Path, inventory: &Utf8Path, found: &Found) -> Value {
    let applies: Vec<_> = found.playbooks.iter().map(|playbook| json!({"playbook": playbook, "tags": []})).collect();
    let names: BTreeMap<_, _> = found.names.iter().map(|name| (name, "vm")).collect();
    let mut profile = json!({
        "$schema": "../schemas/host.json",
        "//": about(host, found),
        "image": DEFAULT_IMAGE,
        "repo": repo,
        "inventory": inventory,
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
        "never_unresolved": "refuse",
    });
    if let Some(last) = found.disks.iter().max() {
        // The letters before it are disks too, or the name would be another.
        let count = last.bytes().last().unwrap_or(b'a').saturating_sub(b'a');
        profile["disks"] = (0..count).map(|_| json!({"size_gib": DISK_GIB})).collect();
        if found.disks.iter().any(|disk| disk.starts_with("/dev/sd")) {
            profile["disk_bus"] = "virtio-scsi".into();
        }
    }
    profile
}

fn about(host: &HostName, found: &Found) -> Vec<String> {
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
            "DECIDE disks: its variables name {}; they are blank, and of a size that is a guess.",
            found.disks.join(", ")
        ));
    }
    if !found.names.is_empty() {
        lines.push(
            "DECIDE dns: names in its variables; those that are its own lead to the VM, take the others out.".into(),
        );
    }
    lines.push(
        "DECIDE never_unresolved: a run does not start while the address of a real host is unknown; \"note\" refuses only its name."
            .into(),
    );
    if !found.strangers.is_empty() {
        lines.push(format!("The inventory has no host or group for these variables: {}.", found.strangers.join(", ")));
    }
    lines
}

fn overlay(host: &HostName, found: &Found) -> String {
    let mut text = format!(
        "---\n# How the VM that stands for {host} differs from {host}. Every stub is here, and nowhere else.\n\
         # Written by `boma-qemu init {host}`; DECIDE marks what only you can know.\n\n\
         # For roles that must know: only the VM has it.\nboma_vm: true\n"
    );
    let mut gates: BTreeMap<&str, Vec<&Delegated>> = BTreeMap::new();
    let mut open = Vec::new();
    for one in &found.delegated {
        match &one.gate {
            Some(gate) => gates.entry(gate).or_default().push(one),
            None => open.push(one),
        }
    }
    for (gate, tasks) in gates {
        text += "\n# DECIDE: from the VM nothing goes to another host. This gates what would be delegated to one:\n";
        text += &listed(&tasks);
        put(&mut text, format_args!("{gate}: false\n"));
    }
    if !open.is_empty() {
        text += "\n# DECIDE: these are delegated to another host, which ends a run. Give each a condition (`when: not boma_vm | default(false)`):\n";
        text += &listed(&open);
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
    let other: Vec<_> = other.into_iter().filter(|(_, ports)| ports.iter().any(|port| !asked.contains(port))).collect();
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
