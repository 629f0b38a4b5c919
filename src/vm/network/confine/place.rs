//! Single steps in making a root: a mount, a folder, a descriptor; each with an error that says where.

use crate::network::NetError;
use camino::Utf8PathBuf;
use nix::mount::{MsFlags, mount};
use rustix::fs::{Mode, OFlags, open};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// No program gets another user's power here, and no device can be opened.
const PLAIN: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// An empty folder of our own over another.
pub(super) fn empty(path: &Path, options: &str) -> Result<(), NetError> {
    new("tmpfs", path, PLAIN, options)
}

/// A new file system.
pub(super) fn new(kind: &str, path: &Path, flags: MsFlags, options: &str) -> Result<(), NetError> {
    mount(Some(kind), path, Some(kind), flags, Some(options)).map_err(|errno| failed(path, errno))
}

/// Show a folder, with all that is in it, through overlayfs: a socket, a FIFO or a device that is seen there is
/// another one than that of the host, with nobody at its other end, whenever it was made and whatever it is called
/// (`ovl_fill_inode` in the kernel's fs/overlayfs/inode.c gives each an inode of its own, and Unix sockets are looked up
/// by inode). Without a folder for what is written, it can only be read.
pub(super) fn overlay(
    from: &Path,
    to: &Path,
    below: &OwnedFd,
    written: Option<(&Path, &Path)>,
) -> Result<(), NetError> {
    let lower = open_path(from)?;
    let mut options = format!("lowerdir={}", by_descriptor(&lower).display());
    let held;
    match written {
        // Without an upper layer there have to be two lower ones.
        None => options += &format!(":{}", by_descriptor(below).display()),
        Some((upper, work)) => {
            held = (open_path(upper)?, open_path(work)?);
            let (upper, work) = (by_descriptor(&held.0), by_descriptor(&held.1));
            options += &format!(",upperdir={},workdir={},index=off", upper.display(), work.display());
        }
    }
    // An ordinary user may only set attributes of `user.`; inode numbers need not be the host's.
    options += ",userxattr,xino=off";
    mount(Some("overlay"), to, Some("overlay"), PLAIN, Some(options.as_str()))
        .map_err(|errno| NetError::Overlay { path: name(from), source: errno.into() })
}

/// Show a file or folder itself, with the mounts below it if they are to come along.
pub(super) fn bind(from: &OwnedFd, to: &Path, flags: MsFlags) -> Result<(), NetError> {
    mount(Some(&by_descriptor(from)), to, None::<&str>, MsFlags::MS_BIND | flags, None::<&str>)
        .map_err(|errno| failed(to, errno))
}

/// Take rights from what is mounted at a path. What the mount lacks already may not be given to it.
pub(super) fn restrict(path: &Path, flags: MsFlags) -> Result<(), NetError> {
    let now = rustix::fs::statvfs(path).map_err(|errno| NetError::File { path: name(path), source: errno.into() })?;
    let kept = [
        (rustix::fs::StatVfsMountFlags::RDONLY, MsFlags::MS_RDONLY),
        (rustix::fs::StatVfsMountFlags::NOEXEC, MsFlags::MS_NOEXEC),
    ];
    let kept =
        kept.iter().filter(|(seen, _)| now.f_flag.contains(*seen)).fold(MsFlags::empty(), |all, (_, flag)| all | *flag);
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | PLAIN | kept | flags;
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>).map_err(|errno| failed(path, errno))
}

/// Change how what is mounted at a path is shared with others.
pub(super) fn propagation(path: &Path, flags: MsFlags) -> Result<(), NetError> {
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>).map_err(|errno| failed(path, errno))
}

/// A folder, and those that it is in. One that is there is fine.
pub(super) fn make_folder(path: &Path) -> Result<(), NetError> {
    std::fs::create_dir_all(path).map_err(|source| NetError::File { path: name(path), source })
}

/// Something that a file can be mounted on.
pub(super) fn make_file(path: &Path) -> Result<(), NetError> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), make_folder)?;
    std::fs::File::create(path).map(drop).map_err(|source| NetError::File { path: name(path), source })
}

/// The same link as on the host. One that is there is fine.
pub(super) fn make_link(path: &Path, leads_to: &Path) -> Result<(), NetError> {
    path.parent().map_or(Ok(()), make_folder)?;
    match std::os::unix::fs::symlink(leads_to, path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(NetError::File { path: name(path), source: e }),
        _ => Ok(()),
    }
}

/// A descriptor that stands for a place, whatever it is.
pub(super) fn open_path(path: &Path) -> Result<OwnedFd, NetError> {
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| NetError::File { path: name(path), source: errno.into() })
}

/// A name for it that holds no character which an option would have to escape.
pub(super) fn by_descriptor(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// The error of a file operation at a path.
pub(super) fn failed_file(path: &Path) -> impl Fn(std::io::Error) -> NetError {
    move |source| NetError::File { path: name(path), source }
}

pub(super) fn failed(path: &Path, errno: nix::Error) -> NetError {
    NetError::Mount { path: name(path), source: errno.into() }
}

pub(super) fn name(path: &Path) -> Utf8PathBuf {
    Utf8PathBuf::from(path.to_string_lossy().into_owned())
}
