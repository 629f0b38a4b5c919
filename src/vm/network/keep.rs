//! `@keep`: a process that makes namespaces and stays in them, so that they stay.
//!
//! It is a child of the holder and dies with it; with it go the namespaces and all that is in them.
//! The parent writes the identity maps, since only it may map more than one's own user.

use super::caps::Keep;
use super::{NetError, enter};
use camino::Utf8Path;
use host::deadline::Deadline;
use host::handshake;
use host::presence::ignore;
use host::process::ProcessId;
use nix::sched::CloneFlags;
use rustix::process::geteuid;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

/// The hidden subcommand's name.
pub const NAME: &str = "@keep";

/// Which namespaces a namespace holder makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// A user namespace with an identity map, and a network namespace in it that forwards packets.
    UserAndRouter,
    /// A user namespace with an identity map, and a network namespace in it.
    UserAndNet,
    /// A network namespace in the user namespace that it is started in.
    Net,
}

impl Space {
    fn word(self) -> &'static str {
        match self {
            Self::UserAndRouter => "user-router",
            Self::UserAndNet => "user-net",
            Self::Net => "net",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::UserAndRouter, Self::UserAndNet, Self::Net].into_iter().find(|space| space.word() == word)
    }

    fn flags(self) -> CloneFlags {
        match self {
            Self::Net => CloneFlags::CLONE_NEWNET,
            _ => CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET,
        }
    }
}

/// A namespace holder that runs. Dropping it closes its standard input, which ends it.
#[derive(Debug)]
pub(crate) struct NetnsHolder {
    /// The process.
    pub id: ProcessId,
    /// Held for its standard input.
    _child: Child,
}

/// How long making namespaces may take; it is a matter of milliseconds.
const LIMIT: Duration = Duration::from_secs(5);

impl NetnsHolder {
    /// Start a namespace holder; `prefix` says in which namespaces.
    pub(crate) fn start(exe: &Utf8Path, prefix: &[String], space: Space) -> Result<Self, NetError> {
        let own = std::process::id().to_string();
        let argv: Vec<_> = prefix.iter().map(String::as_str).chain([exe.as_str(), NAME, &own, space.word()]).collect();
        let mut child = Command::new(argv[0])
            .args(&argv[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| NetError::Start { program: NAME.into(), source })?;
        let pid = child.id().cast_signed();
        let made = (|| {
            let (Some(stdin), Some(stdout)) = (&mut child.stdin, &mut child.stdout) else {
                return Err(NetError::NetnsGone { pid });
            };
            let deadline = Deadline::after(LIMIT);
            listen(stdout, pid, &deadline)?;
            if space != Space::Net {
                write_maps(pid).map_err(|source| NetError::Namespace { what: "the identity map", source })?;
            }
            stdin.write_all(b"\n").map_err(|_| NetError::NetnsGone { pid })?;
            listen(stdout, pid, &deadline)?;
            ProcessId::of(pid).map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => NetError::NetnsGone { pid },
                _ => NetError::Unknown { why: format!("cannot record the network's namespace holder: {e}") },
            })
        })();
        match made {
            Ok(id) => Ok(Self { id, _child: child }),
            Err(error) => {
                ignore(child.kill(), "it may have ended by itself");
                ignore(child.wait(), "only the start's own error is of use");
                Err(error)
            }
        }
    }
}

fn listen(pipe: &mut std::process::ChildStdout, pid: i32, deadline: &Deadline) -> Result<(), NetError> {
    handshake::listen::<()>(pipe, deadline).map_err(|silence| match silence {
        handshake::Silence::Failed(failure) => NetError::Child { failure },
        handshake::Silence::Closed => NetError::NetnsGone { pid },
        handshake::Silence::Late => NetError::NotReady { program: NAME, limit: LIMIT, said: "nothing".into() },
    })
}

/// Map every user and group that we know to itself: all of them as root, else only our own.
fn write_maps(pid: i32) -> std::io::Result<()> {
    let all = |kind: &str| {
        let text = std::fs::read_to_string(format!("/proc/self/{kind}"))?;
        std::fs::write(format!("/proc/{pid}/{kind}"), identity(&text))
    };
    if geteuid().is_root() && all("uid_map").is_ok() {
        return all("gid_map");
    }
    let (uid, gid) = (geteuid().as_raw(), rustix::process::getegid().as_raw());
    std::fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    std::fs::write(format!("/proc/{pid}/uid_map"), format!("{uid} {uid} 1"))?;
    std::fs::write(format!("/proc/{pid}/gid_map"), format!("{gid} {gid} 1"))
}

/// The identity map over all ids of the own map (user_namespaces(7): inside, outside, length).
fn identity(own_map: &str) -> String {
    let lines = own_map.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (inside, length) = (fields.next()?, fields.nth(1)?);
        Some(format!("{inside} {inside} {length}\n"))
    });
    lines.collect()
}

/// The hidden subcommand: `@keep PPID SPACE`.
pub fn main(args: &[String]) -> ExitCode {
    handshake::end(NAME, run(args))
}

fn run(args: &[String]) -> Result<(), NetError> {
    let bad = || NetError::Arguments { command: NAME, why: "it takes a pid and a word".into() };
    let [parent, space] = args else { return Err(bad()) };
    let parent: i32 = parent.parse().map_err(|_| bad())?;
    let space = Space::parse(space).ok_or_else(bad)?;
    let io = |source| NetError::Namespace { what: "a namespace holder that its parent can talk to", source };
    let wait = || {
        let mut byte = [0];
        std::io::stdin().lock().read(&mut byte).map(|n| n == 1).map_err(io)
    };
    // A session of its own: a terminal's Ctrl-C is not for it.
    ignore(rustix::process::setsid(), "only a session's leader cannot, and has its own");
    nix::sched::unshare(space.flags())
        .map_err(|errno| NetError::Namespace { what: "user and network namespaces", source: errno.into() })?;
    handshake::ready(&()).map_err(io)?;
    if !wait()? {
        return Ok(());
    }
    if space == Space::UserAndRouter {
        for key in ["ipv4/ip_forward", "ipv6/conf/all/disable_ipv6", "ipv6/conf/default/disable_ipv6"] {
            let path = format!("/proc/sys/net/{key}");
            match std::fs::write(&path, "1") {
                // A kernel without IPv6 has nothing to switch off.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && key.starts_with("ipv6") => {}
                done => done.map_err(|source| NetError::File { path: path.into(), source })?,
            }
        }
    }
    Keep::None.apply()?;
    enter::die_with(parent)?;
    handshake::ready(&()).map_err(io)?;
    // The parent never writes again: this returns when it is gone.
    wait().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_of_a_container_maps_to_itself_and_no_other() {
        assert_eq!(identity("         0     100000      65536\n"), "0 0 65536\n");
        assert_eq!(identity("0 0 4294967295\n"), "0 0 4294967295\n");
    }
}
