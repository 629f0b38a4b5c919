//! Looking until there is nothing new to see.
//!
//! A guest that has only just been provisioned, or booted, may still be moving: containers start, a time server is
//! found. So it is looked at until two looks in a row are the same; the second of them asks only for what can move by
//! itself. After a reboot more is asked: a loss counts only when it has stood for a while, for what is late is not lost.

use super::answers::Answers;
use super::{Asked, Change, Diff, Finding, Known, Look, ObserveError, State, ask, flaps, read, reasons};
use crate::allowed::AllowedLoss;
use host::deadline::{Deadline, PROBE_PERIOD};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use vm::ssh::Session;

/// How long one pass may take. Some seconds are usual where the CPU is emulated, and a busy host makes it more.
const PASS: Duration = Duration::from_secs(120);

/// How long a loss must have stood, in a guest where nothing else changes, before it counts.
const STOOD: Duration = Duration::from_secs(20);

/// How long a guest that does not come to rest is looked at, and how long what is on its way is waited for.
const REST: Duration = Duration::from_secs(120);

/// A state, and how it was come by.
#[derive(Clone, Debug)]
pub struct Observation {
    /// What was seen last.
    pub state: State,
    /// How often the guest was looked at.
    pub passes: u32,
    /// How long that took.
    pub took: Duration,
    /// The ids of what still changed between the last two looks; empty where the guest had come to rest.
    pub moving: Vec<String>,
    /// What was known at the first look: what is started again after it, is so again and again.
    pub first: Known,
}

impl Observation {
    /// How it was come by, for the record; `file` holds the state.
    pub fn look(&self, file: &str) -> Look {
        let (file, moving) = (file.to_owned(), self.moving.clone());
        Look { file, passes: self.passes, seconds: self.took.as_secs_f64(), moving }
    }
}

/// Look until two looks in a row are the same, for at most two minutes. If this is to be compared with an earlier state,
/// the guest is also asked why it is not as that one was.
pub async fn at_rest(session: &Session, before: Option<&State>) -> Result<Observation, ObserveError> {
    let looks = Looks::at(session, before);
    until(REST, None, async |what, first| looks.look(what, first).await, |_, _| true).await
}

/// Look again after a reboot: until two looks in a row are the same and nothing is lost, or what is lost has been so
/// for 20 s; for at most two minutes.
pub async fn after_reboot(
    session: &Session,
    before: &State,
    allow: &[AllowedLoss],
) -> Result<Observation, ObserveError> {
    again(session, before, None, allow).await
}

/// Look once more when some time has passed, and where it is not as at the last look, until it has come to rest again.
/// What was started again since the first of all looks has not come to rest.
pub async fn once_more(
    session: &Session,
    before: &State,
    last: &Observation,
    allow: &[AllowedLoss],
) -> Result<Observation, ObserveError> {
    let begun = Instant::now();
    let state = Looks::at(session, Some(before)).look(Asked::Everything, Some(&last.first)).await?;
    let mut seen = match Diff::between(&last.state, &state).is_empty() {
        true => Observation { state, passes: 1, took: begun.elapsed(), moving: Vec::new(), first: last.first.clone() },
        false => again(session, before, Some(&last.first), allow).await?,
    };
    seen.passes += last.passes;
    seen.took += last.took;
    Ok(seen)
}

async fn again(
    session: &Session,
    before: &State,
    first: Option<&Known>,
    allow: &[AllowedLoss],
) -> Result<Observation, ObserveError> {
    let looks = Looks::at(session, Some(before));
    let look = async |what, first: Option<&Known>| looks.look(what, first).await;
    until(REST, first, look, |state, stood| stood >= patience(&Diff::between(before, state).findings(allow))).await
}

/// Looks at one guest, one after the other.
struct Looks<'a> {
    session: &'a Session,
    /// The state that these are compared with.
    before: Option<&'a State>,
    /// What the guest has said so far.
    answers: Mutex<Answers>,
}

impl<'a> Looks<'a> {
    fn at(session: &'a Session, before: Option<&'a State>) -> Self {
        Self { session, before, answers: Mutex::default() }
    }

    /// Look once more. What is not asked this time is as it was said last.
    async fn look(&self, what: Asked, first: Option<&Known>) -> Result<State, ObserveError> {
        let answers = ask(self.session, what, PASS).await?;
        let mut state = {
            let mut all = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(answers);
            read::state(&all)
        };
        if let Some(first) = first {
            flaps::settle(&mut state, first);
        }
        if let Some(before) = self.before {
            reasons::note(self.session, before, &mut state).await?;
        }
        Ok(state)
    }
}

/// How long these findings must have stood before they count.
fn patience(findings: &[Finding]) -> Duration {
    match findings.iter().any(is_on_its_way) {
        _ if findings.is_empty() => Duration::ZERO,
        true => REST,
        false => STOOD,
    }
}

/// Whether what is not as before says itself that it is still coming: a service that is starting, a container whose
/// health is not yet known, a clock that no server has answered yet.
fn is_on_its_way(finding: &Finding) -> bool {
    let now = finding.after.as_deref().unwrap_or_default();
    let own = finding.id == "system/synchronised" || now == "starting" || now.starts_with("activating (start");
    own || finding.consequences.iter().any(is_on_its_way)
}

/// Look until the guest is at rest and `enough` says so, which is given the state and how long it has been that. A look
/// is given what was known at the first one. Where nothing is missing but the confirmation, it asks only for what can move;
/// what is waited for is always asked for.
async fn until<E>(
    rest: Duration,
    first: Option<&Known>,
    look: impl AsyncFn(Asked, Option<&Known>) -> Result<State, E>,
    enough: impl Fn(&State, Duration) -> bool,
) -> Result<Observation, E> {
    let deadline = Deadline::after(rest);
    let mut since = Instant::now();
    let mut state = look(Asked::Everything, first).await?;
    let first = first.unwrap_or(&state.known).clone();
    let (mut passes, mut moves) = (1, false);
    loop {
        tokio::time::sleep(PROBE_PERIOD).await;
        let begun = Instant::now();
        let confirm = !moves && enough(&state, Duration::ZERO);
        let what = if confirm { Asked::WhatMoves } else { Asked::Everything };
        let next = look(what, Some(&first)).await?;
        passes += 1;
        let moved = Diff::between(&state, &next);
        moves = !moved.is_empty();
        if moves {
            since = begun;
        }
        state = next;
        if (!moves && enough(&state, since.elapsed())) || deadline.passed() {
            let moving = moved.changes.iter().map(Change::id).collect();
            return Ok(Observation { state, passes, took: deadline.waited(), moving, first });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Observed, Section, Severity};
    use std::cell::{Cell, RefCell};

    fn state(value: u32) -> State {
        let facts = [("n".to_owned(), value.to_string().into())].into();
        State { sections: [(Section::Sysctl, Observed::Facts(facts))].into(), ..State::default() }
    }

    /// Look at a guest that shows these values one after the other, and then the last for ever.
    fn watch(values: &[u32], rest: Duration, enough: impl Fn(&State, Duration) -> bool) -> Observation {
        let n = Cell::new(0);
        let look = async |_: Asked, _: Option<&Known>| {
            Ok::<_, ObserveError>(state(values[n.replace(n.get() + 1).min(values.len() - 1)]))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(until(rest, None, look, enough)).unwrap()
    }

    #[test]
    fn a_guest_is_looked_at_until_two_looks_are_the_same() {
        let seen = watch(&[1, 2, 3, 3, 4], REST, |_, _| true);
        assert_eq!((seen.passes, seen.moving.as_slice(), &seen.state), (4, [].as_slice(), &state(3)));
    }

    /// What is asked at each look of a guest that shows these values, of which 0 is a loss.
    fn asked(values: &[u32]) -> Vec<Asked> {
        let asked = RefCell::new(Vec::new());
        let look = async |what: Asked, _: Option<&Known>| {
            asked.borrow_mut().push(what);
            Ok::<_, ObserveError>(state(values[(asked.borrow().len() - 1).min(values.len() - 1)]))
        };
        let stood = Duration::from_millis(300);
        let enough = |state: &State, stood_for| state.word(Section::Sysctl, "n") != "0" || stood_for >= stood;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(until(REST, None, look, enough)).unwrap();
        asked.into_inner()
    }

    #[test]
    fn a_look_that_confirms_another_asks_for_what_can_move_and_one_that_waits_for_a_loss_for_everything() {
        use Asked::{Everything, WhatMoves};
        assert_eq!(asked(&[1]), [Everything, WhatMoves]);
        assert_eq!(asked(&[1, 2]), [Everything, WhatMoves, Everything]);
        let lost = asked(&[0]);
        assert!(lost.len() > 2 && lost.iter().all(|what| *what == Everything), "{lost:?}");
    }

    #[test]
    fn a_guest_that_never_rests_is_told_so_with_what_moved() {
        let ever: Vec<_> = (0..99).collect();
        let seen = watch(&ever, Duration::from_millis(500), |_, _| true);
        assert_eq!(seen.moving, ["sysctl/n"]);
    }

    #[test]
    fn what_is_late_is_waited_for_and_what_is_lost_is_not_waited_for_for_ever() {
        let stood = Duration::from_millis(450);
        let is_back =
            |state: &State, stood_for: Duration| state.word(Section::Sysctl, "n") == "1" || stood_for >= stood;
        let late = watch(&[0, 0, 0, 1], REST, is_back);
        assert_eq!((late.passes, &late.state), (5, &state(1)));
        let lost = watch(&[0], REST, is_back);
        assert!(lost.took >= stood && lost.passes > 3 && lost.state == state(0), "{lost:?}");
    }

    #[test]
    fn a_service_that_is_starting_has_more_time_than_one_that_is_gone() {
        let finding = |id: &str, after: Option<&str>| Finding {
            id: id.into(),
            section: Section::Units,
            what: String::new(),
            before: Some("active (running)".into()),
            after: after.map(str::to_owned),
            severity: Severity::Serious,
            consequences: Vec::new(),
            set_by: None,
        };
        let gone = finding("units/a.service/active", None);
        let starting = finding("units/b.service/active", Some("activating (start)"));
        let looping = finding("units/c.service/active", Some("activating (auto-restart)"));
        assert_eq!(patience(&[]), Duration::ZERO);
        assert_eq!(patience(&[gone.clone(), looping]), STOOD);
        assert_eq!(patience(&[gone, starting]), REST);
    }
}
