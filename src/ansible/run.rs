//! Running a playbook on the VM, and judging how it went.
//!
//! The judgement rests on three things that do not know each other: the exit status, what our callback plugin saw of
//! each task, and ssh's own record of its logins. A green playbook needs all three.

use super::checks::{self, Check};
use super::command::{Controller, Invocation};
use super::error::{AnsibleError, FailedTask};
use super::events::{self, Event, Recap, Status, TaskResult};
use super::process;
use super::{Stage, local};
use crate::host::child::Ended;
use crate::host::dirs::write_private;
use crate::host::secrets::mask;
use crate::profile::Apply;
use camino::{Utf8Path, Utf8PathBuf};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Runs playbooks on one VM.
#[derive(Debug)]
pub struct Runner<'a> {
    /// What the command lines are made of.
    pub controller: &'a Controller,
    /// The VM's address.
    pub address: Ipv4Addr,
    /// What confines Ansible and its ssh.
    pub prefix: &'a [String],
    /// Where the output goes, besides to the caller.
    pub log: &'a Utf8Path,
    /// How long one playbook may take.
    pub limit: Duration,
}

/// What was seen of a playbook that ran on the VM.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The playbook.
    pub playbook: Utf8PathBuf,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Tasks that ran on the VM.
    pub tasks: usize,
    /// Those of them that changed something.
    pub changed: usize,
    /// Ansible's own recap of the VM.
    pub recap: Recap,
    /// Every task, in the order in which they ended.
    pub results: Vec<TaskResult>,
}

/// A playbook that was run, and the judgement on it.
#[derive(Debug)]
pub struct Applied {
    /// What was seen of it; of a playbook that failed, up to its end.
    pub outcome: Outcome,
    /// Whether it counts as applied.
    pub judged: Result<(), AnsibleError>,
}

impl Applied {
    /// The outcome of a playbook that counts as applied.
    pub fn passed(self) -> Result<Outcome, AnsibleError> {
        self.judged.map(|()| self.outcome)
    }
}

impl Runner<'_> {
    /// Run one of the profile's playbooks. The error is for one that could not be run at all.
    pub async fn apply(&self, apply: &Apply, on_line: &mut dyn FnMut(&str)) -> Result<Applied, AnsibleError> {
        let playbook = self.controller.repo.join(&apply.playbook);
        let (seen, outcome) = self.run(&playbook, &self.controller.apply(apply), on_line).await?;
        Ok(Applied { outcome, judged: seen.judge(&playbook, Stage::Apply) })
    }

    /// Run the verify playbook (an absolute path). Checks that failed are no error here: they are the answer. A
    /// playbook that could not look, or that failed although all its checks are green, is one.
    pub async fn verify(
        &self,
        playbook: &Utf8Path,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<(Outcome, Vec<Check>), AnsibleError> {
        let checks_file = self.controller.folder.checks();
        remove(&checks_file)?;
        let (seen, outcome) = self.run(playbook, &self.controller.verify(playbook), on_line).await?;
        let bad = |why| AnsibleError::BadChecks { playbook: playbook.to_owned(), why };
        let checks = match std::fs::read_to_string(&checks_file) {
            Ok(text) => checks::parse(&text).map_err(bad)?,
            Err(_) if hands_over(playbook) => {
                // It ended before it could: what stopped it is the answer, and no verdict on the host.
                seen.judge(playbook, Stage::Verify)?;
                return Err(bad("it ended well and handed nothing over".into()));
            }
            // Its tasks are the checks.
            Err(_) => checks::from_results(&outcome.results),
        };
        seen.judge_verify(playbook, &checks)?;
        Ok((outcome, checks))
    }

    async fn run(
        &self,
        playbook: &Utf8Path,
        invocation: &Invocation,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<(Seen, Outcome), AnsibleError> {
        let folder = &self.controller.folder;
        remove(&folder.events())?;
        // ssh appends to it, by a umask that is not ours.
        write_private(&folder.logins(), "")?;
        // A connection that an earlier run left open would hide this run's login.
        let mut left = folder.control().read_dir_utf8().into_iter().flatten().filter_map(Result::ok);
        left.try_for_each(|socket| remove(socket.path()))?;
        let start = Instant::now();
        let ended = process::run(invocation, self.prefix, self.limit, self.log, on_line).await?;
        let code = ended.status.and_then(|status| status.code());
        if let Some(error) = local::not_confined(self.prefix, code, &ended.stderr) {
            return Err(error);
        }
        let seconds = start.elapsed().as_secs_f64();
        let read = |path: Utf8PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        // Results hold what a task said; what is kept of them holds no secret.
        let told = mask(&read(folder.events())).into_owned();
        write_private(&folder.events(), &told)?;
        let seen = Seen {
            host: self.controller.host.to_string(),
            address: self.address,
            command: invocation.to_string(),
            limit: self.limit,
            ended,
            events: events::parse(&told),
            logins: read(folder.logins()).lines().count(),
        };
        let outcome = seen.outcome(playbook, seconds);
        Ok((seen, outcome))
    }
}

/// Whether a verify playbook is one that hands its checks over.
fn hands_over(playbook: &Utf8Path) -> bool {
    std::fs::read_to_string(playbook).is_ok_and(|text| text.contains("boma_checks_file"))
}

fn remove(path: &Utf8Path) -> Result<(), AnsibleError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(AnsibleError::Io { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Everything that was seen of one playbook run.
struct Seen {
    host: String,
    address: Ipv4Addr,
    command: String,
    limit: Duration,
    ended: Ended,
    events: Vec<Event>,
    logins: usize,
}

impl Seen {
    fn results(&self) -> impl DoubleEndedIterator<Item = &TaskResult> {
        self.events.iter().filter_map(|event| match event {
            Event::Result(result) => Some(result.as_ref()),
            Event::Start { .. } | Event::End { .. } => None,
        })
    }

    /// The recap of the VM, which only a playbook that came to its end has.
    fn recap(&self) -> Option<Recap> {
        self.events.iter().find_map(|event| match event {
            Event::End { hosts } => Some(hosts.get(&self.host).copied().unwrap_or_default()),
            Event::Start { .. } | Event::Result(_) => None,
        })
    }

    fn outcome(&self, playbook: &Utf8Path, seconds: f64) -> Outcome {
        let on_vm = || self.results().filter(|result| result.ran_on_vm());
        Outcome {
            playbook: playbook.to_owned(),
            seconds,
            tasks: on_vm().count(),
            changed: on_vm().filter(|result| result.changed).count(),
            recap: self.recap().unwrap_or_default(),
            results: self.results().cloned().collect(),
        }
    }

    /// The error that the run is, if it is one.
    fn judge(&self, playbook: &Utf8Path, stage: Stage) -> Result<(), AnsibleError> {
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
        let recap = self.recap();
        if !status.success() || recap.is_none_or(|recap| recap.failures + recap.unreachable > 0) {
            return Err(self.failure(playbook, stage, status));
        }
        let why = match (self.results().any(TaskResult::ran_on_vm), self.logins) {
            (true, 1..) => return Ok(()),
            (true, 0) => "ssh never logged in",
            (false, _) => "none was selected, or all were skipped or stayed on this side",
        };
        Err(AnsibleError::NothingRan { playbook: playbook.to_owned(), why, stage })
    }

    /// A red check is the reason why a verify playbook fails; without one, it is judged as any other.
    fn judge_verify(&self, playbook: &Utf8Path, checks: &[Check]) -> Result<(), AnsibleError> {
        let red = checks.iter().any(|check| !check.ok && !check.hint);
        match self.judge(playbook, Stage::Verify) {
            Err(AnsibleError::TaskFailed(_)) if red && self.logins > 0 => Ok(()),
            other => other,
        }
    }

    /// Meant for a host that is not mirrored, and run all the same.
    fn strayed(&self, result: &TaskResult) -> bool {
        let elsewhere = result.delegated.as_ref().is_some_and(|target| *target != self.address.to_string());
        elsewhere && result.on_host && result.status != Status::Skipped
    }

    /// The task that ended the playbook: the last that failed and was not ignored. Earlier ones were rescued.
    fn failure(&self, playbook: &Utf8Path, stage: Stage, status: std::process::ExitStatus) -> AnsibleError {
        let bad =
            |result: &&TaskResult| matches!(result.status, Status::Failed | Status::Unreachable) && !result.ignored;
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
            Some(Event::End { .. }) => "its last play had ended".into(),
            None => "no task had begun".into(),
        }
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
