//! One run: a plan, its VM's folder, the record of what was done, and the evidence folder.

use super::Context;
use crate::ansible::UserVars;
use crate::plan::Plan;
use evidence::record::{MadeOf, Phase, Record};
use evidence::report::RunFolder;
use evidence::verdict::ALIVE;
use host::failpoint;
use host::failure::{Exit, Failure};
use host::names::HostName;
use host::presence::Presence;
use host::secrets;
use std::time::{Duration, Instant};
use vm::machine::VmDir;
use vm::network::{self, Egress, Mode, Network};
use vm::qemu::Machine;
use vm::ssh::Ssh;
use vm::wait::Watch;

/// One run, from `up` to `down`, in one process or in several.
pub struct Run<'a> {
    /// Folders and the user's ear.
    pub ctx: Context<'a>,
    /// What was to be done.
    pub plan: Plan,
    /// The VM's folder.
    pub vm: VmDir,
    /// What was done so far.
    pub record: Record,
    /// How long after a restart has settled the guest is looked at for the last time.
    pub watch_for: Duration,
}

impl<'a> Run<'a> {
    /// Begin a run: the evidence folder is the first thing that is made.
    pub fn begin(ctx: Context<'a>, plan: Plan, command: &str) -> Result<Self, Failure> {
        // Before there is a run: a refusal must leave no trace in the record of the VM that is there.
        super::guards::no_other_vm(&ctx)?;
        let folder = RunFolder::create(ctx.dirs, &plan.host, command)?;
        let made_of = MadeOf {
            image: plan.image.clone(),
            image_sha512: None,
            accel: format!("{} ({})", plan.machine.accel, plan.accel_why),
            qemu: String::new(),
            ansible: String::new(),
            net: match plan.net.mode {
                Mode::Namespace => "namespace".into(),
                Mode::Host => "host".into(),
            },
            egress: match plan.net.egress {
                Egress::Nat => "nat".into(),
                Egress::None => "none".into(),
            },
            certs: plan.options.certs.name().into(),
            extra_vars: Vec::new(),
        };
        let record = Record::begin(&plan.host, &plan.vm, &folder, made_of);
        let vm = VmDir::of(ctx.dirs, &plan.host);
        Ok(Self { ctx, plan, vm, record, watch_for: ALIVE })
    }

    /// Go on with the run of a VM that is up.
    pub fn resume(ctx: Context<'a>, host: &HostName) -> Result<Self, Failure> {
        let vm = VmDir::of(ctx.dirs, host);
        alive(&vm, host)?;
        if !vm.plan().exists() && Machine::load(&vm.machine()).is_ok_and(|machine| machine.media().is_some()) {
            let why = format!("the VM of {host} boots from media: it has no playbooks, no keys and no plan");
            return Err(Failure::new(Exit::Usage, why).next(format!(
                "use it by `boma-qemu console {host} --attach`, or remove it with `boma-qemu down {host}`"
            )));
        }
        let damaged = |what: &str, e: std::io::Error| {
            Failure::new(Exit::Lost, format!("{what} of {host} cannot be read: {e}"))
                .next(format!("remove the VM with `boma-qemu down {host}`"))
        };
        let plan = std::fs::read(vm.plan()).and_then(|text| Ok(serde_json::from_slice(&text)?));
        let plan: Plan = plan.map_err(|e| damaged("the plan", e))?;
        secrets::know(plan.options.extra_vars.iter().flat_map(UserVars::secrets));
        // Written by `up`; a VM that did not get that far has run no playbook.
        let vaulted = std::fs::read(plan.controller(ctx.dirs).folder.secrets()).unwrap_or_default();
        secrets::know(serde_json::from_slice::<Vec<String>>(&vaulted).unwrap_or_default());
        let record = Record::load(&vm).map_err(|e| damaged("the record", e))?;
        Ok(Self { ctx, plan, vm, record, watch_for: ALIVE })
    }

    /// The evidence folder.
    pub fn folder(&self) -> RunFolder {
        RunFolder::open(&self.record.run)
    }

    /// The network that the VM is in.
    pub fn network(&self) -> Result<Network, Failure> {
        open_network(&self.ctx, &self.plan)
    }

    /// Refuse to judge a guest in a network that has lost a part: without its DHCP server or its way out it would
    /// fail for that, and not for what is tested.
    pub fn network_is_whole(&self) -> Result<(), Failure> {
        Ok(self.network()?.check()?)
    }

    /// The way into the guest.
    pub fn ssh(&self) -> Result<Ssh, Failure> {
        Ok(Ssh::new(&self.vm, self.network()?.enter_bound()))
    }

    /// A watch on the machine from now on.
    pub fn watch(&self) -> Result<Watch, Failure> {
        let events = vm::monitor::events::read_all(&self.vm.events())?;
        Ok(Watch::since(&self.vm, events.last().map_or(0, |event| event.seq))?)
    }

    /// Run one phase: told when it begins and when it ends, timed, kept in the record.
    pub async fn phase<T, S: Into<Said>>(
        &mut self,
        name: &str,
        work: impl AsyncFnOnce(&mut Self) -> Result<(T, S), Failure>,
    ) -> Result<T, Failure> {
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
        self.record.phases.push(Phase { name: name.to_owned(), seconds, ok, outcome });
        failpoint::reached(failpoint::Point::Phase(name));
        done.map(|(made, _)| made)
    }

    /// Keep the record: beside the VM, if it has a folder, and in the evidence.
    pub fn publish(&self) -> Result<(), Failure> {
        if self.vm.path().exists() {
            self.record.save(&self.vm)?;
        }
        Ok(evidence::page::publish(&self.record)?)
    }
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

/// Refuse to go on with a VM that is not there, and say which of the two ways it is not.
pub fn alive(vm: &VmDir, host: &HostName) -> Result<(), Failure> {
    match vm.presence() {
        Presence::There => return Ok(()),
        Presence::Gone => {}
        Presence::Unknown(why) => return Err(super::guards::not_known(&format!("the VM of {host} is running"), &why)),
    }
    Err(match vm.path().exists() {
        true => Failure::new(Exit::Lost, format!("the VM of {host} is dead: its monitor has ended"))
            .next(format!("look at {}, then remove it with `boma-qemu down {host}`", vm.console())),
        false => Failure::new(Exit::Usage, format!("there is no VM of {host}"))
            .next(format!("start one with `boma-qemu up {host}`")),
    })
}

/// The network of a plan, which must be up.
fn open_network(ctx: &Context<'_>, plan: &Plan) -> Result<Network, Failure> {
    network::open(ctx.dirs, &plan.net.name)?.ok_or_else(|| {
        Failure::new(Exit::Lost, format!("the network {} of the VM is gone", plan.net.name))
            .next(format!("remove the VM with `boma-qemu down {}`", plan.host))
    })
}
