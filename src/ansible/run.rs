//! Running a playbook on the VM; `judge` judges how it went.

use super::command::{Controller, Invocation};
use super::connection::Connection;
use super::error::AnsibleError;
use super::judge::Seen;
use super::left_behind;
use super::{Selection, Stage, local, process};
use crate::checks::Program;
use crate::checks::output::{End, Left};
use crate::profile::Apply;
use camino::{Utf8Path, Utf8PathBuf};
use evidence::playbook::checks::{self, Check};
use evidence::playbook::events::{self, Recap, TaskResult};
use evidence::playbook::reports::{Kind, Report};
use evidence::playbook::tried::Tried;
use host::child::STDOUT;
use host::dirs::write_private;
use host::secrets::mask;
use rustix::fs::{Mode, OFlags};
use std::io::{ErrorKind, Read};
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};
use vm::network::confine::NotRun;

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
    /// What is no failure and has to be known.
    pub reports: Vec<Report>,
}

/// A playbook that was run, and the judgement on it.
#[derive(Debug)]
pub struct Applied {
    /// What was seen of it; of a playbook that failed, up to its end.
    pub outcome: Outcome,
    /// Whether it counts as applied.
    pub judged: Result<(), AnsibleError>,
    /// Of a playbook that ran in part: the requested tags that select no task in it.
    pub unknown: Vec<String>,
}

impl Applied {
    /// The outcome of a playbook that counts as applied.
    pub fn passed(self) -> Result<Outcome, AnsibleError> {
        self.judged.map(|()| self.outcome)
    }
}

impl Runner<'_> {
    /// Run one of the profile's playbooks, and wait for what it leaves in the background. The error is for one that
    /// could not be run at all.
    pub async fn apply(&self, apply: &Apply, on_line: &mut dyn FnMut(&str)) -> Result<Applied, AnsibleError> {
        self.narrowed(apply, &Selection::default(), on_line).await
    }

    /// The same with a part of it. That a tag of the command selects no task is no error here: it may select one in another
    /// playbook.
    pub async fn narrowed(
        &self,
        apply: &Apply,
        by: &Selection,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<Applied, AnsibleError> {
        let playbook = self.controller.repo.join(&apply.playbook);
        let start = Instant::now();
        let (seen, mut outcome) = self.run(&playbook, &self.controller.narrowed(apply, by), on_line).await?;
        // Of a part, tasks that have them may be left out.
        let own = if *by == Selection::default() { apply.tags.as_slice() } else { &[] };
        let mut judged = seen.judge_apply(&playbook, own, by.start_at_task.as_deref());
        let unknown = seen.unknown_tags(&by.tags);
        let left = left_behind::left(&outcome.results);
        if judged.is_ok() && !left.is_empty() {
            let time = self.limit.saturating_sub(start.elapsed());
            judged = self.wait_for(&playbook, &left, time, &mut outcome, on_line).await;
        }
        Ok(Applied { outcome, judged, unknown })
    }

    /// Run one of the profile's playbooks in check mode. A task that fails in it ends the pass, and is no error: most
    /// that do fail only because what they build on was not done. The error is for a pass that could not be made.
    pub async fn check_mode(&self, apply: &Apply, on_line: &mut dyn FnMut(&str)) -> Result<Tried, AnsibleError> {
        let playbook = self.controller.repo.join(&apply.playbook);
        let (seen, outcome) = self.run(&playbook, &self.controller.check_mode(apply), on_line).await?;
        let ended = seen.judge_check_mode(&playbook)?;
        let Outcome { playbook, seconds, results, .. } = outcome;
        Ok(Tried { playbook, seconds, results, ended })
    }

    /// Wait for the jobs that a playbook left behind, and judge their ends.
    async fn wait_for(
        &self,
        playbook: &Utf8Path,
        left: &[left_behind::Left],
        time: Duration,
        outcome: &mut Outcome,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<(), AnsibleError> {
        let (waits, vars) = left_behind::write(self.controller, left)?;
        let waiter = Runner { limit: left_behind::limit(left, time), ..*self };
        let (seen, waited) =
            waiter.run(&waits, &self.controller.playbook(&waits, &Selection::default(), &[vars]), on_line).await?;
        outcome.seconds += waited.seconds;
        if seen.was_stopped() {
            let tasks: Vec<_> =
                left.iter().map(|left| format!("\"{}\" at {}", left.task.task, left.task.place)).collect();
            let (playbook, tasks) = (playbook.to_owned(), tasks.join(", "));
            return Err(AnsibleError::StillRunning { playbook, tasks, waited: waiter.limit });
        }
        // A job that failed has answered; where none did, what stopped the wait is the answer.
        let answers: Vec<_> = waited.results.into_iter().flat_map(|result| result.items).collect();
        if answers.is_empty() {
            seen.judge(playbook, Stage::Apply)?;
        }
        left_behind::failed(playbook, left, &answers)?;
        outcome.reports.extend(left.iter().map(|left| Report {
            kind: Kind::AsyncWaited,
            task: left.task.task.clone(),
            place: left.task.place.clone(),
            message: format!("its async job {} ended after {:.0} s of waiting", left.job.id, waited.seconds),
        }));
        Ok(())
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
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(bad(error.to_string())),
            Err(_) if seen.hands_over() => {
                // It ended before it could: what stopped it is the answer, and no verdict on the host.
                seen.judge(playbook, Stage::Verify)?;
                return Err(bad("it ended well and handed nothing over".into()));
            }
            // Its tasks are the checks.
            Err(_) => {
                let checks = checks::from_results(&outcome.results);
                seen.judge_verify(playbook, &checks)?;
                seen.judge_probes(playbook)?;
                checks
            }
        };
        seen.judge_verify(playbook, &checks)?;
        if checks.iter().all(|check| check.hint) {
            return Err(bad("none of its tasks is a check that could fail: it has only facts and the like".into()));
        }
        Ok((outcome, checks))
    }

    /// Run a program of the user's, confined as a playbook is. How it ended, and what it left: what it wrote to the report,
    /// else to its standard output.
    pub async fn program(
        &self,
        program: &Program,
        cwd: &Utf8Path,
        connection: &Connection,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<Left, AnsibleError> {
        self.controller.write_for_programs(connection)?;
        let invocation = self.controller.users_program(&program.run, cwd, self.address);
        let ended =
            process::run(&invocation, self.prefix, Duration::from_secs(program.limit), self.log, on_line).await?;
        let code = ended.status.map(|status| status.code().or_else(|| status.signal().map(|signal| 128 + signal)));
        let end = match (code, NotRun::told(code.flatten(), &ended.stderr)) {
            (_, Some(not_run)) => End::NotRun(not_run.why),
            (None, None) => End::Late,
            (Some(code), None) => End::Code(code.unwrap_or(i32::from(u8::MAX))),
        };
        let report = self.controller.folder.program_report();
        let output = match read_report(&report) {
            Err(error) if error.kind() == ErrorKind::NotFound => ended.stdout,
            read => read.map_err(|source| AnsibleError::Io { path: report, source })?,
        };
        Ok(Left { end, output, errors: ended.stderr })
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
        if let Some(error) = local::not_confined(code, &ended.stderr) {
            return Err(error);
        }
        let seconds = start.elapsed().as_secs_f64();
        let read = |path: Utf8PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        // Results hold what a task said; what is kept of them holds no secret. What is judged is read before: a secret
        // may be a word like any other.
        let told = read(folder.events());
        write_private(&folder.events(), mask(&told).as_ref())?;
        let events = events::parse(&told)
            .map_err(|why| AnsibleError::Unreadable { playbook: playbook.to_owned(), why: mask(&why).into_owned() })?;
        let seen = Seen {
            host: self.controller.host.to_string(),
            address: self.address,
            command: invocation.to_string(),
            limit: self.limit,
            ended,
            events: events.into_iter().map(|event| event.masked(|text| mask(text).into_owned())).collect(),
            logins: read(folder.logins()).lines().count(),
        };
        let outcome = seen.outcome(playbook, seconds);
        Ok((seen, outcome))
    }
}

/// A report as text, without secrets; none if it is longer than is read.
fn read_report(path: &Utf8Path) -> std::io::Result<Option<String>> {
    // The program is confined, and we are not: what it has made there can lead anywhere, or never end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path.as_std_path(), flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(STDOUT as u64 + 1).read_to_end(&mut bytes)?;
    let text = (bytes.len() <= STDOUT).then(|| String::from_utf8_lossy(&bytes).into_owned());
    Ok(text.map(|text| mask(&text).into_owned()))
}

pub(super) fn remove(path: &Utf8Path) -> Result<(), AnsibleError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(AnsibleError::Io { path: path.to_owned(), source }),
        _ => Ok(()),
    }
}
