//! Switching on, and waiting until the guest is ready.

use super::run::Run;
use host::deadline::Deadline;
use host::dirs::write_private;
use host::failpoint;
use host::failure::{Blame, Exit, Failure};
use std::time::Duration;
use vm::access::{self, When};
use vm::monitor::{self, Client, MonitorError};
use vm::network::{NetDir, lease};
use vm::qemu::Accel;
use vm::qemu::accel::Wanted;
use vm::ready;
use vm::wait::{WaitError, Watch};

/// A guest under KVM that has asked for no address by then never will.
const KVM_LIMIT: Duration = Duration::from_secs(90);

impl Run<'_> {
    /// Start the monitor, which starts QEMU, and wait until the guest is ready.
    pub(super) async fn boot(&mut self) -> Result<((), String), Failure> {
        let net = self.network()?;
        let exe = host::process::own_exe()
            .map_err(|e| Failure::new(Exit::Host, format!("cannot find this program again: {e}")))?;
        match monitor::spawn(&exe, &net.enter_as_monitor(), &self.vm) {
            Err(MonitorError::Start(error)) if self.may_fall_back() => self.fall_back(&error.to_string()).await?,
            other => drop(other?),
        }
        failpoint::reached(failpoint::Point::Phase("switched on"));
        let deadline = Deadline::after(Duration::from_secs(self.plan.options.timeout_s));
        let mut watch = Watch::since(&self.vm, 0)?;
        let lease = match self.lease(&mut watch, &deadline).await {
            Err(error) if error.may_be_kvm() && self.may_fall_back() => {
                self.fall_back(&error.to_string()).await?;
                watch = self.watch()?;
                self.lease(&mut watch, &deadline).await?
            }
            other => other?,
        };
        self.ctx.progress.trace(&format!("lease {}; waiting for ssh", lease.ip));
        let ssh = self.ssh()?;
        let session = access::login(&self.vm, &ssh, When::Booting, &mut watch, &deadline).await.map_err(|error| {
            // Nothing was changed in it yet: that nobody can log in is the image's or the harness's doing.
            let exit = error.exit();
            let failure = Failure::from(error);
            if exit == Exit::Verify { Failure { exit: Exit::Lost, ..failure } } else { failure }
        })?;
        let (session, settled) = ready::settle(&ssh, session, &mut watch, &deadline).await?;
        self.look_at_boot(&session).await;
        if !settled.failed_units.is_empty() {
            self.ctx
                .progress
                .note(&format!("units that failed in the fresh guest: {}", settled.failed_units.join(" ")));
        }
        Ok(((), format!("{} at {}, {}", self.plan.machine.accel, lease.ip, settled.system)))
    }

    async fn lease(&self, watch: &mut Watch, deadline: &Deadline) -> Result<lease::Lease, WaitError> {
        let limit = match self.plan.machine.accel {
            Accel::Kvm => KVM_LIMIT,
            Accel::Tcg => deadline.left(),
        };
        let (path, mac) = (NetDir::of(self.ctx.dirs, &self.plan.net.name).leases(), self.plan.net.vm.mac.clone());
        let what = format!("a DHCP lease for {mac}");
        let leased = async || Ok(lease::wait_for_lease(&path, &mac).await);
        watch.until(&what, &deadline.within(limit), leased).await
    }

    fn may_fall_back(&self) -> bool {
        self.plan.machine.accel == Accel::Kvm && self.plan.options.accel == Wanted::Auto
    }

    /// KVM looked as if it worked and does not: say so loudly, and start the same machine under TCG.
    async fn fall_back(&mut self, why: &str) -> Result<(), Failure> {
        let said = format!("KVM does not work here ({why}); starting again under emulation, which is slower");
        self.ctx.progress.note(&said);
        self.plan.machine.accel = Accel::Tcg;
        self.plan.accel_why = "KVM was tried and failed".into();
        self.record.made_of.accel = format!("{} ({})", self.plan.machine.accel, self.plan.accel_why);
        // What is shown of the machine from now on, by whatever command, is the one that runs.
        self.plan.machine.save(&self.vm.machine())?;
        write_private(&self.vm.plan(), super::up::json(&self.plan))?;
        self.record.save(&self.vm)?;
        Client::new(&self.vm).power_cycle().await?;
        Ok(())
    }
}
