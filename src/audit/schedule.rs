//! The order of an audit: each condition once, after all that it depends on, phase by phase.
//!
//! What depends on something that failed is blocked by it, directly or through others that were blocked or not asked for,
//! and names the roots. A condition that was left out is in nobody's way by itself: whoever asks for one condition
//! wants it looked at. One that does not apply hides what it would have come after: an image that is given does not
//! depend on what building it would have taken.

use super::condition::Condition;
use super::outcome::{Judged, Outcome, Seen};
use super::scope::Left;
use host::names::ConditionId;
use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

/// How much longer than its limit a probe is waited for. A probe knows its limit and says what it saw by then; this is for
/// one that hangs.
const GRACE: Duration = Duration::from_secs(30);

/// What can be looked at.
pub trait World {
    /// Look, within the condition's limit.
    fn look(&mut self, condition: &Condition) -> impl Future<Output = Seen>;

    /// How long an answer is waited for before it is given up.
    fn patience(&self, condition: &Condition) -> Duration {
        condition.limit() + GRACE
    }
}

/// What an audit tells while it goes on.
pub enum Told<'a> {
    /// A condition is looked at now.
    Begins(&'a Condition),
    /// What came of it.
    Ended(&'a mut Judged, &'a Condition),
}

/// Look at all conditions and add what came of each to `results`, which is whole up to where the work was dropped.
/// `leaves_out` says why a condition is skipped, if it is.
pub async fn run(
    conditions: &[Condition],
    leaves_out: impl Fn(&Condition) -> Option<Left>,
    world: &mut impl World,
    results: &mut Vec<Judged>,
    mut told: impl FnMut(Told<'_>),
) {
    let mut roots = Roots::default();
    for condition in in_order(conditions) {
        let left = leaves_out(condition);
        let by = match left {
            Some(Left::DoesNotApply(_)) => Vec::new(),
            _ => roots.above(condition),
        };
        let mut judged = match left {
            Some(left) => Judged::without_looking(condition, Outcome::Skipped { reason: left.to_string() }),
            None if !by.is_empty() => Judged::without_looking(condition, Outcome::Blocked { by: by.clone() }),
            None => {
                told(Told::Begins(condition));
                // A probe that never waits would never let a signal be seen.
                tokio::task::yield_now().await;
                look(condition, world).await
            }
        };
        roots.note(condition, &judged, by);
        told(Told::Ended(&mut judged, condition));
        results.push(judged);
    }
}

async fn look(condition: &Condition, world: &mut impl World) -> Judged {
    let start = Instant::now();
    let limit = world.patience(condition);
    let seen = match tokio::time::timeout(limit, world.look(condition)).await {
        Ok(seen) => seen,
        Err(_) => Seen::unknown(format!("no answer within {:.0} s", limit.as_secs_f64())),
    };
    Judged::of(condition, seen, start.elapsed().as_secs_f64())
}

/// The conditions by phase, each after what it depends on, otherwise as the profile has them. One that waits in a ring
/// would be left out; [`super::check`] has refused those.
pub fn in_order(conditions: &[Condition]) -> Vec<&Condition> {
    let mut waiting: Vec<&Condition> = conditions.iter().collect();
    // Stable: within a phase the profile's order stays.
    waiting.sort_by_key(|one| one.phase);
    let mut ordered: Vec<&Condition> = Vec::with_capacity(waiting.len());
    while let Some(next) = waiting.iter().position(|one| !waiting.iter().any(|other| one.after.contains(&other.id))) {
        ordered.push(waiting.remove(next));
    }
    ordered
}

/// The failed conditions that each one looked at so far goes back to.
#[derive(Default)]
struct Roots(BTreeMap<ConditionId, Vec<ConditionId>>);

impl Roots {
    /// What failed above a condition.
    fn above(&self, condition: &Condition) -> Vec<ConditionId> {
        let mut all: Vec<ConditionId> = Vec::new();
        for root in condition.after.iter().filter_map(|id| self.0.get(id)).flatten() {
            if !all.contains(root) {
                all.push(root.clone());
            }
        }
        all
    }

    /// What those go back to that depend on a condition.
    fn note(&mut self, condition: &Condition, judged: &Judged, above: Vec<ConditionId>) {
        let roots = if judged.failed() { vec![condition.id.clone()] } else { above };
        self.0.insert(condition.id.clone(), roots);
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
