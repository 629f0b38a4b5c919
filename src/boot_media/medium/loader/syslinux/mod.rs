//! ISOLINUX and its menus: which label boots, and after how long.
//!
//! Format: the Syslinux wiki's Config, Menu and Comboot pages; where they are silent, com32/elflink/ldlinux (`DEFAULT`, `UI`,
//! `PROMPT`) and com32/menu (`MENU …`), which both read the whole configuration, each for itself. Keywords have no case; labels do.

mod choose;
mod command;
mod config;

use super::reading::{Place, Reading};
use super::{DEEPEST, Loader, LoaderEntry, Verdict, Wait, clean, folder, start};
use choose::Ends;

/// ISOLINUX at work: the file that it reads, and the folder that names are relative to.
struct Isolinux<'r, 's> {
    reading: &'r mut Reading<'s>,
    volume: usize,
    /// Configurations and menus that have been shown, so that none is followed twice.
    seen: Vec<(String, String)>,
    entries: Vec<LoaderEntry>,
}

/// Read the configuration that ISOLINUX has found.
pub(super) fn read(reading: &mut Reading<'_>, place: &Place) -> Verdict {
    let mut loader = Isolinux { reading, volume: place.volume, seen: Vec::new(), entries: Vec::new() };
    let base = folder(&place.path).to_owned();
    let mut ends = Ends::default();
    loader.start(&place.path, &base, true, &mut ends, 0);
    ends.verdict(loader.entries)
}

/// A path as ISOLINUX takes it: from the folder of its configuration.
fn absolute(base: &str, path: &str) -> String {
    if path.starts_with('/') { clean(path) } else { clean(&format!("{base}/{path}")) }
}

/// The first word, and the rest without spaces around it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}
