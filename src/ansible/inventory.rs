//! The transient inventory: one host, under the mirrored host's own name, in its own groups.
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
    /// Variables written at the mirrored host.
    pub host_vars: Map<String, Value>,
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
/// `inventory_file` and `inventory_dir` keep their real values, for playbooks that look for files there.
/// Connection variables are left out: the real address has no business here.
pub fn text(host: &HostName, groups: &[String], real: &Utf8Path, inline: &Inline) -> String {
    let mut host_vars = own(&inline.host_vars);
    host_vars.insert("inventory_file".into(), real.as_str().into());
    host_vars.insert("inventory_dir".into(), vars_base(real).as_str().into());

    let all = inline.with_ancestors(groups);
    let mut children = Map::new();
    for group in &all {
        let mut body = Map::new();
        if groups.contains(group) {
            body.insert("hosts".into(), json!({ host.as_str(): {} }));
        }
        let below = all.iter().filter(|g| inline.parents.get(*g).is_some_and(|p| p.contains(group)));
        let below: Map<_, _> = below.map(|g| (g.clone(), json!({}))).collect();
        if !below.is_empty() {
            body.insert("children".into(), below.into());
        }
        put_vars(&mut body, inline.group_vars.get(group));
        children.insert(group.clone(), body.into());
    }
    let mut top = Map::new();
    top.insert("hosts".into(), json!({ host.as_str(): host_vars }));
    put_vars(&mut top, inline.group_vars.get("all"));
    if !children.is_empty() {
        top.insert("children".into(), children.into());
    }
    // Plain data with string keys: serialising it cannot fail.
    serde_json::to_string_pretty(&json!({ "all": top })).unwrap_or_default() + "\n"
}

fn put_vars(body: &mut Map<String, Value>, vars: Option<&Map<String, Value>>) {
    let vars = vars.map(own).unwrap_or_default();
    if !vars.is_empty() {
        body.insert("vars".into(), vars.into());
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
    fn a_groups_parents_and_inline_variables_come_along_and_the_real_address_does_not() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let inline = Inline {
            parents: [("web".into(), ["site".into()].into()), ("other".into(), ["site".into()].into())].into(),
            group_vars: [
                ("all".into(), map(json!({"a": 1}))),
                ("site".into(), map(json!({"b": 2, "ansible_port": 2022}))),
                ("other".into(), map(json!({"c": 3}))),
            ]
            .into(),
            host_vars: map(json!({"ansible_host": "198.51.100.136", "ansible_ssh_host": "x", "d": "{{ b }}"})),
        };
        let text = text(&host(), &["web".into()], "/r/inv/hosts".into(), &inline);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["all"]["vars"], json!({"a": 1}));
        assert_eq!(value["all"]["children"]["site"], json!({"children": {"web": {}}, "vars": {"b": 2}}));
        assert!(value["all"]["children"].get("other").is_none());
        assert_eq!(value["all"]["hosts"]["askari"]["d"], "{{ b }}");
        assert!(!text.contains("198.51.100.136") && !text.contains("ansible_"), "{text}");
    }
}
