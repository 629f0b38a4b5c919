//! The real inventory, as `ansible-inventory` tells it.

use super::inventory::Inline;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What `ansible-inventory --list` prints, with or without `--export`.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    #[serde(rename = "_meta")]
    meta: Meta,
    #[serde(flatten)]
    groups: BTreeMap<String, Group>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    #[serde(default)]
    hostvars: BTreeMap<String, Map<String, Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Group {
    hosts: Vec<String>,
    children: Vec<String>,
    vars: Map<String, Value>,
}

/// How the real inventory says that a host is logged in to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealWay {
    /// `ansible_port`.
    pub port: Option<String>,
    /// `ansible_user`.
    pub user: Option<String>,
    /// Whether there is a password for becoming root.
    pub become_password: bool,
}

/// Variables that hold a password for becoming root (`ansible-doc -t become sudo`, ansible-core 2.19).
const BECOME_PASSWORDS: [&str; 4] =
    ["ansible_become_password", "ansible_become_pass", "ansible_sudo_pass", "ansible_sudo_password"];

impl Listing {
    /// Every host.
    pub(super) fn hosts(&self) -> BTreeSet<&str> {
        let listed = self.groups.values().flat_map(|group| &group.hosts);
        listed.chain(self.meta.hostvars.keys()).map(String::as_str).collect()
    }

    /// The groups that a host is directly in, without `all` and `ungrouped`.
    pub(super) fn groups_of(&self, host: &str) -> BTreeSet<String> {
        let groups = self.groups.iter().filter(|(_, group)| group.hosts.iter().any(|h| h == host));
        groups.map(|(name, _)| name.clone()).filter(|name| name != "all" && name != "ungrouped").collect()
    }

    /// Whether there is such a group.
    pub(super) fn has_group(&self, name: &str) -> bool {
        self.groups.contains_key(name) || self.groups.values().any(|group| group.children.iter().any(|c| c == name))
    }

    /// What a listing that was made with `--export` and without the vars folders says inline.
    /// `groups` are all groups with their hosts in Ansible's own order: a listing has neither that order nor empty groups.
    pub(super) fn inline(&self, groups: &BTreeMap<String, Vec<String>>) -> Inline {
        let order = groups.get("all").map(Vec::as_slice).unwrap_or_default();
        let known = self.hosts();
        let listed = order.iter().map(String::as_str).filter(|name| known.contains(name));
        let rest = known.iter().copied().filter(|name| !order.iter().any(|listed| listed == name));
        let vars = |name: &str| self.meta.hostvars.get(name).cloned().unwrap_or_default();
        let hosts = listed.chain(rest).map(|name| (name.to_owned(), vars(name))).collect();
        let mut inline = Inline { hosts, ..Inline::default() };
        inline.members.extend(groups.keys().map(|name| (name.clone(), Vec::new())));
        for (name, group) in &self.groups {
            inline.members.insert(name.clone(), group.hosts.clone());
            if !group.vars.is_empty() {
                inline.group_vars.insert(name.clone(), group.vars.clone());
            }
            for child in group.children.iter().filter(|_| name != "all") {
                inline.parents.entry(child.clone()).or_default().insert(name.clone());
            }
        }
        inline
    }

    /// How the inventory says that a host is logged in to, as written: templates are not resolved.
    pub(super) fn way(&self, host: &str) -> RealWay {
        let nothing = Map::new();
        let vars = self.meta.hostvars.get(host).unwrap_or(&nothing);
        // Of several variables for one option the ssh plugin takes the last of its list.
        let last = |names: [&str; 2]| {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            names
                .iter()
                .rev()
                .filter_map(|name| vars.get(*name))
                .filter(|v| !v.is_null())
                .map(text)
                .find(|t| !t.is_empty())
        };
        RealWay {
            port: last(["ansible_port", "ansible_ssh_port"]),
            user: last(["ansible_user", "ansible_ssh_user"]),
            become_password: BECOME_PASSWORDS.iter().any(|name| vars.get(*name).is_some_and(|value| !value.is_null())),
        }
    }

    /// One vaulted value per vault label: opening it proves that the vault opens.
    pub(super) fn vaulted(&self) -> Vec<String> {
        let mut found = BTreeMap::new();
        for value in self.meta.hostvars.values().flat_map(Map::values) {
            collect(value, &mut found);
        }
        found.into_values().collect()
    }
}

/// Encrypted values by their header line (`$ANSIBLE_VAULT;1.2;AES256;label`).
fn collect(value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => match map.get("__ansible_vault").and_then(Value::as_str) {
            Some(text) => {
                into.entry(text.lines().next().unwrap_or_default().to_owned()).or_insert_with(|| text.to_owned());
            }
            None => map.values().for_each(|value| collect(value, into)),
        },
        Value::Array(list) => list.iter().for_each(|value| collect(value, into)),
        _ => {}
    }
}

/// How the profile's groups differ from the real host's, in words; both sides with the groups around them.
pub(super) fn differences(host: &str, profile: &[String], listing: &Listing, inline: &Inline) -> Vec<String> {
    let real: Vec<_> = listing.groups_of(host).into_iter().collect();
    let (ours, theirs) = (inline.with_ancestors(profile), inline.with_ancestors(&real));
    let left_out = theirs.difference(&ours).map(|group| {
        format!("the real {host} is in the group {group}, which the profile leaves out: its variables do not apply")
    });
    let added = ours.difference(&theirs).map(|group| match listing.has_group(group) {
        true => format!("the profile puts {host} into the group {group}, in which the real {host} is not"),
        false => format!("the profile puts {host} into the group {group}, which the real inventory does not have"),
    });
    left_out.chain(added).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        serde_json::from_str(
            r#"{
              "_meta": {"hostvars": {
                "askari": {"ansible_host": "198.51.100.136", "a": {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\n31\n"}},
                "ubongo": {"ansible_ssh_host": "203.0.113.20", "b": [{"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\n32\n"}]}
              }, "profile": "inventory_legacy"},
              "all": {"children": ["ungrouped", "site", "home"], "vars": {"x": 1}},
              "site": {"children": ["web"]},
              "web": {"hosts": ["askari"], "vars": {"y": 2}},
              "home": {"hosts": ["ubongo", "chapa.example.net"]}
            }"#,
        )
        .unwrap()
    }

    #[test]
    fn the_inventorys_way_in_is_what_the_ssh_plugin_would_take() {
        let of = |vars: &str| {
            let text = format!(r#"{{"_meta": {{"hostvars": {{"web1": {vars}}}}}}}"#);
            serde_json::from_str::<Listing>(&text).unwrap().way("web1")
        };
        let way = |port: Option<&str>, user: Option<&str>, become_password| RealWay {
            port: port.map(str::to_owned),
            user: user.map(str::to_owned),
            become_password,
        };
        assert_eq!(of("{}"), RealWay::default());
        assert_eq!(of(r#"{"ansible_port": 2222, "ansible_user": "deploy"}"#), way(Some("2222"), Some("deploy"), false));
        assert_eq!(of(r#"{"ansible_port": 22, "ansible_ssh_port": "2200"}"#), way(Some("2200"), None, false));
        assert_eq!(of(r#"{"ansible_port": "{{ p }}", "ansible_user": ""}"#), way(Some("{{ p }}"), None, false));
        assert_eq!(of(r#"{"ansible_become_pass": {"__ansible_vault": "x"}}"#), way(None, None, true));
    }

    #[test]
    fn groups_are_compared_with_all_that_they_lie_in() {
        let listing = listing();
        let inline = listing.inline(&BTreeMap::new());
        assert_eq!(differences("askari", &["web".into()], &listing, &inline), Vec::<String>::new());
        let text = differences("askari", &["home".into(), "nowhere".into()], &listing, &inline).join("\n");
        insta::assert_snapshot!(text, @r"
        the real askari is in the group site, which the profile leaves out: its variables do not apply
        the real askari is in the group web, which the profile leaves out: its variables do not apply
        the profile puts askari into the group home, in which the real askari is not
        the profile puts askari into the group nowhere, which the real inventory does not have
        ");
    }

    #[test]
    fn one_value_per_vault_is_enough() {
        assert_eq!(listing().vaulted().len(), 1);
    }
}
