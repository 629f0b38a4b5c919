//! Files in memory as boot loaders see them: what the tests and the fuzz target give in the place of an image.

use super::reading::{Place, Sees, Shelf};
use super::start::{Start, What};
use super::{Carrier, Firmware, clean};
use std::collections::BTreeMap;

/// The file systems beside the first, by what stands before their paths: the EFI partition, a boot partition and a root of
/// ext4, and a FAT of the type XBOOTLDR. Each has its number for a label's end and a UUID's.
const VOLUMES: [&str; 4] = ["efi:", "boot:", "root:", "xboot:"];
/// Those that hold a system.
const SYSTEMS: [usize; 2] = [2, 3];
/// The one of the type XBOOTLDR.
const EXTENDED: usize = 4;

/// Files on the volume, or on one of [`VOLUMES`].
#[derive(Debug)]
pub(in crate::medium) struct Memory {
    files: BTreeMap<Place, String>,
    starts: Vec<Start>,
}

fn place(path: &str) -> Place {
    let of = |(prefix, volume): (&&str, usize)| Some(Place { volume, path: path.strip_prefix(*prefix)?.to_owned() });
    VOLUMES.iter().zip(1..).find_map(of).unwrap_or_else(|| Place { volume: 0, path: path.to_owned() })
}

impl Memory {
    fn has(&self, volume: usize) -> bool {
        self.files.keys().any(|place| place.volume == volume)
    }
}

impl Shelf for Memory {
    fn places(&self) -> Vec<Place> {
        self.files.keys().cloned().collect()
    }
    fn volumes(&self) -> usize {
        VOLUMES.len()
    }
    fn systems(&self) -> Vec<usize> {
        SYSTEMS.into_iter().filter(|volume| self.has(*volume)).collect()
    }
    fn extended(&self) -> Vec<usize> {
        [EXTENDED].into_iter().filter(|volume| self.has(*volume)).collect()
    }
    fn find(&self, place: &Place, _: Sees) -> Option<Place> {
        let path = clean(&place.path);
        let is_fat = matches!(place.volume, 1 | EXTENDED);
        let same = |one: &&Place| {
            one.volume == place.volume && (one.path == path || is_fat && one.path.eq_ignore_ascii_case(&path))
        };
        self.files.keys().find(same).cloned()
    }
    fn is_folder(&self, place: &Place) -> bool {
        let below = format!("{}/", clean(&place.path).trim_end_matches('/'));
        self.files.keys().any(|one| one.volume == place.volume && one.path.starts_with(&below))
    }
    fn name(&self, place: &Place) -> String {
        let prefix = place.volume.checked_sub(1).and_then(|n| VOLUMES.get(n)).copied().unwrap_or_default();
        format!("{prefix}{}", place.path)
    }
    fn bytes(&self, place: &Place, _: u64) -> Result<Vec<u8>, String> {
        self.files.get(place).map(|text| text.clone().into_bytes()).ok_or_else(|| "gone".to_owned())
    }
    fn part(&self, place: &Place, _: u64, _: u64) -> Result<Vec<u8>, String> {
        self.bytes(place, 0)
    }
    fn size(&self, place: &Place) -> u64 {
        // Most files here are names without a text.
        self.files.get(place).map_or(0, |text| text.len().max(1) as u64)
    }
    fn label(&self, volume: usize) -> Option<String> {
        match volume {
            0 => Some("DISC".to_owned()),
            volume => self.has(volume).then(|| format!("VOLUME-{volume}")),
        }
    }
    fn uuid(&self, volume: usize) -> Option<String> {
        match volume {
            0 => Some("2026-01-02-03-04-05-00".to_owned()),
            volume => self.has(volume).then(|| format!("0000-000{volume}")),
        }
    }
    fn partition(&self, number: usize) -> Option<usize> {
        (number > 0 && self.has(number)).then_some(number)
    }
    fn starts(&self) -> Vec<Start> {
        self.starts.clone()
    }
}

impl Memory {
    fn start(&self, what: &str) -> Start {
        let start = |firmware, carrier, name: &str, what| Start {
            firmware: Some(firmware),
            carrier: Some(carrier),
            name: name.to_owned(),
            what,
        };
        match what.split_once(' ') {
            Some(("bios", name)) => {
                let head = self.files.get(&place(name)).map(|text| text.clone().into_bytes()).unwrap_or_default();
                start(Firmware::Bios, Carrier::Optical, name, What::Image(head))
            }
            Some(("disk", "bios")) => {
                let volumes = self.systems().into_iter().chain([1]).collect();
                start(Firmware::Bios, Carrier::Stick, "boot code", What::Files(volumes))
            }
            Some(("disk", "efi")) => start(Firmware::Efi, Carrier::Stick, "partition 1", What::Efi(1)),
            _ if what == "efi" => start(Firmware::Efi, Carrier::Optical, "/efi.img", What::Efi(1)),
            _ => Start { firmware: None, carrier: None, name: "nothing".into(), what: What::Files(vec![0]) },
        }
    }

    /// Files as one text: lines `start: bios NAME`, `start: efi`, `start: disk bios`, `start: disk efi` or `start: none`, then each
    /// file behind a line `--- PATH`.
    pub(in crate::medium) fn parse(text: &str) -> Self {
        let (head, files) = text.split_once("\n--- ").unwrap_or((text, ""));
        let files = files.split("\n--- ").filter(|file| !file.is_empty()).map(|file| {
            let (path, text) = file.split_once('\n').unwrap_or((file, ""));
            (place(path), text.to_owned())
        });
        let mut memory = Self { files: files.collect(), starts: Vec::new() };
        let starts = head.lines().filter_map(|line| line.strip_prefix("start: "));
        memory.starts = starts.map(|what| memory.start(what)).collect();
        memory
    }
}
