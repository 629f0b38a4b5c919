//! What is told of a playbook that counts as applied, because a reader could take it for more than it is.

use super::events::{Event, TaskResult};
use serde::{Deserialize, Serialize};

/// Something about a playbook run that is no failure, and that the reader has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What kind of thing it is.
    pub kind: Kind,
    /// The task, or the play where it is about a whole one.
    pub task: String,
    /// File and line; empty where there is none.
    pub place: String,
    /// What happened.
    pub message: String,
}

/// The kinds of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The task was only tried.
    CheckMode,
    /// The task was in the background when the playbook ended, and was waited for.
    AsyncWaited,
    /// The task was in the background when the playbook ended, and could not be waited for.
    AsyncUnwaited,
    /// The playbook ended a play, a batch, a host or a role.
    Ended,
    /// The task failed, and the playbook caught that.
    Rescued,
    /// The task failed, and the playbook ignores that.
    Ignored,
    /// The host did not answer the task, and the playbook ignores that.
    UnreachableIgnored,
    /// The play is for hosts that are not mirrored.
    NotMirrored,
    /// The task was to go to another host, and was left out.
    LeftOut,
    /// The task restarted the machine.
    RebootedByPlaybook,
}

impl Kind {
    /// Whether it is about a task that failed without ending the playbook.
    pub fn is_a_failure(self) -> bool {
        matches!(self, Self::Rescued | Self::Ignored | Self::UnreachableIgnored)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CheckMode => "check mode",
            Self::AsyncWaited => "waited for",
            Self::AsyncUnwaited => "not waited for",
            Self::Ended => "ended early",
            Self::Rescued => "rescued",
            Self::Ignored => "ignored",
            Self::UnreachableIgnored => "unreachable",
            Self::NotMirrored => "not mirrored",
            Self::LeftOut => "left out",
            Self::RebootedByPlaybook => "rebooted",
        })
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: \"{}\"", self.kind, self.task)?;
        if !self.place.is_empty() {
            write!(f, " ({})", self.place)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// What a run's events have to be told of, in their order. Of one that did not pass, the last failure that nothing
/// caught is its reason and no report.
pub fn of(events: &[Event], passed: bool) -> Vec<Report> {
    let fatal = |event: &&Event| matches!(event, Event::Result(result) if result.is_bad() && !result.ignored);
    let reason = if passed { None } else { events.iter().rev().find(fatal) };
    let mut ran = 0;
    let mut reports = Vec::new();
    for event in events {
        match event {
            Event::Result(result) => {
                ran += usize::from(result.ran_on_vm());
                if !reason.is_some_and(|reason| std::ptr::eq(reason, event)) {
                    reports.extend(of_result(result));
                }
            }
            Event::Ended { how, task, place, .. } => reports.push(Report {
                kind: Kind::Ended,
                task: task.clone(),
                place: place.clone(),
                message: format!("{how}: what comes after it was not run ({ran} tasks had run on the VM)"),
            }),
            Event::Unmatched { play, hosts } => reports.push(Report {
                kind: Kind::NotMirrored,
                task: play.clone(),
                place: String::new(),
                message: format!("the play (hosts: {}) was not run: not mirrored", hosts.join(", ")),
            }),
            Event::Playbook { .. } | Event::Start { .. } | Event::Broken { .. } | Event::End { .. } => {}
        }
    }
    reports
}

fn of_result(result: &TaskResult) -> Option<Report> {
    let (kind, message) = match result {
        _ if result.is_bad() => {
            let kind = match (result.ignored, result.status) {
                (true, super::events::Status::Unreachable) => Kind::UnreachableIgnored,
                (true, _) => Kind::Ignored,
                (false, _) => Kind::Rescued,
            };
            (kind, result.why())
        }
        _ if result.rebooted => {
            (Kind::RebootedByPlaybook, format!("the playbook itself restarted the machine ({:.0} s)", result.seconds))
        }
        _ if result.left_out => {
            let to = result.delegated.as_deref().unwrap_or("another host");
            (Kind::LeftOut, format!("it would have gone to {to}; boma_skip_delegated leaves that out"))
        }
        _ if result.was_only_tried() => (Kind::CheckMode, "it was only tried, in check mode: nothing was done".into()),
        _ if left_unseen(result) => {
            let why = match result.on_host {
                true => "it was left in the background, and no_log hides which job it is: it may still run",
                false => "it was left in the background on this side, and ended with the playbook",
            };
            (Kind::AsyncUnwaited, why.into())
        }
        _ => return None,
    };
    Some(Report { kind, task: result.task.clone(), place: result.place.clone(), message })
}

/// Whether it left a job that cannot be waited for: one on this side, or one that is hidden.
fn left_unseen(result: &TaskResult) -> bool {
    let open = |job: &super::events::Job| !job.finished && (!result.on_host || job.file.is_empty());
    result.module() != "async_status" && result.jobs.iter().any(open)
}
