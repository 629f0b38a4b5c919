//! The journal of a VM's life: one JSON object per line, appended by the monitor (`journal`), read by anyone.

pub use super::confine::Confinement;
pub use super::what::{
    Action, Asked, Boot, Cause, Command, Exited, Foreign, Gap, Garbage, Kept, Lost, Restored, RuleMatch, Started,
    Stderr, Terms, What, Why,
};
use crate::console::boots::{Begins, Cut};
use camino::{Utf8Path, Utf8PathBuf};
use host::failure::{Blame, Exit};
use host::tail::Tail;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// QEMU, over QMP.
    Qmp,
    /// The monitor, about itself and what it was asked.
    Monitor,
    /// The serial console.
    Console,
    /// The operating system, about QEMU's process.
    Process,
    /// A command of this program, about what it did.
    Command,
}

/// Something that happened. QMP's events have their own names (`RESET`); what a command did to the VM beside QMP
/// (`fault`, `restart-armed`, `restart-asked`) comes from the command itself ([`Source::Command`]); all others are the
/// monitor's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Entry", into = "Entry")]
pub struct Event {
    /// Its place in the journal, from 1, without gaps.
    pub seq: u64,
    /// When it was noticed: seconds since 1970, by the host's clock.
    pub wall: f64,
    /// When it was noticed: seconds of CLOCK_MONOTONIC, which no clock step touches.
    pub mono: f64,
    /// Who said it.
    pub source: Source,
    /// How long the console log was then, in bytes: what the console said before it lies below.
    pub console: u64,
    /// What it is.
    pub what: What,
    kind: String,
    data: Value,
}

/// An event as it stands in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) seq: u64,
    pub(super) wall: f64,
    pub(super) mono: f64,
    pub(super) source: Source,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) console: u64,
    /// Null where it has none.
    #[serde(default)]
    pub(super) data: Value,
}

/// A known kind of event with data that does not belong to it.
#[derive(Debug, thiserror::Error)]
#[error("{kind}: {why}")]
pub(super) struct Unreadable {
    kind: String,
    why: serde_json::Error,
}

impl TryFrom<Entry> for Event {
    type Error = Unreadable;
    fn try_from(entry: Entry) -> Result<Self, Unreadable> {
        let Entry { seq, wall, mono, source, kind, console, data } = entry;
        match What::read(&kind, &data) {
            Ok(what) => Ok(Self { seq, wall, mono, source, console, what, kind, data }),
            Err(why) => Err(Unreadable { kind, why }),
        }
    }
}

impl From<Event> for Entry {
    fn from(event: Event) -> Self {
        let Event { seq, wall, mono, source, console, what: _, kind, data } = event;
        Self { seq, wall, mono, source, kind, console, data }
    }
}

impl Event {
    /// Its name: for a script's patterns and for messages. What it means is [`Event::what`].
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its data as it stands in the journal: for a script's patterns and for messages.
    pub fn data(&self) -> &Value {
        &self.data
    }
}

/// Its name, and why.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        match &self.what {
            What::Reset(Cause { reason, .. }) | What::Shutdown(Cause { reason, .. }) => write!(f, " {reason}"),
            _ => Ok(()),
        }
    }
}

/// The `CLOCK_MONOTONIC` time in seconds, to compare with [`Event::mono`].
pub fn monotonic() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be opened, read or written.
    #[error("cannot use the event journal {path}")]
    Io {
        /// The file.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A line cannot be read.
    #[error("the event journal {path} is damaged at line {line}")]
    Damaged {
        /// The file.
        path: Utf8PathBuf,
        /// The line, from 1 (from where reading began).
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl Blame for JournalError {
    fn exit(&self) -> Exit {
        Exit::Lost
    }
}

pub(super) fn whole_lines(text: &[u8]) -> usize {
    text.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1)
}

pub(super) fn parse(path: &Utf8Path, text: &[u8]) -> Result<Vec<Event>, JournalError> {
    let damaged = |line: usize| move |source| JournalError::Damaged { path: path.to_owned(), line: line + 1, source };
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).enumerate();
    lines.map(|(n, line)| serde_json::from_slice(line).map_err(damaged(n))).collect()
}

/// All events so far, without a last line that is still being written.
pub fn read_all(path: &Utf8Path) -> Result<Vec<Event>, JournalError> {
    let text = std::fs::read(path).map_err(|source| JournalError::Io { path: path.to_owned(), source })?;
    parse(path, &text[..whole_lines(&text)])
}

/// Where an event cuts the console log, if it does.
pub fn console_cut(event: &Event) -> Option<Cut> {
    let (offset, begins) = match &event.what {
        What::Boot(Boot { offset, .. }) => (*offset, Begins::Boot),
        What::Restore(Restored { offset, .. }) => (*offset, Begins::Restore),
        _ => return None,
    };
    Some(Cut { offset, begins })
}

/// Where boots and restores began in the console log, for [`crate::console::boots::parts`].
pub fn console_cuts(events: &[Event]) -> Vec<Cut> {
    events.iter().filter_map(console_cut).collect()
}

/// The events from some number on, those to come included.
#[derive(Debug)]
pub struct Follow {
    path: Utf8PathBuf,
    tail: Tail,
    since: u64,
    buffer: Vec<u8>,
    ready: std::collections::VecDeque<Event>,
}

impl Follow {
    /// Follow the journal: events whose `seq` is greater than `since` (0: all of them).
    pub fn new(path: &Utf8Path, since: u64) -> Result<Self, JournalError> {
        let tail = Tail::open(path, 0).map_err(|source| JournalError::Io { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), tail, since, buffer: Vec::new(), ready: Default::default() })
    }

    /// The next event, whenever it comes. It may be dropped and called again without losing one.
    pub async fn next(&mut self) -> Result<Event, JournalError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            let io = |source| JournalError::Io { path: self.path.clone(), source };
            self.tail.more(&mut self.buffer).await.map_err(io)?;
            let whole = whole_lines(&self.buffer);
            let lines: Vec<u8> = self.buffer.drain(..whole).collect();
            let events = parse(&self.path, &lines)?;
            self.ready.extend(events.into_iter().filter(|event| event.seq > self.since));
        }
    }
}

#[cfg(any(test, feature = "testing"))]
impl Event {
    /// An event of a test's: what its data does not have is as QEMU or the monitor would say it.
    #[allow(clippy::unwrap_used, reason = "a test ends where its event cannot be read")]
    pub fn sample(seq: u64, mono: f64, kind: &str, data: &Value) -> Self {
        let mut all = match kind {
            "RESET" => serde_json::json!({"guest": true, "reason": "guest-reset"}),
            "SHUTDOWN" => serde_json::json!({"guest": true, "reason": "guest-shutdown"}),
            "GUEST_PANICKED" => serde_json::json!({"action": "run"}),
            "WATCHDOG" => serde_json::json!({"action": "reset"}),
            "boot" => serde_json::json!({"n": 2, "offset": 100}),
            "restore" => serde_json::json!({"snapshot": "applied", "offset": 100}),
            "qemu-started" => serde_json::json!({"pid": 7, "accel": "tcg"}),
            "qemu-exited" => {
                serde_json::json!({"pid": 7, "status": "signal: 9 (SIGKILL)", "asked": false, "stderr": ""})
            }
            "qemu-start-failed" | "network-broken" | "journal-full" => serde_json::json!({"why": "a test"}),
            "qmp-command" => serde_json::json!({"command": "cont"}),
            "power-cycle" => serde_json::json!({"kept_bytes": null}),
            "power-loss" => serde_json::json!({"lost_bytes": null}),
            "console-rule" => serde_json::json!({
                "id": "kernel-panic", "severity": "critical", "fatal": true, "means": "x", "line": "x", "offset": 0,
            }),
            _ => Value::Null,
        };
        match (&mut all, data) {
            (Value::Object(all), Value::Object(data)) => all.extend(data.clone()),
            (all, data) if !data.is_null() => *all = data.clone(),
            _ => {}
        }
        let (source, kind, console) = (Source::Qmp, kind.to_owned(), seq * 100);
        Entry { seq, wall: 0.0, mono, source, kind, console, data: all }.try_into().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::super::journal::tests::scratch;
    use super::*;
    use serde_json::json;

    /// The first 22 lines were recorded (QEMU 10.0.2, two versions of this program); the others have the form in which the
    /// monitor, the commands and QEMU 10.0 write the kinds that those lack.
    const RECORDED: &str = include_str!("../../../tests/fixtures/events.ndjson");

    #[test]
    fn a_recorded_journal_is_read_and_written_as_it_was() {
        let mut kinds = std::collections::BTreeSet::new();
        for line in RECORDED.lines() {
            let event: Event = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            let mut was = json(line);
            // Journals of earlier versions do not have it.
            was.as_object_mut().unwrap().entry("console").or_insert(json!(0));
            assert_eq!(json(&serde_json::to_string(&event).unwrap()), was, "{line}");
            kinds.insert(event.kind().to_owned());
        }
        for kind in
            ["RESET", "SHUTDOWN", "POWERDOWN", "WATCHDOG", "GUEST_PANICKED", "qemu-exited", "console-rule", "fault"]
        {
            assert!(kinds.contains(kind), "{kind}");
        }
    }

    #[test]
    fn what_was_read_of_a_recorded_journal_would_be_written_as_it_stands() {
        let mut written = std::collections::BTreeSet::new();
        for line in RECORDED.lines() {
            let event: Event = serde_json::from_str(line).unwrap();
            if event.source == Source::Qmp {
                continue;
            }
            let (kind, data) = event.what.written().unwrap().unwrap_or_else(|| panic!("nobody can write {line}"));
            assert_eq!((kind, &data), (event.kind(), event.data()), "{line}");
            written.insert(kind);
        }
        assert_eq!(written.len(), 21, "{written:?}");
    }

    #[test]
    fn a_known_kind_whose_data_cannot_be_read_is_a_damaged_journal() {
        let (_keep, path) = scratch();
        for (kind, data) in [
            ("RESET", json!(null)),
            ("RESET", json!({"guest": true})),
            ("SHUTDOWN", json!({"guest": "yes", "reason": "guest-shutdown"})),
            ("qemu-exited", json!({"status": "exit status: 0"})),
            ("boot", json!({"n": 1})),
            ("console-rule", json!({"id": "emergency-mode", "fatal": true})),
            ("fault", json!({"fault": "gravity=off"})),
        ] {
            let line = json!({"seq": 1, "wall": 0.0, "mono": 0.0, "source": "qmp", "kind": kind, "data": data});
            std::fs::write(&path, format!("{line}\n")).unwrap();
            let error = read_all(&path).unwrap_err();
            assert!(matches!(error, JournalError::Damaged { line: 1, .. }), "{kind} {data}: {error}");
        }
        let line = json!({"seq": 1, "wall": 0.0, "mono": 0.0, "source": "qmp", "kind": "BRAND_NEW", "data": {"x": 1}});
        std::fs::write(&path, format!("{line}\n")).unwrap();
        let event = read_all(&path).unwrap().remove(0);
        assert!(matches!(event.what, What::Other(_)));
        assert_eq!(event.data()["x"], json!(1));
    }

    #[test]
    fn a_damaged_line_is_named() {
        let (_keep, path) = scratch();
        std::fs::write(&path, "{\"seq\":1}\n").unwrap();
        assert!(read_all(&path).unwrap_err().to_string().contains("line 1"));
    }

    #[tokio::test]
    async fn a_follower_sees_old_and_new_events_once() {
        let (_keep, path) = scratch();
        let mut journal = Journal::open(&path).unwrap();
        for kind in ["a", "b"] {
            journal.append_qmp(kind, 0, Value::Null).unwrap();
        }
        let mut follow = Follow::new(&path, 1).unwrap();
        assert_eq!(follow.next().await.unwrap().kind, "b");
        let write = async {
            tokio::task::yield_now().await;
            journal.append_qmp("c", 0, Value::Null).unwrap();
        };
        let (event, ()) = tokio::join!(follow.next(), write);
        assert_eq!(event.unwrap().seq, 3);
    }
}
