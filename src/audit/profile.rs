//! Audit profiles: which image, which machine, which conditions. They lie beside the hosts' profiles and say
//! `"kind": "audit"`, so that neither is ever taken for the other.

use super::check;
use super::condition::Condition;
use super::probe::Probe;
use crate::profile::{ConsoleRules, Kind, ProfileError, kind};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::Dirs;
use host::names::HostName;
use serde::{Deserialize, Serialize};
use vm::qemu::boot::Boot;
use vm::serial::Dialect;

/// What is audited, as its profile says it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditProfile {
    /// Always `audit`.
    pub kind: Kind,
    /// The image: a path or a glob, absolute or from the build folder (without a build, from the project root).
    /// `--image` wins.
    pub image: Option<Utf8PathBuf>,
    /// How the image is made; without it, it is one that is there.
    pub build: Option<Build>,
    /// What it is booted in; its CD is the image.
    pub machine: Boot,
    /// Who logs in.
    pub guest: Guest,
    /// What the serial console may say.
    #[serde(default)]
    pub console: ConsoleRules,
    /// What must hold.
    pub conditions: Vec<Condition>,
}

/// How the image is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The command; it is run in a fresh login shell's environment.
    pub command: Vec<String>,
    /// Where it is run, absolute or from the project root.
    pub folder: Utf8PathBuf,
    /// How long it may take, in seconds.
    #[serde(default = "an_hour")]
    pub limit: u64,
}

/// Who logs in on the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// How the guest talks: its prompts and the way to become root.
    pub dialect: String,
    /// The user.
    pub user: String,
    /// The password, if it is asked for one.
    pub password: Option<String>,
}

fn an_hour() -> u64 {
    3600
}

impl AuditProfile {
    /// Read and check the audit profile of a name.
    pub fn load(dirs: &Dirs, name: &HostName) -> Result<Self, ProfileError> {
        let (path, text) = kind::read(dirs, Kind::Audit, name)?;
        Self::parse(&path, &text)
    }

    /// Parse the text of an audit profile; `path` is for messages.
    pub fn parse(path: &Utf8Path, text: &str) -> Result<Self, ProfileError> {
        let profile: Self = kind::parse(Kind::Audit, path, text)?;
        let mut wrong = profile.wrong();
        wrong.extend(check::wrong(&profile.conditions));
        match wrong.is_empty() {
            true => Ok(profile),
            false => Err(ProfileError::Wrong { kind: Kind::Audit, path: path.to_owned(), wrong }),
        }
    }

    /// What cannot work, apart from the conditions.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(build) = &self.build {
            if build.command.is_empty() {
                wrong.push("build: the command is empty".to_owned());
            }
            if self.image.is_none() {
                wrong.push("build: `image` does not say where the build leaves its image".to_owned());
            }
        }
        if self.machine.iso.is_some() {
            wrong.push("machine: `iso` is not said here; the CD is the image".to_owned());
        }
        let boot = Boot { iso: Some("image".into()), ..self.machine.clone() };
        wrong.extend(boot.check().err().map(|error| error.to_string()));
        wrong.extend(Dialect::named(&self.guest.dialect).err().map(|why| format!("guest: {why}")));
        wrong.extend(self.console.allow.wrong().map(|why| format!("console: {why}")));
        let disks = self.machine.disks.len();
        wrong.extend(self.conditions.iter().filter_map(|one| match one.probe {
            Probe::DiskBlankBefore { disk } if disk >= disks => {
                Some(format!("{}: there is no disk {disk}: machine.disks has {disks}", one.id))
            }
            _ => None,
        }));
        if self.guest.user.is_empty() || self.guest.user.contains(char::is_whitespace) {
            wrong.push(format!("guest: {:?} is not a user's name", self.guest.user));
        }
        wrong
    }

    /// The folder that the build runs in, if there is a build.
    pub fn build_folder(&self, dirs: &Dirs) -> Option<Utf8PathBuf> {
        self.build.as_ref().map(|build| dirs.root.join(&build.folder))
    }

    /// Where the image is, as a path or a glob. `given` is from the command line, from the folder `here`.
    pub fn image(&self, dirs: &Dirs, given: Option<&Utf8Path>, here: &Utf8Path) -> Option<Utf8PathBuf> {
        let base = self.build_folder(dirs).unwrap_or_else(|| dirs.root.clone());
        given.map(|path| here.join(path)).or_else(|| self.image.as_ref().map(|path| base.join(path)))
    }
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
