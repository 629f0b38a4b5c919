//! What bringing up a machine has in common, whatever it boots from: its directory with the machine's own file in it, the
//! network, the monitor, and the way without KVM.

use super::{Progress, ttl};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{Dirs, write_private};
use host::failure::{Exit, Failure};
use host::ledger::folder;
use host::names::{HostName, MiB};
use host::process;
use host::promise::{self, Need, Place, Promise, Refused};
use std::cell::RefCell;
use std::time::Duration;
use vm::console::allow::Allowed;
use vm::machine::VmDir;
use vm::monitor::{self, Client, MonitorError};
use vm::network::{self, Mode, NetPlan, Network};
use vm::qemu::accel::Wanted;
use vm::qemu::{Accel, Machine};

/// Why a machine has no KVM although it was wanted.
pub(super) const KVM_FAILED: &str = "KVM was tried and failed";

/// This program, for those of its processes that are started anew.
pub fn own_exe() -> Result<Utf8PathBuf, Failure> {
    process::own_exe().map_err(|e| Failure::new(Exit::Host, format!("cannot find this program again: {e}")))
}

/// What a VM takes beside its guest's memory. Under TCG it is mostly translated code, which is kept: 0.5 GiB of QEMU when
/// Debian had booted and its playbooks ran, 0.2 GiB of the other processes.
pub fn beside(accel: Accel) -> MiB {
    match accel {
        Accel::Kvm => MiB(256),
        Accel::Tcg => MiB(768),
    }
}

/// Refuse what this host cannot run, before anything is made, and promise the memory that the VM will take. Where others have
/// it, their end is waited for, if that is wanted.
pub(super) fn admit(
    dirs: &Dirs,
    mode: Mode,
    need: &Need,
    wait: bool,
    progress: &dyn Progress,
) -> Result<Promise, Failure> {
    crate::doctor::refuse_early(mode, &std::env::var("PATH").unwrap_or_default())?;
    let place = Place::find(&dirs.state);
    if let Some(why) = place.alone() {
        progress.note(&format!("the memory that others' VMs will take is not seen: {why}"));
    }
    let told = RefCell::new(String::new());
    let waiting = |refused: &Refused| {
        let now = format!("waiting for memory: {}", refused.holders());
        progress.trace(&now);
        // Said again only where others hold it, and not each time that they have used some more of it.
        if told.replace(refused.who()) != refused.who() {
            progress.note(&now);
        }
    };
    let promise = Promise::take(&place, need, wait.then_some(&waiting as &dyn Fn(&Refused)))?;
    if let Some(crowd) = crowd(&place) {
        progress.note(&crowd);
    }
    Ok(promise)
}

/// That there are more virtual CPUs than processors, where several VMs share them. That refuses nothing: all of it runs, slower.
fn crowd(place: &Place) -> Option<String> {
    let (held, _) = promise::look(place).ok()?;
    let running: Vec<_> = held.iter().filter(|held| !held.entry.waits).collect();
    let vcpus: usize = running.iter().map(|held| usize::from(held.entry.vcpus)).sum();
    let processors = std::thread::available_parallelism().ok()?.get();
    (running.len() > 1 && vcpus > processors).then(|| {
        format!(
            "{} VMs with {vcpus} virtual CPUs share {processors} processors: each is slower than alone",
            running.len()
        )
    })
}

/// Make the directory, which the ledger knows before there is anything in it, with what the monitor reads.
pub(super) fn directory(vm: &VmDir, machine: &Machine, allowed: &Allowed) -> Result<(), Failure> {
    drop(folder::make(vm.path())?);
    machine.save(&vm.machine())?;
    Ok(write_private(&vm.console_allowed(), json(allowed))?)
}

/// Give a machine that is started by UEFI the firmware's variables.
pub(super) fn variables(machine: &Machine) -> Result<(), Failure> {
    let Some(uefi) = machine.uefi() else { return Ok(()) };
    let failed = |e| Failure::new(Exit::Host, format!("cannot make the firmware's variables {}: {e}", uefi.vars));
    uefi.make_vars().map_err(failed)
}

/// Let the machine be removed after some time, if that is wanted.
pub(super) fn expire(
    exe: &Utf8Path,
    dirs: &Dirs,
    host: &HostName,
    machine: &Machine,
    after: Option<Duration>,
) -> Result<(), Failure> {
    after.map_or(Ok(()), |after| ttl::start(exe, dirs, host, &machine.name, after))
}

/// Make the network. From its start on the monitor tells when a part of it dies.
pub(super) fn network(exe: &Utf8Path, dirs: &Dirs, vm: &VmDir, plan: &NetPlan) -> Result<Network, Failure> {
    let network = network::ensure_as(exe, dirs, plan)?;
    write_private(&vm.network(), network.dir().path().as_str())?;
    Ok(network)
}

/// Start the monitor, which starts QEMU.
pub(super) async fn switch_on(
    exe: &Utf8Path,
    enter: &[String],
    vm: &VmDir,
    machine: &mut Machine,
    wanted: Wanted,
    promise: &Promise,
    progress: &dyn Progress,
) -> Result<(), Failure> {
    match monitor::spawn(exe, enter, vm, Some(promise)) {
        Err(MonitorError::Start(error)) if may_fall_back(machine, wanted) => {
            fall_back(vm, machine, &error.to_string(), progress).await
        }
        other => {
            other?;
            Ok(())
        }
    }
}

/// Whether the machine may be started without KVM.
pub(super) fn may_fall_back(machine: &Machine, wanted: Wanted) -> bool {
    machine.accel == Accel::Kvm && wanted == Wanted::Auto
}

/// KVM looked as if it worked and does not: say so loudly, and start the same machine under TCG.
pub(super) async fn fall_back(
    vm: &VmDir,
    machine: &mut Machine,
    why: &str,
    progress: &dyn Progress,
) -> Result<(), Failure> {
    progress.note(&format!("KVM does not work here ({why}); starting again under emulation, which is slower"));
    // What every command says of the machine stands in its own file.
    machine.accel = Accel::Tcg;
    machine.save(&vm.machine())?;
    Ok(Client::new(vm).power_cycle().await?)
}

pub(super) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    // Plain data with string keys: serialising it cannot fail.
    serde_json::to_vec_pretty(value).unwrap_or_default()
}
