//! What the harness gives itself back over the console, and the note that it did.
//!
//! Real hosts have their owners' keys and passwords, which a mirror does not: a role that leaves only those in takes the
//! harness's own way, and nothing else. So that is put back, at the smallest place that serves, and it is written down: the
//! record has each, and the verdict judges it.

use super::cause::Cause;
use crate::keys::KeyError;
use crate::machine::VmDir;
use crate::ssh::{About, Change, Way, Ways, write_ways};
use host::dirs::write_private;

/// One repair.
pub(super) struct Repair {
    /// What root runs in the guest.
    pub(super) script: Option<String>,
    /// Whether the guest's host keys are pinned anew.
    pub(super) pin_host_keys: bool,
    /// A way that is tried from now on.
    way: Option<Way>,
    /// What is written down.
    change: Option<Change>,
}

/// The public half of the harness's own key.
pub(super) fn key(vm: &VmDir) -> Result<String, KeyError> {
    let path = camino::Utf8PathBuf::from(format!("{}.pub", vm.ssh_key()));
    std::fs::read_to_string(&path).map(|key| key.trim().to_owned()).map_err(|source| KeyError::Read { path, source })
}

/// What lets the harness in again, if anything does.
pub(super) fn of(vm: &VmDir, user: &str, cause: &Cause) -> Result<Option<Repair>, KeyError> {
    let change = |about, what: String| Some(Change { about, what });
    Ok(Some(match cause {
        Cause::Elsewhere { ports, .. } => Repair {
            script: None,
            pin_host_keys: false,
            way: ports.first().map(|port| Way { port: *port, user: user.to_owned() }),
            // Which way answers is written down when it does.
            change: None,
        },
        Cause::Key { files, .. } => Repair {
            script: Some(put_key(user, files.first().map_or("", String::as_str), &key(vm)?)),
            pin_host_keys: false,
            way: None,
            change: change(About::Key, format!("{cause}; it was put back over the console")),
        },
        Cause::HostKey => Repair {
            script: None,
            pin_host_keys: true,
            way: None,
            change: change(About::HostKey, format!("{cause}; it was read over the console and pinned anew")),
        },
        _ => return Ok(None),
    }))
}

/// Add the key to the user's file; its folder and its owner as sshd wants them (`StrictModes`).
fn put_key(user: &str, file: &str, key: &str) -> String {
    format!(
        "set -e; f='{file}'; d=$(dirname \"$f\"); g=$(id -g {user})\n\
         [ -d \"$d\" ] || install -d -m 700 -o {user} -g \"$g\" \"$d\"\n\
         [ -e \"$f\" ] || install -m 600 -o {user} -g \"$g\" /dev/null \"$f\"\n\
         [ -z \"$(tail -c 1 \"$f\")\" ] || echo >>\"$f\"\n\
         echo '{key}' >>\"$f\""
    )
}

/// A rule of the harness's own: the last that matches counts, and this is the last file of them (sudoers(5)).
pub(super) fn sudo(user: &str, said: &str) -> Repair {
    let file = "/etc/sudoers.d/zz-boma-qemu";
    let words = said.lines().last().unwrap_or_default().trim();
    Repair {
        script: Some(format!(
            "set -e; umask 227; echo '{user} ALL=(ALL:ALL) NOPASSWD: ALL' >{file}.new; visudo -cqf {file}.new; mv {file}.new {file}"
        )),
        pin_host_keys: false,
        way: None,
        change: Some(Change {
            about: About::Sudo,
            what: format!(
                "sudo does not serve {user} without a password any more ({words}); the harness gave itself a rule over the console ({file})"
            ),
        }),
    }
}

/// Pin these host keys and no others.
pub(super) fn pin(vm: &VmDir, keys: &str) -> Result<(), super::console::NoLook> {
    let address = Ways::load(&vm.ways())?.address;
    let lines = keys.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| format!("{address} {line}\n"));
    Ok(write_private(&vm.known_hosts(), lines.collect::<String>())?)
}

/// Write down what was done.
pub(super) fn note(vm: &VmDir, repair: Repair) -> Result<(), super::console::NoLook> {
    let mut ways = Ways::load(&vm.ways())?;
    ways.found = repair.way.or(ways.found);
    ways.changes.extend(repair.change);
    Ok(write_ways(vm, &ways)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_repair_is_a_shell_script() {
        let key = put_key("ansible", "/home/ansible/.ssh/authorized_keys", "ssh-ed25519 AAAA boma-qemu for x");
        for script in [key, sudo("ansible", "sudo: a password is required").script.unwrap()] {
            host::cmd::Cmd::new("sh").args(["-n", "-c", &script]).run().unwrap();
        }
    }

    #[test]
    fn a_key_is_added_behind_a_last_line_without_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("authorized_keys");
        std::fs::write(&file, "ssh-rsa AAAA admin").unwrap();
        let user = host::cmd::Cmd::new("id").arg("-un").run().unwrap().stdout;
        let script = put_key(user.trim(), file.to_str().unwrap(), "ssh-ed25519 BBBB ours");
        host::cmd::Cmd::new("sh").args(["-c", &script]).run().unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "ssh-rsa AAAA admin\nssh-ed25519 BBBB ours\n");
    }
}
