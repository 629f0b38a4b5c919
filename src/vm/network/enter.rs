//! `@enter`: run a command in a network's namespaces, with only the capabilities it needs.
//!
//! It stands before the command as an argv prefix: it joins, drops, and becomes the command. It never
//! forks, so pids, exit codes and inherited descriptors are the command's own. A user namespace can
//! only be joined by a process with one thread, which is why this is a process of its own.

use super::NetError;
use super::caps::Keep;
use camino::Utf8Path;
use host::failure::Failure;
use host::print;
use host::process::ProcessId;
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// The hidden subcommand's name.
pub const NAME: &str = "@enter";

/// What to join and what to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Enter {
    /// The namespace holder whose user and network namespaces are joined; none: stay where we are.
    pub netns: Option<ProcessId>,
    /// The capabilities that the command keeps.
    pub keep: Keep,
    /// Whether the command dies with the process that started it.
    pub bound: bool,
}

impl Enter {
    /// The argv prefix; the command's own argv follows it.
    pub(crate) fn prefix(self, exe: &Utf8Path) -> Vec<String> {
        let mut argv = vec![exe.to_string(), NAME.to_owned()];
        if let Some(id) = self.netns {
            argv.extend(["--keeper".into(), format!("{}:{}", id.pid, id.start_time)]);
        }
        if self.bound {
            argv.extend(["--dies-with".into(), std::process::id().to_string()]);
        }
        argv.extend(["--keep".into(), self.keep.word().into(), "--".into()]);
        argv
    }
}

/// The hidden subcommand: `@enter [--namespace holder PID:START] [--dies-with PPID] --keep WORD -- COMMAND…`.
/// Only returns if it could not become the command; the exit code is then the failure's class.
pub fn main(args: &[String]) -> ExitCode {
    let failure = match run(args) {
        Ok(never) => match never {},
        Err(error) => Failure::from(error),
    };
    // The command's own standard error is where its user looks.
    print::err(&format!("boma-qemu {NAME}: {failure}"));
    ExitCode::from(failure.exit.code())
}

fn run(args: &[String]) -> Result<std::convert::Infallible, NetError> {
    let bad = |why: &str| NetError::Arguments { command: NAME, why: why.into() };
    let (mut enter, mut parent) = (Enter { netns: None, keep: Keep::None, bound: false }, None);
    let mut rest = args.iter();
    loop {
        let mut value = || rest.next().ok_or_else(|| bad("an option without a value"));
        match value()?.as_str() {
            "--keeper" => enter.netns = Some(parse_id(value()?).ok_or_else(|| bad("--keeper takes PID:START"))?),
            "--dies-with" => parent = Some(value()?.parse::<i32>().map_err(|_| bad("--dies-with takes a pid"))?),
            "--keep" => enter.keep = Keep::parse(value()?).ok_or_else(|| bad("--keep takes a word"))?,
            "--" => break,
            other => return Err(bad(other)),
        }
    }
    let command: Vec<_> = rest.collect();
    let (program, arguments) = command.split_first().ok_or_else(|| bad("no command"))?;
    if let Some(netns) = enter.netns {
        join(&netns)?;
    }
    enter.keep.apply()?;
    // After the last change of credentials, which can clear it.
    if let Some(parent) = parent {
        die_with(parent)?;
    }
    let source = Command::new(program).args(arguments).exec();
    Err(NetError::Start { program: program.to_string(), source })
}

/// Join the user and network namespaces of a process, both or neither. The pidfd makes sure that it is
/// that process and not a later one with its number.
pub(crate) fn join(netns: &ProcessId) -> Result<(), NetError> {
    let pid = netns.pid;
    let fd = netns.open().map_err(|source| NetError::Enter { pid, source })?.ok_or(NetError::NetnsGone { pid })?;
    let mut which = ThreadNameSpaceType::NETWORK;
    // Joining the user namespace that one is in already is an error.
    if link("self", "user") != link(&pid.to_string(), "user") {
        which |= ThreadNameSpaceType::USER;
    }
    move_into_thread_name_spaces(fd.as_fd(), which).map_err(|errno| NetError::Enter { pid, source: errno.into() })
}

fn link(process: &str, kind: &str) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{process}/ns/{kind}")).ok()
}

/// Be killed when the parent dies ([`host::sys::die_with`]).
pub(crate) fn die_with(parent: i32) -> Result<(), NetError> {
    host::sys::die_with(parent)
        .map_err(|source| NetError::Start { program: "a process bound to its parent".into(), source })
}

fn parse_id(text: &str) -> Option<ProcessId> {
    let (pid, start_time) = text.split_once(':')?;
    Some(ProcessId { pid: pid.parse().ok()?, start_time: start_time.parse().ok()? })
}
