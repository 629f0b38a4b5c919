//! Processes that outlive a command: their identity, and ending them without ever hitting a stranger.

use super::deadline::Deadline;
use super::stop_at;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal, set_parent_process_death_signal,
};
use serde::{Deserialize, Serialize};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// A process for certain: a pid is recycled, a pid with its start time is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The pid, in the pid namespace of this process.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks between the boot of the host and the start of the process.
    pub start_time: u64,
}

impl ProcessId {
    /// This process.
    pub fn own() -> Self {
        let pid = std::process::id().cast_signed();
        Self { pid, start_time: start_time(pid).unwrap_or_default() }
    }

    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, start_time: start_time(pid)? })
    }

    /// Its state, as `/proc/PID/stat` tells it (`R`, `S`, `D`, `T`, …); none if it is gone.
    pub fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        self.is_alive().then(|| stat.rsplit_once(')')?.1.trim_start().chars().next()).flatten()
    }

    /// Whether it is still there (a zombie is not).
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }

    /// A descriptor for it, opened race-free: identity is checked after opening.
    pub fn open(&self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.is_alive().then_some(fd)
    }

    /// Wait until it is gone; `false` if the deadline passed first.
    pub fn wait_gone(&self, deadline: &Deadline) -> bool {
        let Some(fd) = self.open() else { return true };
        let left = rustix::event::Timespec::try_from(deadline.left()).unwrap_or_default();
        let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left));
        !self.is_alive()
    }

    /// Ask it to end, and do not wait for it.
    pub fn ask_to_end(&self) {
        if let Some(fd) = self.open() {
            // It can only have ended in between.
            let _ = pidfd_send_signal(&fd, Signal::TERM);
        }
    }

    /// Ask it to end, and kill it after `grace`. Being gone already is success; `false` if it survives.
    pub fn end(&self, grace: Duration) -> bool {
        let Some(fd) = self.open() else { return true };
        let _ = pidfd_send_signal(&fd, Signal::TERM);
        if self.wait_gone(&Deadline::after(grace)) {
            return true;
        }
        let _ = pidfd_send_signal(&fd, Signal::KILL);
        self.wait_gone(&Deadline::after(Duration::from_secs(5)))
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
    let names = KNOWN.into_iter().chain(stop_at::VARIABLE);
    let known = names.filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.env_clear().envs(known);
    inherit_nothing();
}

/// Let a command be killed when the thread that starts it ends: a short command is of no use to anybody then, and would
/// go on writing where somebody else clears up.
pub fn die_with_us(command: &mut Command) {
    let parent = std::process::id().cast_signed();
    // SAFETY: two system calls between fork and exec, which need no memory but for an error's.
    unsafe { command.pre_exec(move || die_with(parent)) };
}

/// Be killed when the parent, or its thread that has started us, dies; and at once, if it is another one already. A later
/// change of credentials can clear it (prctl(2)).
pub fn die_with(parent: i32) -> std::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    match getppid() {
        Some(now) if now.as_raw_nonzero().get() == parent => Ok(()),
        _ => Err(std::io::Error::other("the parent died first")),
    }
}

/// Start time of a live process. The command name may hold spaces and parentheses, so fields are
/// counted from the last `)` (proc_pid_stat(5)).
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    // From field 3, its state, on.
    let fields: Vec<_> = rest.split_whitespace().collect();
    let (state, threads, started) = (fields.first()?, fields.get(17)?, fields.get(19)?);
    // The state is the first thread's; while others run, the process has its files and its memory.
    let is_zombie = *state == "Z" && *threads == "1";
    (!is_zombie && *state != "X").then(|| started.parse().ok())?
}

/// Mark everything but the standard streams as not to be inherited: a descriptor is a way out, too, and whoever started
/// us may have left some open.
pub fn inherit_nothing() {
    let fds = std::fs::read_dir("/proc/self/fd").into_iter().flatten().filter_map(Result::ok);
    for fd in fds.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).filter(|fd| *fd > 2) {
        // SAFETY: borrowed for one call, which fails harmlessly if the descriptor is closed by then.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC);
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
        assert!(stranger.end(Duration::ZERO), "a stranger counts as gone and is never signalled");
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
        assert!(id.end(Duration::ZERO) && !id.is_alive());
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
        assert!(id.end(Duration::from_millis(50)));
        child.wait().unwrap();
    }
}
