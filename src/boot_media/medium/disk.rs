//! A disk: its partitions, and what lies in each. FAT and ext4 are read; of what is not, its name is kept, so that nobody takes
//! what was not seen for what is not there.

use super::bytes::Bytes;
use super::damage::Damage;
use super::eltorito::{BootEntry, Platform};
use super::error::{Fault, MediumError};
use super::ext4::Ext4Volume;
use super::fat::Fat;
use super::partition::{self, Partition, Table};
use super::superblock::{self, Content, Found};
use super::{EfiImage, Form, Medium};

/// Partitions that are looked into.
const MOST_VOLUMES: usize = 128;

/// What lies in a partition, or on a disk without partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// `partition 2`, or `the disk` where it has no partitions. The files in it are named `partition 2:/etc/fstab`.
    pub name: String,
    /// The partition's number.
    pub number: Option<usize>,
    /// What it is.
    pub content: Content,
    /// `UUID=`.
    pub uuid: Option<String>,
    /// `LABEL=`.
    pub label: Option<String>,
    /// `PARTUUID=`.
    pub part_uuid: Option<String>,
    /// `PARTLABEL=`.
    pub part_label: Option<String>,
    /// Whether it is an EFI system partition.
    pub efi: bool,
    /// Why its files cannot be read, if they cannot.
    pub unread: Option<String>,
}

impl Volume {
    /// Whether this is what `UUID=…` and its like mean. Values are compared as udev writes them, whatever their case.
    pub fn is(&self, tag: &str, value: &str) -> bool {
        let own = match tag {
            "UUID" => &self.uuid,
            "PARTUUID" => &self.part_uuid,
            "LABEL" => return self.label.as_deref() == Some(value),
            "PARTLABEL" => return self.part_label.as_deref() == Some(value),
            _ => return false,
        };
        own.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(value))
    }
}

/// A disk that was looked at.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) partitions: Vec<Partition>,
    pub(super) volumes: Vec<Volume>,
    pub(super) fats: Vec<EfiImage>,
    pub(super) ext4: Vec<(String, Ext4Volume)>,
    pub(super) damage: Vec<Damage>,
    /// What of it is not known, apart from what its volumes say.
    pub(super) unread: Vec<String>,
}

/// Read the partition table and what lies in each partition.
pub(super) fn read(image: &Bytes) -> Result<Disk, Fault> {
    let mut disk = Disk::default();
    if image.len() == 0 {
        return Ok(disk);
    }
    let whole = superblock::of(image)?;
    if whole.content != Content::Unknown {
        disk.add(Volume::of("the disk".into(), None, whole), 0, image.clone());
        return Ok(disk);
    }
    match partition::read(image) {
        Ok(partitions) => disk.partitions = partitions,
        Err(Fault::Io(error)) => return Err(Fault::Io(error)),
        Err(fault) => disk.damage.push(Damage::Boot { what: "the partition table".into(), why: fault.to_string() }),
    }
    let gpt: Vec<_> = disk.partitions.iter().filter(|one| one.table == Table::Gpt).map(|one| one.start).collect();
    // What stands for others is none itself; a hybrid MBR has some of the GPT's once more.
    let real = |one: &&Partition| {
        !matches!(one.kind.as_str(), "0xee" | "0x05" | "0x0f" | "0x85")
            && (one.table == Table::Gpt || !gpt.contains(&one.start))
    };
    let partitions: Vec<_> = disk.partitions.iter().filter(real).cloned().collect();
    for partition in partitions.iter().take(MOST_VOLUMES) {
        disk.partition(image, partition)?;
    }
    if partitions.len() > MOST_VOLUMES {
        disk.unread.push(format!("only {MOST_VOLUMES} of {} partitions are looked into", partitions.len()));
    }
    if disk.volumes.is_empty() {
        disk.unread.push("the disk has no partition and no file system that is known here".into());
    }
    Ok(disk)
}

/// GPT types of partitions that hold boot code or are only reserved: BIOS boot, PReP, Microsoft's reserved.
const WITHOUT_FILES: [&str; 3] = [
    "21686148-6449-6E6F-744E-656564454649",
    "9E1A2D38-C612-4316-AA26-8B49521E5A8B",
    "E3C9E316-0B5C-4DB8-817D-F92DF00215AE",
];
/// How much of an unknown partition must be zeros for it to be an empty one, bytes.
const HEAD: u64 = 1 << 20;

/// Whether nothing was ever written to the beginning of a partition.
fn is_blank(bytes: &Bytes) -> Result<bool, Fault> {
    Ok(bytes.take(0, bytes.len().min(HEAD) as usize)?.iter().all(|byte| *byte == 0))
}

impl Volume {
    fn of(name: String, partition: Option<&Partition>, found: Found) -> Self {
        let Found { content, uuid, label } = found;
        Self {
            name,
            number: partition.map(|one| one.number),
            content,
            uuid,
            label,
            part_uuid: partition.and_then(|one| one.uuid.clone()),
            part_label: partition.and_then(|one| one.label.clone()),
            efi: partition.is_some_and(|one| one.efi),
            unread: None,
        }
    }
}

impl Disk {
    /// Look into a partition. Of one that cannot be read nothing is known, and that is kept.
    fn partition(&mut self, image: &Bytes, partition: &Partition) -> Result<(), Fault> {
        let name = format!("partition {}", partition.number);
        let bytes = image.part(partition.start, partition.bytes);
        let looked = bytes.and_then(|bytes| Ok((superblock::of(&bytes)?, is_blank(&bytes)?, bytes)));
        match looked {
            Ok((found, blank, bytes)) => {
                let mut volume = Volume::of(name.clone(), Some(partition), found);
                let meant = WITHOUT_FILES.contains(&partition.kind.as_str());
                if volume.content == Content::Unknown && !blank && !meant {
                    volume.unread = Some(format!("{name} holds what is not known here (type {})", partition.kind));
                }
                self.add(volume, partition.start, bytes);
            }
            Err(Fault::Io(error)) => return Err(Fault::Io(error)),
            Err(fault) => {
                let found = Found { content: Content::Unknown, uuid: None, label: None };
                let mut volume = Volume::of(name.clone(), Some(partition), found);
                volume.unread = Some(format!("{name}: {fault}"));
                self.volumes.push(volume);
                self.damage.push(Damage::Boot { what: name, why: fault.to_string() });
            }
        }
        Ok(())
    }

    /// Take a volume in that begins at this byte, with its files if they can be read.
    fn add(&mut self, mut volume: Volume, at: u64, bytes: Bytes) {
        let name = volume.name.clone();
        let opened = match volume.content {
            Content::Fat => Fat::read(bytes).map(|fat| self.fats.push(EfiImage { name: name.clone(), at, fat })),
            Content::Ext4 => Ext4Volume::new(bytes).map(|ext4| self.ext4.push((name.clone(), ext4))),
            other if other.is_unread() || other.is_opaque() => {
                volume.unread = Some(format!("{name} holds {other}, which is not read here"));
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(fault) = opened {
            volume.unread = Some(format!("{name} ({}): {fault}", volume.content));
            let what = format!("the {} in {name}", volume.content);
            if !matches!(fault, Fault::Unread { .. }) {
                self.damage.push(Damage::Boot { what, why: fault.to_string() });
            }
        }
        self.volumes.push(volume);
    }
}

impl Medium {
    /// What lies on a disk, partition by partition; empty for an ISO.
    pub fn volumes(&self) -> &[Volume] {
        &self.volumes
    }

    /// What of the image is in a format that is not read here, a sentence each: nothing is known of what lies there.
    pub fn unread(&self) -> impl Iterator<Item = &str> {
        self.unread.iter().map(String::as_str).chain(self.volumes.iter().filter_map(|one| one.unread.as_deref()))
    }

    /// The files in a disk's ext4 file systems, each as `partition 2:/etc/fstab`.
    ///
    /// # Errors
    /// [`MediumError::Broken`] if one of them cannot be read to its end.
    pub fn ext4_files(&self) -> Result<Vec<String>, MediumError> {
        let mut all = Vec::new();
        for (name, ext4) in &self.ext4 {
            let files = ext4.files().map_err(|fault| self.broken(name, fault))?;
            all.extend(files.iter().filter(|file| !file.folder).map(|file| format!("{name}:{}", file.path)));
        }
        Ok(all)
    }

    /// Whether there is a regular file of this name, links followed, without reading it.
    ///
    /// # Errors
    /// That its file system cannot be read.
    pub fn has(&self, path: &str) -> Result<bool, MediumError> {
        match self.in_ext4(path) {
            Some((ext4, inner)) => Ok(ext4.size(inner).map_err(|fault| self.broken(path, fault))?.is_some()),
            None => match self.bytes(path) {
                Ok(_) => Ok(true),
                Err(MediumError::Missing { .. }) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    /// The ext4 file system that a path names, and the path in it.
    pub(super) fn in_ext4<'p>(&self, path: &'p str) -> Option<(&Ext4Volume, &'p str)> {
        self.ext4.iter().find_map(|(name, ext4)| Some((ext4, path.strip_prefix(name.as_str())?.strip_prefix(':')?)))
    }

    /// The members of an OVA that are not what its own list of checksums says. This reads all of them.
    ///
    /// # Errors
    /// That the archive cannot be read.
    pub fn wrong_members(&self) -> Result<Vec<Damage>, MediumError> {
        match self.form {
            Form::Ova => {
                super::ova::wrong_sums(&self.file, &self.nodes).map_err(|fault| self.broken("the archive", fault))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Why this machine cannot boot it, if it is for another processor: its only EFI programs say so, and nothing is there for a BIOS.
    pub fn foreign(&self) -> Option<String> {
        let bios = self.boot.iter().any(|entry| entry.platform == Platform::Bios && entry.bootable);
        let programs: Vec<_> = self.efi_files().map(|(name, _)| name.to_ascii_lowercase()).collect();
        let has = |name: &str| programs.iter().any(|path| path.ends_with(name));
        let own = bios || has("/efi/boot/bootx64.efi") || has("/efi/boot/bootia32.efi");
        let arm = has("/efi/boot/bootaa64.efi");
        (arm && !own)
            .then(|| "it is an arm64 image, and the machines here are x86-64: only its structure is audited".into())
    }

    /// Why a firmware finds nothing to start behind an entry of the boot catalogue, if it finds nothing.
    pub fn leads_nowhere(&self, entry: &BootEntry) -> Option<String> {
        let len = 2048.min(self.image.len().saturating_sub(entry.at()));
        let head = self.image.take(entry.at(), len as usize).unwrap_or_default();
        if head.iter().all(|byte| *byte == 0) {
            return Some("its boot image has nothing in it".into());
        }
        if entry.platform != Platform::Efi {
            return None;
        }
        let Some(image) = self.efi.iter().find(|image| image.at == entry.at()) else {
            return Some("its boot image is no FAT file system that can be read".into());
        };
        let is_program = |path: &str| path.starts_with("/efi/boot/boot") && path.ends_with(".efi");
        let has = image.fat.files.iter().any(|file| !file.folder && is_program(&file.path.to_ascii_lowercase()));
        (!has).then(|| "its boot image has no /EFI/BOOT/BOOT*.EFI".into())
    }

    /// Whether a BIOS finds something to start in the first sector.
    pub fn has_boot_code(&self) -> bool {
        let sector = self.image.take(0, 512).unwrap_or_default();
        sector.ends_with(&[0x55, 0xaa]) && sector[..440].iter().any(|byte| *byte != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk of 64 KiB with an MBR, and in its only partition what is put there.
    fn disk(at: usize, magic: &[u8]) -> Medium {
        let mut bytes = vec![0; 64 << 10];
        bytes[440..444].copy_from_slice(&[0x44, 0x33, 0x22, 0x11]);
        bytes[446..462].copy_from_slice(&[0x80, 0, 0, 0, 0x83, 0, 0, 0, 8, 0, 0, 0, 120, 0, 0, 0]);
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        bytes[4096 + at..4096 + at + magic.len()].copy_from_slice(magic);
        Medium::of_memory("disk", bytes).unwrap()
    }

    #[test]
    fn what_is_not_read_is_named_and_what_is_nothing_is_not() {
        for (at, magic, content, unread) in [
            (0, b"XFSB".as_slice(), Content::Xfs, true),
            (0, b"LUKS\xba\xbe", Content::Luks, true),
            (512, b"LABELONE", Content::Lvm, true),
            (4096, b"\xfc\x4e\x2b\xa9", Content::Raid, true),
            (4086, b"SWAPSPACE2", Content::Swap, false),
            (0, b"F2FS or so", Content::Unknown, true),
            (0, b"", Content::Unknown, false),
        ] {
            let medium = disk(at, magic);
            let [volume] = medium.volumes() else { panic!("{:?}", medium.volumes()) };
            assert_eq!((volume.content, volume.part_uuid.as_deref()), (content, Some("11223344-01")));
            assert_eq!(medium.unread().count() == 1, unread, "{content}");
        }
    }

    #[test]
    fn an_ext4_that_cannot_be_opened_is_damage_and_nothing_is_known_of_it() {
        // It says that it has 2^32 blocks.
        let mut head = [0; 58];
        head[4..8].fill(0xff);
        head[56..58].copy_from_slice(b"\x53\xef");
        let medium = disk(1024, &head);
        assert_eq!((medium.damage().len(), medium.unread().count()), (1, 1), "{:?}", medium.damage());
    }

    #[test]
    fn logical_partitions_are_found_and_a_circle_of_them_ends() {
        let mut bytes = vec![0; 64 << 10];
        let mut record = |at: usize, entries: &[[u8; 3]]| {
            for (n, [kind, start, len]) in entries.iter().enumerate() {
                let entry = at + 446 + 16 * n;
                (bytes[entry + 4], bytes[entry + 8], bytes[entry + 12]) = (*kind, *start, *len);
            }
            bytes[at + 510..at + 512].copy_from_slice(&[0x55, 0xaa]);
        };
        record(0, &[[5, 8, 100]]);
        record(8 * 512, &[[0x83, 1, 4], [5, 10, 20]]);
        record(18 * 512, &[[0xef, 2, 6]]);
        let found = |bytes: &[u8]| partition::read(&Bytes::of_memory(bytes.to_vec()));
        let told: Vec<_> = found(&bytes).unwrap().iter().map(|one| (one.number, one.start / 512, one.efi)).collect();
        assert_eq!(told, [(1, 8, false), (5, 9, false), (6, 20, true)]);
        // The second record leads back to the first.
        let link = 18 * 512 + 446 + 16;
        (bytes[link + 4], bytes[link + 12]) = (5, 20);
        assert!(found(&bytes).unwrap_err().to_string().contains("circle"));
    }
}
