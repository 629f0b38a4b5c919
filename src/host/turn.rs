//! What the networks of several users and checkouts share, where they are on the host itself: names in one network
//! namespace, and settings of the kernel that each of them needs.
//!
//! It is kept in a folder of root's that lies outside every state folder and goes with the host's memory, for so do the
//! changes. An ordinary user (with CAP_NET_ADMIN) cannot write there, and shares nothing.

use super::dirs::make_private;
use super::lock::{Lock, LockError};
use super::process::ProcessId;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where it is kept.
const FOLDER: &str = "/run/boma-qemu";
/// How long to wait for one's turn. A network is made in 0.3 s, and given up after 20 s.
const LIMIT: Duration = Duration::from_secs(30);

/// Wait for one's turn to make or remove a network on the host: whoever checks that a name is free and then takes it,
/// or removes what bears it, must be alone. None for a user who cannot share.
pub fn turn() -> Result<Option<Lock>, LockError> {
    let folder = Utf8Path::new(FOLDER);
    if make_private(folder).is_err() {
        return Ok(None);
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
    /// What living users have written down, without `leaving`.
    fn read(path: &Utf8Path, leaving: Option<ProcessId>) -> Option<Self> {
        let mut shared: Self = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        shared.users.retain(|user| Some(*user) != leaving && user.is_alive());
        (!shared.users.is_empty()).then_some(shared)
    }
}

/// What a setting was before anybody of us changed it; `now` is what it is. Only in one's [`turn`].
pub fn before(key: &str, now: &str) -> String {
    Shared::read(&of(key), None).map_or_else(|| now.to_owned(), |shared| shared.old)
}

/// Write down that `user` needs a setting that was `old`. Only in one's [`turn`].
pub fn join(key: &str, old: &str, user: ProcessId) {
    let path = of(key);
    let mut shared = Shared::read(&path, Some(user)).unwrap_or(Shared { old: old.to_owned(), users: Vec::new() });
    shared.users.push(user);
    // Without the folder nothing is shared.
    let _ = super::dirs::write_private(&path, serde_json::to_vec(&shared).unwrap_or_default());
}

/// Whether somebody alive but `user` needs the setting.
pub fn is_needed(key: &str, user: ProcessId) -> bool {
    Shared::read(&of(key), Some(user)).is_some()
}

/// `user` needs the setting no longer; whether nobody else does, who would then put it back. Only in one's [`turn`].
pub fn leave(key: &str, user: ProcessId) -> bool {
    let path = of(key);
    match Shared::read(&path, Some(user)) {
        Some(shared) => {
            let _ = super::dirs::write_private(&path, serde_json::to_vec(&shared).unwrap_or_default());
            false
        }
        None => {
            let _ = std::fs::remove_file(&path);
            true
        }
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
