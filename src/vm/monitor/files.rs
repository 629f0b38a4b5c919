//! The files that QEMU gets, open: it could not open them itself.

use super::guest::StartError;
use crate::drive::Drive;
use crate::qemu::template::Part;
use crate::qemu::{Fds, Machine, Storage};
use camino::Utf8Path;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// The files of one start of QEMU. They are dropped once it runs: their locks are QEMU's.
#[derive(Default)]
pub(super) struct Files {
    /// Our end of the disk that can lose its power; only an overlay is on one.
    pub(super) drive: Option<Drive>,
    theirs: Option<UnixStream>,
    golden: Option<File>,
    template: Option<File>,
    ram: Option<File>,
    state: Option<File>,
    memory: Option<File>,
    seed: Option<File>,
    media: Vec<File>,
}

impl Files {
    /// Open all that a machine has.
    pub(super) fn open(machine: &Machine) -> Result<Self, StartError> {
        let part = machine.template.as_ref();
        let saved = part.and_then(Part::saved);
        match &machine.storage {
            Storage::Overlay(overlay) => {
                let unusable = |e: &dyn std::fmt::Display| StartError::Machine {
                    why: format!("its disk {} cannot be used: {e}", overlay.disk),
                };
                let (ours, theirs) = UnixStream::pair().map_err(|e| StartError::Spawn { why: e.to_string() })?;
                Ok(Self {
                    drive: Some(Drive::start(&overlay.disk, ours).map_err(|e| unusable(&e))?),
                    theirs: Some(theirs),
                    template: part.and_then(Part::disk).map(|disk| opened(disk, false)).transpose()?,
                    ram: saved.map(|(saved, write)| opened(&saved.memory, write)).transpose()?,
                    // What QEMU finds in a set of descriptors has the access that it wants, and no more than that.
                    state: saved.map(|(saved, write)| opened_for(&saved.state, !write, write)).transpose()?,
                    golden: overlay.golden.as_ref().map(|golden| opened(&golden.path, false)).transpose()?,
                    memory: Some(opened(&overlay.memory, true)?),
                    seed: Some(opened(&overlay.seed, false)?),
                    media: Vec::new(),
                })
            }
            Storage::Media(media) => {
                let files = media.files().into_iter().map(|(path, write)| opened(path, write));
                Ok(Self { media: files.collect::<Result<_, _>>()?, ..Self::default() })
            }
        }
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
            drive: self.theirs.as_ref().map_or(-1, AsRawFd::as_raw_fd),
            golden: number(&self.golden),
            template: number(&self.template),
            ram: number(&self.ram),
            state: number(&self.state),
            memory: number(&self.memory),
            seed: number(&self.seed),
            media: self.media.iter().map(AsRawFd::as_raw_fd).collect(),
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
