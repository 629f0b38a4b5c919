//! What is known about a golden file: where it came from and what it was when it came.
//!
//! A golden file is called `<image>-<12 digits of its SHA-512>.qcow2` and its record is the same with
//! `.json`. A newer one gets another name, so overlays on the older one stay whole.

use super::error::ImageError;
use super::inspect::inspect;
use super::sums;
use crate::host::presence::ignore;
use crate::names::DiskFormat;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

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
}

impl Stamp {
    /// The stamp of a file as it is now.
    pub fn of(path: &Utf8Path) -> Result<Self, ImageError> {
        let meta = std::fs::metadata(path).map_err(|source| ImageError::Io {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { inode: meta.ino(), bytes: meta.len(), mtime: meta.mtime(), mtime_ns: meta.mtime_nsec() })
    }
}

/// Turn a finished temporary file into a golden one: looked at, read-only, renamed, recorded. Both last
/// steps are renames, the record last, so there is never a record without its file.
pub(super) fn adopt(
    dir: &Utf8Path,
    image: &str,
    finished: &Utf8Path,
    origin: Origin,
    sha512: String,
) -> Result<Record, ImageError> {
    let disk = inspect(finished)?;
    let file = format!("{image}-{}.qcow2", &sha512[..12]);
    let golden = dir.join(&file);
    let io = |doing, path: &Utf8Path| {
        let path = path.to_owned();
        move |source| ImageError::Io { doing, path, source }
    };
    let mode = std::fs::Permissions::from_mode(0o444);
    std::fs::set_permissions(finished, mode).map_err(io("set the permissions of", finished))?;
    std::fs::File::open(finished).and_then(|f| f.sync_all()).map_err(io("write", finished))?;
    std::fs::rename(finished, &golden).map_err(io("make", &golden))?;
    let stamp = Stamp::of(&golden)?;
    let now = std::time::SystemTime::now();
    let seconds = now.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let record = Record {
        image: image.to_owned(),
        file,
        origin,
        sha512,
        bytes: stamp.bytes,
        format: disk.format,
        virtual_bytes: disk.virtual_bytes,
        date: utc(seconds),
        stamp,
    };
    write(dir, &record)?;
    Ok(record)
}

/// Write the record beside its file, readable by all, whole or not at all.
pub(super) fn write(dir: &Utf8Path, record: &Record) -> Result<(), ImageError> {
    let path = dir.join(&record.file).with_extension("json");
    let io = |source| ImageError::Io { doing: "write", path: path.clone(), source };
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(io)?;
    serde_json::to_writer_pretty(&mut file, record).map_err(|e| io(e.into()))?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io)?;
    file.persist(&path).map_err(|e| io(e.error))?;
    Ok(())
}

/// All records of a folder whose file exists, newest first. A folder that does not exist has none.
pub(super) fn read_all(dir: &Utf8Path) -> Result<Vec<Record>, ImageError> {
    let io = |source| ImageError::Io { doing: "read", path: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io)?,
    };
    let mut records = Vec::new();
    for entry in entries {
        let path = entry.map_err(io)?.path();
        let Ok(path) = Utf8PathBuf::from_path_buf(path) else { continue };
        let hidden = path.file_name().is_none_or(|name| name.starts_with('.'));
        if hidden || path.extension() != Some("json") {
            continue;
        }
        // A file that is no record is somebody else's; a record must not lead out of the folder.
        let text = std::fs::read(&path).map_err(io)?;
        let Ok(record) = serde_json::from_slice::<Record>(&text) else { continue };
        if path.with_extension("qcow2").file_name() == Some(&record.file) && dir.join(&record.file).is_file() {
            records.push(record);
        }
    }
    let age = |record: &Record| (record.date.clone(), record.stamp.mtime, record.stamp.mtime_ns);
    records.sort_by_key(|record| std::cmp::Reverse(age(record)));
    Ok(records)
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

/// Believe the stamp; read the whole file only where it differs from the record.
pub(super) fn verify_cheaply(dir: &Utf8Path, record: &Record) -> Result<(), ImageError> {
    let stamp = Stamp::of(&dir.join(&record.file))?;
    if stamp == record.stamp {
        return Ok(());
    }
    verify(dir, record)?;
    // Same bytes, other stamp (a restored backup, a copied cache): remember it where we may.
    ignore(write(dir, &Record { stamp, ..record.clone() }), "the next run reads the file again");
    Ok(())
}

/// Seconds since 1970 as RFC 3339 in UTC. The calendar arithmetic is Howard Hinnant's `civil_from_days`.
fn utc(seconds: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn adopted(dir: &Utf8Path) -> Record {
        let temporary = dir.join(".part");
        let mut disk = [0; 512];
        disk[510..].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(&temporary, disk).unwrap();
        let digest = sums::of_file(&temporary).unwrap();
        adopt(dir, "a", &temporary, Origin::Built { suite: "trixie".into() }, digest).unwrap()
    }

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        (dir, path)
    }

    #[test]
    fn dates_are_those_of_date() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_174_261), "2026-11-20T11:31:01Z");
    }

    #[test]
    fn an_adopted_file_is_read_only_recorded_and_verified() {
        let (_keep, dir) = folder();
        let record = adopted(&dir);
        let mode = std::fs::metadata(dir.join(&record.file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o444);
        assert_eq!(read_all(&dir).unwrap(), std::slice::from_ref(&record));
        verify(&dir, &record).unwrap();
        verify_cheaply(&dir, &record).unwrap();
    }

    #[test]
    fn a_changed_file_is_caught_cheaply_by_its_stamp() {
        let (_keep, dir) = folder();
        let record = adopted(&dir);
        std::fs::remove_file(dir.join(&record.file)).unwrap();
        std::fs::write(dir.join(&record.file), "dusk").unwrap();
        let error = verify_cheaply(&dir, &record).unwrap_err();
        assert!(matches!(error, ImageError::Changed { .. }), "{error}");
    }

    #[test]
    fn a_copied_cache_is_read_once_and_believed_again() {
        let (_keep, dir) = folder();
        let mut record = adopted(&dir);
        record.stamp.inode += 1;
        write(&dir, &record).unwrap();
        verify_cheaply(&dir, &record).unwrap();
        assert_eq!(read_all(&dir).unwrap()[0].stamp, Stamp::of(&dir.join(&record.file)).unwrap());
    }

    #[test]
    fn a_record_that_leads_elsewhere_is_ignored() {
        let (_keep, dir) = folder();
        let mut record = adopted(&dir);
        let path = dir.join(&record.file).with_extension("json");
        record.file = "../../etc/passwd".into();
        std::fs::write(path, serde_json::to_vec(&record).unwrap()).unwrap();
        assert!(read_all(&dir).unwrap().is_empty());
    }
}
