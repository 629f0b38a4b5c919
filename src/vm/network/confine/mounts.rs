//! The host's mounts, as the kernel lists them, and which of them may be shown.

use crate::network::NetError;
use std::path::{Path, PathBuf};

/// File systems whose files lie on this host alone, and which overlayfs takes as a lower layer. Whatever is not
/// listed here is not shown unless the command needs it: a network file system leads to other hosts, and an unknown
/// one might.
const LOCAL: [&str; 20] = [
    "aufs", "bcachefs", "btrfs", "ecryptfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "iso9660", "jfs",
    "nilfs2", "overlay", "ramfs", "reiserfs", "squashfs", "tmpfs", "xfs", "zfs",
];

/// All mounts of this mount namespace.
#[derive(Debug)]
pub(super) struct Mounts(Vec<Mount>);

#[derive(Debug)]
struct Mount {
    point: PathBuf,
    kind: String,
}

impl Mounts {
    /// As they are now.
    pub(super) fn read() -> Result<Self, NetError> {
        let path = "/proc/self/mountinfo";
        let text = std::fs::read(path).map_err(|source| NetError::File { path: path.into(), source })?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// The text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)): the mount point is field 5, the type the first
    /// after a lone `-`.
    fn parse(text: &str) -> Self {
        let mount = |line: &str| {
            let (head, tail) = line.split_once(" - ")?;
            Some(Mount { point: unescape(head.split(' ').nth(4)?), kind: tail.split(' ').next()?.to_owned() })
        };
        Self(text.lines().filter_map(mount).collect())
    }

    /// Whether a mount begins at this path.
    pub(super) fn begins(&self, path: &Path) -> bool {
        self.0.iter().any(|mount| mount.point == path)
    }

    /// Whether what is at this path is on a file system of this host's own. Of several mounts on one point the last is
    /// the one that is seen.
    pub(super) fn is_local(&self, path: &Path) -> bool {
        let holds = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        let mount = holds.max_by_key(|mount| mount.point.components().count());
        mount.is_some_and(|mount| LOCAL.contains(&mount.kind.as_str()))
    }

    /// The mount points below a folder.
    pub(super) fn below(&self, folder: &Path) -> impl Iterator<Item = &Path> {
        let points = self.0.iter().map(|mount| mount.point.as_path());
        points.filter(move |point| *point != folder && point.starts_with(folder))
    }

    /// The same, without those below others.
    pub(super) fn first_below(&self, folder: &Path) -> Vec<&Path> {
        let mut points: Vec<_> = self.below(folder).collect();
        points.sort_unstable();
        points.dedup_by(|later, earlier| later.starts_with(earlier));
        points
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "1 0 8:1 / / rw shared:1 - ext4 /dev/a rw\n2 1 8:2 / /home/a\\040b rw - xfs /dev/b rw\n\
        3 1 0:5 / /proc rw - proc proc rw\n4 2 0:9 / /home/a\\040b/far rw - fuse.sshfs u@h: rw\n\
        5 4 8:3 / /home/a\\040b/far/in rw - ext4 /dev/c rw\n6 1 0:8 / /mnt rw - ext4 /dev/d rw\n7 6 0:8 / /mnt rw - nfs4 n:/ rw\n";

    #[test]
    fn what_lies_on_another_host_or_in_the_kernel_is_told_from_files_of_this_one() {
        let mounts = Mounts::parse(INFO);
        for (path, local) in [
            ("/etc", true),
            ("/home/a b/x", true),
            ("/home/a b/far/x", false),
            ("/home/a b/far/in/x", true),
            ("/proc/1", false),
            ("/mnt/x", false),
        ] {
            assert_eq!(mounts.is_local(Path::new(path)), local, "{path}");
        }
        assert!(!Mounts::parse("").is_local(Path::new("/")), "nothing is known");
    }

    #[test]
    fn the_outermost_mounts_below_a_folder_are_found() {
        let mounts = Mounts::parse(INFO);
        assert_eq!(mounts.first_below(Path::new("/home")), [Path::new("/home/a b")]);
        assert_eq!(mounts.first_below(Path::new("/home/a b")), [Path::new("/home/a b/far")]);
        assert_eq!(mounts.below(Path::new("/mnt")).count(), 0);
        assert!(mounts.begins(Path::new("/mnt")) && !mounts.begins(Path::new("/mn")));
    }
}
