//! The line against real shells on a pseudo-terminal, with a kernel that writes in between.

mod login;
mod pty;
mod root;
mod shells;

use super::{Credentials, Dialect, Serial};
use crate::host::deadline::Deadline;
use pty::{Guest, Noise, Typist};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(25);

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
