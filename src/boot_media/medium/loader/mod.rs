//! Boot loader configurations: what each entry of a menu would boot, and with which command line.
//!
//! They are read as text, not executed: of a GRUB script both sides of an `if` count, and a variable whose value only
//! the running loader knows stays as `${name}`. So an entry is never missed; one that could never be reached is listed.

mod entries;
mod grub;
mod script;
mod syslinux;

use std::collections::HashSet;
use std::fmt;

/// Configuration files that are read at most, and how deep they may lead into one another.
const MOST_FILES: usize = 256;
const DEEPEST: usize = 16;

/// Bytes that all words and arguments may have together once variables have values, so that a few lines cannot say
/// gigabytes; and how many of them looking for another file counts for.
const MOST_TEXT: usize = 16 << 20;
const LOOK: usize = 16 << 10;

/// A boot loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// ISOLINUX, SYSLINUX, EXTLINUX: one language.
    Syslinux,
    /// GRUB 2.
    Grub,
    /// systemd-boot.
    SystemdBoot,
}

impl fmt::Display for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syslinux => "isolinux",
            Self::Grub => "GRUB",
            Self::SystemdBoot => "systemd-boot",
        })
    }
}

/// One entry of a boot menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderEntry {
    /// The boot loader.
    pub loader: Loader,
    /// The file that it is in: a path of the image, or `/efi.img:/EFI/BOOT/grub.cfg` for one in an EFI image.
    pub file: String,
    /// The line of its command line, from 1; that of its title if it has none.
    pub line: usize,
    /// What the menu shows.
    pub title: String,
    /// The command that loads what it boots: `linux`, `multiboot`, `chainloader`, `localboot`, …; empty if there is none.
    pub command: String,
    /// What is loaded, as an absolute path where that is known.
    pub kernel: Option<String>,
    /// The initial RAM disks.
    pub initrd: Vec<String>,
    /// The kernel's command line.
    pub args: String,
    /// Whether the loader boots it if nobody chooses.
    pub default: bool,
}

impl LoaderEntry {
    /// Whether it boots a Linux kernel, so that Linux's arguments mean something.
    pub fn boots_linux(&self) -> bool {
        self.command.starts_with("linux") && self.kernel.is_some()
    }

    /// Whether its command line has this argument, whole.
    pub fn has_arg(&self, arg: &str) -> bool {
        self.args.split_whitespace().any(|word| word == arg)
    }
}

/// A line of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What it says, or what is wrong with it.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

/// A configuration file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its path, as in [`LoaderEntry::file`].
    pub file: String,
    /// Whose it is.
    pub loader: Loader,
}

/// Everything that the configurations say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaders {
    /// The files, in the order in which they were read.
    pub configs: Vec<Config>,
    /// The entries of all menus.
    pub entries: Vec<LoaderEntry>,
    /// The lines that make the boot loader itself use a serial port.
    pub serial: Vec<Line>,
    /// Files that are named and not there, and lines that mean nothing.
    pub problems: Vec<Line>,
}

/// A file on one of the file systems of the image: 0 is the ISO itself, the others are its EFI images.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) volume: usize,
    pub(super) path: String,
}

/// What the configurations are read from.
pub(super) trait Shelf {
    /// Every file of every file system.
    fn places(&self) -> Vec<Place>;
    /// The file as it is really written, for a path in any case.
    fn find(&self, place: &Place) -> Option<Place>;
    /// How the reader knows the file.
    fn name(&self, place: &Place) -> String;
    /// Its text, or why it cannot be read.
    fn text(&self, place: &Place) -> Result<String, String>;
}

/// Find and read all configurations.
pub(super) fn read(shelf: &dyn Shelf) -> Loaders {
    let mut reading = Reading { shelf, found: Loaders::default(), seen: HashSet::new(), left: MOST_TEXT };
    for (loader, place) in roots(shelf) {
        match loader {
            Loader::Syslinux => syslinux::read(&mut reading, place),
            Loader::Grub => grub::read(&mut reading, place),
            Loader::SystemdBoot => entries::read(&mut reading, place),
        }
    }
    reading.found
}

/// The configurations that loaders look for by name; the highest ones first, since they lead to the others.
fn roots(shelf: &dyn Shelf) -> Vec<(Loader, Place)> {
    let mut roots: Vec<_> = shelf.places().into_iter().filter_map(|place| Some((root(&place)?, place))).collect();
    let isolinux: HashSet<usize> =
        roots.iter().filter(|((rank, _), _)| *rank == 0).map(|(_, place)| place.volume).collect();
    // Beside an isolinux.cfg, a syslinux.cfg is for other media, and ISOLINUX does not read it.
    roots.retain(|((rank, _), place)| *rank != 1 || !isolinux.contains(&place.volume));
    roots.sort_by_key(|((rank, _), place)| (*rank, place.volume, place.path.matches('/').count(), place.path.clone()));
    roots.into_iter().map(|((_, loader), place)| (loader, place)).collect()
}

/// Which loader looks for a file of this name, and when it is read.
fn root(place: &Place) -> Option<(u8, Loader)> {
    let path = place.path.to_ascii_lowercase();
    let (folder, name) = path.rsplit_once('/')?;
    match name {
        entry if folder.ends_with("/loader/entries") && entry.ends_with(".conf") => Some((3, Loader::SystemdBoot)),
        "isolinux.cfg" => Some((0, Loader::Syslinux)),
        "syslinux.cfg" | "extlinux.conf" => Some((1, Loader::Syslinux)),
        "grub.cfg" => Some((2, Loader::Grub)),
        _ => None,
    }
}

/// What has been read so far.
struct Reading<'a> {
    shelf: &'a dyn Shelf,
    found: Loaders,
    seen: HashSet<Place>,
    /// What is left of the text that is kept.
    left: usize,
}

impl Reading<'_> {
    /// A file's name and text, once; `None` if it was read before, or cannot be.
    fn open(&mut self, loader: Loader, place: &Place) -> Option<(String, String)> {
        if self.seen.len() >= MOST_FILES || !self.seen.insert(place.clone()) {
            return None;
        }
        let file = self.shelf.name(place);
        match self.shelf.text(place) {
            Ok(text) => {
                self.found.configs.push(Config { file: file.clone(), loader });
                Some((file, text))
            }
            Err(why) => {
                self.found.problems.push(Line { file, line: 0, text: why });
                None
            }
        }
    }

    /// Whether there is room for so many bytes more; that there is none is told once.
    fn spend(&mut self, file: &str, line: usize, bytes: usize) -> bool {
        if self.left > 0 && bytes >= self.left {
            self.problem(file, line, "the configurations say more than is read of them: what follows is left out");
        }
        self.left = self.left.saturating_sub(bytes);
        self.left > 0
    }

    fn problem(&mut self, file: &str, line: usize, text: impl Into<String>) {
        self.found.problems.push(Line { file: file.to_owned(), line, text: text.into() });
    }

    fn serial(&mut self, file: &str, line: usize, text: &str) {
        self.found.serial.push(Line { file: file.to_owned(), line, text: text.trim().to_owned() });
    }
}

/// The folder of a path, without a slash at its end.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A path without `//`, `.` and `..`.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests;
