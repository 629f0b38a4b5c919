//! The image as the boot loaders see it: the volume, its EFI images or a disk's FATs, a disk's ext4, and what firmware starts of
//! them.

use super::eltorito::{BootEntry, Platform};
use super::ext4::Ext4Volume;
use super::loader::{Carrier, Firmware, Place, Sees, Shelf, Start, What, clean};
use super::tree::{Kind, Names};
use super::{Form, Medium};

/// Bytes of a boot image that are looked at.
const HEAD: u64 = 1 << 20;
/// Where loaders look on a file system that holds a whole system as well.
const BOOT_FOLDERS: [&str; 7] = ["/boot/", "/grub/", "/grub2/", "/loader/", "/EFI/", "/extlinux/", "/syslinux/"];

/// The type of an extended boot loader partition (XBOOTLDR): UAPI.1, Boot Loader Specification.
const EXTENDED: &str = "BC13C2FF-59E6-4262-A352-B275FD6F7172";

impl Shelf for Medium {
    fn places(&self) -> Vec<Place> {
        let files = self.nodes.iter().map(|node| &node.file).filter(|file| file.kind != Kind::Folder);
        let volume = files.map(|file| Place { volume: 0, path: file.path.clone() });
        let efi = self.efi.iter().zip(1..).flat_map(|(image, volume)| {
            let files = image.fat.files.iter().filter(|file| !file.folder);
            files.map(move |file| Place { volume, path: file.path.clone() })
        });
        let ext4 = self.systems().into_iter().filter_map(|volume| Some((volume, self.ext4_at(volume)?.1)));
        let ext4 = ext4.flat_map(|(volume, ext4)| {
            // One that cannot be listed is told by whoever asks for its files.
            let files = ext4.files().unwrap_or_default().iter().filter(|file| !file.folder);
            let boots = files.filter(|file| BOOT_FOLDERS.iter().any(|folder| file.path.starts_with(folder)));
            boots.map(move |file| Place { volume, path: file.path.clone() })
        });
        volume.chain(efi).chain(ext4).collect()
    }

    fn volumes(&self) -> usize {
        self.efi.len() + self.ext4.len()
    }

    fn systems(&self) -> Vec<usize> {
        // A FAT that is no EFI partition may be a boot partition; that of a disk without partitions is the disk itself.
        let plain = |image: &super::EfiImage| {
            self.volumes.iter().any(|one| one.name == image.name && !one.efi && one.number.is_some())
        };
        let fats = self.efi.iter().zip(1..).filter(|(image, _)| plain(image)).map(|(_, volume)| volume);
        fats.chain(self.efi.len() + 1..=self.efi.len() + self.ext4.len()).collect()
    }

    fn extended(&self) -> Vec<usize> {
        let partitions = self.partitions.iter().filter(|partition| partition.kind == EXTENDED);
        partitions.filter_map(|partition| Shelf::partition(self, partition.number)).collect()
    }

    fn is_assembled(&self) -> bool {
        self.volumes.iter().any(|volume| volume.content.is_opaque())
    }

    fn find(&self, place: &Place, sees: Sees) -> Option<Place> {
        let path = clean(&place.path);
        if let Some((_, ext4)) = self.ext4_at(place.volume) {
            return ext4.size(&path).ok().flatten().map(|_| Place { volume: place.volume, path });
        }
        let found = match place.volume.checked_sub(1) {
            None => self.seen_by(&path, sees)?,
            Some(n) => self.efi.get(n)?.fat.find(&path).filter(|file| !file.folder)?.path.clone(),
        };
        Some(Place { volume: place.volume, path: found })
    }

    fn is_folder(&self, place: &Place) -> bool {
        let path = clean(&place.path);
        if let Some((_, ext4)) = self.ext4_at(place.volume) {
            let mut files = ext4.files().unwrap_or_default().iter();
            return path == "/" || files.any(|file| file.folder && file.path == path);
        }
        path == "/"
            || match place.volume.checked_sub(1) {
                None => self.node(&path).is_some_and(|node| node.file.kind == Kind::Folder),
                Some(n) => self.efi.get(n).and_then(|image| image.fat.find(&path)).is_some_and(|file| file.folder),
            }
    }

    fn name(&self, place: &Place) -> String {
        let name = match (place.volume.checked_sub(1), self.ext4_at(place.volume)) {
            (_, Some((name, _))) => name,
            (Some(n), None) => self.efi.get(n).map_or("", |image| image.name.as_str()),
            (None, None) => "",
        };
        if name.is_empty() { place.path.clone() } else { format!("{name}:{}", place.path) }
    }

    fn bytes(&self, place: &Place, limit: u64) -> Result<Vec<u8>, String> {
        self.read(&Shelf::name(self, place), limit).map_err(|error| error.to_string())
    }

    fn part(&self, place: &Place, at: u64, len: u64) -> Result<Vec<u8>, String> {
        let bytes = Self::bytes(self, &Shelf::name(self, place)).map_err(|error| error.to_string())?;
        let len = len.min(bytes.len().saturating_sub(at));
        bytes.take(at, len as usize).map_err(|fault| fault.to_string())
    }

    fn size(&self, place: &Place) -> u64 {
        Self::bytes(self, &Shelf::name(self, place)).map_or(0, |bytes| bytes.len())
    }

    fn label(&self, volume: usize) -> Option<String> {
        if let Some((name, _)) = self.ext4_at(volume) {
            return self.volumes.iter().find(|one| one.name == name)?.label.clone();
        }
        match volume.checked_sub(1) {
            None => (self.form == Form::Iso).then(|| self.volume.id.clone()),
            Some(n) => self.efi.get(n)?.fat.label.clone(),
        }
    }

    fn uuid(&self, volume: usize) -> Option<String> {
        if let Some((name, _)) = self.ext4_at(volume) {
            return self.volumes.iter().find(|one| one.name == name)?.uuid.clone();
        }
        match volume.checked_sub(1) {
            None => self.volume.uuid.clone(),
            Some(n) => Some(self.efi.get(n)?.fat.uuid.clone()),
        }
    }

    fn partition(&self, number: usize) -> Option<usize> {
        let partition = self.partitions.iter().find(|partition| partition.number == number)?;
        if let Some(at) = self.efi.iter().position(|image| image.at == partition.start) {
            return Some(at + 1);
        }
        let name = format!("partition {number}");
        let ext4 = self.ext4.iter().position(|(own, _)| *own == name);
        ext4.map(|at| self.efi.len() + 1 + at).or_else(|| (partition.start == 0).then_some(0))
    }

    fn starts(&self) -> Vec<Start> {
        let mut starts: Vec<_> = self
            .boot
            .iter()
            .filter(|entry| entry.bootable)
            .filter_map(|entry| {
                let name = entry.file.clone().unwrap_or_else(|| format!("El Torito entry {}", entry.number));
                let (firmware, what) = match entry.platform {
                    Platform::Bios => (Firmware::Bios, self.boot_image(entry)),
                    Platform::Efi => (Firmware::Efi, self.efi_at(entry.at())),
                    _ => return None,
                };
                Some(Start { firmware: Some(firmware), carrier: Some(Carrier::Optical), name, what })
            })
            .collect();
        // On a stick the code in the first sector goes on with the same boot image, and UEFI looks at the partitions.
        if self.form != Form::Iso {
            starts.extend(self.disk_starts());
        } else if self.has_boot_code() {
            let bios: Vec<_> = starts.iter().filter(|start| start.firmware == Some(Firmware::Bios)).cloned().collect();
            starts.extend(bios.into_iter().map(|start| Start { carrier: Some(Carrier::Stick), ..start }));
        }
        for partition in self.partitions.iter().filter(|partition| partition.efi) {
            let name = format!("partition {}", partition.number);
            let what = self.efi_at(partition.start);
            let start = Start { firmware: Some(Firmware::Efi), carrier: Some(Carrier::Stick), name, what };
            // A partition may stand in both tables.
            if !starts.iter().any(|one| one.carrier == start.carrier && one.what == start.what) {
                starts.push(start);
            }
        }
        if self.form == Form::Uki {
            let places = Shelf::places(self).into_iter();
            let start = |place: Place| Start {
                firmware: Some(Firmware::Efi),
                carrier: None,
                name: place.path.clone(),
                what: What::Program(place),
            };
            starts = places.map(start).collect();
        }
        if starts.is_empty() {
            let what = if self.form == Form::Iso { What::Files(vec![0]) } else { What::Files(self.disk_volumes()) };
            starts.push(Start { firmware: None, carrier: None, name: "nothing".into(), what });
        }
        starts
    }
}

impl Medium {
    /// An ext4 file system by its number, with its name.
    fn ext4_at(&self, volume: usize) -> Option<(&str, &Ext4Volume)> {
        let (name, ext4) = self.ext4.get(volume.checked_sub(self.efi.len() + 1)?)?;
        Some((name, ext4))
    }

    /// The file systems of a disk: those that hold a system come first, since its loader is set up from there.
    fn disk_volumes(&self) -> Vec<usize> {
        let systems = self.systems();
        let others = (1..=self.efi.len()).filter(|volume| !systems.contains(volume));
        systems.iter().copied().chain(others).collect()
    }

    /// What firmware starts of a disk, but for its EFI partitions. Nothing in the boot code says where its loader looks.
    fn disk_starts(&self) -> Vec<Start> {
        let start = |firmware, name: &str, what| Start {
            firmware: Some(firmware),
            carrier: Some(Carrier::Stick),
            name: name.to_owned(),
            what,
        };
        let code = self.has_boot_code().then(|| start(Firmware::Bios, "boot code", What::Files(self.disk_volumes())));
        // A FAT without a partition table is an EFI file system, too, if there is a program for it.
        let whole = self.efi.iter().position(|image| image.at == 0 && image.fat.find("/EFI/BOOT").is_some());
        let whole = whole.map(|at| start(Firmware::Efi, "the disk", What::Efi(at + 1)));
        code.into_iter().chain(whole).collect()
    }

    /// A file as a loader finds it on the volume.
    fn seen_by(&self, path: &str, sees: Sees) -> Option<String> {
        let is_file = |path: &str| {
            self.exact(path).filter(|node| node.file.kind == Kind::File).map(|node| node.file.path.clone())
        };
        match (self.names, sees) {
            (Names::RockRidge, _) | (Names::Joliet, Sees::Grub | Sees::Firmware) => is_file(path),
            (Names::Plain, _) => {
                self.node(path).filter(|node| node.file.kind == Kind::File).map(|node| node.file.path.clone())
            }
            // ISOLINUX does not read Joliet: what it takes for a name is ISO 9660's own, which another tree holds.
            (Names::Joliet, Sees::Isolinux) => {
                let plain = self.plain.iter().find(|node| node.file.path.eq_ignore_ascii_case(path))?;
                let at = plain.pieces.first().map(|piece| piece.at);
                let same = self.nodes.iter().find(|node| {
                    node.file.kind == Kind::File
                        && node.file.bytes == plain.file.bytes
                        && node.pieces.first().map(|piece| piece.at) == at
                });
                Some(same?.file.path.clone())
            }
        }
    }

    fn boot_image(&self, entry: &BootEntry) -> What {
        let at = entry.at();
        // What lies behind it in the image says nothing of it.
        let file = entry.file.as_deref().and_then(|path| self.file(path)).map_or(HEAD, |file| file.bytes);
        let len = HEAD.min(file).min(self.image.len().saturating_sub(at));
        match self.image.take(at, len as usize) {
            Ok(head) if !head.is_empty() => What::Image(head),
            Ok(_) => What::Unreadable("it lies behind the end of the image".into()),
            Err(fault) => What::Unreadable(fault.to_string()),
        }
    }

    fn efi_at(&self, at: u64) -> What {
        match self.efi.iter().position(|image| image.at == at) {
            Some(n) => What::Efi(n + 1),
            None => What::Unreadable("it holds no FAT file system that can be read".into()),
        }
    }
}
