//! What is looked at before any work starts: cheap, and reason enough not to start.

use super::packages::Os;
use super::programs::{DNSMASQ, IP, NFT, PASTA, Program, QEMU, QEMU_IMG, SSH, SSH_KEYGEN};
use host::failure::{Blame, Exit};
use host::programs::find;
use vm::network::Mode;

/// Why a run does not start.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotStart {
    /// Programs that a run starts are not there.
    #[error("not in PATH: {}", names.join(", "))]
    Programs {
        /// Their names.
        names: Vec<&'static str>,
        /// How to install them.
        fix: String,
    },
}

impl Blame for CannotStart {
    fn exit(&self) -> Exit {
        Exit::Host
    }

    fn next(&self) -> Option<String> {
        let Self::Programs { fix, .. } = self;
        Some(format!("{fix}; `boma-qemu doctor` checks the rest"))
    }
}

/// The cheap part of the checks, for `up` to run before it makes anything: the programs that it will start, looked up in this
/// PATH. Ansible is not among them, for a VM can be up without it; what the VM takes is promised by the run itself.
pub fn refuse_early(mode: Mode, path: &str) -> Result<(), CannotStart> {
    let always = [&QEMU, &QEMU_IMG, &IP, &NFT, &DNSMASQ, &SSH, &SSH_KEYGEN];
    let in_namespace = (mode == Mode::Namespace).then_some(&PASTA);
    let missing: Vec<&Program> =
        always.into_iter().chain(in_namespace).filter(|program| find(path, program.name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted: Vec<_> = missing.iter().map(|program| (program.name, program.package)).collect();
    let names = wanted.iter().map(|(name, _)| *name).collect();
    Err(CannotStart::Programs { names, fix: Os::of_this_host().install_all(&wanted) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_missing_programs_are_named_at_once() {
        let CannotStart::Programs { names, .. } = refuse_early(Mode::Namespace, "/nowhere").unwrap_err();
        let all = ["qemu-system-x86_64", "qemu-img", "ip", "nft", "dnsmasq", "ssh", "ssh-keygen", "pasta"];
        assert_eq!(names, all);
    }
}
