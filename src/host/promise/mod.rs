//! What the machines of this host will take of its memory. A guest's memory is taken page by page, so what is free says
//! little beside a VM that has only begun: each VM's memory is promised before it starts, and what is promised and not used
//! yet is not there for the next one.
//!
//! A promise is a locked file in a folder that all users of the host see. The command that starts a VM makes it, the VM's monitor
//! inherits the lock and has it as long as it lives: the kernel ends a promise with its last holder, even on SIGKILL. A file
//! without a holder counts for nothing, and is removed by the next run that is allowed to.

mod judge;
mod place;

pub use judge::Refused;
pub use place::Place;

use crate::failure::{Blame, Exit};
use crate::lock::LockError;
use crate::memory;
use crate::names::MiB;
use crate::presence::ignore;
use crate::process::ProcessId;
use crate::stop;
use camino::Utf8PathBuf;
use judge::{Room, judge};
use place::{Own, Turn};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::fs::File;
use std::time::Duration;

/// How often a run that waits looks whether its turn has come.
const PERIOD: Duration = Duration::from_millis(500);

/// What a run is about to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Whose it is, as others are told: `cycle askari`.
    pub what: String,
    /// The guest's memory.
    pub guest: MiB,
    /// What QEMU and the processes around it take beside that.
    pub beside: MiB,
    /// The guest's virtual CPUs.
    pub vcpus: u8,
    /// The least memory that must be available.
    pub min_free: MiB,
}

impl Need {
    /// What it takes in all.
    pub fn mem(&self) -> MiB {
        MiB(self.guest.0.saturating_add(self.beside.0))
    }
}

/// What stands in a promise's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose it is.
    pub what: String,
    /// How much it takes in all.
    pub mem: MiB,
    /// The guest's virtual CPUs.
    pub vcpus: u8,
    /// The command that made it.
    pub by: ProcessId,
    /// The VM's monitor, once it has one: QEMU is its child.
    #[serde(default)]
    pub monitor: Option<ProcessId>,
    /// Its place in the order: when it came, in nanoseconds since the host's boot.
    pub ticket: u64,
    /// It waits for its turn, and has nothing yet.
    #[serde(default)]
    pub waits: bool,
}

/// A promise that holds, or a wish that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What is promised.
    pub entry: Entry,
    /// Whose file it is.
    pub uid: u32,
    /// How much of it is used by now; none where that cannot be seen, which counts as nothing.
    pub used: Option<MiB>,
}

impl Held {
    /// What is still to be taken.
    pub fn outstanding(&self) -> MiB {
        MiB(self.entry.mem.0.saturating_sub(self.used.unwrap_or(MiB(0)).0))
    }

    /// The groups that its memory is counted in; none where that cannot be seen.
    fn groups(&self) -> Option<Vec<Utf8PathBuf>> {
        memory::groups_of(self.entry.monitor.unwrap_or(self.entry.by).pid).ok()
    }
}

/// Why nothing was promised.
#[derive(Debug, thiserror::Error)]
pub enum PromiseError {
    /// There is too little memory.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Unknown how much there is.
    #[error("{why}")]
    Unknown {
        /// Why not.
        why: String,
    },
    /// The promises of others cannot be read, or an own one not be written.
    #[error("cannot see what memory is promised on this host: {path}")]
    Io {
        /// The file or the folder.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file is in the way.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The user has stopped the wait.
    #[error("stopped by the user while it waited for memory")]
    Stopped,
}

impl Blame for PromiseError {
    fn exit(&self) -> Exit {
        match self {
            Self::Stopped => Exit::Interrupted,
            _ => Exit::Host,
        }
    }

    fn next(&self) -> Option<String> {
        match self {
            Self::Refused(refused) => refused.next(),
            Self::Unknown { .. } => Some("mount /proc; this takes Linux 3.14 or newer".into()),
            Self::Io { path, .. } => Some(format!("look at {path}: what holds no lock there may be removed")),
            Self::Lock(_) | Self::Stopped => None,
        }
    }
}

/// A promise of this process's. It falls with this, unless a VM's monitor has taken it over.
#[derive(Debug)]
pub struct Promise {
    own: Own,
    monitor: Cell<Option<ProcessId>>,
}

impl Promise {
    /// Promise what a run needs, if there is as much. Where others are in the way, `waiting` is called again and again with what
    /// they have; without it, or where it would be of no use to wait, that is the error.
    pub fn take(place: &Place, need: &Need, waiting: Option<&dyn Fn(&Refused)>) -> Result<Self, PromiseError> {
        let mut entry = Entry {
            what: need.what.clone(),
            mem: need.mem(),
            vcpus: need.vcpus,
            by: ProcessId::own(),
            monitor: None,
            ticket: place::now(),
            waits: false,
        };
        place.make()?;
        let mut queued: Option<Self> = None;
        loop {
            let turn = place.turn()?;
            let others = turn.others(queued.as_ref().map(|queued| &queued.own))?;
            let refused = match judge(need, &rooms()?, &others, entry.ticket) {
                Ok(()) => {
                    entry.waits = false;
                    return match queued {
                        Some(queued) => queued.own.rewrite(&turn, &entry).map(|()| queued),
                        None => Self::of(&turn, &entry),
                    };
                }
                Err(refused) => refused,
            };
            let waiting = waiting.filter(|_| refused.may_pass()).ok_or_else(|| refused.clone())?;
            if queued.is_none() {
                entry.waits = true;
                queued = Some(Self::of(&turn, &entry)?);
            }
            drop(turn);
            waiting(&refused);
            std::thread::sleep(PERIOD);
            if stop::asked() {
                return Err(PromiseError::Stopped);
            }
        }
    }

    fn of(turn: &Turn<'_>, entry: &Entry) -> Result<Self, PromiseError> {
        Ok(Self { own: turn.add(entry)?, monitor: Cell::new(None) })
    }

    /// The open file, for the monitor to inherit.
    pub fn file(&self) -> &File {
        self.own.lock().file()
    }

    /// The VM has a monitor, which has inherited [`Promise::file`]: it holds the promise from now on.
    pub fn held_by(&self, monitor: ProcessId) {
        self.monitor.set(Some(monitor));
        // Without it the VM counts as one that has used nothing yet.
        ignore(self.own.held_by(monitor), "then less is there for others, and never more");
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if !self.monitor.get().is_some_and(|monitor| monitor.is_alive()) {
            self.own.remove();
        }
    }
}

/// What there is: on the host, and in each group that limits this process.
fn rooms() -> Result<Vec<Room>, PromiseError> {
    let unknown = |why| PromiseError::Unknown { why };
    let host = Room { group: None, left: memory::available().map_err(unknown)? };
    let groups = memory::limits().map_err(unknown)?.into_iter();
    Ok([host].into_iter().chain(groups.map(|(group, left)| Room { group: Some(group), left })).collect())
}

/// What holds now, the oldest first, and how much memory there is beside it in the narrowest place.
pub fn look(place: &Place) -> Result<(Vec<Held>, MiB), PromiseError> {
    let held = if place.is_there() { place.turn()?.others(None)? } else { Vec::new() };
    let left = rooms()?.into_iter().map(|room| room.beside(&held, u64::MAX)).min().unwrap_or(MiB(0));
    Ok((held, left))
}

#[cfg(test)]
mod tests;
