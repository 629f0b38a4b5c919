//! The guest's clock after a restore. The kernel in the guest goes on counting from where it stopped, so it
//! is late by the age of the snapshot; its time of day is set from outside, as a hypervisor's agent does.

use super::{ASK_LIMIT, SnapshotError};
use crate::ssh::Session;
use std::time::SystemTime;

/// How far the clock may be off, beyond what cannot be measured, in seconds.
const GOOD_S: f64 = 0.5;
/// How often it is set before that is given up.
const TRIES: u32 = 3;

/// The guest's clock against the host's.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Offset {
    /// In seconds; negative: the guest is late.
    s: f64,
    /// How wrong that can be: half the time that the question took.
    error_s: f64,
}

impl Offset {
    /// From the host's clock before and after the question, and the guest's answer.
    fn between(before: f64, guest: f64, after: f64) -> Self {
        Self { s: guest - f64::midpoint(before, after), error_s: (after - before) / 2.0 }
    }

    fn is_good(self) -> bool {
        self.s.abs() <= GOOD_S + self.error_s
    }
}

/// Set the guest's clock to the host's. How far it was off before and after, in seconds.
pub(super) async fn put_right(session: &Session) -> Result<(f64, f64), SnapshotError> {
    let first = measure(session).await?;
    let mut now = first;
    let mut tries = 0;
    while !now.is_good() {
        if tries == TRIES {
            return Err(SnapshotError::Clock { off_s: now.s, tries });
        }
        tries += 1;
        session.must(&step(-now.s), ASK_LIMIT).await.map_err(failed)?;
        now = measure(session).await?;
    }
    Ok((first.s, now.s))
}

async fn measure(session: &Session) -> Result<Offset, SnapshotError> {
    let before = host();
    let text = session.must("date +%s.%N", ASK_LIMIT).await.map_err(failed)?;
    let after = host();
    // A date(1) that prints something else is no clock: that is an error as large as can be.
    Ok(Offset::between(before, text.trim().parse().unwrap_or(f64::MIN), after))
}

/// Moves the clock by a difference rather than to a time, so that the way to the guest costs nothing; nor
/// does becoming root, which takes 0.3 s under emulation.
fn step(by_s: f64) -> String {
    let ns = (by_s * 1e9) as i64;
    format!(
        "sudo -n sh -c 'n=$(($(date +%s%N) + ({ns}))); \
         date -u -s \"@$((n / 1000000000)).$(printf %09d $((n % 1000000000)))\" >/dev/null'"
    )
}

fn host() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64())
}

fn failed(source: crate::ssh::SshError) -> SnapshotError {
    SnapshotError::Guest { when: "for its clock", source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_clock_is_told_from_a_slow_answer() {
        assert!(!Offset::between(100.0, 90.0, 100.2).is_good());
        let slow = Offset::between(100.0, 100.1, 104.0);
        assert!(slow.is_good() && slow.error_s == 2.0, "{slow:?}");
    }

    #[test]
    fn an_unreadable_clock_is_never_good() {
        assert!(!Offset::between(100.0, f64::MIN, 101.0).is_good());
    }

    #[test]
    fn the_step_is_what_a_shell_computes() {
        let script = step(86_400.25).replace("sudo -n", "").replace("date -u -s", "echo");
        let out = std::process::Command::new("sh").args(["-c", &script.replace(">/dev/null", "")]).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let told: f64 = text.trim().trim_start_matches('@').parse().unwrap();
        assert!((told - host() - 86_400.25).abs() < 5.0, "{text}");
    }
}
