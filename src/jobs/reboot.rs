//! The reboot stage.

use super::run::Run;
use crate::failure::Failure;
use std::time::Duration;

impl Run<'_> {
    /// Reboot the guest within the plan's time limit, and keep the proof.
    pub async fn reboot(&mut self) -> Result<(), Failure> {
        self.phase("reboot", async |run| {
            let ssh = run.ssh()?;
            let limit = Duration::from_secs(run.plan.options.timeout_s);
            let proof = crate::reboot::guest(&run.vm, &ssh, limit).await?;
            let said = format!(
                "RESET {}, boot id {} -> {}, settled: {}",
                proof.reset_reason,
                &proof.boot_id_before.as_str()[..8],
                &proof.boot_id_after.as_str()[..8],
                proof.settled.system
            );
            run.record.reboot = Some(proof);
            Ok(((), said))
        })
        .await?;
        self.look_at_new_boot().await;
        Ok(())
    }
}
