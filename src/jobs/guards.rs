//! What must hold before work starts: nobody else at work, no other VM, nothing left over.

use super::Context;
use camino::Utf8PathBuf;
use host::dirs::{self, Dirs, Use};
use host::failure::{Exit, Failure};
use host::ledger::Leak;
use host::ledger::folder::{self, Whose};
use host::lock::{Lock, LockError};
use host::names::HostName;
use host::presence::Presence;
use vm::machine::VmDir;

/// Take the lock that a command holds while it changes VMs: one such command at a time.
pub fn lock(ctx: &Context<'_>, what: &str) -> Result<Lock, Failure> {
    dirs::make(&ctx.dirs.state, Use::State)?;
    let path = run_lock(ctx.dirs);
    let who = format!("`boma-qemu {what}`, pid {}", std::process::id());
    Lock::try_take(&path, &who).map_err(|error| match error {
        LockError::Held { holder, .. } => Failure::new(Exit::Usage, format!("another run is at work: {holder}"))
            .next("wait for it to end, or stop it with Ctrl-C; `boma-qemu status` shows what is running"),
        io => io.into(),
    })
}

/// The file of that lock.
pub(super) fn run_lock(dirs: &Dirs) -> Utf8PathBuf {
    dirs.state.join("run.lock")
}

/// What cannot be looked at counts as there: an error that says so, instead of going on.
pub(super) fn not_known(what: &str, why: &str) -> Failure {
    Failure::new(Exit::Host, format!("cannot tell whether {what}, so nothing is begun: {why}"))
        .next("let this user look at it, or run it as the user who can; then try again")
}

/// One VM at a time; what a dead run left behind is removed first.
pub fn no_other_vm(ctx: &Context<'_>) -> Result<(), Failure> {
    let all = VmDir::list(ctx.dirs)?;
    for (host, vm) in &all {
        match vm.presence() {
            Presence::Gone => {}
            Presence::There => {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("the VM of {host} is running, and only one may run at a time"),
                )
                .next(format!("remove it with `boma-qemu down {host}`")));
            }
            Presence::Unknown(why) => return Err(not_known(&format!("the VM of {host} is running"), &why)),
        }
    }
    if all.is_empty() {
        return Ok(());
    }
    let removed = super::down::sweep(ctx)?;
    if !(removed.vms.is_empty() && removed.networks.is_empty()) {
        ctx.progress.note("removed what a dead run had left behind");
    }
    match removed.leaks.first() {
        None => Ok(()),
        Some(Leak { what, why }) => {
            Err(Failure::new(Exit::Leaked, format!("{what} of a dead run cannot be removed: {why}"))
                .next("remove by hand what is named, and begin again"))
        }
    }
}

/// The VM's folder, refused if another run's is still there.
pub fn fresh_folder(vm: &VmDir, host: &HostName) -> Result<(), Failure> {
    match Presence::of(vm.path()) {
        Presence::Gone => Ok(()),
        Presence::Unknown(why) => Err(not_known(&format!("an earlier VM of {host} is still there"), &why)),
        Presence::There => {
            let failure = Failure::new(Exit::Usage, format!("{} is there already", vm.path()));
            Err(match folder::whose(vm.path()) {
                Whose::NotOurs(why) | Whose::Unseen(why) => {
                    Failure { chain: [failure.chain, vec![why]].concat(), ..failure }
                }
                Whose::Ours | Whose::Begun | Whose::Gone => failure.next(format!("run `boma-qemu down {host}`")),
            })
        }
    }
}
