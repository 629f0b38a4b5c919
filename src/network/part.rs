//! The holder's long-running children: dnsmasq and pasta.

use super::NetError;
use crate::host::deadline::Deadline;
use camino::{Utf8Path, Utf8PathBuf};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a part may take to be ready; measured: 10 to 40 ms.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// A child that says that it is ready by writing a pid file.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its name, for messages.
    pub name: &'static str,
    /// The process.
    pub child: Child,
    log: Utf8PathBuf,
    pid_file: Utf8PathBuf,
}

impl Part {
    /// Start it; its words go to `<dir>/<name>.log`, its pid file is `<dir>/<name>.pid`.
    pub(crate) fn start(name: &'static str, dir: &Utf8Path, argv: &[String]) -> Result<Self, NetError> {
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
        Ok(Self { name, child, log, pid_file: dir.join(format!("{name}.pid")) })
    }

    /// Wait until its pid file is written, or it has ended, or the time is up.
    pub(crate) fn await_ready(&mut self) -> Result<(), NetError> {
        let deadline = Deadline::after(LIMIT);
        let pid_file = self.pid_file.clone();
        let io = |source| NetError::File { path: pid_file.clone(), source };
        let dir = pid_file.parent().unwrap_or(Utf8Path::new("/"));
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(|e| io(e.into()))?;
        watch.add_watch(dir.as_std_path(), AddWatchFlags::IN_MODIFY).map_err(|e| io(e.into()))?;
        let ended = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).map_err(|e| io(e.into()))?;
        loop {
            // Looked at after the watch stands, so that no write can be missed.
            if std::fs::metadata(&pid_file).is_ok_and(|file| file.len() > 0) {
                return Ok(());
            }
            if let Some(status) = self.ended() {
                return Err(NetError::Ended { program: self.name, status, said: self.last_words() });
            }
            let left = Timespec::try_from(deadline.left()).unwrap_or_default();
            let mut fds = [PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN), PollFd::new(&ended, PollFlags::IN)];
            match poll(&mut fds, Some(&left)) {
                Ok(0) => {
                    // A part that spins would go on doing so.
                    let _ = self.child.kill();
                    return Err(NetError::NotReady { program: self.name, limit: LIMIT, said: self.last_words() });
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(io(errno.into())),
            }
            let _ = watch.read_events();
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
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
