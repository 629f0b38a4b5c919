//! What lies in a folder that is written to as it is, and is not a plain file: it has to be found.

use super::place::name;
use crate::network::NetError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What was found, each by its path.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Survey {
    /// Sockets, FIFOs and devices.
    pub ends: Vec<PathBuf>,
    /// Symbolic links.
    pub links: Vec<PathBuf>,
    /// Python's virtual environments. They have thousands of files, and are not looked into.
    pub venvs: Vec<PathBuf>,
    /// Folders that cannot be listed. They can be entered all the same by who knows a name in them.
    pub closed: Vec<PathBuf>,
}

impl Survey {
    /// Look through a folder and those below it, but for what is to be left out.
    pub(super) fn of(folder: &Path, left_out: &dyn Fn(&Path) -> bool) -> Result<Self, NetError> {
        let mut survey = Self::default();
        survey.look(folder.to_owned(), left_out)?;
        Ok(survey)
    }

    fn look(&mut self, folder: PathBuf, left_out: &dyn Fn(&Path) -> bool) -> Result<(), NetError> {
        let failed = |source| NetError::File { path: name(&folder), source };
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            // It was removed meanwhile.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                self.closed.push(folder);
                return Ok(());
            }
            Err(source) => return Err(failed(source)),
        };
        let (mut folders, mut ends, mut links) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_symlink() {
                links.push(entry.path());
            } else if !kind.is_file() {
                ends.push(entry.path());
            } else if entry.file_name() == "pyvenv.cfg" {
                // Where its Python comes from, which may lie anywhere.
                self.links.push(folder.join("bin/python"));
                self.venvs.push(folder);
                return Ok(());
            }
        }
        self.ends.append(&mut ends);
        self.links.append(&mut links);
        folders.into_iter().filter(|folder| !left_out(folder)).try_for_each(|folder| self.look(folder, left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_fifos_and_links_are_found_and_a_virtual_environment_is_one_thing() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["a/b", "v/bin", "left"] {
            std::fs::create_dir_all(path(folder)).unwrap();
        }
        let _sockets =
            ["a/b/s", "v/s", "left/s"].map(|name| std::os::unix::net::UnixListener::bind(path(name)).unwrap());
        nix::unistd::mkfifo(&path("f"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/nowhere", path("a/l")).unwrap();
        std::fs::write(path("v/pyvenv.cfg"), "").unwrap();
        let mut found = Survey::of(dir.path(), &|folder| folder.ends_with("left")).unwrap();
        found.links.sort();
        found.ends.sort();
        let expected = Survey {
            ends: vec![path("a/b/s"), path("f")],
            links: vec![path("a/l"), path("v/bin/python")],
            venvs: vec![path("v")],
            closed: Vec::new(),
        };
        assert_eq!(found, expected);
    }
}
