//! Where things are kept: the project, the running VMs, the golden images, the evidence.

use crate::failure::{Blame, Exit};
use camino::{Utf8Path, Utf8PathBuf};
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;

mod rule;

pub use rule::only_ours_to_write;
pub use rule::{Use, check, make, make_private};

/// The folder of the lanes in a state folder.
const LANES: &str = "lanes";

/// The folders of one invocation, all absolute.
#[derive(Clone, Debug)]
pub struct Dirs {
    /// The project root: profiles, net, overrides, certs, verify.
    pub root: Utf8PathBuf,
    /// Running VMs and networks. Socket paths below it hold about 108 bytes, so it is kept short.
    pub state: Utf8PathBuf,
    /// Golden images.
    pub cache: Utf8PathBuf,
    /// Evidence, one folder per run.
    pub runs: Utf8PathBuf,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// No project root upwards from here.
    #[error("no project root: neither {from} nor a folder above it holds profiles/ and net/")]
    NoRoot {
        /// Where the search began.
        from: Utf8PathBuf,
    },
    /// A root was named that is none.
    #[error("{path} is not a project root: it does not hold profiles/ and net/")]
    NotRoot {
        /// The folder named.
        path: Utf8PathBuf,
    },
    /// A folder cannot be made or used, or a file in it.
    #[error("cannot use {path}")]
    Io {
        /// The folder or the file.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// What is in a folder is not known.
    #[error("cannot look into {path}, so what is in there is not known")]
    Look {
        /// The folder or the file.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Others could enter it, or put something else in its place. What was there before is never changed.
    #[error("{path} is not used as {role}: {why}")]
    Unfit {
        /// The folder, or what is wrong on the way to it.
        path: Utf8PathBuf,
        /// What it was to be.
        role: Use,
        /// What is wrong with it.
        why: String,
        /// What to do about it.
        next: String,
    },
    /// A path is too long for the sockets that will stand below it.
    #[error("BOMA_STATE is too long: a socket below {path} would pass the 107 bytes that Linux allows")]
    TooLong {
        /// The state folder.
        path: Utf8PathBuf,
    },
    /// HOME is not known.
    #[error("neither HOME nor the BOMA_* folders are set")]
    NoHome,
}

impl Blame for DirError {
    fn exit(&self) -> Exit {
        use ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match self {
            Self::Look { .. } => Exit::Host,
            Self::Io { source, .. }
                if matches!(source.kind(), FileTooLarge | QuotaExceeded | ReadOnlyFilesystem | StorageFull) =>
            {
                Exit::Host
            }
            _ => Exit::Usage,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::NoRoot { .. } | Self::NotRoot { .. } => {
                Some("change to the project, or name it with --root or BOMA_ROOT".into())
            }
            Self::TooLong { .. } => Some("set BOMA_STATE to a short path".into()),
            Self::Io { .. } => {
                Some("check the folder's owner and free space; BOMA_STATE, BOMA_RUNS and BOMA_IT_CACHE move it".into())
            }
            Self::Look { path, .. } => {
                Some(format!("run it as the user who owns it (`ls -ld {path}`), then try again; nothing was changed"))
            }
            Self::Unfit { next, .. } => Some(next.clone()),
            Self::NoHome => Some("set HOME".into()),
        }
    }
}

impl Dirs {
    /// Resolve the folders from the environment; nothing is created.
    pub fn resolve(root: Option<&Utf8Path>) -> Result<Self, DirError> {
        let here = here()?;
        let root = match root {
            Some(path) => {
                let path = here.join(path);
                if !is_root(&path) {
                    return Err(DirError::NotRoot { path });
                }
                path
            }
            None => here
                .ancestors()
                .find(|dir| is_root(dir))
                .map(Utf8Path::to_owned)
                .ok_or_else(|| DirError::NoRoot { from: here.clone() })?,
        };
        Self::of(root, &here)
    }

    /// The same for what needs no project: the root is the current folder, and none of a project's files is there.
    pub fn outside() -> Result<Self, DirError> {
        let here = here()?;
        Self::of(here.clone(), &here)
    }

    /// The same with the state of a lane: where several runs are at work at once, each has a state folder of its own inside of
    /// this one.
    pub fn lane(&self, n: usize) -> Self {
        Self { state: self.lanes_folder().join(n.to_string()), ..self.clone() }
    }

    /// The lanes that there are.
    pub fn lanes(&self) -> Result<Vec<Self>, DirError> {
        Ok(folders_in::<usize>(&self.lanes_folder())?.into_iter().map(|n| self.lane(n)).collect())
    }

    /// This state and that of each lane.
    pub fn all(&self) -> Result<Vec<Self>, DirError> {
        Ok([self.clone()].into_iter().chain(self.lanes()?).collect())
    }

    /// All of the state that this one is a part of: of a lane the one that it lies in, with every other lane.
    pub fn whole(&self) -> Result<Vec<Self>, DirError> {
        Self { state: self.shared_state().to_owned(), ..self.clone() }.all()
    }

    /// The state directory that all lanes share: of a lane the one that it lies in.
    pub fn shared_state(&self) -> &Utf8Path {
        let around = self.state.parent().filter(|folder| folder.file_name() == Some(LANES)).and_then(Utf8Path::parent);
        around.unwrap_or(&self.state)
    }

    fn lanes_folder(&self) -> Utf8PathBuf {
        self.state.join(LANES)
    }

    fn of(root: Utf8PathBuf, here: &Utf8Path) -> Result<Self, DirError> {
        let home = std::env::var("HOME").ok().filter(|h| !h.is_empty()).map(Utf8PathBuf::from);
        let var = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty()).map(|v| here.join(v));
        let home = || home.clone().ok_or(DirError::NoHome);
        let is_superuser = rustix::process::geteuid().is_root();
        let state = match var("BOMA_STATE") {
            Some(path) => path,
            None if is_superuser => "/var/lib/boma-qemu".into(),
            None => home()?.join(".local/state/boma-qemu"),
        };
        let cache = match var("BOMA_IT_CACHE") {
            Some(path) => path,
            None => default_cache(is_superuser, home)?,
        };
        let runs = match var("BOMA_RUNS") {
            Some(path) => path,
            None => home()?.join("integration-runs"),
        };
        Ok(Self { root, state, cache, runs })
    }
}

fn here() -> Result<Utf8PathBuf, DirError> {
    let here = std::env::current_dir().map_err(|source| DirError::Io { path: ".".into(), source })?;
    Ok(Utf8PathBuf::from_path_buf(here).unwrap_or_else(|p| p.to_string_lossy().into_owned().into()))
}

/// `/var/lib/boma-integration` where it can be written (or read and is filled), else the user's cache.
fn default_cache(
    is_superuser: bool,
    home: impl Fn() -> Result<Utf8PathBuf, DirError>,
) -> Result<Utf8PathBuf, DirError> {
    let shared = Utf8PathBuf::from("/var/lib/boma-integration");
    let writable = rustix::fs::access(shared.as_std_path(), rustix::fs::Access::WRITE_OK).is_ok();
    if is_superuser || writable {
        return Ok(shared);
    }
    let xdg = std::env::var("XDG_CACHE_HOME").ok().filter(|v| v.starts_with('/')).map(Utf8PathBuf::from);
    Ok(match xdg {
        Some(dir) => dir,
        None => home()?.join(".cache"),
    }
    .join("boma-integration"))
}

fn is_root(dir: &Utf8Path) -> bool {
    dir.join("profiles").is_dir() && dir.join("net").is_dir()
}

/// What is in a folder, by the names in it; a folder that is not there is empty. Names that are not text are no names of
/// ours. What cannot be read is an error: it might hold anything.
pub fn names_in(folder: &Utf8Path) -> Result<Vec<String>, DirError> {
    let look = |source| DirError::Look { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(look(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(look)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// The folders in a folder that have a name of that kind, in the order of the names. What has another kind of name, or is
/// no folder, is not ours; what has such a name and cannot be looked at may be.
pub fn folders_in<T: FromStr + Ord>(folder: &Utf8Path) -> Result<Vec<T>, DirError> {
    let mut found = Vec::new();
    for name in names_in(folder)? {
        let Ok(parsed) = name.parse::<T>() else { continue };
        let path = folder.join(&name);
        match path.metadata() {
            Ok(meta) if meta.is_dir() => found.push(parsed),
            Ok(_) => {}
            // It went meanwhile.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(DirError::Look { path, source }),
        }
    }
    found.sort();
    Ok(found)
}

/// Write a file that only its owner can read (0600), whole or not at all.
pub fn write_private(path: &Utf8Path, bytes: impl AsRef<[u8]>) -> Result<(), DirError> {
    let io = |source| DirError::Io { path: path.to_owned(), source };
    let dir = path.parent().unwrap_or(Utf8Path::new("."));
    // A temporary file is 0600 from its birth, and a rename cannot be half done.
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(io)?;
    std::io::Write::write_all(&mut file, bytes.as_ref()).map_err(io)?;
    file.persist(path).map_err(|e| io(e.error))?;
    Ok(())
}

/// Whether both are about one and the same file.
pub fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_disk_that_is_full_is_the_hosts_fault_and_a_folder_of_anothers_the_callers() {
        let exit = |kind: ErrorKind| DirError::Io { path: "/s".into(), source: kind.into() }.exit();
        assert_eq!((exit(ErrorKind::StorageFull), exit(ErrorKind::PermissionDenied)), (Exit::Host, Exit::Usage));
    }

    #[test]
    fn a_lane_is_a_part_of_the_whole_state_and_knows_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let state = Utf8PathBuf::from_path_buf(dir.path().join("s")).unwrap();
        let dirs = Dirs { root: "/".into(), state, cache: "/".into(), runs: "/".into() };
        for n in [1, 2] {
            std::fs::create_dir_all(dirs.lane(n).state).unwrap();
        }
        let states = |all: Vec<Dirs>| all.into_iter().map(|dirs| dirs.state).collect::<Vec<_>>();
        let all = states(dirs.all().unwrap());
        assert_eq!(all.len(), 3);
        assert_eq!((states(dirs.whole().unwrap()), states(dirs.lane(2).whole().unwrap())), (all.clone(), all));
        assert_eq!(states(dirs.lane(2).all().unwrap()), [dirs.lane(2).state]);
    }

    #[test]
    fn a_name_of_another_kind_is_passed_over_and_an_entry_that_cannot_be_looked_at_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let list = || folders_in::<crate::names::HostName>(&path);
        assert_eq!(folders_in::<crate::names::HostName>(&path.join("none")).unwrap(), []);
        std::fs::create_dir(path.join("askari")).unwrap();
        std::fs::create_dir(path.join("not a host")).unwrap();
        std::fs::write(path.join("notes"), "").unwrap();
        std::os::unix::fs::symlink("a loop", path.join("a loop")).unwrap();
        assert_eq!(list().unwrap(), ["askari".parse().unwrap()]);
        // ELOOP, which root gets as well.
        std::os::unix::fs::symlink("loop", path.join("loop")).unwrap();
        assert!(matches!(list().unwrap_err(), DirError::Look { path, .. } if path.ends_with("loop")));
    }

    #[test]
    fn a_private_file_is_private_from_its_birth() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("key")).unwrap();
        write_private(&path, "secret").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
