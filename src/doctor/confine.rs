//! The confinements: a command is run in that of the playbooks, as a run does it; that of QEMU is made.

use super::{Finding, Site};
use camino::Utf8Path;
use host::cmd::Cmd;
use host::failure::{Failure, with_causes};
use host::process::own_exe;
use std::path::Path;
use vm::network::confine::{Confinement, NotRun, without_a_network};

/// What the command says.
const SAID: &str = "confined";

pub(super) fn check(_: &Site) -> Finding {
    match attempt() {
        Ok(()) => {
            Finding::ok("ran a command with a root, devices and a /proc of its own, and a filter of system calls")
        }
        Err(NotRun { why, next }) => Finding::fail(
            format!("playbooks could not be confined: {why}"),
            next.unwrap_or_else(|| "see the kernel's log (dmesg)".into()),
        ),
    }
}

/// Whether QEMU, which a hostile guest may take over, gets the confinement that it can have. A VM runs without.
pub(super) fn qemu(_: &Site) -> Finding {
    let missing = vm::monitor::not_in_force();
    match missing.is_empty() {
        true => Finding::ok("QEMU would get a network and Landlock rules of its own"),
        false => Finding::warn(
            format!("a guest that takes QEMU over could do more than it has to: {}", missing.join("; ")),
            "Landlock takes Linux 5.13 and `landlock` in the kernel's list (boot with lsm=landlock,… as /sys/kernel/security/lsm has it), \
             and in a container a seccomp profile that allows its calls; for the network see user-namespaces",
        ),
    }
}

/// Run a command confined. The error of the confinement names the cause, and what to do.
pub(super) fn attempt() -> Result<(), NotRun> {
    let dir = tempfile::tempdir().map_err(|e| other(format!("cannot make a folder for it: {e}")))?;
    let command = behind(dir.path(), &Confinement::default())?.args(["echo", SAID]);
    let (status, out) = command.status().map_err(|e| other(with_causes(&e)))?;
    match NotRun::told(status.code(), &out.stderr) {
        Some(not_run) => Err(not_run),
        None if status.success() && out.stdout.trim() == SAID => Ok(()),
        None => {
            let said = format!("{}{}", out.stdout.trim(), out.stderr.trim());
            Err(other(format!("the command ended with {status}, and said {said:?}")))
        }
    }
}

/// A command that runs confined what is added to it; `folder` is its own.
pub(super) fn behind(folder: &Path, allowed: &Confinement) -> Result<Cmd, NotRun> {
    let folder =
        Utf8Path::from_path(folder).ok_or_else(|| other("the folder of temporary files is not UTF-8".into()))?;
    let exe = own_exe().map_err(|e| other(format!("this program cannot be started again: {e}")))?;
    let prefix = without_a_network(&exe, folder, allowed).map_err(|error| {
        let failure = Failure::from(error);
        NotRun { why: failure.chain.join(": "), next: failure.next }
    })?;
    let mut words = prefix.into_iter();
    Ok(Cmd::new(words.next().unwrap_or_default()).args(words))
}

fn other(why: String) -> NotRun {
    NotRun { why, next: None }
}
