//! The snapshot stage, and the way back to it.

use super::run::{Run, alive};
use evidence::record::Record;
use evidence::verdict::Unproved;
use host::deadline::Deadline;
use host::dirs::Dirs;
use host::failure::{Exit, Failure};
use host::names::HostName;
use std::time::Duration;
use vm::machine::VmDir;
use vm::monitor::Client;
use vm::network::{NetDir, lease};
use vm::snapshot::{self, Restore, Taken};

/// How long a snapshot may take; 2 s on an idle machine.
const SAVE_LIMIT: Duration = Duration::from_secs(180);
/// How long a restored guest may take to renew its lease.
const LEASE_LIMIT: Duration = Duration::from_secs(60);

/// Refuse to go back where there is nothing to go back to, before anything is done.
pub fn wanted(dirs: &Dirs, host: &HostName) -> Result<(), Failure> {
    let vm = VmDir::of(dirs, host);
    alive(&vm, host)?;
    Taken::load(&vm)?;
    Ok(())
}

impl Run<'_> {
    /// Take the snapshot of the machine as it is after `apply`, with the record of this moment.
    pub async fn snapshot(&mut self) -> Result<(), Failure> {
        self.phase("snapshot", async |run| {
            let taken = snapshot::save(&run.vm, &run.ssh()?, run.plan.net.vm.ip, SAVE_LIMIT).await?;
            run.record.save_applied(&run.vm)?;
            run.keep_applied_ways()?;
            if taken.open_connections > 0 {
                let n = taken.open_connections;
                run.ctx.progress.note(&format!("{n} ssh connections were open in the snapshot; `reset` ends them"));
            }
            Ok(((), format!("{} in the middle of boot {}", taken.name, &taken.boot_id.as_str()[..8])))
        })
        .await
    }

    /// What was applied without a snapshot: an older one is not of this state.
    pub async fn discard_snapshot(&self) -> Result<(), Failure> {
        Ok(snapshot::discard(&self.vm, &Client::new(&self.vm)).await?)
    }

    /// Bring the machine back to the snapshot, and the record to what it was then.
    pub async fn restore(&mut self) -> Result<Restore, Failure> {
        let limit = Duration::from_secs(self.plan.options.timeout_s);
        self.phase("restore", async |run| {
            run.back_to_applied_ways()?;
            run.changes(Unproved::Restored)?;
            let restore = snapshot::restore(&run.vm, &run.ssh()?, limit).await?;
            run.undo_faults().await?;
            run.renew_lease().await?;
            let damaged = |e| Failure::new(Exit::Lost, format!("the record of the snapshot cannot be read: {e}"));
            run.record.back_to(Record::load_applied(&run.vm).map_err(damaged)?);
            let said = format!(
                "{} of {}, boot id {} unchanged, the nonce is back, clock {:.1} s late and put right, ssh after {:.1} s",
                restore.snapshot.name,
                restore.snapshot.at,
                &restore.boot_id.as_str()[..8],
                -restore.clock_before_s,
                restore.ssh_s
            );
            Ok((restore, said))
        })
        .await
    }

    /// The guest remembers its lease and the DHCP server may not: it can have run out, or have been given
    /// back in the time that was undone.
    async fn renew_lease(&self) -> Result<(), Failure> {
        let (path, vm) = (NetDir::of(self.ctx.dirs, &self.plan.net.name).leases(), &self.plan.net.vm);
        if lease::find(&path, &vm.mac).is_some_and(|lease| lease.ip == vm.ip) {
            return Ok(());
        }
        let session = self.ssh()?.session(LEASE_LIMIT).await?;
        let device = format!("$(grep -l {} /sys/class/net/*/address | cut -d/ -f5)", vm.mac);
        session.must(&format!("sudo -n networkctl renew {device}"), LEASE_LIMIT).await?;
        let what = format!("the restored guest to renew its lease of {}", vm.ip);
        let leased = async || Ok(lease::wait_for_lease(&path, &vm.mac).await);
        self.watch()?.until(&what, &Deadline::after(LEASE_LIMIT), leased).await?;
        Ok(())
    }
}
