//! Ready: the chain of things that must hold before a guest counts as up.
//!
//! A lease for our MAC, a real login with the pinned host key, cloud-init done (sshd restarts while it
//! runs, so one login proves little), and systemd settled.

use crate::failure::{Blame, Exit};
use crate::host::deadline::Deadline;
use crate::ssh::{Session, Ssh, SshError};
use crate::wait::{WaitError, Watch};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a boot settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// `systemctl is-system-running`: `running` or `degraded`.
    pub system: String,
    /// The units that failed.
    pub failed_units: Vec<String>,
    /// `cloud-init status`: `done`, or `disabled` where the image has none.
    pub cloud_init: String,
}

/// Why a guest does not count as ready.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// The wait failed.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// cloud-init did not do what the seed says.
    #[error("cloud-init in the guest ended with {status}: {said}")]
    CloudInit {
        /// Its status.
        status: String,
        /// Its own words.
        said: String,
    },
}

impl Blame for ReadyError {
    fn exit(&self) -> Exit {
        match self {
            Self::Wait(e) => e.exit(),
            Self::CloudInit { .. } => Exit::Lost,
        }
    }
}

/// Log in again in the middle of things.
async fn login(ssh: &Ssh, watch: &mut Watch, deadline: &Deadline) -> Result<Session, WaitError> {
    let attempt = async || ssh.session(Duration::from_secs(30)).await.map_err(|e| e.to_string());
    watch.until("a login over ssh with the pinned host key", deadline, attempt).await
}

/// Wait until the boot has settled. Returns the connection it ended with, since sshd may restart
/// meanwhile.
pub async fn settle(
    ssh: &Ssh,
    session: Session,
    watch: &mut Watch,
    deadline: &Deadline,
) -> Result<(Session, Settled), ReadyError> {
    let mut session = Some(session);
    let mut ask = async |what: &str, command: &str, watch: &mut Watch| {
        let asked = watch
            .until(what, deadline, async || {
                if session.is_none() {
                    session = Some(ssh.session(Duration::from_secs(30)).await.map_err(|e| e.to_string())?);
                }
                let Some(open) = &session else { return Err("no connection".into()) };
                match open.ask(command, deadline.left()).await {
                    // None of these commands ends with 255: that is ssh's own, for a connection that broke after
                    // the command had said something (cloud-init prints a dot each time that it looks).
                    Ok(answer) if answer.code == 255 => {
                        session = None;
                        Err("the connection broke".into())
                    }
                    Ok(answer) => Ok(answer),
                    Err(SshError::TimedOut { .. }) => Err("it is still running".into()),
                    Err(lost) => {
                        session = None;
                        Err(lost.to_string())
                    }
                }
            })
            .await?;
        Ok::<_, WaitError>(asked)
    };
    // 1. cloud-init first: it restarts sshd and starts units that systemd would then wait for.
    let status = "command -v cloud-init >/dev/null || { echo status: disabled; exit 0; }; sudo -n cloud-init status --wait --long";
    let answer = ask("cloud-init to end", status, watch).await?;
    let cloud_init = field(&answer.stdout, "status").unwrap_or_else(|| "unknown".into());
    // Exit code 2 is "done, with warnings" (cloud-init's documentation of `status`).
    if !matches!(answer.code, 0 | 2) || !matches!(cloud_init.as_str(), "done" | "disabled") {
        let said = format!("{} {}", answer.stdout.trim(), answer.stderr.trim());
        return Err(ReadyError::CloudInit { status: cloud_init, said });
    }
    // 2. systemd's own word; it ends with 1 for `degraded`, which is an answer.
    let answer = ask("systemd to settle", "systemctl is-system-running --wait", watch).await?;
    let system = answer.stdout.trim().to_owned();
    let failed = "systemctl list-units --failed --plain --no-legend --no-pager";
    let answer = ask("the list of failed units", failed, watch).await?;
    let failed_units = answer.stdout.lines().filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect();
    let session = match session {
        Some(open) => open,
        None => login(ssh, watch, deadline).await?,
    };
    Ok((session, Settled { system, failed_units, cloud_init }))
}

/// The value of a `key: value` line. cloud-init prints a dot for each time that it looked, and no line
/// end after them.
fn field(text: &str, key: &str) -> Option<String> {
    let value = |line: &str| Some(line.trim_start_matches('.').strip_prefix(key)?.strip_prefix(':')?.trim().to_owned());
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_past_the_dots_that_cloud_init_prints() {
        let text = "....\n..status: done\nextended_status: degraded done\n";
        assert_eq!(field(text, "status").unwrap(), "done");
    }
}
