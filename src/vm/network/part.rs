//! The holder's long-running children: dnsmasq and pasta.

use super::NetError;
use camino::{Utf8Path, Utf8PathBuf};
use host::deadline::Deadline;
use host::names::IfName;
use host::presence::ignore;
use host::process::ProcessId;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a part may take to be ready; measured: 10 to 40 ms.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// What shows that a part is ready.
#[derive(Debug)]
pub(crate) enum Readiness {
    /// It, or another by what it does, writes this file.
    File(Utf8PathBuf),
    /// The network namespace of this process has a default route through this interface.
    Route {
        /// The process.
        of: ProcessId,
        /// The interface.
        through: IfName,
    },
}

impl Readiness {
    fn shows(&self) -> bool {
        match self {
            Self::File(path) => std::fs::metadata(path).is_ok_and(|file| file.len() > 0),
            // Interface and destination, in hexadecimal, come first (proc_pid_net(5)).
            Self::Route { of, through } => std::fs::read_to_string(format!("/proc/{}/net/route", of.pid))
                .is_ok_and(|text| text.lines().any(|line| line.starts_with(&format!("{through}\t00000000\t")))),
        }
    }
}

/// How often a readiness is looked for: a part takes a few tens of milliseconds in all.
const PERIOD: Duration = Duration::from_millis(4);

/// A long-running child.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its name, for messages.
    pub name: &'static str,
    /// The process.
    pub child: Child,
    log: Utf8PathBuf,
    readiness: Readiness,
}

impl Part {
    /// Start it; its words go to `<dir>/<name>.log`.
    pub(crate) fn start(
        name: &'static str,
        dir: &Utf8Path,
        argv: &[String],
        readiness: Readiness,
    ) -> Result<Self, NetError> {
        let log = dir.join(format!("{name}.log"));
        let file = |source| NetError::File { path: log.clone(), source };
        let to = File::create(&log).map_err(file)?;
        let child = Command::new(&argv[0])
            .args(&argv[1..])
            .stdin(Stdio::null())
            .stdout(to.try_clone().map_err(file)?)
            .stderr(to)
            .spawn()
            .map_err(|source| NetError::Start { program: name.into(), source })?;
        Ok(Self { name, child, log, readiness })
    }

    /// Wait until its readiness shows, or it has ended, or the time is up.
    pub(crate) fn await_ready(&mut self) -> Result<(), NetError> {
        let deadline = Deadline::after(LIMIT);
        while !self.readiness.shows() {
            if let Some(status) = self.ended() {
                return Err(NetError::Ended { program: self.name, status, said: self.last_words() });
            }
            if let Readiness::Route { of, .. } = &self.readiness
                && !of.is_alive()
            {
                return Err(NetError::NetnsGone { pid: of.pid });
            }
            if deadline.passed() {
                // A part that spins would go on doing so.
                ignore(self.child.kill(), "it may have ended by itself");
                return Err(NetError::NotReady { program: self.name, limit: LIMIT, said: self.last_words() });
            }
            std::thread::sleep(PERIOD);
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(status) => status.map(|status| status.to_string()),
            // It is nobody else's to wait for; so it is not there any more.
            Err(e) => Some(format!("a status that cannot be had: {e}")),
        }
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        last_lines(&self.log)
    }
}

/// The last six lines of a log, in one line.
pub(crate) fn last_lines(log: &Utf8Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // pasta complains so about every line where there is no syslog.
    let lines: Vec<_> =
        text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.ends_with("bytes to syslog")).collect();
    match lines[lines.len().saturating_sub(6)..].join(" | ") {
        none if none.is_empty() => "nothing".into(),
        some => some,
    }
}
