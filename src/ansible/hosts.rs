//! Every real host, by every inventory that there is, as Ansible itself resolves it (`plugins/boma_hosts.py`).

use super::command::Controller;
use super::error::AnsibleError;
use super::local;
use super::real::Listing;
use camino::Utf8PathBuf;
use evidence::playbook::events::{self, Event, Status};
use host::dirs::write_private;
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
    let folder = controller.folder.path();
    let (playbook, vars) = (folder.join("addresses.yml"), folder.join("addresses.json"));
    let beside: BTreeSet<_> = playbooks.iter().filter_map(|path| path.parent()).chain([&*controller.repo]).collect();
    let asked = json!({
        "boma_inventory": controller.inventory, "boma_repo": controller.repo, "boma_folders": beside,
        "boma_host": controller.host, "boma_playbooks": playbooks,
    });
    write_private(&vars, asked.to_string())?;
    let vars = format!("@{vars}");
    let args = ["--inventory", controller.inventory.as_str(), "--extra-vars", &vars, playbook.as_str()];
    let mut invocation = controller.over_real_inventory("ansible-playbook", &args);
    let events = folder.join("addresses.ndjson");
    invocation.env.retain(|(name, _)| name != "BOMA_EVENTS");
    invocation.env.push(("BOMA_EVENTS".into(), events.to_string()));
    invocation.env.push(("ANSIBLE_ACTION_PLUGINS".into(), controller.folder.actions().to_string()));
    let (_, output) = local::run(&invocation, prefix, Vec::new())?;
    // Where there is no file, Ansible's own error is the answer.
    let told = std::fs::read_to_string(&events).unwrap_or_default();
    let unreadable = |why| AnsibleError::Unreadable { playbook: playbook.clone(), why };
    let refused = |said| AnsibleError::Inventory { path: controller.inventory.clone(), said };
    for event in events::parse(&told).map_err(unreadable)? {
        let Event::Result(result) = event else { continue };
        return match result.resolved.clone() {
            Some(told) if result.status == Status::Ok => {
                serde_json::from_value(told.into()).map_err(|error| unreadable(error.to_string()))
            }
            _ => Err(refused(result.why())),
        };
    }
    Err(refused(local::error_lines(&output.stderr)))
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
