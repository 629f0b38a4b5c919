//! Every real host, by every inventory that there is, as Ansible itself resolves it (`plugins/boma_hosts.py`).

use super::command::Controller;
use super::error::AnsibleError;
use super::plugin;
use super::real::Listing;
use camino::Utf8PathBuf;
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// The real hosts of the profile's inventory, of the files beside it, and of the list in ansible.cfg; the bastions on the way
/// to them; and those that playbooks and roles name themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealHosts {
    /// By name in the inventory: what says where the host is (`ansible_host` and its like), templates and vault
    /// resolved; addresses or names to look up. Where several inventories name one host, what each of them says.
    pub hosts: BTreeMap<String, Vec<String>>,
    /// Those of the addresses that the vault holds.
    pub secret: Vec<String>,
    /// Hosts whose address cannot be told, and inventories that cannot be read, each with the reason.
    pub unknown: BTreeMap<String, String>,
    /// Every group of the profile's inventory with all hosts in it, in Ansible's own order.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Places in playbooks, roles and templates that read gathered facts of other hosts (`file:line`).
    pub facts: Vec<String>,
    /// Files beside the inventory that are none.
    pub skipped: Vec<Utf8PathBuf>,
}

/// Ask Ansible. `playbooks` are absolute: variables may lie beside them, too.
pub(super) fn ask(
    controller: &Controller,
    playbooks: &[Utf8PathBuf],
    prefix: &[String],
) -> Result<RealHosts, AnsibleError> {
    let beside: BTreeSet<_> = playbooks.iter().filter_map(|path| path.parent()).chain([&*controller.repo]).collect();
    let asked = json!({
        "boma_inventory": controller.inventory, "boma_repo": controller.repo, "boma_folders": beside,
        "boma_host": controller.host, "boma_playbooks": playbooks,
    });
    plugin::ask(controller, "addresses", &asked, prefix)
}

impl RealHosts {
    /// Every host that Ansible lists is among them.
    pub(super) fn hold(&self, listing: &Listing) -> Result<(), String> {
        match listing.hosts().into_iter().find(|host| !self.hosts.contains_key(*host)) {
            None => Ok(()),
            Some(host) => Err(format!("{host} is listed, but nothing was told of its address")),
        }
    }
}
