//! The reboot stage.

use super::run::Run;
use super::timeline;
use evidence::record::Step;
use evidence::verdict::Unproved;
use host::failure::Failure;
use std::time::Duration;
use vm::reboot::{self, Proof, Request, Restart};

impl Run<'_> {
    /// Restart the machine as asked, each part within `limit`, and keep the proof.
    pub async fn reboot(&mut self, request: &Request, limit: Duration) -> Result<Restart, Failure> {
        self.changes(Unproved::Restarting)?;
        self.keep(Step::Via(request.mode));
        let restart = self.phase("reboot", async |run| {
            let restart = reboot::run(run.vm().dir(), (&run.vm().ssh()?, run.vm().kept()), request, limit).await?;
            let said = said(&restart);
            Ok((restart, said))
        });
        let restart = restart.await?;
        self.keep(Step::Proved(Box::new(restart.clone())));
        // It has settled; from here on a restart is another one.
        let since = self.judged_until(Some(&restart))?;
        let session = self.undisturbed(since, Some(&restart), async |run| run.way_after_reboot().await).await?;
        let seen = timeline::look(self, &session).await;
        self.keep(Step::Boot(seen));
        Ok(restart)
    }
}

/// A restart in one line.
fn said(restart: &Restart) -> String {
    let expected: Vec<_> = restart.evidence.iter().filter(|seen| !seen.firmware).map(ToString::to_string).collect();
    let proof = match &restart.proof {
        Proof::Reboot(proof) => {
            format!("boot id {} -> {}", &proof.before().as_str()[..8], &proof.after().as_str()[..8])
        }
        Proof::SoftReboot(proof) => {
            format!("no reboot: boot id still {}, soft reboots {}", &proof.boot_id().as_str()[..8], proof.count())
        }
    };
    let expected = if expected.is_empty() { "no RESET".to_owned() } else { expected.join(", ") };
    let settled = &restart.settled;
    format!("{}: {expected}, {proof}, settled: {}, {}", restart.mode, settled.system, settled.units())
}
