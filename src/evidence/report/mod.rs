//! The run folder: what is kept as evidence of one run, and the formats it is written in.
//!
//! `started` is the first file written and `result.json` the last, so a run that died says so itself.
//!
//! Not fuzzed: what is read here is this program's own.

pub mod junit;

use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{self, Dirs, Use};
use host::failure::{Blame, Exit, Failure};
use host::names::HostName;
use host::secrets::masked;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::time::SystemTime;
use vm::console::gap;

/// The evidence folder of one run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: Utf8PathBuf,
}

/// Why evidence could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the evidence {path}")]
pub struct ReportError {
    path: Utf8PathBuf,
    #[source]
    source: std::io::Error,
}

impl Blame for ReportError {
    fn exit(&self) -> Exit {
        Exit::Host
    }
    fn next(&self) -> Option<String> {
        Some("free some disk space, or set BOMA_RUNS to a folder that can be written".into())
    }
}

impl RunFolder {
    /// A new folder `<time>-<host>`, with `started` in it and `latest` pointing to it.
    pub fn create(dirs: &Dirs, host: &HostName, command: &str) -> Result<Self, Failure> {
        Self::create_for(dirs, host.as_str(), command)
    }

    /// The same for what is not one host's run: `what` takes the host's place in its name.
    pub fn create_for(dirs: &Dirs, what: &str, command: &str) -> Result<Self, Failure> {
        let now = SystemTime::now();
        let stamp = humantime::format_rfc3339_seconds(now).to_string().replace(':', "");
        let mut name = format!("{stamp}-{what}");
        let runs = &dirs.runs;
        let fail = |path: &Utf8Path| {
            let path = path.to_owned();
            move |source| ReportError { path, source }
        };
        dirs::make(runs, Use::Runs)?;
        let path = loop {
            let path = runs.join(&name);
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => break path,
                // Two runs in one second: the second gets a name of its own.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => name.push('+'),
                Err(e) => return Err(fail(&path)(e).into()),
            }
        };
        let run = Self { path };
        run.write("started", format!("{}\n{command}\n", humantime::format_rfc3339_millis(now)))?;
        run.point_latest(runs, &name)?;
        Ok(run)
    }

    /// The folder that an earlier command of the same run made.
    pub fn open(path: impl Into<Utf8PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Write one file, with its folders, whole or not at all.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<(), ReportError> {
        let path = self.path.join(name);
        let fail = |source| ReportError { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
        }
        let temporary = path.with_extension("part");
        // A file of an earlier run that was killed here is no longer wanted.
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&temporary).map_err(fail)?;
        file.write_all(&masked(bytes.as_ref())).map_err(fail)?;
        std::fs::rename(&temporary, &path).map_err(fail)
    }

    /// Copy a file into the folder; one that is not there is left out.
    pub fn copy(&self, from: &Utf8Path, name: &str) -> Result<(), ReportError> {
        match std::fs::read(from) {
            Ok(bytes) => self.write(name, bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(ReportError { path: from.to_owned(), source }),
        }
    }

    /// Copy a file that can have a gap into the folder: a console's log, QEMU's words. One that is not there is left out.
    pub fn copy_bounded(&self, from: &Utf8Path, name: &str) -> Result<(), ReportError> {
        let path = self.path.join(name);
        let temporary = path.with_extension("part");
        match gap::copy(from, &temporary).and_then(|()| std::fs::rename(&temporary, &path)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(|source| ReportError { path, source }),
        }
    }

    /// `latest` is replaced by a rename, so it always points to some run. What is no link is not ours, and stays.
    fn point_latest(&self, runs: &Utf8Path, name: &str) -> Result<(), ReportError> {
        let (link, fresh) = (runs.join("latest"), self.path.join("latest"));
        let fail = |source| ReportError { path: link.clone(), source };
        if link.symlink_metadata().is_ok_and(|meta| !meta.is_symlink()) {
            return Ok(());
        }
        // It waits in the run's own folder, where no other run's can be, nor one that was killed here.
        std::os::unix::fs::symlink(name, &fresh).map_err(fail)?;
        std::fs::rename(&fresh, &link).map_err(fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_in_one_second_have_two_folders_and_latest_is_the_second() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let dirs = Dirs { root: "/".into(), state: "/".into(), cache: "/".into(), runs: runs.clone() };
        let host = "askari".parse().unwrap();
        let first = RunFolder::create(&dirs, &host, "cycle askari").unwrap();
        let second = RunFolder::create(&dirs, &host, "cycle askari").unwrap();
        assert_ne!(first.path(), second.path());
        assert_eq!(runs.join("latest").canonicalize_utf8().unwrap(), second.path());
        assert!(first.path().join("started").exists() && !first.path().join("result.json").exists());
    }
}
