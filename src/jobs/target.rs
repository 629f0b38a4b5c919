//! What a job works on: a plan, which nothing changes once it is made, and the VM that was made by it.

use super::certificates;
use super::guards::not_known;
use crate::ansible::{Controller, UserVars};
use crate::plan::Plan;
use host::dirs::Dirs;
use host::failure::{Exit, Failure};
use host::names::HostName;
use host::presence::Presence;
use host::secrets;
use vm::handle::Vm;
use vm::machine::VmDir;
use vm::network::confine::Confinement;
use vm::qemu::Machine;

/// A plan and its VM.
#[derive(Debug)]
pub struct Target<'a> {
    /// Where things are kept.
    pub dirs: &'a Dirs,
    /// What was to be done.
    pub plan: Plan,
    /// The VM, there or not.
    pub vm: Vm,
    /// How many of the plan's last extra variables are for one command only.
    once: usize,
}

impl<'a> Target<'a> {
    /// What a plan is about.
    pub fn new(dirs: &'a Dirs, plan: Plan) -> Self {
        let vm = Vm::of(dirs, &plan.host, &plan.net);
        Self { dirs, plan, vm, once: 0 }
    }

    /// A VM that is up, with the plan that it was made by.
    pub fn open(dirs: &'a Dirs, host: &HostName) -> Result<Self, Failure> {
        let vm = VmDir::of(dirs, host);
        alive(&vm, host)?;
        if !vm.plan().exists() && Machine::load(&vm.machine()).is_ok_and(|machine| machine.media().is_some()) {
            let why = format!("the VM of {host} boots from media: it has no playbooks, no keys and no plan");
            return Err(Failure::new(Exit::Usage, why).next(format!(
                "use it by `boma-qemu console {host} --attach`, or remove it with `boma-qemu down {host}`"
            )));
        }
        let plan = Self::plan_of(&vm, host)?;
        secrets::know(plan.options.extra_vars.iter().flat_map(UserVars::secrets));
        // Written by `up`; a VM that did not get that far has run no playbook.
        let vaulted = std::fs::read(plan.controller(dirs).folder.secrets()).unwrap_or_default();
        secrets::know(serde_json::from_slice::<Vec<String>>(&vaulted).unwrap_or_default());
        Ok(Self::new(dirs, plan))
    }

    /// The plan in a VM's directory.
    pub(super) fn plan_of(vm: &VmDir, host: &HostName) -> Result<Plan, Failure> {
        let plan = std::fs::read(vm.plan()).and_then(|text| Ok(serde_json::from_slice(&text)?));
        plan.map_err(|e| damaged("the plan", host, &e))
    }

    /// The same with more variables for the playbooks of this command.
    pub fn with(mut self, more: Vec<UserVars>) -> Self {
        self.once += more.len();
        self.plan.options.extra_vars.extend(more);
        self
    }

    /// The same by the profile and its files as they are now. An error if they ask for another machine.
    pub fn renewed(self) -> Result<Self, Failure> {
        let plan = self.plan.renewed(self.dirs)?;
        Ok(Self { plan, ..self })
    }

    /// The plan as later commands are to find it: without what is for this one only.
    pub(super) fn lasting(&self) -> Plan {
        let mut plan = self.plan.clone();
        let vars = &mut plan.options.extra_vars;
        vars.truncate(vars.len().saturating_sub(self.once));
        plan
    }

    /// The playbook side and what confines it.
    pub(super) fn controller(&self) -> Result<(Controller, Vec<String>), Failure> {
        let mut controller = self.plan.controller(self.dirs);
        controller.private = certificates::private(self)?;
        // What the user gives with a later `apply -e` comes on top of what the VM was made with.
        controller.write_user_vars()?;
        let prefix = self.vm.network()?.confine(controller.folder.path(), &self.allowed(&controller))?;
        Ok((controller, prefix))
    }

    /// What the repository's code may see of this host, before there is a VM and with one.
    pub(super) fn allowed(&self, controller: &Controller) -> Confinement {
        let keep_sockets = self.plan.profile.allow.iter().filter_map(|allow| allow.socket.clone()).collect();
        // What the playbooks and their plugins read, wherever it lies.
        let mut visible = controller.reads();
        visible.push(self.dirs.root.clone());
        let stdin = controller.private.is_some();
        Confinement { keep_sockets, visible, writable: vec![controller.repo.clone()], stdin }
    }

    /// Let the playbooks reach the guest by the way that answered last.
    pub(super) fn write_connection(&self) -> Result<(), Failure> {
        Ok(self.plan.controller(self.dirs).write_connection(&self.plan.connection(self.dirs))?)
    }
}

/// A file of a VM that cannot be read.
pub(super) fn damaged(what: &str, host: &HostName, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Lost, format!("{what} of {host} cannot be read: {error}"))
        .next(format!("remove the VM with `boma-qemu down {host}`"))
}

/// Refuse to go on with a VM that is not there, and say which of the two ways it is not.
pub fn alive(vm: &VmDir, host: &HostName) -> Result<(), Failure> {
    match vm.presence() {
        Presence::There => return Ok(()),
        Presence::Gone => {}
        Presence::Unknown(why) => return Err(not_known(&format!("the VM of {host} is running"), &why)),
    }
    Err(match vm.path().exists() {
        true => Failure::new(Exit::Lost, format!("the VM of {host} is dead: its monitor has ended"))
            .next(format!("look at {}, then remove it with `boma-qemu down {host}`", vm.console())),
        false => Failure::new(Exit::Usage, format!("there is no VM of {host}"))
            .next(format!("start one with `boma-qemu up {host}`")),
    })
}
