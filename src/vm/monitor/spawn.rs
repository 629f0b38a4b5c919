//! Starting a monitor, from the command's side.

use super::guest::StartError;
use super::process::{NAME, Ready};
use crate::machine::VmDir;
use camino::{Utf8Path, Utf8PathBuf};
use host::failure::{Blame, Exit, Failure};
use host::handshake::Silence;
use host::helper::{Helper, NotReady};
use host::process::ProcessId;
use host::promise::Promise;
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
/// thread: so close your own [`host::ledger::Ledger`] before, and open it again after. What memory was promised for the VM is
/// the monitor's from then on.
pub fn spawn(
    exe: &Utf8Path,
    prefix: &[String],
    dir: &VmDir,
    promise: Option<&Promise>,
) -> Result<ProcessId, MonitorError> {
    let mut argv = prefix.to_vec();
    argv.extend([exe.to_string(), NAME.to_owned(), dir.path().to_string()]);
    let helper = Helper::new(&argv, dir.monitor_log()).heard();
    let helper = promise.iter().fold(helper, |helper, promise| helper.keeping(promise.file()));
    let started = helper.start().map_err(|source| MonitorError::Spawn { source })?;
    let word: Ready = started.ready(READY_LIMIT).map_err(|NotReady { silence, status, log }| match silence {
        Silence::Failed(failure) => MonitorError::Failed(failure),
        Silence::Closed => MonitorError::Died { status, log: tail(&log) },
        Silence::Late => MonitorError::TimedOut { limit: READY_LIMIT, log },
    })?;
    if let Some(promise) = promise {
        promise.held_by(word.monitor);
    }
    match word {
        Ready { monitor, start: None } => Ok(monitor),
        Ready { start: Some(error), .. } => Err(MonitorError::Start(error)),
    }
}

fn tail(log: &Utf8Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let end = &bytes[bytes.len().saturating_sub(LOG_TAIL)..];
    match String::from_utf8_lossy(end).trim() {
        "" => "it said nothing".into(),
        said => said.into(),
    }
}
