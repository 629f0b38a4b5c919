//! `apply` on a VM that is up: what has changed since `up` takes effect, or is refused before any work starts.

use super::bring_up::json;
use super::inputs;
use super::run::Run;
use super::up;
use crate::ansible::preflight::Preflight;
use evidence::record::{Partial, Step};
use host::dirs::write_private;
use host::failure::Failure;
use std::collections::BTreeMap;
use std::net::IpAddr;
use vm::network::NetPlan;
use vm::ssh::Ways;

impl Run<'_> {
    /// Run the playbooks, or a part of them, by the profile and the inventory as they are now. Later commands use what this
    /// one has used.
    pub async fn apply_anew(&mut self, part: Option<&Partial>) -> Result<(), Failure> {
        let changed = self.plan().changed();
        for change in &changed {
            self.progress().note(&format!("changed since `up`: {change}"));
        }
        let inputs = self.phase("preflight", async |run| {
            let inputs = inputs::look(run.target(), run.progress())?;
            let net = &run.plan().net;
            NetPlan { never: inputs.never.clone(), ..net.clone() }.check()?;
            let said = inputs.said.clone();
            Ok((inputs, said))
        });
        let inputs = inputs.await?;
        // First: what was proved was proved of the state that the earlier plan had made.
        self.begin_apply(part)?;
        self.keep(Step::Changed(changed));
        self.keep(Step::Ansible(inputs.preflight.version.clone()));
        take_effect(self, &inputs.preflight, &inputs.never)?;
        self.playbooks(part).await
    }
}

/// Let the VM's own files and its network say what the plan and its inputs say now.
pub(super) fn take_effect(
    run: &Run<'_>,
    preflight: &Preflight,
    never: &BTreeMap<String, Vec<IpAddr>>,
) -> Result<(), Failure> {
    let target = run.target();
    let (plan, dir) = (&target.plan, target.vm.dir());
    // More is out of reach before anything can reach for it.
    let mut network = target.vm.network()?;
    let fresh = network.forbid(never)?;
    if !fresh.is_empty() {
        run.progress().note(&format!("never to be reached from now on: {}", fresh.join(", ")));
    }
    let off: Vec<_> = network.plan().never.keys().filter(|name| !never.contains_key(*name)).cloned().collect();
    if !off.is_empty() {
        let off = off.join(", ");
        run.progress().note(&format!("no longer on the never list, and out of reach until `down` all the same: {off}"));
    }
    let Ways { inventory, real, become_password, .. } = up::ways(target, preflight)?;
    let ways = Ways { inventory, real, become_password, ..Ways::load(&dir.ways())? };
    vm::ssh::write_ways(dir, &ways)?;
    let controller = plan.controller(target.dirs);
    controller.write_folder(&plan.connection(target.dirs), &preflight.inline)?;
    // What an earlier version of a file held is still in the guest, and in what it says.
    let known = std::fs::read(controller.folder.secrets()).unwrap_or_default();
    let mut secrets = serde_json::from_slice::<Vec<String>>(&known).unwrap_or_default();
    secrets.extend(preflight.secrets.iter().cloned());
    secrets.sort();
    secrets.dedup();
    write_private(&controller.folder.secrets(), json(&secrets))?;
    Ok(write_private(&dir.plan(), json(&target.lasting()))?)
}
