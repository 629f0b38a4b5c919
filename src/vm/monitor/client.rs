//! The control socket's asking end. Each call is a connection of its own, so a call that is given up
//! leaves nothing behind, and several may run at once. No call can hang: each has a limit.

use super::guest::StartError;
use super::what::What;
use super::wire::{Ask, LogStep, Refusal, Reply, Request, Status};
use crate::machine::VmDir;
use crate::qmp::lines::{Line, Lines};
use camino::Utf8PathBuf;
use host::deadline::Deadline;
use host::failure::{Blame, Exit};
use host::process::ProcessId;
use host::tail::watched;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::time::timeout;

/// What the monitor itself takes for an answer, beyond what QEMU takes.
const OWN_LIMIT: Duration = Duration::from_secs(5);
/// Killing QEMU and starting it again: the start's own limits, and some.
const CYCLE_LIMIT: Duration = Duration::from_secs(60);
/// The same, and loading the snapshot.
const RESTORE_LIMIT: Duration = Duration::from_secs(120);
/// Writing out a full log, or a full cache.
const LOG_LIMIT: Duration = Duration::from_secs(60);
/// Ending QEMU gently, then less gently.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Why the monitor could not be asked, or said no.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No monitor is there.
    #[error("the VM's monitor does not answer at {path}")]
    Gone {
        /// Its control socket.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The monitor ended in the middle.
    #[error("the VM's monitor broke off {what}: {why}")]
    Lost {
        /// What was asked.
        what: &'static str,
        /// What ended it.
        why: String,
    },
    /// No answer in time.
    #[error("the VM's monitor did not answer {what} within {limit:?}")]
    TimedOut {
        /// What was asked.
        what: &'static str,
        /// The time it had.
        limit: Duration,
    },
    /// It said no.
    #[error(transparent)]
    Refused(Refusal),
    /// Its answer cannot be read.
    #[error("the monitor's answer to {what} cannot be read")]
    Malformed {
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl Blame for ClientError {
    fn exit(&self) -> Exit {
        match self {
            Self::Gone { .. } | Self::Lost { .. } | Self::TimedOut { .. } => Exit::Lost,
            Self::Refused(refusal) => refusal.exit(),
            Self::Malformed { .. } => Exit::Bug,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Gone { .. } | Self::Lost { .. } => {
                Some("see monitor.log in the VM's folder; `boma-qemu prune` removes what is left".into())
            }
            Self::Refused(refusal) => refusal.next(),
            Self::TimedOut { .. } | Self::Malformed { .. } => None,
        }
    }
}

impl Blame for Refusal {
    fn exit(&self) -> Exit {
        match self {
            Self::Qmp(error) => error.exit(),
            Self::Start(error) => error.exit(),
            Self::NotRunning { .. } | Self::Console { .. } | Self::Crowded { .. } | Self::DriveLog { .. } => Exit::Lost,
            Self::NoDrive {} => Exit::Usage,
            Self::Request { .. } => Exit::Bug,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Qmp(error) => error.next(),
            Self::Start(error) => error.next(),
            Self::NotRunning { .. } => Some("look at `boma-qemu events`, then `boma-qemu down`".into()),
            Self::NoDrive {} => Some("use a power-cycle".into()),
            Self::DriveLog { .. } => Some("see that this host's disk is not full, and try again".into()),
            Self::Console { .. } | Self::Crowded { .. } | Self::Request { .. } => None,
        }
    }
}

impl ClientError {
    /// Why QEMU did not start, if that is what was refused.
    pub fn start_error(&self) -> Option<&StartError> {
        match self {
            Self::Refused(Refusal::Start(error)) => Some(error),
            _ => None,
        }
    }
}

/// Asks the monitor of one VM.
#[derive(Clone, Debug)]
pub struct Client {
    path: Utf8PathBuf,
}

impl Client {
    /// A client for the VM in `dir`; nothing is opened yet.
    pub fn new(dir: &VmDir) -> Self {
        Self { path: dir.control() }
    }

    /// Run a QMP command; QEMU has `limit` for it. `arguments` is an object or null.
    pub async fn qmp(&self, command: &str, arguments: Value, limit: Duration) -> Result<Value, ClientError> {
        self.ask("a QMP command", Ask::Qmp { command: command.into(), arguments, limit }, limit + OWN_LIMIT).await
    }

    /// Type `bytes` on the serial console; the guest has `limit` to take them.
    pub async fn console_write(&self, bytes: &[u8], limit: Duration) -> Result<(), ClientError> {
        let ask = Ask::ConsoleWrite { bytes: bytes.to_owned(), limit };
        self.ask::<Value>("typing on the console", ask, limit + OWN_LIMIT).await.map(drop)
    }

    /// Kill QEMU if it runs, and start it on `machine.json` as it is now. The tap, its rules and the
    /// journal stay, and so does all that the guest wrote to its disk, flushed or not.
    pub async fn power_cycle(&self) -> Result<(), ClientError> {
        self.ask::<Value>("a power-cycle", Ask::PowerCycle {}, CYCLE_LIMIT).await.map(drop)
    }

    /// As [`Client::power_cycle`], and what the guest wrote to its disk and never flushed is gone: what a real
    /// drive loses with its power.
    pub async fn power_loss(&self) -> Result<(), ClientError> {
        self.ask::<Value>("a power loss", Ask::PowerLoss {}, CYCLE_LIMIT).await.map(drop)
    }

    /// Keep a log of what the first disk's drive is given, mark a moment in it, write it to [`VmDir::drive_log`], end it.
    /// While it is kept, the disk's image does not change.
    pub async fn drive_log(&self, step: LogStep) -> Result<(), ClientError> {
        self.ask::<Value>("for the drive's log", Ask::DriveLog { step }, LOG_LIMIT).await.map(drop)
    }

    /// Write into the journal what a command did to the VM beside QMP; the event's number.
    pub async fn note(&self, what: &What) -> Result<u64, ClientError> {
        const NOTE: &str = "a note";
        let written = what.written().map_err(|source| ClientError::Malformed { what: NOTE, source })?;
        let Some((kind, data)) = written else {
            let why = "only QEMU says what this program does not know".into();
            return Err(ClientError::Refused(Refusal::Request { why }));
        };
        self.ask(NOTE, Ask::Note { kind: kind.into(), data }, OWN_LIMIT).await
    }

    /// Kill QEMU if it runs, and start it again as it was when the snapshot was taken; then it runs, and its
    /// clock is late. The tap, its rules and the journal stay.
    pub async fn restore(&self, snapshot: &str) -> Result<(), ClientError> {
        let ask = Ask::Restore { snapshot: snapshot.into() };
        self.ask::<Value>("a restore", ask, RESTORE_LIMIT).await.map(drop)
    }

    /// How things are.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask("its status", Ask::Status {}, OWN_LIMIT).await
    }

    /// End QEMU and the monitor, and wait until both are gone. A monitor that is gone already is success.
    pub async fn stop(&self) -> Result<(), ClientError> {
        const WHAT: &str = "to stop";
        let deadline = Deadline::after(STOP_LIMIT);
        let stream = match UnixStream::connect(&self.path).await {
            Ok(stream) => stream,
            // No socket, or none that anybody listens at.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(()),
            Err(source) => return Err(ClientError::Gone { path: self.path.clone(), source }),
        };
        let lost = |e: std::io::Error| ClientError::Lost { what: WHAT, why: e.to_string() };
        let monitor = match stream.peer_cred().map_err(lost)?.pid() {
            Some(pid) if pid > 0 => ProcessId::of(pid).and_then(|monitor| monitor.open()),
            _ => Err(std::io::Error::other("it is not in this pid namespace, so its end cannot be waited for")),
        };
        match exchange(WHAT, stream, Ask::Stop {}, STOP_LIMIT).await {
            // The answer may be lost with the monitor: its end is what counts.
            Ok(_) | Err(ClientError::Lost { .. }) => {}
            Err(error) => return Err(error),
        }
        let timed_out = ClientError::TimedOut { what: WHAT, limit: STOP_LIMIT };
        match monitor {
            Ok(None) => Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(lost(e)),
            Ok(Some(fd)) => {
                let ended = watched(fd).map_err(lost)?;
                timeout(deadline.left(), ended.readable()).await.map_err(|_| timed_out)?.map(drop).map_err(lost)
            }
        }
    }

    #[tracing::instrument(level = "debug", skip(self, ask, limit))]
    async fn ask<T: DeserializeOwned>(&self, what: &'static str, ask: Ask, limit: Duration) -> Result<T, ClientError> {
        let gone = |source| ClientError::Gone { path: self.path.clone(), source };
        let stream = UnixStream::connect(&self.path).await.map_err(gone)?;
        let value = exchange(what, stream, ask, limit).await?;
        serde_json::from_value(value).map_err(|source| ClientError::Malformed { what, source })
    }
}

async fn exchange(what: &'static str, stream: UnixStream, ask: Ask, limit: Duration) -> Result<Value, ClientError> {
    let malformed = |source| ClientError::Malformed { what, source };
    let mut request = serde_json::to_vec(&Request { id: 1, ask }).map_err(malformed)?;
    request.push(b'\n');
    let talk = async {
        let (read, mut write) = stream.into_split();
        write.write_all(&request).await.map_err(|e| ClientError::Lost { what, why: e.to_string() })?;
        answer(what, Lines::new(read)).await
    };
    let reply = timeout(limit, talk).await.map_err(|_| ClientError::TimedOut { what, limit })??;
    reply.outcome.map_err(ClientError::Refused)
}

async fn answer(what: &'static str, mut lines: Lines<OwnedReadHalf>) -> Result<Reply, ClientError> {
    match lines.next().await {
        Line::Text(text) => serde_json::from_str(&text).map_err(|source| ClientError::Malformed { what, source }),
        Line::TooLong => Err(ClientError::Lost { what, why: "its answer is too long".into() }),
        Line::End(why) => Err(ClientError::Lost { what, why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    fn scratch() -> (tempfile::TempDir, Client, UnixListener) {
        let dir = tempfile::tempdir().unwrap();
        let vm = VmDir::at(Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap());
        let listener = UnixListener::bind(vm.control()).unwrap();
        (dir, Client::new(&vm), listener)
    }

    #[tokio::test]
    async fn a_monitor_that_is_not_there_is_named_and_stopping_it_is_success() {
        let client = Client::new(&VmDir::at("/nonexistent/vms/askari"));
        let error = client.status().await.unwrap_err();
        assert!(matches!(error, ClientError::Gone { .. }), "{error}");
        assert!(client.stop().await.is_ok());
    }

    #[tokio::test]
    async fn a_monitor_that_says_nothing_is_given_up_in_time() {
        let (_keep, client, _listener) = scratch();
        let ask = client.ask::<Value>("its status", Ask::Status {}, Duration::from_millis(50));
        assert!(matches!(ask.await, Err(ClientError::TimedOut { .. })));
    }

    #[tokio::test]
    async fn a_monitor_that_dies_in_the_middle_is_a_loss_and_not_an_answer() {
        let (_keep, client, listener) = scratch();
        let (answer, _) = tokio::join!(client.status(), async { drop(listener.accept().await) });
        assert!(matches!(answer, Err(ClientError::Lost { .. })), "{answer:?}");
    }
}
