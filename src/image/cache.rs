//! The folder of golden images: what is there, what is still right, and how a wanted one gets there.

use super::build::build;
use super::catalogue::{Catalogue, Entry, Wanted};
use super::error::{ImageError, Patience};
use super::fetch::{fetch, published};
use super::file;
use super::inspect::inspect;
use super::record::{self, Origin, Record};
use super::trust::{Item, Shelf, Worth};
use super::watch::Watch;
use camino::{Utf8Path, Utf8PathBuf};
use host::deadline::PROBE_PERIOD;
use host::dirs::{Dirs, Use, make};
use host::lock::{Lock, LockError};
use host::names::DiskFormat;
use host::presence::ignore;
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
    /// The file, absolute; what is called like a record and is none, by its own name.
    pub path: Utf8PathBuf,
    /// The record that counts, if there is one.
    pub record: Option<Record>,
    /// Whether a run that wants this image would take this file.
    pub current: bool,
    /// Why no run takes it, if none does.
    pub refused: Option<String>,
    /// What is wrong with it, if it was to be verified: its bytes are other ones, or nothing says which they must be.
    pub fault: Option<String>,
}

/// The cache folder of this user, and the one that root may have filled for all.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: Utf8PathBuf,
    shared: Option<Utf8PathBuf>,
    held: Option<Utf8PathBuf>,
    pins: Catalogue,
    patience: Patience,
}

impl Cache {
    /// The cache of this invocation: its folder, which may not exist yet, and beside it what is in [`SHARED`].
    pub fn of(dirs: &Dirs) -> Self {
        Self::new(&dirs.cache).holding(dirs.state.join("images"))
    }

    /// A cache in that folder, for a user who keeps no records of their own: in one that others can write to, only what
    /// a catalogue pins counts.
    pub fn new(dir: &Utf8Path) -> Self {
        Self { shared: Some(SHARED.into()), ..Self::alone(dir, Patience::default()) }
    }

    /// The same, which looks nowhere else.
    pub fn alone(dir: &Utf8Path, patience: Patience) -> Self {
        Self { dir: dir.to_owned(), shared: None, held: None, pins: Catalogue::default(), patience }
    }

    /// The same, with a private folder for this user's own records of images in a cache that others can write to.
    pub fn holding(self, records: impl Into<Utf8PathBuf>) -> Self {
        Self { held: Some(records.into()), ..self }
    }

    /// The same, with the digests that the catalogue pins, for the commands that take no catalogue.
    pub fn pinned(self, catalogue: Catalogue) -> Self {
        Self { pins: catalogue, ..self }
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
        if let Some(golden) = self.find(name, catalogue)? {
            return Ok(golden);
        }
        let _lock = self.lock(name, watch)?;
        // Another run may have brought it while we waited for the lock.
        if let Some(golden) = self.find(name, catalogue)? {
            return Ok(golden);
        }
        for Item { path, worth } in self.own().items(catalogue)? {
            if let Worth::Refused(why) = worth {
                watch.say(&format!("{path} is not taken: {why}"));
            }
        }
        let record = match self.fetch_locked(name, entry, watch) {
            Err(ImageError::NotPublished { .. }) => self.build_locked(name, entry, watch)?,
            Err(error) if error.is_network() => {
                watch.say(&format!("{error}"));
                watch.say(&format!("building an equivalent {name} from this machine's Debian mirror instead"));
                self.build_locked(name, entry, watch)?
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
        Ok(golden(&self.dir, self.build_locked(name, entry, watch)?))
    }

    /// All golden images, newest first, and what is called like one.
    pub fn list(&self) -> Result<Vec<Listed>, ImageError> {
        let mut listed: Vec<Listed> = Vec::new();
        for Item { path, worth } in self.items(&self.pins)? {
            let (record, counts, refused) = match worth {
                Worth::Counts(record) | Worth::Pinned(record) => (Some(record), true, None),
                Worth::NotPinned(record) => (Some(record), false, Some("profiles/images.json pins another one".into())),
                Worth::Refused(why) => (None, false, Some(why)),
            };
            let is_first = |record: &Record| {
                !listed
                    .iter()
                    .any(|other| other.current && other.record.as_ref().is_some_and(|r| r.image == record.image))
            };
            let current = counts && record.as_ref().is_some_and(is_first);
            listed.push(Listed { path, record, current, refused, fault: None });
        }
        Ok(listed)
    }

    /// The same list, each file read whole and compared with the record that counts.
    pub fn verify(&self) -> Result<Vec<Listed>, ImageError> {
        let mut listed = self.list()?;
        for one in &mut listed {
            let dir = one.path.parent().unwrap_or(&self.dir);
            one.fault = match &one.record {
                Some(record) => record::verify(dir, record).err().map(|error| error.to_string()),
                None => one.refused.clone(),
            };
        }
        Ok(listed)
    }

    /// The newest cached image of that name that may be taken, the user's own folder first.
    fn find(&self, name: &str, catalogue: &Catalogue) -> Result<Option<Golden>, ImageError> {
        for shelf in self.shelves() {
            for Item { path, worth } in shelf.items(catalogue)? {
                match worth {
                    Worth::Counts(record) if record.image == name => {
                        if let Some(seen) = record::verify_cheaply(shelf.dir, &record)? {
                            ignore(shelf.keep(&seen), "the next run reads the file again");
                        }
                        return Ok(Some(golden(shelf.dir, record)));
                    }
                    Worth::Pinned(said) if said.image == name => {
                        let source = catalogue.entry(name)?.published(name)?;
                        return Ok(Some(golden(shelf.dir, vouch(shelf, &path, &said, source.address.clone())?)));
                    }
                    _ => {}
                }
            }
        }
        Ok(None)
    }

    fn fetch_locked(&self, name: &str, entry: &Entry, watch: &dyn Watch) -> Result<Record, ImageError> {
        let source = entry.published(name)?;
        let want = match &source.sha512 {
            Some(pin) => pin.clone(),
            None => published(source, self.patience, watch)?,
        };
        let shelf = self.own();
        for found in record::read_all(&self.dir)? {
            let Ok(record) = found.record else { continue };
            let path = self.dir.join(&record.file);
            if record.image != name || record.sha512 != want {
                continue;
            }
            match file::look(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(ImageError::InTheWay { path, why: e.to_string() }),
                Ok(_) => {}
            }
            watch.say(&format!("{} is what is wanted; reading it whole", record.file));
            return match found.is_ours && shelf.is_private() && matches!(record.origin, Origin::Fetched { .. }) {
                true => record::verify(&self.dir, &record).map(|()| record),
                // What is wanted is known now from whoever publishes it; whose the record is does not matter.
                false => vouch(shelf, &path, &record, source.address.clone()),
            };
        }
        let record = fetch(&self.dir, name, source, want, self.patience, watch)?;
        shelf.keep(&record)?;
        Ok(record)
    }

    fn build_locked(&self, name: &str, entry: &Entry, watch: &dyn Watch) -> Result<Record, ImageError> {
        let record = build(&self.dir, name, &entry.build, watch)?;
        self.own().keep(&record)?;
        Ok(record)
    }

    /// One at a time brings an image; the others wait and find it. A fetch takes minutes, so the wait can
    /// be stopped.
    fn lock(&self, name: &str, watch: &dyn Watch) -> Result<Lock, ImageError> {
        make(&self.dir, Use::Cache)?;
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

    fn items(&self, catalogue: &Catalogue) -> Result<Vec<Item>, ImageError> {
        let mut items = Vec::new();
        for shelf in self.shelves() {
            items.extend(shelf.items(catalogue)?);
        }
        Ok(items)
    }

    fn own(&self) -> Shelf<'_> {
        Shelf { dir: &self.dir, held: self.held.as_deref() }
    }

    /// Folders to look in. The shared one counts only if nobody but root can have put something there.
    fn shelves(&self) -> impl Iterator<Item = Shelf<'_>> {
        let shared = self.shared.as_deref().filter(|shared| *shared != self.dir && belongs_to_root(shared));
        std::iter::once(self.own()).chain(shared.map(|dir| Shelf { dir, held: None }))
    }
}

/// Read an image whole, whose digest is known from elsewhere, and keep a record of one's own about it.
fn vouch(shelf: Shelf<'_>, path: &Utf8Path, said: &Record, address: String) -> Result<Record, ImageError> {
    record::verify(shelf.dir, said)?;
    let record = record::describe(path, &said.image, Origin::Fetched { address }, said.sha512.clone())?;
    shelf.keep(&record)?;
    Ok(record)
}

fn belongs_to_root(dir: &Utf8Path) -> bool {
    std::fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == 0 && meta.mode() & 0o022 == 0)
}

fn golden(dir: &Utf8Path, record: Record) -> Golden {
    let (format, virtual_bytes) = (record.format, record.virtual_bytes);
    Golden { path: dir.join(&record.file), format, virtual_bytes, record: Some(record) }
}
