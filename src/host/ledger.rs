//! The ledger: every change to the host is one value, written down before it is made.
//!
//! `do_` writes the intent, acts, and writes "done". Undo runs newest first, each entry at most once,
//! goes on past errors, and counts "already gone" as success. Afterwards every entry is probed: what
//! is still there is a leak and is reported by name. What is not in a ledger is never touched,
//! whatever it is called.

use super::cmd::Cmd;
use super::process::ProcessId;
use crate::failure::{Blame, Exit};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// One change to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Change {
    /// A process of ours; `role` is the word for it (`monitor`, `network holder`, `pasta`).
    Process {
        /// What it is for.
        role: String,
        /// Its identity.
        id: ProcessId,
    },
    /// A network link (bridge, tap, one end of a veth pair).
    Link {
        /// Its name.
        name: String,
        /// The network namespace it is in.
        netns: Netns,
    },
    /// An nftables table.
    NftTable {
        /// `inet`, `bridge`, `ip`, …
        family: String,
        /// Its name.
        name: String,
        /// The network namespace it is in.
        netns: Netns,
    },
    /// A kernel setting below `/proc/sys`.
    Sysctl {
        /// The path below `/proc/sys`, with slashes: `net/ipv4/ip_forward`.
        key: String,
        /// The value to put back.
        old: String,
        /// The value that we set; if it is another one later, somebody else owns it.
        new: String,
        /// The network namespace it is in.
        netns: Netns,
    },
    /// A file.
    File {
        /// Its absolute path.
        path: Utf8PathBuf,
    },
    /// A folder of our own with all that is in it.
    Folder {
        /// Its absolute path.
        path: Utf8PathBuf,
    },
}

/// Which network namespace a change was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Netns {
    /// The one that the program itself was started in.
    Host,
    /// One of our own, which goes, with all that is in it, when its keeper ends.
    Kept(ProcessId),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { role, id } => write!(f, "process {} ({role})", id.pid),
            Self::Link { name, .. } => write!(f, "network link {name}"),
            Self::NftTable { family, name, .. } => write!(f, "nft table {family} {name}"),
            Self::Sysctl { key, old, .. } => write!(f, "sysctl {key} (was {old})"),
            Self::File { path } => write!(f, "file {path}"),
            Self::Folder { path } => write!(f, "folder {path}"),
        }
    }
}

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
        Exit::Host
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Io { .. } => Some("free some disk space, or check who owns the state folder".into()),
            Self::Damaged { .. } => Some("read the file: it lists what to undo by hand; then remove it".into()),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
enum Line {
    Intent { seq: u64, change: Change },
    Done { seq: u64 },
    Undone { seq: u64 },
}

/// The changes of one VM or one network, on disk.
#[derive(Debug)]
pub struct Ledger {
    path: Utf8PathBuf,
    file: File,
    entries: Vec<(u64, Change)>,
    next: u64,
}

/// Something of ours that is still there after the undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// What it is.
    pub what: String,
    /// Why undoing it failed, if it said so.
    pub why: String,
}

impl Ledger {
    /// Open the ledger at `path`, made if it is not there. A torn last line (power loss in the
    /// middle of a write) is dropped: its change was not begun.
    pub fn open(path: &Utf8Path) -> Result<Self, LedgerError> {
        let io = |source| LedgerError::Io { path: path.to_owned(), source };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(io(e)),
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let (mut entries, mut next) = (Vec::new(), 0);
        for (n, line) in text[..whole].lines().enumerate() {
            let damaged = |source| LedgerError::Damaged { path: path.to_owned(), line: n + 1, source };
            match serde_json::from_str(line).map_err(damaged)? {
                Line::Intent { seq, change } => {
                    entries.push((seq, change));
                    next = next.max(seq + 1);
                }
                Line::Done { .. } => {}
                Line::Undone { seq } => entries.retain(|(s, _)| *s != seq),
            }
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(io)?;
        if whole < text.len() {
            file.set_len(whole as u64).map_err(io)?;
        }
        Ok(Self { path: path.to_owned(), file, entries, next })
    }

    /// Write the intent, act, write "done". If the act fails the entry stays: a half-made change is
    /// undone like a whole one.
    pub fn do_<T, E: From<LedgerError>>(&mut self, change: Change, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let seq = self.intend(change)?;
        let made = act()?;
        self.write(&Line::Done { seq })?;
        Ok(made)
    }

    /// Write down something that is there already: a process, which has no identity before it runs.
    /// It must be bound to its parent until this returns.
    pub fn adopt(&mut self, change: Change) -> Result<(), LedgerError> {
        let seq = self.intend(change)?;
        self.write(&Line::Done { seq })
    }

    /// What is written down and not undone, oldest first.
    pub fn changes(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.entries.iter().map(|(_, change)| change)
    }

    /// Undo everything, newest first, and report what is still there afterwards.
    /// Without leaks the ledger file itself goes last.
    pub fn undo(mut self) -> Vec<Leak> {
        let newest_first: Vec<_> = std::mem::take(&mut self.entries).into_iter().rev().collect();
        let mut words = Vec::new();
        let mut group = 0..0;
        for (n, (_, change)) in newest_first.iter().enumerate() {
            if !group.contains(&n) {
                group = n..n + ask_together(&newest_first[n..]);
            }
            words.push(change.undo().err().unwrap_or_default());
        }
        // Probing comes after all undoing: a link can need its keeper's end to be gone.
        let mut leaks = Vec::new();
        for ((seq, change), said) in newest_first.into_iter().zip(words) {
            if change.is_there() {
                let why = if said.is_empty() { "it was undone and is still there".into() } else { said };
                leaks.push(Leak { what: change.to_string(), why });
            } else {
                // The folder that holds the ledger may be among what was undone.
                let _ = self.write(&Line::Undone { seq });
            }
        }
        if leaks.is_empty() {
            let _ = std::fs::remove_file(&self.path);
        }
        leaks
    }

    fn intend(&mut self, change: Change) -> Result<u64, LedgerError> {
        let seq = self.next;
        self.write(&Line::Intent { seq, change: change.clone() })?;
        self.next += 1;
        self.entries.push((seq, change));
        Ok(seq)
    }

    fn write(&mut self, line: &Line) -> Result<(), LedgerError> {
        let io = |source| LedgerError::Io { path: self.path.clone(), source };
        let mut text = serde_json::to_vec(line).map_err(|e| io(e.into()))?;
        text.push(b'\n');
        self.file.write_all(&text).map_err(io)?;
        match line {
            // Only an intent must be on disk before the world changes.
            Line::Intent { .. } => self.file.sync_data().map_err(io),
            Line::Done { .. } | Line::Undone { .. } => Ok(()),
        }
    }
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

impl Change {
    /// Whether it ends with the namespace that it is in, whose keeper is an older entry of the same ledger.
    fn goes_with_its_keeper(&self) -> bool {
        matches!(
            self,
            Self::Link { netns: Netns::Kept(_), .. }
                | Self::NftTable { netns: Netns::Kept(_), .. }
                | Self::Sysctl { netns: Netns::Kept(_), .. }
        )
    }

    /// Put it back. "Already gone" is success.
    fn undo(&self) -> Result<(), String> {
        if !self.is_there() {
            return Ok(());
        }
        let text = |e: super::cmd::CmdError| e.to_string();
        match self {
            Self::Process { id, .. } => match id.end(Duration::from_secs(5)) {
                true => Ok(()),
                false => Err("it survived SIGKILL for 5 s".into()),
            },
            kept if kept.goes_with_its_keeper() => Ok(()),
            Self::Link { name, .. } => Cmd::new("ip").args(["link", "del", name]).run().map(drop).map_err(text),
            Self::NftTable { family, name, .. } => {
                Cmd::new("nft").args(["delete", "table", family, name]).run().map(drop).map_err(text)
            }
            Self::Sysctl { key, old, .. } => std::fs::write(format!("/proc/sys/{key}"), old).map_err(|e| e.to_string()),
            Self::File { path } => std::fs::remove_file(path).map_err(|e| e.to_string()),
            Self::Folder { path } => std::fs::remove_dir_all(path).map_err(|e| e.to_string()),
        }
    }

    /// Whether it is (still) there.
    fn is_there(&self) -> bool {
        match self {
            Self::Process { id, .. } => id.is_alive(),
            Self::Link { netns: Netns::Kept(keeper), .. }
            | Self::NftTable { netns: Netns::Kept(keeper), .. }
            | Self::Sysctl { netns: Netns::Kept(keeper), .. } => keeper.is_alive(),
            Self::Link { name, .. } => Utf8Path::new("/sys/class/net").join(name).exists(),
            Self::NftTable { family, name, .. } => Cmd::new("nft").args(["list", "table", family, name]).run().is_ok(),
            Self::Sysctl { key, old, new, .. } => {
                let now = std::fs::read_to_string(format!("/proc/sys/{key}")).unwrap_or_default();
                old != new && now.trim() == new
            }
            Self::File { path } | Self::Folder { path } => path.symlink_metadata().is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        (dir, path)
    }

    fn touch(path: &Utf8Path) -> Result<(), LedgerError> {
        std::fs::write(path, "").map_err(|source| LedgerError::Io { path: path.to_owned(), source })
    }

    #[test]
    fn undo_removes_what_was_done_and_the_ledger_itself() {
        let (_keep, dir) = scratch();
        let path = dir.join("ledger.ndjson");
        let file = dir.join("overlay");
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.do_(Change::File { path: file.clone() }, || touch(&file)).unwrap();
        drop(ledger);
        assert_eq!(Ledger::open(&path).unwrap().undo(), []);
        assert!(!file.exists() && !path.exists());
    }

    #[test]
    fn an_intent_without_done_is_undone_too() {
        let (_keep, dir) = scratch();
        let path = dir.join("ledger.ndjson");
        let file = dir.join("half");
        let mut ledger = Ledger::open(&path).unwrap();
        let died: Result<(), LedgerError> = ledger.do_(Change::File { path: file.clone() }, || {
            touch(&file)?;
            Err(LedgerError::Io { path: file.clone(), source: std::io::Error::other("disk full") })
        });
        assert!(died.is_err());
        assert_eq!(Ledger::open(&path).unwrap().undo(), []);
        assert!(!file.exists());
    }

    #[test]
    fn a_torn_last_line_is_dropped_and_the_ledger_goes_on() {
        let (_keep, dir) = scratch();
        let path = dir.join("ledger.ndjson");
        let file = dir.join("kept");
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.do_(Change::File { path: file.clone() }, || touch(&file)).unwrap();
        drop(ledger);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str(r#"{"step":"intent","seq":1,"cha"#);
        std::fs::write(&path, text).unwrap();
        let mut ledger = Ledger::open(&path).unwrap();
        let other = dir.join("later");
        ledger.do_(Change::File { path: other.clone() }, || touch(&other)).unwrap();
        drop(ledger);
        assert_eq!(Ledger::open(&path).unwrap().undo(), []);
        assert!(!file.exists() && !other.exists());
    }

    #[test]
    fn processes_that_follow_one_another_end_side_by_side() {
        use crate::host::process::ProcessId;
        use std::process::{Command, Stdio};
        let (_keep, dir) = scratch();
        let ended_by_itself = dir.join("ended");
        let mut older = Command::new("sleep").arg("60").stdout(Stdio::piped()).spawn().unwrap();
        // Deaf to SIGTERM; it ends when the older one has.
        let mut newer = Command::new("sh")
            .args(["-c", "trap '' TERM; echo; read none; : > \"$0\"", ended_by_itself.as_str()])
            .stdin(older.stdout.take().unwrap())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Read::read(newer.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let mut ledger = Ledger::open(&dir.join("ledger.ndjson")).unwrap();
        for child in [&older, &newer] {
            let id = ProcessId::of(child.id().cast_signed()).unwrap();
            ledger.adopt(Change::Process { role: "test".into(), id }).unwrap();
        }
        assert_eq!(ledger.undo(), []);
        assert!(ended_by_itself.exists(), "the newer one was waited for, and killed, before the older one was asked");
        older.wait().unwrap();
        newer.wait().unwrap();
    }

    #[test]
    fn what_cannot_be_undone_is_a_leak_with_a_name_and_the_rest_goes_on() {
        let (_keep, dir) = scratch();
        let mut ledger = Ledger::open(&dir.join("ledger.ndjson")).unwrap();
        let older = dir.join("older");
        // A folder where a file was recorded: removing it as a file fails.
        let stuck = dir.join("stuck");
        ledger.do_(Change::File { path: older.clone() }, || touch(&older)).unwrap();
        std::fs::create_dir(&stuck).unwrap();
        ledger.adopt(Change::File { path: stuck.clone() }).unwrap();
        let leaks = ledger.undo();
        assert_eq!(leaks.len(), 1);
        assert!(leaks[0].what.contains("stuck"), "{leaks:?}");
        assert!(!older.exists());
    }
}
