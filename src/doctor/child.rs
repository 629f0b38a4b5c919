//! An attempt in a process of its own, which takes with it what it has made.

use host::sys::in_a_child;
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};

/// Do it in a child; its answer. None if the child died.
///
/// `attempt` may only make system calls, and need no memory: another thread may have held a lock at the fork.
pub(super) fn answer(attempt: fn() -> u8) -> nix::Result<Option<u8>> {
    Ok(match waitpid(in_a_child(attempt)?, None) {
        Ok(WaitStatus::Exited(_, code)) => u8::try_from(code).ok(),
        _ => None,
    })
}

/// An error as an answer: those that can come here are below 128.
pub(super) fn told(errno: Errno) -> u8 {
    u8::try_from(errno as i32).map_or(0x7f, |code| code & 0x7f)
}
