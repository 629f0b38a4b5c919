//! What all profiles have in common: one folder, a kind each, and the reasons why one cannot be used.

use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::Dirs;
use host::failure::{Blame, Exit};
use host::names::HostName;
use serde::{Deserialize, Serialize};

/// What a profile is of. Hosts and audits have theirs in one folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A mirrored host: its profile says nothing of its kind.
    #[serde(skip)]
    Host,
    /// An audit of a boot image.
    Audit,
}

impl Kind {
    /// What a profile says it is, whatever else is in it.
    pub fn of(text: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Tag {
            kind: Option<Kind>,
        }
        Ok(serde_json::from_str::<Tag>(text)?.kind.unwrap_or(Self::Host))
    }

    /// In the middle of a sentence.
    fn one(self) -> &'static str {
        match self {
            Self::Host => "a host",
            Self::Audit => "an audit",
        }
    }

    /// Where its keys are listed.
    fn section(self) -> &'static str {
        match self {
            Self::Host => "docs/runbook.md, \"Adding a profile\"",
            Self::Audit => "docs/runbook.md, \"Auditing a boot image\"",
        }
    }
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No such profile.
    #[error("no profile of {} is called {name}: {path} does not exist{known}", kind.one())]
    Unknown {
        /// What was asked for.
        kind: Kind,
        /// Its name.
        name: HostName,
        /// Where its profile would be.
        path: Utf8PathBuf,
        /// Those that there are, as part of the sentence.
        known: String,
    },
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The profile.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It is one of the other kind.
    #[error("{path} is the profile of {}, not of {}", is.one(), asked.one())]
    Other {
        /// The profile.
        path: Utf8PathBuf,
        /// What it is.
        is: Kind,
        /// What was asked for.
        asked: Kind,
    },
    /// It is no profile. The source names line and column.
    #[error("{path} is not the profile of {}", kind.one())]
    Parse {
        /// What was asked for.
        kind: Kind,
        /// The profile.
        path: Utf8PathBuf,
        /// What is wrong and where.
        #[source]
        source: serde_json::Error,
    },
    /// Values that cannot work.
    #[error("{path}: {}", wrong.join("\n  "))]
    Wrong {
        /// What was asked for.
        kind: Kind,
        /// The profile.
        path: Utf8PathBuf,
        /// Which values, and why not.
        wrong: Vec<String>,
    },
}

impl Blame for ProfileError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Unknown { kind, .. } => Some(format!("{}, says how to write one", kind.section())),
            Self::Parse { kind, .. } | Self::Wrong { kind, .. } => Some(format!("{}, lists every key", kind.section())),
            Self::Other { path, is, .. } => {
                let name = path.file_stem().unwrap_or_default();
                Some(match is {
                    Kind::Host => format!("give it \"kind\": \"audit\", or run `boma-qemu cycle {name}`"),
                    Kind::Audit => format!("run `boma-qemu audit {name}`, or name a host"),
                })
            }
            Self::Read { .. } => None,
        }
    }
}

/// The profile of a name: its path and its text.
pub(crate) fn read(dirs: &Dirs, kind: Kind, name: &HostName) -> Result<(Utf8PathBuf, String), ProfileError> {
    let path = dirs.root.join("profiles").join(format!("{name}.json"));
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(ProfileError::Unknown { kind, name: name.clone(), path, known: known(dirs, kind) })
        }
        Err(source) => Err(ProfileError::Read { path, source }),
    }
}

/// The text of a profile of a kind, parsed; `path` is for messages.
pub(crate) fn parse<'t, T: Deserialize<'t>>(kind: Kind, path: &Utf8Path, text: &'t str) -> Result<T, ProfileError> {
    // One that cannot be parsed at all is told so below, with its place.
    if let Some(is) = Kind::of(text).ok().filter(|is| *is != kind) {
        return Err(ProfileError::Other { path: path.to_owned(), is, asked: kind });
    }
    serde_json::from_str(text).map_err(|source| ProfileError::Parse { kind, path: path.to_owned(), source })
}

/// Whose profiles there are of a kind, by name.
pub fn names(dirs: &Dirs, kind: Kind) -> Vec<HostName> {
    let Ok(entries) = dirs.root.join("profiles").read_dir_utf8() else { return Vec::new() };
    let files = entries.filter_map(Result::ok).filter_map(|entry| {
        let name = entry.file_name().strip_suffix(".json")?.to_owned();
        // One that cannot be read is a host's, whose commands say what is wrong with it.
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        (Kind::of(&text).unwrap_or(Kind::Host) == kind).then_some(name)
    });
    // The catalogue of images lies beside the profiles.
    let mut names: Vec<HostName> = files.filter(|name| name != "images").filter_map(|name| name.parse().ok()).collect();
    names.sort();
    names
}

/// The same as the end of a sentence.
fn known(dirs: &Dirs, kind: Kind) -> String {
    let names: Vec<_> = names(dirs, kind).into_iter().map(String::from).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(" (there are: {})", names.join(", ")),
    }
}
