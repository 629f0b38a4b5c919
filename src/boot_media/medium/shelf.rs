//! The image as the boot loaders' configurations see it: the volume, its EFI images or a disk's FATs, and a disk's ext4.

use super::loader::{Place, Shelf, clean};
use super::tree::Kind;
use super::{Medium, loader};

/// The largest configuration, bytes; real ones have a few KiB.
const LARGEST: u64 = 1 << 20;
/// Where loaders look on a file system that holds a whole system as well.
const BOOT_FOLDERS: [&str; 7] = ["/boot/", "/grub/", "/grub2/", "/loader/", "/EFI/", "/extlinux/", "/syslinux/"];

impl Shelf for Medium {
    fn places(&self) -> Vec<Place> {
        let files = self.nodes.iter().map(|node| &node.file).filter(|file| file.kind != Kind::Folder);
        let volume = files.map(|file| Place { volume: 0, path: file.path.clone() });
        let efi = self.efi.iter().zip(1..).flat_map(|(image, volume)| {
            let files = image.fat.files.iter().filter(|file| !file.folder);
            files.map(move |file| Place { volume, path: file.path.clone() })
        });
        let ext4 = self.ext4.iter().zip(self.efi.len() + 1..).flat_map(|((_, ext4), volume)| {
            // One that cannot be listed is told by whoever asks for its files.
            let files = ext4.files().unwrap_or_default().iter().filter(|file| !file.folder);
            let boots = files.filter(|file| BOOT_FOLDERS.iter().any(|folder| file.path.starts_with(folder)));
            boots.map(move |file| Place { volume, path: file.path.clone() })
        });
        volume.chain(efi).chain(ext4).collect()
    }

    fn find(&self, place: &Place) -> Option<Place> {
        let path = match place.volume.checked_sub(1) {
            None => self.node(&place.path).filter(|node| node.file.kind == Kind::File)?.file.path.clone(),
            Some(n) if n < self.efi.len() => {
                self.efi.get(n)?.fat.find(&clean(&place.path)).filter(|file| !file.folder)?.path.clone()
            }
            Some(n) => {
                let path = clean(&place.path);
                self.ext4.get(n - self.efi.len())?.1.size(&path).ok().flatten().map(|_| path)?
            }
        };
        Some(Place { volume: place.volume, path })
    }

    fn name(&self, place: &Place) -> String {
        let Some(n) = place.volume.checked_sub(1) else { return place.path.clone() };
        let names = self.efi.iter().map(|image| &image.name).chain(self.ext4.iter().map(|(name, _)| name));
        names.into_iter().nth(n).map_or_else(|| place.path.clone(), |name| format!("{name}:{}", place.path))
    }

    fn text(&self, place: &Place) -> Result<String, String> {
        let bytes = self.read(&loader::Shelf::name(self, place), LARGEST).map_err(|e| e.to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
