//! The writing end of the journal.

use super::events::{Entry, JournalError, Source, monotonic, parse, whole_lines};
use super::what::{What, Why};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::SystemTime;

/// The largest journal, in bytes: some 300 000 events. A cycle has a few hundred; a guest that resets itself in a
/// loop could fill the host's disk.
const LARGEST: u64 = 64 << 20;

/// The writing end. There is one writer, so sequence numbers have no gaps.
#[derive(Debug)]
pub(crate) struct Journal {
    path: Utf8PathBuf,
    file: File,
    next: u64,
    length: u64,
    most: u64,
    full: bool,
    /// Whether the last line was not written to its end.
    torn: bool,
}

impl Journal {
    /// Open the journal, made if it is not there; a torn last line is dropped, and the numbers go on.
    pub(crate) fn open(path: &Utf8Path) -> Result<Self, JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(io)?;
        let text = std::fs::read(path).map_err(io)?;
        let whole = whole_lines(&text);
        file.set_len(whole as u64).map_err(io)?;
        let next = parse(path, &text[..whole])?.last().map_or(1, |event| event.seq + 1);
        Ok(Self { path: path.to_owned(), file, next, length: whole as u64, most: LARGEST, full: false, torn: false })
    }

    /// Append what this program says; `console` is the length of the console log.
    pub(crate) fn append(&mut self, source: Source, what: &What, console: u64) -> Result<u64, JournalError> {
        let written = what.written().map_err(|e| self.io(e.into()))?;
        // What only QEMU says was read from a journal, and stands in it already.
        let Some((kind, data)) = written else { return Ok(self.last()) };
        self.bounded(source, kind, console, data)
    }

    /// Append what QEMU says, in its own words.
    pub(crate) fn append_qmp(&mut self, name: &str, console: u64, data: Value) -> Result<u64, JournalError> {
        self.bounded(Source::Qmp, name, console, data)
    }

    /// Write what a command did. None if that is not a command's to tell, or cannot be read.
    pub(crate) fn note(&mut self, kind: &str, console: u64, data: &Value) -> Result<Option<u64>, JournalError> {
        match What::read(kind, data) {
            Ok(what) if what.is_a_commands() => self.append(Source::Command, &what, console).map(Some),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    fn bounded(&mut self, source: Source, kind: &str, console: u64, data: Value) -> Result<u64, JournalError> {
        if self.length < self.most || !can_be_endless(source, kind) {
            return self.write(source, kind, console, data);
        }
        if !std::mem::replace(&mut self.full, true) {
            let why = format!("the guest has filled it with {} bytes; what it does is not told any more", self.length);
            self.append(Source::Monitor, &What::JournalFull(Why { why }), console)?;
        }
        Ok(self.last())
    }

    fn io(&self, source: std::io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), source }
    }

    /// It is one `write`, so a reader never sees another writer's bytes in between.
    fn write(&mut self, source: Source, kind: &str, console: u64, data: Value) -> Result<u64, JournalError> {
        let wall = SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64());
        let entry = Entry { seq: self.next, wall, mono: monotonic(), source, kind: kind.to_owned(), console, data };
        // People read it with `cat` and `less`, too.
        let line = host::visible::json_of(&entry).map_err(|e| self.io(e.into()))? + "\n";
        // What an earlier failure left of its line; the next one would be added to it, and both be lost.
        if std::mem::replace(&mut self.torn, true) {
            self.file.set_len(self.length).map_err(|e| self.io(e))?;
        }
        self.file.write_all(line.as_bytes()).map_err(|e| self.io(e))?;
        (self.torn, self.next) = (false, self.next + 1);
        self.length += line.len() as u64;
        Ok(entry.seq)
    }

    /// The last event's number; 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        self.next - 1
    }
}

/// What a guest can cause as often as it likes; what a command or the host does is always told.
fn can_be_endless(source: Source, kind: &str) -> bool {
    matches!(source, Source::Qmp | Source::Console) || matches!(kind, "boot" | "qmp-garbage" | "kvm-internal-error")
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::events::{Boot, read_all};
    use super::*;
    use serde_json::json;

    /// A place for a journal, which goes with the folder.
    pub(in crate::monitor) fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("events.ndjson")).unwrap();
        (dir, path)
    }

    #[test]
    fn numbers_go_on_after_a_torn_line() {
        let (_keep, path) = scratch();
        let mut journal = Journal::open(&path).unwrap();
        journal.append_qmp("RESET", 0, json!({"guest": true, "reason": "guest-reset"})).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"seq\":2,\"wa").unwrap();
        assert_eq!(read_all(&path).unwrap().len(), 1);
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(journal.append(Source::Monitor, &What::Stop, 7).unwrap(), 2);
        let kinds: Vec<_> = read_all(&path).unwrap().into_iter().map(|e| (e.seq, e.kind().to_owned())).collect();
        assert_eq!(kinds, [(1, "RESET".to_owned()), (2, "stop".to_owned())]);
    }

    #[test]
    fn a_guest_cannot_fill_the_disk_with_events_and_what_the_host_does_is_still_told() {
        let (_keep, path) = scratch();
        let mut journal = Journal::open(&path).unwrap();
        journal.most = 64 << 10;
        for n in 0..2000 {
            journal.append_qmp("RESET", 0, json!({"guest": true, "reason": "guest-reset"})).unwrap();
            journal.append(Source::Monitor, &What::Boot(Boot { n: Some(n), offset: 0, kernel: false }), 0).unwrap();
        }
        journal.append(Source::Monitor, &What::Stop, 0).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < 66 << 10);
        let events = read_all(&path).unwrap();
        let last: Vec<_> = events[events.len() - 2..].iter().map(|event| event.kind()).collect();
        assert_eq!(last, ["journal-full", "stop"]);
        assert!(events.iter().zip(1..).all(|(event, n)| event.seq == n), "no gaps");
    }

    #[test]
    fn a_note_cannot_say_what_only_the_machine_or_the_monitor_can() {
        let (_keep, path) = scratch();
        let mut journal = Journal::open(&path).unwrap();
        let reset = json!({"guest": true, "reason": "guest-reset"});
        assert_eq!(journal.note("RESET", 0, &reset).unwrap(), None);
        assert_eq!(journal.note("boot", 0, &json!({"n": 2, "offset": 0})).unwrap(), None);
        assert_eq!(journal.note("fault", 0, &json!({"fault": "gravity=off"})).unwrap(), None);
        assert_eq!(journal.note("my-mark", 0, &json!({"n": 1})).unwrap(), None, "nobody could read it");
        assert_eq!(journal.note("fault", 0, &json!({"fault": "clock=+60", "off_s": 60.0})).unwrap(), Some(1));
        assert_eq!(journal.note("restart-asked", 0, &json!({"mode": "guest"})).unwrap(), Some(2));
        let kept: Vec<_> = read_all(&path).unwrap().into_iter().map(|event| event.data().clone()).collect();
        assert_eq!(kept, [json!({"fault": "clock=+60", "off_s": 60.0}), json!({"mode": "guest"})]);
        assert_eq!(read_all(&path).unwrap().len(), 2);
    }

    #[test]
    fn a_line_that_was_not_written_to_its_end_does_not_spoil_the_next() {
        let (_keep, path) = scratch();
        let mut journal = Journal::open(&path).unwrap();
        journal.append(Source::Monitor, &What::Stop, 0).unwrap();
        // What a full disk leaves.
        journal.file.write_all(b"{\"seq\":2,\"wa").unwrap();
        journal.torn = true;
        assert_eq!(journal.append(Source::Monitor, &What::Stop, 0).unwrap(), 2);
        assert_eq!(read_all(&path).unwrap().len(), 2);
    }
}
