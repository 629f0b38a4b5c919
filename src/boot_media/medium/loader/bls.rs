//! systemd-boot's menu: the files in `loader/entries`, and unified kernel images in `EFI/Linux`.
//!
//! Formats: the UAPI group's Boot Loader Specification (UAPI.1) and Unified Kernel Image (UAPI.5), loader.conf(5),
//! systemd-boot(7); sorting and choosing as in systemd's src/boot/boot.c.

use super::inside::Section;
use super::reading::{Place, Reading, Sees, Shelf};
use super::{Boots, Chosen, Loader, LoaderEntry, Verdict, Wait, boots, clean, folder, start, version};
use std::cmp::Ordering;

/// The largest section of a unified kernel image that is read as text, bytes.
const LARGEST_TEXT: u64 = 64 << 10;

/// What `loader.conf` says.
#[derive(Default)]
struct Settings {
    default: Option<String>,
    timeout: Option<String>,
}

/// An entry, with what it is sorted by.
struct Entry {
    entry: LoaderEntry,
    /// The file's name without its counter.
    id: String,
    sort_key: Option<String>,
    machine: String,
    version: String,
    /// Tries that are left, and that were made.
    tries: Option<(u64, u64)>,
}

/// Whether a file system has anything that systemd-boot would read.
pub(super) fn is_there(reading: &Reading<'_>, volume: usize) -> bool {
    let conf = Place { volume, path: "/loader/loader.conf".into() };
    reading.find(&conf, Sees::Firmware).is_some() || has_entries(reading, volume)
}

/// Whether there is an entry on a file system, whatever is wrong with it.
fn has_entries(reading: &Reading<'_>, volume: usize) -> bool {
    reading.places().iter().any(|place| place.volume == volume && (is_entry(place) || is_uki(place)))
}

fn lies(place: &Place, folder_of: &str, extension: &str) -> bool {
    folder(&place.path).eq_ignore_ascii_case(folder_of) && place.path.to_ascii_lowercase().ends_with(extension)
}

fn is_entry(place: &Place) -> bool {
    lies(place, "/loader/entries", ".conf")
}

fn is_uki(place: &Place) -> bool {
    lies(place, "/EFI/Linux", ".efi")
}

/// Read the menu of these file systems, of which the first has the settings.
pub(super) fn read(reading: &mut Reading<'_>, volumes: &[usize]) -> Verdict {
    let settings = volumes.first().map(|volume| settings(reading, *volume)).unwrap_or_default();
    let mut places: Vec<_> = reading.places().into_iter().filter(|place| volumes.contains(&place.volume)).collect();
    places.sort();
    let mut entries: Vec<Entry> = Vec::new();
    for place in places {
        if is_entry(&place) {
            entries.extend(conf(reading, &place));
        } else if is_uki(&place) {
            let head = reading.shelf.part(&place, 0, super::inside::HEADERS as u64).unwrap_or_default();
            let sections = super::inside::sections(&head);
            match sections.iter().any(|section| section.name == ".linux") {
                true => entries.extend(images(reading.shelf, &place, &sections)),
                false => reading.problem(
                    &reading.name(&place),
                    0,
                    "it is no unified kernel image: systemd-boot leaves it out",
                ),
            }
        }
        if !reading.step("/loader/entries") {
            break;
        }
    }
    entries.sort_by(compare);
    let chosen = choose(&entries, settings.default.as_deref());
    Verdict {
        entries: entries.into_iter().map(|entry| entry.entry).collect(),
        chosen,
        wait: wait(settings.timeout.as_deref()),
    }
}

fn settings(reading: &mut Reading<'_>, volume: usize) -> Settings {
    let mut settings = Settings::default();
    let Some(place) = reading.find(&Place { volume, path: "/loader/loader.conf".into() }, Sees::Firmware) else {
        return settings;
    };
    let text = reading.text(Loader::SystemdBoot, &place).unwrap_or_default();
    for (key, value) in text.lines().filter_map(key_and_value) {
        match key {
            "default" => settings.default = Some(value.to_owned()),
            "timeout" => settings.timeout = Some(value.to_owned()),
            _ => {}
        }
    }
    settings
}

fn wait(timeout: Option<&str>) -> Wait {
    match timeout {
        Some("menu-force") => Wait::Key,
        None | Some("menu-hidden" | "menu-disabled") => Wait::After { tenths: 0 },
        Some(seconds) => {
            seconds.parse::<u32>().map_or(Wait::NotKnown, |seconds| Wait::After { tenths: seconds.saturating_mul(10) })
        }
    }
}

/// The file of one entry; none if systemd-boot leaves it out.
fn conf(reading: &mut Reading<'_>, place: &Place) -> Option<Entry> {
    let text = reading.text(Loader::SystemdBoot, place)?;
    let file = reading.name(place);
    let name = place.path.rsplit('/').next().unwrap_or_default();
    let (id, tries) = counter(name, ".conf");
    let mut entry = start::entry(Loader::SystemdBoot, &file, 1, &id);
    entry.id = Some(id.clone());
    let (mut sort_key, mut machine, mut version, mut architecture) = (None, String::new(), String::new(), None);
    for (line, text) in (1..).zip(text.lines()) {
        let Some((key, value)) = key_and_value(text) else { continue };
        match key {
            "title" => entry.title = value.to_owned(),
            "sort-key" => sort_key = Some(value.to_owned()),
            "machine-id" => machine = value.to_owned(),
            "version" => version = value.to_owned(),
            "architecture" => architecture = Some(value.to_ascii_lowercase()),
            "linux" | "efi" | "uki" => {
                entry.command = key.to_owned();
                entry.kernel = Some(path(value));
                if entry.args.is_empty() {
                    entry.line = line;
                }
            }
            "initrd" => entry.initrd.push(path(value)),
            "options" => {
                entry.args = format!("{} {value}", entry.args).trim().to_owned();
                entry.line = line;
            }
            _ => {}
        }
    }
    let left_out = match (&entry.kernel, architecture.as_deref()) {
        (None, _) => Some("it has neither linux nor efi".to_owned()),
        (_, Some(other)) if other != "x64" => Some(format!("it is for {other}")),
        (Some(kernel), _) if !has(reading, place.volume, kernel) => Some(format!("{kernel} is not there")),
        _ => None,
    };
    if let Some(why) = left_out {
        reading.problem(&file, entry.line, format!("systemd-boot leaves it out: {why}"));
        return None;
    }
    let lacks = |path: &String| {
        let place = Place { volume: place.volume, path: path.clone() };
        reading.lacks(reading.find(&place, Sees::Firmware), path)
    };
    entry.missing = entry.kernel.iter().chain(&entry.initrd).filter_map(lacks).collect();
    let command = if entry.command == "uki" { "linux" } else { &entry.command };
    entry.boots = boots(command, entry.kernel.as_deref());
    Some(Entry { entry, id, sort_key, machine, version, tries })
}

fn has(reading: &Reading<'_>, volume: usize, path: &str) -> bool {
    reading.find(&Place { volume, path: path.to_owned() }, Sees::Firmware).is_some()
}

/// A path of an entry; backslashes are slashes, too.
fn path(value: &str) -> String {
    clean(&value.replace('\\', "/"))
}

/// A unified kernel image as entries of a menu, one for each of its profiles.
fn images(shelf: &dyn Shelf, place: &Place, sections: &[Section]) -> Vec<Entry> {
    let name = place.path.rsplit('/').next().unwrap_or_default();
    let (id, tries) = counter(name, ".efi");
    let release = text(shelf, place, sections, ".osrel").unwrap_or_default();
    let field = |names: &[&str]| names.iter().find_map(|name| release_field(&release, name));
    let sort_key = field(&["IMAGE_ID", "ID"]);
    let version = field(&["IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"]).unwrap_or_default();
    let entry = |(n, mut entry): (usize, LoaderEntry)| {
        let id = if n == 0 { id.clone() } else { format!("{id}@{n}") };
        entry.id = Some(id.clone());
        Entry { entry, id, sort_key: sort_key.clone(), machine: String::new(), version: version.clone(), tries }
    };
    uki(shelf, place, sections).into_iter().enumerate().map(entry).collect()
}

/// What a unified kernel image boots: by itself its first profile, and the others if it is asked to. A profile's sections stand
/// behind its `.profile`, and win over those before the first.
pub(super) fn uki(shelf: &dyn Shelf, place: &Place, sections: &[Section]) -> Vec<LoaderEntry> {
    let mut parts = sections.split(|section| section.name == ".profile");
    let base = parts.next().unwrap_or_default();
    let profiles: Vec<_> = parts.collect();
    let marks: Vec<_> = sections.iter().filter(|section| section.name == ".profile").collect();
    if profiles.is_empty() {
        return vec![image(shelf, place, base, None)];
    }
    let one = |(own, mark): (&&[Section], &&Section)| {
        let said = read_text(shelf, place, mark).unwrap_or_default();
        let title = release_field(&said, "TITLE").or_else(|| release_field(&said, "ID"));
        image(shelf, place, &[*own, base].concat(), title.as_deref())
    };
    profiles.iter().zip(&marks).map(one).collect()
}

fn image(shelf: &dyn Shelf, place: &Place, sections: &[Section], profile: Option<&str>) -> LoaderEntry {
    let release = text(shelf, place, sections, ".osrel").unwrap_or_default();
    let mut title = release_field(&release, "PRETTY_NAME").unwrap_or_else(|| place.path.clone());
    if let Some(profile) = profile {
        title = format!("{title} ({profile})");
    }
    let mut entry = kernel(shelf, place);
    entry.title = title;
    if let Some(args) = text(shelf, place, sections, ".cmdline") {
        entry.args = args.trim_matches(['\0', '\n', ' ']).to_owned();
        entry.unknown.clear();
    }
    if sections.iter().any(|section| section.name == ".initrd") {
        entry.initrd = vec![format!("{}#.initrd", place.path)];
    }
    entry
}

/// A kernel that firmware starts itself: its command line is whatever it is handed, or was built with.
pub(super) fn kernel(shelf: &dyn Shelf, place: &Place) -> LoaderEntry {
    let mut entry = start::entry(Loader::Uki, &shelf.name(place), 1, &place.path);
    entry.command = "linux".into();
    entry.kernel = Some(place.path.clone());
    entry.boots = Boots::Linux;
    entry.unknown = vec![".cmdline".into()];
    entry
}

fn text(shelf: &dyn Shelf, place: &Place, sections: &[Section], name: &str) -> Option<String> {
    read_text(shelf, place, sections.iter().find(|section| section.name == name)?)
}

fn read_text(shelf: &dyn Shelf, place: &Place, section: &Section) -> Option<String> {
    let bytes = shelf.part(place, section.at, section.len.min(LARGEST_TEXT)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A field of os-release(5).
fn release_field(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'', '\0']).to_owned())
}

/// A file's name without `+LEFT` or `+LEFT-DONE`, and these: systemd-boot(7), "Boot counting".
fn counter(name: &str, extension: &str) -> (String, Option<(u64, u64)>) {
    let at = name.len().saturating_sub(extension.len());
    let (stem, end) = if name.is_char_boundary(at) { name.split_at(at) } else { (name, "") };
    let counted = stem.rsplit_once('+').and_then(|(stem, counter)| {
        let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
        Some((stem, (left.parse().ok()?, done.parse().ok()?)))
    });
    match counted {
        Some((stem, tries)) => (format!("{stem}{end}"), Some(tries)),
        None => (name.to_owned(), None),
    }
}

/// The order of the menu.
fn compare(a: &Entry, b: &Entry) -> Ordering {
    let spent = |entry: &Entry| entry.tries.is_some_and(|(left, _)| left == 0);
    let by_key = match (&a.sort_key, &b.sort_key) {
        (Some(one), Some(other)) => one
            .cmp(other)
            .then_with(|| a.machine.cmp(&b.machine))
            .then_with(|| version::compare(&b.version, &a.version)),
        (one, other) => one.is_none().cmp(&other.is_none()),
    };
    spent(a).cmp(&spent(b)).then(by_key).then_with(|| version::compare(&b.id, &a.id)).then_with(|| {
        let (one, other) = (a.tries.unwrap_or((u64::MAX, 0)), b.tries.unwrap_or((u64::MAX, 0)));
        other.0.cmp(&one.0).then(one.1.cmp(&other.1))
    })
}

/// The entry that boots: the first that the pattern means, else the first of all.
fn choose(entries: &[Entry], default: Option<&str>) -> Chosen {
    let options = glob::MatchOptions { case_sensitive: false, ..glob::MatchOptions::new() };
    let named = default.filter(|default| !default.starts_with('@')).and_then(|default| {
        let pattern = glob::Pattern::new(default).ok()?;
        let is = |id: &str| pattern.matches_with(id, options);
        entries.iter().position(|entry| is(&entry.id))
    });
    match named.or_else(|| (!entries.is_empty()).then_some(0)) {
        Some(at) => Chosen::Entries(vec![at]),
        None => Chosen::NotFound("systemd-boot finds no entry".into()),
    }
}

fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.trim().split_once(char::is_whitespace)?;
    let value = value.trim();
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    (!key.starts_with('#')).then(|| (key, bare.unwrap_or(value)))
}
