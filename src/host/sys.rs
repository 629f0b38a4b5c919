//! The system calls that no crate has in a safe form, each behind a function that can be called safely. Beside the two
//! confinements (`vm::network::confine`, `vm::monitor`), nothing else in the program is `unsafe`.

use nix::libc;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

nix::ioctl_write_int! {
    /// `TUNSETIFF` (linux/if_tun.h): which interface an open /dev/net/tun stands for.
    tun_set_iff, b'T', 202
}

/// Set `PATH` for this process and all that it starts. In `main`, before anything else.
pub fn set_path(path: &str) {
    // SAFETY: `main` calls it first: there is no other thread yet that could be reading the environment.
    unsafe { std::env::set_var("PATH", path) };
}

/// A descriptor whose readiness can be awaited (inotify, a pidfd, a terminal). Needs a running tokio reactor.
pub fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open, is the same one at each look, and is closed only when the AsyncFd drops it.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// Let an open /dev/net/tun stand for an interface of this name, with these flags (linux/if_tun.h).
pub fn attach_tun(device: impl AsFd, name: &str, flags: i32) -> nix::Result<()> {
    let flags = i16::try_from(flags).map_err(|_| nix::errno::Errno::EINVAL)?;
    let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_flags: flags };
    let mut request = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru };
    // An interface's name is at most 15 bytes, so the NUL stays.
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: TUNSETIFF reads an ifreq, which lives until the call returns.
    unsafe { tun_set_iff(device.as_fd().as_raw_fd(), (&raw const request).addr() as u64) }.map(drop)
}

/// Do something in a child of this process, which ends with the code that it returns. What is done there may make system
/// calls only: another thread's locks stay taken in it for ever.
pub fn in_a_child(work: fn() -> u8) -> nix::Result<nix::unistd::Pid> {
    // SAFETY: the child makes system calls and ends at once, without running anything of the parent's.
    unsafe {
        match nix::unistd::fork()? {
            nix::unistd::ForkResult::Child => libc::_exit(work().into()),
            nix::unistd::ForkResult::Parent { child } => Ok(child),
        }
    }
}

/// What a child does between fork and exec.
#[derive(Debug)]
pub(crate) enum BeforeExec {
    /// Be killed when the process with this pid, or its thread that has started us, dies.
    DieWith(i32),
    /// Have a session of its own.
    LeaveTerminal,
    /// Keep this descriptor, which the caller leaves open until the spawn has returned.
    Keep(RawFd),
}

/// Let a command do that before it executes its program.
pub(crate) fn before_exec(command: &mut Command, step: BeforeExec) {
    let take = move || match step {
        BeforeExec::DieWith(parent) => die_with(parent),
        BeforeExec::LeaveTerminal => Ok(rustix::process::setsid().map(drop)?),
        BeforeExec::Keep(fd) => set_inherited(fd, true),
    };
    // SAFETY: each step is one or two system calls, which need no memory but for an error's.
    unsafe { command.pre_exec(take) };
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

/// Whether a program that is executed from here has this descriptor, too. A closed one is an error.
pub fn set_inherited(fd: RawFd, inherited: bool) -> io::Result<()> {
    use rustix::io::FdFlags;
    let flags = if inherited { FdFlags::empty() } else { FdFlags::CLOEXEC };
    by_number(fd, |fd| Ok(rustix::io::fcntl_setfd(fd, flags)?))
}

/// A descriptor of ours for one that this process was started with, by its number.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    by_number(fd, |fd| Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?))
}

fn by_number<T>(fd: RawFd, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
    if fd < 0 {
        return Err(rustix::io::Errno::BADF.into());
    }
    // SAFETY: it is not -1, and borrowed for one call, which fails harmlessly if it is closed.
    call(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Mark everything but the standard streams as not to be inherited; false on a kernel before 5.11, which cannot.
pub(crate) fn close_on_exec() -> bool {
    // SAFETY: the call reads nothing of ours, and closes nothing yet.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) == 0 }
}

/// From now on, at each of the signals with this number, call `noted`: if it says so, end with this exit code at once. It
/// runs in a signal handler and may touch an atomic, and nothing else.
pub(crate) fn at_signal(number: i32, code: u8, noted: fn() -> bool) -> io::Result<()> {
    // SAFETY: the action touches an atomic and calls _exit, both async-signal-safe.
    unsafe {
        signal_hook_registry::register(number, move || {
            if noted() {
                libc::_exit(i32::from(code));
            }
        })
        .map(drop)
    }
}

/// Put other bytes in the place of this process's own command line, which begins at this address and is as long.
/// Before any other thread is started.
pub(crate) fn set_command_line(start: usize, line: &[u8]) {
    // SAFETY: the kernel has put the arguments there and says so; they are this process's own memory, writable, mapped
    // for its whole life, and nobody else looks at them now. The length is the same.
    unsafe { std::ptr::copy_nonoverlapping(line.as_ptr(), start as *mut u8, line.len()) };
}
