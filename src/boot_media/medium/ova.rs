//! An OVA: a tar archive with a description (OVF), a disk and, mostly, a list of checksums.
//!
//! Format: DMTF DSP0243, section 12. The archive is read by the crate `tar`, and nothing is unpacked: a member is a part of the
//! image.

use super::bytes::{Bytes, Piece};
use super::damage::Damage;
use super::error::Fault;
use super::tree::{File, Kind, Node};
use host::hex::hex;
use sha2::{Digest, Sha256};
use std::io::Read;

/// Members that are read at most.
const MOST_MEMBERS: usize = 1000;
/// The largest list of checksums, bytes.
const LARGEST_LIST: u64 = 1 << 20;

/// The members, sorted by path.
pub(super) fn members(image: &Bytes) -> Result<Vec<Node>, Fault> {
    let bad = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::TimedOut => Fault::Io(error),
        _ => Fault::bad(format!("its tar archive: {error}")),
    };
    let mut archive = tar::Archive::new(image.reader());
    let mut nodes = Vec::new();
    for entry in archive.entries_with_seek().map_err(bad)? {
        let entry = entry.map_err(bad)?;
        if nodes.len() >= MOST_MEMBERS {
            return Err(Fault::bad(format!("its tar archive has more than {MOST_MEMBERS} members")));
        }
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = super::one_name(&String::from_utf8_lossy(&entry.path_bytes()));
        let piece = Piece { at: entry.raw_file_position(), len: entry.size() };
        let file = File { path: format!("/{name}"), kind: Kind::File, bytes: piece.len };
        nodes.push(Node { file, pieces: vec![piece], unreadable: None });
    }
    nodes.sort_by(|a, b| a.file.path.cmp(&b.file.path));
    Ok(nodes)
}

/// The first member with one of these endings.
pub(super) fn ends<'n>(nodes: &'n [Node], endings: &[&str]) -> Option<&'n Node> {
    let ends = |node: &&Node| {
        let path = node.file.path.to_ascii_lowercase();
        endings.iter().any(|ending| path.ends_with(ending))
    };
    nodes.iter().find(ends)
}

/// Members that are not what the archive's own list of checksums says (`SHA256(disk.vmdk)= …`).
pub(super) fn wrong_sums(image: &Bytes, nodes: &[Node]) -> Result<Vec<Damage>, Fault> {
    let Some(list) = ends(nodes, &[".mf"]) else { return Ok(Vec::new()) };
    let list = image.parts(&list.pieces)?;
    let text = list.take(0, list.len().min(LARGEST_LIST) as usize)?;
    let mut wrong = Vec::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let Some((name, digest)) = line.strip_prefix("SHA256(").and_then(|rest| rest.split_once(')')) else { continue };
        let digest = digest.trim_start_matches([' ', '=']).trim().to_ascii_lowercase();
        let path = format!("/{name}");
        let why = match nodes.iter().find(|node| node.file.path == path) {
            None => Some("it is in the list of checksums, and not in the archive".to_owned()),
            Some(node) => {
                let own = sha256(&image.parts(&node.pieces)?)?;
                (own != digest).then(|| format!("its SHA-256 is {own}, and by the list in the archive it is {digest}"))
            }
        };
        wrong.extend(why.map(|why| Damage::Boot { what: path, why }));
    }
    Ok(wrong)
}

fn sha256(bytes: &Bytes) -> Result<String, Fault> {
    let (mut digest, mut reader, mut buffer) = (Sha256::new(), bytes.reader(), vec![0; 1 << 20]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hex(digest.finalize())),
            count => digest.update(&buffer[..count]),
        }
    }
}
