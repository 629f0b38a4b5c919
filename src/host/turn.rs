//! What the networks of several users and checkouts share, where they are on the host itself: names in one network
//! namespace, and settings of the kernel that each of them needs.
//!
//! It is kept in a folder of root's that lies outside every state folder and goes with the host's memory, for so do the
//! changes. An ordinary user (with CAP_NET_ADMIN) cannot write there, and shares nothing.

use super::dirs::{DirError, make_private, write_private};
use super::lock::{Lock, LockError};
use super::presence::Presence;
use super::process::ProcessId;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use std::io::{Error, ErrorKind};
use std::time::Duration;

/// Where it is kept.
const FOLDER: &str = "/run/boma-qemu";
/// How long to wait for one's turn. A network is made in 0.3 s, and given up after 20 s.
const LIMIT: Duration = Duration::from_secs(30);

/// Wait for one's turn to make or remove a network on the host: whoever checks that a name is free and then takes it,
/// or removes what bears it, must be alone. None for a user who cannot share.
pub fn turn() -> Result<Option<Lock>, LockError> {
    let folder = Utf8Path::new(FOLDER);
    match make_private(folder) {
        Ok(()) => {}
        Err(DirError::Io { source, .. }) if may_not(&source) => return Ok(None),
        // It is root's.
        Err(DirError::Unfit { .. }) if !rustix::process::geteuid().is_root() => return Ok(None),
        Err(DirError::Io { path, source }) => return Err(LockError::Io { path, source }),
        Err(other) => return Err(LockError::Io { path: folder.to_owned(), source: Error::other(other) }),
    }
    let who = format!("pid {}, which makes or removes a network on the host", std::process::id());
    Lock::take_within(&file("lock"), &who, LIMIT).map(Some)
}

/// Who needs a setting, and what it was before the first of them came.
#[derive(Serialize, Deserialize)]
struct Shared {
    old: String,
    users: Vec<ProcessId>,
}

impl Shared {
    /// What users that may be alive have written down, without `leaving`; none where there are none of them, and for a
    /// user who cannot share.
    fn read(path: &Utf8Path, leaving: Option<ProcessId>) -> std::io::Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound || may_not(&e) => return Ok(None),
            Err(e) => return Err(Error::new(e.kind(), format!("cannot read {path}: {e}"))),
        };
        let mut shared: Self = serde_json::from_slice(&bytes)
            .map_err(|e| Error::other(format!("cannot understand {path}, which says who needs a setting: {e}")))?;
        shared.users.retain(|user| Some(*user) != leaving && user.is_alive());
        Ok((!shared.users.is_empty()).then_some(shared))
    }

    fn write(&self, path: &Utf8Path) -> std::io::Result<()> {
        let text = serde_json::to_vec(self)?;
        match write_private(path, text) {
            // Without the folder nothing is shared.
            Err(DirError::Io { source, .. }) if may_not(&source) || source.kind() == ErrorKind::NotFound => Ok(()),
            done => done.map_err(Error::other),
        }
    }
}

/// Whether it is another user's, or cannot be written by anybody: then this user shares nothing.
fn may_not(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

/// What a setting was before anybody of us changed it; `now` is what it is. Only in one's [`turn`].
pub fn before(key: &str, now: &str) -> std::io::Result<String> {
    Ok(Shared::read(&of(key), None)?.map_or_else(|| now.to_owned(), |shared| shared.old))
}

/// Write down that `user` needs a setting that was `old`. Only in one's [`turn`].
pub fn join(key: &str, old: &str, user: ProcessId) -> std::io::Result<()> {
    let path = of(key);
    let mut shared = Shared::read(&path, Some(user))?.unwrap_or(Shared { old: old.to_owned(), users: Vec::new() });
    shared.users.push(user);
    shared.write(&path)
}

/// Whether somebody else than `user` needs the setting.
pub fn needed(key: &str, user: ProcessId) -> Presence {
    match Shared::read(&of(key), Some(user)) {
        Ok(Some(_)) => Presence::There,
        Ok(None) => Presence::Gone,
        Err(e) => Presence::Unknown(e.to_string()),
    }
}

/// `user` needs the setting no longer; whether nobody else does, who would then put it back. Only in one's [`turn`].
pub fn leave(key: &str, user: ProcessId) -> std::io::Result<bool> {
    let path = of(key);
    match Shared::read(&path, Some(user))? {
        Some(shared) => shared.write(&path).map(|()| false),
        None => match std::fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound && !may_not(&e) => Err(e),
            _ => Ok(true),
        },
    }
}

fn of(key: &str) -> Utf8PathBuf {
    file(&key.replace('/', "."))
}

/// A file about this network namespace: containers can share `/run`, and have settings of their own.
fn file(name: &str) -> Utf8PathBuf {
    let namespace = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
    let number: String = namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    Utf8Path::new(FOLDER).join(format!("{number}.{name}"))
}
