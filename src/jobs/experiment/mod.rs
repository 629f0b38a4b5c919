//! The experiment: from one applied state, each mode of restart so-and-so often, everything measured.

mod crash;
mod one;
mod steps;

use super::collect::diagnose;
use super::run::Run;
use super::stop::asked;
use super::target::alive;
use super::{Context, Progress};
use crate::plan::Plan;
use evidence::experiment::record::{Experiment, OneRun};
use evidence::experiment::{Wanted, outcome, why};
use evidence::page;
use evidence::record::{Asked, Phase, Step};
use evidence::report::RunFolder;
use host::failure::{Exit, Failure};
use host::names::{HostName, SnapshotName};
use one::Terms;
use std::time::{Duration, Instant};
use steps::Steps;
use vm::snapshot::Taken;

/// How an experiment ended.
#[derive(Debug)]
pub struct Outcome {
    /// What was measured.
    pub experiment: Experiment,
    /// Where it is kept.
    pub folder: RunFolder,
    /// The VM, if it is still there.
    pub kept: Option<HostName>,
}

/// Run an experiment on the VM that is up; where there is none, bring one up by `plan` and remove it at the end,
/// unless it is to be kept. The error is for what went wrong before the first run.
pub async fn experiment(
    ctx: Context<'_>,
    host: &HostName,
    plan: Option<Plan>,
    wanted: &Wanted,
    keep: bool,
    mut told: impl FnMut(&OneRun),
) -> Result<Outcome, Failure> {
    wanted.check()?;
    let steps = Steps::new(ctx.progress);
    let ctx = Context { progress: &steps, ..ctx };
    let made_here = plan.is_some();
    let mut run = match plan {
        Some(plan) => Run::begin(ctx, plan, &format!("experiment {host}"))?,
        None => Run::resume(ctx, host)?,
    };
    run.begin_command();
    run.judge_by(wanted.findings, wanted.watch_for);
    let limit = wanted.timeout_s.map_or(run.plan().limit(), Duration::from_secs);
    let made = match made_here {
        true => run.provide().await,
        false => Taken::load(run.vm().dir(), &wanted.from).map(drop).map_err(Failure::from),
    };
    // A VM that could not be made says so by the way of every run; one that was there is left alone.
    if let Err(failure) = made {
        if made_here {
            run.close(Err(failure.clone()), keep.into(), Asked::Step).await?;
        }
        return Err(failure);
    }
    let folder = own_folder(&run, wanted)?;
    let mut all = Experiment::begin(wanted, run.record());
    let begin = Instant::now();
    let mut done = run.all(&mut all, limit, &folder, &steps, begin, &mut told).await;
    if let (Ok(()), Some(crash)) = (&done, &wanted.crash) {
        done = run.crash_states(crash, wanted, limit, &folder).await.map(|found| all.add_crash(found));
    }
    if let Err(failure) = done {
        all.fail(failure);
    }
    all.seconds = begin.elapsed().as_secs_f64();
    let kept = run.end(&mut all, limit, made_here, keep).await?;
    page::publish_experiment(&all, &folder)?;
    Ok(Outcome { experiment: all, folder, kept })
}

impl Run<'_> {
    /// The machine with the playbooks applied, and its snapshot.
    async fn provide(&mut self) -> Result<(), Failure> {
        self.up().await?;
        self.apply().await?;
        self.snapshot(&SnapshotName::applied()).await
    }

    /// All runs, one after the other. A run that fails is no reason to stop; a VM that is gone is.
    async fn all(
        &mut self,
        all: &mut Experiment,
        limit: Duration,
        folder: &RunFolder,
        steps: &Steps<'_>,
        begin: Instant,
        told: &mut impl FnMut(&OneRun),
    ) -> Result<(), Failure> {
        page::publish_experiment(all, folder)?;
        let order = all.order.clone();
        for (place, mode) in order.iter().enumerate() {
            let number = place + 1;
            let one = OneRun::begin(number, place / all.modes.len() + 1, *mode);
            steps.begin_run(format!("{number}/{} {mode}", order.len()));
            let own = RunFolder::open(folder.path().join(&one.folder));
            let started = Instant::now();
            let one = self
                .one(one, &Terms { seed: all.seed, from: &all.from, findings: all.policy(), limit, folder: &own })
                .await;
            if one.as_ref().is_ok_and(|one| !one.passed()) && !asked() {
                steps.note(&diagnose(self.vm(), self.progress(), &own).await);
            }
            let stopped = |failure: &Failure| {
                steps.end_run(started.elapsed().as_secs_f64(), &failure.chain.join(": "), false);
            };
            let one = one.inspect_err(stopped)?;
            let (seconds, passed, outcome) = (one.seconds, one.passed(), outcome(&one));
            told(&one);
            all.add(one);
            all.seconds = begin.elapsed().as_secs_f64();
            page::publish_experiment(all, folder)?;
            steps.end_run(seconds, &format!("{outcome}{}", left(all)), passed);
            alive(self.vm().dir(), self.vm().host())?;
        }
        Ok(())
    }

    /// After the last run: the machine goes, or is left as `apply` left it.
    async fn end(
        mut self,
        all: &mut Experiment,
        limit: Duration,
        made_here: bool,
        keep: bool,
    ) -> Result<Option<HostName>, Failure> {
        let stopped = all.exit == Some(Exit::Interrupted);
        let stays = !made_here || keep || stopped;
        if stays && self.vm().dir().is_alive() && !asked() {
            // What the last run did to it is no state that anybody wants to go on from.
            if let Err(failure) = self.restore(&all.from, limit).await {
                all.fail(failure);
            }
        }
        if !made_here {
            let host = self.vm().dir().is_alive().then(|| self.plan().host.clone());
            self.conclude(&[], Asked::Step)?;
            return Ok(host);
        }
        let (seconds, ok) = (all.seconds, all.exit == Some(Exit::Passed));
        let outcome = format!("{} of {} runs", all.runs.len(), all.order.len());
        self.keep(Step::Phase(Phase { name: "experiment".into(), seconds, ok, outcome }));
        let failure = why(all);
        failure.iter().for_each(|failure| self.fail(failure));
        // What a run has found is no failure of the machine's: only where it was stopped is it left to be looked at.
        let done = failure.filter(|_| all.exit == Some(Exit::Interrupted)).map_or(Ok(()), Err);
        let closed = self.close(done, keep.into(), Asked::Step).await?;
        all.leaked(&closed.record.leaks);
        Ok(closed.kept)
    }
}

/// A folder for this experiment in the evidence of its VM; a VM can have several.
fn own_folder(run: &Run<'_>, wanted: &Wanted) -> Result<RunFolder, Failure> {
    let base = run.folder().path().to_owned();
    let free = (1..).map(|n| base.join(format!("experiment-{n}"))).find(|path| !path.exists());
    let folder = RunFolder::open(free.unwrap_or(base));
    let modes: Vec<_> = wanted.modes.iter().map(|mode| mode.name()).collect();
    let (host, modes, Wanted { runs, seed, .. }) = (&run.plan().host, modes.join(","), wanted);
    let now = humantime::format_rfc3339_millis(std::time::SystemTime::now());
    let crash = wanted.crash.iter().map(|crash| format!(" --crash-states {}", crash.states)).collect::<String>();
    folder
        .write("started", format!("{now}\nexperiment {host} --modes {modes} --runs {runs} --seed {seed}{crash}\n"))?;
    Ok(folder)
}

fn left(all: &Experiment) -> String {
    let runs = all.order.len() - all.runs.len();
    match all.left_s() {
        Some(seconds) if runs > 0 => format!("; {runs} runs left, about {:.0} min", (seconds / 60.0).ceil()),
        _ => String::new(),
    }
}
