//! The one door to short external commands (`ip`, `nft`, `qemu-img`, `ssh-keygen`, …).
//!
//! A command has a deadline, its input is given in memory, and its error keeps everything that
//! explains it: the argv, the exit status, the end of both streams. It has a session of its own, and ends when the user asks
//! this process to stop. Long-running children (QEMU,
//! dnsmasq, pasta, ansible-playbook) are not started here: they are owned by a process of their own.

use super::deadline::Deadline;
use super::presence::ignore;
use super::process::{die_with_us, inherit_little, leave_terminal};
use super::stop;
use crate::failure::{Blame, Exit};
use rustix::event::{PollFd, PollFlags, poll};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A short external command, ready to run.
#[derive(Debug)]
pub struct Cmd {
    inner: Command,
    argv: Vec<String>,
    stdin: Vec<u8>,
    limit: Duration,
}

/// What a command that succeeded wrote.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CmdError {
    /// The program could not be started.
    #[error("cannot run `{program}`")]
    Start {
        /// The program's name or path.
        program: String,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It ran and said no.
    #[error("`{argv}` ended with {status}: {said}")]
    Failed {
        /// The whole command line.
        argv: String,
        /// Its exit status.
        status: ExitStatus,
        /// The end of its standard error, or of its standard output where that is empty.
        said: String,
        /// Everything it wrote.
        output: Output,
    },
    /// It did not end in time and was killed.
    #[error("`{argv}` did not end within {limit:?} and was killed; it last said: {said}")]
    TimedOut {
        /// The whole command line.
        argv: String,
        /// The time it had.
        limit: Duration,
        /// The end of what it wrote.
        said: String,
    },
    /// The user asked to stop while it ran, and it was killed.
    #[error("`{argv}` was stopped")]
    Stopped {
        /// The whole command line.
        argv: String,
    },
    /// Its pipes broke.
    #[error("cannot talk to `{argv}`")]
    Pipe {
        /// The whole command line.
        argv: String,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
}

impl Blame for CmdError {
    fn exit(&self) -> Exit {
        Exit::Host
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Start { .. } => Some("run `boma-qemu doctor`; it names the package to install".into()),
            _ => None,
        }
    }
}

impl Cmd {
    /// A command without arguments, with a deadline of 30 s.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let mut inner = Command::new(program);
        inherit_little(&mut inner);
        die_with_us(&mut inner);
        leave_terminal(&mut inner);
        Self {
            inner,
            argv: vec![program.to_string_lossy().into_owned()],
            stdin: Vec::new(),
            limit: Duration::from_secs(30),
        }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_string_lossy().into_owned());
        self.inner.arg(arg);
        self
    }

    /// More arguments.
    pub fn args<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// An environment variable, added to the few that each gets of this process's own.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(key, value);
        self
    }

    /// This environment, and nothing of this process's own.
    pub fn only_env(mut self, env: &[(String, String)]) -> Self {
        self.inner.env_clear().envs(env.iter().map(|(key, value)| (key, value)));
        self
    }

    /// The folder to run in.
    pub fn current_dir(mut self, dir: impl AsRef<std::path::Path>) -> Self {
        self.inner.current_dir(dir);
        self
    }

    /// What the command reads; secrets go this way, never into the argv.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// How long it may take.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command line as one string, for messages and plans.
    pub fn line(&self) -> String {
        self.argv.join(" ")
    }

    /// Run it; any exit status but 0 is an error.
    pub fn run(self) -> Result<Output, CmdError> {
        let argv = self.line();
        let (status, output) = self.status()?;
        if status.success() {
            return Ok(output);
        }
        let said = said(&output);
        Err(CmdError::Failed { argv, status, said, output })
    }

    /// Run it and hand back its exit status, whatever it is.
    pub fn status(mut self) -> Result<(ExitStatus, Output), CmdError> {
        let argv = self.line();
        self.inner.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            self.inner.spawn().map_err(|source| CmdError::Start { program: self.argv[0].clone(), source })?;
        let deadline = Deadline::after(self.limit);
        let talked = talk(&mut child, &self.stdin, &deadline);
        tracing::debug!(argv, seconds = deadline.waited().as_secs_f64(), "command");
        let broke = |source| CmdError::Pipe { argv: argv.clone(), source };
        match talked {
            Ok((End::Itself, output)) => Ok((child.wait().map_err(broke)?, output)),
            Ok((end, output)) => {
                kill(&mut child);
                child.wait().map_err(broke)?;
                Err(match end {
                    End::Stopped => CmdError::Stopped { argv },
                    _ => CmdError::TimedOut { argv, limit: self.limit, said: said(&output) },
                })
            }
            Err(source) => {
                kill(&mut child);
                ignore(child.wait(), "what broke the pipes is what is told");
                Err(CmdError::Pipe { argv, source })
            }
        }
    }
}

/// End a command that has not been waited for, and what it has started in its session.
fn kill(child: &mut Child) {
    let group = rustix::process::Pid::from_child(child);
    ignore(
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL),
        "it can only have ended by itself; then waiting is right too",
    );
}

/// How often it is looked whether the user has asked to stop: a signal only interrupts the thread that it comes to.
const LOOK: Duration = Duration::from_millis(100);

/// Why there is nothing more to be said.
enum End {
    /// The command has ended.
    Itself,
    /// The deadline has passed.
    Late,
    /// The user has asked to stop since it began. What begins after that is part of stopping, and goes on.
    Stopped,
}

/// Feed and read all three streams at once, so that neither side can block the other for ever.
fn talk(child: &mut Child, input: &[u8], deadline: &Deadline) -> std::io::Result<(End, Output)> {
    let asked_before = stop::asked();
    let mut stdin = child.stdin.take();
    let mut out = child.stdout.take();
    let mut err = child.stderr.take();
    if let Some(pipe) = &stdin {
        rustix::io::ioctl_fionbio(pipe, true)?;
    }
    let (mut sent, mut got_out, mut got_err) = (0, Vec::new(), Vec::new());
    if input.is_empty() {
        stdin = None;
    }
    // A grandchild may keep the pipes open after the command itself has ended (a daemon does):
    // then the command's own end is what counts, so its pidfd is watched too.
    let pid = rustix::process::Pid::from_child(child);
    let ended = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    let mut end = End::Itself;
    while out.is_some() || err.is_some() {
        let (done, ready_in, ready_out, ready_err) = {
            // A stream that is over is watched through the pidfd's place with no events: never ready.
            let nothing = || PollFd::new(&ended, PollFlags::empty());
            let mut fds = [
                PollFd::new(&ended, PollFlags::IN),
                stdin.as_ref().map_or_else(nothing, |pipe| PollFd::new(pipe, PollFlags::OUT)),
                out.as_ref().map_or_else(nothing, |pipe| PollFd::new(pipe, PollFlags::IN)),
                err.as_ref().map_or_else(nothing, |pipe| PollFd::new(pipe, PollFlags::IN)),
            ];
            let left = rustix::event::Timespec::try_from(deadline.left().min(LOOK)).unwrap_or_default();
            let quiet = match poll(&mut fds, Some(&left)) {
                Ok(ready) => ready == 0,
                Err(rustix::io::Errno::INTR) => true,
                Err(errno) => return Err(errno.into()),
            };
            if stop::asked() && !asked_before {
                end = End::Stopped;
                break;
            }
            if quiet && deadline.passed() {
                end = End::Late;
                break;
            }
            if quiet {
                continue;
            }
            let ready = |n: usize| !fds[n].revents().is_empty();
            (ready(0), ready(1) && stdin.is_some(), ready(2) && out.is_some(), ready(3) && err.is_some())
        };
        if ready_in && let Some(pipe) = &mut stdin {
            match pipe.write(&input[sent..]) {
                Ok(n) => sent += n,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                // The command does not want the rest; its exit status says whether that is wrong.
                Err(_) => sent = input.len(),
            }
            if sent == input.len() {
                stdin = None;
            }
        }
        if ready_out && !read_some(&mut out, &mut got_out)? {
            out = None;
        }
        if ready_err && !read_some(&mut err, &mut got_err)? {
            err = None;
        }
        if done && !ready_out && !ready_err {
            break;
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((end, Output { stdout: text(got_out), stderr: text(got_err) }))
}

/// Read what is there; `false` at the end of the stream.
fn read_some(pipe: &mut Option<impl Read>, into: &mut Vec<u8>) -> std::io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(false) };
    let mut buffer = [0; 16384];
    let n = pipe.read(&mut buffer)?;
    into.extend_from_slice(&buffer[..n]);
    Ok(n > 0)
}

/// The words that explain a failure: the last lines of standard error, else of standard output.
fn said(output: &Output) -> String {
    let text = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
    let lines: Vec<_> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    match lines[lines.len().saturating_sub(6)..].join(" | ") {
        none if none.is_empty() => "it said nothing".into(),
        some => some,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_keeps_its_argv_status_and_words() {
        let error = Cmd::new("sh").args(["-c", "echo no such bridge >&2; exit 3"]).run().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("no such bridge"), "{text}");
    }

    #[test]
    fn a_command_that_hangs_is_killed_and_named() {
        let slow = Cmd::new("sh").args(["-c", "echo here; exec sleep 60"]).limit(Duration::from_millis(200));
        let error = slow.run().unwrap_err();
        assert!(matches!(&error, CmdError::TimedOut { said, .. } if said == "here"), "{error}");
    }

    #[test]
    fn a_command_has_no_terminal_and_leads_a_session_of_its_own() {
        let said =
            Cmd::new("sh").args(["-c", "cut -d' ' -f1,6 /proc/self/stat; echo $$; : </dev/tty && echo terminal"]);
        let (_, out) = said.status().unwrap();
        let words: Vec<_> = out.stdout.split_whitespace().collect();
        assert_eq!(words[1..], [words[2], words[2]], "the session is the shell's own: {}", out.stdout);
    }

    #[test]
    fn a_command_that_hangs_ends_with_what_it_has_started() {
        let script = "sleep 60 & echo $!; wait";
        let error = Cmd::new("sh").args(["-c", script]).limit(Duration::from_millis(200)).run().unwrap_err();
        let CmdError::TimedOut { said, .. } = error else { panic!("{error}") };
        let child = crate::process::ProcessId::of(said.parse().unwrap());
        assert!(child.map_or(true, |child| child.wait_gone(&Deadline::after(Duration::from_secs(5)))));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Cmd::new("no-such-program-here").run().unwrap_err();
        assert!(error.to_string().contains("no-such-program-here"));
    }

    #[test]
    fn input_larger_than_a_pipe_comes_back_whole() {
        let big = vec![b'x'; 300_000];
        assert_eq!(Cmd::new("cat").stdin(big).run().unwrap().stdout.len(), 300_000);
    }

    #[test]
    fn a_daemon_that_keeps_the_pipes_open_does_not_hold_the_command() {
        let out = Cmd::new("sh").args(["-c", "echo up; sleep 5 & exit 0"]).limit(Duration::from_secs(3)).run();
        assert_eq!(out.unwrap().stdout, "up\n");
    }
}
