//! Whether the user has asked this process to stop. The first Ctrl-C or SIGTERM is noted; the second ends the program at
//! once.
//!
//! What we start has a session of its own, so a terminal's Ctrl-C reaches this process alone, and ending the
//! others is for whoever waits for them.

use super::deadline::PROBE_PERIOD;
use super::sys;
use crate::failure::Exit;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::SignalKind;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Whether the user has asked to stop, for work that cannot be dropped.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Wait until the user asks to stop.
pub async fn until_asked() {
    while !asked() {
        tokio::time::sleep(PROBE_PERIOD).await;
    }
}

/// Listen for the signals from now on.
pub fn listen() -> std::io::Result<()> {
    for number in [SignalKind::interrupt().as_raw_value(), SignalKind::terminate().as_raw_value()] {
        sys::at_signal(number, Exit::Interrupted.code(), || ASKED.swap(true, Ordering::Relaxed))?;
    }
    Ok(())
}
