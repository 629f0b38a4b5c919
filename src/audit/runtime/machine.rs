//! The machine as the guest sees it, and commands of one's own.

use super::{Answer, fields, last_line};
use crate::audit::outcome::Seen;
use crate::form::pattern::Pattern;

/// The kernel's sources of entropy.
pub(super) const ENTROPY: &str =
    "cd /sys/class/misc/hw_random && for f in rng_available rng_current; do echo \"$f=$(cat $f)\"; done";
/// Seconds since 1970.
pub(super) const TIME: &str = "date +%s";

/// A device for entropy is in use.
pub(super) fn judge_entropy(expect: &Pattern, answer: &Answer) -> Seen {
    let value = |name: &str| fields(&answer.output).find(|(own, _)| *own == name).map(|(_, value)| value);
    match (value("rng_current"), value("rng_available")) {
        (Some(current), _) if expect.is_in(current) => Seen::holds(format!("{current} is in use")),
        (Some(current), available) => {
            let available = available.unwrap_or_default();
            let cause =
                format!("the kernel takes entropy from {current:?}, which is not {expect}; there is {available:?}");
            Seen::fails(current, cause)
        }
        (None, _) => {
            let said = last_line(&answer.output);
            Seen::fails(said, format!("the kernel knows no hardware entropy: {said}"))
        }
    }
}

/// The clock is right, as far as the way over the line lets it be seen.
pub(super) fn judge_time(within_s: u64, answer: &Answer, now: f64) -> Seen {
    let Ok(guest) = last_line(&answer.output).parse::<f64>() else {
        return Seen::unknown(format!("date says {:?}", last_line(&answer.output)));
    };
    let off = guest - now;
    let cause = (off.abs() > within_s as f64).then(|| {
        let way = if off < 0.0 { "behind" } else { "ahead of" };
        format!("the guest's clock is {:.0} s {way} this machine's, and {within_s} s are allowed", off.abs())
    });
    Seen::judged(format!("off by {off:.0} s"), cause)
}

/// A command ends as expected and says what is expected.
pub(super) fn judge_command(run: &str, code: i32, expect: Option<&Pattern>, answer: &Answer) -> Seen {
    let said = last_line(&answer.output);
    if answer.code != code {
        return Seen::fails(said, format!("`{run}` ended with {} and not with {code}: {said}", answer.code));
    }
    match expect {
        Some(pattern) if !pattern.is_in(&answer.output) => {
            Seen::fails(said, format!("`{run}` does not say {pattern} but {said:?}"))
        }
        Some(pattern) => Seen::holds(pattern.line_in(&answer.output).unwrap_or(said).trim()),
        None => Seen::holds(said),
    }
}
