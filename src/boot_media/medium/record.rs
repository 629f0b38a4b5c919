//! One directory record, and the Rock Ridge entries behind its name.
//!
//! Formats: ECMA-119 9.1 (records), SUSP 1.12 (entries and where they continue), RRIP 1.12 (their meaning).

use super::bytes::{u32_be, u32_le};

/// Continuations that are followed for one record; real images need one.
const MOST_CONTINUATIONS: usize = 16;
/// The longest name or link that is kept; Linux allows names of 255 bytes and paths of 4096.
const LONGEST: usize = 4096;

/// A directory record's own fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// The first block of the data.
    pub(super) block: u64,
    /// The length of the data, bytes.
    pub(super) len: u64,
    extended: u64,
    flags: u8,
    interleaved: bool,
    /// Block and length once more, big-endian.
    other: (u32, u32),
    /// The name as the volume has it.
    pub(super) identifier: &'a [u8],
    /// The system use area.
    pub(super) system: &'a [u8],
}

impl<'a> Record<'a> {
    /// A record from its bytes, the length byte first; `None` if its parts do not fit into it.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let name = usize::from(*bytes.get(32)?);
        let identifier = bytes.get(33..33 + name)?;
        // A name of even length is followed by a padding byte.
        let system = bytes.get(33 + name + (name + 1) % 2..).unwrap_or_default();
        Some(Self {
            // The extended attributes lie before the data.
            block: u64::from(u32_le(bytes, 2)) + u64::from(bytes[1]),
            extended: u64::from(bytes[1]),
            len: u64::from(u32_le(bytes, 10)),
            flags: bytes[25],
            interleaved: bytes[26] != 0,
            other: (u32_be(bytes, 6), u32_be(bytes, 14)),
            identifier,
            system,
        })
    }

    /// Where the two byte orders do not say the same (ECMA-119 7.3.3).
    pub(super) fn contradiction(&self) -> Option<String> {
        let (block, len) = (self.block - self.extended, self.len);
        let differs = |what: &str, little: u64, big: u32| {
            (little != u64::from(big))
                .then(|| format!("its {what} is {little} in one byte order and {big} in the other"))
        };
        differs("block", block, self.other.0).or_else(|| differs("length", len, self.other.1))
    }

    /// Whether it is a folder.
    pub(super) fn is_folder(&self) -> bool {
        self.flags & 0x02 != 0
    }

    /// Whether the file goes on in the next record.
    pub(super) fn goes_on(&self) -> bool {
        self.flags & 0x80 != 0
    }

    /// Whether its data are mixed with another file's.
    pub(super) fn is_interleaved(&self) -> bool {
        self.interleaved
    }

    /// Whether it is the folder's own record, or its parent's.
    pub(super) fn is_dot(&self) -> bool {
        matches!(self.identifier, [0 | 1])
    }

    /// The name without Rock Ridge and Joliet: `NAME.EXT;1`, where version and an empty extension say nothing.
    pub(super) fn plain_name(&self) -> String {
        let name = String::from_utf8_lossy(self.identifier);
        let name = name.split_once(';').map_or(&*name, |(name, _)| name);
        name.strip_suffix('.').unwrap_or(name).to_owned()
    }

    /// The name in a Joliet tree.
    pub(super) fn joliet_name(&self) -> String {
        let units = self.identifier.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let name: String = char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect();
        name.strip_suffix(";1").unwrap_or(&name).to_owned()
    }
}

/// Where system use entries go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Continuation {
    /// The block.
    pub(super) block: u64,
    /// The first byte in it.
    pub(super) offset: u64,
    /// Their length, bytes.
    pub(super) len: u64,
}

/// What Rock Ridge says of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct RockRidge {
    /// Its name, if it has one.
    pub(super) name: Vec<u8>,
    /// POSIX file mode.
    pub(super) mode: Option<u32>,
    /// Where a symbolic link leads.
    pub(super) link: Option<String>,
    /// The block of the folder that really lies elsewhere.
    pub(super) child: Option<u64>,
    /// Whether this is such a folder, in the place where it lies.
    pub(super) relocated: bool,
    /// Whether the data are compressed.
    pub(super) zisofs: bool,
    link_part_goes_on: bool,
}

impl RockRidge {
    /// Read the entries of a record. `skip` is what the root's `SP` entry says; `more` reads a continuation.
    pub(super) fn read(system: &[u8], skip: usize, mut more: impl FnMut(Continuation) -> Option<Vec<u8>>) -> Self {
        let mut found = Self::default();
        let mut next = found.entries(system.get(skip..).unwrap_or_default());
        for _ in 0..MOST_CONTINUATIONS {
            let Some(area) = next.and_then(&mut more) else { break };
            next = found.entries(&area);
        }
        found
    }

    /// One area of entries; where they go on.
    fn entries(&mut self, mut area: &[u8]) -> Option<Continuation> {
        let mut next = None;
        while let [a, b, length, _version, ..] = *area {
            let length = usize::from(length);
            let Some(data) = area.get(4..length) else { break };
            match &[a, b] {
                b"NM" if data.first().is_some_and(|flags| flags & 0x06 == 0) => {
                    self.name.extend(&data[1..]);
                    self.name.truncate(LONGEST);
                }
                b"PX" if data.len() >= 4 => self.mode = Some(u32_le(data, 0)),
                b"SL" if !data.is_empty() => self.link(&data[1..]),
                b"CL" if data.len() >= 4 => self.child = Some(u32_le(data, 0).into()),
                b"RE" => self.relocated = true,
                b"ZF" => self.zisofs = true,
                b"CE" if data.len() >= 24 => {
                    let number = |at| u64::from(u32_le(data, at));
                    next = Some(Continuation { block: number(0), offset: number(8), len: number(16) });
                }
                b"ST" => break,
                _ => {}
            }
            area = &area[length..];
        }
        next
    }

    /// The components of a symbolic link (RRIP 4.1.3.1).
    fn link(&mut self, mut parts: &[u8]) {
        let link = self.link.get_or_insert_default();
        while let [flags, length, ..] = *parts {
            let Some(text) = parts.get(2..2 + usize::from(length)) else { break };
            if !link.is_empty() && !link.ends_with('/') && !self.link_part_goes_on {
                link.push('/');
            }
            self.link_part_goes_on = flags & 0x01 != 0;
            match flags & 0x0e {
                0x02 => link.push('.'),
                0x04 => link.push_str(".."),
                0x08 => link.push('/'),
                _ => link.push_str(&String::from_utf8_lossy(text)),
            }
            parts = &parts[2 + usize::from(length)..];
            if link.len() > LONGEST {
                break;
            }
        }
    }
}

/// Whether Rock Ridge is used, by the root's own record: how many bytes its entries are moved by.
pub(super) fn sharing_protocol(system: &[u8]) -> Option<usize> {
    // On a CD-ROM XA volume 14 bytes lie before the entries.
    [0, 14].into_iter().find_map(|at| match system.get(at..at + 7)? {
        [b'S', b'P', 7, _, 0xbe, 0xef, skip] => Some(usize::from(*skip)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_put_together_from_its_components() {
        let entry = |flags: u8, parts: &[u8]| [&[b'S', b'L', 5 + parts.len() as u8, 1, flags][..], parts].concat();
        let area = [entry(1, b"\x08\x00\x00\x03usr\x01\x04shar"), entry(0, b"\x00\x01e\x04\x00\x00\x01x")].concat();
        let read = RockRidge::read(&area, 0, |_| None);
        assert_eq!(read.link.as_deref(), Some("/usr/share/../x"));
    }

    #[test]
    fn continuations_in_a_circle_end() {
        let circle = b"CE\x1c\x01\x07\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\x1c\0\0\0\0\0\0\x1c".to_vec();
        let mut asked = 0;
        RockRidge::read(&circle, 0, |_| {
            asked += 1;
            Some(circle.clone())
        });
        assert_eq!(asked, MOST_CONTINUATIONS);
    }

    #[test]
    fn a_name_in_two_entries_is_one() {
        let read = RockRidge::read(b"NM\x08\x01\x01abcNM\x07\x01\x00de", 0, |_| None);
        assert_eq!(read.name, b"abcde");
    }
}
