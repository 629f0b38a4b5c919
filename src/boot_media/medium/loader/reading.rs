//! What the configurations are read from, and how much of them is read.

use super::{Config, Line, Loader, MOST_STEPS, MOST_TEXT};
use std::collections::{BTreeMap, BTreeSet};

/// A file on one of the file systems of the image: 0 is the ISO itself, then come its EFI images, then what lies inside of a
/// boot loader.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::medium) struct Place {
    pub(in crate::medium) volume: usize,
    pub(in crate::medium) path: String,
}

/// Whose eyes a name is looked for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::medium) enum Sees {
    /// ISOLINUX: Rock Ridge as it is written, else ISO 9660's own names in any case (core/fs/iso9660/iso9660.c).
    Isolinux,
    /// GRUB: Rock Ridge or Joliet as it is written, ISO 9660's own names in any case (grub-core/fs/iso9660.c).
    Grub,
    /// Firmware and what uses its drivers: FAT, in any case.
    Firmware,
}

/// What the configurations are read from.
pub(in crate::medium) trait Shelf {
    /// Every file of every file system.
    fn places(&self) -> Vec<Place>;
    /// How many file systems there are beside the first.
    fn volumes(&self) -> usize;
    /// Those of them that hold a whole system, on which a disk's loader may have its configuration.
    fn systems(&self) -> Vec<usize> {
        Vec::new()
    }
    /// Those of the type XBOOTLDR, on which systemd-boot looks for entries beside its own partition.
    fn extended(&self) -> Vec<usize> {
        Vec::new()
    }
    /// Whether parts of it may be put together to other devices: RAID, LVM, LUKS.
    fn is_assembled(&self) -> bool {
        false
    }
    /// The file as it is really written, for a path as a loader names it.
    fn find(&self, place: &Place, sees: Sees) -> Option<Place>;
    /// Whether there is a folder of this name.
    fn is_folder(&self, place: &Place) -> bool;
    /// How the reader knows the file.
    fn name(&self, place: &Place) -> String;
    /// Its content, or why it cannot be read.
    fn bytes(&self, place: &Place, limit: u64) -> Result<Vec<u8>, String>;
    /// A part of it, as much as there is.
    fn part(&self, place: &Place, at: u64, len: u64) -> Result<Vec<u8>, String>;
    /// Its size, bytes.
    fn size(&self, place: &Place) -> u64;
    /// The label of a file system.
    fn label(&self, volume: usize) -> Option<String>;
    /// The UUID of a file system, as `blkid` has it.
    fn uuid(&self, volume: usize) -> Option<String>;
    /// The file system in a partition.
    fn partition(&self, number: usize) -> Option<usize>;
    /// What firmware can start.
    fn starts(&self) -> Vec<super::start::Start>;
}

/// The largest configuration, bytes; real ones have a few KiB.
const LARGEST: u64 = 1 << 20;

/// What has been read so far, for one boot path.
pub(super) struct Reading<'a> {
    pub(super) shelf: &'a dyn Shelf,
    pub(super) configs: Vec<Config>,
    pub(super) serial: Vec<Line>,
    pub(super) problems: Vec<Line>,
    /// What a script looks for in vain.
    pub(super) searches: Vec<Line>,
    /// Why the loader finds no configuration.
    pub(super) lost: Option<String>,
    /// The file system inside of the loader, and its files.
    pub(super) memdisk: Option<usize>,
    inside: BTreeMap<String, Vec<u8>>,
    told: BTreeSet<String>,
    /// What is left of the text that is kept, and of the steps that are taken.
    left: usize,
    steps: usize,
}

impl<'a> Reading<'a> {
    pub(super) fn new(shelf: &'a dyn Shelf) -> Self {
        Self {
            shelf,
            configs: Vec::new(),
            serial: Vec::new(),
            problems: Vec::new(),
            searches: Vec::new(),
            lost: None,
            memdisk: None,
            inside: BTreeMap::new(),
            told: BTreeSet::new(),
            left: MOST_TEXT,
            steps: MOST_STEPS,
        }
    }

    /// Give the loader a file system of its own.
    pub(super) fn put_memdisk(&mut self, files: BTreeMap<String, Vec<u8>>) {
        self.memdisk = Some(self.shelf.volumes() + 1);
        self.inside = files;
    }

    pub(super) fn find(&self, place: &Place, sees: Sees) -> Option<Place> {
        if Some(place.volume) == self.memdisk {
            return self.inside.contains_key(&place.path).then(|| place.clone());
        }
        self.shelf.find(place, sees)
    }

    pub(super) fn is_folder(&self, place: &Place) -> bool {
        if Some(place.volume) == self.memdisk {
            let below = format!("{}/", place.path.trim_end_matches('/'));
            return self.inside.keys().any(|path| path.starts_with(&below));
        }
        self.shelf.is_folder(place)
    }

    pub(super) fn name(&self, place: &Place) -> String {
        if Some(place.volume) == self.memdisk { format!("(memdisk){}", place.path) } else { self.shelf.name(place) }
    }

    pub(super) fn size(&self, place: &Place) -> u64 {
        match self.inside.get(&place.path) {
            Some(bytes) if Some(place.volume) == self.memdisk => bytes.len() as u64,
            _ => self.shelf.size(place),
        }
    }

    /// How a file is told that an entry loads: one of no bytes is as good as none.
    pub(super) fn lacks(&self, found: Option<Place>, path: &str) -> Option<String> {
        match found {
            None => Some(path.to_owned()),
            Some(place) => (self.size(&place) == 0).then(|| format!("{path} (empty)")),
        }
    }

    pub(super) fn places(&self) -> Vec<Place> {
        let mut places = self.shelf.places();
        if let Some(volume) = self.memdisk {
            places.extend(self.inside.keys().map(|path| Place { volume, path: path.clone() }));
        }
        places
    }

    /// A file's text; that it cannot be read is told.
    pub(super) fn text(&mut self, loader: Loader, place: &Place) -> Option<String> {
        let file = self.name(place);
        let bytes = match self.inside.get(&place.path) {
            Some(bytes) if Some(place.volume) == self.memdisk => Ok(bytes.clone()),
            _ => self.shelf.bytes(place, LARGEST),
        };
        match bytes {
            Ok(bytes) => {
                let config = Config { file, loader };
                if !self.configs.contains(&config) {
                    self.configs.push(config);
                }
                Some(String::from_utf8_lossy(&bytes).into_owned())
            }
            Err(why) => {
                self.problem(&file, 0, why);
                None
            }
        }
    }

    /// Whether there is room for so many bytes more; that there is none is told once.
    pub(super) fn spend(&mut self, file: &str, line: usize, bytes: usize) -> bool {
        if self.left > 0 && bytes >= self.left {
            self.problem(file, line, "the configurations say more than is read of them: what follows is left out");
        }
        self.left = self.left.saturating_sub(bytes);
        self.left > 0
    }

    /// Whether one step more may be taken.
    pub(super) fn step(&mut self, file: &str) -> bool {
        if self.steps == 1 {
            self.problem(file, 0, "the configurations do more than is followed: what comes then is left out");
        }
        self.steps = self.steps.saturating_sub(1);
        self.steps > 0 && self.left > 0
    }

    /// Whether all was read.
    pub(super) fn ran_out(&self) -> bool {
        self.left == 0 || self.steps == 0
    }

    pub(super) fn problem(&mut self, file: &str, line: usize, text: impl Into<String>) {
        let line = Line { file: file.to_owned(), line, text: text.into() };
        if self.told.insert(line.to_string()) {
            self.problems.push(line);
        }
    }

    pub(super) fn serial(&mut self, file: &str, line: usize, text: &str) {
        let line = Line { file: file.to_owned(), line, text: text.trim().to_owned() };
        if !self.serial.contains(&line) {
            self.serial.push(line);
        }
    }
}
