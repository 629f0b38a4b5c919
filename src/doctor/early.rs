//! What is looked at before any work starts: cheap, and reason enough not to start.

use super::packages::Os;
use super::programs::{DNSMASQ, IP, NFT, PASTA, Program, QEMU, QEMU_IMG, SSH, SSH_KEYGEN};
use host::failure::{Blame, Exit};
use host::memory::available;
use host::names::MiB;
use host::programs::find;
use vm::network::Mode;

/// What a run is about to take.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Where the VM's network will be made.
    pub mode: Mode,
    /// The VM's memory.
    pub mem: MiB,
    /// The least memory that must be available (`--min-free-mib`).
    pub min_free: MiB,
    /// The PATH in which programs are looked up.
    pub path: &'a str,
}

/// Why a run does not start.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotStart {
    /// Less memory is available than the threshold.
    #[error("{available} of memory are available, and a run wants {min_free} (the VM takes up to {mem} of it)")]
    Memory {
        /// What there is.
        available: MiB,
        /// The threshold.
        min_free: MiB,
        /// The VM's memory.
        mem: MiB,
    },
    /// The VM alone would take more memory than is available.
    #[error("{available} of memory are available, and the VM takes up to {mem}")]
    TooLarge {
        /// What there is.
        available: MiB,
        /// The VM's memory.
        mem: MiB,
    },
    /// Nobody says how much memory there is.
    #[error("{why}")]
    Unknown {
        /// Why not.
        why: String,
    },
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
        Some(match self {
            Self::Memory { available, mem, .. } if mem <= available => {
                format!("stop something that uses memory, or accept less with --min-free-mib {}", available.0)
            }
            Self::Memory { .. } => {
                "stop something that uses memory, or lower mem_mib in the profile and give --min-free-mib as much"
                    .into()
            }
            Self::TooLarge { .. } => "stop something that uses memory, or lower mem_mib in the profile".into(),
            Self::Unknown { .. } => "mount /proc; this takes Linux 3.14 or newer".into(),
            Self::Programs { fix, .. } => format!("{fix}; `boma-qemu doctor` checks the rest"),
        })
    }
}

/// The cheap part of the checks, for `up` to run before it makes anything: memory, and the programs
/// that it will start. Ansible is not among them, for a VM can be up without it.
pub fn refuse_early(start: &Start) -> Result<(), CannotStart> {
    programs(start)?;
    let available = available().map_err(|why| CannotStart::Unknown { why })?;
    memory(available, start)
}

fn programs(start: &Start) -> Result<(), CannotStart> {
    let always = [&QEMU, &QEMU_IMG, &IP, &NFT, &DNSMASQ, &SSH, &SSH_KEYGEN];
    let in_namespace = (start.mode == Mode::Namespace).then_some(&PASTA);
    let missing: Vec<&Program> =
        always.into_iter().chain(in_namespace).filter(|program| find(start.path, program.name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted: Vec<_> = missing.iter().map(|program| (program.name, program.package)).collect();
    let names = wanted.iter().map(|(name, _)| *name).collect();
    Err(CannotStart::Programs { names, fix: Os::of_this_host().install_all(&wanted) })
}

fn memory(available: MiB, start: &Start) -> Result<(), CannotStart> {
    let Start { mem, min_free, .. } = *start;
    match available {
        _ if available < min_free => Err(CannotStart::Memory { available, min_free, mem }),
        _ if available < mem => Err(CannotStart::TooLarge { available, mem }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::failure::Failure;

    fn start(path: &str) -> Start<'_> {
        Start { mode: Mode::Namespace, mem: MiB(3072), min_free: MiB(4096), path }
    }

    #[test]
    fn too_little_memory_is_told_with_both_figures_and_a_way_out_that_works() {
        let failure = Failure::from(memory(MiB(3500), &start("")).unwrap_err());
        insta::assert_snapshot!(failure.to_string(), @r"
        3500 MiB of memory are available, and a run wants 4096 MiB (the VM takes up to 3072 MiB of it)
          next: stop something that uses memory, or accept less with --min-free-mib 3500
        ");
        assert_eq!(failure.exit, Exit::Host);
        assert_eq!(memory(MiB(3500), &Start { min_free: MiB(3500), ..start("") }), Ok(()));
    }

    #[test]
    fn a_vm_larger_than_the_memory_is_refused_whatever_the_threshold() {
        let large = Start { mem: MiB(9000), min_free: MiB(0), ..start("") };
        let error = memory(MiB(8000), &large).unwrap_err();
        assert_eq!(error, CannotStart::TooLarge { available: MiB(8000), mem: MiB(9000) });
        assert!(error.next().unwrap().contains("mem_mib"));
    }

    #[test]
    fn all_missing_programs_are_named_at_once() {
        let CannotStart::Programs { names, .. } = refuse_early(&start("/nowhere")).unwrap_err() else {
            panic!("it should have missed programs");
        };
        let all = ["qemu-system-x86_64", "qemu-img", "ip", "nft", "dnsmasq", "ssh", "ssh-keygen", "pasta"];
        assert_eq!(names, all);
    }
}
