//! Switching on, and waiting until the guest is ready.

use super::bring_up::{fall_back, may_fall_back, own_exe, switch_on};
use super::run::Run;
use super::timeline;
use evidence::record::BootSeen;
use host::deadline::Deadline;
use host::failpoint;
use host::failure::{Blame, Exit, Failure};
use host::promise::Promise;
use std::time::Duration;
use vm::access::{self, When};
use vm::handle::Vm;
use vm::network::lease;
use vm::qemu::{Accel, Machine};
use vm::ready;
use vm::wait::{WaitError, Watch};

/// A guest under KVM that has asked for no address by then never will.
const KVM_LIMIT: Duration = Duration::from_secs(90);

/// Start the monitor, which starts QEMU, and wait until the guest is ready. `machine` is what runs then.
pub(super) async fn boot(
    run: &Run<'_>,
    machine: &mut Machine,
    promise: &Promise,
) -> Result<(BootSeen, String), Failure> {
    let (vm, progress, wanted) = (run.vm(), run.progress(), run.plan().options.accel);
    let enter = vm.network()?.enter_as_monitor();
    switch_on(&own_exe()?, &enter, vm.dir(), machine, wanted, promise, progress).await?;
    failpoint::reached(failpoint::Point::Phase("switched on"));
    let deadline = Deadline::after(run.plan().limit());
    let mut watch = Watch::since(vm.dir(), 0)?;
    let leased = match leased(vm, machine.accel, &mut watch, &deadline).await {
        Err(error) if error.may_be_kvm() && may_fall_back(machine, wanted) => {
            fall_back(vm.dir(), machine, &error.to_string(), progress).await?;
            watch = vm.watch()?;
            leased(vm, machine.accel, &mut watch, &deadline).await?
        }
        other => other?,
    };
    progress.trace(&format!("lease {}; waiting for ssh", leased.ip));
    let ssh = vm.ssh()?;
    let session = access::login(vm.dir(), &ssh, When::Booting, &mut watch, &deadline).await.map_err(|error| {
        // Nothing was changed in it yet: that nobody can log in is the image's or the harness's doing.
        let exit = error.exit();
        let failure = Failure::from(error);
        if exit == Exit::Verify { Failure { exit: Exit::Lost, ..failure } } else { failure }
    })?;
    let (session, settled) = ready::settle(&ssh, session, &mut watch, &deadline).await?;
    let seen = timeline::look(run, &vm.kept().share(session)).await;
    if !settled.failed_units.is_empty() {
        progress.note(&format!("units that failed in the fresh guest: {}", settled.failed_units.join(" ")));
    }
    Ok((seen, format!("{} at {}, {}", machine.accel, leased.ip, settled.system)))
}

async fn leased(vm: &Vm, accel: Accel, watch: &mut Watch, deadline: &Deadline) -> Result<lease::Lease, WaitError> {
    let limit = match accel {
        Accel::Kvm => KVM_LIMIT,
        Accel::Tcg => deadline.left(),
    };
    let (path, mac) = (vm.leases(), &vm.end().mac);
    let leased = async || Ok(lease::wait_for_lease(&path, mac).await);
    watch.until(&format!("a DHCP lease for {mac}"), &deadline.within(limit), leased).await
}
