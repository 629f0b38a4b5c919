//! Stopping. The first Ctrl-C or SIGTERM ends the work in order: what is being waited for is dropped,
//! which ends its children, and the job goes on to keep the evidence. The second ends the program at
//! once; what is left then is for `down` or `prune`.

pub use host::stop::{asked, listen};

use host::failure::{Exit, Failure};
use std::future::Future;
use tokio::signal::unix::{SignalKind, signal};

/// Do some work unless the user stops it.
pub async fn or_stopped<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    if asked() {
        return Err(stopped());
    }
    tokio::select! {
        biased;
        // What is ended because the user asked for it has not failed.
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
