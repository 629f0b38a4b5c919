//! What the real inventory and the playbooks say of a host that has no profile yet (`plugins/boma_draft.py`).

use super::command::Controller;
use super::error::AnsibleError;
use super::{plugin, preflight};
use camino::Utf8Path;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use vm::network::confine::Confinement;

/// What was found of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// The groups that it is directly in.
    pub groups: Vec<String>,
    /// `ansible_user`, resolved.
    pub user: Option<String>,
    /// `ansible_port`, resolved.
    pub port: Option<String>,
    /// The playbooks that select it: the whole site if there is such a playbook, else all.
    pub playbooks: Vec<String>,
    /// Ports in variables whose names speak of ports, by variable.
    pub ports: BTreeMap<String, Vec<u16>>,
    /// Domain names in variables whose names speak of names.
    pub names: Vec<String>,
    /// Disks in its variables and roles, besides the first: `/dev/vdb`, or `/dev/disk/by-id/virtio-…`.
    #[serde(default)]
    pub disks: Vec<String>,
    /// Networks and addresses that may come in, by the names of their variables.
    #[serde(default)]
    pub networks: BTreeMap<String, Vec<String>>,
    /// Network interfaces, by the names of their variables.
    #[serde(default)]
    pub interfaces: BTreeMap<String, String>,
    /// Tasks of its plays and roles that are delegated to another host.
    pub delegated: Vec<Delegated>,
    /// Its roles whose names say that they connect it with other hosts.
    pub roles: Vec<String>,
    /// Files of variables of hosts and groups that the inventory does not have.
    pub strangers: Vec<String>,
    /// Other hosts of which the inventory says no address, but only a name.
    #[serde(default)]
    pub by_name: Vec<String>,
}

/// A task that is delegated to another host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegated {
    /// Its name.
    pub task: String,
    /// Its file, inside the repository.
    pub file: String,
    /// The other host.
    pub to: String,
    /// The variable that alone closes its condition, if one does.
    pub gate: Option<String>,
    /// The value by which it does.
    pub closed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    hosts: Vec<String>,
    host: Option<Found>,
}

/// Ask Ansible, confined as in the preflight and without a network.
pub fn ask(
    controller: &Controller,
    scratch: &Utf8Path,
    exe: &Utf8Path,
    allowed: &Confinement,
) -> Result<Found, AnsibleError> {
    preflight::in_scratch(controller, scratch, exe, allowed, |controller, prefix| {
        preflight::version(controller, prefix)?;
        let asked = json!({
            "boma_inventory": controller.inventory, "boma_repo": controller.repo, "boma_host": controller.host,
        });
        let Answer { hosts, host } = plugin::ask(controller, "draft", &asked, prefix)?;
        let known = hosts.join(", ");
        let (host_name, path) = (controller.host.to_string(), controller.inventory.clone());
        host.ok_or(AnsibleError::NotInInventory { host: host_name, path, known })
    })
}
