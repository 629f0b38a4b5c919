//! A second opinion for the tests: reads an image back by the rules of the formats, not by the writer's.

use super::SECTOR;
use std::ops::Range;

/// What a tree of the image says about one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) mode: Option<u32>,
}

fn u32_le(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// A number stored in both orders: they must agree.
fn both(bytes: &[u8], at: usize) -> usize {
    let big = u32::from_be_bytes(bytes[at + 4..at + 8].try_into().unwrap());
    assert_eq!(u32_le(bytes, at), big, "the two byte orders differ at {at}");
    big as usize
}

/// A descriptor by its type and sector, with its fixed fields checked.
fn descriptor(image: &[u8], sector: usize, kind: u8) -> &[u8] {
    let bytes = &image[sector * SECTOR..][..SECTOR];
    assert_eq!((bytes[0], &bytes[1..7]), (kind, &b"CD001\x01"[..]));
    bytes
}

/// The records of the root folder that a descriptor names, `.` and `..` checked and left out.
fn records<'a>(image: &'a [u8], descriptor: &[u8]) -> Vec<&'a [u8]> {
    assert_eq!(both(descriptor, 80) * SECTOR, image.len(), "the volume's size");
    let (sector, length) = (both(descriptor, 158), both(descriptor, 166));
    assert_eq!(length % SECTOR, 0);
    let little = u32_le(descriptor, 140) as usize * SECTOR;
    let big = u32::from_be_bytes(descriptor[148..152].try_into().unwrap()) as usize * SECTOR;
    assert_eq!(u32_le(image, little + 2) as usize, sector);
    assert_eq!(image[big + 2..big + 6], (sector as u32).to_be_bytes());
    let mut found = Vec::new();
    for chunk in image[sector * SECTOR..][..length].chunks(SECTOR) {
        let mut at = 0;
        while at < SECTOR && chunk[at] > 0 {
            let length = chunk[at] as usize;
            assert!(at + length <= SECTOR, "a record crosses a sector");
            found.push(&chunk[at..at + length]);
            at += length;
        }
        assert!(chunk[at..].iter().all(|b| *b == 0), "something after the last record of a sector");
    }
    assert_eq!((found[0][33], found[1][33]), (0, 1), "`.` and `..` come first");
    found.drain(..2);
    found
}

fn content(image: &[u8], record: &[u8]) -> Vec<u8> {
    image[both(record, 2) * SECTOR..][..both(record, 10)].to_vec()
}

/// The files by the Joliet tree.
pub(super) fn joliet(image: &[u8]) -> Vec<Seen> {
    let descriptor = descriptor(image, 17, 2);
    assert_eq!(&descriptor[88..91], b"%/E");
    let seen = |record: &&[u8]| {
        let units = record[33..][..record[32] as usize].chunks(2).map(|c| u16::from_be_bytes([c[0], c[1]]));
        let name = char::decode_utf16(units).map(Result::unwrap).collect();
        Seen { name, bytes: content(image, record), mode: None }
    };
    records(image, descriptor).iter().map(seen).collect()
}

/// The files by the primary tree's Rock Ridge entries.
pub(super) fn rock_ridge(image: &[u8]) -> Vec<Seen> {
    let seen = |record: &&[u8]| {
        let (mut name, mut mode) = (String::new(), None);
        for (signature, data) in entries(image, record) {
            match &signature {
                b"NM" => name.push_str(std::str::from_utf8(&data[1..]).unwrap()),
                b"PX" => mode = Some(both(&data, 0) as u32),
                _ => {}
            }
        }
        Seen { name, bytes: content(image, record), mode }
    };
    records(image, descriptor(image, 16, 1)).iter().map(seen).collect()
}

/// The 8.3 names, in the order of the records.
pub(super) fn short_names(image: &[u8]) -> Vec<String> {
    let name = |r: &&[u8]| String::from_utf8(r[33..][..r[32] as usize].to_vec()).unwrap();
    records(image, descriptor(image, 16, 1)).iter().map(name).collect()
}

/// The system use entries of a record, followed into their continuation.
fn entries(image: &[u8], record: &[u8]) -> Vec<([u8; 2], Vec<u8>)> {
    let start = (33 + record[32] as usize).next_multiple_of(2);
    let mut found = area(&record[start..]);
    if let Some((_, at)) = found.iter().find(|(signature, _)| signature == b"CE") {
        let (sector, offset, length) = (both(at, 0), both(at, 8), both(at, 16));
        assert!(offset + length <= SECTOR, "a continuation crosses a sector");
        let range: Range<usize> = sector * SECTOR + offset..sector * SECTOR + offset + length;
        found.extend(area(&image[range]));
    }
    found
}

fn area(mut bytes: &[u8]) -> Vec<([u8; 2], Vec<u8>)> {
    let mut found = Vec::new();
    while bytes.len() >= 4 {
        let length = bytes[2] as usize;
        found.push(([bytes[0], bytes[1]], bytes[4..length].to_vec()));
        bytes = &bytes[length..];
    }
    found
}
