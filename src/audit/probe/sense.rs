//! What cannot work about a probe, whatever the machine: it is refused when the profile is read.

use super::{Probe, Shell};
use crate::audit::image::senseless;
use crate::form::names::meant;

impl Probe {
    /// What cannot work about it, whatever the machine.
    pub(in crate::audit) fn wrong(&self) -> Option<String> {
        let empty = |list: &[String], name: &str| list.is_empty().then(|| format!("{name} is empty"));
        match self {
            Self::ShellEnvironment { shells, set } => no_shell(shells).or_else(|| empty(set, "set")),
            Self::CommandsPresent { shells, names } => no_shell(shells).or_else(|| empty(names, "names")),
            Self::CommandWorks { shells, argv, .. } => no_shell(shells).or_else(|| empty(argv, "argv")),
            Self::QemuDevices { expect } | Self::DiskNames { expect } => empty(expect, "expect"),
            Self::LoaderArgs { expect, forbid, except, .. } => {
                let nothing = expect.is_empty() && forbid.is_empty();
                let nothing = nothing.then(|| "neither expect nor forbid says anything".to_owned());
                nothing.or_else(|| no_glob(expect)).or_else(|| no_glob(forbid)).or_else(|| no_glob(except))
            }
            Self::LoaderFiles { except, .. } | Self::LoaderLabels { except, .. } => no_glob(except),
            Self::FilesPresent { paths } | Self::FilesAbsent { paths } => {
                empty(paths, "paths").or_else(|| paths.iter().find_map(|path| senseless(path)))
            }
            Self::SquashfsLists { files, .. } => {
                empty(files, "files").or_else(|| files.iter().find_map(|path| senseless(path)))
            }
            Self::FileInImage { path, contains, lacks, sha256 } => {
                let nothing = contains.is_empty() && lacks.is_empty() && sha256.is_none();
                let nothing = nothing.then(|| "neither contains, lacks nor sha256 says anything".to_owned());
                let digest = sha256.as_deref().filter(|digest| !is_digest(digest));
                let digest = digest.map(|digest| format!("{digest:?} is not 64 hexadecimal digits"));
                senseless(path).or(nothing).or(digest)
            }
            Self::PythonImports { modules, .. } => empty(modules, "modules"),
            Self::FileContent { expect, path } => {
                empty(expect, "expect").or_else(|| (!path.is_absolute()).then(|| format!("{path} is not absolute")))
            }
            Self::UnitState { expect, .. } => empty(expect, "expect").or_else(|| no_state(expect)),
            Self::Membership { groups } => empty(groups, "groups"),
            Self::UnitProperties { expect, .. } => expect.is_empty().then(|| "expect is empty".into()),
            Self::ElTorito { expect } => expect.is_empty().then(|| "expect is empty".into()),
            Self::Accelerator { times: 0, .. } => Some("times is 0".into()),
            Self::Size { at_least_mib, at_most_mib } if at_least_mib > at_most_mib => {
                Some(format!("nothing is at least {at_least_mib} and at most {at_most_mib} MiB"))
            }
            Self::DiskFree { folder, .. } if !is_folder(folder) => {
                Some(format!("{folder:?} is none of state, runs, build, and no absolute path"))
            }
            Self::UrlReachable { url, .. } if !url.starts_with("http://") && !url.starts_with("https://") => {
                Some(format!("{url:?} is no http or https address"))
            }
            Self::Checksum { sha256: Some(digest) } if !is_digest(digest) => {
                Some(format!("{digest:?} is not 64 hexadecimal digits"))
            }
            Self::ConsoleAlive { max_gap_s } if !(max_gap_s.is_finite() && *max_gap_s > 0.0) => {
                Some("max-gap-s is not a time".into())
            }
            _ => None,
        }
    }
}

/// The states of a unit, as systemd's basic/unit-def.c has them.
const STATES: [&str; 8] =
    ["active", "reloading", "inactive", "failed", "activating", "deactivating", "maintenance", "refreshing"];

/// A state that no unit ever has.
fn no_state(expect: &[String]) -> Option<String> {
    let odd = expect.iter().find(|state| !STATES.contains(&state.as_str()))?;
    Some(format!("{odd:?} is no state of a unit{}", meant(odd, &STATES)))
}

fn no_glob(patterns: &[String]) -> Option<String> {
    let wrong = |text: &String| {
        let empty = text.is_empty().then(|| "it is empty".to_owned());
        let why = empty.or_else(|| glob::Pattern::new(text).err().map(|error| error.to_string()))?;
        Some(format!("{text:?} can never match: {why}"))
    };
    patterns.iter().find_map(wrong)
}

fn no_shell(shells: &[Shell]) -> Option<String> {
    shells.is_empty().then(|| "shells is empty".into())
}

fn is_folder(folder: &str) -> bool {
    matches!(folder, "state" | "runs" | "build") || folder.starts_with('/')
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
