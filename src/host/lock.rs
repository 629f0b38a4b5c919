//! Locks on files. A lock lives as long as its open file description: a child that inherits the
//! descriptor keeps it, and the kernel drops it with the last holder, even on SIGKILL.

use super::deadline::Deadline;
use crate::failure::{Blame, Exit};
use camino::{Utf8Path, Utf8PathBuf};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// How often a lock that is waited for is tried.
const PERIOD: Duration = Duration::from_millis(20);
/// How long a holder may take to write its name; a microsecond, but for a host that is very busy.
const SIGN_LIMIT: Duration = Duration::from_secs(1);

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("{path} is locked by {holder}")]
    Held {
        /// The lock file.
        path: Utf8PathBuf,
        /// What the holder wrote about itself.
        holder: String,
    },
    /// The file cannot be opened or locked.
    #[error("cannot lock {path}")]
    Io {
        /// The lock file.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
}

impl Blame for LockError {
    fn exit(&self) -> Exit {
        match self {
            Self::Held { .. } => Exit::Usage,
            Self::Io { .. } => Exit::Host,
        }
    }
}

impl Lock {
    /// Take the lock at once or say who has it. `who` is written into the file for the next one to read.
    pub fn try_take(path: &Utf8Path, who: &str) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let mut file = open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Self::sign(file, who).map_err(io),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { path: path.to_owned(), holder: holder(&mut file) }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Wait for the lock. Only for locks that are held for a moment (a shared counter, a ledger).
    pub fn take(path: &Utf8Path, who: &str) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let file = open(path).map_err(io)?;
        file.lock().map_err(io)?;
        Self::sign(file, who).map_err(io)
    }

    /// Wait for the lock, for `limit` at most; then the error says who has it.
    pub fn take_within(path: &Utf8Path, who: &str, limit: Duration) -> Result<Self, LockError> {
        let deadline = Deadline::after(limit);
        loop {
            match Self::try_take(path, who) {
                Err(LockError::Held { .. }) if !deadline.left().is_zero() => std::thread::sleep(PERIOD),
                done => return done,
            }
        }
    }

    /// Whether what is locked is still the file at `path`. If not, its folder was deleted or moved away under the
    /// holder, and nobody can find the holder any more.
    pub fn is_at(&self, path: &Utf8Path) -> bool {
        match (self.file.metadata(), path.metadata()) {
            (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
            (_, Err(e)) => !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
            (Err(_), _) => true,
        }
    }

    /// Whether somebody holds it now. A file that does not exist is held by nobody.
    pub fn is_held(path: &Utf8Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        matches!(file.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// The open file, to be inherited by the process that the lock stands for.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn sign(mut file: File, who: &str) -> std::io::Result<Self> {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{who}")?;
        Ok(Self { file })
    }
}

/// Who has signed it. Whoever has only just taken it may not have signed yet, or not to the line's end.
fn holder(file: &mut File) -> String {
    let deadline = Deadline::after(SIGN_LIMIT);
    loop {
        std::thread::sleep(PERIOD);
        let mut text = String::new();
        let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
        match text.strip_suffix('\n') {
            Some(who) => return who.to_owned(),
            None if deadline.passed() => return "another process".into(),
            None => {}
        }
    }
}

fn open(path: &Utf8Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_names_its_holder_and_falls_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("lock")).unwrap();
        let first = Lock::try_take(&path, "cycle askari, pid 7").unwrap();
        let error = Lock::try_take(&path, "second").unwrap_err();
        assert!(error.to_string().contains("cycle askari, pid 7"), "{error}");
        assert!(Lock::is_held(&path));
        drop(first);
        assert!(!Lock::is_held(&path));
        Lock::try_take(&path, "second").unwrap();
    }

    #[test]
    fn a_holder_that_has_not_signed_yet_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("lock")).unwrap();
        let file = open(&path).unwrap();
        file.try_lock().unwrap();
        let first = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            Lock::sign(file, "cycle askari, pid 7").unwrap()
        });
        let error = Lock::try_take(&path, "second").unwrap_err();
        assert!(error.to_string().contains("cycle askari, pid 7"), "{error}");
        drop(first.join());
    }

    #[test]
    fn a_lock_whose_file_was_deleted_or_replaced_stands_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("lock")).unwrap();
        let lock = Lock::try_take(&path, "first").unwrap();
        assert!(lock.is_at(&path));
        std::fs::remove_file(&path).unwrap();
        assert!(!lock.is_at(&path));
        std::fs::write(&path, "").unwrap();
        assert!(!lock.is_at(&path));
    }

    #[test]
    fn a_lock_that_is_not_let_go_in_time_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("lock")).unwrap();
        let _held = Lock::try_take(&path, "pid 7").unwrap();
        let error = Lock::take_within(&path, "second", Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("pid 7"), "{error}");
    }
}
