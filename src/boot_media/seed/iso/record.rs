//! Directory records: the ECMA-119 part and, in the primary tree, their Rock Ridge entries.

use super::SECTOR;
use super::dates::Stamp;

/// The bytes of a record before its identifier.
const HEAD: usize = 33;
/// The longest record: its length is one byte, and even.
const LONGEST: usize = 254;
/// A `CE` entry: where the rest of the entries is.
const CE: usize = 28;
/// An `SP` entry.
const SP: usize = 7;
/// `RR` + `PX` + `TF`, which every record has.
const COMMON: usize = 5 + 36 + 26;

/// `ER`: the words by which RRIP 1991A names itself.
const EXTENSION: (&str, &str, &str) = (
    "RRIP_1991A",
    "THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS",
    "PLEASE CONTACT DISC PUBLISHER FOR SPECIFICATION SOURCE.  SEE PUBLISHER IDENTIFIER IN PRIMARY \
     VOLUME DESCRIPTOR FOR CONTACT INFORMATION.",
);

/// Where something lies in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Its first sector.
    pub(super) sector: u32,
    /// Its length in bytes.
    pub(super) bytes: u32,
}

/// Where a record's Rock Ridge entries go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Continuation {
    /// The sector.
    pub(super) sector: u32,
    /// The offset in it, in bytes.
    pub(super) offset: u32,
    /// The length, in bytes.
    pub(super) bytes: u32,
}

/// What a record describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
}

/// Little-endian, then big-endian, as most numbers of ECMA-119 are.
pub(super) fn both32(n: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    bytes[4..].copy_from_slice(&n.to_be_bytes());
    bytes
}

/// As [`both32`], for 16 bits.
pub(super) fn both16(n: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (n.to_le_bytes(), n.to_be_bytes());
    [a, b, c, d]
}

/// A whole directory record (ECMA-119 9.1): padded to an even length.
pub(super) fn record(extent: Extent, kind: Kind, stamp: &Stamp, identifier: &[u8], system: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LONGEST);
    bytes.extend([0, 0]); // its length, set below, and that of extended attributes: none
    bytes.extend(both32(extent.sector));
    bytes.extend(both32(extent.bytes));
    bytes.extend(stamp.short());
    bytes.push(if kind == Kind::Folder { 2 } else { 0 });
    bytes.extend([0, 0]); // not interleaved
    bytes.extend(both16(1)); // the first and only volume
    bytes.push(identifier.len() as u8); // at most 206 (Joliet), checked with the names
    bytes.extend(identifier);
    even(&mut bytes);
    bytes.extend(system);
    even(&mut bytes);
    debug_assert!(bytes.len() <= LONGEST, "a directory record of {} bytes", bytes.len());
    bytes[0] = bytes.len() as u8;
    bytes
}

fn even(bytes: &mut Vec<u8>) {
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
}

/// The length of a record with an identifier and system entries of these lengths.
pub(super) fn length(identifier: usize, system: usize) -> usize {
    (HEAD + identifier).next_multiple_of(2) + system.next_multiple_of(2)
}

/// The length of the primary tree's `.` record (with `SP` and the way to `ER`) and of its `..`.
pub(super) fn root_lengths() -> [usize; 2] {
    [length(1, SP + COMMON + CE), length(1, COMMON)]
}

/// The length of a file's record in the primary tree.
pub(super) fn file_length(short: &str, name: &str) -> usize {
    let name = if name_fits(short, name) { name_entry_len(name) } else { CE };
    length(short.len(), COMMON + name)
}

/// Does the Rock Ridge name fit into the record itself, beside this 8.3 name?
pub(super) fn name_fits(short: &str, name: &str) -> bool {
    length(short.len(), COMMON + name_entry_len(name)) <= LONGEST
}

/// The bytes that a name takes as an `NM` entry.
pub(super) fn name_entry_len(name: &str) -> usize {
    5 + name.len()
}

/// `NM`: the POSIX name (RRIP 4.1.4). The name has at most 250 bytes.
pub(super) fn name_entry(name: &str) -> Vec<u8> {
    let mut bytes = entry(*b"NM", &[0]);
    bytes.extend(name.as_bytes());
    bytes[2] = bytes.len() as u8;
    bytes
}

/// `RR`, `PX` and `TF`: what every record carries. Only root may read: the seed holds a private host
/// key, and the guest keeps the medium in its drive.
pub(super) fn common(kind: Kind, stamp: &Stamp) -> Vec<u8> {
    let (mode, links) = match kind {
        Kind::File => (0o100_400, 1),
        Kind::Folder => (0o040_500, 2),
    };
    // Which of RRIP's entries the record has: PX, NM, TF. RRIP 1.12 dropped it; old readers look for it.
    let mut bytes = entry(*b"RR", &[0x01 | 0x08 | 0x80]);
    let owner = [both32(mode), both32(links), both32(0), both32(0)].concat();
    bytes.extend(entry(*b"PX", &owner));
    let times = [&[0x0e][..], &stamp.short(), &stamp.short(), &stamp.short()].concat();
    bytes.extend(entry(*b"TF", &times)); // modified, accessed, changed
    bytes
}

/// `SP`: the first entry of the root's own record, which says that SUSP is used at all.
pub(super) fn sharing_protocol() -> Vec<u8> {
    entry(*b"SP", &[0xbe, 0xef, 0])
}

/// `ER`: which extension the entries belong to. Too long for the record: it always continues elsewhere.
pub(super) fn extension_reference() -> Vec<u8> {
    let (id, description, source) = EXTENSION;
    let lengths = [id.len() as u8, description.len() as u8, source.len() as u8, 1];
    entry(*b"ER", &[&lengths[..], id.as_bytes(), description.as_bytes(), source.as_bytes()].concat())
}

/// `CE`: the entries go on there. The area must lie in one sector: Linux reads no further.
pub(super) fn continuation(at: Continuation) -> Vec<u8> {
    debug_assert!((at.offset + at.bytes) as usize <= SECTOR);
    entry(*b"CE", &[both32(at.sector), both32(at.offset), both32(at.bytes)].concat())
}

/// A SUSP entry: signature, length, version 1, data.
fn entry(signature: [u8; 2], data: &[u8]) -> Vec<u8> {
    let length = (4 + data.len()) as u8; // none of the callers' data is longer than 251
    [&signature[..], &[length, 1], data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entries_have_the_lengths_that_the_layout_counts_with() {
        let stamp = Stamp::from_unix(0).unwrap();
        assert_eq!(common(Kind::File, &stamp).len(), COMMON);
        let here = Continuation { sector: 1, offset: 0, bytes: 1 };
        assert_eq!(continuation(here).len(), CE);
        assert_eq!(sharing_protocol().len(), SP);
        assert_eq!(extension_reference().len(), 237);
        assert_eq!(name_entry("user-data").len(), name_entry_len("user-data"));
    }

    #[test]
    fn a_record_is_even_and_knows_its_length() {
        let extent = Extent { sector: 0x0102_0304, bytes: 5 };
        for identifier in ["A.;1", "AB.;1"] {
            let bytes = record(extent, Kind::File, &Stamp::from_unix(0).unwrap(), identifier.as_bytes(), b"xyz");
            assert_eq!((bytes.len() % 2, bytes[0] as usize), (0, bytes.len()));
            assert_eq!(bytes[2..10], [4, 3, 2, 1, 1, 2, 3, 4]);
        }
    }
}
