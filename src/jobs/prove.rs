//! The proof that the harness sees what it exists to see: a red case that must fail, then a green one
//! that must pass.
//!
//! Red counts only for the right reason: the checks that the profile names, and no others, must have
//! been green before the reboot and red after it, in the same run.

use super::Context;
use super::cycle::{Choices, Outcome, cycle};
use super::passes::Wanted;
use crate::ansible::UserVars;
use crate::plan::Plan;
use crate::profile::Red;
use evidence::record::{Record, Step};
use host::failure::{Blame, Exit, Failure};
use host::names::HostName;
use vm::machine::VmDir;

/// Why nothing is proved.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The profile has no red case.
    #[error("the profile of {host} names no red case")]
    NoRed {
        /// The host.
        host: HostName,
    },
    /// The red case passed.
    #[error("the harness is not faithful: the red case passed")]
    RedPassed,
    /// The red case failed, but not as it has to.
    #[error("the harness is not faithful: the red case failed for another reason: {why}")]
    OtherReason {
        /// What is different.
        why: String,
    },
}

impl Blame for ProveError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoRed { .. } => Exit::Usage,
            Self::RedPassed | Self::OtherReason { .. } => Exit::Unfaithful,
        }
    }
    fn next(&self) -> Option<String> {
        Some(match self {
            Self::NoRed { .. } => "add `red` to the profile: an overlay that brings a known fault back, and the checks that see it".into(),
            Self::RedPassed => "the overlay no longer brings the fault back, or the checks no longer see it: trust no green until this is mended".into(),
            Self::OtherReason { .. } => "compare the checks before and after the reboot in the evidence with `red.fails` in the profile".into(),
        })
    }
}

/// Both cases of a proof.
#[derive(Debug)]
pub struct Proof {
    /// The red case.
    pub red: Outcome,
    /// The green case, if it came to it.
    pub green: Option<Outcome>,
    /// Why nothing is proved, if so.
    pub failure: Option<Failure>,
}

/// Run the red case, then the green one. `plan` makes the plan of a case from its extra variables.
pub async fn prove(
    ctx: Context<'_>,
    host: &HostName,
    keep: bool,
    plan: impl Fn(Vec<UserVars>) -> Result<Plan, Failure>,
    told: impl Fn(&str, &Outcome),
) -> Result<Proof, Failure> {
    let green_plan = plan(Vec::new())?;
    let red = green_plan.profile.red.clone().ok_or_else(|| ProveError::NoRed { host: host.clone() })?;
    let overlay = UserVars::File(ctx.dirs.root.join(&red.overrides));
    let red_plan = plan(vec![overlay])?;
    // Both cases are about the checks: what else the playbooks could say is for `cycle`.
    let choices = Choices { no_snapshot: true, check_mode: Wanted::Never, ..Choices::default() };

    let mut outcome = cycle(ctx, red_plan, choices, &format!("prove {host}, the red case")).await?;
    told("red", &outcome);
    if let Err(failure) = judge_red(&outcome.record, &red) {
        return Ok(Proof { red: outcome, green: None, failure: Some(failure) });
    }
    // It failed as it must, so there is nothing to look at, and the green case needs the place.
    let removed = super::down::down(&ctx, host).await?;
    outcome.record.leaked(&removed.leaks);
    let choices = Choices { keep: keep.into(), no_snapshot: !keep, check_mode: Wanted::Never, ..Choices::default() };
    let mut green = cycle(ctx, green_plan, choices, &format!("prove {host}, the green case")).await?;
    green.record.add(Step::NeverRed(never_red(&outcome.record, &green.record)));
    publish_again(&ctx, &green)?;
    told("green", &green);
    let leaks: Vec<_> = outcome.record.leaks.iter().chain(&green.record.leaks).map(|leak| leak.what.as_str()).collect();
    let leaked =
        || Failure::new(Exit::Leaked, format!("both cases went as they must, but left behind: {}", leaks.join(", ")));
    let failure = green.record.failure.clone().or_else(|| (!leaks.is_empty()).then(leaked));
    Ok(Proof { red: outcome, green: Some(green), failure })
}

/// The checks that no run of either case has seen red: nobody knows whether they can be.
fn never_red(red: &Record, green: &Record) -> Vec<String> {
    let runs = || red.checks.iter().chain(&green.checks).flat_map(|run| &run.checks);
    let mut never: Vec<String> = Vec::new();
    for check in runs().filter(|check| !check.hint) {
        // What did not look was not seen red.
        let seen = runs().any(|other| other.id == check.id && other.is_red() && other.looked);
        if !seen && !never.contains(&check.id) {
            never.push(check.id.clone());
        }
    }
    never
}

/// Keep what is known of a case only now.
fn publish_again(ctx: &Context<'_>, case: &Outcome) -> Result<(), Failure> {
    if let Some(host) = &case.kept {
        case.record.save(&VmDir::of(ctx.dirs, host))?;
    }
    Ok(evidence::page::publish(&case.record)?)
}

/// Whether the red case failed as it has to. A run that never reached its checks is its own failure.
fn judge_red(record: &Record, red: &Red) -> Result<(), Failure> {
    match &record.failure {
        None => return Err(ProveError::RedPassed.into()),
        Some(failure) if failure.exit == Exit::Verify => {}
        Some(failure) => return Err(failure.clone().during("the red case did not get to its checks")),
    }
    match reason(record, red) {
        None => Ok(()),
        Some(why) => Err(ProveError::OtherReason { why }.into()),
    }
}

/// A check that held; what the run failed for in its place.
fn still_held(record: &Record, id: &str) -> String {
    let failed = record.failure.iter().flat_map(|failure| failure.chain.first());
    let failed: Vec<_> = failed.map(|first| format!("; it failed for this: {first}")).collect();
    format!("{id} still held after the reboot{}", failed.concat())
}

/// What is different from what must be. What the fault has lost of the machine's state is no other reason: the checks
/// that it must fail are named, findings are not.
fn reason(record: &Record, red: &Red) -> Option<String> {
    let run = |when: &str| record.checks.iter().find(|checks| checks.when == when);
    let (Some(before), Some(after)) = (run("before the reboot"), run("after the reboot")) else {
        return Some("the checks did not run both before and after the reboot".into());
    };
    for id in &red.fails {
        let check =
            |checks: &evidence::record::Checks| checks.checks.iter().find(|c| c.id == *id).map(|c| (c.ok, c.looked));
        // What did not look has seen no fault.
        if let Some((_, false)) = check(after) {
            return Some(format!("{id} did not look after the reboot"));
        }
        let find = |checks| check(checks).map(|(ok, _)| ok);
        match (find(before), find(after)) {
            (Some(true), Some(false)) => {}
            (None, _) | (_, None) => return Some(format!("no check is called {id}")),
            (Some(false), _) => return Some(format!("{id} had failed before the reboot")),
            (_, Some(true)) => return Some(still_held(record, id)),
        }
    }
    // A playbook may end at its first red task: those that come after it did not look, and failed for nothing else.
    let mut failed = after.failed().chain(before.failed()).filter(|check| check.looked);
    let other = failed.find(|check| !red.fails.contains(&check.id));
    other.map(|check| format!("{} failed too: {}", check.id, check.detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::playbook::checks::Check;
    use evidence::record::Checks;

    fn checks(when: &str, oks: [bool; 2]) -> Checks {
        let check = |id: &str, ok| Check { id: id.into(), ok, hint: false, detail: "d".into(), looked: true };
        Checks { when: when.into(), checks: vec![check("port", oks[0]), check("docker", oks[1])] }
    }

    fn record(before: [bool; 2], after: [bool; 2]) -> Record {
        let text = include_str!("../../tests/fixtures/record.json");
        let mut record: Record = serde_json::from_str(text).unwrap();
        record.checks = vec![checks("before the reboot", before), checks("after the reboot", after)];
        if after != [true, true] {
            record.fail(&Failure::new(Exit::Verify, "checks failed"));
        }
        record
    }

    fn red() -> Red {
        Red { overrides: "x.yml".into(), fails: vec!["port".into()] }
    }

    #[test]
    fn red_for_the_named_reason_is_a_proof() {
        judge_red(&record([true, true], [false, true]), &red()).unwrap();
    }

    #[test]
    fn a_red_case_that_passes_makes_the_harness_unfaithful() {
        let failure = judge_red(&record([true, true], [true, true]), &red()).unwrap_err();
        assert_eq!(failure.exit, Exit::Unfaithful);
    }

    #[test]
    fn what_the_fault_has_lost_of_the_state_is_no_other_reason_and_no_reason_alone() {
        let unit = evidence::observe::BrokenUnit { unit: "u".into(), what: "u has failed".into(), words: Vec::new() };
        let lost = |after| {
            let mut record = record([true, true], after);
            record.state = Some(crate::jobs::observe::across_for_tests(Vec::new(), vec![unit.clone()]));
            record.failure = Some(Failure::new(Exit::Verify, "1 check failed").during("u has failed"));
            record
        };
        judge_red(&lost([false, true]), &red()).unwrap();
        let failure = judge_red(&lost([true, true]), &red()).unwrap_err();
        assert_eq!(failure.exit, Exit::Unfaithful);
        assert!(
            failure.to_string().contains("port still held after the reboot; it failed for this: u has"),
            "{failure}"
        );
    }

    #[test]
    fn a_check_that_was_never_seen_red_is_named_and_one_that_did_not_look_was_not_seen() {
        let (red, green) = (record([true, true], [false, true]), record([true, true], [true, true]));
        assert_eq!(never_red(&red, &green), ["docker"]);
        let mut unseen = red.clone();
        unseen.checks[1].checks[0].looked = false;
        assert_eq!(never_red(&unseen, &green), ["port", "docker"]);
        let mut hints = green.clone();
        hints.checks.iter_mut().for_each(|run| run.checks[1].hint = true);
        assert_eq!(never_red(&hints, &hints), ["port"]);
    }

    #[test]
    fn red_before_the_reboot_or_for_another_check_proves_nothing() {
        for (before, after) in
            [([false, true], [false, true]), ([true, true], [false, false]), ([true, true], [true, false])]
        {
            let failure = judge_red(&record(before, after), &red()).unwrap_err();
            assert_eq!(failure.exit, Exit::Unfaithful, "{before:?} {after:?}: {failure}");
        }
    }

    #[test]
    fn a_check_that_did_not_look_is_no_proof_and_no_other_reason() {
        let mut unseen = record([true, true], [false, true]);
        unseen.checks[1].checks[0].looked = false;
        let why = judge_red(&unseen, &red()).unwrap_err().to_string();
        assert!(why.contains("port did not look after the reboot"), "{why}");
        let mut ended_there = record([true, true], [false, false]);
        ended_there.checks[1].checks[1].looked = false;
        judge_red(&ended_there, &red()).unwrap();
    }

    #[test]
    fn a_red_case_that_broke_earlier_keeps_its_own_exit_class() {
        let mut record = record([true, true], [false, true]);
        record.failure = Some(Failure::new(Exit::Lost, "QEMU has ended"));
        assert_eq!(judge_red(&record, &red()).unwrap_err().exit, Exit::Lost);
    }
}
