//! Judging how a playbook run went.
//!
//! The judgement rests on three things that do not know each other: the exit status, what our callback plugin saw of
//! each task, and ssh's own record of its logins. A green playbook needs all three.

use super::error::{AnsibleError, FailedTask};
use super::run::Outcome;
use super::{Stage, local};
use camino::Utf8Path;
use evidence::playbook::checks::Check;
use evidence::playbook::events::{self, Event, Recap, Status, TaskResult};
use evidence::playbook::reports;
use host::child::Ended;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Everything that was seen of one playbook run.
pub(super) struct Seen {
    /// The mirrored host.
    pub(super) host: String,
    /// The VM's address.
    pub(super) address: Ipv4Addr,
    /// The command line.
    pub(super) command: String,
    /// How long it might take.
    pub(super) limit: Duration,
    /// How it ended.
    pub(super) ended: Ended,
    /// What the plugin saw.
    pub(super) events: Vec<Event>,
    /// How often ssh has logged in.
    pub(super) logins: usize,
}

impl Seen {
    fn results(&self) -> impl DoubleEndedIterator<Item = &TaskResult> {
        events::results(&self.events)
    }

    /// Whether the playbook is one that hands its checks over. One of which that is not known may be.
    pub(super) fn hands_over(&self) -> bool {
        !self.events.iter().any(|event| matches!(event, Event::Playbook { hands_over: false }))
    }

    /// Whether it was stopped for being too slow.
    pub(super) fn was_stopped(&self) -> bool {
        self.ended.status.is_none()
    }

    /// The recap of the VM, which only a playbook that came to its end has.
    fn recap(&self) -> Option<Recap> {
        self.events.iter().find_map(|event| match event {
            Event::End { hosts } => Some(hosts.get(&self.host).copied().unwrap_or_default()),
            _ => None,
        })
    }

    /// What is kept of it.
    pub(super) fn outcome(&self, playbook: &Utf8Path, seconds: f64) -> Outcome {
        let on_vm = || self.results().filter(|result| result.ran_on_vm());
        Outcome {
            playbook: playbook.to_owned(),
            seconds,
            tasks: on_vm().count(),
            changed: on_vm().filter(|result| result.changed).count(),
            recap: self.recap().unwrap_or_default(),
            results: self.results().cloned().collect(),
            reports: reports::of(&self.events, self.passed()),
        }
    }

    /// Whether Ansible itself found nothing wrong.
    fn passed(&self) -> bool {
        let well = |recap: Recap| recap.failures + recap.unreachable == 0;
        self.ended.status.is_some_and(|status| status.success()) && self.recap().is_some_and(well)
    }

    /// The error that the run is, if it is one.
    pub(super) fn judge(&self, playbook: &Utf8Path, stage: Stage) -> Result<(), AnsibleError> {
        let strayed = self.results().find(|result| self.strayed(result));
        if let Some(TaskResult { task, place, delegated: Some(target), .. }) = strayed {
            let (task, place, target) = (task.clone(), place.clone(), target.clone());
            return Err(AnsibleError::Strayed { playbook: playbook.to_owned(), task, place, target, stage });
        }
        let Some(status) = self.ended.status else {
            return Err(AnsibleError::TimedOut {
                playbook: playbook.to_owned(),
                limit: self.limit,
                during: self.during(),
            });
        };
        if !self.passed() {
            return Err(self.failure(playbook, stage, status));
        }
        let why = match (self.results().any(TaskResult::ran_on_vm), self.logins) {
            (true, 1..) => return Ok(()),
            (true, 0) => "ssh never logged in".to_owned(),
            (false, _) => self.why_nothing(),
        };
        Err(AnsibleError::NothingRan { playbook: playbook.to_owned(), why, stage })
    }

    /// What ended a pass in check mode before its end, if that is what a task said; the error if it is no pass at all.
    /// Nothing that is only tried has to have run, but the VM must have answered.
    pub(super) fn judge_check_mode(&self, playbook: &Utf8Path) -> Result<Option<String>, AnsibleError> {
        let ended = match self.judge(playbook, Stage::Verify) {
            Err(AnsibleError::TaskFailed(task)) => {
                Some(format!("task \"{}\" at {} failed: {}", task.task, task.place, task.message))
            }
            Err(AnsibleError::NothingRan { .. }) | Ok(()) => None,
            Err(other) => return Err(other),
        };
        let reached = self.results().any(|result| result.on_host && (result.was_only_tried() || result.ran_on_vm()));
        match (reached, self.logins) {
            (true, 1..) => Ok(ended),
            (reached, _) => Err(AnsibleError::NothingRan {
                playbook: playbook.to_owned(),
                why: if reached { "ssh never logged in".to_owned() } else { self.why_nothing() },
                stage: Stage::Verify,
            }),
        }
    }

    /// Why there is no task that ran on the VM.
    fn why_nothing(&self) -> String {
        let tried = self.results().filter(|result| result.was_only_tried()).count();
        let ended = self.events.iter().find_map(|event| match event {
            Event::Ended { how, task, place, .. } => Some((how, task, place)),
            _ => None,
        });
        match (tried, ended) {
            (1.., _) => format!("{tried} tasks ran in check mode only"),
            (0, Some((how, task, place))) => format!("task \"{task}\" at {place} ended it by {how}"),
            (0, None) => "none was selected, or all were skipped or stayed on this side".into(),
        }
    }

    /// The error that a playbook of the profile is, with these tags, if it is one. To prepare and to look is not to
    /// apply, and a tag that selects nothing is a mistake, though Ansible says nothing of either.
    pub(super) fn judge_apply(
        &self,
        playbook: &Utf8Path,
        tags: &[String],
        start_at_task: Option<&str>,
    ) -> Result<(), AnsibleError> {
        let judged = self.judge(playbook, Stage::Apply);
        if !matches!(judged, Ok(()) | Err(AnsibleError::NothingRan { .. })) {
            return judged;
        }
        // Ansible says that it found no such task, runs none, and may call that success.
        if let (Some(task), true) = (start_at_task, self.results().next().is_none()) {
            return Err(AnsibleError::NoSuchTask { playbook: playbook.to_owned(), task: task.to_owned() });
        }
        let unknown = self.unknown_tags(tags);
        if !unknown.is_empty() {
            let ran = self.results().filter(|result| result.ran_on_vm()).count();
            return Err(AnsibleError::UnknownTag { playbook: playbook.to_owned(), tags: unknown.join(", "), ran });
        }
        judged?;
        let tried = self.results().any(TaskResult::was_only_tried);
        let applied = |result: &TaskResult| result.ran_on_vm() && !result.only_prepares();
        if tried && !self.results().any(applied) {
            let (playbook, why) = (playbook.to_owned(), self.why_nothing());
            return Err(AnsibleError::NothingRan { playbook, why, stage: Stage::Apply });
        }
        Ok(())
    }

    /// The tags that selected no task. Where the playbook ended a play, what would have come is not known.
    pub(super) fn unknown_tags(&self, tags: &[String]) -> Vec<String> {
        if self.events.iter().any(|event| matches!(event, Event::Ended { .. })) {
            return Vec::new();
        }
        let selects = |tag: &str| {
            self.results().any(|result| match tag {
                "all" => true,
                "tagged" => !result.tags.is_empty(),
                "untagged" => result.tags.is_empty(),
                // An include that has the tag does not hand it on to what it includes.
                _ if matches!(result.module(), "include_tasks" | "include_role") => false,
                _ => result.tags.iter().any(|own| own == tag),
            })
        };
        let each = tags.iter().flat_map(|tags| tags.split(',')).map(str::trim).filter(|tag| !tag.is_empty());
        each.filter(|tag| !selects(tag)).map(str::to_owned).collect()
    }

    /// A red check is the reason why a verify playbook fails; without one, it is judged as any other.
    pub(super) fn judge_verify(&self, playbook: &Utf8Path, checks: &[Check]) -> Result<(), AnsibleError> {
        match self.judge(playbook, Stage::Verify) {
            Err(AnsibleError::TaskFailed(_)) if checks.iter().any(Check::is_red) && self.logins > 0 => Ok(()),
            other => other,
        }
    }

    /// The error that a verify playbook is whose tasks are the checks, if one of them came to no answer: nothing that
    /// follows from it counts.
    pub(super) fn judge_probes(&self, playbook: &Utf8Path) -> Result<(), AnsibleError> {
        let broke = |result: &&TaskResult| result.broke || result.items.iter().any(|item| item.broke);
        match self.results().find(|result| broke(result) && !result.ignored) {
            None => Ok(()),
            Some(result) => Err(AnsibleError::CouldNotLook {
                playbook: playbook.to_owned(),
                task: result.task.clone(),
                place: result.place.clone(),
                why: match result.items.iter().find(|item| item.broke) {
                    Some(item) => format!("{}: {}", item.label, item.message),
                    None => result.why(),
                },
            }),
        }
    }

    /// Meant for a host that is not mirrored, and run all the same.
    fn strayed(&self, result: &TaskResult) -> bool {
        let elsewhere = result.delegated.as_ref().is_some_and(|target| *target != self.address.to_string());
        // Where an item of a loop was left out, so was each that was for another host.
        elsewhere && result.on_host && result.status != Status::Skipped && !result.left_out
    }

    /// The task that ended the playbook: the last that failed and was not ignored. Earlier ones were rescued.
    fn failure(&self, playbook: &Utf8Path, stage: Stage, status: std::process::ExitStatus) -> AnsibleError {
        let bad = |result: &&TaskResult| result.is_bad() && !result.ignored;
        let playbook = playbook.to_owned();
        match self.results().rev().find(bad) {
            Some(result) if result.status == Status::Unreachable => AnsibleError::Unreachable {
                playbook,
                task: result.task.clone(),
                host: result.host.clone(),
                message: result.why(),
            },
            Some(result) => AnsibleError::TaskFailed(Box::new(FailedTask {
                playbook,
                play: result.play.clone(),
                task: result.task.clone(),
                place: result.place.clone(),
                host: result.host.clone(),
                message: result.why(),
                stage,
            })),
            None => {
                let status = match status.success() {
                    true => "success, but without reporting a single play".to_owned(),
                    false => status.to_string(),
                };
                let said = local::error_lines(&self.ended.stderr);
                AnsibleError::Refused { command: self.command.clone(), status, said, stage }
            }
        }
    }

    /// What was going on at the end.
    fn during(&self) -> String {
        match self.events.last() {
            Some(Event::Start { task, .. }) => format!("task \"{task}\" was running"),
            Some(Event::Result(result)) => format!("task \"{}\" had just ended", result.task),
            Some(Event::Ended { task, how, .. }) => format!("task \"{task}\" had just asked for {how}"),
            Some(Event::End { .. }) => "its last play had ended".into(),
            Some(Event::Playbook { .. } | Event::Unmatched { .. } | Event::Broken { .. }) | None => {
                "no task had begun".into()
            }
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
