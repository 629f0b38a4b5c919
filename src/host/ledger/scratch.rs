//! A folder of our own for the length of one command: it goes with the value, and the ledger in it says what a killed command
//! has left.

use super::folder::{self, Whose};
use super::{Leak, LedgerError};
use crate::deadline::{Deadline, PROBE_PERIOD};
use crate::dirs::{DirError, names_in};
use camino::{Utf8Path, Utf8PathBuf};
use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// A folder that goes with this value.
#[derive(Debug)]
pub struct Scratch {
    path: Utf8PathBuf,
}

impl Scratch {
    /// Make one in a folder; its name begins with `prefix`.
    pub fn new(within: &Utf8Path, prefix: &str) -> Result<Self, LedgerError> {
        let io = |source| DirError::Io { path: within.to_owned(), source };
        let private = Permissions::from_mode(0o700);
        let made = tempfile::Builder::new().prefix(prefix).permissions(private).tempdir_in(within).map_err(io)?;
        let path = Utf8PathBuf::from_path_buf(made.keep()).map_err(|_| io(ErrorKind::InvalidFilename.into()))?;
        let scratch = Self { path };
        drop(folder::adopt(&scratch.path)?);
        Ok(scratch)
    }

    /// The folder.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed blocks nothing; `prune` reports it.
        drop(folder::remove(&self.path));
    }
}

/// Remove what killed commands have left in a folder under such names. Only where no other can be at work. Says what it has
/// removed, and what is still there and why; what only has such a name is among the latter, and stays.
pub fn clear(within: &Utf8Path, prefix: &str) -> Result<(Vec<Utf8PathBuf>, Vec<Leak>), DirError> {
    let (mut removed, mut leaks) = (Vec::new(), Vec::new());
    let names = names_in(within)?;
    for path in names.iter().filter(|name| name.starts_with(prefix)).map(|name| within.join(name)) {
        if path.symlink_metadata().is_ok_and(|meta| !meta.is_dir()) {
            continue;
        }
        match remove(&path) {
            left if left.is_empty() => removed.push(path),
            left => leaks.extend(left),
        }
    }
    Ok((removed, leaks))
}

/// The programs of a command that was killed have been killed with it, and may need a moment to end.
fn remove(path: &Utf8Path) -> Vec<Leak> {
    let deadline = Deadline::after(Duration::from_secs(2));
    loop {
        let left = folder::remove(path);
        if left.is_empty() || folder::whose(path) != Whose::Ours || deadline.passed() {
            return left;
        }
        std::thread::sleep(PROBE_PERIOD);
    }
}
