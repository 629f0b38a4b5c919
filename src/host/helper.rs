//! Helper processes: hidden subcommands of this program that outlive the command that starts them (the monitor, the
//! network's holder, a forward, the keeper of `--ttl`). Each is started in the one way that is here.

use crate::deadline::Deadline;
use crate::handshake::{self, Silence};
use crate::presence::ignore;
use crate::process::{ProcessId, inherit_also, inherit_little};
use camino::Utf8PathBuf;
use serde::de::DeserializeOwned;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A helper that is to be started.
#[derive(Debug)]
pub struct Helper {
    command: Command,
    log: Utf8PathBuf,
}

impl Helper {
    /// One with these arguments, of which the first is the program. Of ours it inherits nothing but a few variables
    /// ([`inherit_little`]), it reads nothing, and what it writes to standard error is added to `log`.
    pub fn new(argv: &[String], log: impl Into<Utf8PathBuf>) -> Self {
        let (program, args) = argv.split_first().map_or(("", argv), |(program, args)| (program.as_str(), args));
        let mut command = Command::new(program);
        inherit_little(&mut command);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
        Self { command, log: log.into() }
    }

    /// Give it something to read: a socket that it serves, or a pipe on which it waits for [`Started::go_on`].
    pub fn reading(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Listen to what it writes to standard output, for [`Started::ready`].
    pub fn heard(mut self) -> Self {
        self.command.stdout(Stdio::piped());
        self
    }

    /// Let it have one more descriptor, under its own number.
    pub fn keeping(mut self, fd: &impl AsRawFd) -> Self {
        inherit_also(&mut self.command, fd);
        self
    }

    /// Let it hold no folder but the root.
    pub fn at_the_root(mut self) -> Self {
        self.command.current_dir("/");
        self
    }

    /// Start it.
    pub fn start(mut self) -> io::Result<Started> {
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.log)?;
        Ok(Started { child: Some(self.command.stderr(log).spawn()?), log: self.log })
    }
}

/// A helper that was started, and is not left behind: until it lives by itself it is killed with this.
#[derive(Debug)]
pub struct Started {
    child: Option<Child>,
    log: Utf8PathBuf,
}

/// A helper that did not get ready. It has ended.
#[derive(Debug)]
pub struct NotReady {
    /// What came instead of its word.
    pub silence: Silence,
    /// How it ended.
    pub status: String,
    /// What it wrote to standard error.
    pub log: Utf8PathBuf,
}

impl Started {
    /// Which process it is.
    pub fn id(&self) -> io::Result<ProcessId> {
        self.child
            .as_ref()
            .map_or_else(|| Err(io::ErrorKind::NotFound.into()), |child| ProcessId::of(child.id().cast_signed()))
    }

    /// Write the line for which it waits on its standard input. From then on it lives by itself.
    pub fn go_on(mut self) -> io::Result<()> {
        let pipe = self.child.as_mut().and_then(|child| child.stdin.take());
        pipe.map_or(Ok(()), |mut pipe| pipe.write_all(b"\n"))?;
        self.child = None;
        Ok(())
    }

    /// Wait for the line in which it says that it is ready. From then on it lives by itself.
    pub fn ready<T: DeserializeOwned>(mut self, limit: Duration) -> Result<T, NotReady> {
        let pipe = self.child.as_mut().and_then(|child| child.stdout.as_mut());
        let heard = pipe.map_or(Err(Silence::Closed), |pipe| handshake::listen(pipe, &Deadline::after(limit)));
        match heard {
            Ok(value) => {
                self.child = None;
                Ok(value)
            }
            Err(silence) => {
                let status = self.end();
                Err(NotReady { silence, status, log: self.log.clone() })
            }
        }
    }

    fn end(&mut self) -> String {
        let Some(mut child) = self.child.take() else { return "it is not known".into() };
        ignore(child.kill(), "it may have ended by itself");
        child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch;
    use camino::Utf8Path;

    const LIMIT: Duration = Duration::from_secs(10);

    fn shell(script: &str, log: &Utf8Path) -> Started {
        let argv = ["sh", "-c", script].map(str::to_owned);
        Helper::new(&argv, log).heard().start().unwrap()
    }

    #[test]
    fn one_that_is_ready_lives_on_and_one_that_is_not_has_ended() {
        let (_keep, dir) = scratch();
        let log = dir.join("log");
        let ready = shell(r#"echo '{"ready": 7}'; exec sleep 60"#, &log);
        let id = ready.id().unwrap();
        assert_eq!(ready.ready::<u8>(LIMIT).unwrap(), 7);
        assert!(id.is_alive());
        id.end(LIMIT).unwrap();
        let silent = shell("echo why >&2; exit 3", &log).ready::<u8>(LIMIT).unwrap_err();
        assert!(matches!(silent.silence, Silence::Closed) && silent.status.contains('3'), "{silent:?}");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "why\n");
        let late = shell("exec sleep 60", &log);
        let id = late.id().unwrap();
        let late = late.ready::<u8>(Duration::from_millis(50)).unwrap_err();
        assert!(matches!(late.silence, Silence::Late) && !id.is_alive(), "{late:?}");
    }

    #[test]
    fn one_that_was_not_let_go_on_ends_with_its_starter() {
        let (_keep, dir) = scratch();
        let argv = ["sh", "-c", "read line; exec sleep 60"].map(str::to_owned);
        let start = || Helper::new(&argv, dir.join("log")).reading(Stdio::piped()).start().unwrap();
        let dropped = start();
        let id = dropped.id().unwrap();
        drop(dropped);
        assert!(!id.is_alive());
        let started = start();
        let id = started.id().unwrap();
        started.go_on().unwrap();
        assert!(id.is_alive());
        id.end(LIMIT).unwrap();
    }
}
