//! Processes that outlive a command: their identity, and ending them without ever hitting a stranger.

use super::deadline::Deadline;
use super::failpoint;
use super::presence::{Presence, ignore};
use super::sys::{self, BeforeExec, before_exec};
use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::kill;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

/// How often a process that cannot be waited for is looked at.
const PERIOD: Duration = Duration::from_millis(20);
/// How long a process may take to end that was killed.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// A process for certain: a pid is recycled, a pid with its start time is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The pid, in the pid namespace of this process.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks between the boot of the host and the start of the process.
    pub start_time: u64,
}

/// Why a process was not ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// It was killed, and is still there.
    #[error("it survived SIGKILL for {KILL_LIMIT:?}")]
    Survived,
    /// It cannot be looked at, so it is not signalled either: it might be another one by now.
    #[error("{0}")]
    Unknown(String),
}

impl ProcessId {
    /// This process. Where `/proc` does not show it, its start time is zero, and nobody takes it for gone.
    pub fn own() -> Self {
        let pid = std::process::id().cast_signed();
        Self { pid, start_time: start_time(pid).ok().flatten().unwrap_or_default() }
    }

    /// The process that has this pid now. Not found, if none has.
    pub fn of(pid: i32) -> io::Result<Self> {
        match start_time(pid) {
            Ok(Some(start_time)) => Ok(Self { pid, start_time }),
            Ok(None) => Err(io::Error::new(ErrorKind::NotFound, format!("process {pid} has ended"))),
            Err(why) => Err(io::Error::other(why)),
        }
    }

    /// Its state, as `/proc/PID/stat` tells it (`R`, `S`, `D`, `T`, …); none if it is gone or cannot be looked at.
    pub fn state(&self) -> Option<char> {
        let stat = read_stat(self.pid).ok().flatten()?;
        self.presence().is_there().then(|| stat.rsplit_once(')')?.1.trim_start().chars().next()).flatten()
    }

    /// Whether it is still there (a zombie is not).
    pub fn presence(&self) -> Presence {
        match start_time(self.pid) {
            Ok(Some(now)) if now == self.start_time => Presence::There,
            Ok(Some(_)) if self.start_time == 0 => {
                Presence::Unknown(format!("whether process {} is another one by now was not written down", self.pid))
            }
            Ok(_) => Presence::Gone,
            Err(why) => Presence::Unknown(why),
        }
    }

    /// Whether it may still be there: it is, or it cannot be looked at.
    pub fn is_alive(&self) -> bool {
        !self.presence().is_gone()
    }

    /// A descriptor for it, opened race-free: identity is checked after opening. None if it is gone.
    pub fn open(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let fd = pidfd_open(pid, PidfdFlags::empty());
        match (fd, self.presence()) {
            (Err(rustix::io::Errno::SRCH), _) | (_, Presence::Gone) => Ok(None),
            (Ok(_), Presence::Unknown(why)) => Err(io::Error::other(why)),
            (Ok(fd), Presence::There) => Ok(Some(fd)),
            (Err(errno), _) => Err(errno.into()),
        }
    }

    /// Wait until it is gone; `false` if the deadline passed first, or if that cannot be seen.
    pub fn wait_gone(&self, deadline: &Deadline) -> bool {
        if let Ok(Some(fd)) = self.open() {
            let left = rustix::event::Timespec::try_from(deadline.left()).unwrap_or_default();
            ignore(poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)), "it is looked at below");
        }
        // What could not be waited for can still be looked at.
        while !self.presence().is_gone() {
            if deadline.passed() {
                return false;
            }
            std::thread::sleep(PERIOD);
        }
        true
    }

    /// Ask it to end, and do not wait for it.
    pub fn ask_to_end(&self) {
        if let Ok(Some(fd)) = self.open() {
            ignore(pidfd_send_signal(&fd, Signal::TERM), "whoever asks looks whether it ends");
        }
    }

    /// Ask it to end, and kill it after `grace`. Being gone already is success.
    pub fn end(&self, grace: Duration) -> Result<(), EndError> {
        let opened = self.open().map_err(|e| EndError::Unknown(format!("cannot open process {}: {e}", self.pid)))?;
        let Some(fd) = opened else { return Ok(()) };
        ignore(pidfd_send_signal(&fd, Signal::TERM), "its end is waited for");
        if self.wait_gone(&Deadline::after(grace)) {
            return Ok(());
        }
        ignore(pidfd_send_signal(&fd, Signal::KILL), "its end is waited for");
        match (self.wait_gone(&Deadline::after(KILL_LIMIT)), self.presence()) {
            (true, _) | (_, Presence::Gone) => Ok(()),
            (_, Presence::There) => Err(EndError::Survived),
            (_, Presence::Unknown(why)) => Err(EndError::Unknown(why)),
        }
    }
}

/// The path of this program, to be started again as a helper of its own.
pub fn own_exe() -> std::io::Result<camino::Utf8PathBuf> {
    let path = std::env::current_exe()?;
    camino::Utf8PathBuf::from_path_buf(path).map_err(|_| std::io::Error::other("its path is not UTF-8"))
}

/// What a program that we start may know of the caller's environment, which can hold secrets.
const KNOWN: [&str; 17] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "TZ",
    "LANG",
    "LC_ALL",
    "XDG_RUNTIME_DIR",
    "RUST_LOG",
    "RUST_BACKTRACE",
];

/// Leave a command nothing of this process's environment but what it can need, and no descriptor but the standard
/// streams: what lives on would hold a lock of the caller's as long.
pub fn inherit_little(command: &mut Command) {
    let names = KNOWN.into_iter().chain(failpoint::VARIABLE);
    let known = names.filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.env_clear().envs(known);
    inherit_nothing();
}

/// Let a command have one more descriptor, under its own number, which is open until it has been started. After
/// [`inherit_little`].
pub fn inherit_also(command: &mut Command, fd: &impl AsRawFd) {
    before_exec(command, BeforeExec::Keep(fd.as_raw_fd()));
}

/// Let a command be killed when the thread that starts it ends: a short command is of no use to anybody then, and would
/// go on writing where somebody else clears up.
pub fn die_with_us(command: &mut Command) {
    before_exec(command, BeforeExec::DieWith(std::process::id().cast_signed()));
}

/// Give a command a session of its own, without the terminal of this process: it can neither ask there, nor put words
/// into the mouth of the shell behind it (TIOCSTI, ioctl_tty(2)), nor does the terminal's Ctrl-C reach it. Whoever waits
/// for the command ends it.
pub fn leave_terminal(command: &mut Command) {
    before_exec(command, BeforeExec::LeaveTerminal);
}

/// Into a user namespace with nobody else in it, where the own user and group are themselves, and into these other
/// namespaces in it (user_namespaces(7)).
pub fn leave_user_namespace(others: CloneFlags) -> io::Result<()> {
    // Before they are mapped they cannot be asked for.
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    nix::sched::unshare(CloneFlags::CLONE_NEWUSER | others)?;
    // A process that changed its user has files in /proc that are root's; exec would give them back.
    nix::sys::prctl::set_dumpable(true)?;
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{uid} {uid} 1")),
        ("/proc/self/gid_map", format!("{gid} {gid} 1")),
    ] {
        io::Write::write_all(&mut std::fs::File::options().write(true).open(file)?, text.as_bytes())?;
    }
    Ok(())
}

/// Start time of a live process; none if there is no such process. The command name may hold spaces and parentheses, so
/// fields are counted from the last `)` (proc_pid_stat(5)).
fn start_time(pid: i32) -> Result<Option<u64>, String> {
    let Some(stat) = read_stat(pid)? else { return Ok(None) };
    let bad = || format!("cannot understand /proc/{pid}/stat: {stat:?}");
    let (_, rest) = stat.rsplit_once(')').ok_or_else(bad)?;
    // From field 3, its state, on.
    let fields: Vec<_> = rest.split_whitespace().collect();
    let (Some(state), Some(threads), Some(started)) = (fields.first(), fields.get(17), fields.get(19)) else {
        return Err(bad());
    };
    // The state is the first thread's; while others run, the process has its files and its memory.
    let is_zombie = *state == "Z" && *threads == "1";
    let started = started.parse().map_err(|_| bad())?;
    Ok((!is_zombie && *state != "X").then_some(started))
}

/// The text of `/proc/PID/stat`; none if there is no such process. That it is not in `/proc` does not say so yet: a mount
/// option hides the processes of others (`hidepid`, proc(5)), and a container may hide all of it.
fn read_stat(pid: i32) -> Result<Option<String>, String> {
    let path = format!("/proc/{pid}/stat");
    // Twice: a process with that pid may begin between the two looks.
    for _ in 0..2 {
        match std::fs::read(&path) {
            Ok(bytes) => return Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(e) if e.raw_os_error() == Some(Errno::ESRCH as i32) => return Ok(None),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(format!("cannot read {path}: {e}")),
        }
        // No process, and no group of processes, has such a number.
        if pid <= 0 {
            return Ok(None);
        }
        if kill(nix::unistd::Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
            return Ok(None);
        }
    }
    Err(format!("there is a process {pid}, and /proc does not show it"))
}

/// Mark everything but the standard streams as not to be inherited: a descriptor is a way out, too, and whoever started
/// us may have left some open.
pub fn inherit_nothing() {
    if sys::close_on_exec() {
        return;
    }
    // A kernel before 5.11. Nothing is opened to find out what is open: there may be no descriptor left for it.
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(1 << 20);
    for fd in 3..i32::try_from(most).unwrap_or(1 << 20) {
        ignore(sys::set_inherited(fd, false), "only a closed one cannot be marked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_with_another_start_time_is_a_stranger() {
        let own = ProcessId::own();
        assert!(own.is_alive());
        let stranger = ProcessId { start_time: own.start_time + 1, ..own };
        assert!(!stranger.is_alive());
        assert!(stranger.end(Duration::ZERO).is_ok(), "a stranger counts as gone and is never signalled");
    }

    #[test]
    fn a_process_whose_start_was_not_seen_is_not_taken_for_gone_nor_signalled() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = ProcessId { start_time: 0, ..ProcessId::of(child.id().cast_signed()).unwrap() };
        assert!(matches!(id.presence(), Presence::Unknown(_)));
        assert!(matches!(id.end(Duration::ZERO), Err(EndError::Unknown(_))));
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(id.presence(), Presence::Gone);
    }

    #[test]
    fn a_start_time_counts_from_the_boot_whatever_the_clock_on_the_wall_says() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = ProcessId::of(child.id().cast_signed()).unwrap();
        // CLOCK_BOOTTIME is the one that nobody can set.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let now = u64::try_from(now.tv_sec).unwrap();
        let started = id.start_time / rustix::param::clock_ticks_per_second();
        assert!((now.saturating_sub(60)..=now).contains(&started), "started {started} s, now {now} s after the boot");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_is_there_until_the_last_one_has() {
        let script = "import threading, time, ctypes\nthreading.Thread(target=time.sleep, args=(60,)).start()\n\
                      print(flush=True)\nctypes.CDLL(None).syscall(60, 0)";
        let mut command = Command::new("python3");
        let mut child = command.args(["-c", script]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let id = ProcessId::of(child.id().cast_signed()).unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", id.pid)).unwrap();
        while !stat().contains(") Z ") {
            std::thread::yield_now();
        }
        assert!(id.is_alive() && !id.wait_gone(&Deadline::after(Duration::from_millis(20))));
        assert!(id.end(Duration::ZERO).is_ok() && !id.is_alive());
        child.wait().unwrap();
    }

    #[test]
    fn a_child_that_ignores_sigterm_is_killed() {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; echo; while :; do sleep 1; done"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let id = ProcessId::of(child.id().cast_signed()).unwrap();
        assert!(id.end(Duration::from_millis(50)).is_ok());
        child.wait().unwrap();
    }
}
