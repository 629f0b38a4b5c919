//! What goes over the control socket: one JSON object per line each way, answers in order.

use super::guest::StartError;
use crate::qemu::Accel;
use crate::qmp::QmpError;
use host::process::ProcessId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// The longest request, in bytes.
pub(crate) const LONGEST_REQUEST: usize = 1 << 20;

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Comes back in the answer.
    pub(crate) id: u64,
    /// What is wanted.
    pub(crate) ask: Ask,
}

/// What the monitor can be asked. It decides nothing: each is done as it is said, or refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// Run a QMP command.
    Qmp { command: String, arguments: Value, limit: Duration },
    /// Type on the serial console.
    ConsoleWrite { bytes: Vec<u8>, limit: Duration },
    /// Kill QEMU if it runs, and start it on `machine.json` as that is now.
    PowerCycle {},
    /// The same, and what the guest wrote to its disk and never flushed is gone.
    PowerLoss {},
    /// Keep a log of what the first disk is given, or do something with it.
    DriveLog { step: LogStep },
    /// Write down what a command did to the VM.
    Note { kind: String, data: Value },
    /// Kill QEMU if it runs, start it on `machine.json`, and let it go on from a snapshot.
    Restore { snapshot: String },
    /// End QEMU, then the monitor.
    Stop {},
    /// Say how things are.
    Status {},
}

/// What becomes of the log of the first disk's drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogStep {
    /// It begins; the image stays as it is from here on.
    Begin,
    /// A mark is put into it.
    Mark,
    /// It is written to the file for it in the VM's folder.
    Save,
    /// It ends, and the image gets what it did not get meanwhile.
    End,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// The request's id; none if the request could not be read.
    pub id: Option<u64>,
    /// What came of it.
    pub outcome: Result<Value, Refusal>,
}

/// Why the monitor did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// QMP said no, or nothing.
    #[error(transparent)]
    Qmp(QmpError),
    /// QEMU did not start.
    #[error(transparent)]
    Start(StartError),
    /// QEMU is not running.
    #[error("QEMU is not running: {why}")]
    NotRunning {
        /// How it ended.
        why: String,
    },
    /// The console took nothing.
    #[error("cannot type on the console: {why}")]
    Console {
        /// Why not.
        why: String,
    },
    /// There is nothing that could lose what was not flushed.
    #[error("the machine boots from media, whose disks lose nothing with the power: no power loss can be shown")]
    NoDrive {},
    /// The drive could not.
    #[error("the log of what the disk is given: {why}")]
    DriveLog {
        /// Why not.
        why: String,
    },
    /// The request makes no sense.
    #[error("the monitor does not understand the request: {why}")]
    Request {
        /// What is wrong with it.
        why: String,
    },
    /// Too many connections at once.
    #[error("the monitor has {clients} clients already")]
    Crowded {
        /// How many.
        clients: usize,
    },
}

/// How things are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The monitor's own process.
    pub monitor: ProcessId,
    /// QEMU.
    pub qemu: QemuStatus,
    /// The boots so far.
    pub boots: u64,
    /// The length of the console log, in bytes.
    pub console: u64,
    /// The number of the last event in the journal.
    pub last_event: u64,
}

/// How QEMU is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum QemuStatus {
    /// It runs (the guest in it may be paused: ask `query-status`).
    Running {
        /// Its process.
        process: ProcessId,
        /// What runs the guest.
        accel: Accel,
    },
    /// It does not run.
    Ended {
        /// How it ended, or why it never began.
        why: String,
    },
}
