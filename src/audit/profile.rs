//! Audit profiles: which image, which machine, which conditions. They lie beside the hosts' profiles and say
//! `"kind": "audit"`, so that neither is ever taken for the other.
//!
//! Fuzzed as `audit_profile`.

use super::check;
use super::condition::{Condition, Phase};
use super::form;
use super::image::PxeSet;
use super::outcome::listed;
use super::probe::Probe;
use crate::form::Form;
use crate::form::names::keys;
use crate::profile::{ConsoleRules, Kind, ProfileError, kind};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::Dirs;
use host::names::HostName;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
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
    /// What a machine gets over the network instead of an image.
    pub pxe: Option<Pxe>,
    /// How the image is made; without it, it is one that is there.
    pub build: Option<Build>,
    /// What it is booted in; its CD is the image. Without it only the image is looked at.
    pub machine: Option<Boot>,
    /// Who logs in on that machine.
    pub guest: Option<Guest>,
    /// What the serial console may say.
    #[serde(default)]
    pub console: ConsoleRules,
    /// What must hold.
    pub conditions: Vec<Condition>,
}

/// What a machine gets over the network: paths are absolute or from the build folder, as `image` is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pxe {
    /// The kernel.
    pub kernel: Utf8PathBuf,
    /// The initial RAM disks, in their order.
    #[serde(default)]
    pub initrd: Vec<Utf8PathBuf>,
    /// The kernel's arguments.
    pub args: String,
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

    /// Read and check an audit profile that lies anywhere.
    pub fn load_file(path: &Utf8Path) -> Result<Self, ProfileError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ProfileError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Parse the text of an audit profile; `path` is for messages. All that is wrong with it is said at once.
    pub fn parse(path: &Utf8Path, text: &str) -> Result<Self, ProfileError> {
        let raw: &RawValue = kind::parse(Kind::Audit, path, text)?;
        let mut form = Form::of(text);
        let profile = Self::read(&mut form, raw);
        let mut wrong = form.wrong;
        if let Some(profile) = &profile {
            wrong.extend(profile.wrong());
            wrong.extend(check::wrong(&profile.conditions));
        }
        match (profile, wrong.is_empty()) {
            (Some(profile), true) => Ok(profile),
            _ => Err(ProfileError::Wrong { kind: Kind::Audit, path: path.to_owned(), wrong }),
        }
    }

    /// Take the text apart. There is a profile as soon as its parts can be read, so that what they say can be judged, too; what
    /// a condition depends on is not, if one of the others cannot be read.
    fn read<'t>(form: &mut Form<'t>, raw: &'t RawValue) -> Option<Self> {
        let object = form.object(raw, "the profile", keys::<Self>())?;
        let kind = object.need(form, "the profile", "kind");
        let image = object.may(form, "the profile", "image");
        let (pxe, build) = (object.part(form, "pxe"), object.part(form, "build"));
        let (machine, guest) = (object.part(form, "machine"), object.part(form, "guest"));
        let console = object.part(form, "console");
        let list = match object.get("conditions") {
            Some(raw) => form.list(raw, "conditions"),
            None => object.need::<Vec<()>>(form, "the profile", "conditions").map(|_| Vec::new())?,
        };
        let read: Vec<_> = list.iter().zip(1..).map(|(raw, number)| form::condition(form, raw, number)).collect();
        let conditions: Option<Vec<_>> = read.iter().cloned().collect();
        if conditions.is_none() {
            form.wrong.extend(read.iter().flatten().filter_map(check::alone_said));
        }
        Some(Self {
            kind: kind?,
            image: image?,
            pxe: pxe?,
            build: build?,
            machine: machine?,
            guest: guest?,
            console: console?.unwrap_or_default(),
            conditions: conditions?,
        })
    }

    /// What cannot work, apart from the conditions.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(build) = &self.build {
            if build.command.is_empty() {
                wrong.push("build: the command is empty".to_owned());
            }
            if self.image.is_none() && self.pxe.is_none() {
                wrong.push("build: `image` does not say where the build leaves its image".to_owned());
            }
            wrong.extend(self.conditions.iter().filter_map(|one| match (&one.probe, one.limit) {
                (Probe::Build {}, Some(limit)) if limit < build.limit => {
                    Some(format!("{}: limit is {limit} s, and the build alone may take {} s", one.id, build.limit))
                }
                _ => None,
            }));
        }
        if self.image.is_some() && self.pxe.is_some() {
            wrong.push("image and pxe: a profile has one or the other".to_owned());
        }
        wrong.extend(self.console.allow.wrong().map(|why| format!("console: {why}")));
        match &self.machine {
            Some(machine) => self.wrong_machine(machine, &mut wrong),
            None => self.no_machine("machine", self.pxe.is_some(), &mut wrong),
        }
        match &self.guest {
            Some(guest) => {
                wrong.extend(Dialect::named(&guest.dialect).err().map(|why| format!("guest: {why}")));
                if guest.user.is_empty() || guest.user.contains(char::is_whitespace) {
                    wrong.push(format!("guest: {:?} is not a user's name", guest.user));
                }
            }
            None => self.no_machine("guest", false, &mut wrong),
        }
        wrong
    }

    fn wrong_machine(&self, machine: &Boot, wrong: &mut Vec<String>) {
        if self.pxe.is_some() {
            wrong.push("machine: what comes over the network is not booted here; leave `machine` out".to_owned());
        }
        if machine.iso.is_some() {
            wrong.push("machine: `iso` is not said here; the CD is the image".to_owned());
        }
        let boot = Boot { iso: Some("image".into()), ..machine.clone() };
        wrong.extend(boot.check().err().map(|error| error.to_string()));
        let disks = machine.disks.len();
        wrong.extend(self.conditions.iter().filter_map(|one| match one.probe {
            Probe::DiskBlankBefore { disk } if disk >= disks => {
                Some(format!("{}: there is no disk {disk}: machine.disks has {disks}", one.id))
            }
            _ => None,
        }));
    }

    /// What is booted needs a machine and somebody who logs in; an image that is only looked at needs neither.
    fn no_machine(&self, key: &str, never: bool, wrong: &mut Vec<String>) {
        let booted = self.conditions.iter().filter(|one| one.phase == Phase::Runtime);
        let booted: Vec<_> = booted.map(|one| one.id.clone()).collect();
        if let Some(first) = booted.first() {
            wrong.push(match never {
                true => format!("{first}: what comes over the network is not booted here"),
                false => format!("{key} is missing: these conditions boot the image: {}", listed(&booted)),
            });
        }
    }

    /// The folder that the build runs in, if there is a build.
    pub fn build_folder(&self, dirs: &Dirs) -> Option<Utf8PathBuf> {
        self.build.as_ref().map(|build| dirs.root.join(&build.folder))
    }

    /// What a machine gets over the network, with absolute paths.
    pub fn pxe_set(&self, dirs: &Dirs) -> Option<PxeSet> {
        let base = self.build_folder(dirs).unwrap_or_else(|| dirs.root.clone());
        let pxe = self.pxe.as_ref()?;
        let initrd = pxe.initrd.iter().map(|path| base.join(path)).collect();
        Some(PxeSet { kernel: base.join(&pxe.kernel), initrd, args: pxe.args.clone() })
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
