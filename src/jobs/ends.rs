//! The end state of a cycle: kept, and compared with that of another one.

use super::Context;
use super::cycle::{Choices, Keep, Outcome, cycle};
use super::run::{Run, Said};
use crate::plan::Plan;
use crate::plan::options::Options;
use camino::{Utf8Path, Utf8PathBuf};
use evidence::ends::{self, End, Ends};
use evidence::observe::Policy;
use evidence::record::{Record, Step};
use evidence::report::RunFolder;
use host::failure::{Exit, Failure};
use host::names::HostName;
use serde::de::DeserializeOwned;
use std::time::{Duration, SystemTime};

/// The evidence file of what is on the disk.
const DISK: &str = "guest/disk.json";
/// The evidence file of what runs, by the last look.
const STATE: &str = "guest/state-after.json";
/// How long the login may take.
const LOGIN: Duration = Duration::from_secs(60);
/// How long the look may take; some seconds under emulation.
const LIMIT: Duration = Duration::from_secs(900);
/// How many findings a failure names; all of them are in `result.json`.
const NAMED: usize = 5;

/// What a cycle does with its end state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing.
    #[default]
    Nothing,
    /// It is kept.
    Kept,
    /// It is kept, and compared with that of the cycle whose evidence lies there.
    Compared(Utf8PathBuf),
}

/// A cycle of a fresh machine and one on top of a revision.
#[derive(Debug)]
pub struct Both {
    /// The fresh one.
    pub fresh: Outcome,
    /// The other, if it came to it.
    pub upgraded: Option<Outcome>,
}

/// Run the cycle on a fresh machine, then on top of the revision of the options, and compare how both end.
pub async fn both(
    ctx: Context<'_>,
    host: &HostName,
    options: Options,
    choices: Choices,
    plan: impl Fn(Options) -> Result<Plan, Failure>,
    told: impl Fn(&Outcome),
) -> Result<Both, Failure> {
    // Both are planned before anything is done.
    let upgrade = plan(options.clone())?;
    let plain = plan(Options { from: None, ..options })?;
    let kept = Choices { ends: Wanted::Kept, keep: Keep::default(), no_snapshot: true, ..choices.clone() };
    let fresh = cycle(ctx, plain, kept, &format!("cycle {host} --both, the fresh host")).await?;
    if fresh.record.failure.is_some() {
        return Ok(Both { fresh, upgraded: None });
    }
    told(&fresh);
    let compared = Choices { ends: Wanted::Compared(fresh.record.run.clone()), ..choices };
    let upgraded = cycle(ctx, upgrade, compared, &format!("cycle {host} --both, the upgraded host")).await?;
    Ok(Both { fresh, upgraded: Some(upgraded) })
}

impl Run<'_> {
    /// Look at what is on the disk, and keep it; compare the end state if that is wanted.
    pub(super) async fn end_state(&mut self, wanted: &Wanted) -> Result<(), Failure> {
        if *wanted == Wanted::Nothing {
            return Ok(());
        }
        let ends = self.phase("ends", async |run| {
            let session = run.vm().session(LOGIN).await?;
            let work = async { Ok::<_, Failure>(ends::look(&session, LIMIT).await?) };
            let disk = run.vm().watch()?.unless_lost("a look at what is on the guest's disk", work).await?;
            // Plain data with string keys: serialising it cannot fail.
            run.folder().write(DISK, host::visible::json_pretty(&disk).unwrap_or_default())?;
            let Wanted::Compared(fresh) = wanted else { return Ok((None, Said::from("kept".to_owned()))) };
            let (first, second) = (end(fresh)?, end(&run.record().run)?);
            let allow = &run.plan().profile.state.allow;
            let ends = Ends::between(&first, &second, fresh.clone(), allow, SystemTime::now());
            let ok = ends.findings.is_empty() || run.record().findings == Policy::Report;
            let said = Said { text: ends.summary(), ok };
            Ok((Some(ends), said))
        });
        if let Some(ends) = ends.await? {
            self.keep(Step::Ends(Box::new(ends)));
        }
        Ok(())
    }

    /// What is not the same on both hosts fails the run, unless findings are only reported.
    pub(super) fn judge_ends(&self) -> Result<(), Failure> {
        judge(self.record())
    }
}

/// The end state that a cycle has kept.
fn end(run: &Utf8Path) -> Result<End, Failure> {
    Ok(End { state: kept(run, STATE)?, disk: kept(run, DISK)? })
}

fn kept<T: DeserializeOwned>(run: &Utf8Path, file: &str) -> Result<T, Failure> {
    let path = RunFolder::open(run).path().join(file);
    let read = std::fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?));
    read.map_err(|e| {
        Failure::new(Exit::Lost, format!("could not look: the end state of {run} is not known: {path}: {e}"))
            .next("the phases `compare` and `ends` say why; run it again")
    })
}

fn judge(record: &Record) -> Result<(), Failure> {
    let (Some(ends), policy) = (&record.ends, record.findings) else { return Ok(()) };
    let blind = if policy == Policy::Strict { ends.unseen.first() } else { ends.blind.first() };
    if let (Some(why), false) = (blind, policy == Policy::Report) {
        let exit = if policy == Policy::Strict { Exit::Verify } else { Exit::Lost };
        let what = format!("could not look: the end states were not compared in {why}");
        return Err(Failure::new(exit, what).next("repair what shows it, and run it again"));
    }
    let differ = record.ends_differ();
    let Some(first) = differ.first() else { return Ok(()) };
    let named: Vec<_> = differ.iter().take(NAMED).map(|one| one.name()).collect();
    let more = differ.len().checked_sub(NAMED + 1).map(|more| format!("; and {} more", more + 1)).unwrap_or_default();
    let count = if differ.len() == 1 { "1 finding".to_owned() } else { format!("{} findings", differ.len()) };
    let what = format!("a fresh host and an upgraded one end differently, {count}: {}{more}", named.join("; "));
    let next = format!(
        "let the playbooks remove what is left behind, and bring what is missing to a host that is there already; allow what is \
         meant to be ({:?}) under state.allow in profiles/{}.json; `--findings report` only reports",
        first.id, record.host
    );
    Err(Failure::new(Exit::Verify, what).next(next).during(first.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::ends::{Difference, Side};

    fn record(policy: Policy, unseen: &[&str], blind: &[&str], differ: usize) -> Record {
        let mut record: Record = serde_json::from_str(include_str!("../../tests/fixtures/record.json")).unwrap();
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        let one = |n| Difference {
            id: format!("ends/files/etc/{n}"),
            side: Side::OnlyUpgraded,
            fresh: None,
            upgraded: Some("file".into()),
        };
        record.findings = policy;
        record.ends = Some(Ends {
            fresh: "/r".into(),
            findings: (0..differ).map(one).collect(),
            allowed: Vec::new(),
            unseen: texts(unseen),
            blind: texts(blind),
            not_looked: String::new(),
        });
        record
    }

    #[test]
    fn a_leftover_fails_the_run_and_is_named_unless_findings_are_only_reported() {
        judge(&record(Policy::Strict, &[], &[], 0)).unwrap();
        judge(&record(Policy::Report, &["nft: no"], &["files: no"], 3)).unwrap();
        for policy in [Policy::Fail, Policy::Strict] {
            let failure = judge(&record(policy, &[], &[], 7)).unwrap_err();
            assert_eq!(failure.exit, Exit::Verify);
            assert!(failure.chain[0].starts_with("files/etc/0 is on the upgraded host only"), "{failure}");
            assert!(failure.chain[1].ends_with("files/etc/4; and 2 more"), "{failure}");
        }
    }

    #[test]
    fn what_could_not_be_compared_is_no_silent_pass() {
        assert_eq!(judge(&record(Policy::Fail, &["files: no"], &["files: no"], 0)).unwrap_err().exit, Exit::Lost);
        judge(&record(Policy::Fail, &["nft: no"], &[], 0)).unwrap();
        assert_eq!(judge(&record(Policy::Strict, &["nft: no"], &[], 0)).unwrap_err().exit, Exit::Verify);
    }
}
