//! The files of the image: its folders read once each, from the root on.
//!
//! Rock Ridge names where there are any, else Joliet's, else the plain ones. An image can say anything, so a folder is
//! read once however often it is named, and there is an end to how much is kept.

use super::bytes::{Bytes, Piece};
use super::damage::Damage;
use super::error::Fault;
use super::record::{Continuation, Record, RockRidge, sharing_protocol};
use super::volume::{Extent, SECTOR, Volume};
use std::collections::HashSet;

/// Files and folders that are listed at most.
const MOST_FILES: usize = 500_000;
/// Bytes of all paths together.
const MOST_TEXT: usize = 128 << 20;
/// The longest path, as on Linux.
pub(super) const LONGEST_PATH: usize = 4096;
/// The largest folder, bytes.
const LARGEST_FOLDER: u64 = 64 << 20;
/// The largest continuation of a record's entries, bytes; Linux allows a sector.
const LARGEST_CONTINUATION: u64 = SECTOR;

/// What a name in the image stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, with where it leads.
    Link(String),
    /// A device, a socket or a pipe.
    Special,
}

/// A file of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, with a leading slash.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Its size, bytes.
    pub bytes: u64,
}

/// A file, and where its bytes lie.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) file: File,
    pub(super) pieces: Vec<Piece>,
    /// Why its bytes are not those of the file.
    pub(super) unreadable: Option<&'static str>,
}

/// Where the names come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Rock Ridge, which has the names of a POSIX system.
    RockRidge,
    /// Joliet, which has long names.
    Joliet,
    /// ISO 9660's own: short and, mostly, in capitals.
    Plain,
}

/// All files, sorted by path.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) names: Names,
    pub(super) damage: Vec<Damage>,
}

/// Read all folders.
pub(super) fn read(image: &Bytes, volume: &Volume) -> Result<Tree, Fault> {
    let skip = match sector(image, volume.root.block * volume.block, SECTOR)? {
        Some(first) => Record::parse(record_bytes(&first, 0)).and_then(|root| sharing_protocol(root.system)),
        None => None,
    };
    let (root, names) = match (skip, volume.joliet) {
        (Some(_), _) => (volume.root, Names::RockRidge),
        (None, Some(joliet)) => (joliet, Names::Joliet),
        (None, None) => (volume.root, Names::Plain),
    };
    walk(image, volume, root, names, skip.unwrap_or(0))
}

/// Read all folders by Joliet's names, if the volume has them.
pub(super) fn read_joliet(image: &Bytes, volume: &Volume) -> Result<Option<Tree>, Fault> {
    volume.joliet.map(|root| walk(image, volume, root, Names::Joliet, 0)).transpose()
}

/// Read all folders by ISO 9660's own names.
pub(super) fn read_plain(image: &Bytes, volume: &Volume) -> Result<Tree, Fault> {
    walk(image, volume, volume.root, Names::Plain, 0)
}

fn walk(image: &Bytes, volume: &Volume, root: Extent, names: Names, skip: usize) -> Result<Tree, Fault> {
    let mut walk = Walk {
        image,
        block: volume.block,
        skip,
        tree: Tree { nodes: Vec::new(), names, damage: Vec::new() },
        seen: HashSet::from([root.block]),
        waiting: vec![(String::new(), root)],
        text: 0,
    };
    while let Some((path, extent)) = walk.waiting.pop() {
        if !walk.folder(&path, extent)? {
            let most = format!("more than {MOST_FILES} names, or {MOST_TEXT} bytes of them: the rest is not listed");
            walk.tree.damage.push(Damage::Folder { path: "/".into(), why: most });
            break;
        }
    }
    let mut tree = walk.tree;
    tree.nodes.sort_by(|a, b| a.file.path.cmp(&b.file.path));
    Ok(tree)
}

/// The walk over the folders.
struct Walk<'a> {
    image: &'a Bytes,
    block: u64,
    skip: usize,
    tree: Tree,
    /// The folders' blocks.
    seen: HashSet<u64>,
    waiting: Vec<(String, Extent)>,
    text: usize,
}

impl Walk<'_> {
    /// Read one folder; `false` when there is no room for more.
    fn folder(&mut self, path: &str, extent: Extent) -> Result<bool, Fault> {
        let start = extent.block * self.block;
        if extent.len > LARGEST_FOLDER {
            self.damaged(path, format!("it says that it has {} bytes", extent.len));
        }
        let mut begun: Option<Node> = None;
        for at in (0..extent.len.min(LARGEST_FOLDER)).step_by(SECTOR as usize) {
            let Some(sector) = sector(self.image, start + at, extent.len - at)? else {
                let (end, has) = (start + extent.len, self.image.len());
                self.damaged(path, format!("it reaches to byte {end}, and the image has {has}"));
                return Ok(true);
            };
            let mut offset = 0;
            // A length of zero: the next record did not fit, and begins in the next sector.
            while sector.get(offset).is_some_and(|length| *length > 0) {
                let Some(record) = Record::parse(record_bytes(&sector, offset)) else {
                    self.damaged(
                        path,
                        format!("no record begins at byte {}, where one should", start + at + offset as u64),
                    );
                    break;
                };
                offset += usize::from(sector[offset]);
                if let Some(what) = record.contradiction() {
                    let at = start + at + offset as u64;
                    self.damaged(path, format!("the record that ends at byte {at} contradicts itself: {what}"));
                }
                if !record.is_dot() && !self.record(path, &record, &mut begun)? {
                    return Ok(false);
                }
            }
        }
        if let Some(node) = begun {
            self.not_ended(node);
        }
        Ok(true)
    }

    /// A file of several extents whose next one is not there.
    fn not_ended(&mut self, mut node: Node) {
        let path = node.file.path.clone();
        self.damaged(
            &path,
            "its record says that it goes on in the next one, and it does not: a part of it is missing".into(),
        );
        node.unreadable = Some("a part of it is missing");
        self.tree.nodes.push(node);
    }

    /// Take one record in; `false` when there is no room for more.
    fn record(&mut self, folder: &str, record: &Record<'_>, begun: &mut Option<Node>) -> Result<bool, Fault> {
        let rock_ridge = self.rock_ridge(record);
        if rock_ridge.relocated {
            return Ok(true);
        }
        let path = format!("{folder}/{}", self.name(record, &rock_ridge));
        self.text += path.len();
        if path.len() > LONGEST_PATH {
            self.damaged(folder, format!("a path in it has more than {LONGEST_PATH} bytes"));
            return Ok(true);
        }
        if self.tree.nodes.len() >= MOST_FILES || self.text > MOST_TEXT {
            return Ok(false);
        }
        let inside = match rock_ridge.child {
            Some(block) => self.own_extent(block)?,
            None => record.is_folder().then_some(Extent { block: record.block, len: record.len }),
        };
        if let Some(extent) = inside {
            begun.take().into_iter().for_each(|node| self.not_ended(node));
            match self.seen.insert(extent.block) {
                true => self.waiting.push((path.clone(), extent)),
                false => self.damaged(&path, "it is also another folder: it is listed once".into()),
            }
            let file = File { path, kind: Kind::Folder, bytes: 0 };
            self.tree.nodes.push(Node { file, pieces: Vec::new(), unreadable: None });
            return Ok(true);
        }
        let piece = Piece { at: record.block * self.block, len: record.len };
        let mut node = match begun.take() {
            Some(node) if node.file.path == path => node,
            other => {
                other.into_iter().for_each(|node| self.not_ended(node));
                new_file(path, record, &rock_ridge)
            }
        };
        // An empty file's block means nothing, and neither do those of links and devices.
        if record.len > 0 && node.file.kind == Kind::File {
            node.pieces.push(piece);
            node.file.bytes = node.file.bytes.saturating_add(record.len);
        }
        match record.goes_on() {
            true => *begun = Some(node),
            false => self.tree.nodes.push(node),
        }
        Ok(true)
    }

    fn rock_ridge(&self, record: &Record<'_>) -> RockRidge {
        if self.tree.names != Names::RockRidge {
            return RockRidge::default();
        }
        RockRidge::read(record.system, self.skip, |Continuation { block, offset, len }| {
            let at = (block * self.block).saturating_add(offset);
            self.image.take(at, len.min(LARGEST_CONTINUATION) as usize).ok()
        })
    }

    fn name(&self, record: &Record<'_>, rock_ridge: &RockRidge) -> String {
        let name = match self.tree.names {
            Names::RockRidge if !rock_ridge.name.is_empty() => String::from_utf8_lossy(&rock_ridge.name).into_owned(),
            Names::Joliet => record.joliet_name(),
            _ => record.plain_name(),
        };
        let name = super::one_name(&name);
        if matches!(&*name, "" | "." | "..") { "\u{fffd}".into() } else { name }
    }

    /// A folder's extent by its own `.` record: what a `CL` entry names is only its block.
    fn own_extent(&mut self, block: u64) -> Result<Option<Extent>, Fault> {
        let first = sector(self.image, block * self.block, SECTOR)?.unwrap_or_default();
        Ok(Record::parse(record_bytes(&first, 0)).map(|own| Extent { block, len: own.len }))
    }

    fn damaged(&mut self, path: &str, why: String) {
        let path = if path.is_empty() { "/" } else { path };
        self.tree.damage.push(Damage::Folder { path: path.to_owned(), why });
    }
}

fn new_file(path: String, record: &Record<'_>, rock_ridge: &RockRidge) -> Node {
    let kind = match (&rock_ridge.link, rock_ridge.mode.map(|mode| mode & 0o170_000)) {
        (Some(link), _) => Kind::Link(link.clone()),
        (None, None | Some(0 | 0o100_000 | 0o040_000)) => Kind::File,
        (None, Some(_)) => Kind::Special,
    };
    let unreadable = match (record.is_interleaved(), rock_ridge.zisofs) {
        (true, _) => Some("it is interleaved with another file"),
        (false, true) => Some("it is compressed with zisofs"),
        (false, false) => None,
    };
    Node { file: File { path, kind, bytes: 0 }, pieces: Vec::new(), unreadable }
}

/// At most a sector of a folder; `None` if it is not there.
fn sector(image: &Bytes, at: u64, left: u64) -> Result<Option<Vec<u8>>, Fault> {
    match image.take(at, left.min(SECTOR) as usize) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Fault::Short { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// The bytes of the record that begins here, as many as there are.
fn record_bytes(sector: &[u8], at: usize) -> &[u8] {
    let length = sector.get(at).map_or(0, |length| usize::from(*length));
    sector.get(at..at + length).unwrap_or_default()
}
