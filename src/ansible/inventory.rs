//! The transient inventory: the real one, in which one host is the VM.
//!
//! All hosts, groups and variables of the real inventory are there as names and data, because templates and conditions
//! ask for them (`groups['monitoring']`, `hostvars`): without them an allow-list would be rendered empty. Only the
//! mirrored host can be connected to (`--limit`, the connection's extra-vars, `plugins/boma_others.py`, the network).
//!
//! Ansible finds `group_vars` and `host_vars` beside the inventory *file*, so the folder of the transient
//! inventory holds links to the real ones (see [`super::folder`]). What the real inventory says inline goes inline
//! here too: inventory-file variables are weaker than `group_vars` and `host_vars`, and stay so.
//! JSON, because Ansible reads it (inventory plugin `yaml`) and no YAML writer can spoil a value.

use super::connection;
use camino::Utf8Path;
use host::names::HostName;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What the real inventory says besides its `group_vars` and `host_vars` folders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inline {
    /// Each group's parents. Precedence between groups goes by depth, so the tree matters.
    pub parents: BTreeMap<String, BTreeSet<String>>,
    /// Variables written at a group.
    pub group_vars: BTreeMap<String, Map<String, Value>>,
    /// Every host with the variables written at it, in Ansible's own order of `groups['all']`.
    pub hosts: Vec<(String, Map<String, Value>)>,
    /// The hosts that are directly in each group, in the inventory's own order. A group may have none.
    pub members: BTreeMap<String, Vec<String>>,
}

impl Inline {
    /// The groups and all that they lie in, without `all` and `ungrouped`.
    pub fn with_ancestors(&self, groups: &[String]) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut todo: Vec<&str> = groups.iter().map(String::as_str).collect();
        while let Some(group) = todo.pop() {
            if !matches!(group, "all" | "ungrouped") && seen.insert(group.to_owned()) {
                todo.extend(self.parents.get(group).into_iter().flatten().map(String::as_str));
            }
        }
        seen
    }

    /// Every group but `all` and `ungrouped`.
    fn groups(&self) -> BTreeSet<&str> {
        let named = self.members.keys().chain(self.group_vars.keys()).chain(self.parents.keys());
        named.map(String::as_str).filter(|name| !matches!(*name, "all" | "ungrouped")).collect()
    }

    /// Where in the order of all hosts the first one of a group stands, with the groups in it.
    fn first_host(&self, group: &str) -> usize {
        let direct = self.members.get(group).into_iter().flatten();
        let place = |host: &String| self.hosts.iter().position(|(name, _)| name == host);
        let below = self.parents.iter().filter(|(_, parents)| parents.contains(group));
        let below = below.map(|(child, _)| self.first_host(child));
        direct.filter_map(place).chain(below).min().unwrap_or(usize::MAX)
    }
}

/// The folder in which Ansible looks for the `group_vars` and `host_vars` of an inventory.
pub fn vars_base(inventory: &Utf8Path) -> &Utf8Path {
    match inventory.is_dir() {
        true => inventory,
        false => inventory.parent().unwrap_or(Utf8Path::new(".")),
    }
}

/// The transient inventory as JSON. `real` is the absolute path of the real inventory.
///
/// `inventory_file` and `inventory_dir` keep their real values, for playbooks that look for files there. Of the mirrored
/// host the connection variables are left out: its real address has no business here. Those of the others are data.
pub fn text(host: &HostName, groups: &[String], real: &Utf8Path, inline: &Inline) -> String {
    let mut hosts = Map::new();
    let nothing = (host.to_string(), Map::new());
    let unlisted = (!inline.hosts.iter().any(|(name, _)| name == host.as_str())).then_some(&nothing);
    for (name, vars) in inline.hosts.iter().chain(unlisted) {
        let mut vars = if name == host.as_str() { own(vars) } else { vars.clone() };
        vars.insert("inventory_file".into(), real.as_str().into());
        vars.insert("inventory_dir".into(), vars_base(real).as_str().into());
        hosts.insert(name.clone(), vars.into());
    }
    let mut top = Map::new();
    top.insert("hosts".into(), hosts.into());
    put_vars(&mut top, inline.group_vars.get("all"));
    let all: BTreeSet<_> = inline.groups().into_iter().chain(groups.iter().map(String::as_str)).collect();
    let children: Map<_, _> =
        all.iter().map(|group| ((*group).to_owned(), body(group, host, groups, inline, &all))).collect();
    if !children.is_empty() {
        top.insert("children".into(), children.into());
    }
    // Plain data with string keys: serialising it cannot fail.
    serde_json::to_string_pretty(&json!({ "all": top })).unwrap_or_default() + "\n"
}

/// One group: its hosts, of which the mirrored one is in the groups of the profile, its children, its variables.
fn body(group: &str, host: &HostName, groups: &[String], inline: &Inline, all: &BTreeSet<&str>) -> Value {
    let mut body = Map::new();
    let ours = groups.iter().any(|name| name == group);
    let members = inline.members.get(group).map(Vec::as_slice).unwrap_or_default();
    let listed = members.iter().filter(|name| ours || *name != host.as_str());
    let added = (ours && !members.iter().any(|name| name == host.as_str())).then(|| host.to_string());
    let hosts: Map<_, _> = listed.chain(&added).map(|name| (name.clone(), json!({}))).collect();
    if !hosts.is_empty() {
        body.insert("hosts".into(), hosts.into());
    }
    let below = all.iter().filter(|name| inline.parents.get(**name).is_some_and(|parents| parents.contains(group)));
    let mut below: Vec<_> = below.collect();
    // Ansible lists the hosts of a group in the order of its children.
    below.sort_by_key(|name| inline.first_host(name));
    let below: Map<_, _> = below.into_iter().map(|name| ((*name).to_owned(), json!({}))).collect();
    if !below.is_empty() {
        body.insert("children".into(), below.into());
    }
    put_vars(&mut body, inline.group_vars.get(group));
    body.into()
}

fn put_vars(body: &mut Map<String, Value>, vars: Option<&Map<String, Value>>) {
    if let Some(vars) = vars.filter(|vars| !vars.is_empty()) {
        body.insert("vars".into(), vars.clone().into());
    }
}

/// The variables that are not about how to connect.
fn own(vars: &Map<String, Value>) -> Map<String, Value> {
    vars.iter()
        .filter(|(name, _)| !connection::is_about_connecting(name))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostName {
        "askari".parse().unwrap()
    }

    #[test]
    fn the_one_host_has_the_mirrored_hosts_name_and_groups() {
        let text = text(&host(), &["offsite_hosts".into()], "/r/inv/offsite.yml".into(), &Inline::default());
        insta::assert_snapshot!(text, @r#"
        {
          "all": {
            "hosts": {
              "askari": {
                "inventory_file": "/r/inv/offsite.yml",
                "inventory_dir": "/r/inv"
              }
            },
            "children": {
              "offsite_hosts": {
                "hosts": {
                  "askari": {}
                }
              }
            }
          }
        }
        "#);
    }

    #[test]
    fn the_other_hosts_are_there_with_all_that_is_said_of_them_and_the_mirrored_hosts_address_is_not() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let inline = Inline {
            parents: [("web".into(), ["site".into()].into()), ("other".into(), ["site".into()].into())].into(),
            group_vars: [
                ("all".into(), map(json!({"a": 1}))),
                ("site".into(), map(json!({"b": 2, "ansible_port": 2022}))),
            ]
            .into(),
            hosts: vec![
                ("mon1".into(), map(json!({"ansible_host": "203.0.113.9"}))),
                (
                    "askari".into(),
                    map(json!({"ansible_host": "198.51.100.136", "ansible_ssh_host": "x", "d": "{{ b }}"})),
                ),
            ],
            members: [("other".into(), vec!["mon1".into()]), ("web".into(), vec![]), ("empty".into(), vec![])].into(),
        };
        let text = text(&host(), &["web".into()], "/r/inv/hosts".into(), &inline);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["all"]["vars"], json!({"a": 1}));
        assert_eq!(
            value["all"]["children"],
            json!({
                "empty": {},
                "other": {"hosts": {"mon1": {}}},
                "site": {"children": {"other": {}, "web": {}}, "vars": {"b": 2, "ansible_port": 2022}},
                "web": {"hosts": {"askari": {}}},
            })
        );
        assert_eq!(value["all"]["hosts"]["askari"]["d"], "{{ b }}");
        assert_eq!(value["all"]["hosts"]["mon1"]["ansible_host"], "203.0.113.9");
        assert!(!text.contains("198.51.100.136") && !text.contains("ansible_ssh"), "{text}");
        // In the order in which Ansible would list them.
        let order = |names: [&str; 2]| names.map(|name| text.find(&format!("\"{name}\": {{")).unwrap());
        assert!(order(["mon1", "askari"]).is_sorted());
    }
}
