//! The confinement of the playbooks: a command is run in it, as a run does it.

use super::{Finding, Site};
use camino::Utf8Path;
use host::cmd::{Cmd, CmdError};
use host::process::own_exe;
use vm::network::confine::without_a_network;

/// What the command says.
const SAID: &str = "confined";

pub(super) fn check(_: &Site) -> Finding {
    match attempt() {
        Ok(()) => {
            Finding::ok("ran a command with a root, devices and a /proc of its own, and a filter of system calls")
        }
        Err(why) => finding(&why),
    }
}

fn attempt() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| format!("cannot make a folder for it: {e}"))?;
    let folder = Utf8Path::from_path(dir.path()).ok_or("the folder of temporary files is not UTF-8")?;
    let exe = own_exe().map_err(|e| format!("this program cannot be started again: {e}"))?;
    let prefix = without_a_network(&exe, folder).map_err(|e| host::failure::Failure::from(e).to_string())?;
    let mut argv = prefix.iter().map(String::as_str).chain(["echo", SAID]);
    match Cmd::new(argv.next().unwrap_or_default()).args(argv).run() {
        Ok(out) if out.stdout.trim() == SAID => Ok(()),
        Ok(out) => Err(format!("the command said {:?}", out.stdout.trim())),
        Err(CmdError::Failed { output, .. }) => Err(output.stderr),
        Err(error) => Err(error.to_string()),
    }
}

/// The error of the confinement names the cause, and what to do.
fn finding(why: &str) -> Finding {
    let (why, fix) = why.trim().split_once("next:").unwrap_or((why, "see the kernel's log (dmesg)"));
    let why = why.trim().trim_start_matches("boma-qemu @confine: the command was not run: ");
    Finding::fail(
        format!(
            "playbooks could not be confined: {}",
            why.trim_start_matches("boma-qemu @confined: the command was not run: ")
        ),
        fix.trim(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn the_cause_and_the_fix_are_those_of_the_confinement() {
        let said = "boma-qemu @confined: the command was not run: cannot show /usr through overlayfs: No such device\n  next: modprobe overlay\n";
        let found = finding(said);
        assert_eq!(found.result, Outcome::Fail);
        assert_eq!(found.probed, "playbooks could not be confined: cannot show /usr through overlayfs: No such device");
        assert_eq!(found.fix.as_deref(), Some("modprobe overlay"));
    }
}
