//! Ready: the chain of things that must hold before a guest counts as up.
//!
//! A lease for our MAC, a real login with the pinned host key, cloud-init done (sshd restarts while it
//! runs, so one login proves little), and systemd settled.
//!
//! Fuzzed as `guest`.

mod cloud_init;

use crate::ssh::{Answer, Session, Ssh, SshError};
use crate::wait::{WaitError, Watch};
use host::deadline::Deadline;
use host::failure::{Blame, Exit};
use host::shell::quoted;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a boot settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// `systemctl is-system-running`: `running` or `degraded`.
    pub system: String,
    /// The units that failed.
    pub failed_units: Vec<String>,
    /// Services that had failed and waited for systemd's next attempt to start them: systemd's own word leaves these
    /// out, and they are as little well as those that failed.
    #[serde(default)]
    pub restarting: Vec<String>,
    /// Services of the boot that had still not started.
    #[serde(default)]
    pub activating: Vec<String>,
    /// `cloud-init status`: `done`, or `disabled` where the image has none.
    pub cloud_init: String,
}

impl Settled {
    /// What of its units is not well, in some words.
    pub fn units(&self) -> String {
        let parts = [("failed", &self.failed_units), ("restarting", &self.restarting), ("starting", &self.activating)];
        let told = parts.iter().filter(|(_, units)| !units.is_empty());
        let told: Vec<_> = told.map(|(word, units)| format!("{word}: {}", units.join(" "))).collect();
        if told.is_empty() { "no failed units".into() } else { told.join(", ") }
    }
}

/// How long units that are between two attempts, or are still starting, are waited for once systemd has no job left.
/// systemd's own limits (five attempts within ten seconds, 90 s for a start) end most of it by then.
const UNITS_LIMIT: Duration = Duration::from_secs(90);

/// How often it is looked whether they have come to rest.
const UNITS_PERIOD: Duration = Duration::from_secs(1);

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
    let mut guest = Asked { ssh, session: Some(session), deadline };
    // 1. cloud-init first: it restarts sshd and starts units that systemd would then wait for.
    let answer = guest.ask("cloud-init to end", cloud_init::QUESTION, watch).await?;
    let cloud_init = cloud_init::ended(&answer).map_err(|(status, said)| ReadyError::CloudInit { status, said })?;
    // 2. systemd's own word; it ends with 1 for `degraded`, which is an answer.
    let answer = guest.ask("systemd to settle", "systemctl is-system-running --wait", watch).await?;
    let mut system = answer.stdout.trim().to_owned();
    // 3. A service between two attempts has no job, so it was not waited for, and has not failed yet.
    let (units, waited) = guest.units_at_rest(watch).await?;
    if waited {
        system = guest.ask("systemd's state", "systemctl is-system-running", watch).await?.stdout.trim().to_owned();
    }
    let activating = units.of_the_boot().map(str::to_owned).collect();
    let Units { failed: failed_units, restarting, .. } = units;
    let session = match guest.session {
        Some(open) => open,
        None => login(ssh, watch, deadline).await?,
    };
    Ok((session, Settled { system, failed_units, restarting, activating, cloud_init }))
}

/// A guest that is asked in the middle of its boot: sshd may restart, so the connection is made anew as often as it takes.
struct Asked<'a> {
    ssh: &'a Ssh,
    session: Option<Session>,
    deadline: &'a Deadline,
}

impl Asked<'_> {
    async fn ask(&mut self, what: &str, command: &str, watch: &mut Watch) -> Result<Answer, WaitError> {
        let (ssh, deadline) = (self.ssh, self.deadline);
        let mut session = self.session.take();
        let attempt = async || {
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
        };
        let answer = watch.until(what, deadline, attempt).await;
        self.session = session;
        answer
    }

    /// The units, when none is between two attempts or on its way any more, or its time is over; and whether that was
    /// waited for.
    async fn units_at_rest(&mut self, watch: &mut Watch) -> Result<(Units, bool), WaitError> {
        let limit = self.deadline.within(UNITS_LIMIT);
        let (mut timed, mut waited) = (Vec::new(), false);
        loop {
            let mut units = Units { timed, ..Units::parse(&self.ask("the units", UNITS, watch).await?.stdout) };
            if !units.at_rest() {
                units.by_timer(&self.ask("what starts the units", &units.who_starts(), watch).await?.stdout);
            }
            if units.at_rest() || limit.passed() {
                return Ok((units, waited));
            }
            waited = true;
            tokio::time::sleep(UNITS_PERIOD.min(limit.left())).await;
            timed = units.timed;
        }
    }
}

/// Read an answer to `UNITS` and, with the same text, one to what starts them: for whoever tries texts of any kind.
pub fn units_told(text: &str) {
    let mut units = Units::parse(text);
    units.by_timer(text);
    assert!(units.of_the_boot().count() <= units.starting.len());
    drop((units.who_starts(), cloud_init::status(text)));
}

/// The question for all units that have failed or are on their way.
const UNITS: &str = "systemctl list-units --all --state=failed,activating --plain --no-legend --no-pager --full";

/// The units that have not come to rest as active or inactive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Units {
    failed: Vec<String>,
    restarting: Vec<String>,
    starting: Vec<String>,
    /// Those that a timer starts: that they run just now has nothing to do with the boot.
    timed: Vec<String>,
}

impl Units {
    /// The answer to [`UNITS`]: name, load, active, sub.
    fn parse(text: &str) -> Self {
        let mut units = Self::default();
        for line in text.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let [unit, _, active, sub, ..] = words[..] else { continue };
            let list = match active {
                "failed" => &mut units.failed,
                "activating" if sub.starts_with("auto-restart") => &mut units.restarting,
                // Those of a login are ours.
                "activating" if unit.ends_with(".service") && !unit.starts_with("user") => &mut units.starting,
                _ => continue,
            };
            list.push(unit.to_owned());
        }
        units
    }

    /// The services that are starting and that no timer has started.
    fn of_the_boot(&self) -> impl Iterator<Item = &str> {
        self.starting.iter().map(String::as_str).filter(|unit| !self.timed.iter().any(|timed| timed == unit))
    }

    fn at_rest(&self) -> bool {
        self.restarting.is_empty() && self.of_the_boot().next().is_none()
    }

    /// The question for what starts the services that are starting.
    fn who_starts(&self) -> String {
        let quoted = self.starting.iter().map(|unit| format!(" {}", quoted(unit)));
        match self.starting.is_empty() {
            true => "true".into(),
            false => format!("systemctl show -p Id -p TriggeredBy --{}", quoted.collect::<String>()),
        }
    }

    /// The answer to that: blocks of properties.
    fn by_timer(&mut self, text: &str) {
        for block in text.split("\n\n") {
            let of = |key: &str| block.lines().find_map(|line| line.strip_prefix(key));
            let timed = of("TriggeredBy=").is_some_and(|by| by.split(' ').any(|unit| unit.ends_with(".timer")));
            if let Some(id) = of("Id=").filter(|_| timed) {
                self.timed.push(id.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BETWEEN: &str = "docker.service loaded activating auto-restart Docker Application Container Engine\n\
                           docker.socket loaded failed failed Docker Socket for the API\n\
                           apt-daily.service loaded activating start Daily apt download activities\n\
                           slow.service loaded activating start-pre Slow\n\
                           user@1000.service loaded activating start User Manager for UID 1000\n\
                           dev-vdb.device loaded activating tentative /dev/vdb\n";

    #[test]
    fn a_unit_between_two_attempts_is_not_at_rest_and_not_unfailed() {
        let units = Units::parse(BETWEEN);
        assert_eq!(
            (&units.failed[..], &units.restarting[..]),
            (&["docker.socket".into()][..], &["docker.service".into()][..])
        );
        assert_eq!(units.starting, ["apt-daily.service", "slow.service"]);
        let queued = Units::parse("a.service loaded activating auto-restart-queued A\n");
        assert_eq!((queued.restarting.len(), queued.at_rest()), (1, false));
        let settled = Settled { restarting: units.restarting, ..Settled::default() };
        assert_eq!(settled.units(), "restarting: docker.service");
        assert_eq!(Settled::default().units(), "no failed units");
    }

    #[test]
    fn what_a_timer_started_is_not_waited_for() {
        let mut units = Units { restarting: Vec::new(), ..Units::parse(BETWEEN) };
        assert_eq!(units.who_starts(), "systemctl show -p Id -p TriggeredBy -- apt-daily.service slow.service");
        units.by_timer(
            "Id=apt-daily.service\nTriggeredBy=apt-daily.timer\n\nId=slow.service\nTriggeredBy=slow.socket\n",
        );
        assert_eq!(units.of_the_boot().collect::<Vec<_>>(), ["slow.service"]);
        assert!(!units.at_rest());
        units.starting.pop();
        assert!(units.at_rest(), "{units:?}");
        assert!(Units::parse("").at_rest(), "a healthy boot");
    }
}
