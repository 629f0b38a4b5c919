//! The image's conditions: it is found, opened once, and read in this process, without mounting it.

mod content;
mod disk;
mod loaders;
mod names;
mod paths;
mod probes;
mod pxe;

pub use paths::{BootPath, BootStep};
pub use pxe::PxeSet;

use super::condition::Condition;
use super::outcome::{Seen, Verdict};
use super::probe::Probe;
use boot_media::medium::{Form, Halt, Medium, MediumError, find_one};
use camino::{Utf8Path, Utf8PathBuf};
use content::Expected;
use host::names::DiskFormat;
use loaders::Which;
pub(super) use names::senseless;

/// Why there is no image.
pub const UNNAMED: &str = "neither the profile nor --image names an image";

/// How a machine boots an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootsAs {
    /// From a CD in its drive.
    Cd,
    /// From its first disk: an overlay over the image.
    Disk(DiskFormat),
}

/// The image of an audit, as far as it has been looked at.
#[derive(Debug, Default)]
pub struct Image {
    /// The path or the glob that names it.
    named: Option<Utf8PathBuf>,
    /// What stands for an image where there is none.
    pxe: Option<PxeSet>,
    found: Option<Utf8PathBuf>,
    medium: Option<Medium>,
    /// Ends the looking when nobody waits any more.
    halt: Halt,
}

impl Image {
    /// The image that a path or a glob names, looked at until it is halted.
    pub fn named(named: Option<Utf8PathBuf>, halt: Halt) -> Self {
        Self { named, halt, ..Self::default() }
    }

    /// What a machine gets over the network instead.
    pub fn over_the_network(set: PxeSet) -> Self {
        Self { pxe: Some(set), ..Self::default() }
    }

    /// What each firmware would boot, as far as the image has been opened.
    pub fn boot_paths(&self) -> Vec<BootPath> {
        self.medium.as_ref().map(paths::of).unwrap_or_default()
    }

    /// How a machine here boots it, or why none can.
    pub fn boots_as(&mut self) -> Result<BootsAs, String> {
        if self.pxe.is_some() {
            return Err("what comes over the network is not booted here".into());
        }
        self.path()?;
        let medium = self.medium().map_err(|error| told(&error))?;
        match (medium.foreign(), medium.form()) {
            (Some(why), _) => Err(why),
            (None, Form::Iso) => Ok(BootsAs::Cd),
            (None, Form::Raw) => Ok(BootsAs::Disk(DiskFormat::Raw)),
            (None, Form::Qcow2) => Ok(BootsAs::Disk(DiskFormat::Qcow2)),
            (None, form @ (Form::Ova | Form::Uki)) => {
                Err(format!("{form}: only ISO 9660 images, and raw and qcow2 disk images, are booted"))
            }
        }
    }

    /// Which file it is, or why it is not one.
    pub fn path(&mut self) -> Result<&Utf8Path, String> {
        if self.found.is_none() {
            let named = self.named.as_ref().ok_or(UNNAMED)?;
            self.found = Some(find_one(named.as_str()).map_err(|error| told(&error))?);
        }
        self.found.as_deref().ok_or_else(|| "the image was not looked for".into())
    }

    fn medium(&mut self) -> Result<&Medium, MediumError> {
        match self.medium {
            Some(ref medium) => Ok(medium),
            None => {
                let path = self.found.clone().unwrap_or_default();
                Ok(self.medium.insert(Medium::open_until(&path, &self.halt)?))
            }
        }
    }
}

/// Look at one of the image's conditions.
pub fn look(image: &mut Image, condition: &Condition) -> Seen {
    if let Some(set) = &image.pxe {
        return pxe::look(set, &condition.probe);
    }
    let path = match image.path() {
        Ok(path) => path.to_owned(),
        Err(cause) => return Seen::fails("no single image", cause),
    };
    match &condition.probe {
        Probe::OneImage {} => return Seen::holds(path.as_str()),
        Probe::Size { at_least_mib, at_most_mib } => {
            return match std::fs::metadata(&path) {
                Ok(meta) => probes::size(meta.len(), *at_least_mib, *at_most_mib),
                Err(error) => Seen::unknown(format!("{path}: {error}")),
            };
        }
        _ => {}
    }
    let medium = match image.medium() {
        Ok(medium) => medium,
        Err(error @ (MediumError::Io { .. } | MediumError::Unread { .. })) => return Seen::unknown(told(&error)),
        Err(error) => return Seen::fails("no boot image", told(&error)),
    };
    let seen = look_into(medium, &path, &condition.probe);
    hidden(medium, &condition.probe, seen)
}

/// Whatever lies where nobody here can look may be what was not found, or what must not be there.
fn hidden(medium: &Medium, probe: &Probe, seen: Seen) -> Seen {
    let Some(why) = medium.unread().next() else { return seen };
    let open = match (probe, &seen.verdict) {
        (Probe::FilesPresent { .. } | Probe::SquashfsLists { .. }, Verdict::Fails(_)) => true,
        (Probe::LoaderFiles { .. } | Probe::LoaderLabels { .. }, Verdict::Fails(_)) => true,
        (Probe::FilesAbsent { .. }, Verdict::Holds | Verdict::Unknown(_)) => true,
        (Probe::LoaderArgs { .. } | Probe::BootsByItself { .. }, Verdict::Fails(_)) => {
            medium.loaders().entries.is_empty()
        }
        _ => false,
    };
    if open { Seen::unknown(why).in_text(seen.evidence) } else { seen }
}

fn look_into(medium: &Medium, path: &Utf8Path, probe: &Probe) -> Seen {
    match probe {
        Probe::Whole {} => match medium.wrong_members().and_then(|wrong| Ok((wrong, medium.short_squashfs()?))) {
            Ok((wrong, short)) => match (wrong.first(), short.first()) {
                (Some(wrong), _) => Seen::fails("not as it was packed", wrong.to_string()),
                (None, Some(name)) if medium.damage().is_empty() => {
                    Seen::fails("cut off", format!("{name} holds a squashfs that says it is longer than that"))
                }
                _ => probes::whole(medium),
            },
            Err(error) => Seen::unknown(told(&error)),
        },
        Probe::Fstab {} => disk::fstab(medium),
        Probe::ElTorito { expect } => probes::el_torito(medium, expect),
        Probe::LoaderArgs { expect, forbid, entries, except } => {
            loaders::args(medium, &Which { entries: *entries, except }, expect, forbid)
        }
        Probe::BootsByItself { title, within_s } => loaders::by_itself(medium, title.as_ref(), *within_s),
        Probe::LoaderFiles { entries, except } => loaders::files(medium, &Which { entries: *entries, except }),
        Probe::LoaderLabels { entries, except } => loaders::labels(medium, &Which { entries: *entries, except }),
        Probe::FilesPresent { paths } => names::present(medium, paths),
        Probe::FilesAbsent { paths } => names::absent(medium, paths),
        Probe::FileInImage { path, contains, lacks, sha256 } => {
            content::file(medium, path, &Expected { contains, lacks, sha256: sha256.as_deref() })
        }
        Probe::SquashfsLists { path, files, required } => names::squashfs(medium, path.as_deref(), files, *required),
        Probe::Checksum { sha256 } => match medium.sums() {
            Ok(sums) => probes::checksum(path, &sums.sha256, sha256.as_deref()),
            Err(error) => Seen::unknown(told(&error)),
        },
        other => Seen::unknown(format!("{} is no probe of the image's", other.name())),
    }
}

/// An error with its cause.
pub fn told(error: &MediumError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
