//! Starting a monitor, from the command's side.

use super::guest::StartError;
use super::process::{NAME, Report};
use crate::machine::VmDir;
use camino::{Utf8Path, Utf8PathBuf};
use host::deadline::Deadline;
use host::failure::{Blame, Exit, Failure};
use host::presence::ignore;
use host::process::{ProcessId, inherit_little};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The time that a monitor has to come up and start QEMU.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How much of its log an error holds, in bytes.
const LOG_TAIL: usize = 2048;

/// Why there is no monitor, or no QEMU under it.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// Its process cannot be started.
    #[error("cannot start the VM's monitor")]
    Spawn {
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It said why it cannot run.
    #[error("the VM's monitor cannot run: {0}")]
    Failed(Failure),
    /// It ended without a word.
    #[error("the VM's monitor ended at its start ({status}): {log}")]
    Died {
        /// Its exit status.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// It was not ready in time, and was killed.
    #[error("the VM's monitor was not ready within {limit:?}; see {log}")]
    TimedOut {
        /// The time it had.
        limit: Duration,
        /// Its log.
        log: Utf8PathBuf,
    },
    /// The monitor is up and QEMU is not. The monitor lives on: rewrite `machine.json` and ask for a
    /// power-cycle ([`super::Client::power_cycle`]), or stop it.
    #[error(transparent)]
    Start(StartError),
}

impl Blame for MonitorError {
    fn exit(&self) -> Exit {
        match self {
            Self::Spawn { .. } => Exit::Host,
            Self::Failed(failure) => failure.exit,
            Self::Died { .. } | Self::TimedOut { .. } => Exit::Lost,
            Self::Start(error) => error.exit(),
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Failed(failure) => failure.next.clone(),
            Self::Start(error) => error.next(),
            _ => None,
        }
    }
}

/// Start the monitor of the VM in `dir`, and QEMU under it. `exe` is this program; `prefix` is an argv
/// that enters the network's namespaces with a monitor's capabilities and becomes the command that follows it
/// ([`crate::network::Network::enter_as_monitor`]).
///
/// The monitor writes itself to the VM's ledger before it does anything else, and until then it dies with the calling
/// thread: so close your own [`host::ledger::Ledger`] before, and open it again after.
pub fn spawn(exe: &Utf8Path, prefix: &[String], dir: &VmDir) -> Result<ProcessId, MonitorError> {
    let mut argv = prefix.to_vec();
    argv.extend([exe.to_string(), NAME.to_owned(), dir.path().to_string()]);
    let failed = |source| MonitorError::Spawn { source };
    let log = dir.monitor_log();
    let stderr = OpenOptions::new().create(true).append(true).mode(0o600).open(&log).map_err(failed)?;
    let mut command = Command::new(&argv[0]);
    inherit_little(&mut command);
    let mut child =
        command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().map_err(failed)?;
    match report(&mut child, &log) {
        Ok(Report::Ready { monitor, start: None }) => Ok(monitor),
        Ok(Report::Ready { start: Some(error), .. }) => Err(MonitorError::Start(error)),
        Ok(Report::Failed(failure)) => {
            ignore(child.wait(), "it has said why it ends");
            Err(MonitorError::Failed(failure))
        }
        Err(error) => {
            // It is not left behind.
            ignore(child.kill(), "it may have ended by itself");
            ignore(child.wait(), "only the start's own error is of use");
            Err(error)
        }
    }
}

/// The one line that it writes to the pipe.
fn report(child: &mut Child, log: &Utf8Path) -> Result<Report, MonitorError> {
    let deadline = Deadline::after(READY_LIMIT);
    let mut pipe = child.stdout.take();
    let mut text = Vec::new();
    loop {
        match read_some(&mut pipe, &deadline, &mut text) {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) if e.kind() == std::io::ErrorKind::TimedOut => {
                return Err(MonitorError::TimedOut { limit: READY_LIMIT, log: log.to_owned() });
            }
            Err(source) => return Err(MonitorError::Spawn { source }),
        }
        if let Some(report) = text.split(|b| *b == b'\n').find_map(|line| serde_json::from_slice(line).ok()) {
            return Ok(report);
        }
    }
    let status = child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
    Err(MonitorError::Died { status, log: tail(log) })
}

fn read_some(pipe: &mut Option<ChildStdout>, deadline: &Deadline, into: &mut Vec<u8>) -> std::io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(false) };
    let left = rustix::event::Timespec::try_from(deadline.left()).unwrap_or_default();
    if poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&left))? == 0 {
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    let mut buffer = [0; 4096];
    let n = pipe.read(&mut buffer)?;
    into.extend_from_slice(&buffer[..n]);
    Ok(n > 0)
}

fn tail(log: &Utf8Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let end = &bytes[bytes.len().saturating_sub(LOG_TAIL)..];
    match String::from_utf8_lossy(end).trim() {
        "" => "it said nothing".into(),
        said => said.into(),
    }
}
