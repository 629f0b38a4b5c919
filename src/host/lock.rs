//! Locks on files. A lock lives as long as its open file description: a child that inherits the
//! descriptor keeps it, and the kernel drops it with the last holder, even on SIGKILL.
//!
//! They are open file description locks (fcntl_locking(2)) and not those of flock(2): only the former can be looked at
//! without being taken, and whoever takes a lock to look at it keeps it for that moment from whoever needs it.

use super::deadline::Deadline;
use super::dirs::is_same_file;
use super::presence::{Presence, ignore};
use crate::failure::{Blame, Exit};
use camino::{Utf8Path, Utf8PathBuf};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
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
        let mut file = match open(path) {
            Ok(file) => file,
            // One that may only be read can be looked at.
            Err(e) if e.kind() == ErrorKind::PermissionDenied && Self::look(path) == Presence::There => {
                let mut file = open_to_look(path).map_err(io)?;
                return Err(LockError::Held { path: path.to_owned(), holder: holder(&mut file) });
            }
            Err(e) => return Err(io(e)),
        };
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole())) {
            Ok(_) => Self::sign(file, who).map_err(io),
            Err(Errno::EAGAIN | Errno::EACCES) => {
                Err(LockError::Held { path: path.to_owned(), holder: holder(&mut file) })
            }
            Err(errno) => Err(io(errno.into())),
        }
    }

    /// Wait for the lock. Only for locks that are held for a moment (a shared counter, a ledger).
    pub fn take(path: &Utf8Path, who: &str) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let file = open(path).map_err(io)?;
        loop {
            match fcntl(&file, FcntlArg::F_OFD_SETLKW(&whole())) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(io(errno.into())),
            }
        }
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
            (Ok(own), Ok(there)) => is_same_file(&own, &there),
            (_, Err(e)) => !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
            (Err(_), _) => true,
        }
    }

    /// Whether somebody holds it now. It is looked at and not taken. A file that does not exist is held by nobody; one
    /// that cannot be looked at may be.
    pub fn look(path: &Utf8Path) -> Presence {
        let unknown = |e: std::io::Error| Presence::Unknown(format!("cannot look at the lock {path}: {e}"));
        let file = match open_to_look(path) {
            Ok(file) => file,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Presence::Gone,
            Err(e) => return unknown(e),
        };
        let mut found = whole();
        match fcntl(&file, FcntlArg::F_OFD_GETLK(&mut found)) {
            Ok(_) if found.l_type == libc::F_UNLCK as libc::c_short => Presence::Gone,
            Ok(_) => Presence::There,
            Err(errno) => unknown(errno.into()),
        }
    }

    /// Write something else about the holder into the file.
    pub fn sign_again(&self, who: &str) -> std::io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{who}")
    }

    /// The open file, to be inherited by the process that the lock stands for.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn sign(file: File, who: &str) -> std::io::Result<Self> {
        let lock = Self { file };
        lock.sign_again(who)?;
        Ok(lock)
    }
}

/// Who has signed it. Whoever has only just taken it may not have signed yet, or not to the line's end.
fn holder(file: &mut File) -> String {
    let deadline = Deadline::after(SIGN_LIMIT);
    loop {
        std::thread::sleep(PERIOD);
        let mut text = String::new();
        ignore(
            file.rewind().and_then(|()| file.read_to_string(&mut text)),
            "without a name it is told as another process",
        );
        match text.strip_suffix('\n') {
            Some(who) => return who.to_owned(),
            None if deadline.passed() => return "another process".into(),
            None => {}
        }
    }
}

/// The lock of one over all of a file.
fn whole() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Open a lock's file, made if it is not there. A link is not followed: what it leads to would be written over.
fn open(path: &Utf8Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW);
    let file = match options.open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => match options.create_new(true).open(path) {
            // Somebody else has made it meanwhile.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => options.create_new(false).open(path)?,
            made => share(made?, path)?,
        },
        there => there?,
    };
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a file")),
    }
}

/// Where the members of a group share a folder, each of them must be able to take a lock in it.
fn share(file: File, path: &Utf8Path) -> std::io::Result<File> {
    let folder = path.parent().map(Utf8Path::metadata).transpose()?;
    if folder.is_some_and(|folder| folder.mode() & 0o020 != 0) {
        file.set_permissions(Permissions::from_mode(0o664))?;
    }
    Ok(file)
}

fn open_to_look(path: &Utf8Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::soon;

    /// Unlike a drop, this does not wait for the child that another test is just starting: until it executes its
    /// program, it has a copy of every descriptor of this process.
    fn let_go(lock: Lock) {
        let unlocked = libc::flock { l_type: libc::F_UNLCK as libc::c_short, ..whole() };
        fcntl(&lock.file, FcntlArg::F_OFD_SETLK(&unlocked)).unwrap();
    }

    #[test]
    fn a_held_lock_names_its_holder_and_falls_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("lock")).unwrap();
        let first = Lock::try_take(&path, "cycle askari, pid 7").unwrap();
        let error = Lock::try_take(&path, "second").unwrap_err();
        assert!(error.to_string().contains("cycle askari, pid 7"), "{error}");
        assert_eq!(Lock::look(&path), Presence::There);
        let_go(first);
        assert_eq!(Lock::look(&path), Presence::Gone);
        Lock::try_take(&path, "second").unwrap();
    }

    #[test]
    fn a_holder_that_has_not_signed_yet_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("lock")).unwrap();
        let file = open(&path).unwrap();
        fcntl(&file, FcntlArg::F_OFD_SETLK(&whole())).unwrap();
        let first = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            Lock::sign(file, "cycle askari, pid 7").unwrap()
        });
        let error = Lock::try_take(&path, "second").unwrap_err();
        assert!(error.to_string().contains("cycle askari, pid 7"), "{error}");
        drop(first.join());
    }

    #[test]
    fn looking_at_a_lock_keeps_it_from_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("lock")).unwrap();
        std::fs::write(&path, "").unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        let refused = std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        assert!(!matches!(Lock::look(&path), Presence::Unknown(_)));
                    }
                });
            }
            let until = std::time::Instant::now() + Duration::from_millis(300);
            let mut refused = Vec::new();
            while std::time::Instant::now() < until {
                match Lock::try_take(&path, "first") {
                    Ok(lock) => let_go(lock),
                    Err(error) => refused.push(error),
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            refused
        });
        assert!(refused.is_empty(), "{refused:?}");
    }

    #[test]
    fn a_lock_is_held_by_the_child_that_inherited_it_and_is_seen_by_who_may_only_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("lock")).unwrap();
        let lock = Lock::try_take(&path, "first").unwrap();
        // Standard input is inherited; ours goes with the command.
        let mut command = std::process::Command::new("sleep");
        command.arg("60").stdin(lock.file().try_clone().unwrap());
        let mut child = command.spawn().unwrap();
        drop((command, lock));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
        assert_eq!(Lock::look(&path), Presence::There);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(soon(|| Lock::look(&path) == Presence::Gone));
    }

    #[test]
    fn a_lock_that_cannot_be_opened_is_not_taken_for_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("lock")).unwrap();
        assert_eq!(Lock::look(&path), Presence::Gone);
        // ELOOP, which root gets as well.
        std::os::unix::fs::symlink("lock", &path).unwrap();
        assert!(matches!(Lock::look(&path), Presence::Unknown(why) if why.contains("lock")));
    }

    #[test]
    fn a_lock_where_a_group_shares_a_folder_can_be_taken_by_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("lock")).unwrap();
        let made = |folder| {
            std::fs::set_permissions(dir.path(), Permissions::from_mode(folder)).unwrap();
            Lock::try_take(&path, "first").unwrap();
            let mode = path.metadata().unwrap().mode();
            std::fs::remove_file(&path).unwrap();
            mode & 0o020 != 0
        };
        assert!(made(0o2775) && !made(0o755));
    }

    #[test]
    fn what_a_link_in_a_locks_place_leads_to_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("lock")).unwrap();
        std::fs::write(dir.path().join("theirs"), "precious").unwrap();
        std::os::unix::fs::symlink("theirs", &path).unwrap();
        assert!(matches!(Lock::try_take(&path, "first"), Err(LockError::Io { .. })));
        assert_eq!(std::fs::read_to_string(dir.path().join("theirs")).unwrap(), "precious");
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
