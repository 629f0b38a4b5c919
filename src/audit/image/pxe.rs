//! The conditions of what a machine gets over the network: a kernel, its initial RAM disks and its arguments. There is no image
//! to look into, so what is asked of one is said not to apply, and not taken for something that does not hold.

use crate::audit::outcome::Seen;
use crate::audit::probe::Probe;
use boot_media::medium::{KERNEL_HEAD, initrd, kernel};
use camino::{Utf8Path, Utf8PathBuf};
use std::io::Read;

/// The files and the arguments; paths are absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PxeSet {
    /// The kernel.
    pub kernel: Utf8PathBuf,
    /// The initial RAM disks.
    pub initrd: Vec<Utf8PathBuf>,
    /// The kernel's arguments.
    pub args: String,
}

/// Look at one condition.
pub(super) fn look(set: &PxeSet, probe: &Probe) -> Seen {
    match probe {
        Probe::OneImage {} => present(set),
        Probe::LoaderFiles { .. } => boot_files(set),
        Probe::LoaderArgs { expect, forbid, .. } => args(set, expect, forbid),
        other => Seen::unknown(format!("{} asks for an image, and a PXE set is none", other.name())),
    }
}

fn files(set: &PxeSet) -> impl Iterator<Item = &Utf8PathBuf> {
    std::iter::once(&set.kernel).chain(&set.initrd)
}

fn present(set: &PxeSet) -> Seen {
    let missing: Vec<_> = files(set).filter(|path| !path.is_file()).map(|path| path.as_str()).collect();
    let cause = (!missing.is_empty()).then(|| format!("not there, or no files: {}", missing.join(", ")));
    Seen::judged(files(set).map(|path| path.as_str()).collect::<Vec<_>>().join(", "), cause)
}

/// The kernel is one, and so are the initial RAM disks.
fn boot_files(set: &PxeSet) -> Seen {
    let mut said = Vec::new();
    for path in files(set) {
        let head = match head(path) {
            Ok(head) => head,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Seen::fails("not all are there", format!("{path} is not there"));
            }
            Err(error) => return Seen::unknown(format!("{path}: {error}")),
        };
        let is_kernel = *path == set.kernel;
        let what = match is_kernel {
            true => kernel(&head).map(|kernel| kernel.to_string()),
            false => initrd(&head).map(str::to_owned),
        };
        match what {
            Some(what) => said.push(format!("{path}: {what}")),
            None => {
                let wanted = if is_kernel { "a Linux kernel" } else { "an initial RAM disk" };
                return Seen::fails("not all are what they must be", format!("{path} is not {wanted}"));
            }
        }
    }
    Seen::holds(said.join("; "))
}

fn head(path: &Utf8Path) -> std::io::Result<Vec<u8>> {
    // Opening a pipe would wait for somebody to write to it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    let mut head = Vec::new();
    std::fs::File::open(path)?.take(KERNEL_HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The arguments are there, and none that must not be; `*` is any text in one.
fn args(set: &PxeSet, expect: &[String], forbid: &[String]) -> Seen {
    let has = |wanted: &&String| {
        let pattern = glob::Pattern::new(wanted);
        set.args.split_whitespace().any(|word| match &pattern {
            Ok(pattern) => pattern.matches(word),
            Err(_) => word == wanted.as_str(),
        })
    };
    let missing: Vec<_> = expect.iter().filter(|wanted| !has(wanted)).map(String::as_str).collect();
    let there: Vec<_> = forbid.iter().filter(has).map(String::as_str).collect();
    let lacks = (!missing.is_empty()).then(|| format!("pxe.args lacks {}", missing.join(" ")));
    let cause = lacks.or_else(|| (!there.is_empty()).then(|| format!("pxe.args has {}", there.join(" "))));
    Seen::judged(set.args.clone(), cause)
}
