//! The first process of the confinement's pid namespace. It makes the root, drops the last capabilities,
//! starts the command, hands signals on, reaps what the command leaves behind, and ends with it; then the
//! kernel ends everything else in the namespace.

use super::root::Root;
use super::{NotRun, ROOT, STDIN, Spec, filter, kernel, place};
use crate::network::NetError;
use crate::network::caps::Keep;
use camino::Utf8Path;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::{Signal as Sig, set_parent_process_death_signal};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// The hidden subcommand's name.
pub const NAME: &str = "@confined";

/// The most that is taken from standard input, in bytes.
const MOST: u64 = 1 << 20;

/// The signals that ask a program to end or to look again; they go to the command.
const HANDED_ON: [Signal; 5] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1];

/// Start the namespace's first process and be its face outside: signals in, exit code out.
pub(super) fn start(spec: &str, command: &[String]) -> Result<u8, NetError> {
    let mut first = Command::new("/proc/self/exe");
    first.args([NAME, spec]).args(command);
    follow(&mut first, NAME)
}

/// The hidden subcommand: `@confined SPEC COMMAND…`, as the first process of a pid namespace.
pub fn main(args: &[String]) -> ExitCode {
    match run(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => NotRun::tell(NAME, error),
    }
}

fn run(args: &[String]) -> Result<u8, NetError> {
    let (true, [spec, program, rest @ ..]) = (std::process::id() == 1, args) else {
        return Err(NetError::Arguments { command: NAME, why: "only @confine starts it".into() });
    };
    let start = |errno: rustix::io::Errno| NetError::Start { program: NAME.into(), source: errno.into() };
    set_parent_process_death_signal(Some(Sig::KILL)).map_err(start)?;
    // No terminal: what can type there can type into the shell behind it.
    rustix::process::setsid().map_err(start)?;
    let spec: Spec = crate::network::read_json(Utf8Path::new(spec))?;
    let cwd = std::env::current_dir().map_err(|source| NetError::File { path: ".".into(), source })?;
    let root = Root::make(&spec, &cwd, spec.folder.join(ROOT).as_std_path())?;
    kernel::become_root(&root)?;
    if spec.allowed.stdin {
        take_stdin().map_err(|source| NetError::File { path: STDIN.into(), source })?;
    }
    kernel::settings_read_only()?;
    std::env::set_current_dir(&cwd).map_err(|source| NetError::File { path: place::name(&cwd), source })?;
    Keep::None.apply()?;
    filter::apply()?;
    let mut command = Command::new(program);
    command.args(rest);
    if spec.allowed.stdin {
        command.stdin(Stdio::null());
    }
    follow(&mut command, program)
}

/// Put what is on standard input where the command finds it; nothing if there is nothing.
fn take_stdin() -> std::io::Result<()> {
    let mut text = Vec::new();
    std::io::stdin().lock().take(MOST).read_to_end(&mut text)?;
    if text.is_empty() {
        return Ok(());
    }
    let path = Path::new(STDIN);
    path.parent().map_or(Ok(()), |dir| DirBuilder::new().mode(0o700).create(dir))?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(&text)
}

/// Start a child, hand signals on to it, and wait for its end, reaping others meanwhile. Its exit
/// code, or 128 and the signal that killed it.
fn follow(command: &mut Command, name: &str) -> Result<u8, NetError> {
    let failed = |source| NetError::Start { program: name.into(), source };
    let child = command.spawn().map_err(failed)?;
    let child = Pid::from_raw(child.id().cast_signed());
    // After the start: the child would inherit the blocked signals.
    let mut set = SigSet::from_iter(HANDED_ON);
    set.add(Signal::SIGCHLD);
    set.thread_block().map_err(|errno| failed(errno.into()))?;
    loop {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == child => return Ok(u8::try_from(code).unwrap_or(u8::MAX)),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                    return Ok(128 + u8::try_from(signal as i32).unwrap_or(0));
                }
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        match set.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            // It may have ended meanwhile.
            Ok(signal) => drop(kill(child, signal)),
        }
    }
}
