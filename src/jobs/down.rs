//! Taking down: the VM, its folder, and the network with the last VM.

use super::Context;
use crate::ansible::preflight;
use crate::image;
use crate::revision;
use crate::template::{self, Shelf};
use camino::Utf8PathBuf;
use evidence::record::{Phase, Record};
use host::dirs::Dirs;
use host::failure::{Exit, Failure, with_causes};
use host::ledger::Leak;
use host::ledger::folder::{self, Whose};
use host::names::HostName;
use host::presence::{Presence, ignore};
use host::promise::Place;
use serde::Serialize;
use std::io::ErrorKind;
use std::time::Instant;
use vm::machine::VmDir;
use vm::monitor::Client;
use vm::network::{self, NetDir};

/// What was removed, and what could not be.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Removed {
    /// The VMs that are gone now.
    pub vms: Vec<HostName>,
    /// The networks that are gone now.
    pub networks: Vec<String>,
    /// What killed commands had left besides, and is gone now: scratch folders, parts of images.
    pub leftovers: Vec<Utf8PathBuf>,
    /// What is still there.
    pub leaks: Vec<Leak>,
}

impl Removed {
    fn add(&mut self, more: Self) {
        self.vms.extend(more.vms);
        self.networks.extend(more.networks);
        self.leftovers.extend(more.leftovers);
        self.leaks.extend(more.leaks);
    }
}

/// What becomes of a network's folder that is not ours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NotOurs {
    /// It is in nobody's way: a note says what it is.
    Noted,
    /// Somebody else tells it.
    Passed,
    /// All that is there was to go.
    Leak,
}

/// Stop a VM and remove all that it brought. Being gone already is success.
pub async fn down(ctx: &Context<'_>, host: &HostName) -> Result<Removed, Failure> {
    down_with(ctx, host, NotOurs::Noted).await
}

async fn down_with(ctx: &Context<'_>, host: &HostName, not_ours: NotOurs) -> Result<Removed, Failure> {
    let removed = machine_and_network(ctx, host, not_ours).await;
    // The memory that was promised for it is free again.
    Place::find(&ctx.dirs.state).clear();
    removed
}

async fn machine_and_network(ctx: &Context<'_>, host: &HostName, not_ours: NotOurs) -> Result<Removed, Failure> {
    let vm = VmDir::of(ctx.dirs, host);
    let mut removed = Removed::default();
    match Presence::of(vm.path()) {
        Presence::There => {}
        Presence::Gone => {
            removed.leaks = networks(ctx, &mut removed.networks, not_ours)?;
            return Ok(removed);
        }
        Presence::Unknown(why) => {
            removed.leaks.push(Leak { what: format!("VM {}", vm.path()), why });
            return Ok(removed);
        }
    }
    // An orderly end lets the monitor write the last lines of the journal.
    if vm.is_alive() {
        ignore(Client::new(&vm).stop().await, "the ledger's undo ends what does not listen, or says that it cannot");
    }
    removed.leaks = match vm.is_alive() {
        // Only the ledger can end it, and the network stays until it has.
        true => folder::remove(vm.path()),
        false => return beside(ctx, host, &vm, not_ours),
    };
    if removed.leaks.is_empty() {
        removed.vms.push(host.clone());
    }
    let leaks = networks(ctx, &mut removed.networks, not_ours)?;
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
fn beside(ctx: &Context<'_>, host: &HostName, vm: &VmDir, not_ours: NotOurs) -> Result<Removed, Failure> {
    let mut removed = Removed::default();
    let (of_vm, of_networks) = std::thread::scope(|scope| {
        let of_vm = scope.spawn(|| folder::remove(vm.path()));
        let of_networks = networks(ctx, &mut removed.networks, not_ours);
        (of_vm.join(), of_networks)
    });
    removed.leaks = of_vm.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    if removed.leaks.is_empty() {
        removed.vms.push(host.clone());
    }
    removed.leaks.extend(of_networks?);
    Ok(removed)
}

/// Remove what dead and failed runs left behind. The caller holds the run lock, so no run is at work: a VM
/// that is alive was brought up or kept on purpose, and is removed only with `all`, or it was kept by a
/// failed run for a look, or its run was killed.
pub async fn prune(ctx: &Context<'_>, all: bool) -> Result<Removed, Failure> {
    let mut removed = prune_state(ctx, all).await?;
    for lane in ctx.dirs.lanes()? {
        let ctx = Context { dirs: &lane, progress: ctx.progress };
        let _lock = super::guards::lock(&ctx, "prune")?;
        removed.add(prune_state(&ctx, all).await?);
    }
    match image::clear(&ctx.dirs.cache) {
        Ok((gone, left)) => {
            removed.leftovers.extend(gone);
            removed.leaks.extend(left);
        }
        Err(error) => {
            let what = format!("what killed commands may have left in {}", ctx.dirs.cache);
            removed.leaks.push(Leak { what, why: with_causes(&error) });
        }
    }
    templates(ctx, &mut removed);
    Place::find(&ctx.dirs.state).clear();
    Ok(removed)
}

/// The same of one state: that of the commands, or a lane's.
async fn prune_state(ctx: &Context<'_>, all: bool) -> Result<Removed, Failure> {
    let mut removed = Removed::default();
    (removed.leftovers, removed.leaks) = preflight::clear(&ctx.dirs.state)?;
    let (gone, left) = revision::clear(&ctx.dirs.state)?;
    removed.leftovers.extend(gone);
    removed.leaks.extend(left);
    for (host, vm) in VmDir::list(ctx.dirs)? {
        if vm.is_alive() && !all && may_be_kept(&vm) {
            ctx.progress.note(&format!(
                "the VM of {host} was kept on purpose, or that cannot be seen, and stays; remove it with `boma-qemu down {host}`"
            ));
            continue;
        }
        removed.add(down_with(ctx, &host, NotOurs::Passed).await?);
    }
    removed.leaks.extend(networks(ctx, &mut removed.networks, NotOurs::Leak)?);
    Ok(removed)
}

/// Remove the templates that are half-made or stale.
fn templates(ctx: &Context<'_>, removed: &mut Removed) {
    let cleared = || {
        let used = super::template::disks_in_use(ctx.dirs)?;
        Ok::<_, Failure>(Shelf::of(ctx.dirs).clear(has_image(ctx.dirs)?, &used)?)
    };
    match cleared() {
        Ok((gone, left)) => {
            removed.leftovers.extend(gone);
            removed.leaks.extend(left);
        }
        Err(failure) => {
            let what = format!("templates in {}", Shelf::of(ctx.dirs).dir());
            removed.leaks.push(Leak { what, why: failure.to_string() });
        }
    }
}

/// Tells whether a golden image is still there, by what a template knows it by.
pub fn has_image(dirs: &Dirs) -> Result<impl Fn(&str) -> bool, Failure> {
    let listed = image::Cache::of(dirs).list()?;
    let sums: Vec<_> = listed.into_iter().filter_map(|one| one.record).map(|record| record.sha512).collect();
    Ok(move |digest: &str| match template::of_file(digest) {
        None => sums.iter().any(|sum| sum == digest),
        Some((path, stamp)) => image::Stamp::of(path).is_ok_and(|now| now == stamp),
    })
}

/// Whether somebody wants it to stay: what cannot be read might say so.
fn may_be_kept(vm: &VmDir) -> bool {
    let recorded = match Record::load(vm) {
        Ok(record) => record.kept,
        Err(e) => e.kind() != ErrorKind::NotFound,
    };
    recorded || !Presence::of(&vm.kept()).is_gone()
}

/// Remove what dead runs left behind, and nothing that is alive. What is not ours is in nobody's way.
pub fn sweep(ctx: &Context<'_>) -> Result<Removed, Failure> {
    let mut removed = Removed::default();
    for (host, vm) in VmDir::list(ctx.dirs)? {
        if !vm.presence().is_gone() {
            continue;
        }
        if let Whose::NotOurs(why) = folder::whose(vm.path()) {
            ctx.progress.note(&format!("{} is no VM of ours: {why}", vm.path()));
            continue;
        }
        let left = folder::remove(vm.path());
        if left.is_empty() {
            removed.vms.push(host);
        }
        removed.leaks.extend(left);
    }
    removed.leaks.extend(networks(ctx, &mut removed.networks, NotOurs::Noted)?);
    Ok(removed)
}

/// Remove the networks that no VM uses; refused while one does.
pub fn networks_only(ctx: &Context<'_>) -> Result<Removed, Failure> {
    let all = ctx.dirs.all()?;
    for dirs in &all {
        for (host, vm) in VmDir::list(dirs)? {
            match vm.presence() {
                Presence::Gone => {}
                Presence::There => {
                    return Err(Failure::new(Exit::Usage, format!("the VM of {host} uses the network"))
                        .next(format!("remove it with `boma-qemu down {host}`")));
                }
                Presence::Unknown(why) => {
                    return Err(super::guards::not_known(&format!("the VM of {host} uses the network"), &why));
                }
            }
        }
    }
    let mut removed = Removed::default();
    for dirs in &all {
        let ctx = Context { dirs, progress: ctx.progress };
        let leaks = networks(&ctx, &mut removed.networks, NotOurs::Leak)?;
        removed.leaks.extend(leaks);
    }
    Ok(removed)
}

/// Release the networks that no living VM uses.
fn networks(ctx: &Context<'_>, gone: &mut Vec<String>, not_ours: NotOurs) -> Result<Vec<Leak>, Failure> {
    let mut leaks = Vec::new();
    let names = NetDir::list(ctx.dirs)?;
    for (host, vm) in VmDir::list(ctx.dirs)? {
        match vm.presence() {
            Presence::Gone => {}
            Presence::There => return Ok(leaks),
            Presence::Unknown(why) => {
                let why = format!("the VM of {host} may still use it: {why}");
                let left = names.iter().map(|name| Leak { what: format!("network {name}"), why: why.clone() });
                return Ok(left.collect());
            }
        }
    }
    for name in names {
        let dir = NetDir::of(ctx.dirs, &name);
        // While its holder lives it is one, whatever has become of its ledger.
        if dir.presence().is_gone()
            && let Whose::NotOurs(why) = folder::whose(dir.path())
        {
            match not_ours {
                NotOurs::Noted => ctx.progress.note(&format!("{} is no network of ours: {why}", dir.path())),
                NotOurs::Passed => {}
                NotOurs::Leak => leaks.push(Leak { what: format!("folder {}", dir.path()), why }),
            }
            continue;
        }
        let left = network::release(ctx.dirs, &name)?;
        if left.is_empty() {
            gone.push(name.to_string());
        }
        leaks.extend(left);
    }
    Ok(leaks)
}
