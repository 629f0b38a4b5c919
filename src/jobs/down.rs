//! Taking down: the VM, its folder, and the network with the last VM.

use super::Context;
use super::record::{Phase, Record};
use crate::ansible::preflight;
use crate::failure::{Exit, Failure};
use crate::host::ledger::{Leak, Ledger};
use crate::machine::VmDir;
use crate::monitor::Client;
use crate::names::HostName;
use crate::network::{self, NetDir};
use serde::Serialize;
use std::time::Instant;

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
    removed.leaks = match vm.is_alive() {
        // Only the ledger can end it, and the network stays until it has.
        true => remove(&vm),
        false => return beside(ctx, host, &vm),
    };
    removed.vms.push(host.clone());
    let leaks = networks(ctx, &mut removed.networks)?;
    removed.leaks.extend(leaks);
    Ok(removed)
}

/// The same as a run's last phase: told when it begins and when it ends, and timed.
pub async fn phase(ctx: &Context<'_>, host: &HostName) -> Result<(Removed, Phase), Failure> {
    let name = "down";
    ctx.progress.begin(name);
    let start = Instant::now();
    let removed = down(ctx, host).await?;
    let seconds = start.elapsed().as_secs_f64();
    let ok = removed.leaks.is_empty();
    let outcome = if ok { "nothing is left".to_owned() } else { format!("{} leaks", removed.leaks.len()) };
    ctx.progress.end(name, seconds, &outcome, ok);
    Ok((removed, Phase { name: name.into(), seconds, ok, outcome }))
}

/// Remove a VM that has ended, and at the same time the network that it was in: on a disk that is busy,
/// freeing an overlay of some GiB takes longer than all the rest.
fn beside(ctx: &Context<'_>, host: &HostName, vm: &VmDir) -> Result<Removed, Failure> {
    let mut removed = Removed { vms: vec![host.clone()], ..Removed::default() };
    let (of_vm, of_networks) = std::thread::scope(|scope| {
        let of_vm = scope.spawn(|| remove(vm));
        let of_networks = networks(ctx, &mut removed.networks);
        (of_vm.join(), of_networks)
    });
    removed.leaks = of_vm.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    removed.leaks.extend(of_networks?);
    Ok(removed)
}

/// Remove what dead and failed runs left behind. The caller holds the run lock, so no run is at work: a VM
/// that is alive was brought up or kept on purpose, and is removed only with `all`, or it was kept by a
/// failed run for a look, or its run was killed.
pub async fn prune(ctx: &Context<'_>, all: bool) -> Result<Removed, Failure> {
    let mut removed = Removed::default();
    let left = preflight::clear(&ctx.dirs.state).into_iter();
    removed.leaks.extend(left.map(|(path, error)| Leak { what: format!("folder {path}"), why: error.to_string() }));
    for (host, vm) in VmDir::list(ctx.dirs) {
        let is_kept = Record::load(&vm).is_ok_and(|record| record.kept) || vm.kept().exists();
        if vm.is_alive() && is_kept && !all {
            ctx.progress.note(&format!(
                "the VM of {host} was kept on purpose and stays; remove it with `boma-qemu down {host}`"
            ));
            continue;
        }
        let one = down(ctx, &host).await?;
        removed.vms.extend(one.vms);
        removed.networks.extend(one.networks);
        removed.leaks.extend(one.leaks);
    }
    removed.leaks.extend(networks(ctx, &mut removed.networks)?);
    Ok(removed)
}

/// Remove what dead runs left behind, and nothing that is alive.
pub fn sweep(ctx: &Context<'_>) -> Result<Removed, Failure> {
    let mut removed = Removed::default();
    for (host, vm) in VmDir::list(ctx.dirs) {
        if !vm.is_alive() {
            removed.leaks.extend(remove(&vm));
            removed.vms.push(host);
        }
    }
    removed.leaks.extend(networks(ctx, &mut removed.networks)?);
    Ok(removed)
}

/// Remove the networks that no VM uses; refused while one does.
pub fn networks_only(ctx: &Context<'_>) -> Result<Removed, Failure> {
    if let Some((host, _)) = VmDir::list(ctx.dirs).into_iter().find(|(_, vm)| vm.is_alive()) {
        return Err(Failure::new(Exit::Usage, format!("the VM of {host} uses the network"))
            .next(format!("remove it with `boma-qemu down {host}`")));
    }
    let mut removed = Removed::default();
    removed.leaks = networks(ctx, &mut removed.networks)?;
    Ok(removed)
}

/// Undo one VM's ledger. Its folder is the ledger's first entry, so it goes last. A ledger that cannot be read is a leak
/// like any other: it holds up nothing else.
fn remove(vm: &VmDir) -> Vec<Leak> {
    let leaks = match vm.ledger().exists() {
        true => match Ledger::open(&vm.ledger()) {
            Ok(ledger) => ledger.undo(),
            Err(error) => vec![Leak { what: format!("VM {}", vm.path()), why: error.to_string() }],
        },
        false => Vec::new(),
    };
    // Killed between making the folder and its first entry: then there is nothing in it but itself.
    if leaks.is_empty() && vm.path().exists() {
        let _ = std::fs::remove_dir(vm.path());
    }
    leaks
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
