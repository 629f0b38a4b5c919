//! The folder of golden images: what is there, what is still right, and how a wanted one gets there.

use super::build::build;
use super::catalogue::{Catalogue, Entry, Wanted};
use super::error::{ImageError, Patience};
use super::fetch::{fetch, published};
use super::inspect::inspect;
use super::record::{self, Origin, Record};
use super::watch::Watch;
use crate::host::deadline::PROBE_PERIOD;
use crate::host::lock::{Lock, LockError};
use crate::names::DiskFormat;
use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use std::os::unix::fs::MetadataExt;

/// Where root keeps golden images for everybody.
pub const SHARED: &str = "/var/lib/boma-integration";

/// A golden image, ready to stand under an overlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Golden {
    /// The file, absolute. It is never written to.
    pub path: Utf8PathBuf,
    /// Its format, to be named to QEMU.
    pub format: DiskFormat,
    /// The size of the disk that the guest would see without an overlay, bytes.
    pub virtual_bytes: u64,
    /// What is known about it; nothing is about a file of the user's own.
    pub record: Option<Record>,
}

/// One line of `image list` and `image verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The file, absolute.
    pub path: Utf8PathBuf,
    /// Its record.
    pub record: Record,
    /// Whether a run that wants this image would take this file.
    pub current: bool,
    /// What is wrong with it, if it was verified and something is.
    pub fault: Option<String>,
}

/// The cache folder of this user, and the one that root may have filled for all.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: Utf8PathBuf,
    shared: Option<Utf8PathBuf>,
    patience: Patience,
}

impl Cache {
    /// A cache in that folder, which may not exist yet, and beside it what is in [`SHARED`].
    pub fn new(dir: &Utf8Path) -> Self {
        Self { dir: dir.to_owned(), shared: Some(SHARED.into()), patience: Patience::default() }
    }

    /// A cache that looks nowhere else.
    pub fn alone(dir: &Utf8Path, patience: Patience) -> Self {
        Self { dir: dir.to_owned(), shared: None, patience }
    }

    /// The wanted image: from the cache, else fetched, else (if the network is the reason) built.
    /// What is in the cache is only looked at with `stat` as long as that shows no change.
    pub fn ensure(&self, catalogue: &Catalogue, wanted: &Wanted, watch: &dyn Watch) -> Result<Golden, ImageError> {
        let name = match wanted {
            Wanted::File(path) => {
                let disk = inspect(path)?;
                let (path, format, virtual_bytes) = (disk.path, disk.format, disk.virtual_bytes);
                return Ok(Golden { path, format, virtual_bytes, record: None });
            }
            Wanted::Named(name) => name,
        };
        let entry = catalogue.entry(name)?;
        if let Some(golden) = self.find(name)? {
            return Ok(golden);
        }
        let _lock = self.lock(name, watch)?;
        // Another run may have brought it while we waited for the lock.
        if let Some(golden) = self.find(name)? {
            return Ok(golden);
        }
        let record = match self.fetch_locked(name, entry, watch) {
            Err(error) if error.is_network() => {
                watch.say(&format!("{error}"));
                watch.say(&format!("building an equivalent {name} from this machine's Debian mirror instead"));
                build(&self.dir, name, &entry.build, watch)?
            }
            other => other?,
        };
        Ok(golden(&self.dir, record))
    }

    /// Fetch what is published now, unless it is here already.
    pub fn fetch(&self, catalogue: &Catalogue, name: &str, watch: &dyn Watch) -> Result<Golden, ImageError> {
        let entry = catalogue.entry(name)?;
        let _lock = self.lock(name, watch)?;
        Ok(golden(&self.dir, self.fetch_locked(name, entry, watch)?))
    }

    /// Build a new equivalent, whatever is here already.
    pub fn build(&self, catalogue: &Catalogue, name: &str, watch: &dyn Watch) -> Result<Golden, ImageError> {
        let entry = catalogue.entry(name)?;
        let _lock = self.lock(name, watch)?;
        Ok(golden(&self.dir, build(&self.dir, name, &entry.build, watch)?))
    }

    /// All golden images, newest first.
    pub fn list(&self) -> Result<Vec<Listed>, ImageError> {
        let mut listed: Vec<Listed> = Vec::new();
        for dir in self.folders() {
            for record in record::read_all(dir)? {
                let current = !listed.iter().any(|other| other.record.image == record.image);
                listed.push(Listed { path: dir.join(&record.file), record, current, fault: None });
            }
        }
        Ok(listed)
    }

    /// The same list, each file read whole and compared with its record.
    pub fn verify(&self) -> Result<Vec<Listed>, ImageError> {
        let mut listed = self.list()?;
        for one in &mut listed {
            let dir = one.path.parent().unwrap_or(&self.dir);
            one.fault = record::verify(dir, &one.record).err().map(|error| error.to_string());
        }
        Ok(listed)
    }

    /// The newest cached image of that name, the user's own folder first.
    fn find(&self, name: &str) -> Result<Option<Golden>, ImageError> {
        for dir in self.folders() {
            if let Some(record) = record::read_all(dir)?.into_iter().find(|record| record.image == name) {
                record::verify_cheaply(dir, &record)?;
                return Ok(Some(golden(dir, record)));
            }
        }
        Ok(None)
    }

    fn fetch_locked(&self, name: &str, entry: &Entry, watch: &dyn Watch) -> Result<Record, ImageError> {
        let want = published(&entry.fetch, self.patience, watch)?;
        for record in record::read_all(&self.dir)? {
            let is_fetched = matches!(record.origin, Origin::Fetched { .. });
            if record.image == name && record.sha512 == want && is_fetched {
                record::verify(&self.dir, &record)?;
                watch.say(&format!("{} is what is published", record.file));
                return Ok(record);
            }
        }
        fetch(&self.dir, name, &entry.fetch, want, self.patience, watch)
    }

    /// One at a time brings an image; the others wait and find it. A fetch takes minutes, so the wait can
    /// be stopped.
    fn lock(&self, name: &str, watch: &dyn Watch) -> Result<Lock, ImageError> {
        std::fs::create_dir_all(&self.dir).map_err(|source| ImageError::Io {
            doing: "make",
            path: self.dir.clone(),
            source,
        })?;
        let path = self.dir.join(format!(".{name}.lock"));
        let mut told = false;
        loop {
            match Lock::try_take(&path, &format!("boma-qemu, pid {}", std::process::id())) {
                Err(LockError::Held { holder, .. }) => {
                    if !told {
                        watch.say(&format!("waiting: {holder} is bringing {name}"));
                        told = true;
                    }
                }
                other => return Ok(other?),
            }
            if watch.stopped() {
                return Err(ImageError::Stopped { doing: format!("waiting for {name}") });
            }
            std::thread::sleep(PROBE_PERIOD);
        }
    }

    /// Folders to look in. The shared one counts only if nobody but root can have put something there.
    fn folders(&self) -> impl Iterator<Item = &Utf8Path> {
        let shared = self.shared.as_deref().filter(|shared| *shared != self.dir && belongs_to_root(shared));
        std::iter::once(self.dir.as_path()).chain(shared)
    }
}

fn belongs_to_root(dir: &Utf8Path) -> bool {
    std::fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == 0 && meta.mode() & 0o022 == 0)
}

fn golden(dir: &Utf8Path, record: Record) -> Golden {
    let (format, virtual_bytes) = (record.format, record.virtual_bytes);
    Golden { path: dir.join(&record.file), format, virtual_bytes, record: Some(record) }
}
