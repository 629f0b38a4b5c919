//! Opening: the parts in their order, and what is wrong with each kept as damage where the rest can still be read.

use super::bytes::Bytes;
use super::damage::Damage;
use super::eltorito::{self, BootEntry, Platform};
use super::error::{Fault, MediumError};
use super::fat::Fat;
use super::partition::{self, Partition};
use super::tree::{self, Node};
use super::{EfiImage, Medium, volume};
use camino::Utf8Path;
use std::collections::HashMap;

/// Boot images and partitions that are looked into.
const MOST_EFI_IMAGES: usize = 8;

/// Read the structure of an image.
pub(super) fn medium(path: &Utf8Path, image: Bytes) -> Result<Medium, MediumError> {
    let fatal = |fault| match fault {
        Fault::Io(source) => MediumError::Io { path: path.to_owned(), source },
        other => MediumError::NotIso { path: path.to_owned(), why: other.to_string() },
    };
    let volume = volume::read(&image).map_err(fatal)?;
    let tree = tree::read(&image, &volume).map_err(fatal)?;
    let mut damage = Vec::new();
    if volume.size > image.len() {
        damage.push(Damage::Short { says: volume.size, has: image.len() });
    }
    damage.extend(tree.damage);
    damage.extend(tree.nodes.iter().filter_map(|node| cut_off(node, image.len())));
    let mut boot = or_damage("the boot catalogue", &mut damage, catalogue(&image, volume.catalogue));
    name_files(&mut boot, &tree.nodes);
    damage.extend(boot.iter().filter_map(|entry| boot_image_cut_off(entry, image.len())));
    let partitions = or_damage("the partition table", &mut damage, partition::read(&image));
    let efi = efi_images(&image, &boot, &partitions, &tree.nodes, &mut damage);
    Ok(Medium {
        path: path.to_owned(),
        image,
        volume,
        names: tree.names,
        nodes: tree.nodes,
        boot,
        partitions,
        efi,
        damage,
    })
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
    let partitions = partitions
        .iter()
        .filter(|partition| partition.efi)
        .map(|partition| (format!("partition {}", partition.number), partition.start, partition.bytes));
    let mut found: Vec<(u64, Option<EfiImage>)> = Vec::new();
    for (name, at, len) in entries.chain(partitions).take(MOST_EFI_IMAGES) {
        if found.iter().any(|(there, _)| *there == at) {
            continue;
        }
        let fat = image.part(at, len).and_then(Fat::read);
        let fat = fat
            .map_err(|fault| damage.push(Damage::Boot { what: format!("EFI image {name}"), why: fault.to_string() }));
        found.push((at, fat.ok().map(|fat| EfiImage { name, fat })));
    }
    found.into_iter().filter_map(|(_, image)| image).collect()
}
