//! One run: what a job works on, and the record of what was done. The stages do the work and say what came of it; a run
//! alone tells the user and keeps the record, and only by [`Run::phase`], [`Run::keep`] and [`Run::changes`].

use super::target::{Target, damaged};
use super::{Context, Progress};
use crate::plan::Plan;
use evidence::observe::Policy;
use evidence::record::{Asked, MadeOf, Phase, Record, Step};
use evidence::report::RunFolder;
use evidence::verdict::{ALIVE, Unproved};
use host::failpoint;
use host::failure::Failure;
use host::ledger::Leak;
use host::names::HostName;
use std::time::{Duration, Instant};
use vm::handle::Vm;
use vm::network::{Egress, Mode};
use vm::qemu::Accel;

/// One run, from `up` to `down`, in one process or in several.
pub struct Run<'a> {
    ctx: Context<'a>,
    target: Target<'a>,
    record: Record,
    watch_for: Duration,
    /// What the phases are told by, before their names.
    word: &'static str,
}

impl<'a> Run<'a> {
    /// Begin a run: the evidence folder is the first thing that is made.
    pub fn begin(ctx: Context<'a>, plan: Plan, command: &str) -> Result<Self, Failure> {
        // Before there is a run: a refusal must leave no trace in the record of the VM that is there.
        super::guards::no_other_vm(&ctx)?;
        let folder = RunFolder::create(ctx.dirs, &plan.host, command)?;
        let made_of = MadeOf {
            image: plan.image.clone(),
            accel: accel(&plan.machine.accel, &plan.accel_why),
            net: match plan.net.mode {
                Mode::Namespace => "namespace".into(),
                Mode::Host => "host".into(),
            },
            egress: match plan.net.egress {
                Egress::Nat => "nat".into(),
                Egress::None => "none".into(),
            },
            certs: plan.tier(),
            ..MadeOf::default()
        };
        let record = Record::begin(&plan.host, &plan.vm, &folder, made_of);
        Ok(Self { ctx, target: Target::new(ctx.dirs, plan), record, watch_for: ALIVE, word: "" })
    }

    /// Go on with the run of a VM that is up.
    pub fn resume(ctx: Context<'a>, host: &HostName) -> Result<Self, Failure> {
        Self::go_on(ctx, Target::open(ctx.dirs, host)?)
    }

    /// The same, with a target that was opened already.
    pub fn go_on(ctx: Context<'a>, target: Target<'a>) -> Result<Self, Failure> {
        let record = Record::load(target.vm.dir()).map_err(|e| damaged("the record", target.vm.host(), &e))?;
        Ok(Self { ctx, target, record, watch_for: ALIVE, word: "" })
    }

    /// Where things are kept, and the user's ear.
    pub fn ctx(&self) -> &Context<'a> {
        &self.ctx
    }

    /// The user's ear.
    pub fn progress(&self) -> &'a dyn Progress {
        self.ctx.progress
    }

    /// What it works on.
    pub fn target(&self) -> &Target<'a> {
        &self.target
    }

    /// What was to be done.
    pub fn plan(&self) -> &Plan {
        &self.target.plan
    }

    /// The VM.
    pub fn vm(&self) -> &Vm {
        &self.target.vm
    }

    /// What was done so far.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The evidence folder.
    pub fn folder(&self) -> RunFolder {
        RunFolder::open(&self.record.run)
    }

    /// How long after a restart has settled the guest is looked at for the last time.
    pub fn watch_for(&self) -> Duration {
        self.watch_for
    }

    /// What findings do to the run, and how long the guest is watched.
    pub fn judge_by(&mut self, findings: Policy, watch_for: Duration) {
        self.record.add(Step::Findings(findings));
        self.watch_for = watch_for;
    }

    /// A command begins: until it has come to its end, nothing is known of what it leads to.
    pub fn begin_command(&mut self) {
        self.record.begin_command();
    }

    /// Keep what a stage has come to.
    pub fn keep(&mut self, step: Step) {
        self.record.add(step);
    }

    /// The first failure decides.
    pub fn fail(&mut self, failure: &Failure) {
        self.record.fail(failure);
    }

    /// The machine is as it was when the snapshot was taken, and so is what is known of it, and the plan that it was made by.
    pub fn back_to(&mut self, then: Record, plan: Plan) {
        self.record.back_to(then);
        self.target.plan = plan;
    }

    /// Work by another plan, whose phases are told by a word of their own.
    pub(super) async fn by<T>(
        &mut self,
        plan: Plan,
        word: &'static str,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let own = std::mem::replace(&mut self.target.plan, plan);
        self.word = word;
        let done = work(self).await;
        self.target.plan = own;
        self.word = "";
        done
    }

    /// Something is about to be done to the machine by which the last proof ends. That is kept before it is done: a command
    /// that is killed half way must not leave the old proof behind.
    pub fn changes(&mut self, why: Unproved) -> Result<(), Failure> {
        // A restart asks for itself by the connection that is open.
        if !matches!(why, Unproved::Restarting) {
            self.vm().kept().hang_up();
        }
        self.record.changed(why);
        self.record.save(self.target.vm.dir())?;
        // A run that has not ended has no result; one that had must not keep it.
        if self.record.run.join("result.json").exists() {
            evidence::page::publish(&self.record)?;
        }
        Ok(())
    }

    /// Run one phase: told when it begins and when it ends, timed, kept in the record. Its work sees the run, and changes
    /// nothing of it.
    pub async fn phase<T, S: Into<Said>>(
        &mut self,
        name: &str,
        work: impl AsyncFnOnce(&Self) -> Result<(T, S), Failure>,
    ) -> Result<T, Failure> {
        let name = &format!("{}{name}", self.word);
        self.ctx.progress.begin(name);
        let start = Instant::now();
        let done = super::stop::or_stopped(work(self)).await.map(|(made, said)| (made, said.into()));
        let seconds = start.elapsed().as_secs_f64();
        let Said { text: outcome, ok } = match &done {
            Ok((_, said)) => said.clone(),
            Err(failure) => Said { text: failure.chain.join(": "), ok: false },
        };
        // A failure is printed whole at the end of the run; here its first line is enough.
        self.ctx.progress.end(name, seconds, outcome.lines().next().unwrap_or_default(), ok);
        self.keep(Step::Phase(Phase { name: name.to_owned(), seconds, ok, outcome }));
        failpoint::reached(failpoint::Point::Phase(name));
        done.map(|(made, _)| made)
    }

    /// Keep the record: beside the VM, if it has a folder, and in the evidence.
    pub fn publish(&self) -> Result<(), Failure> {
        if self.vm().dir().path().exists() {
            self.record.save(self.vm().dir())?;
        }
        Ok(evidence::page::publish(&self.record)?)
    }

    /// The end of it: `leaks` are what the teardown left, and what was asked for decides what its end means.
    pub fn conclude(mut self, leaks: &[Leak], asked: Asked) -> Result<Record, Failure> {
        self.record.leaked(leaks);
        self.record.conclude(asked);
        self.publish()?;
        // They are with the VM now, and what is printed of the record is without them.
        self.record.deeds.clear();
        Ok(self.record)
    }
}

/// An accelerator and why it is that one, as the record has it.
pub(super) fn accel(accel: &Accel, why: &str) -> String {
    format!("{accel} ({why})")
}

/// What a phase says at its end. One can do its work to the end and still not be well: checks that ran
/// and failed.
#[derive(Clone, Debug)]
pub struct Said {
    /// What came of it, in one line.
    pub text: String,
    /// Whether that is as it should be.
    pub ok: bool,
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self { text, ok: true }
    }
}
