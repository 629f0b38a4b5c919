//! The state across a reboot: a look before it, a look after it, and what the difference means.

use super::cycle::led_by;
use super::run::{Run, Said};
use evidence::attribution;
use evidence::observe::{self, Across, BrokenUnit, Judged, Observation, ObserveError, Policy, State};
use evidence::record::{Record, Step};
use evidence::report::RunFolder;
use host::failure::{Exit, Failure};
use std::time::Duration;
use vm::handle::Vm;
use vm::ssh::Session;

/// The evidence file of the state before the reboot.
const BEFORE: &str = "guest/state-before.json";
/// The evidence file of the state after it.
const AFTER: &str = "guest/state-after.json";
/// What a look is called where it is waited for.
const LOOK: &str = "a look at the guest's state";
/// How long the login may take.
const LOGIN: Duration = Duration::from_secs(60);

/// The looks before a reboot and after it.
#[derive(Debug)]
pub struct Compared {
    before: Observation,
    after: Observation,
}

impl Run<'_> {
    /// Look at the guest before a reboot. A guest that cannot be looked at ends nothing yet: the reboot and the checks have
    /// their own say, and [`Run::judge_state`] says that the comparison is missing.
    pub async fn observe(&mut self) -> Result<Option<Observation>, Failure> {
        self.keep(Step::State(Box::new(None)));
        self.phase("observe", async |run| {
            let seen = look(run.vm(), async |session| observe::at_rest(session, None).await).await?;
            let said = keep_state(&run.folder(), &seen, BEFORE)?;
            Ok((seen.ok(), said))
        })
        .await
    }

    /// Look again after the reboot, and keep what differs.
    pub async fn compare(&mut self, before: Option<Observation>) -> Result<Option<Compared>, Failure> {
        let Some(before) = before else { return Ok(None) };
        let compared = self.phase("compare", async |run| {
            let allow = &run.plan().profile.state.allow;
            let seen =
                look(run.vm(), async |session| observe::after_reboot(session, &before.state, allow).await).await?;
            let (across, said) = difference(run, &before, &seen).await?;
            Ok(((seen.ok(), across), said))
        });
        let (after, across) = compared.await?;
        self.keep(Step::State(Box::new(across)));
        Ok(after.map(|after| Compared { before, after }))
    }

    /// What the reboot has lost fails the run, as far as `--findings` says so; a state that was not compared has no
    /// verdict.
    pub fn judge_state(&mut self) -> Result<(), Failure> {
        self.keep(Step::Judged);
        judge(self.record())
    }
}

/// Look once more, when what fails some seconds after the boot has had the time for it: what differs now.
pub(super) async fn once_more(run: &Run<'_>, compared: &Compared) -> Result<(Option<Across>, Said), Failure> {
    let Compared { before, after } = compared;
    let allow = &run.plan().profile.state.allow;
    let again = async |session: &Session| observe::once_more(session, &before.state, after, allow).await;
    let seen = look(run.vm(), again).await?;
    difference(run, before, &seen).await
}

/// Keep the state after a reboot in the evidence, and tell what it differs in from the one before. The last look is the one
/// that counts, also where it could not look.
async fn difference(
    run: &Run<'_>,
    before: &Observation,
    seen: &Result<Observation, ObserveError>,
) -> Result<(Option<Across>, Said), Failure> {
    let mut said = keep_state(&run.folder(), seen, AFTER)?;
    let Ok(after) = seen else { return Ok((None, said)) };
    let strict = run.record().findings == Policy::Strict;
    let allow = &run.plan().profile.state.allow;
    let mut across = Across::between((before, BEFORE), (after, AFTER), allow, strict);
    said.text = format!("{}; {}", summary(&across), said.text);
    attribution::name_tasks(&mut across.judged, &run.record().deeds);
    across.broken = match broken(run.vm(), &across.judged).await {
        Ok(units) => units,
        Err(failure) => {
            run.progress().note(&failure.to_string());
            Vec::new()
        }
    };
    Ok((Some(across), said))
}

/// The units that broke, in their own words.
async fn broken(vm: &Vm, judged: &Judged) -> Result<Vec<BrokenUnit>, Failure> {
    if !judged.findings.iter().any(|finding| finding.broken_unit().is_some()) {
        return Ok(Vec::new());
    }
    let session = vm.session(LOGIN).await?;
    Ok(observe::broken_units(&session, &judged.findings).await)
}

/// The state of the guest as it is now, to be compared with an earlier one if there is one; nothing is kept.
pub async fn state_now(vm: &Vm, earlier: Option<&State>) -> Result<Observation, Failure> {
    Ok(look(vm, async |session| observe::at_rest(session, earlier).await).await??)
}

/// The state of the guest by one look, whether it has come to rest or not.
pub async fn state_at_a_glance(vm: &Vm) -> Result<State, Failure> {
    let session = vm.session(LOGIN).await?;
    let work = async { Ok::<_, Failure>(observe::observe(&session, LOGIN).await?) };
    vm.watch()?.unless_lost(LOOK, work).await
}

/// Look at the guest, unless it is lost. The inner error is for a guest that lives and cannot be looked at.
async fn look(
    vm: &Vm,
    look: impl AsyncFnOnce(&Session) -> Result<Observation, ObserveError>,
) -> Result<Result<Observation, ObserveError>, Failure> {
    let session = vm.session(LOGIN).await?;
    let work = async { Ok::<_, Failure>(look(&session).await) };
    vm.watch()?.unless_lost(LOOK, work).await
}

/// Keep a state in the evidence, and say how it was come by.
fn keep_state(folder: &RunFolder, seen: &Result<Observation, ObserveError>, file: &str) -> Result<Said, Failure> {
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => return Ok(Said { text: format!("{error}; the state is not compared"), ok: false }),
    };
    // Plain data with string keys: serialising it cannot fail.
    folder.write(file, host::visible::json_pretty(&seen.state).unwrap_or_default())?;
    let rest = match seen.moving.is_empty() {
        true => "at rest".to_owned(),
        false => format!("never at rest, {} still changed", seen.moving.join(", ")),
    };
    Ok(Said::from(format!("{} facts, {rest} after {} looks", facts(&seen.state), seen.passes)))
}

/// How many facts a state has.
fn facts(state: &State) -> usize {
    observe::Section::ALL.iter().filter_map(|section| state.facts(*section)).map(|facts| facts.len()).sum()
}

/// What came of a comparison, in some words.
fn summary(across: &Across) -> String {
    let findings = across.judged.findings.len();
    let rest = across.diff.changes.len() - across.judged.losses();
    let standing = match across.standing.len() {
        0 => String::new(),
        1 => ", 1 that was bad before it".into(),
        n => format!(", {n} that were bad before it"),
    };
    match (findings, rest) {
        (0, 0) => format!("as before the reboot{standing}"),
        (0, rest) => format!("nothing is lost, {rest} other differences{standing}"),
        (findings, rest) => format!("{findings} lost or changed, {rest} other differences{standing}"),
    }
}

/// How many findings a failure names; all of them are in `result.json`.
const NAMED: usize = 5;

/// The verdict on the state across the last reboot.
fn judge(record: &Record) -> Result<(), Failure> {
    let policy = record.findings;
    let Some(state) = &record.state else { return not_compared(record) };
    if let Some((section, why)) = state.unseen.iter().next().filter(|_| policy == Policy::Strict) {
        let what = format!("--findings strict: the state of {section} is not known: {why}");
        let next = format!("repair what shows it, or look at {BEFORE} and {AFTER}");
        return Err(Failure::new(Exit::Verify, what).next(next));
    }
    let losses = record.losses();
    let Some(first) = losses.first() else { return Ok(()) };
    let ids: Vec<_> = losses.iter().take(NAMED).map(|finding| finding.id.as_str()).collect();
    let more = losses.len().checked_sub(NAMED + 1).map(|more| format!("; and {} more", more + 1)).unwrap_or_default();
    let count = if losses.len() == 1 { "1 finding".to_owned() } else { format!("{} findings", losses.len()) };
    let what = format!("the state did not survive the reboot, {count}: {}{more}", ids.join("; "));
    let next = format!(
        "look at the first of them, {} ({}); repair it, or allow what is meant to be under state.allow in \
         profiles/{}.json; `--findings report` only reports",
        first.id, first.what, record.host
    );
    let failure = Failure::new(Exit::Verify, what).next(next);
    Err(match &state.broken[..] {
        [] => failure.during(match &first.set_by {
            Some(task) => format!("{}; {task}", first.what),
            None => first.what.clone(),
        }),
        _ => led_by(failure, record),
    })
}

/// Without a comparison there is nothing to judge: that is no loss, and no proof that there is none.
fn not_compared(record: &Record) -> Result<(), Failure> {
    let missing = |exit| {
        Err(Failure::new(exit, "could not look: the state was not compared across a reboot").next(
            "the phases `observe` and `compare` say why; `boma-qemu reboot` compares it; `--findings report` does not ask for it",
        ))
    };
    match (record.findings, &record.reboot) {
        (Policy::Report, _) | (Policy::Fail, None) => Ok(()),
        (Policy::Strict, None) => missing(Exit::Verify),
        (_, Some(_)) => missing(Exit::Lost),
    }
}

#[cfg(test)]
pub(super) fn across_for_tests(findings: Vec<observe::Finding>, broken: Vec<BrokenUnit>) -> Across {
    let look = |file: &str| observe::Look { file: file.into(), passes: 2, seconds: 9.0, moving: Vec::new() };
    Across {
        before: look(BEFORE),
        after: look(AFTER),
        diff: observe::Diff::default(),
        standing: Vec::new(),
        foretold: Vec::new(),
        judged: Judged { findings, ..Judged::default() },
        unseen: std::collections::BTreeMap::new(),
        strict: false,
        broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::observe::{Finding, Section, Severity};
    use evidence::testing::restart;

    fn finding(n: usize, severity: Severity) -> Finding {
        let (id, what) = (format!("sysctl/k{n}"), format!("k{n} was 1 and is 0"));
        let (before, after) = (Some("1".into()), Some("0".into()));
        let (consequences, set_by) = (Vec::new(), None);
        Finding { id, section: Section::Sysctl, what, before, after, severity, consequences, set_by }
    }

    fn record(findings: Vec<Finding>, policy: Policy) -> Record {
        let text = include_str!("../../tests/fixtures/record.json").replace("\"schema\": 1", "\"schema\": 2");
        let mut record: Record = serde_json::from_str(&text).unwrap();
        record.proved(restart());
        record.state = Some(across_for_tests(findings, Vec::new()));
        record.findings = policy;
        record
    }

    #[test]
    fn a_serious_loss_fails_unless_it_is_only_to_be_reported_and_a_minor_one_only_if_all_must_hold() {
        for (severity, policy, red) in [
            (Severity::Serious, Policy::Report, false),
            (Severity::Serious, Policy::Fail, true),
            (Severity::Serious, Policy::Strict, true),
            (Severity::Minor, Policy::Report, false),
            (Severity::Minor, Policy::Fail, false),
            (Severity::Minor, Policy::Strict, true),
        ] {
            let judged = judge(&record(vec![finding(1, severity)], policy));
            assert_eq!(judged.is_err(), red, "{severity:?} {policy}");
            if let Err(failure) = judged {
                assert_eq!(failure.exit, Exit::Verify);
                assert!(failure.chain[0].contains("k1 was 1 and is 0"), "the first finding is told first: {failure}");
                assert!(failure.next.unwrap().contains("sysctl/k1"));
            }
        }
    }

    #[test]
    fn of_many_findings_the_first_are_named_and_the_rest_counted() {
        let failure =
            judge(&record((0..83).map(|n| finding(n, Severity::Serious)).collect(), Policy::Fail)).unwrap_err();
        assert!(
            failure.chain[1]
                .ends_with("83 findings: sysctl/k0; sysctl/k1; sysctl/k2; sysctl/k3; sysctl/k4; and 78 more"),
            "{failure}"
        );
    }

    #[test]
    fn a_state_that_was_not_compared_is_no_silent_pass() {
        let without = |policy| {
            let mut record = record(Vec::new(), policy);
            record.state = None;
            record
        };
        assert_eq!(judge(&without(Policy::Fail)).unwrap_err().exit, Exit::Lost);
        assert_eq!(judge(&without(Policy::Strict)).unwrap_err().exit, Exit::Lost);
        judge(&without(Policy::Report)).unwrap();
        let unbooted = |policy| {
            let mut record = without(policy);
            record.reboot = None;
            record
        };
        judge(&unbooted(Policy::Fail)).unwrap();
        assert_eq!(judge(&unbooted(Policy::Strict)).unwrap_err().exit, Exit::Verify);
    }

    #[test]
    fn a_section_that_could_not_be_seen_fails_only_where_all_must_hold() {
        let unseen = |policy| {
            let mut record = record(Vec::new(), policy);
            record.state.as_mut().unwrap().unseen.insert(Section::Nft, "no".into());
            judge(&record)
        };
        unseen(Policy::Fail).unwrap();
        assert_eq!(unseen(Policy::Strict).unwrap_err().exit, Exit::Verify);
    }
}
