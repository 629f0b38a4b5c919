//! Files in memory as boot loaders see them: what the tests and the fuzz target give in the place of an image.

use super::reading::{Place, Sees, Shelf};
use super::start::{Start, What};
use super::{Carrier, Firmware, clean};
use std::collections::BTreeMap;

/// Files on the volume, or by `efi:` on an EFI image.
#[derive(Debug)]
pub(in crate::medium) struct Memory {
    files: BTreeMap<Place, String>,
    starts: Vec<Start>,
}

fn place(path: &str) -> Place {
    match path.strip_prefix("efi:") {
        Some(path) => Place { volume: 1, path: path.to_owned() },
        None => Place { volume: 0, path: path.to_owned() },
    }
}

impl Shelf for Memory {
    fn places(&self) -> Vec<Place> {
        self.files.keys().cloned().collect()
    }
    fn volumes(&self) -> usize {
        1
    }
    fn find(&self, place: &Place, _: Sees) -> Option<Place> {
        let path = clean(&place.path);
        let same = |one: &&Place| {
            one.volume == place.volume && (one.path == path || one.volume == 1 && one.path.eq_ignore_ascii_case(&path))
        };
        self.files.keys().find(same).cloned()
    }
    fn is_folder(&self, place: &Place) -> bool {
        let below = format!("{}/", clean(&place.path).trim_end_matches('/'));
        self.files.keys().any(|one| one.volume == place.volume && one.path.starts_with(&below))
    }
    fn name(&self, place: &Place) -> String {
        if place.volume == 0 { place.path.clone() } else { format!("efi:{}", place.path) }
    }
    fn bytes(&self, place: &Place, _: u64) -> Result<Vec<u8>, String> {
        self.files.get(place).map(|text| text.clone().into_bytes()).ok_or_else(|| "gone".to_owned())
    }
    fn part(&self, place: &Place, _: u64, _: u64) -> Result<Vec<u8>, String> {
        self.bytes(place, 0)
    }
    fn size(&self, place: &Place) -> u64 {
        self.files.get(place).map_or(0, |text| text.len() as u64)
    }
    fn label(&self, volume: usize) -> Option<String> {
        (volume == 0).then(|| "DISC".to_owned())
    }
    fn uuid(&self, _: usize) -> Option<String> {
        None
    }
    fn partition(&self, _: usize) -> Option<usize> {
        None
    }
    fn starts(&self) -> Vec<Start> {
        self.starts.clone()
    }
}

fn start(what: &str) -> Start {
    let start = |firmware, name: &str, what| Start {
        firmware: Some(firmware),
        carrier: Some(Carrier::Optical),
        name: name.to_owned(),
        what,
    };
    match what.split_once(' ') {
        Some(("bios", name)) => start(Firmware::Bios, name, What::Image(Vec::new())),
        _ if what == "efi" => start(Firmware::Efi, "/efi.img", What::Efi(1)),
        _ => Start { firmware: None, carrier: None, name: "nothing".into(), what: What::Files(vec![0]) },
    }
}

impl Memory {
    /// Files as one text: lines `start: bios NAME`, `start: efi` or `start: none`, then each file behind a line `--- PATH`.
    pub(in crate::medium) fn parse(text: &str) -> Self {
        let (head, files) = text.split_once("\n--- ").unwrap_or((text, ""));
        let starts = head.lines().filter_map(|line| line.strip_prefix("start: ")).map(start).collect();
        let files = files.split("\n--- ").filter(|file| !file.is_empty()).map(|file| {
            let (path, text) = file.split_once('\n').unwrap_or((file, ""));
            (place(path), text.to_owned())
        });
        Self { files: files.collect(), starts }
    }
}
