//! Opening: the parts in their order, and what is wrong with each kept as damage where the rest can still be read.

use super::bytes::{Bytes, Piece};
use super::damage::Damage;
use super::eltorito::{self, BootEntry, Platform};
use super::error::{Fault, MediumError};
use super::fat::Fat;
use super::format::{self, Format};
use super::partition::{self, Partition};
use super::qcow2::Qcow2;
use super::tree::{self, File, Kind, Names, Node};
use super::volume::{self, Volume};
use super::{EfiImage, Form, Medium, disk, loader, ova};
use camino::Utf8Path;
use std::collections::{HashMap, HashSet};

/// Boot images and partitions that are looked into.
const MOST_EFI_IMAGES: usize = 8;

/// Read the structure of an image.
pub(super) fn medium(path: &Utf8Path, file: Bytes) -> Result<Medium, MediumError> {
    let opened = match format::of(&file) {
        Ok(Format::Iso) => iso(path, file),
        Ok(Format::Raw) => disk(path, Form::Raw, file.clone(), file),
        Ok(Format::Qcow2) => Qcow2::open(file.clone())
            .and_then(|disk| self::disk(path, Form::Qcow2, file, Bytes::unpacked(Box::new(disk)))),
        Ok(Format::Tar) => ova(path, file),
        Ok(Format::Efi) => uki(path, file),
        Ok(Format::Unread(what, next)) => Err(Fault::Unread { what: what.into(), next: next.into() }),
        Ok(Format::Other(what, next)) => {
            let (what, next) = (what.into(), next.into());
            return Err(MediumError::NoImage { path: path.to_owned(), what, next });
        }
        Err(fault) => Err(fault),
    };
    opened.map_err(|fault| match fault {
        Fault::Io(source) => MediumError::Io { path: path.to_owned(), source },
        Fault::Unread { what, next } => MediumError::Unread { path: path.to_owned(), what, next },
        other => MediumError::Broken { path: path.to_owned(), what: "the image".into(), why: other.to_string() },
    })
}

fn iso(path: &Utf8Path, image: Bytes) -> Result<Medium, Fault> {
    let volume = volume::read(&image)?;
    let tree = tree::read(&image, &volume)?;
    // ISOLINUX reads no Joliet.
    let other = match tree.names {
        Names::Joliet => Some(tree::read_plain(&image, &volume)?),
        Names::RockRidge => tree::read_joliet(&image, &volume)?,
        Names::Plain => None,
    };
    let mut damage = volume.damage.clone();
    let (other, other_damage) = other.map(|tree| (tree.nodes, tree.damage)).unwrap_or_default();
    let hidden = only_there(&other, &tree.nodes);
    let plain = if tree.names == Names::Joliet { other } else { Vec::new() };
    if volume.size > image.len() {
        damage.push(Damage::Short { says: volume.size, has: image.len() });
    }
    damage.extend(tree.damage);
    damage.extend(other_damage);
    damage.extend(tree.nodes.iter().filter_map(|node| cut_off(node, image.len())));
    let mut boot = or_damage("the boot catalogue", &mut damage, catalogue(&image, volume.catalogue));
    name_files(&mut boot, &tree.nodes);
    damage.extend(boot.iter().filter_map(|entry| boot_image_cut_off(entry, image.len())));
    let partitions = or_damage("the partition table", &mut damage, partition::read(&image));
    damage.extend(partitions.iter().filter_map(|partition| partition_cut_off(partition, image.len())));
    let efi = efi_images(&image, &boot, &partitions, &tree.nodes, &mut damage);
    Ok(Medium {
        path: path.to_owned(),
        form: Form::Iso,
        file: image.clone(),
        image,
        volume,
        names: tree.names,
        nodes: tree.nodes,
        plain,
        hidden,
        boot,
        partitions,
        efi,
        ext4: Vec::new(),
        volumes: Vec::new(),
        damage,
        unread: Vec::new(),
    })
}

/// Bytes in which the headers of an EFI program lie.
const HEADERS: u64 = 64 << 10;

/// A unified kernel image: one file, and nothing but what is in its sections.
fn uki(path: &Utf8Path, file: Bytes) -> Result<Medium, Fault> {
    let sections = loader::sections(&file.take(0, file.len().min(HEADERS) as usize)?);
    let has = |name: &str| sections.iter().any(|section| section.name == name);
    if !has(".linux") {
        let next = "name a unified kernel image, or a disk image with this program in its EFI partition".into();
        return Err(Fault::Unread { what: "an EFI program without a kernel in it".into(), next });
    }
    let end = |section: &loader::Section| section.at.saturating_add(section.len);
    let cut = sections.iter().filter(|section| end(section) > file.len());
    let told = |section: &loader::Section| Damage::Boot {
        what: format!("section {}", section.name),
        why: format!("it reaches to byte {}, and the image has {}", end(section), file.len()),
    };
    let damage: Vec<_> = cut.map(told).collect();
    let name = format!("/{}", path.file_name().unwrap_or("kernel.efi"));
    let node = Node {
        file: File { path: name, kind: Kind::File, bytes: file.len() },
        pieces: vec![Piece { at: 0, len: file.len() }],
        unreadable: None,
    };
    let unread = has(".initrd").then(|| "the initial RAM disk in it is not unpacked here".to_owned());
    let medium = disk(path, Form::Uki, file.clone(), file.part(0, 0)?)?;
    let volume = Volume::nameless(file.len());
    Ok(Medium { image: file, volume, nodes: vec![node], damage, unread: unread.into_iter().collect(), ..medium })
}

/// A disk, in the file as it is or in a format of its own.
fn disk(path: &Utf8Path, form: Form, file: Bytes, image: Bytes) -> Result<Medium, Fault> {
    let disk = disk::read(&image)?;
    let says = partition::disk_size(&image, &disk.partitions);
    let short = (says > image.len()).then(|| Damage::Short { says, has: image.len() });
    Ok(Medium {
        path: path.to_owned(),
        form,
        file,
        volume: Volume::nameless(says.max(image.len())),
        image,
        names: Names::Plain,
        nodes: Vec::new(),
        plain: Vec::new(),
        hidden: Vec::new(),
        boot: Vec::new(),
        partitions: disk.partitions,
        efi: disk.fats,
        ext4: disk.ext4,
        volumes: disk.volumes,
        damage: short.into_iter().chain(disk.damage).collect(),
        unread: disk.unread,
    })
}

/// An archive: an OVA if there is a description in it. Its disk is looked into if it is one that is read here.
fn ova(path: &Utf8Path, file: Bytes) -> Result<Medium, Fault> {
    let nodes = ova::members(&file)?;
    if ova::ends(&nodes, &[".ovf"]).is_none() {
        return Err(Fault::Unread {
            what: "a tar archive without an OVF description".into(),
            next: "unpack it first".into(),
        });
    }
    let damage: Vec<_> = nodes.iter().filter_map(|node| cut_off(node, file.len())).collect();
    let (inside, unread) = match ova::ends(&nodes, &[".vmdk", ".qcow2", ".img", ".raw", ".vhd", ".vhdx"]) {
        None => (None, vec!["its archive holds no disk".to_owned()]),
        Some(node) => match file.parts(&node.pieces).and_then(|bytes| disk_inside(path, bytes)) {
            Ok(medium) => (Some(medium), Vec::new()),
            Err(Fault::Io(error)) => return Err(Fault::Io(error)),
            Err(fault) => (None, vec![format!("its disk, {}: {fault}", node.file.path)]),
        },
    };
    let medium = match inside {
        Some(medium) => medium,
        None => disk(path, Form::Ova, file.clone(), file.part(0, 0)?)?,
    };
    let damage = damage.into_iter().chain(medium.damage).collect();
    let unread = unread.into_iter().chain(medium.unread).collect();
    Ok(Medium { form: Form::Ova, file, nodes, damage, unread, ..medium })
}

fn disk_inside(path: &Utf8Path, bytes: Bytes) -> Result<Medium, Fault> {
    match format::of(&bytes)? {
        Format::Raw => disk(path, Form::Ova, bytes.clone(), bytes),
        Format::Qcow2 => disk(path, Form::Ova, bytes.clone(), Bytes::unpacked(Box::new(Qcow2::open(bytes)?))),
        Format::Unread(what, next) | Format::Other(what, next) => {
            Err(Fault::Unread { what: what.into(), next: next.into() })
        }
        Format::Iso | Format::Tar | Format::Efi => Err(Fault::bad("it is no disk")),
    }
}

/// The files of the other tree that this one does not have: one tree can leave out what another shows.
fn only_there(other: &[Node], nodes: &[Node]) -> Vec<Node> {
    let start = |node: &Node| node.pieces.first().map(|piece| piece.at);
    let known: HashSet<_> = nodes.iter().filter_map(start).collect();
    let is_new = |node: &&Node| {
        node.file.kind == Kind::File && node.file.bytes > 0 && start(node).is_some_and(|at| !known.contains(&at))
    };
    other.iter().filter(is_new).cloned().collect()
}

fn catalogue(image: &Bytes, sector: Option<u64>) -> Result<Vec<BootEntry>, Fault> {
    sector.map_or(Ok(Vec::new()), |sector| eltorito::read(image, sector))
}

fn or_damage<T>(what: &str, damage: &mut Vec<Damage>, read: Result<Vec<T>, Fault>) -> Vec<T> {
    read.unwrap_or_else(|fault| {
        damage.push(Damage::Boot { what: what.to_owned(), why: fault.to_string() });
        Vec::new()
    })
}

fn cut_off(node: &Node, has: u64) -> Option<Damage> {
    let end = node.pieces.iter().map(|piece| piece.end()).max()?;
    (end > has).then(|| Damage::File { path: node.file.path.clone(), end, has })
}

/// A protective partition stands for the whole of a disk that is larger than the image.
fn partition_cut_off(partition: &Partition, has: u64) -> Option<Damage> {
    let end = partition.start.saturating_add(partition.bytes);
    (end > has && partition.kind != "0xee").then(|| Damage::Boot {
        what: format!("partition {} ({})", partition.number, partition.kind),
        why: format!("it reaches to byte {end}, and the image has {has}"),
    })
}

/// A boot image that is a file is told as one.
fn boot_image_cut_off(entry: &BootEntry, has: u64) -> Option<Damage> {
    let end = entry.at() + entry.loaded().max(1);
    (entry.file.is_none() && end > has).then(|| Damage::Boot {
        what: format!("El Torito entry {} ({})", entry.number, entry.platform),
        why: format!("it reaches to byte {end}, and the image has {has}"),
    })
}

/// Name the files that the boot entries point at.
fn name_files(boot: &mut [BootEntry], nodes: &[Node]) {
    let starts = nodes.iter().filter_map(|node| Some((node.pieces.first()?.at, &node.file.path)));
    let starts: HashMap<_, _> = starts.collect();
    for entry in boot {
        entry.file = starts.get(&entry.at()).map(|path| (*path).clone());
    }
}

/// The FAT file systems that UEFI boots from: the EFI entries of the catalogue, and the EFI partitions.
fn efi_images(
    image: &Bytes,
    boot: &[BootEntry],
    partitions: &[Partition],
    nodes: &[Node],
    damage: &mut Vec<Damage>,
) -> Vec<EfiImage> {
    let size = |entry: &BootEntry| {
        let node = nodes.iter().find(|node| Some(&node.file.path) == entry.file.as_ref());
        // The load size of an EFI entry is often 0 or 1, and then it goes on to the end of the medium.
        node.map_or(image.len().saturating_sub(entry.at()), |node| node.file.bytes)
    };
    let entries = boot.iter().filter(|entry| entry.platform == Platform::Efi).map(|entry| {
        let name = entry.file.clone().unwrap_or_else(|| format!("El Torito entry {}", entry.number));
        (name, entry.at(), size(entry))
    });
    let bootable = partitions
        .iter()
        .filter(|partition| partition.efi)
        .map(|partition| (format!("partition {}", partition.number), partition.start, partition.bytes));
    let mut found: Vec<(u64, Option<EfiImage>)> = Vec::new();
    for (name, at, len) in entries.chain(bootable).take(MOST_EFI_IMAGES) {
        if found.iter().any(|(there, _)| *there == at) {
            continue;
        }
        let fat = image.part(at, len).and_then(Fat::read);
        let fat = fat
            .map_err(|fault| damage.push(Damage::Boot { what: format!("EFI image {name}"), why: fault.to_string() }));
        found.push((at, fat.ok().map(|fat| EfiImage { name, at, fat })));
    }
    // A partition of another type may hold a FAT all the same; one that does not is not damaged.
    for partition in partitions.iter().filter(|partition| !partition.efi && partition.start > 0).take(MOST_EFI_IMAGES) {
        let name = format!("partition {}", partition.number);
        let fat = image.part(partition.start, partition.bytes).and_then(Fat::read).ok();
        if let Some(fat) = fat
            && !found.iter().any(|(there, _)| *there == partition.start)
        {
            found.push((partition.start, Some(EfiImage { name, at: partition.start, fat })));
        }
    }
    found.into_iter().filter_map(|(_, image)| image).collect()
}
