//! Whether a list of conditions makes sense, before anything is looked at. All that is wrong is said at once.

use super::condition::Condition;
use host::names::ConditionId;
use std::collections::BTreeMap;

/// The longest that a condition may take, in seconds: a day.
const LONGEST: u64 = 86_400;

/// Everything that is wrong, one sentence each.
pub(super) fn wrong(conditions: &[Condition]) -> Vec<String> {
    if conditions.is_empty() {
        return vec!["conditions is empty: nothing would be looked at".into()];
    }
    let mut wrong = twice(conditions);
    let by_id: BTreeMap<_, _> = conditions.iter().map(|one| (&one.id, one)).collect();
    for condition in conditions {
        wrong.extend(alone_said(condition));
        for id in &condition.after {
            match by_id.get(id) {
                None => wrong.push(format!("{}: after names {id}, and there is no such condition", condition.id)),
                Some(earlier) if earlier.phase > condition.phase => wrong.push(format!(
                    "{}: a condition of the phase {} cannot come after {id}, which is of the phase {}",
                    condition.id, condition.phase, earlier.phase
                )),
                Some(_) => {}
            }
        }
    }
    wrong.extend(cycle(conditions));
    wrong
}

/// Names that are there more than once.
fn twice(conditions: &[Condition]) -> Vec<String> {
    let mut count: BTreeMap<&ConditionId, usize> = BTreeMap::new();
    for condition in conditions {
        *count.entry(&condition.id).or_default() += 1;
    }
    let twice = count.into_iter().filter(|(_, times)| *times > 1);
    twice.map(|(id, times)| format!("{times} conditions are called {id}")).collect()
}

/// The first that is wrong about one condition, whatever the others are, with its name.
pub(super) fn alone_said(condition: &Condition) -> Option<String> {
    alone(condition).map(|what| format!("{}: {what}", condition.id))
}

/// The same without its name.
fn alone(condition: &Condition) -> Option<String> {
    let (phase, of_probe) = (condition.phase, condition.probe.phase());
    if phase != of_probe {
        return Some(format!("the probe {} is for the phase {of_probe}, not for {phase}", condition.probe.name()));
    }
    if condition.what.trim().is_empty() || condition.hint.trim().is_empty() {
        return Some("what must hold (`what`) or what to do if it does not (`hint`) is not said".into());
    }
    if condition.limit.is_some_and(|limit| !(1..=LONGEST).contains(&limit)) {
        return Some(format!("limit is not between 1 and {LONGEST} seconds"));
    }
    if let Some((needed, what)) =
        condition.probe.needs().filter(|(needed, _)| condition.limit().as_secs_f64() < *needed)
    {
        let limit = condition.limit().as_secs();
        return Some(format!("limit is {limit} s, and {what} alone may take {needed} s"));
    }
    condition.probe.wrong().map(|what| format!("{}: {what}", condition.probe.name()))
}

/// Conditions that wait for each other: one ring of them. Whatever cannot be put into an order waits for a ring, so going
/// from any of these to what it waits for leads into one.
fn cycle(conditions: &[Condition]) -> Option<String> {
    let mut left: Vec<&Condition> = conditions.iter().collect();
    loop {
        let before = left.len();
        let waiting: Vec<_> = left.iter().map(|one| &one.id).collect();
        left.retain(|one| one.after.iter().any(|id| waiting.contains(&id)));
        if left.len() == before {
            break;
        }
    }
    let mut path: Vec<&ConditionId> = vec![&left.first()?.id];
    loop {
        let here = left.iter().find(|one| Some(&&one.id) == path.last())?;
        let next = here.after.iter().find(|id| left.iter().any(|one| one.id == **id))?;
        if let Some(start) = path.iter().position(|id| *id == next) {
            let ring: Vec<_> = path[start..].iter().chain([&next]).map(|id| id.as_str()).collect();
            return Some(format!("conditions wait for each other: {}", ring.join(" -> ")));
        }
        path.push(next);
    }
}
