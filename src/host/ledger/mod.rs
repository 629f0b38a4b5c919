//! The ledger: every change to the host is one value, written down before it is made.
//!
//! `do_` writes the intent, acts, and writes "done". Undo runs newest first, each entry at most once,
//! goes on past errors, and counts "already gone" as success. Afterwards every entry is probed: what
//! is still there is a leak and is reported by name. What is not in a ledger is never touched,
//! whatever it is called.

mod change;
pub mod folder;
mod point;
pub mod scratch;

pub use change::{Change, Kind, Netns, Step};
pub use point::classes;

use super::dirs::DirError;
use super::failpoint;
use super::presence::{Presence, ignore};
use super::process::ProcessId;
use super::turn;
use crate::failure::{Blame, Exit};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// Where the kernel tells one boot from another.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Why the ledger could not be written, or the change not be made.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The ledger cannot be read or written; then nothing may be changed.
    #[error("cannot write the ledger {path}")]
    Io {
        /// The ledger file.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The folder that it is to lie in cannot be had.
    #[error(transparent)]
    Folder(#[from] DirError),
    /// Which boot of the host this is, is not known: then neither is what is left of another one.
    #[error("cannot read the host's boot id at {BOOT_ID}")]
    Boot {
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A line in the middle cannot be read.
    #[error("the ledger {path} is damaged at line {line}")]
    Damaged {
        /// The ledger file.
        path: Utf8PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why it cannot be read.
        #[source]
        source: serde_json::Error,
    },
}

impl Blame for LedgerError {
    fn exit(&self) -> Exit {
        match self {
            Self::Folder(error) => error.exit(),
            _ => Exit::Host,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Folder(error) => error.next(),
            Self::Io { .. } => Some("free some disk space, or check who owns the state folder".into()),
            Self::Boot { .. } => Some("let this process read /proc".into()),
            Self::Damaged { .. } => Some("read the file: it lists what to undo by hand; then remove it".into()),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
enum Line {
    Intent {
        seq: u64,
        /// The boot of the host that it was written in; empty if that is not known.
        #[serde(default)]
        boot: String,
        change: Change,
    },
    Done {
        seq: u64,
    },
    Undone {
        seq: u64,
    },
}

impl Line {
    fn step(&self) -> Step {
        match self {
            Self::Intent { .. } => Step::Intent,
            Self::Done { .. } => Step::Done,
            Self::Undone { .. } => Step::Undone,
        }
    }
}

/// The changes of one VM or one network, on disk.
#[derive(Debug)]
pub struct Ledger {
    path: Utf8PathBuf,
    file: File,
    entries: Vec<(u64, Change)>,
    next: u64,
}

/// Something of ours that is still there after the undo, or that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// What it is.
    pub what: String,
    /// Why it is, or why that is not known.
    pub why: String,
}

impl Ledger {
    /// Open the ledger at `path`, made if it is not there. A torn last line (power loss in the
    /// middle of a write) is dropped: its change was not begun.
    pub fn open(path: &Utf8Path) -> Result<Self, LedgerError> {
        let io = |source| LedgerError::Io { path: path.to_owned(), source };
        // Not as text: what a power loss leaves at the end of a file can be anything.
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(io(e)),
        };
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (mut entries, mut next, now) = (Vec::new(), 0, this_boot()?);
        for (n, line) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
            let damaged = |source| LedgerError::Damaged { path: path.to_owned(), line: n + 1, source };
            match serde_json::from_slice(line).map_err(damaged)? {
                Line::Intent { seq, boot, change } => {
                    // What bears its name since another boot of the host is somebody else's.
                    if boot == now || boot.is_empty() || change.outlives_a_boot() {
                        entries.push((seq, change));
                    }
                    next = next.max(seq + 1);
                }
                Line::Done { .. } => {}
                Line::Undone { seq } => entries.retain(|(s, _)| *s != seq),
            }
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(io)?;
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(io)?;
        }
        Ok(Self { path: path.to_owned(), file, entries, next })
    }

    /// Write the intent, act, write "done". If the act fails the entry stays: a half-made change is
    /// undone like a whole one.
    pub fn do_<T, E: From<LedgerError>>(&mut self, change: Change, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let _span = tracing::debug_span!("do", %change).entered();
        let seq = self.intend(change.clone())?;
        let made = act()?;
        self.write(&Line::Done { seq }, &change)?;
        Ok(made)
    }

    /// Write down something that is there already: a process, which has no identity before it runs.
    /// It must be bound to its parent until this returns.
    pub fn adopt(&mut self, change: Change) -> Result<(), LedgerError> {
        let seq = self.intend(change.clone())?;
        self.write(&Line::Done { seq }, &change)
    }

    /// What is written down and not undone, oldest first.
    pub fn changes(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.entries.iter().map(|(_, change)| change)
    }

    /// Undo everything, newest first, and report what is still there afterwards.
    /// Without leaks the ledger file itself goes last.
    pub fn undo(mut self) -> Vec<Leak> {
        let leaks = self.undo_entries();
        if leaks.is_empty() {
            ignore(std::fs::remove_file(&self.path), "it says that all of it is undone");
        }
        leaks
    }

    /// The same for the process that keeps this ledger, when nobody else can find the file any more: all but that
    /// process itself, and no file or folder, since what is at its path now is another's.
    pub fn undo_beside_self(mut self) -> Vec<Leak> {
        let own = ProcessId::own();
        self.entries.retain(|(_, change)| match change {
            Change::Process { id, .. } => *id != own,
            Change::File { .. } | Change::Folder { .. } => false,
            _ => true,
        });
        self.undo_entries()
    }

    /// Its own folder goes last, and only if all else is gone: with it goes what says what is still there.
    fn undo_entries(&mut self) -> Vec<Leak> {
        let path = self.path.clone();
        let is_home = |change: &Change| matches!(change, Change::Folder { path: of } if path.starts_with(of));
        let newest_first = std::mem::take(&mut self.entries).into_iter().rev();
        let (home, rest): (Vec<_>, Vec<_>) = newest_first.partition(|(_, change)| is_home(change));
        let mut leaks = self.undo_these(rest);
        if leaks.is_empty() {
            return self.undo_these(home);
        }
        let why = || "it stays: its ledger says what else is still there".to_owned();
        leaks.extend(home.iter().map(|(_, change)| Leak { what: change.to_string(), why: why() }));
        leaks
    }

    fn undo_these(&mut self, newest_first: Vec<(u64, Change)>) -> Vec<Leak> {
        // What is removed by name on the host must not be somebody else's who has just taken the name.
        let turn = match newest_first.iter().any(|(_, change)| change.is_on_the_host()) {
            true => turn::turn(),
            false => Ok(None),
        };
        if let Err(error) = &turn {
            let leak = |(_, change): &(u64, Change)| Leak { what: change.to_string(), why: error.to_string() };
            return newest_first.iter().filter(|(_, change)| !change.presence().is_gone()).map(leak).collect();
        }
        let mut words = Vec::new();
        let mut group = 0..0;
        for (n, (_, change)) in newest_first.iter().enumerate() {
            if !group.contains(&n) {
                group = n..n + ask_together(&newest_first[n..]);
            }
            failpoint::reached(failpoint::Point::Ledger(&point::Point(Step::Undoing, change)));
            let _span = tracing::debug_span!("undo", %change).entered();
            words.push(change.undo(&self.path).err().unwrap_or_default());
        }
        // Probing comes after all undoing: a link can need its keeper's end to be gone.
        let mut leaks = Vec::new();
        for ((seq, change), said) in newest_first.into_iter().zip(words) {
            let why = match change.presence() {
                Presence::Gone => {
                    let written = self.write(&Line::Undone { seq }, &change);
                    ignore(written, "the folder of the ledger may be among what was undone; else it is undone again");
                    continue;
                }
                Presence::There if said.is_empty() => "it was undone and is still there".into(),
                Presence::There => said,
                Presence::Unknown(why) => format!("it may still be there: {why}"),
            };
            leaks.push(Leak { what: change.to_string(), why });
        }
        leaks
    }

    fn intend(&mut self, change: Change) -> Result<u64, LedgerError> {
        let seq = self.next;
        self.write(&Line::Intent { seq, boot: this_boot()?, change: change.clone() }, &change)?;
        self.next += 1;
        self.entries.push((seq, change));
        Ok(seq)
    }

    fn write(&mut self, line: &Line, change: &Change) -> Result<(), LedgerError> {
        let io = |source| LedgerError::Io { path: self.path.clone(), source };
        let mut text = serde_json::to_vec(line).map_err(|e| io(e.into()))?;
        text.push(b'\n');
        let before = self.file.metadata().map_err(io)?.len();
        if let Err(full) = self.file.write_all(&text) {
            // The next line would be added to the half that was written, and both be lost.
            ignore(
                self.file.set_len(before),
                "the change is not made, and a torn last line is cut back when it is opened",
            );
            return Err(io(full));
        }
        // Only an intent must be on disk before the world changes.
        if let Line::Intent { .. } = line {
            self.file.sync_data().map_err(io)?;
        }
        failpoint::reached(failpoint::Point::Ledger(&point::Point(line.step(), change)));
        Ok(())
    }
}

/// The host's boot id.
fn this_boot() -> Result<String, LedgerError> {
    let text = std::fs::read_to_string(BOOT_ID).map_err(|source| LedgerError::Boot { source })?;
    Ok(text.trim().to_owned())
}

/// Ask the processes at the head of `changes` to end, so that they do so side by side; the number of changes
/// up to the first that is neither a process nor goes with one. What comes after it waits for its turn.
fn ask_together(changes: &[(u64, Change)]) -> usize {
    let needs_no_work = |change: &Change| matches!(change, Change::Process { .. }) || change.goes_with_its_keeper();
    let head = changes.iter().take_while(|(_, change)| needs_no_work(change));
    head.inspect(|(_, change)| {
        if let Change::Process { id, .. } = change {
            id.ask_to_end();
        }
    })
    .count()
}

#[cfg(test)]
mod tests;
