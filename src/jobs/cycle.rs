//! The main job: up, apply, check, reboot, check, down.

use super::Context;
use super::run::Run;
use crate::failure::{Exit, Failure};
use crate::jobs::record::Record;
use crate::names::HostName;
use crate::plan::Plan;

/// What a cycle leaves out or leaves standing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choices {
    /// Keep the VM even if all passes.
    pub keep: bool,
    /// Leave the reboot out.
    pub no_reboot: bool,
    /// A loss of state across the reboot fails the run.
    pub strict: bool,
    /// Leave the snapshot out: nobody will want to go back.
    pub no_snapshot: bool,
}

/// How a cycle ended: its record says what happened, and the VM may still be there.
#[derive(Debug)]
pub struct Outcome {
    /// What was done and seen.
    pub record: Record,
    /// The VM that was kept, to be looked at.
    pub kept: Option<HostName>,
}

/// Run the whole cycle. The error is for what went wrong before there was a run; whatever comes later
/// is in the record.
pub async fn cycle(ctx: Context<'_>, plan: Plan, choices: Choices, command: &str) -> Result<Outcome, Failure> {
    let mut run = Run::begin(ctx, plan, command)?;
    let done = stages(&mut run, choices).await;
    if let Err(failure) = &done {
        run.record.fail(failure);
    }
    run.close(done.is_err(), choices.keep).await
}

/// The checks run before the reboot too: only what was green before it and is red after it was broken
/// by the reboot. What they find before it never ends the cycle, for a reboot can also mend.
async fn stages(run: &mut Run<'_>, choices: Choices) -> Result<(), Failure> {
    run.up().await?;
    run.apply().await?;
    if !choices.no_snapshot {
        run.snapshot().await?;
    }
    if choices.no_reboot {
        run.check("assert", "without a reboot").await?;
        return run.judge();
    }
    run.check("check", "before the reboot").await?;
    let before = run.observe().await?;
    run.reboot().await?;
    run.compare(before).await?;
    run.check("assert", "after the reboot").await?;
    run.judge()?;
    run.judge_way()?;
    if choices.strict { run.judge_state() } else { Ok(()) }
}

impl Run<'_> {
    /// The verdict on the last run of the checks.
    pub fn judge(&self) -> Result<(), Failure> {
        let Some(last) = self.record.last_checks() else { return Ok(()) };
        let failed: Vec<_> = last.failed().collect();
        if failed.is_empty() {
            return Ok(());
        }
        let named: Vec<_> = failed.iter().map(|check| format!("{} ({})", check.id, check.detail)).collect();
        let what =
            format!("{} of {} checks failed {}: {}", failed.len(), last.checks.len(), last.when, named.join("; "));
        Err(Failure::new(Exit::Verify, what))
    }

    /// The end of every run: the evidence first, then the teardown. What is kept is a VM that runs:
    /// nothing else could be looked at.
    pub async fn close(mut self, failed: bool, keep: bool) -> Result<Outcome, Failure> {
        self.keep_evidence(failed).await;
        let kept = match self.vm.is_alive() && (failed || keep) {
            true => {
                self.record.kept |= !failed;
                Some(self.plan.host.clone())
            }
            false => {
                self.take_down().await?;
                None
            }
        };
        self.publish()?;
        Ok(Outcome { record: self.record, kept })
    }

    async fn take_down(&mut self) -> Result<(), Failure> {
        let (removed, phase) = super::down::phase(&self.ctx, &self.plan.host).await?;
        self.record.phases.push(phase);
        self.record.leaked(&removed.leaks);
        Ok(())
    }
}
