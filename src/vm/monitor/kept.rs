//! A file of which only the beginning and the end are kept, each byte where it came: what a guest or QEMU says for ever
//! must not fill the host's disk ([`crate::console::gap`] reads it).

use crate::console::gap;
use camino::{Utf8Path, Utf8PathBuf};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// How much of a file is kept, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From its beginning on.
    pub(super) head: u64,
    /// Up to its end.
    pub(super) tail: u64,
    /// How much more there may be before the oldest of it goes; whole blocks of every file system.
    pub(super) step: u64,
    /// Where it ends on a file system that cannot have a gap.
    pub(super) most: u64,
}

/// What is worth to be told about the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// From now on only the first `head` and the last `tail` bytes are kept.
    Gap { head: u64, tail: u64 },
    /// Nothing more is written to it, for this reason.
    Full(String),
}

/// The file.
#[derive(Debug)]
pub(super) struct Kept {
    path: Utf8PathBuf,
    file: File,
    at: u64,
    full: bool,
    limits: Limits,
    /// Where the gap ends; it begins behind the head.
    gap_end: u64,
}

impl Kept {
    /// Open it, made if it is not there, and append to it.
    pub(super) fn open(path: &Utf8Path, limits: Limits) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let at = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, at, full: false, limits, gap_end: limits.head })
    }

    /// Its length, with the gap.
    pub(super) fn length(&self) -> u64 {
        self.at
    }

    /// Whether nothing more is written to it.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Append, as long as it is not full.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<Cut> {
        if self.full {
            return None;
        }
        if let Err(error) = self.file.write_all(bytes) {
            self.full = true;
            return Some(Cut::Full(format!("cannot write {}: {error}", self.path)));
        }
        self.at += bytes.len() as u64;
        self.bound()
    }

    /// Let go of what is neither the head nor the tail.
    fn bound(&mut self) -> Option<Cut> {
        let Limits { head, tail, step, most } = self.limits;
        if self.at < self.gap_end + tail + step {
            return None;
        }
        let end = (self.at - tail) / step * step;
        match gap::punch(&self.file, &(self.gap_end..end)) {
            Ok(()) => {
                let first = std::mem::replace(&mut self.gap_end, end) == head;
                first.then_some(Cut::Gap { head, tail })
            }
            Err(_) if self.at < most => None,
            Err(e) => {
                self.full = true;
                Some(Cut::Full(format!("{} has reached {most} bytes, and cannot have a gap: {e}", self.path)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::testing::scratch;

    const LIMITS: Limits = Limits { head: 1 << 20, tail: 1 << 20, step: 65536, most: 4 << 20 };

    #[test]
    fn a_flood_leaves_the_head_and_the_tail_where_they_came() {
        let (_keep, dir) = scratch();
        let path = dir.join("log");
        let mut kept = Kept::open(&path, LIMITS).unwrap();
        let chunk = b"0123456789abcde\n".repeat(1024);
        let told: Vec<_> = (0..2048).filter_map(|_| kept.take(&chunk)).collect();
        assert_eq!(told, [Cut::Gap { head: 1 << 20, tail: 1 << 20 }], "said once");
        assert_eq!(kept.length(), 32 << 20);
        kept.take(b"the end\n");
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!(meta.len(), kept.length());
        let blocks = std::os::unix::fs::MetadataExt::blocks(&meta) * 512;
        assert!(blocks <= (2 << 20) + 4 * 65536, "{blocks} bytes on the disk");
        let pieces = gap::pieces(&path, 0..u64::MAX).unwrap();
        assert_eq!((pieces.len(), pieces[0].offset, pieces[0].bytes.len()), (2, 0, 1 << 20));
        assert!(pieces[1].bytes.len() >= 1 << 20 && pieces[1].bytes.ends_with(b"the end\n"));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_once() {
        let (_keep, dir) = scratch();
        let mut kept = Kept::open(&dir.join("log"), LIMITS).unwrap();
        kept.file = File::options().write(true).open("/dev/full").unwrap();
        assert!(matches!(kept.take(b"x"), Some(Cut::Full(_))));
        assert_eq!((kept.take(b"x"), kept.is_full(), kept.length()), (None, true, 0));
    }
}
