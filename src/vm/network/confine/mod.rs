//! `@confine`: the controller's side (ansible-playbook and its ssh) can touch the VM and nothing else.
//!
//! A network namespace that reaches the VM only; a root that shows the host's files and leads to none of its
//! sockets, FIFOs, devices and terminals; a pid namespace that ends with the command and takes everything left
//! along; an IPC namespace; a filter of system calls for what no namespace holds; no capability. The caller's
//! environment is the caller's to clean.

mod filter;
mod init;
mod kernel;
mod mounts;
mod paths;
mod place;
mod probe;
mod root;
mod survey;

pub use init::NAME as INIT_NAME;
pub use init::main as init_main;

use super::caps::Keep;
use super::{NetError, Network, enter};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{make_private, write_private};
use host::failure::Failure;
use host::print;
use host::process::{ProcessId, inherit_nothing, leave_user_namespace};
use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;

/// The hidden subcommand's name.
pub const NAME: &str = "@confine";

/// The exit code when the command was not run: none that Ansible uses.
pub const NOT_RUN: u8 = 125;

/// Where the root is mounted, in the VM's folder: an empty folder to everybody else.
const ROOT: &str = "root";

/// Where a confined command finds what was given to the confinement on its standard input: in a file system of its own, in
/// memory. The command's own standard input is empty.
pub const STDIN: &str = "/run/boma-qemu/stdin";

/// What a confined command may see besides the ordinary file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confinement {
    /// Unix sockets that it may use (a vault agent's).
    #[serde(default)]
    pub keep_sockets: Vec<Utf8PathBuf>,
    /// Files and folders that it needs to read where they are not shown: in the folders that are its own (`/tmp`,
    /// `/var/tmp`, `/run`, `/dev/shm`), and on network file systems. The working directory, the home, the VM's
    /// folder and the folders of programs (`PATH`) are always among them.
    #[serde(default)]
    pub visible: Vec<Utf8PathBuf>,
    /// Folders in which what it writes stays; on a network file system it is only read. Elsewhere writes are refused,
    /// and in the home they are forgotten.
    #[serde(default)]
    pub writable: Vec<Utf8PathBuf>,
    /// Whether what is on the confinement's standard input is shown to the command as [`STDIN`].
    #[serde(default)]
    pub stdin: bool,
}

/// Everything that `@confine` needs to know, as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// The network that it is in; none: one with nothing in it, which ends with the command.
    network: Option<Reach>,
    /// The VM's folder of what the command and we exchange; it is written to.
    folder: Utf8PathBuf,
    /// Folders that are empty and its own: ssh's control sockets.
    private: Vec<Utf8PathBuf>,
    /// What the caller asked for.
    allowed: Confinement,
}

/// The controller's side of a VM's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reach {
    /// The keeper of the network namespace.
    keeper: ProcessId,
    /// What stands for `/etc/resolv.conf`.
    resolv_conf: Utf8PathBuf,
    /// What stands for `/etc/hosts`.
    hosts: Utf8PathBuf,
}

impl Network {
    /// Argv prefix that runs a command confined to the controller's side. `folder` is a folder of the
    /// VM; what the prefix needs is written there (0600). Ssh's control sockets in its subfolder `cp`
    /// are the command's own.
    ///
    /// The command runs with this process's user, in its working directory, with its environment and
    /// standard streams, and everything it leaves running ends with it. Exit code 125: it was not run,
    /// and standard error says why.
    pub fn confine(&self, folder: &Utf8Path, allowed: &Confinement) -> Result<Vec<String>, NetError> {
        let mut allowed = allowed.clone();
        allowed.visible.extend(folder.parent().map(Utf8Path::to_owned));
        let (resolv_conf, hosts) = (self.dir().resolv_conf(), self.dir().hosts());
        let network = Some(Reach { keeper: self.controller, resolv_conf, hosts });
        prefix(&self.exe, folder, network, allowed)
    }
}

/// Argv prefix that runs a command confined as if there were a VM, whose network is empty; `exe` is this program, and what
/// the prefix needs is written into `folder`. It takes user namespaces.
pub fn without_a_network(exe: &Utf8Path, folder: &Utf8Path, allowed: &Confinement) -> Result<Vec<String>, NetError> {
    prefix(exe, folder, None, allowed.clone())
}

/// Why a command was not run at all: the prefix could not do its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRun {
    /// What could not be done, and why.
    pub why: String,
    /// What to do about it.
    pub next: Option<String>,
}

/// How the words of a prefix that ran nothing begin, after the hidden subcommand's name.
const SAYS: &str = ": the command was not run: ";

impl NotRun {
    /// From the exit code and the standard error of a command that was started behind a prefix; none if it was run.
    pub fn told(code: Option<i32>, stderr: &str) -> Option<Self> {
        if code != Some(i32::from(NOT_RUN)) {
            return None;
        }
        let (why, next) = match stderr.split_once(host::failure::NEXT) {
            Some((why, next)) => (why, Some(next.trim().to_owned())),
            None => (stderr, None),
        };
        let why = why.split_once(SAYS).map_or(why, |(_, why)| why);
        Some(Self { why: why.split_whitespace().collect::<Vec<_>>().join(" "), next })
    }

    /// Say that the command was not run, for whoever started it behind the prefix. The exit code for it.
    fn tell(name: &str, error: NetError) -> ExitCode {
        print::err(&format!("boma-qemu {name}{SAYS}{}", Failure::from(error)));
        ExitCode::from(NOT_RUN)
    }
}

fn prefix(
    exe: &Utf8Path,
    folder: &Utf8Path,
    network: Option<Reach>,
    allowed: Confinement,
) -> Result<Vec<String>, NetError> {
    let spec = Spec { network, folder: folder.to_owned(), private: vec![folder.join("cp")], allowed };
    make_private(&folder.join(ROOT))?;
    let path = folder.join("confine.json");
    write_private(&path, serde_json::to_vec_pretty(&spec).unwrap_or_default())?;
    Ok(vec![exe.to_string(), NAME.into(), path.into(), "--".into()])
}

/// The hidden subcommand: `@confine SPEC -- COMMAND…`.
pub fn main(args: &[String]) -> ExitCode {
    match run(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => NotRun::tell(NAME, error),
    }
}

fn run(args: &[String]) -> Result<u8, NetError> {
    let bad = || NetError::Arguments { command: NAME, why: "it takes SPEC -- COMMAND".into() };
    let [path, dashes, command @ ..] = args else { return Err(bad()) };
    if dashes != "--" || command.is_empty() {
        return Err(bad());
    }
    let spec: Spec = super::read_json(Utf8Path::new(path))?;
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    inherit_nothing();
    match &spec.network {
        Some(network) => enter::join(&network.keeper)?,
        None => leave_user_namespace(CloneFlags::CLONE_NEWNET)
            .map_err(|source| NetError::Namespace { what: "user and network namespaces", source })?,
    }
    // Joining may have cleared what the parent had set.
    enter::die_with(parent)?;
    // The first process still has mounting to do; an ordinary user's program only has what is ambient.
    Keep::All.apply()?;
    let own = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC;
    nix::sched::unshare(own)
        .map_err(|errno| NetError::Namespace { what: "mount, pid and IPC namespaces", source: errno.into() })?;
    init::start(path, command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_and_the_way_out_of_a_command_that_was_not_run_are_those_of_the_confinement() {
        let said = "boma-qemu @confined: the command was not run: cannot show /usr through overlayfs: No such device\n  next: modprobe overlay\n";
        let told = NotRun::told(Some(125), said).unwrap();
        assert_eq!(told.why, "cannot show /usr through overlayfs: No such device");
        assert_eq!(told.next.as_deref(), Some("modprobe overlay"));
        assert_eq!(NotRun::told(Some(1), said), None);
        assert_eq!(NotRun::told(Some(125), "what?\n").unwrap().why, "what?", "whoever said it, it was not run");
    }
}
