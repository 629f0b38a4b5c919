//! What a confined command sees of the file system: all of it, but no way to talk to the host.

use super::{Spec, sockets};
use crate::network::NetError;
use camino::Utf8PathBuf;
use nix::mount::{MsFlags, mount};
use rustix::fs::{Mode, OFlags, open};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Folders of sockets and of other people's things; empty and private in the confinement.
const MASKED: [(&str, &str); 4] =
    [("/run", "mode=755"), ("/tmp", "mode=1777"), ("/var/tmp", "mode=1777"), ("/dev/shm", "mode=1777")];

/// Where `/proc` takes orders to the kernel; what containers are kept from, too.
const KERNEL: [&str; 5] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/bus", "/proc/fs", "/proc/irq"];

/// Arrange the mounts of the mount namespace that this process has just made. The order matters: what
/// stays visible is opened before it is masked, and sockets are masked last, wherever they show.
pub(super) fn arrange(spec: &Spec, cwd: &Path, folders: &BTreeSet<PathBuf>) -> Result<(), NetError> {
    // Nothing of this gets out.
    act(None, Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)?;
    let mut masks = Vec::new();
    for (path, mode) in MASKED {
        masks.extend(real(Path::new(path))?.map(|path| (path, mode)));
    }
    let masked: Vec<PathBuf> = masks.iter().map(|(path, _)| path.clone()).collect();
    let is_masked = |path: &Path| masked.iter().any(|folder| path.starts_with(folder));
    let resolv_conf = final_name(Path::new("/etc/resolv.conf"));
    let sources = [open_path(spec.resolv_conf.as_std_path())?, open_path(spec.hosts.as_std_path())?];
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let visible = spec.allowed.visible.iter().map(|path| path.as_std_path()).chain([cwd]).chain(home.as_deref());
    let kept = spec.allowed.keep_sockets.iter().map(|path| path.as_std_path());
    let mut reveal = Vec::new();
    for path in visible.chain(kept) {
        // What is not there needs no revealing.
        let Ok(path) = std::fs::canonicalize(path) else { continue };
        if is_masked(&path) {
            reveal.push((open_path(&path)?, path));
        }
    }
    // Where one leads into another (/dev/shm to /run/shm), it goes with that.
    for (path, mode) in masks.iter().filter(|(path, _)| !masked.iter().any(|m| m != path && path.starts_with(m))) {
        empty(path, mode)?;
    }
    // The outer before the inner, so that none hides another.
    reveal.sort_by(|a, b| a.1.cmp(&b.1));
    for (fd, path) in &reveal {
        make_place(path, is_folder(fd))?;
        bind(fd, path)?;
    }
    private_home()?;
    for folder in spec.private.iter().filter(|folder| folder.is_dir()) {
        empty(folder.as_std_path(), "mode=700")?;
    }
    mask_sockets(spec, folders)?;
    read_only_in(Path::new("/sys"))?;
    if is_masked(&resolv_conf) {
        make_place(&resolv_conf, false)?;
    }
    bind(&sources[0], &resolv_conf)?;
    bind(&sources[1], Path::new("/etc/hosts"))
}

/// The folders of ssh and Ansible in the home: their files, but no socket, now or later.
fn private_home() -> Result<(), NetError> {
    let home = std::env::var_os("HOME").map(|home| real(Path::new(&home))).transpose()?.flatten();
    let Some(home) = home else { return Ok(()) };
    let cp = home.join(".ansible/cp");
    if cp.is_dir() {
        empty(&cp, "mode=700")?;
    }
    let ssh = home.join(".ssh");
    if ssh.is_dir() { without_sockets(&ssh) } else { Ok(()) }
}

/// Cover a folder with an empty one and show its files in it, each by itself: a socket that somebody
/// makes in the real folder later does not show.
fn without_sockets(folder: &Path) -> Result<(), NetError> {
    let mut files = Vec::new();
    list_files(folder, 3, &mut files);
    let opened: Vec<_> = files.into_iter().filter_map(|path| Some((open_path(&path).ok()?, path))).collect();
    empty(folder, "mode=700")?;
    for (fd, path) in opened {
        make_place(&path, false)?;
        bind(&fd, &path)?;
    }
    Ok(())
}

fn list_files(folder: &Path, depth: usize, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        match std::fs::metadata(entry.path()) {
            Ok(meta) if meta.is_file() => into.push(entry.path()),
            Ok(meta) if meta.is_dir() && depth > 0 => list_files(&entry.path(), depth - 1, into),
            _ => {}
        }
    }
}

/// Put /dev/null over every socket in these folders, by all the names they have.
fn mask_sockets(spec: &Spec, folders: &BTreeSet<PathBuf>) -> Result<(), NetError> {
    let mountinfo = mountinfo()?;
    let keep: Vec<_> = spec.allowed.keep_sockets.iter().filter_map(|path| std::fs::canonicalize(path).ok()).collect();
    let mut all = BTreeSet::new();
    for folder in folders {
        if let Some(folder) = real(folder)? {
            all.extend(sockets::aliases(&mountinfo, &folder));
            all.insert(folder);
        }
    }
    let null = open_path(Path::new("/dev/null"))?;
    for folder in &all {
        let found = match sockets::in_folder(folder) {
            Ok(found) => found,
            // It can be entered all the same by who knows a name in it.
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                match empty(folder, "mode=700") {
                    Err(NetError::Mount { source, .. }) if shows_nothing(&source) => {}
                    done => done?,
                }
                continue;
            }
            Err(e) if shows_nothing(&e) => continue,
            Err(source) => return Err(NetError::File { path: name(folder), source }),
        };
        for socket in found.into_iter().filter(|socket| !keep.contains(socket)) {
            match bind(&null, &socket) {
                // It was removed meanwhile.
                Err(NetError::Mount { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                done => done?,
            }
        }
    }
    Ok(())
}

/// Whether it is not there, or in a folder that we may not enter: it shows nobody anything.
fn shows_nothing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied)
}

/// Where a path leads; none if that shows nobody anything.
fn real(path: &Path) -> Result<Option<PathBuf>, NetError> {
    match std::fs::canonicalize(path) {
        Ok(real) => Ok(Some(real)),
        Err(e) if shows_nothing(&e) => Ok(None),
        Err(source) => Err(NetError::File { path: name(path), source }),
    }
}

fn mountinfo() -> Result<String, NetError> {
    std::fs::read_to_string("/proc/self/mountinfo")
        .map_err(|source| NetError::File { path: "/proc/self/mountinfo".into(), source })
}

/// The kernel's settings below a `/proc` that has just been mounted, to be read and not to be written.
///
/// Without a capability root is still their owner, and a user namespace in which it is mapped to itself
/// changes nothing about that. `core_pattern` names a program that the kernel starts outside of every
/// namespace; `sysrq-trigger` stops the machine.
pub(super) fn settings_read_only() -> Result<(), NetError> {
    for path in KERNEL.iter().map(Path::new).filter(|path| path.exists()) {
        act(Some(path), path, MsFlags::MS_BIND | MsFlags::MS_REC, None)?;
        read_only_in(path)?;
    }
    Ok(())
}

/// Forbid writing to every mount at a folder and below it.
fn read_only_in(folder: &Path) -> Result<(), NetError> {
    let mountinfo = mountinfo()?;
    // All of them: what a mount has of these already may not be taken from it.
    let strict = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for point in sockets::mounts_in(&mountinfo, folder) {
        match mount(None::<&str>, &point, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | strict, None::<&str>) {
            Ok(()) => {}
            // Nobody in here gets there: hidden below another mount, where its path leads to no mount or
            // to nothing, or in a folder of root's only.
            Err(nix::Error::EINVAL | nix::Error::ENOENT | nix::Error::EACCES) => {}
            Err(errno) => return Err(failed(&point, errno)),
        }
    }
    Ok(())
}

/// An empty folder of our own over another.
fn empty(path: &Path, options: &str) -> Result<(), NetError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options)).map_err(|errno| failed(path, errno))
}

fn bind(from: &OwnedFd, to: &Path) -> Result<(), NetError> {
    let from = PathBuf::from(format!("/proc/self/fd/{}", from.as_raw_fd()));
    act(Some(&from), to, MsFlags::MS_BIND | MsFlags::MS_REC, None)
}

fn act(from: Option<&Path>, to: &Path, flags: MsFlags, data: Option<&str>) -> Result<(), NetError> {
    mount(from, to, None::<&str>, flags, data).map_err(|errno| failed(to, errno))
}

fn failed(path: &Path, errno: nix::Error) -> NetError {
    NetError::Mount { path: name(path), source: errno.into() }
}

fn name(path: &Path) -> Utf8PathBuf {
    Utf8PathBuf::from(path.to_string_lossy().into_owned())
}

fn open_path(path: &Path) -> Result<OwnedFd, NetError> {
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| NetError::File { path: name(path), source: errno.into() })
}

fn is_folder(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// Something that can be mounted on, in a folder of our own.
fn make_place(path: &Path, folder: bool) -> Result<(), NetError> {
    let file = |source| NetError::File { path: name(path), source };
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    if folder {
        return std::fs::create_dir_all(path).map_err(file);
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(file)?;
    }
    std::fs::File::create(path).map(drop).map_err(file)
}

/// Where a name leads, even if there is nothing (any more): systemd-resolved's file lies below /run.
fn final_name(path: &Path) -> PathBuf {
    let link = |path: &Path| Some(path.parent()?.join(std::fs::read_link(path).ok()?));
    std::fs::canonicalize(path).ok().or_else(|| link(path)).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_ssh_are_listed_and_sockets_are_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("config.d")).unwrap();
        std::fs::write(dir.path().join("config.d/a"), "").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("mux")).unwrap();
        let mut files = Vec::new();
        list_files(dir.path(), 3, &mut files);
        assert_eq!(files, [dir.path().join("config.d/a")]);
    }

    #[test]
    fn a_link_to_nowhere_still_says_where_it_leads() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("resolv.conf");
        std::os::unix::fs::symlink("gone/stub", &link).unwrap();
        assert_eq!(final_name(&link), dir.path().join("gone/stub"));
    }
}
