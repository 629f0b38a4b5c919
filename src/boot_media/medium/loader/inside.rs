//! What lies inside of a boot loader's own file: the sections of an EFI program, and what `grub-mkimage` puts into one.
//!
//! Formats: Microsoft's "PE Format"; the UAPI group's "Unified Kernel Image" specification; GRUB's include/grub/kernel.h; POSIX
//! `ustar`, as `grub-mkstandalone` writes it.
//!
//! Fuzzed as `program`.

use crate::medium::bytes::{Bytes, u16_le, u32_le, u64_le};
use crate::medium::fat::Fat;
use crate::medium::squashfs;
use std::collections::BTreeMap;

/// Bytes that the headers of an EFI program have at most.
pub(super) const HEADERS: usize = 64 << 10;
/// Sections that are listed at most.
const MOST_SECTIONS: usize = 96;
/// Files of a loader's own file system that are kept, and how large each is at most.
const MOST_FILES: usize = 4096;
const LARGEST: u64 = 1 << 20;

/// A section of an EFI program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::medium) struct Section {
    pub(in crate::medium) name: String,
    /// Its first byte in the file.
    pub(in crate::medium) at: u64,
    /// Its length, bytes.
    pub(in crate::medium) len: u64,
}

/// The sections of an EFI program, by its first bytes; none if it is none.
pub(in crate::medium) fn sections(head: &[u8]) -> Vec<Section> {
    let pe = u32_le(head, 0x3c) as usize;
    if !head.starts_with(b"MZ") || head.get(pe..).is_none_or(|rest| !rest.starts_with(b"PE\0\0")) {
        return Vec::new();
    }
    let (count, optional) = (usize::from(u16_le(head, pe + 6)), usize::from(u16_le(head, pe + 20)));
    let table = head.get(pe + 24 + optional..).unwrap_or_default();
    let section = |entry: &[u8]| {
        let name = entry[..8].split(|byte| *byte == 0).next().unwrap_or_default();
        // What is kept on disk may be longer than what is meant: it is filled up.
        let (meant, kept) = (u64::from(u32_le(entry, 8)), u64::from(u32_le(entry, 16)));
        let len = if meant == 0 { kept } else { meant.min(kept) };
        Section { name: String::from_utf8_lossy(name).into_owned(), at: u64::from(u32_le(entry, 20)), len }
    };
    table.chunks_exact(40).take(count.min(MOST_SECTIONS)).map(section).collect()
}

/// What `grub-mkimage` was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Embedded {
    /// `--config`.
    pub(super) config: Option<String>,
    /// `--prefix`.
    pub(super) prefix: Option<String>,
    /// `--memdisk`.
    pub(super) memdisk: Option<Vec<u8>>,
}

/// Read GRUB's section `mods`; nothing if it is not what GRUB makes.
pub(super) fn embedded(mods: &[u8]) -> Option<Embedded> {
    if !mods.starts_with(b"mimg") {
        return None;
    }
    let (offset, size) = (u64_le(mods, 8), u64_le(mods, 16));
    let mut rest = mods.get(usize::try_from(offset).ok()?..mods.len().min(usize::try_from(size).ok()?))?;
    let mut found = Embedded::default();
    while rest.len() >= 8 {
        let (kind, size) = (u32_le(rest, 0), u32_le(rest, 4) as usize);
        let content = rest.get(8..size)?;
        let text = || String::from_utf8_lossy(content.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
        match kind {
            1 => found.memdisk = Some(content.to_vec()),
            2 => found.config = Some(text()),
            3 => found.prefix = Some(text()),
            _ => {}
        }
        rest = &rest[size..];
    }
    Some(found)
}

/// The files of a memory disk: an archive of `tar`, a squashfs, or a FAT.
pub(super) fn memdisk(bytes: Vec<u8>) -> Option<BTreeMap<String, Vec<u8>>> {
    if bytes.get(257..262) == Some(b"ustar") {
        return Some(tar(&bytes));
    }
    let image = Bytes::of_memory(bytes);
    if let Ok(fat) = Fat::read(image.clone()) {
        let files = fat.files.iter().filter(|file| !file.folder && file.bytes <= LARGEST).take(MOST_FILES);
        let read = |file| fat.bytes(file).ok().and_then(|all| all.take(0, all.len() as usize).ok());
        return Some(files.filter_map(|file| Some((file.path.clone(), read(file)?))).collect());
    }
    let squashfs = squashfs::Squashfs::open(image).ok()?;
    let mut names = Vec::new();
    squashfs
        .each(&mut |path| {
            if !path.ends_with('/') && names.len() < MOST_FILES {
                names.push(path.to_owned());
            }
        })
        .ok()?;
    Some(names.into_iter().filter_map(|name| Some((name.clone(), squashfs.read(&name, LARGEST).ok()?))).collect())
}

fn tar(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut rest = bytes;
    while rest.len() >= 512 && rest[0] != 0 && files.len() < MOST_FILES {
        let text = |from: usize, to: usize| {
            String::from_utf8_lossy(rest[from..to].split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
        };
        let Ok(size) = usize::from_str_radix(text(124, 136).trim(), 8) else { break };
        let (name, before) = (text(0, 100), text(345, 500));
        let Some(content) = rest.get(512..512usize.saturating_add(size)) else { break };
        if matches!(rest[156], 0 | b'0') {
            files.insert(super::clean(&format!("{before}/{name}")), content.to_vec());
        }
        rest = rest.get(512 + size.next_multiple_of(512)..).unwrap_or_default();
    }
    files
}
