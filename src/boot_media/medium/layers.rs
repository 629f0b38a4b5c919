//! A disk in images that lie on top of each other, with changes over the topmost that are in no file yet: what QEMU would read
//! from it after any of them.
//!
//! The names in the images' headers are not followed: the caller names the images.

use super::bytes::{Bytes, Halt, Unpacked};
use super::error::Fault;
use super::qcow2::Qcow2;
use camino::{Utf8Path, Utf8PathBuf};
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

pub use super::ext4::{Files, Unreadable};

/// How long the topmost file is for what is in it: as long as a drive says that it is. Behind its end there are zeros.
const LENGTH: u64 = 1 << 44;

/// An image below the topmost one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below {
    /// The file.
    pub path: Utf8PathBuf,
    /// Whether it is a qcow2 and not the disk byte by byte.
    pub qcow2: bool,
}

/// Why the disk cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {why}")]
pub struct LayerError {
    /// The image.
    pub path: Utf8PathBuf,
    /// Why not.
    pub why: String,
}

/// The byte behind it, and the data from some place on; zeros without data.
type Piece = (u64, Option<(Arc<[u8]>, usize)>);

/// Changes to a file: places, and what is there now.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// By their first byte.
    pieces: BTreeMap<u64, Piece>,
}

impl Patch {
    /// There are these bytes now.
    pub fn write(&mut self, at: u64, data: &[u8]) {
        self.put(at..at + data.len() as u64, Some((data.into(), 0)));
    }

    /// There are zeros now.
    pub fn zero(&mut self, range: Range<u64>) {
        self.put(range, None);
    }

    /// What another one changes comes over it.
    pub fn merge(&mut self, later: &Self) {
        for (start, (end, data)) in &later.pieces {
            self.put(*start..*end, data.clone());
        }
    }

    /// What it changes, in order.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.pieces.iter().map(|(start, (end, _))| *start..*end)
    }

    fn put(&mut self, range: Range<u64>, data: Option<(Arc<[u8]>, usize)>) {
        if range.is_empty() {
            return;
        }
        self.carve(&range);
        self.pieces.insert(range.start, (range.end, data));
    }

    /// Make room: what lies in the range goes, what reaches beyond it is cut.
    fn carve(&mut self, range: &Range<u64>) {
        let met: Vec<u64> = self.within(range).map(|(start, _)| *start).collect();
        for start in met {
            let Some((end, data)) = self.pieces.remove(&start) else { continue };
            if end > range.end {
                let rest = data.clone().map(|(data, from)| (data, from + (range.end - start) as usize));
                self.pieces.insert(range.end, (end, rest));
            }
            if start < range.start {
                self.pieces.insert(start, (range.start, data));
            }
        }
    }

    fn within(&self, range: &Range<u64>) -> impl Iterator<Item = (&u64, &Piece)> {
        let before = self.pieces.range(..=range.start).next_back().filter(|(_, (end, _))| *end > range.start);
        let first = before.map_or(range.start, |(start, _)| *start);
        self.pieces.range(first..range.end)
    }

    fn apply(&self, at: u64, buffer: &mut [u8]) {
        let range = at..at + buffer.len() as u64;
        for (start, (end, data)) in self.within(&range) {
            let (from, to) = ((*start).max(range.start), (*end).min(range.end));
            let into = &mut buffer[(from - at) as usize..(to - at) as usize];
            match data {
                Some((data, first)) => {
                    let first = first + (from - start) as usize;
                    into.copy_from_slice(&data[first..first + into.len()]);
                }
                None => into.fill(0),
            }
        }
    }
}

/// The topmost file with what comes over it.
#[derive(Debug)]
struct Patched {
    file: File,
    patches: Vec<Arc<Patch>>,
}

impl Unpacked for Patched {
    fn len(&self) -> u64 {
        LENGTH
    }

    fn read(&self, at: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], at + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        buffer[filled..].fill(0);
        self.patches.iter().for_each(|patch| patch.apply(at, buffer));
        Ok(())
    }
}

/// The disk.
#[derive(Debug)]
pub struct Disk {
    top: Qcow2,
    path: Utf8PathBuf,
}

impl Disk {
    /// The disk of a qcow2 at `top` with `patches` over its file, the last one uppermost, and what lies below it, the lowest
    /// last.
    ///
    /// # Errors
    /// If one of the files cannot be read, or is no such image.
    pub fn open(top: &Utf8Path, patches: Vec<Arc<Patch>>, below: &[Below]) -> Result<Self, LayerError> {
        let mut under = None;
        for image in below.iter().rev() {
            let failed = |fault: Fault| LayerError { path: image.path.clone(), why: fault.to_string() };
            let open = || Ok(Bytes::of_file(File::open(&image.path)?, Halt::default())?);
            let file = open().map_err(failed)?;
            under = Some(match image.qcow2 {
                true => Bytes::unpacked(Box::new(Qcow2::over(file, under).map_err(failed)?)),
                false => file,
            });
        }
        let failed = |fault: Fault| LayerError { path: top.to_owned(), why: fault.to_string() };
        let file = File::open(top).map_err(|error| failed(error.into()))?;
        let file = Bytes::unpacked(Box::new(Patched { file, patches }));
        Ok(Self { top: Qcow2::over(file, under).map_err(failed)?, path: top.to_owned() })
    }

    /// Its size, bytes.
    pub fn size(&self) -> u64 {
        Unpacked::len(&self.top)
    }

    /// Fill the buffer with what lies at this place.
    ///
    /// # Errors
    /// If it reaches beyond the disk's end, or an image is damaged there.
    pub fn read(&self, at: u64, buffer: &mut [u8]) -> Result<(), LayerError> {
        let end = at.saturating_add(buffer.len() as u64);
        if end > self.size() {
            return Err(self.failed(&Fault::Short { end, has: self.size() }));
        }
        Unpacked::read(&self.top, at, buffer).map_err(|fault| self.failed(&fault))
    }

    /// The bytes of a cluster: the unit in which the topmost image has what was written.
    pub fn cluster(&self) -> u64 {
        1 << self.top.bits()
    }

    /// For each of the guest's clusters what the topmost image says of it, and where in its file it lies, if it does.
    ///
    /// # Errors
    /// If the image is damaged.
    pub fn clusters(&self) -> Result<Vec<(u64, Option<u64>)>, LayerError> {
        let mapped = self.top.mapped().map_err(|fault| self.failed(&fault))?;
        Ok(mapped.into_iter().map(|entry| (entry, Qcow2::host(entry))).collect())
    }

    fn failed(&self, fault: &Fault) -> LayerError {
        LayerError { path: self.path.clone(), why: fault.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    proptest! {
        /// Against a plain buffer.
        #[test]
        fn changes_over_changes_are_what_came_last(
            changes in proptest::collection::vec((0_u64..60, 0_usize..20, any::<u8>(), any::<bool>()), 0..30),
            split in 0_usize..30,
            at in 0_u64..40,
        ) {
            let (mut plain, mut first, mut later) = (vec![9; 100], Patch::default(), Patch::default());
            for (n, (start, length, byte, zero)) in changes.into_iter().enumerate() {
                let patch = if n < split { &mut first } else { &mut later };
                let byte = if zero { 0 } else { byte };
                match zero {
                    true => patch.zero(start..start + length as u64),
                    false => patch.write(start, &vec![byte; length]),
                }
                plain[start as usize..start as usize + length].fill(byte);
            }
            let mut over = vec![9; 60];
            first.apply(at, &mut over);
            later.apply(at, &mut over);
            prop_assert_eq!(&over[..], &plain[at as usize..at as usize + 60]);
            first.merge(&later);
            let mut merged = vec![9; 60];
            first.apply(at, &mut merged);
            prop_assert_eq!(merged, over);
        }
    }

    fn qemu(program: &str, args: &[&str]) {
        let out = Command::new(program).args(args).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    #[test]
    fn a_disk_in_three_layers_reads_as_qemu_reads_it() {
        let keep = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
        let path = |name: &str| dir.join(name);
        qemu("qemu-img", &["create", "-q", "-f", "raw", path("low").as_str(), "1M"]);
        qemu("qemu-io", &["-f", "raw", "-c", "write -P 1 0 1M", path("low").as_str()]);
        let over = |below: &str, format: &str, name: &str| {
            qemu(
                "qemu-img",
                &["create", "-q", "-f", "qcow2", "-F", format, "-b", path(below).as_str(), path(name).as_str(), "2M"],
            );
        };
        over("low", "raw", "middle");
        qemu("qemu-io", &["-c", "write -P 2 64k 64k", "-c", "write -z 256k 64k", path("middle").as_str()]);
        over("middle", "qcow2", "top");
        qemu("qemu-io", &["-c", "write -P 3 130k 1k", path("top").as_str()]);
        let below = [Below { path: path("middle"), qcow2: true }, Below { path: path("low"), qcow2: false }];
        let disk = Disk::open(&path("top"), Vec::new(), &below).unwrap();
        qemu("qemu-img", &["convert", "-O", "raw", path("top").as_str(), path("flat").as_str()]);
        let mut read = vec![0xee; 2 << 20];
        disk.read(0, &mut read).unwrap();
        assert!(read == std::fs::read(path("flat")).unwrap(), "it differs");
        assert_eq!((read[0], read[65 << 10], read[130 << 10], read[300 << 10], read[1 << 20]), (1, 2, 3, 0, 0));
        // A change to the file at the place of the one cluster that it has is a change of the disk.
        let clusters = disk.clusters().unwrap();
        assert_eq!(clusters.iter().filter(|(_, host)| host.is_some()).count(), 1);
        let mut patch = Patch::default();
        patch.write(clusters[2].1.unwrap() + 512, &[7; 512]);
        let disk = Disk::open(&path("top"), vec![Arc::new(patch)], &below).unwrap();
        disk.read(128 << 10, &mut read[..2048]).unwrap();
        assert_eq!((read[0], read[512], read[1024]), (1, 7, 1));
        assert!(disk.read(2 << 20, &mut read[..1]).unwrap_err().to_string().contains("top"));
    }
}
