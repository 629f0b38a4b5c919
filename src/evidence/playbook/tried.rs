//! A pass in check mode (`--check --diff`) after the reboot, held against one before it: what a task would change now
//! and would not have changed then did not survive.
//!
//! Like is compared with like. A module whose check mode is inexact, or a command that is never done, would change
//! something before the reboot too, and is no loss. What check mode cannot judge is counted and reported.

use super::events::{Item, Status, TaskResult};
use crate::allowed::{Allowance, AllowedLoss, TASKS};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// What a pass in check mode saw of one playbook.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The playbook.
    pub playbook: Utf8PathBuf,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Every task, in the order in which they ended.
    pub results: Vec<TaskResult>,
    /// The task that ended it, if it did not come to its end: what comes after that was not looked at.
    pub ended: Option<String>,
}

/// A pass over a playbook, or why there is none.
pub type Pass = Result<Tried, String>;

/// A task, or an item of its loop, with what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its role; empty where it is of none.
    pub role: String,
    /// Its name.
    pub task: String,
    /// File and line.
    pub place: String,
    /// The item of its loop; empty where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub item: String,
    /// The difference, or the reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
}

impl Told {
    /// Its stable name, by which the profile can allow it: `tasks/base: Its settings`.
    pub fn id(&self) -> String {
        format!("{TASKS}{}{}", self.of_role(), self.task)
    }

    fn of_role(&self) -> String {
        if self.role.is_empty() { String::new() } else { format!("{}: ", self.role) }
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let item = if self.item.is_empty() { String::new() } else { format!(" [{}]", self.item) };
        write!(f, "{}{}{item} ({})", self.of_role(), self.task, self.place)
    }
}

/// What the passes in check mode say together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Tasks and items that could be judged, before the reboot and after it.
    pub judged: usize,
    /// What would change after the reboot and would not have before it, with the difference.
    pub undone: Vec<Told>,
    /// What of that the profile allows, with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<(Told, String)>,
    /// What would change again each time: it says nothing about the reboot.
    pub again: Vec<Told>,
    /// What check mode cannot judge, with the reason.
    pub unjudged: Vec<Told>,
    /// What really ran in the pass after the reboot (`check_mode: false`), with what it did.
    pub ran: Vec<Told>,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
    /// Entries of the allow-list about tasks that matched none of them; none is named where not all could be looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unused: Vec<String>,
}

impl Compared {
    /// Take out of what is undone what the profile allows at this time. An entry that has expired allows nothing, and is
    /// named.
    pub fn allow(&mut self, allow: &[AllowedLoss], now: SystemTime) {
        let unused =
            |entry: &&AllowedLoss| entry.is_of_a_task() && !self.undone.iter().any(|told| entry.covers(&told.id()));
        if self.unseen.is_empty() {
            self.unused = allow.iter().filter(unused).map(|entry| entry.id.clone()).collect();
        }
        for mut told in std::mem::take(&mut self.undone) {
            match AllowedLoss::allowance(allow, &told.id(), now) {
                Some(Allowance::Holds(why)) => {
                    self.allowed.push((told, why));
                    continue;
                }
                Some(Allowance::Expired(why)) => told.said += &format!("\n{why}"),
                None => {}
            }
            self.undone.push(told);
        }
    }
}

/// What a pass says of one task or item.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Holds,
    WouldChange,
    Unjudged(String),
}

/// One answer of a pass. Handlers run because of another task, and are reported under it.
struct Look {
    told: Told,
    answer: Answer,
    really: bool,
}

impl Look {
    fn key(&self) -> (String, String, String) {
        (self.told.place.clone(), self.told.task.clone(), self.told.item.clone())
    }
}

/// Why a skipped task is judged all the same: what it makes is there.
const HELD: [&str; 2] = ["matching creates option", "matching removes option"];

fn answer(result: &TaskResult, status: Status, (changed, idle): (bool, bool), message: &str) -> Option<Answer> {
    let unjudged = || Some(Answer::Unjudged(message.lines().next().unwrap_or_default().to_owned()));
    match status {
        _ if idle => None,
        Status::Ok if changed => Some(Answer::WouldChange),
        Status::Ok => Some(Answer::Holds),
        Status::Skipped if HELD.iter().any(|held| message.ends_with(held)) => Some(Answer::Holds),
        Status::Skipped if result.check_mode => unjudged(),
        Status::Skipped => None,
        Status::Failed | Status::Unreachable => unjudged(),
    }
}

/// The answers of a playbook run, in their order.
fn looks(results: &[TaskResult]) -> Vec<Look> {
    let counts = |result: &&TaskResult| result.on_host && !result.handler && !result.only_prepares();
    results.iter().filter(counts).flat_map(looks_of).collect()
}

fn looks_of(result: &TaskResult) -> Vec<Look> {
    let look = |item: &str, diff: &str, answer: Option<Answer>| {
        answer.map(|answer| Look {
            told: Told {
                role: result.role.clone(),
                task: result.bare_task().to_owned(),
                place: result.place.clone(),
                item: item.to_owned(),
                said: diff.to_owned(),
            },
            answer,
            really: !result.check_mode,
        })
    };
    let of_item = |item: &Item| {
        look(&item.label, &item.diff, answer(result, item.status, (item.changed, item.idle), &item.message))
    };
    match result.items.is_empty() {
        true => look("", &result.diff, answer(result, result.status, (result.changed, result.idle), &result.message))
            .into_iter()
            .collect(),
        false => result.items.iter().filter_map(of_item).collect(),
    }
}

/// What the passes say, in some words.
pub fn summary(compared: &Compared) -> String {
    let Compared { judged, undone, allowed, again, unjudged, ran, unseen: _, unused: _ } = compared;
    let counts = [
        (allowed.len(), "allowed"),
        (again.len(), if again.len() == 1 { "changes each time" } else { "change each time" }),
        (unjudged.len(), "cannot be judged in check mode"),
        (ran.len(), "ran all the same"),
    ];
    let mut words = vec![match (undone.len(), judged) {
        (0, 0) => "no task could be judged".to_owned(),
        (0, judged) => format!("nothing is undone, {judged} tasks judged"),
        (1, judged) => format!("1 of {judged} tasks would do its work again"),
        (n, judged) => format!("{n} of {judged} tasks would do their work again"),
    }];
    words.extend(counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    words.join(", ")
}

/// What a second run of the playbooks changed on the VM. Handlers are reported too: they did something.
pub fn changed(results: &[TaskResult]) -> Vec<Told> {
    let did = results.iter().filter(|result| result.changed && result.ran_on_vm());
    let told = did.flat_map(|result| {
        let all = looks_of(result).into_iter().filter(|look| look.answer == Answer::WouldChange);
        all.map(|look| look.told).collect::<Vec<_>>()
    });
    told.collect()
}

/// Hold the passes after the reboot against those before it, playbook by playbook. `repeated` is what a second run
/// changed: that is never done, and no loss.
pub fn compare(before: &[Pass], after: &[Pass], repeated: &[Told]) -> Compared {
    let mut compared = Compared::default();
    for (before, after) in before.iter().zip(after) {
        unseen(&mut compared.unseen, before, after);
        let earlier = before.as_ref().map(|tried| looks(&tried.results)).unwrap_or_default();
        let now = after.as_ref().map(|tried| looks(&tried.results)).unwrap_or_default();
        playbook(&mut compared, &earlier, now, repeated);
    }
    compared
}

/// What of a playbook was not looked at, on either side.
fn unseen(unseen: &mut Vec<String>, before: &Pass, after: &Pass) {
    let why = |pass: &Pass| match pass {
        Ok(Tried { ended: Some(task), .. }) => Some(format!("what comes after it was not looked at: {task}")),
        Ok(_) => None,
        Err(why) => Some(why.clone()),
    };
    match (why(before), why(after)) {
        (Some(before), Some(after)) if before == after => unseen.push(after),
        (before, after) => {
            unseen.extend(before.map(|why| format!("before the reboot: {why}")));
            unseen.extend(after.map(|why| format!("after the reboot: {why}")));
        }
    }
}

fn playbook(compared: &mut Compared, before: &[Look], after: Vec<Look>, repeated: &[Told]) {
    let mut earlier: BTreeMap<_, Vec<&Answer>> = BTreeMap::new();
    for look in before {
        earlier.entry(look.key()).or_default().push(&look.answer);
    }
    let mut times: BTreeMap<_, usize> = BTreeMap::new();
    after.iter().for_each(|look| *times.entry(look.key()).or_default() += 1);
    let mut seen: BTreeMap<_, usize> = BTreeMap::new();
    for look in after {
        let key = look.key();
        let nth = seen.entry(key.clone()).or_default();
        let was = earlier.get(&key).and_then(|all| was(all, *nth, times[&key]));
        *nth += 1;
        let repeats = repeated.iter().any(|told| (&told.place, &told.task, &told.item) == (&key.0, &key.1, &key.2));
        one(compared, look, was, repeats);
    }
}

/// What a task that comes several times said before. If it came another number of times, which is which is unknown:
/// then one that would have changed something stands for all.
fn was(all: &[&Answer], nth: usize, times: usize) -> Option<Answer> {
    if all.len() == times {
        return all.get(nth).map(|answer| (*answer).clone());
    }
    let worst = all.iter().find(|answer| ***answer == Answer::WouldChange);
    let judged = all.iter().find(|answer| ***answer == Answer::Holds);
    worst.or(judged).or(all.first()).map(|answer| (**answer).clone())
}

fn one(compared: &mut Compared, look: Look, was: Option<Answer>, repeats: bool) {
    let Look { told, answer, really } = look;
    if really {
        let said = match &answer {
            Answer::Holds => "it ran and changed nothing".to_owned(),
            Answer::WouldChange => "it ran and changed something".to_owned(),
            Answer::Unjudged(why) => format!("it ran and failed: {why}"),
        };
        compared.ran.push(Told { said, ..told.clone() });
    }
    let not = |why: String| Told { said: why, ..told.clone() };
    match (answer, was) {
        (Answer::Unjudged(why), _) => compared.unjudged.push(not(why)),
        (_, None) => compared.unjudged.push(not("it was not looked at before the reboot".into())),
        (_, Some(Answer::Unjudged(why))) => {
            compared.unjudged.push(not(format!("it could not be judged before the reboot: {why}")));
        }
        (Answer::Holds, Some(_)) => compared.judged += 1,
        (Answer::WouldChange, Some(Answer::Holds)) if !repeats => {
            compared.judged += 1;
            compared.undone.push(told);
        }
        (Answer::WouldChange, Some(_)) => {
            compared.judged += 1;
            compared.again.push(told);
        }
    }
}

/// How long a pass will take over what is done already, from how long it took to do it: what Ansible needs of its own,
/// what the tasks took that changed nothing, and as long as such a task for each that did.
pub fn seconds_if_done(seconds: f64, results: &[TaskResult]) -> f64 {
    let own = (seconds - results.iter().map(|result| result.seconds).sum::<f64>()).max(0.0);
    let (done, undone): (Vec<_>, Vec<_>) = results.iter().partition(|result| result.changed);
    let mut quick: Vec<_> = undone.iter().filter(|r| r.on_host && r.status == Status::Ok).map(|r| r.seconds).collect();
    quick.sort_by(f64::total_cmp);
    let usual = quick.get(quick.len() / 2).copied().unwrap_or(f64::INFINITY);
    let again = done.iter().map(|result| result.seconds.min(usual)).sum::<f64>();
    own + undone.iter().map(|result| result.seconds).sum::<f64>() + again
}

#[cfg(test)]
#[path = "tried_tests.rs"]
mod tests;
