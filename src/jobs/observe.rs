//! The state across a reboot: a look before it, a look after it, and what the difference means.

use super::record::Record;
use super::run::{Run, Said};
use crate::failure::{Exit, Failure};
use crate::observe::{self, Across, Diff, Judged, Observation, ObserveError, State};
use crate::ssh::Session;
use std::time::Duration;

/// The evidence file of the state before the reboot.
const BEFORE: &str = "guest/state-before.json";
/// The evidence file of the state after it.
const AFTER: &str = "guest/state-after.json";
/// How long the login may take.
const LOGIN: Duration = Duration::from_secs(60);

impl Run<'_> {
    /// Look at the guest before a reboot. A guest that cannot be looked at is noted and no failure: the reboot and the
    /// checks have their own say.
    pub async fn observe(&mut self) -> Result<Option<Observation>, Failure> {
        self.record.state = None;
        self.phase("observe", async |run| {
            let seen = run.look(async |session| observe::at_rest(session, None).await).await?;
            let said = run.keep_state(&seen, BEFORE)?;
            Ok((seen.ok(), said))
        })
        .await
    }

    /// Look again after the reboot, and keep what differs.
    pub async fn compare(&mut self, before: Option<Observation>) -> Result<(), Failure> {
        let Some(before) = before else { return Ok(()) };
        self.phase("compare", async |run| {
            let allow = run.plan.profile.state.allow.clone();
            let seen = run.look(async |session| observe::after_reboot(session, &before.state, &allow).await).await?;
            let mut said = run.keep_state(&seen, AFTER)?;
            if let Ok(after) = &seen {
                let diff = Diff::between(&before.state, &after.state);
                let judged = diff.judge(&allow);
                said.text = format!("{}; {}", summary(&judged, &diff), said.text);
                let failed = before.state.failed().chain(after.state.failed());
                run.record.state = Some(Across {
                    before: before.look(BEFORE),
                    after: after.look(AFTER),
                    unseen: failed.map(|(section, why)| (section, why.to_owned())).collect(),
                    diff,
                    judged,
                    strict: false,
                });
            }
            Ok(((), said))
        })
        .await
    }

    /// The state of the guest as it is now, to be compared with an earlier one if there is one; nothing is kept.
    pub async fn state_now(&self, earlier: Option<&State>) -> Result<Observation, Failure> {
        Ok(self.look(async |session| observe::at_rest(session, earlier).await).await??)
    }

    /// With `--strict`, what a reboot has lost fails the run, and so does a reboot that was not looked at.
    pub fn judge_state(&mut self) -> Result<(), Failure> {
        if let Some(state) = &mut self.record.state {
            state.strict = true;
        }
        strict(&self.record)
    }

    /// Look at the guest, unless it is lost. The inner error is for a guest that lives and cannot be looked at.
    async fn look(
        &self,
        look: impl AsyncFnOnce(&Session) -> Result<Observation, ObserveError>,
    ) -> Result<Result<Observation, ObserveError>, Failure> {
        let session = self.ssh()?.session(LOGIN).await?;
        let work = async { Ok::<_, Failure>(look(&session).await) };
        self.watch()?.unless_lost("a look at the guest's state", work).await
    }

    /// Keep a state in the evidence, and say how it was come by.
    fn keep_state(&self, seen: &Result<Observation, ObserveError>, file: &str) -> Result<Said, Failure> {
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => return Ok(Said { text: format!("{error}; the state is not compared"), ok: false }),
        };
        // Plain data with string keys: serialising it cannot fail.
        self.folder().write(file, serde_json::to_string_pretty(&seen.state).unwrap_or_default())?;
        let rest = match seen.moving.is_empty() {
            true => "at rest".to_owned(),
            false => format!("never at rest, {} still changed", seen.moving.join(", ")),
        };
        Ok(Said::from(format!("{} facts, {rest} after {} looks", facts(&seen.state), seen.passes)))
    }
}

/// How many facts a state has.
fn facts(state: &State) -> usize {
    observe::Section::ALL.iter().filter_map(|section| state.facts(*section)).map(|facts| facts.len()).sum()
}

/// What came of a comparison, in some words.
fn summary(judged: &Judged, diff: &Diff) -> String {
    let findings = judged.findings.len();
    let rest = diff.changes.len() - findings;
    match (findings, rest) {
        (0, 0) => "as before the reboot".into(),
        (0, rest) => format!("nothing is lost, {rest} other differences"),
        (findings, rest) => format!("{findings} lost or changed, {rest} other differences"),
    }
}

/// The verdict of a strict run on the state.
fn strict(record: &Record) -> Result<(), Failure> {
    let Some(state) = &record.state else {
        return Err(Failure::new(Exit::Verify, "--strict: the state was not compared across a reboot")
            .next("the phases `observe` and `compare` say why; `boma-qemu reboot` compares it"));
    };
    if let Some((section, why)) = state.unseen.iter().next() {
        let what = format!("--strict: the state of {section} is not known: {why}");
        return Err(
            Failure::new(Exit::Verify, what).next(format!("mend what shows it, or look at {BEFORE} and {AFTER}"))
        );
    }
    let ids: Vec<_> = state.judged.findings.iter().map(|finding| finding.id.as_str()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let what = format!("the state did not survive the reboot, {} findings: {}", ids.len(), ids.join("; "));
    let next = format!("mend it, or allow what is meant to be under state.allow in profiles/{}.json", record.host);
    Err(Failure::new(Exit::Verify, what).next(next))
}
