//! Faults: what a script does to a machine that runs, beside whatever else goes on.

use super::run::Run;
use host::failure::Failure;
use vm::fault::{Brought, Fault, InForce, Site, bring, in_force};
use vm::monitor::events::read_all;

impl Run<'_> {
    /// Bring a fault, or undo one.
    pub async fn fault(&self, fault: Fault) -> Result<Brought, Failure> {
        let ssh = self.ssh()?;
        let mut site = Site { vm: &self.vm, ssh: &ssh, network: self.network()? };
        Ok(bring(fault, &mut site).await?)
    }

    /// Undo what is still in force: a machine that was brought back to its snapshot has no faults.
    pub(super) async fn undo_faults(&self) -> Result<(), Failure> {
        for InForce { fault, .. } in in_force(&read_all(&self.vm.events())?) {
            self.fault(fault.opposite()).await?;
        }
        Ok(())
    }
}
