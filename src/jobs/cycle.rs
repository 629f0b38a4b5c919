//! The main job: up, apply, check, reboot, check, down.

use super::Context;
use super::collect::keep_evidence;
use super::ends;
use super::passes::Wanted;
use super::run::Run;
use crate::plan::Plan;
use evidence::observe::{BrokenUnit, Policy};
use evidence::record::{Asked, Checks, Record, Step, WITHOUT};
use evidence::verdict::ALIVE;
use host::failure::{Exit, Failure};
use host::names::{HostName, SnapshotName};
use std::time::Duration;

/// What a cycle leaves out or leaves standing.
#[derive(Clone, Debug)]
pub struct Choices {
    /// Whether the VM stays.
    pub keep: Keep,
    /// Leave the reboot out.
    pub no_reboot: bool,
    /// What a loss of state across the reboot does to the run.
    pub findings: Policy,
    /// How long after the restart has settled the guest is looked at for the last time.
    pub watch_for: Duration,
    /// Leave the snapshot out: nobody will want to go back.
    pub no_snapshot: bool,
    /// Run the playbooks a second time, to see that they have nothing to do.
    pub idempotence: bool,
    /// Whether they are tried in check mode before the reboot and after it.
    pub check_mode: Wanted,
    /// What becomes of the end state.
    pub ends: ends::Wanted,
}

/// When a VM stays at the end of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Never: its evidence is what there is to look at.
    Never,
    /// Where something failed, to be looked at.
    #[default]
    Failed,
    /// Even if all passes.
    Always,
}

impl From<bool> for Keep {
    /// Whether it was asked for.
    fn from(asked: bool) -> Self {
        if asked { Self::Always } else { Self::Failed }
    }
}

impl Default for Choices {
    fn default() -> Self {
        let (keep, no_reboot, no_snapshot) = (Keep::default(), false, false);
        let (findings, check_mode) = (Policy::default(), Wanted::default());
        Self {
            keep,
            no_reboot,
            findings,
            watch_for: ALIVE,
            no_snapshot,
            idempotence: false,
            check_mode,
            ends: ends::Wanted::Nothing,
        }
    }
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
    let keep = choices.keep;
    let done = stages(&mut run, choices).await;
    run.close(done, keep, Asked::Verdict).await
}

/// The checks run before the reboot too: only what was green before it and is red after it was broken
/// by the reboot. What they find before it never ends the cycle, for a reboot can also repair. The state is looked at before the
/// checks, on both sides: what a check leaves behind is then nothing that the reboot has lost.
async fn stages(run: &mut Run<'_>, choices: Choices) -> Result<(), Failure> {
    run.judge_by(choices.findings, choices.watch_for);
    run.up().await?;
    run.apply().await?;
    if choices.idempotence {
        run.second_run().await?;
    }
    if !choices.no_snapshot {
        run.snapshot(&SnapshotName::applied()).await?;
    }
    if choices.no_reboot {
        run.check("assert", WITHOUT).await?;
        run.judge()?;
        return run.judge_idempotence();
    }
    let baseline = run.baseline(choices.check_mode).await?;
    let before = run.observe().await?;
    run.check("check", "before the reboot").await?;
    let (request, limit) = (run.plan().restart.clone(), run.plan().limit());
    let restart = run.reboot(&request, limit).await?;
    let since = run.judged_until(Some(&restart))?;
    run.undisturbed(since, Some(&restart), async |run| {
        let compared = run.compare(before).await?;
        run.check("assert", "after the reboot").await?;
        run.try_again(baseline).await?;
        run.seen_alive(&restart, compared).await
    })
    .await?;
    run.end_state(&choices.ends).await?;
    run.judge()?;
    run.judge_way()?;
    run.judge_state()?;
    run.judge_check_mode()?;
    run.judge_idempotence()?;
    run.judge_ends()
}

impl Run<'_> {
    /// The verdict on the last run of the checks: one that fails is red; where none looked there is no verdict.
    pub fn judge(&self) -> Result<(), Failure> {
        judge(self.record())
    }

    /// The end of every run: the evidence first, then the teardown. What is kept is a VM that runs:
    /// nothing else could be looked at.
    pub async fn close(mut self, done: Result<(), Failure>, keep: Keep, asked: Asked) -> Result<Outcome, Failure> {
        if let Err(failure) = &done {
            self.fail(failure);
        }
        keep_evidence(&self, done.is_err()).await;
        let host = self.plan().host.clone();
        let stays = match keep {
            Keep::Never => false,
            Keep::Failed => done.is_err(),
            Keep::Always => true,
        };
        if self.vm().dir().is_alive() && stays {
            if done.is_ok() {
                self.keep(Step::Kept);
            }
            return Ok(Outcome { record: self.conclude(&[], asked)?, kept: Some(host) });
        }
        self.vm().kept().hang_up();
        let (removed, phase) = super::down::phase(self.ctx(), &host).await?;
        self.keep(Step::Phase(phase));
        Ok(Outcome { record: self.conclude(&removed.leaks, asked)?, kept: None })
    }
}

fn judge(record: &Record) -> Result<(), Failure> {
    let unlooked = |why: &str| {
        Err(Failure::new(Exit::Lost, format!("no verdict on {}: {why}", record.host))
            .next("let `verify` have a check that looks at this host; ansible.log says what a playbook has skipped"))
    };
    let Some(last) = record.last_checks() else { return unlooked("no check has run") };
    let named: Vec<_> = last.failed().map(|check| format!("{} ({})", check.id, check.detail)).collect();
    match (named.is_empty(), last.looked()) {
        (true, 0) => return unlooked("none of its checks looked at anything"),
        (true, _) => return Ok(()),
        (false, _) => {}
    }
    Err(led_by(Failure::new(Exit::Verify, failed(last, &named)), record))
}

fn failed(last: &Checks, named: &[String]) -> String {
    format!("{} of {} checks failed {}: {}", named.len(), last.checks.len(), last.when, named.join("; "))
}

/// A unit that broke across the reboot is told first, in its own words: what the checks and the other findings saw is
/// mostly what came of it.
pub(super) fn led_by(failure: Failure, record: &Record) -> Failure {
    match record.state.as_ref().and_then(|state| state.broken.first()) {
        Some(unit) => failure.during(broken(unit)),
        None => failure,
    }
}

fn broken(unit: &BrokenUnit) -> String {
    match unit.words.is_empty() {
        true => unit.what.clone(),
        false => format!("{}; its last words: {}", unit.what, unit.words.join(" | ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::playbook::checks::Check;
    use evidence::testing::restart;
    use evidence::verdict::{Kind, Unproved};

    fn check(id: &str, ok: bool, hint: bool) -> Check {
        Check { id: id.into(), ok, hint, detail: "d".into(), looked: true }
    }

    fn checks(when: &str, checks: &[Check]) -> Checks {
        Checks { when: when.into(), checks: checks.to_vec() }
    }

    fn record() -> Record {
        let text = include_str!("../../tests/fixtures/record.json").replace("\"schema\": 1", "\"schema\": 2");
        let mut record: Record = serde_json::from_str(&text).unwrap();
        record.begin_command();
        record.applied = Some(true);
        record
    }

    /// Checks before a proved reboot, and after it.
    fn across(before: &[Check], after: &[Check]) -> Record {
        let mut record = record();
        record.checks.push(checks("before the reboot", before));
        record.changed(Unproved::Restarting);
        record.proved(restart());
        record.checks.push(checks("after the reboot", after));
        record
    }

    #[test]
    fn a_check_that_did_not_look_any_more_is_red() {
        let gone = Check::did_not_look("b", "did not look (it was ok before the reboot)");
        let record =
            across(&[check("a", true, false), check("b", true, false)], &[check("a", true, false), gone.clone()]);
        let failure = judge(&record).unwrap_err();
        assert_eq!(failure.exit, Exit::Verify);
        assert!(failure.to_string().contains("1 of 2 checks failed after the reboot: b (did not look"), "{failure}");
        let all_gone = across(&[check("b", true, false)], &[gone]);
        assert_eq!(judge(&all_gone).unwrap_err().exit, Exit::Verify, "red, and not without a verdict");
    }

    #[test]
    fn where_no_check_looked_there_is_no_verdict() {
        for (before, after) in [(vec![], vec![]), (vec![check("h", true, true)], vec![check("h", false, true)])] {
            assert_eq!(judge(&across(&before, &after)).unwrap_err().exit, Exit::Lost);
        }
        assert_eq!(judge(&record()).unwrap_err().exit, Exit::Lost);
        judge(&across(&[], &[check("a", true, false)])).unwrap();
    }

    #[test]
    fn a_unit_that_broke_is_told_before_the_checks_that_saw_what_came_of_it() {
        let mut record = across(&[check("port", true, false)], &[check("port", false, false)]);
        let unit = BrokenUnit {
            unit: "docker.service".into(),
            what: "docker.service was active (running) and has failed".into(),
            words: vec!["unable to configure the Docker daemon".into()],
        };
        record.state = Some(crate::jobs::observe::across_for_tests(vec![], vec![unit]));
        let failure = judge(&record).unwrap_err();
        assert!(failure.chain[0].starts_with("docker.service was active (running) and has failed; its last words: un"));
        assert!(failure.chain[1].starts_with("1 of 1 checks failed"), "{failure}");
    }

    #[test]
    fn an_apply_takes_the_proof_and_the_checks_out_of_the_verdict() {
        let mut record = across(&[check("a", true, false)], &[check("a", true, false)]);
        record.alive_s = Some(60.0);
        record.state = Some(crate::jobs::observe::across_for_tests(vec![], vec![]));
        record.conclude(Asked::Verdict);
        assert_eq!((record.verdict().kind(), record.exit), (Kind::Passed, Some(Exit::Passed)));
        record.begin_command();
        assert_eq!((record.verdict().kind(), record.exit), (Kind::Unfinished, None));
        record.changed(Unproved::Applied);
        assert!(record.reboot.is_none() && record.state.is_none() && record.via.is_none());
        record.conclude(Asked::Step);
        assert_eq!((record.verdict().kind(), record.exit), (Kind::Unfinished, Some(Exit::Passed)));
        record.begin_command();
        // The role has one check less now: that is no check that was skipped after a reboot.
        record.checks.push(checks("before the reboot", &[check("b", true, false)]));
        judge(&record).unwrap();
        record.conclude(Asked::Verdict);
        assert_eq!((record.verdict().kind(), record.exit), (Kind::NotRebooted, Some(Exit::Passed)));
        let text = serde_json::to_value(&record).unwrap();
        assert_eq!(
            (&text["verdict"]["kind"], &text["verdict"]["why"]["changed"]),
            (&"not-rebooted".into(), &"applied".into())
        );
        assert!(text["reboot"].is_null());
        // A restart brings the proof back.
        record.begin_command();
        record.changed(Unproved::Restarting);
        record.proved(restart());
        record.state = Some(crate::jobs::observe::across_for_tests(vec![], vec![]));
        record.checks.push(checks("after the reboot", &[check("b", true, false)]));
        record.alive_s = Some(31.0);
        record.conclude(Asked::Verdict);
        assert_eq!(record.verdict().kind(), Kind::Passed);
    }

    #[test]
    fn a_restart_that_was_asked_for_and_is_not_proved_leaves_no_proof() {
        let mut record = across(&[check("a", true, false)], &[check("a", true, false)]);
        record.changed(Unproved::Restarting);
        record.conclude(Asked::Verdict);
        assert_eq!((record.verdict().kind(), record.exit), (Kind::Unfinished, Some(Exit::Lost)));
    }

    #[test]
    fn a_leak_makes_no_red_run_green_and_no_green_one_passed() {
        let mut record = record();
        record.checks.push(checks(WITHOUT, &[check("a", true, false)]));
        record.leaked(&[host::ledger::Leak { what: "tap".into(), why: "busy".into() }]);
        record.conclude(Asked::Verdict);
        assert_eq!(record.exit, Some(Exit::Leaked));
        record.fail(&Failure::new(Exit::Verify, "no"));
        record.conclude(Asked::Verdict);
        assert_eq!(record.exit, Some(Exit::Verify));
    }
}
