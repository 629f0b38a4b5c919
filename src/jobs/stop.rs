//! Stopping. The first Ctrl-C or SIGTERM ends the work in order: what is being waited for is dropped,
//! which ends its children, and the job goes on to keep the evidence. The second ends the program at
//! once; what is left then is for `down` or `prune`.

use crate::failure::{Exit, Failure};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Whether the user has asked to stop, for work that cannot be dropped.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Listen for the signals from now on.
pub fn listen() -> std::io::Result<()> {
    for number in [SignalKind::interrupt().as_raw_value(), SignalKind::terminate().as_raw_value()] {
        let act = move || {
            if ASKED.swap(true, Ordering::Relaxed) {
                // SAFETY: _exit is async-signal-safe.
                unsafe { nix::libc::_exit(i32::from(Exit::Interrupted.code())) };
            }
        };
        // SAFETY: the action only touches an atomic and calls _exit, both async-signal-safe.
        unsafe { signal_hook_registry::register(number, act)? };
    }
    Ok(())
}

/// Do some work unless the user stops it.
pub async fn or_stopped<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    if asked() {
        return Err(stopped());
    }
    tokio::select! {
        biased;
        // A terminal's Ctrl-C reaches our children too: what they make of it is no failure of theirs.
        done = work => done.map_err(|failure| if asked() { stopped() } else { failure }),
        () = signalled() => Err(stopped()),
    }
}

fn stopped() -> Failure {
    Failure::new(Exit::Interrupted, "stopped by the user")
}

async fn signalled() {
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        // Without a handler the signal's default action ends the program anyway.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}
