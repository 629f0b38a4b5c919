//! QMP, QEMU's machine protocol: a small transport of our own over a connected socket.
//!
//! Commands carry ids and a time limit each; an answer that comes too late, or a line that is not
//! JSON, harms nothing but itself. Events are kept as raw JSON: QEMU knows more of them than any schema of
//! ours, and an unknown one must not end the connection. Command types come from the crate `qapi`.
//!
//! A connection that ends, with EOF or with ECONNRESET (what a quitting QEMU gives), fails every command
//! that waits, and says so once as [`Incoming::Lost`].
//!
//! Fuzzed as `qmp`.

pub mod job;
pub mod lines;
pub mod migration;
#[cfg(test)]
mod tests;

pub use qapi::qmp as schema;

use host::failure::{Blame, Exit};
use host::presence::ignore;
use lines::{Line, Lines};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// Why an event that nobody takes is let go of.
const NO_LISTENER: &str = "the client was let go of";

/// An event as QEMU sent it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its name, `RESET`.
    pub name: String,
    /// Its data; null where it has none.
    pub data: Value,
}

/// What comes in beside answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// An event.
    Event(Event),
    /// A line that is neither an event nor the answer to a command of ours.
    Garbage(String),
    /// The connection is over, and why. Nothing comes after it.
    Lost(String),
}

/// Why a QMP command has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum QmpError {
    /// QEMU said no.
    #[error("QEMU refused {command}: {desc} ({class})")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's error class, `GenericError`.
        class: String,
        /// QEMU's own words.
        desc: String,
    },
    /// No answer in time. The command may have been carried out all the same.
    #[error("QEMU did not answer {command} within {limit:?}")]
    TimedOut {
        /// The command.
        command: String,
        /// The time it had.
        limit: Duration,
    },
    /// The connection is over.
    #[error("no answer to {command}: the QMP connection is lost ({why})")]
    Lost {
        /// The command.
        command: String,
        /// What ended it.
        why: String,
    },
    /// So many commands wait for an answer already that QEMU must be stuck.
    #[error("{command} was not sent: {waiting} commands are waiting for QEMU already")]
    Busy {
        /// The command.
        command: String,
        /// How many wait.
        waiting: usize,
    },
    /// The answer is not of the expected form.
    #[error("QEMU's answer to {command} cannot be read: {why}")]
    Malformed {
        /// The command.
        command: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Blame for QmpError {
    fn exit(&self) -> Exit {
        match self {
            Self::Refused { .. } => Exit::Usage,
            Self::TimedOut { .. } | Self::Lost { .. } | Self::Busy { .. } => Exit::Lost,
            Self::Malformed { .. } => Exit::Bug,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Refused { .. } => Some("see QEMU's QMP reference for the command and its arguments".into()),
            Self::TimedOut { .. } | Self::Lost { .. } | Self::Busy { .. } => {
                Some("look at `boma-qemu events` and at qemu.err in the VM's folder".into())
            }
            Self::Malformed { .. } => None,
        }
    }
}

/// Commands that may wait for an answer at once.
const WAITING_MAX: usize = 64;
/// Events that may wait to be taken. Beyond it QEMU is not read any more until one is: a guest that makes events without
/// end takes QEMU's memory, which has a limit, and not ours.
const EVENTS_MAX: usize = 256;
/// The longest event, in bytes; QEMU's own have less than 2 KB.
const LONGEST_EVENT: usize = 16 << 10;
/// What is kept of a line that means nothing, in characters.
const GARBAGE_SHOWN: usize = 200;

#[derive(Default)]
struct Pending {
    waiting: HashMap<u64, oneshot::Sender<Value>>,
    next: u64,
    lost: Option<String>,
}

/// A handle on a QMP connection; clones share it. The connection closes with the last one.
#[derive(Clone)]
pub struct Qmp {
    inner: Arc<Inner>,
}

struct Inner {
    pending: Arc<Mutex<Pending>>,
    out: mpsc::Sender<Vec<u8>>,
    tasks: [AbortHandle; 2],
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// A mutex is poisoned only by a panic of this very thread: its data is still whole.
fn lock(pending: &Mutex<Pending>) -> MutexGuard<'_, Pending> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Qmp {
    /// Wait for the greeting and choose the capabilities, all within `limit`.
    pub async fn connect(stream: UnixStream, limit: Duration) -> Result<(Self, mpsc::Receiver<Incoming>), QmpError> {
        const GREETING: &str = "the greeting";
        let (read, write) = stream.into_split();
        let mut lines = Lines::new(read);
        let lost = |why| QmpError::Lost { command: GREETING.into(), why };
        let greeting = async {
            loop {
                match lines.next().await {
                    Line::Text(text) => match serde_json::from_str::<Value>(&text) {
                        Ok(value) if value.get("QMP").is_some() => return Ok(()),
                        // Whatever comes before the greeting is not for us.
                        _ => {}
                    },
                    Line::TooLong => {}
                    Line::End(why) => return Err(lost(why)),
                }
            }
        };
        tokio::time::timeout(limit, greeting)
            .await
            .map_err(|_| QmpError::TimedOut { command: GREETING.into(), limit })??;
        let pending = Arc::new(Mutex::new(Pending::default()));
        let (out, queue) = mpsc::channel(WAITING_MAX);
        let (events, incoming) = mpsc::channel(EVENTS_MAX);
        let reader = tokio::spawn(read_all(lines, pending.clone(), events)).abort_handle();
        let writer = tokio::spawn(write_all(write, queue)).abort_handle();
        let qmp = Self { inner: Arc::new(Inner { pending, out, tasks: [reader, writer] }) };
        qmp.execute("qmp_capabilities", Value::Null, limit).await?;
        Ok((qmp, incoming))
    }

    /// Run a command and wait for its answer at most `limit`. `arguments` is an object or null.
    #[tracing::instrument(level = "debug", skip(self, arguments, limit))]
    pub async fn execute(&self, command: &str, arguments: Value, limit: Duration) -> Result<Value, QmpError> {
        let (answer, answered) = oneshot::channel();
        let id = self.enlist(command, answer)?;
        // However this ends, by answer, time-out or because the caller lost interest, nothing stays behind.
        let _forget = Forget { pending: &self.inner.pending, id };
        let mut line = json!({ "execute": command, "id": id });
        if !arguments.is_null() {
            line["arguments"] = arguments;
        }
        let mut bytes = line.to_string().into_bytes();
        bytes.push(b'\n');
        let talk = async {
            // Both ends of these channels end together with the connection.
            self.inner.out.send(bytes).await.ok()?;
            answered.await.ok()
        };
        let timed_out = || QmpError::TimedOut { command: command.into(), limit };
        match tokio::time::timeout(limit, talk).await.map_err(|_| timed_out())? {
            Some(answer) => result(command, answer),
            None => Err(self.lost(command)),
        }
    }

    /// Run a command of QEMU's schema ([`schema`]).
    pub async fn run<C: qapi::Command>(&self, command: C, limit: Duration) -> Result<C::Ok, QmpError> {
        let malformed = |e: serde_json::Error| QmpError::Malformed { command: C::NAME.into(), why: e.to_string() };
        let arguments = serde_json::to_value(&command).map_err(malformed)?;
        let arguments = if arguments.as_object().is_some_and(|map| map.is_empty()) { Value::Null } else { arguments };
        let answer = self.execute(C::NAME, arguments, limit).await?;
        serde_json::from_value(answer).map_err(malformed)
    }

    fn enlist(&self, command: &str, answer: oneshot::Sender<Value>) -> Result<u64, QmpError> {
        let mut pending = lock(&self.inner.pending);
        if let Some(why) = &pending.lost {
            return Err(QmpError::Lost { command: command.into(), why: why.clone() });
        }
        let waiting = pending.waiting.len();
        if waiting >= WAITING_MAX {
            return Err(QmpError::Busy { command: command.into(), waiting });
        }
        pending.next += 1;
        let id = pending.next;
        pending.waiting.insert(id, answer);
        Ok(id)
    }

    fn lost(&self, command: &str) -> QmpError {
        let why = lock(&self.inner.pending).lost.clone().unwrap_or_else(|| "it was closed".into());
        QmpError::Lost { command: command.into(), why }
    }
}

struct Forget<'a> {
    pending: &'a Mutex<Pending>,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(self.pending).waiting.remove(&self.id);
    }
}

/// The result in an answer; what is there is decided by its keys, not by a schema.
fn result(command: &str, mut answer: Value) -> Result<Value, QmpError> {
    if let Some(value) = answer.get_mut("return") {
        return Ok(value.take());
    }
    let text = |key: &str| answer["error"][key].as_str().map(str::to_owned);
    match (text("class"), text("desc")) {
        (Some(class), Some(desc)) => Err(QmpError::Refused { command: command.into(), class, desc }),
        _ => Err(QmpError::Malformed { command: command.into(), why: answer.to_string() }),
    }
}

async fn read_all(
    mut lines: Lines<impl AsyncRead + Unpin>,
    pending: Arc<Mutex<Pending>>,
    events: mpsc::Sender<Incoming>,
) {
    // A send fails only when nobody wants events any more; answers still have to be handed out.
    loop {
        match lines.next().await {
            Line::Text(text) => {
                if let Some(incoming) = sort(&text, &pending) {
                    ignore(events.send(incoming).await, NO_LISTENER);
                }
            }
            Line::TooLong => {
                let garbage = Incoming::Garbage(format!("a line longer than {} bytes", lines::LONGEST));
                ignore(events.send(garbage).await, NO_LISTENER);
            }
            Line::End(why) => {
                let waiting = {
                    let mut pending = lock(&pending);
                    pending.lost = Some(why.clone());
                    std::mem::take(&mut pending.waiting)
                };
                // Dropping the senders wakes everybody who waits.
                drop(waiting);
                ignore(events.send(Incoming::Lost(why)).await, NO_LISTENER);
                return;
            }
        }
    }
}

/// Hand an answer to whoever waits for it; what is left is for the event side.
fn sort(text: &str, pending: &Mutex<Pending>) -> Option<Incoming> {
    let garbage = || Some(Incoming::Garbage(text.chars().take(GARBAGE_SHOWN).collect()));
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return garbage() };
    if value.get("event").is_some() && text.len() > LONGEST_EVENT {
        return garbage();
    }
    if let Some(name) = value.get("event").and_then(Value::as_str).map(str::to_owned) {
        let data = value.get_mut("data").map(Value::take).unwrap_or_default();
        return Some(Incoming::Event(Event { name, data }));
    }
    match value.get("id").and_then(Value::as_u64) {
        // Nobody waits for it any more: it came after its time limit.
        Some(id) if id <= lock(pending).next => {
            let waiting = lock(pending).waiting.remove(&id);
            waiting.and_then(|waiting| waiting.send(value).err()).and(None)
        }
        _ => garbage(),
    }
}

/// What a line is on a connection over which `last` commands were sent, and on which nobody waits any more.
pub fn judge(text: &str, last: u64) -> Option<Incoming> {
    sort(text, &Mutex::new(Pending { next: last, ..Pending::default() }))
}

async fn write_all(mut stream: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(line) = queue.recv().await {
        if stream.write_all(&line).await.is_err() {
            // The reading side sees the same end, and says why.
            return;
        }
    }
}
