//! Taking down: the VM, its folder, and the network with the last VM.

use super::Context;
use crate::failure::Failure;
use crate::host::ledger::{Leak, Ledger};
use crate::machine::VmDir;
use crate::monitor::Client;
use crate::names::HostName;
use crate::network::{self, NetDir};
use serde::Serialize;

/// What was removed, and what could not be.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Removed {
    /// The VMs that are gone now.
    pub vms: Vec<HostName>,
    /// The networks that are gone now.
    pub networks: Vec<String>,
    /// What is still there.
    pub leaks: Vec<Leak>,
}

/// Stop a VM and remove all that it brought. Being gone already is success.
pub async fn down(ctx: &Context<'_>, host: &HostName) -> Result<Removed, Failure> {
    let vm = VmDir::of(ctx.dirs, host);
    let mut removed = Removed::default();
    if !vm.path().exists() {
        removed.leaks = networks(ctx, &mut removed.networks)?;
        return Ok(removed);
    }
    // An orderly end lets the monitor write the last lines of the journal; the ledger's undo ends what
    // does not listen.
    if vm.is_alive() {
        let _ = Client::new(&vm).stop().await;
    }
    removed.leaks = remove(&vm)?;
    removed.vms.push(host.clone());
    let leaks = networks(ctx, &mut removed.networks)?;
    removed.leaks.extend(leaks);
    Ok(removed)
}

/// Remove what dead runs left behind. What is alive is not touched.
pub fn prune(ctx: &Context<'_>) -> Result<Removed, Failure> {
    let mut removed = Removed::default();
    for (host, vm) in VmDir::list(ctx.dirs) {
        if !vm.is_alive() {
            removed.leaks.extend(remove(&vm)?);
            removed.vms.push(host);
        }
    }
    let leaks = networks(ctx, &mut removed.networks)?;
    removed.leaks.extend(leaks);
    Ok(removed)
}

/// Undo one VM's ledger. Its folder is the ledger's first entry, so it goes last.
fn remove(vm: &VmDir) -> Result<Vec<Leak>, Failure> {
    let leaks = match vm.ledger().exists() {
        true => Ledger::open(&vm.ledger())?.undo(),
        false => Vec::new(),
    };
    // Killed between making the folder and its first entry: then there is nothing in it but itself.
    if leaks.is_empty() && vm.path().exists() {
        let _ = std::fs::remove_dir(vm.path());
    }
    Ok(leaks)
}

/// Release the networks that no living VM uses.
fn networks(ctx: &Context<'_>, gone: &mut Vec<String>) -> Result<Vec<Leak>, Failure> {
    let mut leaks = Vec::new();
    if VmDir::list(ctx.dirs).iter().any(|(_, vm)| vm.is_alive()) {
        return Ok(leaks);
    }
    for name in NetDir::list(ctx.dirs) {
        leaks.extend(network::release(ctx.dirs, &name)?);
        gone.push(name.to_string());
    }
    Ok(leaks)
}
