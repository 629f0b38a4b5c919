//! The files that QEMU gets, open: it could not open them itself.

use super::guest::StartError;
use crate::drive::Drive;
use crate::qemu::{Fds, Machine};
use camino::Utf8Path;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// The files of one start of QEMU. They are dropped once it runs: their locks are QEMU's.
#[derive(Default)]
pub(super) struct Files {
    /// Our ends of the disks that can lose their power; only an overlay and its data disks are on such.
    pub(super) drives: Vec<Drive>,
    theirs: Vec<UnixStream>,
    golden: Option<File>,
    memory: Option<File>,
    seed: Option<File>,
    others: Vec<File>,
}

impl Files {
    /// Open all that a machine has.
    pub(super) fn open(machine: &Machine) -> Result<Self, StartError> {
        let others = machine.files().into_iter().map(|(path, write)| opened(path, write));
        let mut files = Self { others: others.collect::<Result<_, _>>()?, ..Self::default() };
        let Some(overlay) = machine.overlay() else { return Ok(files) };
        for disk in overlay.drives() {
            let (ours, theirs) = UnixStream::pair().map_err(|e| StartError::Spawn { why: e.to_string() })?;
            let unusable = |e| StartError::Machine { why: format!("its disk {disk} cannot be used: {e}") };
            files.drives.push(Drive::start(disk, ours).map_err(unusable)?);
            files.theirs.push(theirs);
        }
        files.golden = overlay.golden.as_ref().map(|golden| opened(&golden.path, false)).transpose()?;
        files.memory = Some(opened(&overlay.memory, true)?);
        files.seed = Some(opened(&overlay.seed, false)?);
        Ok(files)
    }

    /// Their numbers, and those of what QEMU gets besides.
    pub(super) fn fds(&self, qmp: RawFd, serial: RawFd, tap: RawFd) -> Fds {
        let number = |file: &Option<File>| file.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        Fds {
            qmp,
            serial,
            tap,
            drives: self.theirs.iter().map(AsRawFd::as_raw_fd).collect(),
            golden: number(&self.golden),
            memory: number(&self.memory),
            seed: number(&self.seed),
            files: self.others.iter().map(AsRawFd::as_raw_fd).collect(),
        }
    }
}

fn opened(path: &Utf8Path, write: bool) -> Result<File, StartError> {
    let why = |e: std::io::Error| StartError::Machine { why: format!("its file {path} cannot be opened: {e}") };
    OpenOptions::new().read(true).write(write).open(path).map_err(why)
}
