//! What can be wrong with a snapshot.

use crate::access::AccessError;
use crate::monitor::ClientError;
use crate::monitor::events::JournalError;
use crate::qemu::MachineError;
use crate::qmp::job::JobError;
use crate::ssh::SshError;
use crate::wait::WaitError;
use camino::Utf8PathBuf;
use host::dirs::DirError;
use host::failure::{Blame, Exit};
use host::names::{BadName, SnapshotName};

/// Why there is no snapshot, or no way back to it.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// None of that name was taken.
    #[error("the VM has no snapshot {name}{}", there(.others))]
    None {
        /// The name.
        name: SnapshotName,
        /// Those that it has.
        others: Vec<String>,
    },
    /// One of that name was taken.
    #[error("there is a snapshot {name} already, of {at}")]
    Exists {
        /// The name.
        name: SnapshotName,
        /// When it was taken.
        at: String,
    },
    /// Its description cannot be used.
    #[error("the snapshot's description {path} cannot be read")]
    Description {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Its description cannot be written.
    #[error(transparent)]
    Write(DirError),
    /// The monitor or QEMU said no.
    #[error("cannot {what}")]
    Monitor {
        /// What was wanted.
        what: &'static str,
        /// What they said.
        #[source]
        source: ClientError,
    },
    /// QEMU could not do it.
    #[error("cannot take the snapshot")]
    Job(#[source] JobError),
    /// The guest cannot be asked.
    #[error("cannot ask the guest {when}")]
    Guest {
        /// Before the snapshot or after the restore.
        when: &'static str,
        /// Why not.
        #[source]
        source: SshError,
    },
    /// The guest's boot id is invalid.
    #[error("the guest's boot id cannot be read")]
    BootId(#[source] BadName),
    /// The machine was restarted meanwhile.
    #[error("{what} (event {seq}) came in between: this is no {wanted}")]
    Restarted {
        /// The event.
        what: String,
        /// Its number in the journal.
        seq: u64,
        /// What it spoilt.
        wanted: &'static str,
    },
    /// The guest is another one than the snapshot's.
    #[error("this is not the snapshot's machine: its {what} is {found}, not {wanted}")]
    Other {
        /// What differs.
        what: &'static str,
        /// What the guest has.
        found: String,
        /// What the snapshot has.
        wanted: String,
    },
    /// The guest's clock does not stay where it is put.
    #[error("the guest's clock is off by {off_s:.2} s after it was set {tries} times")]
    Clock {
        /// How far, in seconds.
        off_s: f64,
        /// How often it was set.
        tries: u32,
    },
    /// The wait failed.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// The restored guest cannot be reached.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The machine's description cannot be read.
    #[error(transparent)]
    Machine(MachineError),
}

impl Blame for SnapshotError {
    fn exit(&self) -> Exit {
        match self {
            Self::None { .. } | Self::Exists { .. } => Exit::Usage,
            Self::Write(e) => e.exit(),
            Self::Wait(e) | Self::Access(AccessError::Wait(e)) => e.exit(),
            _ => Exit::Lost,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::None { name, .. } if *name == SnapshotName::applied() => {
                Some("`boma-qemu apply` takes it, unless --no-snapshot is given".into())
            }
            Self::None { name, .. } => Some(format!("`boma-qemu snapshot HOST {name}` takes it as the machine is now")),
            Self::Exists { name, .. } => {
                Some(format!("choose another name, or remove it with `boma-qemu snapshot HOST --drop {name}`"))
            }
            Self::Write(e) => e.next(),
            Self::Monitor { source, .. } => source.next(),
            Self::Job(e) => e.next(),
            Self::Description { .. } | Self::Other { .. } | Self::BootId(_) => {
                Some("the snapshot is of no use: start anew with `boma-qemu down` and `up`".into())
            }
            _ => None,
        }
    }
}

impl From<JobError> for SnapshotError {
    fn from(error: JobError) -> Self {
        Self::Job(error)
    }
}

/// The snapshots that there are, for the sentence that one is not.
fn there(others: &[String]) -> String {
    match others {
        [] => String::new(),
        names => format!("; it has {}", names.join(", ")),
    }
}
