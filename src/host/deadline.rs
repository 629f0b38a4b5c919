//! Deadlines: a point in time that a wait may not pass, carried down instead of a time-out per call.

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

    /// The time that is left in milliseconds, for `poll(2)`; rounded up so that it never spins at zero.
    pub fn poll_ms(&self) -> u16 {
        u16::try_from(self.left().as_micros().div_ceil(1000)).unwrap_or(u16::MAX)
    }
}
