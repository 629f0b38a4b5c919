//! What is known about a golden file: where it came from and what it was when it came.
//!
//! A golden file is called `<image>-<12 digits of its SHA-512>.qcow2` and its record is the same with
//! `.json`. A newer one gets another name, so overlays on the older one stay whole.

use super::error::{ImageError, io};
use super::inspect::inspect;
use super::{catalogue, file, sums};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{is_same_file, names_in, only_ours_to_write};
use host::names::DiskFormat;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// Bytes of a record that are read at most.
const LIMIT: u64 = 64 << 10;

/// Where a golden file came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "how")]
pub enum Origin {
    /// Downloaded and checked against the published digest.
    Fetched {
        /// From there.
        address: String,
    },
    /// Built on this machine from Debian packages.
    Built {
        /// The Debian release.
        suite: String,
    },
}

impl Origin {
    /// One word for tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Fetched { .. } => "fetched",
            Self::Built { .. } => "built",
        }
    }
}

/// The record beside a golden file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The image's name in the catalogue.
    pub image: String,
    /// The golden file's name in the same folder.
    pub file: String,
    /// Where it came from.
    pub origin: Origin,
    /// SHA-512 of the whole file, hexadecimal.
    pub sha512: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its format, to be named to QEMU.
    pub format: DiskFormat,
    /// The size of the disk that a guest sees, bytes.
    pub virtual_bytes: u64,
    /// When it came, UTC, RFC 3339.
    pub date: String,
    /// What the file looked like to `stat`; as long as it does, its bytes need not be read again.
    pub stamp: Stamp,
}

/// What `stat` tells without reading the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Last change of the contents, seconds since 1970.
    pub mtime: i64,
    /// And the nanoseconds of it.
    pub mtime_ns: i64,
    /// Last change of the file in any way, seconds since 1970. Unlike the others it cannot be set by whoever owns the
    /// file. Records of older versions do not have it, and so never match.
    #[serde(default)]
    pub ctime: i64,
    /// And the nanoseconds of it.
    #[serde(default)]
    pub ctime_ns: i64,
}

impl Stamp {
    /// The stamp of a file as it is now.
    pub fn of(path: &Utf8Path) -> Result<Self, ImageError> {
        Ok(Self::from(&file::look(path).map_err(io("read", path))?))
    }
}

impl From<&std::fs::Metadata> for Stamp {
    fn from(meta: &std::fs::Metadata) -> Self {
        Self {
            inode: meta.ino(),
            bytes: meta.len(),
            mtime: meta.mtime(),
            mtime_ns: meta.mtime_nsec(),
            ctime: meta.ctime(),
            ctime_ns: meta.ctime_nsec(),
        }
    }
}

/// The name of a golden file.
pub(super) fn file_name(image: &str, sha512: &str) -> String {
    format!("{image}-{}.qcow2", &sha512[..12])
}

/// Turn a finished temporary file into a golden one: looked at, read-only, renamed. `bytes` is the open file that the
/// digest is of. Its record is the caller's to write, after it: so there is never a record without its file.
pub(super) fn adopt(
    dir: &Utf8Path,
    image: &str,
    finished: &Utf8Path,
    bytes: &File,
    origin: Origin,
    sha512: String,
) -> Result<Record, ImageError> {
    let golden = dir.join(file_name(image, &sha512));
    let own = bytes.metadata().map_err(io("read", finished))?;
    // Where others can write, another file may lie at either name by now.
    match file::look(&golden) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Ok(there) if there.uid() == own.uid() => {}
        Ok(there) => {
            let why = format!("it belongs to uid {}, and is not the image that was wanted", there.uid());
            return Err(ImageError::InTheWay { path: golden, why });
        }
        Err(e) => return Err(ImageError::InTheWay { path: golden, why: e.to_string() }),
    }
    bytes.set_permissions(std::fs::Permissions::from_mode(0o444)).map_err(io("set the permissions of", finished))?;
    bytes.sync_all().map_err(io("write", finished))?;
    is_the_same(bytes, finished)?;
    inspect(finished)?;
    std::fs::rename(finished, &golden).map_err(io("make", &golden))?;
    is_the_same(bytes, &golden)?;
    describe(&golden, image, origin, sha512)
}

/// Whether an open file is still the one at a path.
fn is_the_same(open: &File, path: &Utf8Path) -> Result<(), ImageError> {
    let (own, there) = (open.metadata().map_err(io("read", path))?, file::look(path).map_err(io("read", path))?);
    match is_same_file(&own, &there) {
        true => Ok(()),
        false => Err(ImageError::InTheWay { path: path.to_owned(), why: "somebody has put it there meanwhile".into() }),
    }
}

/// The record of a golden file whose bytes are known to have that digest.
pub(super) fn describe(golden: &Utf8Path, image: &str, origin: Origin, sha512: String) -> Result<Record, ImageError> {
    let (disk, stamp) = (inspect(golden)?, Stamp::of(golden)?);
    let now = std::time::SystemTime::now();
    let seconds = now.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Ok(Record {
        image: image.to_owned(),
        file: file_name(image, &sha512),
        origin,
        sha512,
        bytes: stamp.bytes,
        format: disk.format,
        virtual_bytes: disk.virtual_bytes,
        date: utc(seconds),
        stamp,
    })
}

/// Write a record into a folder, readable by all, whole or not at all. One that is there is replaced only if it is ours
/// to replace.
pub(super) fn write(dir: &Utf8Path, record: &Record, replace: bool) -> Result<(), ImageError> {
    let path = path_of(dir, record);
    let failed = |source| ImageError::Io { doing: "write", path: path.clone(), source };
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    serde_json::to_writer_pretty(&mut file, record).map_err(|e| failed(e.into()))?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(failed)?;
    let done = if replace { file.persist(&path) } else { file.persist_noclobber(&path) };
    match done {
        Err(e) if !replace && e.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        done => done.map(drop).map_err(|e| failed(e.error)),
    }
}

/// Where the record of an image lies in a folder.
pub(super) fn path_of(dir: &Utf8Path, record: &Record) -> Utf8PathBuf {
    dir.join(&record.file).with_extension("json")
}

/// What is called like a record.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its name, absolute.
    pub path: Utf8PathBuf,
    /// The record, or why it is none.
    pub record: Result<Record, String>,
    /// Whether only this user and root can have written it.
    pub is_ours: bool,
}

/// All that is called like a record in a folder, newest first, and then what is none. A folder that does not exist has
/// none.
pub(super) fn read_all(dir: &Utf8Path) -> Result<Vec<Found>, ImageError> {
    let mut found = Vec::new();
    for name in names_in(dir)? {
        let path = dir.join(&name);
        if !name.starts_with('.') && path.extension() == Some("json") {
            let is_ours = path.symlink_metadata().is_ok_and(|meta| only_ours_to_write(&meta));
            found.push(Found { record: read(&path), path, is_ours });
        }
    }
    let age = |found: &Found| {
        found.record.as_ref().ok().map(|record| (record.date.clone(), record.stamp.mtime, record.stamp.mtime_ns))
    };
    found.sort_by_key(|found| std::cmp::Reverse(age(found)));
    Ok(found)
}

/// Read one. Its name, and that of the file that it is about, follow from what it says: so it cannot lead elsewhere.
fn read(path: &Utf8Path) -> Result<Record, String> {
    let mut text = Vec::new();
    let file = file::open(path).map_err(|e| e.to_string())?;
    file.take(LIMIT).read_to_end(&mut text).map_err(|e| e.to_string())?;
    let record: Record = serde_json::from_slice(&text).map_err(|e| format!("it is no record: {e}"))?;
    if !(sums::is_hex(&record.sha512) && catalogue::is_name(&record.image)) {
        return Err("it is no record: its image's name or its SHA-512 is none".into());
    }
    let right = file_name(&record.image, &record.sha512);
    if record.file != right || path.with_extension("qcow2").file_name() != Some(&right) {
        return Err(format!("it is about {right}, and neither its own name nor the file in it fits that"));
    }
    Ok(record)
}

/// Read the whole file and compare it with its record.
pub(super) fn verify(dir: &Utf8Path, record: &Record) -> Result<(), ImageError> {
    let path = dir.join(&record.file);
    let got = sums::of_file(&path)?;
    if got == record.sha512 {
        return Ok(());
    }
    Err(ImageError::Changed { path, want: record.sha512.clone(), got })
}

/// Believe the stamp, where only this user and root can have written to the file; else read it whole. Hands back the
/// record with another stamp where that was another one (a restored backup, a copied cache), to be kept.
pub(super) fn verify_cheaply(dir: &Utf8Path, record: &Record) -> Result<Option<Record>, ImageError> {
    let path = dir.join(&record.file);
    let meta = file::look(&path).map_err(io("read", &path))?;
    let stamp = Stamp::from(&meta);
    if stamp == record.stamp && only_ours_to_write(&meta) {
        return Ok(None);
    }
    verify(dir, record)?;
    Ok((stamp != record.stamp).then(|| Record { stamp, ..record.clone() }))
}

/// Seconds since 1970 as RFC 3339 in UTC. The calendar arithmetic is Howard Hinnant's `civil_from_days`.
pub(super) fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86400 + 719_468, seconds % 86400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
