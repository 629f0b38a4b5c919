//! The image's conditions: it is found, opened once, and read in this process, without mounting it.

mod probes;

use super::condition::Condition;
use super::outcome::Seen;
use super::probe::Probe;
use boot_media::medium::{Medium, MediumError, find_one};
use camino::{Utf8Path, Utf8PathBuf};

/// The image of an audit, as far as it has been looked at.
#[derive(Debug, Default)]
pub struct Image {
    /// The path or the glob that names it.
    named: Option<Utf8PathBuf>,
    found: Option<Utf8PathBuf>,
    medium: Option<Medium>,
}

impl Image {
    /// The image that a path or a glob names.
    pub fn named(named: Option<Utf8PathBuf>) -> Self {
        Self { named, ..Self::default() }
    }

    /// Which file it is, or why it is not one.
    pub fn path(&mut self) -> Result<&Utf8Path, String> {
        if self.found.is_none() {
            let named = self.named.as_ref().ok_or("neither the profile nor --image names an image")?;
            self.found = Some(find_one(named.as_str()).map_err(|error| told(&error))?);
        }
        self.found.as_deref().ok_or_else(|| "the image was not looked for".into())
    }

    fn medium(&mut self) -> Result<&Medium, MediumError> {
        match self.medium {
            Some(ref medium) => Ok(medium),
            None => {
                let path = self.found.clone().unwrap_or_default();
                Ok(self.medium.insert(Medium::open(&path)?))
            }
        }
    }
}

/// Look at one of the image's conditions.
pub fn look(image: &mut Image, condition: &Condition) -> Seen {
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
        Err(error @ MediumError::Io { .. }) => return Seen::unknown(told(&error)),
        Err(error) => return Seen::fails("no ISO 9660 image", told(&error)),
    };
    match &condition.probe {
        Probe::Whole {} => probes::whole(medium),
        Probe::ElTorito { expect } => probes::el_torito(medium, expect),
        Probe::LoaderArgs { expect, entries } => probes::loader_args(medium, expect, *entries),
        Probe::FilesPresent { paths } => probes::present(medium, paths),
        Probe::FilesAbsent { paths } => probes::absent(medium, paths),
        Probe::SquashfsLists { path, files, required } => probes::squashfs(medium, path.as_deref(), files, *required),
        Probe::Checksum { sha256 } => match medium.sums() {
            Ok(sums) => probes::checksum(&path, &sums.sha256, sha256.as_deref()),
            Err(error) => Seen::unknown(told(&error)),
        },
        other => Seen::unknown(format!("{} is no probe of the image's", other.name())),
    }
}

/// An error with its cause.
fn told(error: &MediumError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
