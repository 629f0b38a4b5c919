//! The guest's clock after a restore. The kernel in the guest goes on counting from where it stopped, so it
//! is late by the age of the snapshot; its time of day is set from outside, as a hypervisor's agent does.

use super::SnapshotError;
use crate::ssh::{Session, SshError, clock};

/// How far the clock may be off, beyond what cannot be measured, in seconds.
const GOOD_S: f64 = 0.5;
/// How often it is set before that is given up.
const TRIES: u32 = 3;

/// Set the guest's clock to the host's. How far it was off before and after, in seconds.
pub(crate) async fn put_right(session: &Session) -> Result<(f64, f64), SnapshotError> {
    let first = clock::offset(session).await.map_err(failed)?;
    let mut now = first;
    let mut tries = 0;
    while !now.is(0.0, GOOD_S) {
        if tries == TRIES {
            return Err(SnapshotError::Clock { off_s: now.s, tries });
        }
        tries += 1;
        clock::step(session, -now.s).await.map_err(failed)?;
        now = clock::offset(session).await.map_err(failed)?;
    }
    Ok((first.s, now.s))
}

fn failed(source: SshError) -> SnapshotError {
    SnapshotError::Guest { when: "for its clock", source }
}
