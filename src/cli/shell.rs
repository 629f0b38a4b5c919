//! `forward`; and `ssh` and `exec`: a command elsewhere whose terminal, streams and exit code are this program's own.

use super::args::ForwardArgs;
use super::say::Say;
use crate::jobs::Context;
use crate::jobs::bring_up::own_exe;
use crate::jobs::target::Target;
use camino::Utf8PathBuf;
use host::failure::{Exit, Failure};
use host::names::HostName;
use host::presence::ignore;
use host::print;
use std::io::IsTerminal;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::ExitStatus;
use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};
use vm::forward::{self, Forwarded, Spec};
use vm::ssh::Ssh;

/// `ssh`: a shell, or a command with the guest's exit code.
pub(super) fn ssh(ctx: &Context<'_>, host: &HostName, command: &[String]) -> Result<u8, Failure> {
    let Target { vm, .. } = Target::open(ctx.dirs, host)?;
    // A terminal in the guest only where there is one at both ends here: it would change the output's line ends.
    let tty: &[&str] =
        if std::io::stdin().is_terminal() && rustix::stdio::stdout().is_terminal() { &["-t"] } else { &[] };
    if command.is_empty() {
        return Err(become_(&Ssh::new(vm.dir(), vm.network()?.enter()).argv(tty, &[])));
    }
    let ssh = vm.ssh()?;
    super::dispatch::wait_on(async { in_guest(&ssh, tty, command).await })
}

/// `exec`: become a command of this host inside the VM's network.
pub(super) fn exec(ctx: &Context<'_>, host: &HostName, command: &[String]) -> Result<u8, Failure> {
    let Target { vm, .. } = Target::open(ctx.dirs, host)?;
    let mut argv = vm.network()?.enter();
    argv.extend_from_slice(command);
    Err(become_(&argv))
}

/// `forward`: begin, end, or list.
pub(super) fn forward(ctx: &Context<'_>, host: &HostName, asked: ForwardArgs, say: &Say) -> Result<u8, Failure> {
    let here = |path: Utf8PathBuf| {
        let here = camino::absolute_utf8(&path);
        here.map_err(|e| Failure::new(Exit::Host, format!("cannot tell where {path} is: {e}")))
    };
    let spec = match (&asked.ports, asked.socket) {
        (Some(port), Some(path)) => Some(Spec::socket(here(path)?, port)?),
        (Some(ports), None) => Some(ports.parse()?),
        (None, _) => None,
    };
    let Target { vm, .. } = Target::open(ctx.dirs, host)?;
    let tell = |word: &str, forwarded: &Forwarded| {
        say.result(format!("{word}{forwarded}"));
        say.object(&serde_json::json!({"event": "forward", "what": word.trim(), "forward": forwarded}));
    };
    match (spec, asked.stop) {
        (_, Some(what)) => {
            let at = match what.parse::<u16>() {
                Ok(_) => what,
                Err(_) => here(what.into())?.into(),
            };
            tell("ended ", &forward::stop(vm.dir(), &at)?);
        }
        (None, None) => forward::list(vm.dir())?.iter().for_each(|forwarded| tell("", forwarded)),
        (Some(spec), None) => {
            let exe = own_exe()?;
            let enter = vm.network()?.enter();
            tell("", &forward::start(&exe, &enter, vm.dir(), vm.end().ip, &spec, asked.expose)?);
        }
    }
    Ok(0)
}

/// Only returns if it could not.
pub(super) fn become_(argv: &[String]) -> Failure {
    cannot(argv, &std::process::Command::new(&argv[0]).args(&argv[1..]).exec())
}

fn cannot(argv: &[String], error: &std::io::Error) -> Failure {
    Failure::new(Exit::Host, format!("cannot run {}: {error}", argv[0]))
}

/// Run a command over ssh on our own streams. 255 is both ssh's own code and one that a command can have, so ssh's
/// log, which it keeps apart from the command's standard error, decides which it was.
async fn in_guest(ssh: &Ssh, tty: &[&str], command: &[String]) -> Result<u8, Failure> {
    let no_log = |error| Failure::new(Exit::Host, format!("cannot make a file for ssh's log: {error}"));
    let log = tempfile::NamedTempFile::new().map_err(no_log)?;
    let path = log.path().to_string_lossy().into_owned();
    let options = [tty, &["-o", "LogLevel=DEBUG1", "-E", &path]].concat();
    let argv = ssh.argv(&options, command);
    let mut signals = Signals::listen()?;
    let child = tokio::process::Command::new(&argv[0]).args(&argv[1..]).spawn();
    let mut child = child.map_err(|error| cannot(&argv, &error))?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(|error| cannot(&argv, &error))?,
            number = signals.next() => pass_on(&child, number),
        }
    };
    let code = code(status);
    if code == 255 {
        let text = std::fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if let Some(code) = killed(&text) {
            return Ok(code);
        }
        print::err(&format!("boma-qemu: {}", explained(&text)));
    }
    Ok(code)
}

/// A child's exit code as a shell tells it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// The exit code, as a shell tells it, of an ssh that a signal ended: it catches it to clean up, and then ends with 255.
fn killed(log: &str) -> Option<u8> {
    let number = log.lines().find_map(|line| line.trim_end().strip_prefix("Killed by signal "))?;
    number.trim_end_matches('.').parse::<u8>().ok()?.checked_add(128)
}

/// Whose 255 it was, from ssh's log at DEBUG1.
fn explained(log: &str) -> String {
    if log.lines().any(|line| line.trim_end() == "debug1: Exit status 255") {
        return "255 is the command's own exit code; ssh worked".into();
    }
    if log.contains("rtype exit-signal") {
        return "the command in the guest was ended by a signal; ssh tells that as 255".into();
    }
    let own = |line: &&str| !line.starts_with("debug1:") && !line.starts_with("OpenSSH_") && !line.trim().is_empty();
    let said: Vec<_> = log.lines().map(str::trim_end).filter(own).collect();
    match said[said.len().saturating_sub(4)..].join(" | ") {
        none if none.is_empty() => "ssh itself failed with 255 and did not say why".into(),
        said => format!("ssh itself failed with 255, not the command: {said}"),
    }
}

/// The signals that are for the command, too.
struct Signals([(Signal, rustix::process::Signal); 4]);

impl Signals {
    fn listen() -> Result<Self, Failure> {
        use rustix::process::Signal as S;
        let deaf = |error| Failure::new(Exit::Host, format!("cannot listen for signals: {error}"));
        let on = |kind, number| Ok::<_, Failure>((signal(kind).map_err(deaf)?, number));
        Ok(Self([
            on(SignalKind::interrupt(), S::INT)?,
            on(SignalKind::terminate(), S::TERM)?,
            on(SignalKind::hangup(), S::HUP)?,
            on(SignalKind::quit(), S::QUIT)?,
        ]))
    }

    async fn next(&mut self) -> rustix::process::Signal {
        let [(int, a), (term, b), (hup, c), (quit, d)] = &mut self.0;
        tokio::select! {
            _ = int.recv() => *a,
            _ = term.recv() => *b,
            _ = hup.recv() => *c,
            _ = quit.recv() => *d,
        }
    }
}

/// A terminal's signal has reached ssh by itself; a second one does no harm.
fn pass_on(child: &Child, number: rustix::process::Signal) {
    let pid = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
    if let Some(pid) = pid {
        ignore(rustix::process::kill_process(pid, number), "it has ended in between, and is not reaped yet");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_255_it_was_is_told_by_sshs_own_log() {
        let own = "debug1: Authentication succeeded\r\ndebug1: Exit status 255\r\n";
        assert!(explained(own).contains("the command's own"));
        let signal =
            "debug1: client_input_channel_req: channel 0 rtype exit-signal reply 0\r\ndebug1: Exit status -1\r\n";
        assert!(explained(signal).contains("by a signal"));
        let failed = "OpenSSH_9.2p1\r\ndebug1: Connecting to 10.213.77.10\r\nssh: connect to host 10.213.77.10 port 22: No route to host\r\n";
        assert!(explained(failed).ends_with("ssh: connect to host 10.213.77.10 port 22: No route to host"));
        assert_eq!(killed("debug1: channel 0: free\r\nKilled by signal 15.\r\n"), Some(143));
        assert_eq!(killed("Killed by signal 200.\r\n"), None);
        assert_eq!(killed(failed), None);
        let broken = "debug1: Exit status 0\r\nTimeout, server 10.213.77.10 not responding.\r\n";
        assert!(explained(broken).contains("not responding"));
    }
}
