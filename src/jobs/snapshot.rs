//! The snapshot stage, and the way back to it.

use super::run::Run;
use super::target::{Target, alive};
use super::{fault, way};
use crate::plan::Plan;
use camino::Utf8PathBuf;
use evidence::record::Record;
use evidence::verdict::Unproved;
use host::deadline::Deadline;
use host::dirs::Dirs;
use host::failure::{Exit, Failure};
use host::names::{HostName, SnapshotName};
use std::time::Duration;
use vm::handle::Vm;
use vm::machine::VmDir;
use vm::network::lease;
use vm::snapshot::{self, Restore, SnapshotError, Taken};

/// How long a snapshot may take; 2 s on an idle machine.
const SAVE_LIMIT: Duration = Duration::from_secs(180);
/// How long a guest that goes on after a snapshot may take to let the harness in.
const LOGIN: Duration = Duration::from_secs(60);
/// How long a restored guest may take to renew its lease.
const LEASE_LIMIT: Duration = Duration::from_secs(60);

/// Refuse to go back where there is nothing to go back to, before anything is done.
pub fn wanted(dirs: &Dirs, host: &HostName, name: &SnapshotName) -> Result<(), Failure> {
    let vm = VmDir::of(dirs, host);
    alive(&vm, host)?;
    Taken::load(&vm, name)?;
    Ok(())
}

/// Refuse to take a snapshot by a name that is another's.
pub fn free(dirs: &Dirs, host: &HostName, name: &SnapshotName) -> Result<(), Failure> {
    let vm = VmDir::of(dirs, host);
    alive(&vm, host)?;
    if *name == SnapshotName::applied() {
        return Err(Failure::new(Exit::Usage, format!("the snapshot {name} is the one that `apply` takes"))
            .next("choose another name"));
    }
    match Taken::load(&vm, name) {
        Ok(Taken { name, at, .. }) => Err(SnapshotError::Exists { name, at }.into()),
        Err(SnapshotError::None { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Run<'_> {
    /// Take a snapshot of the machine as it is now, with the record of this moment; an older one of that name goes.
    pub async fn snapshot(&mut self, name: &SnapshotName) -> Result<(), Failure> {
        self.phase("snapshot", async |run| {
            let vm = run.vm();
            let taken = snapshot::save(vm.dir(), name, (&vm.ssh()?, vm.kept()), vm.end().ip, SAVE_LIMIT).await?;
            // That the guest goes on is a part of it.
            vm.session(LOGIN).await?;
            run.record().save_with(vm.dir(), name)?;
            way::keep_with(vm.dir(), name)?;
            keep_plan(run.target(), name)?;
            if taken.open_connections > 0 {
                let n = taken.open_connections;
                run.progress().note(&format!("{n} ssh connections were open in the snapshot; `reset` ends them"));
            }
            Ok(((), format!("{} in the middle of boot {}", taken.name, &taken.boot_id.as_str()[..8])))
        })
        .await
    }

    /// Remove a snapshot. After an `apply` without one an older one is not of this state.
    pub async fn discard_snapshot(&self, name: &SnapshotName) -> Result<(), Failure> {
        Ok(snapshot::discard(self.vm().dir(), name, &self.vm().client()).await?)
    }

    /// Bring the machine back to a snapshot, and the record to what it was then.
    pub async fn restore(&mut self, name: &SnapshotName, limit: Duration) -> Result<Restore, Failure> {
        // The proof ends first: a command that is killed in between must not leave it behind.
        self.changes(Unproved::Restored)?;
        let (restore, then, plan) = self
            .phase("restore", async |run| {
                let vm = run.vm();
                way::back_to(run.target(), name)?;
                let plan = back_to_plan(run.target(), name)?;
                let restore = snapshot::restore(vm.dir(), name, &vm.ssh()?, limit).await?;
                fault::undo_all(vm).await?;
                renew_lease(vm).await?;
                let damaged = |e| Failure::new(Exit::Lost, format!("the record of the snapshot cannot be read: {e}"));
                let then = Record::load_with(vm.dir(), name).map_err(damaged)?;
                let said = told(&restore);
                Ok(((restore, then, plan), said))
            })
            .await?;
        self.back_to(then, plan);
        Ok(restore)
    }
}

/// What a state was made by, and where it is kept with a snapshot: the plan, and the inventory that Ansible was given.
fn made_by(target: &Target<'_>, snapshot: &SnapshotName) -> [(Utf8PathBuf, Utf8PathBuf); 2] {
    let inventory = target.plan.controller(target.dirs).folder.inventory();
    let kept = target.vm.dir().snapshot(snapshot);
    [(target.vm.dir().plan(), kept.join("plan.json")), (inventory, kept.join("inventory.json"))]
}

fn keep_plan(target: &Target<'_>, snapshot: &SnapshotName) -> Result<(), Failure> {
    made_by(target, snapshot).iter().try_for_each(|(now, kept)| way::copied(now, kept))
}

/// The plan by which the state of the snapshot was made holds again: an `apply` since may have brought another.
fn back_to_plan(target: &Target<'_>, snapshot: &SnapshotName) -> Result<Plan, Failure> {
    made_by(target, snapshot).iter().try_for_each(|(now, kept)| way::copied(kept, now))?;
    Target::plan_of(target.vm.dir(), target.vm.host())
}

/// A restore in one line.
fn told(restore: &Restore) -> String {
    format!(
        "{} of {}, boot id {} unchanged, the nonce is back, clock {:.1} s late and put right, ssh after {:.1} s",
        restore.snapshot.name,
        restore.snapshot.at,
        &restore.boot_id.as_str()[..8],
        -restore.clock_before_s,
        restore.ssh_s
    )
}

/// The guest remembers its lease and the DHCP server may not: it can have run out, or have been given
/// back in the time that was undone.
async fn renew_lease(vm: &Vm) -> Result<(), Failure> {
    let (path, end) = (vm.leases(), vm.end());
    if lease::find(&path, &end.mac).is_some_and(|lease| lease.ip == end.ip) {
        return Ok(());
    }
    let session = vm.ssh()?.session(LEASE_LIMIT).await?;
    let device = format!("$(grep -l {} /sys/class/net/*/address | cut -d/ -f5)", end.mac);
    session.must(&format!("sudo -n networkctl renew {device}"), LEASE_LIMIT).await?;
    let what = format!("the restored guest to renew its lease of {}", end.ip);
    let leased = async || Ok(lease::wait_for_lease(&path, &end.mac).await);
    vm.watch()?.until(&what, &Deadline::after(LEASE_LIMIT), leased).await?;
    Ok(())
}
