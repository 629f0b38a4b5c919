//! Unix sockets of the host. They ignore network namespaces: whoever can name one can talk through it.

use crate::network::NetError;
use std::collections::BTreeSet;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

/// Every folder that a bound socket of this host was named in.
///
/// Folders, and not names: ssh binds its control socket under another name and renames it, and the
/// kernel keeps the first one. Looked at from every network namespace that can be seen, since a
/// socket is listed in its own only. A relative name counts from every process's working directory.
///
/// What cannot be looked at is an error: a socket that is not listed would stay in reach.
pub(super) fn folders() -> Result<BTreeSet<PathBuf>, NetError> {
    let failed = |path: &Path| {
        let path = path.to_string_lossy().into_owned();
        move |source| NetError::File { path: path.into(), source }
    };
    let (mut seen, mut names, mut here) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let proc = Path::new("/proc");
    // Ourselves first, who may be looked at in any case: where even that is hidden, so is everything.
    let own = proc.join("self/net/unix");
    names.extend(parse(&String::from_utf8_lossy(&std::fs::read(&own).map_err(failed(&own))?)));
    for entry in std::fs::read_dir(proc).map_err(failed(proc))? {
        let process = entry.map_err(failed(proc))?.path();
        if !process.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit)) {
            continue;
        }
        let (cwd, netns) = (process.join("cwd"), process.join("ns/net"));
        here.extend(allowed(std::fs::read_link(&cwd)).map_err(failed(&cwd))?);
        if let Some(netns) = allowed(std::fs::read_link(&netns)).map_err(failed(&netns))?
            && !seen.contains(&netns)
        {
            let list = process.join("net/unix");
            if let Some(text) = allowed(std::fs::read(&list)).map_err(failed(&list))? {
                seen.insert(netns);
                names.extend(parse(&String::from_utf8_lossy(&text)));
            }
        }
    }
    let mut folders = BTreeSet::new();
    for parent in names.iter().filter_map(|name| name.parent()) {
        if parent.is_absolute() {
            folders.insert(parent.to_owned());
        } else {
            folders.extend(here.iter().map(|cwd| cwd.join(parent)));
        }
    }
    Ok(folders)
}

/// None of a process that has ended or is another user's: it has nothing to tell us.
fn allowed<T>(looked: Result<T, Error>) -> Result<Option<T>, Error> {
    const ESRCH: Option<i32> = Some(nix::libc::ESRCH);
    match looked {
        Ok(seen) => Ok(Some(seen)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(None),
        Err(e) if e.raw_os_error() == ESRCH => Ok(None),
        Err(e) => Err(e),
    }
}

/// The names in `/proc/net/unix` (proc_pid_net(5)): seven fields, then the name, which may hold spaces.
/// Abstract names (`@…`) belong to a network namespace and cannot be reached from another.
fn parse(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines().skip(1).filter_map(|line| {
        let mut rest = line;
        for _ in 0..7 {
            rest = rest.trim_start();
            rest = &rest[rest.find(' ')?..];
        }
        let name = rest.strip_prefix(' ')?;
        (!name.is_empty() && !name.starts_with('@')).then(|| PathBuf::from(name))
    })
}

/// The sockets in a folder.
pub(super) fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut sockets = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_socket() {
            sockets.push(entry.path());
        }
    }
    Ok(sockets)
}

/// A folder's other names: the same place seen through another mount of the same file system.
/// `mountinfo` is the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
pub(super) fn aliases(mountinfo: &str, folder: &Path) -> Vec<PathBuf> {
    let mounts: Vec<_> = mountinfo.lines().filter_map(mount).collect();
    // The last of several mounts on the same point is the one that is seen.
    let Some(home) =
        mounts.iter().filter(|m| folder.starts_with(&m.point)).max_by_key(|m| m.point.components().count())
    else {
        return Vec::new();
    };
    let Ok(below) = folder.strip_prefix(&home.point) else { return Vec::new() };
    let place = plain(&home.root.join(below));
    let same = mounts.iter().filter(|m| m.device == home.device);
    let names = same.filter_map(|m| place.strip_prefix(&m.root).ok().map(|below| plain(&m.point.join(below))));
    names.filter(|name| name != folder).collect()
}

/// The mounts at a folder and below it.
pub(super) fn mounts_in(mountinfo: &str, folder: &Path) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(mount).map(|mount| mount.point);
    points.filter(|point| point.starts_with(folder)).collect()
}

struct Mount<'a> {
    device: &'a str,
    root: PathBuf,
    point: PathBuf,
}

fn mount(line: &str) -> Option<Mount<'_>> {
    let mut fields = line.split(' ').skip(2);
    Some(Mount { device: fields.next()?, root: unescape(fields.next()?), point: unescape(fields.next()?) })
}

/// Blanks and backslashes are written as `\040` and the like.
fn unescape(text: &str) -> PathBuf {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(byte) => out.push(char::from(byte)),
            None => out.push('\\'),
        }
        rest = &rest[at + code.map_or(1, |_| 4)..];
    }
    PathBuf::from(out + rest)
}

/// Without a trailing slash, which joining an empty path leaves.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_their_blanks_and_abstract_ones_are_left_out() {
        let text = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            00000000e01e2f88: 00000003 00000000 00000000 0001 03 288585\n\
            0000000074cda9b0: 00000002 00000000 00010000 0001 01 288588 /home/a b/cm/x.Qy1\n\
            00000000af7dd008: 00000002 00000000 00010000 0001 01  1586 @/tmp/.X11-unix/X0\n\
            000000006c073b77: 00000002 00000000 00010000 0001 01  1585 ctl\n";
        let found: Vec<_> = parse(text).collect();
        assert_eq!(found, [PathBuf::from("/home/a b/cm/x.Qy1"), PathBuf::from("ctl")]);
    }

    #[test]
    fn a_folder_is_found_again_through_a_bind_mount() {
        let info = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:1 /home /mnt/h\\040x rw - ext4 /dev/a rw\n\
                    3 1 0:5 / /proc rw - proc proc rw\n";
        assert_eq!(aliases(info, Path::new("/home/u/.ssh")), [PathBuf::from("/mnt/h x/u/.ssh")]);
        assert_eq!(aliases(info, Path::new("/mnt/h x/u")), [PathBuf::from("/home/u")]);
        assert_eq!(aliases(info, Path::new("/home")), [PathBuf::from("/mnt/h x")]);
        assert_eq!(aliases(info, Path::new("/srv")), Vec::<PathBuf>::new());
        assert_eq!(mounts_in(info, Path::new("/mnt")), [PathBuf::from("/mnt/h x")]);
    }

    #[test]
    fn a_socket_of_our_own_is_found_in_its_folder_whatever_it_was_called_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = dir.path().join("mux.Xyz");
        let _socket = std::os::unix::net::UnixListener::bind(&first).unwrap();
        std::fs::rename(&first, dir.path().join("mux")).unwrap();
        assert!(folders().unwrap().contains(dir.path()));
        assert_eq!(in_folder(dir.path()).unwrap(), [dir.path().join("mux")]);
    }
}
