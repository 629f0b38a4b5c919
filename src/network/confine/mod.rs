//! `@confine`: the controller's side (ansible-playbook and its ssh) can touch the VM and nothing else.
//!
//! A network namespace that reaches the VM only; a mount namespace without the host's sockets; a pid
//! namespace that ends with the command and takes everything left along; no capability. The caller's
//! environment is the caller's to clean.

mod init;
mod mounts;
mod sockets;

pub use init::NAME as INIT_NAME;
pub use init::main as init_main;

use super::caps::Keep;
use super::{NetError, Network, enter};
use crate::failure::Failure;
use crate::host::dirs::write_private;
use crate::host::process::{ProcessId, inherit_nothing};
use camino::{Utf8Path, Utf8PathBuf};
use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;

/// The hidden subcommand's name.
pub const NAME: &str = "@confine";

/// The exit code when the command was not run: none that Ansible uses.
pub const NOT_RUN: u8 = 125;

/// What a confined command may see besides the ordinary file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confinement {
    /// Unix sockets that it may use (a vault agent's).
    #[serde(default)]
    pub keep_sockets: Vec<Utf8PathBuf>,
    /// Files and folders that it needs where they lie below a masked folder (`/tmp`, `/var/tmp`, `/run`,
    /// `/dev/shm`). The working directory, the home and the VM's folder are always among them.
    #[serde(default)]
    pub visible: Vec<Utf8PathBuf>,
}

/// Everything that `@confine` needs to know, as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// The keeper of the controller's network namespace.
    keeper: ProcessId,
    /// What stands for `/etc/resolv.conf`.
    resolv_conf: Utf8PathBuf,
    /// What stands for `/etc/hosts`.
    hosts: Utf8PathBuf,
    /// Folders that are empty and its own: ssh's control sockets.
    private: Vec<Utf8PathBuf>,
    /// What the caller asked for.
    allowed: Confinement,
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
        let spec = Spec {
            keeper: self.controller,
            resolv_conf: self.dir().resolv_conf(),
            hosts: self.dir().hosts(),
            private: vec![folder.join("cp")],
            allowed,
        };
        let path = folder.join("confine.json");
        write_private(&path, serde_json::to_vec_pretty(&spec).unwrap_or_default())?;
        Ok(vec![self.exe.to_string(), NAME.into(), path.into(), "--".into()])
    }
}

/// The hidden subcommand: `@confine SPEC -- COMMAND…`.
pub fn main(args: &[String]) -> ExitCode {
    match run(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            anstream::eprintln!("boma-qemu {NAME}: the command was not run: {}", Failure::from(error));
            ExitCode::from(NOT_RUN)
        }
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
    let cwd = std::env::current_dir().map_err(|source| NetError::File { path: ".".into(), source })?;
    inherit_nothing();
    // Seen from the host's side, which is left in a moment.
    let folders = sockets::folders()?;
    enter::join(&spec.keeper)?;
    // Joining may have cleared what the parent had set.
    enter::die_with(parent)?;
    let namespace = |what| move |errno: nix::Error| NetError::Namespace { what, source: errno.into() };
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).map_err(namespace("a mount namespace"))?;
    mounts::arrange(&spec, &cwd, &folders)?;
    std::env::set_current_dir(&cwd).map_err(|source| NetError::File { path: cwd_name(&cwd), source })?;
    // The first process still has mounting to do; an ordinary user's program only has what is ambient.
    Keep::All.apply()?;
    nix::sched::unshare(CloneFlags::CLONE_NEWPID).map_err(namespace("a pid namespace"))?;
    init::start(command)
}

fn cwd_name(cwd: &std::path::Path) -> Utf8PathBuf {
    Utf8PathBuf::from(cwd.to_string_lossy().into_owned())
}
