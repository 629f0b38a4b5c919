//! The volume descriptors: what the image calls itself, how large it is, and where its trees begin.
//!
//! Formats: ECMA-119 8 (descriptors), the Joliet specification (supplementary descriptors with a UCS-2 escape), El Torito 1.0
//! figure 7 (boot record).

use super::bytes::{Bytes, u16_be, u16_le, u32_be, u32_le};
use super::damage::Damage;
use super::error::Fault;

/// Bytes of a logical sector: that of the medium, not of the volume's blocks.
pub(super) const SECTOR: u64 = 2048;
/// The first descriptor; what lies before is the system's own.
const FIRST: u64 = 16;
/// Real images have three to six.
const AT_MOST: u64 = 64;

/// Where a folder lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Its first block.
    pub(super) block: u64,
    /// Its length, bytes.
    pub(super) len: u64,
}

/// What the descriptors say.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    /// The volume identifier.
    pub(super) id: String,
    /// Bytes of a block.
    pub(super) block: u64,
    /// The size of the whole volume, bytes.
    pub(super) size: u64,
    /// The primary tree.
    pub(super) root: Extent,
    /// The Joliet tree, if there is one.
    pub(super) joliet: Option<Extent>,
    /// The sector of the El Torito boot catalogue.
    pub(super) catalogue: Option<u64>,
    /// What `blkid` calls its UUID: when it was changed last, or made.
    pub(super) uuid: Option<String>,
    /// What is wrong with the descriptors.
    pub(super) damage: Vec<Damage>,
}

impl Volume {
    /// What stands for the volume where there is none: a disk.
    pub(super) fn nameless(size: u64) -> Self {
        let root = Extent { block: 0, len: 0 };
        Self {
            id: String::new(),
            block: SECTOR,
            size,
            root,
            joliet: None,
            catalogue: None,
            uuid: None,
            damage: Vec::new(),
        }
    }
}

/// Read the descriptors.
pub(super) fn read(image: &Bytes) -> Result<Volume, Fault> {
    let (mut primary, mut joliet, mut catalogue) = (None, None, None);
    for n in FIRST..FIRST + AT_MOST {
        let sector = match image.take(n * SECTOR, SECTOR as usize) {
            Ok(sector) => sector,
            // Cut off among the descriptors: what came before may do.
            Err(Fault::Short { .. }) if primary.is_some() => break,
            Err(Fault::Short { has, .. }) => return Err(Fault::bad(format!("it has {has} bytes: no descriptor fits"))),
            Err(other) => return Err(other),
        };
        if &sector[1..6] != b"CD001" {
            break;
        }
        match sector[0] {
            0 if sector[7..39].starts_with(b"EL TORITO SPECIFICATION") => {
                catalogue.get_or_insert(u64::from(u32_le(&sector, 71)));
            }
            1 if primary.is_none() => primary = Some(sector),
            // The escape sequences of the three UCS-2 levels.
            2 if [b"%/@", b"%/C", b"%/E"].iter().any(|level| sector[88..].starts_with(*level)) => {
                joliet.get_or_insert(root(&sector));
            }
            255 => break,
            _ => {}
        }
    }
    let Some(primary) = primary else { return Err(Fault::bad("it has no primary volume descriptor")) };
    let block = u64::from(u16_le(&primary, 128));
    if ![512, 1024, 2048].contains(&block) {
        return Err(Fault::bad(format!("its blocks have {block} bytes; 512, 1024 and 2048 are possible")));
    }
    let size = u64::from(u32_le(&primary, 80)) * block;
    Ok(Volume {
        id: text(&primary[40..72]),
        block,
        size,
        root: root(&primary),
        joliet,
        catalogue,
        uuid: uuid(&primary[830..847]).or_else(|| uuid(&primary[813..830])),
        damage: contradictions(&primary),
    })
}

/// Numbers that are there in both byte orders and do not say the same (ECMA-119 8.4).
fn contradictions(sector: &[u8]) -> Vec<Damage> {
    let numbers = [
        ("size", u32_le(sector, 80), u32_be(sector, 84)),
        ("size of a block", u16_le(sector, 128).into(), u16_be(sector, 130).into()),
        ("root folder's block", u32_le(sector, 158), u32_be(sector, 162)),
        ("root folder's length", u32_le(sector, 166), u32_be(sector, 170)),
    ];
    let differ = numbers.into_iter().filter(|(_, little, big)| little != big);
    differ
        .map(|(what, little, big)| Damage::Boot {
            what: "the volume descriptor".into(),
            why: format!("the volume's {what} is {little} in one byte order and {big} in the other"),
        })
        .collect()
}

/// A time of sixteen digits as `blkid` writes it, `2026-01-31-12-00-00-00`; nothing if it was left out.
fn uuid(time: &[u8]) -> Option<String> {
    let digits = std::str::from_utf8(&time[..16]).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    if digits.bytes().all(|byte| byte == b'0') {
        return None;
    }
    let parts = [0..4, 4..6, 6..8, 8..10, 10..12, 12..14, 14..16].map(|part| &digits[part]);
    Some(parts.join("-"))
}

/// The root folder's record in a descriptor.
fn root(sector: &[u8]) -> Extent {
    let block = u64::from(u32_le(sector, 158)) + u64::from(sector[157]);
    Extent { block, len: u64::from(u32_le(sector, 166)) }
}

/// A text field: filled up with spaces, or with zeros by careless writers.
fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).trim_end_matches([' ', '\0']).to_owned()
}
