//! Boot loaders: what each boot path of an image starts, with which menu, and which entry boots by itself.
//!
//! A boot path is a firmware and a carrier: BIOS or UEFI, from an optical disc or from a USB stick. `start` says which loader
//! and which configuration that is, and the rooms of the loaders decide as the loaders do: `grub` runs scripts, `syslinux`
//! reads its own menu language, `bls` is systemd-boot's. What only the running machine can say is never guessed: both ways
//! count, or it is said that it is not known.
//!
//! Fuzzed as `loader`.

mod bls;
mod efi;
mod foreign;
mod grub;
mod inside;
mod memory;
mod reading;
mod start;
mod syslinux;
mod version;

pub(super) use inside::{Section, sections};
pub(super) use reading::{Place, Sees, Shelf};
pub(super) use start::{Start, What};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;

/// Bytes that all words and arguments may have together once variables have values, so that a few lines cannot say
/// gigabytes; how many of them looking for another file counts for; and the commands that are run at most.
const MOST_TEXT: usize = 16 << 20;
const LOOK: usize = 64 << 10;
const MOST_STEPS: usize = 50_000;
/// How deep configurations may lead into one another.
const DEEPEST: usize = 16;

/// A boot loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loader {
    /// ISOLINUX, SYSLINUX, EXTLINUX: one language.
    Syslinux,
    /// GRUB 2.
    Grub,
    /// systemd-boot.
    SystemdBoot,
    /// None: firmware starts a unified kernel image itself, or a kernel.
    Uki,
    /// One whose menu is not read here, by its name.
    Other(&'static str),
}

impl fmt::Display for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syslinux => "isolinux",
            Self::Grub => "GRUB",
            Self::SystemdBoot => "systemd-boot",
            Self::Uki => "a unified kernel image",
            Self::Other(name) => name,
        })
    }
}

/// The firmware of a boot path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// A PC BIOS.
    Bios,
    /// UEFI.
    Efi,
}

/// What the image lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// An optical disc: firmware goes by the El Torito catalogue.
    Optical,
    /// A USB stick or a disk: firmware goes by the partition table.
    Stick,
}

/// What an entry starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Boots {
    /// A Linux kernel.
    Linux,
    /// A memory test.
    Memtest,
    /// A network boot program.
    Ipxe,
    /// Another boot loader or EFI program.
    Chainloader,
    /// Xen.
    Xen,
    /// Another menu.
    Menu,
    /// The machine's next boot device.
    Local,
    /// A restart.
    Restart,
    /// Power off.
    PowerOff,
    /// The firmware's setup.
    Setup,
    /// Another program.
    Other,
    /// It is not known.
    NotKnown,
    /// Nothing.
    Nothing,
}

/// One entry of a boot menu.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoaderEntry {
    /// The boot loader.
    pub loader: Loader,
    /// The file that it is in: a path of the image, or `/efi.img:/EFI/BOOT/grub.cfg` for one in an EFI image.
    pub file: String,
    /// The line of its command line, from 1; that of its title if it has none.
    pub line: usize,
    /// What the menu shows.
    pub title: String,
    /// What configurations call it, where that is not its title.
    pub id: Option<String>,
    /// The submenus that it lies in, the outermost first.
    pub menu: Vec<String>,
    /// What it starts.
    pub boots: Boots,
    /// The command that loads what it boots: `linux`, `multiboot`, `chainloader`, `localboot`, …; empty if there is none.
    pub command: String,
    /// What is loaded, as an absolute path where that is known.
    pub kernel: Option<String>,
    /// The initial RAM disks.
    pub initrd: Vec<String>,
    /// The kernel's command line.
    pub args: String,
    /// Variables in the command line whose value is not in the image.
    pub unknown: Vec<String>,
    /// Files that it loads and that are not there, as the loader looks for them.
    pub missing: Vec<String>,
    /// Files that it loads and of which nobody can say here whether they are there.
    pub unsure: Vec<String>,
    /// Whether it boots on some path if nobody chooses.
    pub default: bool,
}

impl LoaderEntry {
    /// Whether it boots a Linux kernel, so that Linux's arguments mean something.
    pub fn boots_linux(&self) -> bool {
        self.boots == Boots::Linux
    }

    /// Whether its command line has this argument, whole.
    pub fn has_arg(&self, arg: &str) -> bool {
        self.args.split_whitespace().any(|word| word == arg)
    }

    /// Whether what it starts is not there, or is empty.
    pub fn lacks_kernel(&self) -> bool {
        let is = |kernel: &String| {
            self.missing.iter().any(|missing| missing.strip_suffix(" (empty)").unwrap_or(missing) == kernel)
        };
        self.kernel.as_ref().is_some_and(is)
    }

    /// Its title with those of the submenus before it, `More > Rescue`.
    pub fn path(&self) -> String {
        let steps: Vec<_> = self.menu.iter().map(String::as_str).chain([self.title.as_str()]).collect();
        steps.join(" > ")
    }
}

/// A line of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Its path, as in [`LoaderEntry::file`].
    pub file: String,
    /// Whose it is.
    pub loader: Loader,
}

/// Which entry boots if nobody touches a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// One of these, by their place in the path's entries; several where a test decides that only the machine can answer.
    Entries(Vec<usize>),
    /// None, and why.
    NotFound(String),
    /// It is not known, and why; these may.
    NotKnown {
        /// Why.
        why: String,
        /// Those of which it is known that they may.
        entries: Vec<usize>,
    },
}

impl Default for Chosen {
    fn default() -> Self {
        Self::NotFound("the menu is empty".into())
    }
}

/// How long a menu waits before it boots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// So many tenths of a second, and then it boots by itself.
    After {
        /// Tenths of a second.
        tenths: u32,
    },
    /// For ever: it needs a key.
    Key,
    /// It boots after a password.
    Password,
    /// It is not known.
    #[default]
    NotKnown,
}

impl Wait {
    /// What holds where each of these may: one if they are all the same.
    fn one_of(waits: Vec<Self>) -> Self {
        let mut waits = waits.into_iter();
        let Some(first) = waits.next() else { return Self::NotKnown };
        waits.fold(first, |one, other| match (one, other) {
            (Self::Password, _) | (_, Self::Password) => Self::Password,
            (one, other) if one == other => one,
            _ => Self::NotKnown,
        })
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After { tenths: 0 } => f.write_str("at once"),
            Self::After { tenths } if tenths % 10 == 0 => write!(f, "after {} s", tenths / 10),
            Self::After { tenths } => write!(f, "after {}.{} s", tenths / 10, tenths % 10),
            Self::Key => f.write_str("waits for a key"),
            Self::Password => f.write_str("waits for a password"),
            Self::NotKnown => f.write_str("nobody knows when"),
        }
    }
}

/// What a loader's configuration comes to.
#[derive(Debug, Default)]
struct Verdict {
    entries: Vec<LoaderEntry>,
    chosen: Chosen,
    wait: Wait,
}

/// One way from power-on to a menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootPath {
    /// The firmware; none if nothing in the image says which.
    pub firmware: Option<Firmware>,
    /// What the image lies on; none if it is no boot medium.
    pub carrier: Option<Carrier>,
    /// What firmware starts: a file or a part of the image.
    pub starts: String,
    /// The loader that this is, if it is known.
    pub loader: Option<Loader>,
    /// The configuration files, in the order in which they are read.
    pub configs: Vec<Config>,
    /// The entries of the menu and all its submenus.
    pub entries: Vec<LoaderEntry>,
    /// Which of them boots by itself.
    pub chosen: Chosen,
    /// And when.
    pub wait: Wait,
    /// The lines that make the loader itself use a serial port.
    pub serial: Vec<Line>,
    /// Files that are named and not there, and lines that mean nothing.
    pub problems: Vec<Line>,
    /// Labels, UUIDs and files that a script looks for, and that no file system of the image has.
    pub searches: Vec<Line>,
}

impl BootPath {
    /// The entries that may boot if nobody touches a key.
    pub fn defaults(&self) -> impl Iterator<Item = &LoaderEntry> {
        let chosen: &[usize] = match &self.chosen {
            Chosen::Entries(chosen) | Chosen::NotKnown { entries: chosen, .. } => chosen,
            Chosen::NotFound(_) => &[],
        };
        chosen.iter().filter_map(|at| self.entries.get(*at))
    }

    /// `BIOS, optical disc`.
    pub fn name(&self) -> String {
        let firmware = match self.firmware {
            Some(Firmware::Bios) => "BIOS",
            Some(Firmware::Efi) => "UEFI",
            None => "firmware unknown",
        };
        match self.carrier {
            Some(Carrier::Optical) => format!("{firmware}, optical disc"),
            Some(Carrier::Stick) => format!("{firmware}, USB stick"),
            None => firmware.to_owned(),
        }
    }
}

impl fmt::Display for BootPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loader = self.loader.map_or_else(|| "an unknown loader".to_owned(), |loader| loader.to_string());
        let config = self.configs.first().map_or("no configuration", |config| &config.file);
        write!(f, "{}: {} ({loader}), {config}: ", self.name(), self.starts)?;
        let entries: Vec<_> = self.defaults().map(|entry| format!("{:?}", entry.path())).collect();
        match &self.chosen {
            Chosen::Entries(_) => write!(f, "{} {}", entries.join(" or "), self.wait),
            Chosen::NotFound(why) => write!(f, "nothing boots by itself: {why}"),
            Chosen::NotKnown { why, .. } => write!(f, "what boots is not known: {why}"),
        }
    }
}

/// Everything that the boot paths come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaders {
    /// Each way to boot the image.
    pub paths: Vec<BootPath>,
    /// The configurations of all of them.
    pub configs: Vec<Config>,
    /// The entries of all menus, each once.
    pub entries: Vec<LoaderEntry>,
    /// The lines that make the boot loaders themselves use a serial port.
    pub serial: Vec<Line>,
    /// Files that are named and not there, and lines that mean nothing.
    pub problems: Vec<Line>,
}

/// Follow all boot paths.
pub(super) fn read(shelf: &dyn Shelf) -> Loaders {
    let mut loaders = Loaders::default();
    for start in shelf.starts() {
        loaders.paths.extend(start::follow(shelf, &start));
    }
    // A menu that includes itself can have thousands of entries.
    let mut places: HashMap<&LoaderEntry, usize> = HashMap::new();
    for path in &loaders.paths {
        let defaults: HashSet<_> = path.defaults().collect();
        for entry in &path.entries {
            let place = *places.entry(entry).or_insert_with(|| {
                loaders.entries.push(entry.clone());
                loaders.entries.len() - 1
            });
            loaders.entries[place].default |= defaults.contains(entry);
        }
        add(&mut loaders.configs, &path.configs);
        add(&mut loaders.serial, &path.serial);
        add(&mut loaders.problems, &path.problems);
    }
    loaders
}

/// The same for files in a text; see [`memory::Memory::parse`].
pub(super) fn read_text(text: &str) -> Loaders {
    read(&memory::Memory::parse(text))
}

/// What a boot loader's own file holds, as [`start`] reads it: whether it is an EFI program with sections, and GRUB's.
pub(super) fn read_program(bytes: &[u8]) -> (usize, bool) {
    let sections = inside::sections(bytes);
    let mods = sections.iter().find(|section| section.name == "mods");
    let part = mods.and_then(|mods| bytes.get(usize::try_from(mods.at).ok()?..));
    let embedded = inside::embedded(part.unwrap_or(bytes));
    let files = embedded.as_ref().and_then(|embedded| inside::memdisk(embedded.memdisk.clone()?));
    (sections.len(), embedded.is_some() || files.is_some())
}

fn add<T: Clone + Eq + Hash>(all: &mut Vec<T>, new: &[T]) {
    let mut seen: HashSet<&T> = all.iter().collect();
    let fresh: Vec<_> = new.iter().filter(|one| seen.insert(one)).cloned().collect();
    all.extend(fresh);
}

/// What a command starts, by its name and its file's.
fn boots(command: &str, kernel: Option<&str>) -> Boots {
    let name = kernel.and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_ascii_lowercase();
    let linux = command.starts_with("linux");
    match command {
        "" => Boots::Nothing,
        _ if name.contains("memtest") || name.starts_with("mt86") => Boots::Memtest,
        _ if name.contains("ipxe") || name.contains("gpxe") || name.ends_with(".lkrn") => Boots::Ipxe,
        _ if name.starts_with("xen") && !linux => Boots::Xen,
        "xen_hypervisor" => Boots::Xen,
        _ if linux && name == "memdisk" => Boots::Other,
        _ if linux && kernel.is_some() => Boots::Linux,
        "chainloader" | "efi" | "ntldr" | "appleloader" => Boots::Chainloader,
        "localboot" => Boots::Local,
        _ => Boots::Other,
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
