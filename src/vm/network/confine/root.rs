//! The root of a confined command: the host's files to be read, its own folders to be written, and nobody to talk to.
//!
//! It is made on an empty file system. Each local file system of the host is shown through overlayfs, which is what
//! takes the other end from sockets and FIFOs, so none has to be found; only below what may really be written (the
//! repository) each is looked for and covered. What overlayfs cannot show in one piece, because something is mounted
//! below it, is shown entry by entry.

use super::mounts::Mounts;
use super::paths::{asked, final_name, homes, is_itself};
use super::place::{self, make_file, make_folder, make_link, name, open_path};
use super::survey::Survey;
use super::{Spec, kernel, probe};
use crate::network::NetError;
use host::links::{self, Stopped};
use host::presence::ignore;
use nix::errno::Errno;
use nix::mount::MsFlags;
use rustix::fs::{Gid, Uid};
use std::fs::{FileType, read_dir, read_link};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Empty, and the command's own.
const OWN: [(&str, &str); 4] =
    [("/run", "mode=755"), ("/tmp", "mode=1777"), ("/var/tmp", "mode=1777"), ("/var/run", "mode=755")];

/// Made anew: they lead into the kernel.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// What no command does without. Elsewhere a folder that cannot be shown is left out.
const NEEDED: [&str; 2] = ["/usr", "/etc"];

/// What happens to writes.
#[derive(Clone, Copy, PartialEq)]
enum Writes {
    /// They are refused.
    Refused,
    /// They are gone when the command has ended.
    Forgotten,
}

pub(super) struct Root {
    mounts: Mounts,
    /// Where it is made.
    at: PathBuf,
    /// What overlayfs needs besides; not seen in there.
    stage: PathBuf,
    layers: usize,
    /// An empty folder, to be a second lower layer.
    below: OwnedFd,
    /// A file without a right for anybody, to cover others.
    nothing: OwnedFd,
    /// What is asked for, without links.
    needed: Vec<PathBuf>,
    /// Folders that show the host's files, and those in them that do not.
    shown: Vec<PathBuf>,
    hidden: Vec<PathBuf>,
}

impl Root {
    /// Make the root on a folder, which shows something else only in this mount namespace. Where it is.
    pub(super) fn make(spec: &Spec, cwd: &Path, on: &Path) -> Result<PathBuf, NetError> {
        let on = on.canonicalize().map_err(|source| NetError::File { path: name(on), source })?;
        let mut root = Self::begin(Mounts::read()?, &on)?;
        let homes = homes();
        let folder = spec.folder.as_std_path().canonicalize();
        // Its own folder is written to wherever it lies: the run's events are told there.
        let folder = folder.map_err(|source| NetError::File { path: spec.folder.clone(), source })?;
        let writable = spec.allowed.writable.iter().filter_map(|path| path.canonicalize().ok());
        // Not all of the file system, whatever is said.
        let mut writable: Vec<_> = writable.filter(|path| path.parent().is_some()).collect();
        writable.sort();
        let (mut writable, remote): (Vec<_>, Vec<_>) =
            writable.into_iter().partition(|path| root.mounts.is_local(path));
        writable.push(folder);
        let surveys = writable.iter().map(|path| root.survey(path)).collect::<Result<Vec<_>, _>>()?;
        // A link to /tmp leads to its own.
        let links = surveys.iter().flat_map(|survey| survey.links.clone());
        let links = links.filter(|link| link.canonicalize().is_ok_and(|to| !root.hidden.contains(&to)));
        let asked: Vec<_> = asked(spec, cwd, &homes).into_iter().chain(links).collect();
        root.needed.extend(asked.iter().filter_map(|path| path.canonicalize().ok()));
        root.split(Path::new("/"), Writes::Refused)?;
        root.own_folders(Path::new("/"))?;
        kernel::add(&root.at)?;
        let mut found = Vec::new();
        for path in &asked {
            found.extend(root.follow(path)?);
        }
        // The outer before the inner, so that none hides another.
        found.sort();
        found.dedup();
        for path in found {
            if homes.contains(&path) {
                root.show_at(&path, Writes::Forgotten)?;
            } else if remote.contains(&path) {
                // Below a home, too, it is refused and not forgotten.
                root.show_at(&path, Writes::Refused)?;
            } else {
                root.reveal(&path)?;
            }
        }
        for (path, survey) in writable.iter().zip(&surveys) {
            root.write_through(path, survey)?;
        }
        for folder in spec.private.iter().filter(|folder| folder.is_dir()) {
            place::empty(&root.inside(folder.as_std_path()), "mode=700")?;
        }
        for socket in &spec.allowed.keep_sockets {
            root.lend(socket.as_std_path(), None)?;
        }
        if let Some(network) = &spec.network {
            root.lend(network.resolv_conf.as_std_path(), Some(&final_name(Path::new("/etc/resolv.conf"))))?;
            root.lend(network.hosts.as_std_path(), Some(Path::new("/etc/hosts")))?;
        }
        Ok(root.at)
    }

    fn begin(mounts: Mounts, on: &Path) -> Result<Self, NetError> {
        place::propagation(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
        place::empty(on, "mode=700")?;
        let (at, below, nothing) = (on.join("root"), on.join("below"), on.join("nothing"));
        make_folder(&at)?;
        make_folder(&below)?;
        make_file(&nothing)?;
        std::fs::set_permissions(&nothing, std::fs::Permissions::from_mode(0o000))
            .map_err(|source| NetError::File { path: name(&nothing), source })?;
        place::empty(&at, "mode=755")?;
        let below = open_path(&below)?;
        probe::nobody_answers(on, &below)?;
        let mut hidden: Vec<_> = KERNEL.map(PathBuf::from).into();
        // What it is made of is on the way to nothing.
        hidden.push(on.to_owned());
        // Where one leads into another (/var/run to /run), it goes with that.
        hidden.extend(OWN.iter().map(|(path, _)| PathBuf::from(path)).filter(|path| is_itself(path)));
        Ok(Self {
            mounts,
            at,
            stage: on.to_owned(),
            layers: 0,
            below,
            nothing: open_path(&nothing)?,
            needed: NEEDED.map(PathBuf::from).into(),
            shown: vec!["/".into()],
            hidden,
        })
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.at.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether a path, which holds no link, shows what it shows on the host.
    fn is_shown(&self, path: &Path) -> bool {
        let deepest = |all: &[PathBuf]| {
            all.iter().filter(|folder| path.starts_with(folder)).map(|folder| folder.components().count()).max()
        };
        // What was hidden and is shown at the same place was shown later.
        deepest(&self.shown) >= deepest(&self.hidden)
    }

    /// Show the entries of a folder one by one, in a folder of our own.
    fn split(&mut self, folder: &Path, writes: Writes) -> Result<(), NetError> {
        let entries = match read_dir(folder) {
            Ok(entries) => entries,
            Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound) => return Ok(()),
            Err(source) => return Err(NetError::File { path: name(folder), source }),
        };
        let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) => self.show_entry(&path, kind, writes)?,
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(NetError::File { path: name(&path), source }),
            }
        }
        Ok(())
    }

    fn show_entry(&mut self, path: &Path, kind: FileType, writes: Writes) -> Result<(), NetError> {
        let target = self.inside(path);
        if kind.is_symlink() {
            return read_link(path).map_or(Ok(()), |to| make_link(&target, &to));
        }
        if kind.is_dir() {
            make_folder(&target)?;
            let begins = self.mounts.begins(path);
            return match self.hidden.iter().any(|hidden| hidden == path) {
                true => Ok(()),
                false if begins && !self.mounts.is_local(path) => {
                    self.hidden.push(path.to_owned());
                    Ok(())
                }
                false => self.show(path, writes),
            };
        }
        // Another file may be mounted over it.
        match std::fs::metadata(path) {
            Ok(file) if file.is_file() && (!self.mounts.begins(path) || self.mounts.is_local(path)) => {
                self.show_file(path)
            }
            _ => Ok(()),
        }
    }

    fn show_file(&self, path: &Path) -> Result<(), NetError> {
        let file = open_path(path)?;
        let target = self.inside(path);
        make_file(&target)?;
        place::bind(&file, &target, MsFlags::empty())?;
        place::restrict(&target, MsFlags::MS_RDONLY)
    }

    /// Show a folder where it is, in a place of our own.
    fn show(&mut self, folder: &Path, writes: Writes) -> Result<(), NetError> {
        if self.mounts.below(folder).next().is_some() {
            return self.split(folder, writes);
        }
        match self.overlay(folder, writes) {
            Err(NetError::Overlay { .. }) if !self.needed.iter().any(|path| path.starts_with(folder)) => {
                self.hidden.push(folder.to_owned());
                Ok(())
            }
            done => done,
        }
    }

    /// Show a folder where something else is shown so far.
    fn show_at(&mut self, folder: &Path, writes: Writes) -> Result<(), NetError> {
        let target = self.inside(folder);
        make_folder(&target)?;
        if self.mounts.below(folder).next().is_some() {
            place::empty(&target, "mode=755")?;
        }
        self.shown.push(folder.to_owned());
        self.show(folder, writes)
    }

    fn overlay(&mut self, folder: &Path, writes: Writes) -> Result<(), NetError> {
        let file = |source| NetError::File { path: name(folder), source };
        let layer = match writes {
            Writes::Refused => None,
            Writes::Forgotten => {
                let meta = std::fs::metadata(folder).map_err(file)?;
                self.layers += 1;
                let layer = self.stage.join(self.layers.to_string());
                let (upper, work) = (layer.join("upper"), layer.join("work"));
                make_folder(&upper)?;
                make_folder(&work)?;
                // The folder itself is that of the upper layer, with its owner and rights.
                std::fs::set_permissions(&upper, meta.permissions()).map_err(file)?;
                let owner = (Some(Uid::from_raw(meta.uid())), Some(Gid::from_raw(meta.gid())));
                ignore(rustix::fs::chown(&upper, owner.0, owner.1), "what is another user's is a copy of ours, then");
                Some((upper, work))
            }
        };
        let layer = layer.as_ref().map(|(upper, work)| (upper.as_path(), work.as_path()));
        place::overlay(folder, &self.inside(folder), &self.below, layer)
    }

    /// The folders below this one that are empty, and the command's own.
    fn own_folders(&self, below: &Path) -> Result<(), NetError> {
        let own = OWN.iter().map(|(path, options)| (Path::new(path), options));
        let own = own.filter(|(path, _)| path.starts_with(below) && *path != below);
        for (path, options) in own.filter(|(path, _)| self.hidden.iter().any(|hidden| hidden == path)) {
            place::empty(&self.inside(path), options)?;
        }
        Ok(())
    }

    /// Let a file or folder be read, wherever it lies; the path holds no link.
    fn reveal(&mut self, path: &Path) -> Result<(), NetError> {
        if self.is_shown(path) || KERNEL.iter().any(|folder| path.starts_with(folder) && !path.starts_with("/dev/shm"))
        {
            return Ok(());
        }
        match std::fs::metadata(path) {
            Ok(meta) if meta.is_dir() => self.show_at(path, Writes::Refused),
            Ok(meta) if meta.is_file() => self.show_file(path),
            _ => Ok(()),
        }
    }

    /// Where a path leads, if it leads anywhere; the links on the way are made where they are not shown.
    fn follow(&self, path: &Path) -> Result<Option<PathBuf>, NetError> {
        let make = |link: &Path, to: &Path| match self.is_shown(link) {
            true => Ok(()),
            false => make_link(&self.inside(link), to),
        };
        match links::follow(path, make) {
            Ok(real) => Ok(Some(real)),
            Err(Stopped::Link(error)) => Err(error),
            // It leads nowhere, to this user.
            Err(Stopped::Look { source, .. })
                if matches!(
                    Errno::from_raw(source.raw_os_error().unwrap_or_default()),
                    Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP
                ) =>
            {
                Ok(None)
            }
            Err(Stopped::Look { path, source }) => Err(NetError::File { path: name(&path), source }),
        }
    }

    /// Look through a folder that is to be written to, but for what is covered there.
    fn survey(&self, folder: &Path) -> Result<Survey, NetError> {
        Survey::of(folder, &|path| self.mounts.begins(path) || self.hidden.iter().any(|hidden| hidden == path))
    }

    /// Let a folder be written to as it is: what is made there stays. So its sockets and FIFOs had to be looked for, and
    /// what is mounted below it is only shown.
    fn write_through(&mut self, folder: &Path, survey: &Survey) -> Result<(), NetError> {
        let target = self.inside(folder);
        make_folder(&target)?;
        let below: Vec<_> = self.mounts.first_below(folder).into_iter().map(Path::to_owned).collect();
        // A part of a tree that came from a more privileged namespace cannot be had without what is mounted there.
        let flags = if below.is_empty() { MsFlags::empty() } else { MsFlags::MS_REC };
        place::bind(&open_path(folder)?, &target, flags)?;
        place::restrict(&target, MsFlags::empty())?;
        self.shown.push(folder.to_owned());
        self.own_folders(folder)?;
        for point in below {
            self.cover(&point)?;
        }
        for folder in &survey.closed {
            still_there(place::empty(&self.inside(folder), "mode=700"))?;
        }
        for venv in &survey.venvs {
            self.cover(venv)?;
        }
        survey
            .ends
            .iter()
            .try_for_each(|end| still_there(place::bind(&self.nothing, &self.inside(end), MsFlags::empty())))
    }

    /// Cover a place below a folder that can be written to with what is there, to be read; with nothing where that
    /// leads to another host.
    fn cover(&mut self, point: &Path) -> Result<(), NetError> {
        let target = self.inside(point);
        let shows = self.mounts.is_local(point);
        match std::fs::symlink_metadata(&target) {
            Ok(meta) if meta.is_dir() => {
                place::empty(&target, "mode=700")?;
                self.hidden.push(point.to_owned());
                if shows { self.show_at(point, Writes::Refused) } else { Ok(()) }
            }
            Ok(_) => place::bind(&self.nothing, &target, MsFlags::empty()),
            // Hidden by what is mounted above it, or in a folder that nobody in there may enter.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(()),
            Err(source) => Err(NetError::File { path: name(point), source }),
        }
    }

    /// Put one file or socket of the host into its place, or into another's.
    fn lend(&self, from: &Path, to: Option<&Path>) -> Result<(), NetError> {
        // What is not there cannot be lent; a socket that comes later is for the next command.
        let Some(real) = self.follow(to.unwrap_or(from))?.or_else(|| to.map(Path::to_owned)) else { return Ok(()) };
        let target = self.inside(&real);
        make_file(&target)?;
        place::bind(&open_path(from)?, &target, MsFlags::empty())
    }
}

/// What was removed meanwhile needs no cover.
fn still_there(covered: Result<(), NetError>) -> Result<(), NetError> {
    match covered {
        Err(NetError::Mount { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
