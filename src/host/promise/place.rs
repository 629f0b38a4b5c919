//! Where promises are kept, and who may change them when.

use super::{Entry, Held, PromiseError};
use crate::deadline::{Deadline, boottime};
use crate::dirs::names_in;
use crate::lock::Lock;
use crate::memory;
use crate::presence::{Presence, ignore};
use crate::process::ProcessId;
use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{Access, FlockOperation, Mode, OFlags, access, flock, open};
use std::fs::Permissions;
use std::io::{Error, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::time::Duration;

/// Where all users of a host see them, with the mode that such a folder has: it goes with the host's boot, and so do VMs.
const SHARED: &str = "/run/lock/boma-qemu";
const MODE: u32 = 0o1777;
/// Names another folder, which several containers of one host can share.
const VARIABLE: &str = "BOMA_PROMISES";
/// How long somebody may have the turn; it is a matter of milliseconds.
const LIMIT: Duration = Duration::from_secs(30);
/// How often a turn is tried.
const PERIOD: Duration = Duration::from_millis(20);
/// The longest promise that is read, in bytes.
const LONGEST: u64 = 4096;
/// How a promise's file ends.
const END: &str = ".promise";

/// The folder of promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    folder: Utf8PathBuf,
    /// Why the promises of others cannot be seen, where they cannot.
    alone: Option<String>,
}

impl Place {
    /// The folder that all users see, or one in `state` where there can be none. Nothing is made yet.
    pub fn find(state: &Utf8Path) -> Self {
        match std::env::var(VARIABLE).ok().filter(|path| !path.is_empty()) {
            Some(named) => Self { folder: named.into(), alone: None },
            None => Self::shared_or(SHARED.into(), state),
        }
    }

    fn shared_or(shared: Utf8PathBuf, state: &Utf8Path) -> Self {
        match can_be_shared(&shared) {
            Ok(()) => Self { folder: shared, alone: None },
            Err(why) => {
                let alone = format!("{shared} cannot be used ({why}), so only what runs with {state} is counted");
                Self { folder: state.join("promises"), alone: Some(alone) }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn in_folder(folder: Utf8PathBuf) -> Self {
        Self { folder, alone: None }
    }

    #[cfg(test)]
    pub(super) fn folder(&self) -> &Utf8Path {
        &self.folder
    }

    /// Make the folder, if it is not there.
    pub(super) fn make(&self) -> Result<(), PromiseError> {
        match std::fs::create_dir(&self.folder) {
            // The caller's umask takes bits away; and no other user may use a private folder.
            Ok(()) => std::fs::set_permissions(&self.folder, Permissions::from_mode(self.mode())),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e),
        }
        .map_err(io(&self.folder))
    }

    fn mode(&self) -> u32 {
        if self.folder == SHARED { MODE } else { 0o700 }
    }

    /// Whether there has been a promise.
    pub(super) fn is_there(&self) -> bool {
        !Presence::of(&self.folder).is_gone()
    }

    /// Why the promises of others are not seen, if they are not.
    pub fn alone(&self) -> Option<&str> {
        self.alone.as_deref()
    }

    /// Be alone with the promises. Any user who may read the folder can take its lock.
    pub(super) fn turn(&self) -> Result<Turn<'_>, PromiseError> {
        let failed = io(&self.folder);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = open(self.folder.as_std_path(), flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let deadline = Deadline::after(LIMIT);
        loop {
            // Not with a lock's file: that would have to be writable for everybody.
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Turn { folder: &self.folder, _lock: lock }),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if !deadline.passed() => {
                    std::thread::sleep(PERIOD);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(failed(Error::other(format!("somebody has kept it locked for {LIMIT:?}"))));
                }
                Err(errno) => return Err(failed(errno.into())),
            }
        }
    }

    /// Remove promises without a holder, as far as this user may.
    pub fn clear(&self) {
        if !self.is_there() {
            return;
        }
        ignore(self.turn().and_then(|turn| turn.others(None)), "the next run does the same");
    }
}

/// Whether a folder is one that all share, or could be made one.
fn can_be_shared(folder: &Utf8Path) -> std::io::Result<()> {
    match folder.symlink_metadata() {
        Ok(meta) if meta.is_dir() && meta.mode() & 0o7777 == MODE => Ok(()),
        Ok(_) => Err(Error::other(format!("it is no folder of mode {MODE:o}"))),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let above = folder.parent().unwrap_or(folder);
            Ok(access(above.as_std_path(), Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(e) => Err(e),
    }
}

fn io(path: &Utf8Path) -> impl Fn(Error) -> PromiseError {
    let path = path.to_owned();
    move |source| PromiseError::Io { path: path.clone(), source }
}

/// The time by which those who come are put in order, in nanoseconds since the host's boot.
pub(super) fn now() -> u64 {
    (boottime() * 1e9) as u64
}

/// The time in which no other process changes a promise.
pub(super) struct Turn<'a> {
    folder: &'a Utf8Path,
    _lock: OwnedFd,
}

impl Turn<'_> {
    /// What others hold or wait for, the oldest first. Promises without a holder are removed on the way.
    pub(super) fn others(&self, own: Option<&Own>) -> Result<Vec<Held>, PromiseError> {
        let names = names_in(self.folder).map_err(|e| io(self.folder)(Error::other(e)))?;
        let mut others = Vec::new();
        for path in names.iter().filter(|name| name.ends_with(END)).map(|name| self.folder.join(name)) {
            match Lock::look(&path) {
                _ if own.is_some_and(|own| own.path == path) => {}
                // Another user's stays, and counts for nothing.
                Presence::Gone => ignore(std::fs::remove_file(&path), "its holder is gone"),
                Presence::There => others.extend(read(&path)?),
                Presence::Unknown(why) => return Err(io(&path)(Error::other(why))),
            }
        }
        others.sort_by_key(|held| (held.entry.ticket, held.entry.by.pid));
        Ok(others)
    }

    /// Write down a promise, or a wish.
    pub(super) fn add(&self, entry: &Entry) -> Result<Own, PromiseError> {
        let path = self.folder.join(format!("{}-{}{END}", entry.ticket, entry.by.pid));
        let lock = Lock::try_take(&path, &text(entry))?;
        let own = Own { lock, path };
        // Others read it, whatever the caller's umask is.
        own.lock.file().set_permissions(Permissions::from_mode(0o644)).map_err(io(&own.path))?;
        Ok(own)
    }
}

fn text(entry: &Entry) -> String {
    // Plain data with string keys: serialising it cannot fail.
    serde_json::to_string(entry).unwrap_or_default()
}

/// A promise that somebody holds; none if it was let go of meanwhile.
fn read(path: &Utf8Path) -> Result<Option<Held>, PromiseError> {
    let failed = io(path);
    let mut options = std::fs::OpenOptions::new();
    let file =
        match options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()).open(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(&failed)?,
        };
    let uid = file.metadata().map_err(&failed)?.uid();
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).map_err(&failed)?;
    let entry: Entry = serde_json::from_slice(&bytes).map_err(|e| failed(e.into()))?;
    let used = entry.monitor.filter(ProcessId::is_alive).and_then(|monitor| memory::of_children(monitor.pid));
    Ok(Some(Held { entry, uid, used }))
}

/// A promise's file that this process holds.
#[derive(Debug)]
pub(super) struct Own {
    lock: Lock,
    path: Utf8PathBuf,
}

impl Own {
    pub(super) fn lock(&self) -> &Lock {
        &self.lock
    }

    /// The same with another text.
    pub(super) fn rewrite(&self, _: &Turn<'_>, entry: &Entry) -> Result<(), PromiseError> {
        self.lock.sign_again(&text(entry)).map_err(io(&self.path))
    }

    /// Say who holds it from now on.
    pub(super) fn held_by(&self, monitor: ProcessId) -> Result<(), PromiseError> {
        let place = Place { folder: self.path.parent().unwrap_or(&self.path).to_owned(), alone: None };
        let turn = place.turn()?;
        match read(&self.path)? {
            Some(held) => self.rewrite(&turn, &Entry { monitor: Some(monitor), ..held.entry }),
            None => Ok(()),
        }
    }

    pub(super) fn remove(&self) {
        ignore(std::fs::remove_file(&self.path), "a promise without a holder counts for nothing");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch;

    #[test]
    fn the_folder_is_shared_where_it_can_be_and_else_it_is_said_that_others_are_not_seen() {
        let (_keep, dir) = scratch();
        let (state, shared) = (dir.join("s"), dir.join("boma-qemu"));
        let find = || Place::shared_or(shared.clone(), &state);
        assert_eq!(find(), Place { folder: shared.clone(), alone: None });
        assert!(!shared.exists(), "a look makes nothing");
        std::fs::create_dir(&shared).unwrap();
        std::fs::set_permissions(&shared, Permissions::from_mode(0o755)).unwrap();
        let other = find();
        assert_eq!(other.folder, state.join("promises"));
        assert!(other.alone().unwrap().contains("mode 1777"), "{other:?}");
        std::fs::set_permissions(&shared, Permissions::from_mode(MODE)).unwrap();
        assert_eq!(find().alone(), None);
        std::fs::remove_dir(&shared).unwrap();
        std::os::unix::fs::symlink(&dir, &shared).unwrap();
        assert!(find().alone().is_some(), "what others can lead elsewhere is not followed");
        std::fs::remove_file(&shared).unwrap();
        let nowhere = Place::shared_or(dir.join("none/boma-qemu"), &state);
        assert!(nowhere.alone().is_some());
    }

    #[test]
    fn who_keeps_the_turn_too_long_is_not_waited_for_for_ever() {
        let (_keep, dir) = scratch();
        let place = Place::in_folder(dir);
        let turn = place.turn().unwrap();
        let (send, got) = std::sync::mpsc::channel();
        let other = place.clone();
        let waits = std::thread::spawn(move || send.send(other.turn().is_ok()).unwrap());
        assert!(got.recv_timeout(Duration::from_millis(200)).is_err(), "it is alone");
        drop(turn);
        assert!(got.recv_timeout(Duration::from_secs(5)).unwrap());
        waits.join().unwrap();
    }
}
