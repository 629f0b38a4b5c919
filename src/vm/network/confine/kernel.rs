//! What of a root leads into the kernel: `/proc`, `/sys`, `/dev`; and stepping into it.

use super::mounts::Mounts;
use super::place::{self, bind, failed, make_file, make_folder, make_link, open_path};
use crate::network::NetError;
use nix::mount::{MntFlags, MsFlags, umount2};
use std::path::Path;

/// Where `/proc` takes orders to the kernel; what containers are kept from, too.
const ORDERS: [&str; 5] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/bus", "/proc/fs", "/proc/irq"];

/// The devices that programs take for granted. No terminal is among them.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// The links in `/dev` that programs take for granted.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Mount them below a root. This process is the first of its pid namespace, so `/proc` is the namespace's own.
pub(super) fn add(root: &Path) -> Result<(), NetError> {
    let strict = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let place = |name: &str| -> Result<_, NetError> {
        let path = root.join(name);
        make_folder(&path)?;
        Ok(path)
    };
    let proc = place("proc")?;
    place::new("proc", &proc, strict, "").map_err(|error| match error {
        NetError::Mount { source, .. } => NetError::Mount { path: "/proc".into(), source },
        other => other,
    })?;
    bind(&open_path(Path::new("/sys"))?, &place("sys")?, MsFlags::MS_REC)?;
    let dev = place("dev")?;
    place::empty(&dev, "mode=755")?;
    for name in DEVICES {
        let device = open_path(&Path::new("/dev").join(name))?;
        make_file(&dev.join(name))?;
        bind(&device, &dev.join(name), MsFlags::empty())?;
    }
    for (name, to) in LINKS {
        make_link(&dev.join(name), Path::new(to))?;
    }
    for (name, kind, flags, options) in [
        ("shm", "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=1777"),
        // Pseudo terminals of its own, as `become` takes one.
        ("pts", "devpts", MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"),
    ] {
        make_folder(&dev.join(name))?;
        place::new(kind, &dev.join(name), flags, options)?;
    }
    Ok(())
}

/// Make a mount the root, and leave the old one, with all that is mounted there, out of reach for good.
pub(super) fn become_root(root: &Path) -> Result<(), NetError> {
    std::env::set_current_dir(root).map_err(|source| NetError::File { path: place::name(root), source })?;
    // The old root goes on top of the new one (pivot_root(2)), where it is let go.
    let cannot = |errno: nix::Error| NetError::Pivot { source: errno.into() };
    nix::unistd::pivot_root(".", ".").map_err(cannot)?;
    umount2(".", MntFlags::MNT_DETACH).map_err(cannot)?;
    std::env::set_current_dir("/").map_err(|source| NetError::File { path: "/".into(), source })
}

/// The kernel's settings, to be read and not to be written.
///
/// Without a capability root is still their owner, and a user namespace in which it is mapped to itself
/// changes nothing about that. `core_pattern` names a program that the kernel starts outside of every
/// namespace; `sysrq-trigger` stops the machine.
pub(super) fn settings_read_only() -> Result<(), NetError> {
    for path in ORDERS.iter().map(Path::new).filter(|path| path.exists()) {
        bind(&open_path(path)?, path, MsFlags::MS_REC)?;
        read_only(path)?;
    }
    read_only(Path::new("/sys"))
}

/// Forbid writing to every mount at a folder and below it.
fn read_only(folder: &Path) -> Result<(), NetError> {
    let mounts = Mounts::read()?;
    // All of them: what a mount has of these already may not be taken from it.
    let strict = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for point in [folder].into_iter().chain(mounts.below(folder)) {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | strict;
        match nix::mount::mount(None::<&str>, point, None::<&str>, flags, None::<&str>) {
            Ok(()) => {}
            // Nobody in here gets there: hidden below another mount, where its path leads to no mount or
            // to nothing, or in a folder of root's only.
            Err(nix::Error::EINVAL | nix::Error::ENOENT | nix::Error::EACCES) if point != folder => {}
            Err(errno) => return Err(failed(point, errno)),
        }
    }
    Ok(())
}
