//! Faults: what a script does to a machine that runs, beside whatever else goes on.

use host::failure::Failure;
use vm::fault::{self, Brought, Fault, InForce, Site, in_force};
use vm::handle::Vm;

/// Bring a fault, or undo one.
pub async fn bring(vm: &Vm, fault: Fault) -> Result<Brought, Failure> {
    let ssh = vm.ssh()?;
    let mut site = Site { vm: vm.dir(), ssh: &ssh, network: vm.network()? };
    Ok(fault::bring(fault, &mut site).await?)
}

/// Undo what is still in force: a machine that was brought back to its snapshot has no faults.
pub(super) async fn undo_all(vm: &Vm) -> Result<(), Failure> {
    for InForce { fault, .. } in in_force(&vm.events()?) {
        bring(vm, fault.opposite()).await?;
    }
    Ok(())
}
