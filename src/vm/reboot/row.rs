//! What each mode must show, as data, and the judge who compares it with the journal.
//!
//! Every event that says something about a restart has to be the next expected event of the mode's row. One that is
//! missing keeps the row open; one that is another, or one too many, is an unexpected event: asked for X, saw Y.

use super::mode::Mode;
use crate::monitor::events::{Event, What};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One event that a mode must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedEvent {
    /// The event's name.
    pub kind: &'static str,
    /// The reason in its data, where it has one that tells it from others.
    pub reason: Option<&'static str>,
}

/// How the old boot says that it ended in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// In its journal, by process 1: this unit was reached (`None`: any message of process 1).
    pub unit: Option<&'static str>,
    /// The journal's words.
    pub journal: &'static str,
    /// On its console: what systemd reached last.
    pub console: Reached,
}

/// A target of systemd's, as its status line has it when it is reached, and what the kernel says next to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The target.
    pub target: &'static str,
    /// Its description: a status line can have it in the place of the name.
    pub description: &'static str,
    /// The kernel's last words, which it says for `reboot -f`, too: they count beside systemd's only.
    pub kernel: Option<&'static str>,
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reached target {} - {}", self.target, self.description)
    }
}

/// How the old boot ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// In order, and it says so.
    Orderly(Words),
    /// Without a word: one that says that it ended in order did something else than it was made to.
    Abrupt,
}

/// The row of one mode.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The mode.
    pub mode: Mode,
    /// The events that it must show, in this order, and no others.
    pub expected: &'static [ExpectedEvent],
    /// Which of them says that the old boot is over.
    pub over: usize,
    /// A fatal console rule that must not end the wait before the last expected event, because the mode brings it about.
    pub excused: Option<&'static str>,
    /// How the old boot ends.
    pub ending: Ending,
    /// Whether it is done to the machine from outside, so that the guest need not be able to listen.
    pub done_to: bool,
}

const fn because(kind: &'static str, reason: &'static str) -> ExpectedEvent {
    ExpectedEvent { kind, reason: Some(reason) }
}

const fn any(kind: &'static str) -> ExpectedEvent {
    ExpectedEvent { kind, reason: None }
}

const fn orderly(journal: &'static str, console: Reached) -> Ending {
    Ending::Orderly(Words { unit: Some(console.target), journal, console })
}

/// The targets that a boot reaches as its last act.
pub(super) const REBOOT: Reached =
    Reached { target: "reboot.target", description: "System Reboot", kernel: Some("reboot: Restarting system") };
pub(super) const POWEROFF: Reached =
    Reached { target: "poweroff.target", description: "System Power Off", kernel: Some("reboot: Power down") };
pub(super) const HALT: Reached =
    Reached { target: "halt.target", description: "System Halt", kernel: Some("reboot: System halted") };
pub(super) const KEXEC: Reached = Reached {
    target: "kexec.target",
    description: "Reboot via kexec",
    kernel: Some("kexec_core: Starting new kernel"),
};
const SOFT_REBOOT: Reached =
    Reached { target: "soft-reboot.target", description: "Reboot System Userspace", kernel: None };

pub(super) const BY_THE_GUEST: ExpectedEvent = because("RESET", "guest-reset");
/// How long after the machine has begun to run its firmware may reset it once more, in seconds.
pub(super) const FIRMWARE_S: f64 = 2.0;
const BY_US: ExpectedEvent = because("RESET", "host-qmp-system-reset");

/// The table, in the order of [`Mode::ALL`]. The events are QEMU 10.0's as measured; the words are those of
/// systemd 257 and Linux 6.12.
pub const ROWS: [Row; 9] = [
    Row {
        mode: Mode::Guest,
        expected: &[BY_THE_GUEST],
        over: 0,
        excused: None,
        ending: orderly("Reached target reboot.target", REBOOT),
        done_to: false,
    },
    Row {
        mode: Mode::Acpi,
        expected: &[any("POWERDOWN"), because("SHUTDOWN", "guest-shutdown"), BY_US],
        over: 1,
        excused: None,
        ending: orderly("Reached target poweroff.target", POWEROFF),
        done_to: false,
    },
    Row { mode: Mode::Reset, expected: &[BY_US], over: 0, excused: None, ending: Ending::Abrupt, done_to: true },
    Row {
        mode: Mode::PowerCycle,
        expected: &[any("power-cycle"), because("qemu-exited", "asked"), any("qemu-started")],
        over: 1,
        excused: None,
        ending: Ending::Abrupt,
        done_to: true,
    },
    Row {
        mode: Mode::PowerLoss,
        expected: &[any("power-loss"), because("qemu-exited", "asked"), any("qemu-started")],
        over: 1,
        excused: None,
        ending: Ending::Abrupt,
        done_to: true,
    },
    Row {
        mode: Mode::Panic,
        expected: &[any("GUEST_PANICKED"), BY_THE_GUEST],
        over: 0,
        excused: Some("kernel-panic"),
        ending: Ending::Abrupt,
        done_to: false,
    },
    Row {
        mode: Mode::Watchdog,
        expected: &[because("WATCHDOG", "reset"), BY_THE_GUEST],
        over: 1,
        excused: None,
        ending: Ending::Abrupt,
        done_to: false,
    },
    Row {
        mode: Mode::Kexec,
        expected: &[],
        over: 0,
        excused: None,
        ending: orderly("Reached target kexec.target", KEXEC),
        done_to: false,
    },
    Row {
        mode: Mode::SoftReboot,
        expected: &[],
        over: 0,
        excused: None,
        // The journal ends before soft-reboot.target is reached; the new userspace tells it.
        ending: Ending::Orderly(Words { unit: None, journal: "Soft-reboot finished", console: SOFT_REBOOT }),
        done_to: false,
    },
];

impl Mode {
    /// What it must show.
    pub fn row(self) -> &'static Row {
        // The table has the order of the modes; a test holds it to that.
        &ROWS[self as usize]
    }
}

impl fmt::Display for ExpectedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        self.reason.map_or(Ok(()), |reason| write!(f, " {reason}"))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, event) in self.expected.iter().enumerate() {
            write!(f, "{}{event}", if n == 0 { "" } else { ", " })?;
        }
        match self.mode {
            Mode::Kexec => f.write_str("no RESET, a new boot id"),
            Mode::SoftReboot => f.write_str("no RESET, the same boot id, SoftRebootsCount + 1"),
            _ => f.write_str(", a new boot id"),
        }
    }
}

/// An event that was seen in the course of a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Its place in the journal.
    pub seq: u64,
    /// When: seconds of CLOCK_MONOTONIC.
    pub mono: f64,
    /// What it is.
    pub kind: String,
    /// The reason that it gives, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it is not an expected event but the reset that SeaBIOS makes after one, before it lets anything boot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub firmware: bool,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason.as_deref().map(|reason| format!(" {reason}")).unwrap_or_default();
        write!(f, "{}{reason} (event {})", self.kind, self.seq)
    }
}

/// What an event says about a restart; none if it says nothing.
pub(super) fn telling(event: &Event) -> Option<Seen> {
    let reason = match &event.what {
        What::Reset(cause) | What::Shutdown(cause) => Some(cause.reason.clone()),
        What::Watchdog(done) | What::GuestPanicked(done) => Some(done.action.clone()),
        What::QemuExited(exited) => Some(if exited.asked { "asked" } else { "by itself" }.to_owned()),
        What::QemuStarted(started) => Some(format!("pid {}", started.pid)),
        // What the drive had been given and the guest had not flushed.
        What::PowerCycle(power) => power.kept_bytes.map(|bytes| format!("kept {bytes} bytes")),
        What::PowerLoss(power) => power.lost_bytes.map(|bytes| format!("lost {bytes} bytes")),
        What::Restore(restored) => Some(restored.snapshot.clone()),
        What::Powerdown => None,
        What::Boot(boot) if boot.kernel => Some("without a RESET".into()),
        _ => return None,
    };
    Some(Seen { seq: event.seq, mono: event.mono, kind: event.kind().to_owned(), reason, firmware: false })
}

impl ExpectedEvent {
    pub(super) fn is(&self, seen: &Seen) -> bool {
        self.kind == seen.kind && self.reason.is_none_or(|reason| seen.reason.as_deref() == Some(reason))
    }
}

/// What was seen so far, compared with a row.
#[derive(Clone, Debug)]
pub struct Evidence {
    row: &'static Row,
    found: usize,
    seen: Vec<Seen>,
    /// A further RESET that can be the firmware's: what comes next tells.
    maybe: Option<Seen>,
    /// When the machine last began to run, by a reset or by being let go on.
    ran: f64,
}

/// Something else than what was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct UnexpectedEvent(pub Seen);

impl Evidence {
    /// Nothing seen yet.
    pub fn of(mode: Mode) -> Self {
        Self { row: mode.row(), found: 0, seen: Vec::new(), maybe: None, ran: f64::NEG_INFINITY }
    }

    /// How many of the expected events were seen.
    pub fn found(&self) -> usize {
        self.found
    }

    /// Whether all were.
    pub fn complete(&self) -> bool {
        self.found == self.row.expected.len()
    }

    /// What was seen, the firmware's resets included.
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// The event that shows that the old boot is over, once it was seen.
    pub fn over(&self) -> Option<&Seen> {
        self.nth(self.row.over)
    }

    /// The last expected event, once all were seen.
    pub fn last(&self) -> Option<&Seen> {
        self.nth(self.row.expected.len().checked_sub(1)?)
    }

    fn nth(&self, n: usize) -> Option<&Seen> {
        self.seen.iter().filter(|seen| !seen.firmware).nth(n)
    }

    /// Nothing more comes: a further RESET that no boot followed was the firmware's.
    pub fn concluded(mut self) -> Self {
        self.firmware();
        self
    }

    fn firmware(&mut self) {
        if let Some(maybe) = self.maybe.take() {
            self.seen.push(Seen { firmware: true, ..maybe });
        }
    }

    /// Take the next event of the journal.
    ///
    /// The firmware may reset the machine once more before it boots (`guest-reset`, measured 0.1 s after a reset
    /// over QMP as well as after the guest's own). That one is told from a second restart by the console: nothing was said
    /// in between, so the monitor cuts no new boot after it. At most one per RESET is let pass, and only within
    /// `FIRMWARE_S`: a guest that resets itself before its console says a word is later than that.
    pub fn take(&mut self, event: &Event) -> Result<(), UnexpectedEvent> {
        let cut = matches!(&event.what, What::Boot(boot) if !boot.kernel);
        if let Some(maybe) = self.maybe.take_if(|_| cut) {
            return Err(UnexpectedEvent(maybe));
        }
        self.firmware();
        let soon = event.mono - self.ran <= FIRMWARE_S;
        if matches!(event.what, What::Reset(_) | What::Resume) {
            self.ran = event.mono;
        }
        let Some(seen) = telling(event) else { return Ok(()) };
        if self.row.expected.get(self.found).is_some_and(|next| next.is(&seen)) {
            self.found += 1;
            self.seen.push(seen);
            return Ok(());
        }
        if seen.kind == "boot" {
            return self.new_kernel(seen);
        }
        if soon && BY_THE_GUEST.is(&seen) && self.seen.last().is_some_and(|last| last.kind == "RESET" && !last.firmware)
        {
            self.maybe = Some(seen);
            return Ok(());
        }
        Err(UnexpectedEvent(seen))
    }

    /// The kernel's first line came without a reset of the machine: that is a kexec. Once the old boot is over
    /// it tells nothing: a kernel with two consoles on one line can say its first line twice.
    fn new_kernel(&mut self, seen: Seen) -> Result<(), UnexpectedEvent> {
        match self.row.mode {
            Mode::Kexec if self.seen.is_empty() => self.seen.push(seen),
            Mode::Kexec => {}
            _ if self.row.expected.is_empty() || self.found <= self.row.over => return Err(UnexpectedEvent(seen)),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
