//! The serial line against real shells on a pseudo-terminal, with a kernel that writes in between.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test's helpers fail by panicking, and tell what they saw

#[path = "../project/executable.rs"]
mod executable;
mod login;
mod pty;
mod root;
mod shells;

use host::deadline::Deadline;
use pty::{Guest, Noise, Typist};
use std::time::Duration;
use vm::serial::{Credentials, Dialect, Serial};

/// Longer than anything takes on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_secs(120);
/// What ends sooner has not waited for its limit.
const AT_ONCE: Duration = Duration::from_secs(60);

fn soon() -> Deadline {
    Deadline::after(LIMIT)
}

/// A shell that somebody left open, logged in to.
async fn shell(noise: Noise) -> (Guest, Serial<Typist>) {
    let mut guest = Guest::run("exec sh", noise, None);
    let mut serial = guest.serial().await;
    serial.login(&Dialect::debian(), &Credentials::user("root"), &soon()).await.unwrap();
    (guest, serial)
}
