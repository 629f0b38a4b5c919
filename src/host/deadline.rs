//! Deadlines: a point in time that a wait may not pass, carried down instead of a time-out per call.
//!
//! They are on CLOCK_MONOTONIC, which stands still while the host sleeps, as its guests do: a wait that was begun
//! before a suspend has the same time left after it. Only a VM's life-time is on CLOCK_BOOTTIME.

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use std::time::{Duration, Instant};

/// The longest time between two probes where nothing pushes.
pub const PROBE_PERIOD: Duration = Duration::from_millis(100);

/// A point in time (monotonic clock) and the wait that led to it.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    /// A deadline that much time from now.
    pub fn after(limit: Duration) -> Self {
        Self { start: Instant::now(), limit }
    }

    /// The time that is left; zero once it has passed.
    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(self.start.elapsed())
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.left().is_zero()
    }

    /// The time since the wait began.
    pub fn waited(&self) -> Duration {
        self.start.elapsed()
    }

    /// The whole time that the wait may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// The earlier of this deadline and that much time from now.
    pub fn within(&self, limit: Duration) -> Self {
        Self::after(self.left().min(limit))
    }
}

/// The time since the host was booted, the time that it slept included, in seconds (CLOCK_BOOTTIME).
pub fn boottime() -> f64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Sleep until [`boottime`] is `at`; at once, if it has been. A host that sleeps is not woken for it.
pub fn sleep_until_boottime(at: f64) -> std::io::Result<()> {
    let at = Timespec::try_from(Duration::try_from_secs_f64(at).unwrap_or_default()).unwrap_or_default();
    let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
    // A time of zero would switch it off.
    let at = if at == Timespec::default() { Timespec { tv_sec: 0, tv_nsec: 1 } } else { at };
    timerfd_settime(
        &timer,
        TimerfdTimerFlags::ABSTIME,
        &Itimerspec { it_interval: Timespec::default(), it_value: at },
    )?;
    while let Err(error) = rustix::io::read(&timer, &mut [0; 8]) {
        if error != rustix::io::Errno::INTR {
            return Err(error.into());
        }
    }
    Ok(())
}
