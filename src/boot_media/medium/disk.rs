//! A disk: its partitions, and what lies in each. FAT and ext4 are read; of what is not, its name is kept, so that nobody takes
//! what was not seen for what is not there.

use super::EfiImage;
use super::bytes::Bytes;
use super::damage::Damage;
use super::error::Fault;
use super::ext4::Ext4Volume;
use super::fat::Fat;
use super::partition::{self, Partition};
use super::superblock::{self, Content, Found};

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
}

/// Read the partition table and what lies in each partition.
pub(super) fn read(image: &Bytes) -> Result<Disk, Fault> {
    let mut disk = Disk::default();
    let whole = superblock::of(image)?;
    if whole.content != Content::Unknown {
        let name = "the disk".to_owned();
        disk.add(Volume::of(name, None, whole), image.clone());
        return Ok(disk);
    }
    match partition::read(image) {
        Ok(partitions) => disk.partitions = partitions,
        Err(Fault::Io(error)) => return Err(Fault::Io(error)),
        Err(fault) => disk.damage.push(Damage::Boot { what: "the partition table".into(), why: fault.to_string() }),
    }
    let protective = |one: &&Partition| one.kind != "0xee" && !matches!(one.kind.as_str(), "0x05" | "0x0f" | "0x85");
    for partition in disk.partitions.clone().iter().filter(protective).take(MOST_VOLUMES) {
        let name = format!("partition {}", partition.number);
        match image.part(partition.start, partition.bytes) {
            Ok(bytes) => {
                let found = superblock::of(&bytes)?;
                disk.add(Volume::of(name, Some(partition), found), bytes);
            }
            Err(fault) => disk.damage.push(Damage::Boot { what: name, why: fault.to_string() }),
        }
    }
    Ok(disk)
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
    /// Take a volume in, with its files if they can be read.
    fn add(&mut self, mut volume: Volume, bytes: Bytes) {
        let name = volume.name.clone();
        let opened = match volume.content {
            Content::Fat => Fat::read(bytes).map(|fat| self.fats.push(EfiImage { name: name.clone(), fat })),
            Content::Ext4 => Ext4Volume::new(bytes).map(|ext4| self.ext4.push((name.clone(), ext4))),
            other => {
                let closed = other.is_unread() || other.is_opaque();
                volume.unread = closed.then(|| format!("{name} holds {other}, which is not read here"));
                Ok(())
            }
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
