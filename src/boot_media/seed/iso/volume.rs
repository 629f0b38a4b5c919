//! The bytes of the image: descriptors, path tables, both root folders, content.

use super::SECTOR;
use super::dates::Stamp;
use super::layout::{DESCRIPTORS, Layout, PATH_TABLES, Placed, place};
use super::names::Named;
use super::record::{self, Extent, Kind, both16, both32, record};

/// The bytes of a path table that names the root only.
const PATH_TABLE: u32 = 10;
/// What made the image, in its descriptors.
const APPLICATION: &str = "BOMA-QEMU";

/// The two trees that every image has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tree {
    Primary,
    Joliet,
}

/// Write out a layout.
pub(super) fn render(label: &str, plan: &Layout<'_>, stamp: &Stamp) -> Vec<u8> {
    let mut image = vec![0; plan.sectors as usize * SECTOR];
    let mut put = |sector: u32, offset: usize, bytes: &[u8]| {
        let start = sector as usize * SECTOR + offset;
        image[start..start + bytes.len()].copy_from_slice(bytes);
    };
    for (n, tree) in (0..).zip([Tree::Primary, Tree::Joliet]) {
        put(DESCRIPTORS + n, 0, &descriptor(label, tree, plan, stamp));
        let [little, big] = path_tables(root(plan, tree).sector);
        put(PATH_TABLES + 2 * n, 0, &little);
        put(PATH_TABLES + 2 * n + 1, 0, &big);
    }
    put(DESCRIPTORS + 2, 0, b"\xffCD001\x01");
    put(plan.primary.sector, 0, &folder(primary_records(plan, stamp)));
    put(plan.joliet.sector, 0, &folder(joliet_records(plan, stamp)));
    put(plan.extension.sector, plan.extension.offset as usize, &record::extension_reference());
    for Placed { named: Named { file, .. }, extent, long_name } in &plan.files {
        if let Some(at) = long_name {
            put(at.sector, at.offset as usize, &record::name_entry(&file.name));
        }
        put(extent.sector, 0, &file.bytes);
    }
    image
}

fn root(plan: &Layout<'_>, tree: Tree) -> Extent {
    match tree {
        Tree::Primary => plan.primary,
        Tree::Joliet => plan.joliet,
    }
}

/// A volume descriptor (ECMA-119 8.4 and 8.5; Joliet differs in its type, escape sequence and text).
fn descriptor(label: &str, tree: Tree, plan: &Layout<'_>, stamp: &Stamp) -> Vec<u8> {
    let mut bytes = vec![0; SECTOR];
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(0, if tree == Tree::Primary { b"\x01CD001\x01" } else { b"\x02CD001\x01" });
    put(8, &text("", 32, tree));
    put(40, &text(label, 32, tree));
    put(80, &both32(plan.sectors));
    if tree == Tree::Joliet {
        put(88, b"%/E"); // UCS-2, level 3
    }
    put(120, &both16(1)); // one volume in the set,
    put(124, &both16(1)); // this is the first
    put(128, &both16(SECTOR as u16));
    put(132, &both32(PATH_TABLE));
    let table = PATH_TABLES + if tree == Tree::Joliet { 2 } else { 0 };
    put(140, &table.to_le_bytes());
    put(148, &(table + 1).to_be_bytes());
    put(156, &record(root(plan, tree), Kind::Folder, stamp, &[0], &[]));
    put(190, &text("", 128, tree)); // volume set
    put(318, &text("", 128, tree)); // publisher
    put(446, &text("", 128, tree)); // preparer
    put(574, &text(APPLICATION, 128, tree));
    for file in [702, 739, 776] {
        put(file, &text("", 37, tree)); // copyright, abstract, bibliography
    }
    put(813, &stamp.long()); // made
    put(830, &stamp.long()); // changed
    for unset in [847, 864] {
        put(unset, b"0000000000000000\0"); // expires, valid from
    }
    put(881, &[1]); // the version of all these structures
    bytes
}

/// A text field, filled up with spaces.
fn text(text: &str, length: usize, tree: Tree) -> Vec<u8> {
    let mut bytes: Vec<u8> = match tree {
        Tree::Primary => text.bytes().chain(std::iter::repeat(b' ')).take(length).collect(),
        Tree::Joliet => {
            text.encode_utf16().chain(std::iter::repeat(0x20)).take(length / 2).flat_map(u16::to_be_bytes).collect()
        }
    };
    bytes.resize(length, 0); // 37 bytes hold 18 UCS-2 characters and one byte over
    bytes
}

/// The root's entry, with little-endian and with big-endian numbers (ECMA-119 9.4).
fn path_tables(root: u32) -> [Vec<u8>; 2] {
    let little = [&[1, 0][..], &root.to_le_bytes(), &1_u16.to_le_bytes(), &[0, 0]].concat();
    let big = [&[1, 0][..], &root.to_be_bytes(), &1_u16.to_be_bytes(), &[0, 0]].concat();
    [little, big]
}

/// The records of the primary tree, `.` and `..` first.
fn primary_records(plan: &Layout<'_>, stamp: &Stamp) -> Vec<Vec<u8>> {
    let common = record::common(Kind::Folder, stamp);
    let own = [record::sharing_protocol(), common.clone(), record::continuation(plan.extension)].concat();
    let mut records = vec![
        record(plan.primary, Kind::Folder, stamp, &[0], &own),
        record(plan.primary, Kind::Folder, stamp, &[1], &common),
    ];
    records.extend(plan.by_short.iter().map(|&n| {
        let f = &plan.files[n];
        let name = match f.long_name {
            None => record::name_entry(&f.named.file.name),
            Some(at) => record::continuation(at),
        };
        let system = [record::common(Kind::File, stamp), name].concat();
        record(f.extent, Kind::File, stamp, f.named.short.as_bytes(), &system)
    }));
    records
}

/// The records of the Joliet tree.
fn joliet_records(plan: &Layout<'_>, stamp: &Stamp) -> Vec<Vec<u8>> {
    let folder = |identifier| record(plan.joliet, Kind::Folder, stamp, &[identifier], &[]);
    let mut records = vec![folder(0), folder(1)];
    let files = plan.by_joliet.iter().map(|&n| &plan.files[n]);
    records.extend(files.map(|f| record(f.extent, Kind::File, stamp, &f.named.joliet, &[])));
    records
}

/// A folder's bytes: each record where it belongs, zero where one did not fit.
fn folder(records: Vec<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        bytes.resize(place(bytes.len(), record.len()), 0);
        bytes.extend(record);
    }
    bytes
}
