//! The host's conditions: things are tried here, on this machine, as they would be used.
//!
//! Nothing is changed and nothing is left: what must run to be judged runs and ends.

mod build;
mod files;
mod nix;
mod python;
mod qemu;
mod reach;
mod shells;

use super::condition::Condition;
use super::outcome::Seen;
use super::probe::Probe;
use super::profile::Build;
use camino::Utf8PathBuf;
use host::cmd::CmdError;
use host::deadline::Deadline;
use host::dirs::Dirs;

/// Whom and where the conditions are about.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where things are kept.
    pub dirs: Dirs,
    /// Who would build and boot the image.
    pub user: User,
    /// The PATH in which QEMU is looked up.
    pub path: String,
    /// The build and its folder, if the profile has one.
    pub build: Option<(Build, Utf8PathBuf)>,
    /// The image that the build makes, as a path or a glob.
    pub image: Option<Utf8PathBuf>,
    /// The evidence folder: where a build's log goes.
    pub evidence: Utf8PathBuf,
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The home folder.
    pub home: Utf8PathBuf,
    /// Whether it is the superuser, who has another PATH after a login.
    pub is_root: bool,
}

impl User {
    /// The user that this process runs as.
    pub fn own() -> Result<Self, String> {
        let uid = rustix::process::geteuid();
        let user = nix_user(uid.as_raw())?;
        let home = Utf8PathBuf::from_path_buf(user.dir).map_err(|path| format!("{} is not UTF-8", path.display()))?;
        Ok(Self { name: user.name, home, is_root: uid.is_root() })
    }
}

fn nix_user(uid: u32) -> Result<::nix::unistd::User, String> {
    match ::nix::unistd::User::from_uid(uid.into()) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(format!("no user has the number {uid}")),
        Err(errno) => Err(format!("cannot look up the user {uid}: {errno}")),
    }
}

impl Site {
    /// The folder that relative paths of the profile begin at.
    fn base(&self) -> &camino::Utf8Path {
        self.build.as_ref().map_or(&self.dirs.root, |(_, folder)| folder)
    }
}

/// Look at one of the host's conditions. `line` gets each line of a build as it comes.
pub async fn look(site: &Site, condition: &Condition, line: &mut dyn FnMut(&str)) -> Seen {
    let deadline = Deadline::after(condition.limit());
    match &condition.probe {
        Probe::ShellEnvironment { shells, set } => shells::environment(site, shells, set, &deadline),
        Probe::CommandsPresent { shells, names } => shells::present(site, shells, names, &deadline),
        Probe::CommandWorks { shells, argv, expect } => shells::works(site, shells, argv, expect.as_ref(), &deadline),
        Probe::QemuDevices { expect } => qemu::devices(site, expect, &deadline),
        Probe::QemuSmoke { devices } => qemu::smoke(site, devices, &deadline),
        Probe::UserNetwork { device } => qemu::user_network(site, device, &deadline),
        Probe::Accelerator { expect, times } => qemu::accelerator(site, *expect, *times, &deadline),
        Probe::FileAccess { path, access } => files::access(path, *access),
        Probe::Memory { at_least_mib } => files::memory(*at_least_mib),
        Probe::CgroupLimit { at_least_mib, at_least_pids } => files::cgroup(*at_least_mib, *at_least_pids),
        Probe::DiskFree { folder, at_least_mib } => files::disk_free(site, folder, *at_least_mib),
        Probe::UrlReachable { url, expect } => reach::url(url, expect, &deadline).await,
        Probe::PythonImports { venv, modules } => python::imports(&site.base().join(venv), modules, &deadline),
        Probe::NixFlakeShow { expect } => nix::flake_show(site, expect, &deadline),
        Probe::NixProfileScript { paths } => nix::profile_script(site, paths, &deadline),
        Probe::NixRealises { installable } => nix::realises(site, installable, &deadline),
        Probe::NixEval { attribute, expect } => nix::eval(site, attribute, expect.as_ref(), &deadline),
        Probe::Build {} => build::build(site, &deadline, line).await,
        other => Seen::unknown(format!("{} is no probe of the host's", other.name())),
    }
}

/// A command could not be run to its end.
fn broken(error: &CmdError) -> Seen {
    match std::error::Error::source(error) {
        Some(cause) => Seen::unknown(format!("{error}: {cause}")),
        None => Seen::unknown(error.to_string()),
    }
}
