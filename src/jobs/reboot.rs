//! The reboot stage.

use super::run::Run;
use crate::failure::Failure;
use std::time::Duration;

/// The longest that a reboot may take, from asking until the new boot has settled.
const LIMIT: Duration = Duration::from_secs(600);

impl Run<'_> {
    /// Reboot the guest and keep the proof.
    pub async fn reboot(&mut self) -> Result<(), Failure> {
        self.phase("reboot", async |run| {
            let ssh = run.ssh()?;
            let proof = crate::reboot::guest(&run.vm, &ssh, LIMIT).await?;
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
        .await
    }
}
