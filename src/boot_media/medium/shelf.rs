//! The image as the boot loaders' configurations see it: the volume, and its EFI images.

use super::loader::{Place, Shelf, clean};
use super::tree::Kind;
use super::{Medium, loader};

/// The largest configuration, bytes; real ones have a few KiB.
const LARGEST: u64 = 1 << 20;

impl Shelf for Medium {
    fn places(&self) -> Vec<Place> {
        let files = self.nodes.iter().map(|node| &node.file).filter(|file| file.kind != Kind::Folder);
        let volume = files.map(|file| Place { volume: 0, path: file.path.clone() });
        let efi = self.efi.iter().zip(1..).flat_map(|(image, volume)| {
            let files = image.fat.files.iter().filter(|file| !file.folder);
            files.map(move |file| Place { volume, path: file.path.clone() })
        });
        volume.chain(efi).collect()
    }

    fn find(&self, place: &Place) -> Option<Place> {
        let path = match place.volume.checked_sub(1) {
            None => self.node(&place.path).filter(|node| node.file.kind == Kind::File)?.file.path.clone(),
            Some(n) => self.efi.get(n)?.fat.find(&clean(&place.path)).filter(|file| !file.folder)?.path.clone(),
        };
        Some(Place { volume: place.volume, path })
    }

    fn name(&self, place: &Place) -> String {
        match place.volume.checked_sub(1).and_then(|n| self.efi.get(n)) {
            Some(image) => format!("{}:{}", image.name, place.path),
            None => place.path.clone(),
        }
    }

    fn text(&self, place: &Place) -> Result<String, String> {
        let bytes = self.read(&loader::Shelf::name(self, place), LARGEST).map_err(|e| e.to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
