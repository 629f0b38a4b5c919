//! The guest's clock against the host's, measured and moved over a connection that stands.

use super::{Session, SshError};
use std::time::{Duration, SystemTime};

/// How long one short command in the guest may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How far off the guest's clock is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offset {
    /// In seconds; negative: the guest is late.
    pub s: f64,
    /// How wrong that can be: half the time that the question took, in seconds.
    pub error_s: f64,
}

impl Offset {
    /// From the host's clock before and after the question, and the guest's answer.
    fn between(before: f64, guest: f64, after: f64) -> Self {
        Self { s: guest - f64::midpoint(before, after), error_s: (after - before) / 2.0 }
    }

    /// Whether it is `wanted_s`, to within `good_s` beyond what cannot be measured.
    pub fn is(self, wanted_s: f64, good_s: f64) -> bool {
        (self.s - wanted_s).abs() <= good_s + self.error_s
    }
}

/// Measure it.
pub async fn offset(session: &Session) -> Result<Offset, SshError> {
    let before = host();
    let text = session.must("date +%s.%N", LIMIT).await?;
    let after = host();
    // A date(1) that prints something else is no clock: that is an error as large as can be.
    Ok(Offset::between(before, text.trim().parse().unwrap_or(f64::MIN), after))
}

/// Move it by so many seconds: a difference rather than a time, so that the way to the guest costs nothing.
pub async fn step(session: &Session, by_s: f64) -> Result<(), SshError> {
    session.must(&script(by_s), LIMIT).await.map(drop)
}

fn script(by_s: f64) -> String {
    let ns = (by_s * 1e9) as i64;
    // Becoming root comes first: it takes 0.3 s under emulation.
    format!(
        "sudo -n sh -c 'n=$(($(date +%s%N) + ({ns}))); \
         date -u -s \"@$((n / 1000000000)).$(printf %09d $((n % 1000000000)))\" >/dev/null'"
    )
}

fn host() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_clock_is_told_from_a_slow_answer() {
        assert!(!Offset::between(100.0, 90.0, 100.2).is(0.0, 0.5));
        assert!(Offset::between(100.0, 90.0, 100.2).is(-10.0, 0.5));
        let slow = Offset::between(100.0, 100.1, 104.0);
        assert!(slow.is(0.0, 0.5) && slow.error_s == 2.0, "{slow:?}");
    }

    #[test]
    fn an_unreadable_clock_is_never_good() {
        assert!(!Offset::between(100.0, f64::MIN, 101.0).is(0.0, 0.5));
    }

    #[test]
    fn the_step_is_what_a_shell_computes() {
        for by_s in [86_400.25, -86_400.25, 0.001] {
            let script = script(by_s).replace("sudo -n ", "").replace("date -u -s", "echo").replace(">/dev/null", "");
            let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            let text = String::from_utf8(out.stdout).unwrap();
            let (_, fraction) = text.trim().split_once('.').unwrap();
            assert_eq!(fraction.len(), 9, "{text}");
            let told: f64 = text.trim().trim_start_matches('@').parse().unwrap();
            assert!((told - host() - by_s).abs() < 5.0, "{text}");
        }
    }
}
