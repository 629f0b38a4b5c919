//! The files that QEMU gets, open: it could not open them itself.

use super::guest::StartError;
use crate::drive::Drive;
use crate::qemu::template::Part;
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
    template: Option<File>,
    ram: Option<File>,
    state: Option<File>,
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
        let part = machine.template.as_ref();
        let saved = part.and_then(Part::saved);
        files.template = part.and_then(Part::disk).map(|disk| opened(disk, false)).transpose()?;
        files.ram = saved.map(|(saved, write)| opened(&saved.memory, write)).transpose()?;
        // What QEMU finds in a set of descriptors has the access that it wants, and no more than that.
        files.state = saved.map(|(saved, write)| opened_for(&saved.state, !write, write)).transpose()?;
        files.golden = overlay.golden.as_ref().map(|golden| opened(&golden.path, false)).transpose()?;
        files.memory = Some(opened(&overlay.memory, true)?);
        files.seed = Some(opened(&overlay.seed, false)?);
        Ok(files)
    }

    /// The file that is the guest's memory, if it is one.
    pub(super) fn ram(&self) -> Option<&File> {
        self.ram.as_ref()
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
            template: number(&self.template),
            ram: number(&self.ram),
            state: number(&self.state),
            memory: number(&self.memory),
            seed: number(&self.seed),
            files: self.others.iter().map(AsRawFd::as_raw_fd).collect(),
        }
    }
}

fn opened(path: &Utf8Path, write: bool) -> Result<File, StartError> {
    opened_for(path, true, write)
}

fn opened_for(path: &Utf8Path, read: bool, write: bool) -> Result<File, StartError> {
    let why = |e: std::io::Error| StartError::Machine { why: format!("its file {path} cannot be opened: {e}") };
    OpenOptions::new().read(read).write(write).open(path).map_err(why)
}
