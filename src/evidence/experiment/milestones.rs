//! How far a restart has come, and when: in seconds from the moment at which it was asked for.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use vm::console::engine::{Engine, Line};
use vm::console::times::Times;
use vm::monitor::events::{Event, What};

/// A point that a restart passes, in the order in which it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Milestone {
    /// The old boot has ended: its kernel panicked, the machine was reset or switched off, or its QEMU ended; where none of
    /// that happens, the last that it wrote on its console.
    Down,
    /// The firmware begins: the machine runs again after the reset or the start.
    Firmware,
    /// The boot loader begins: the new boot's first byte on the console.
    Loader,
    /// The kernel begins: its first line.
    Kernel,
    /// systemd begins: the first line of its new instance.
    Userspace,
    /// The guest has its address.
    Lease,
    /// A login over ssh.
    Sshd,
    /// The new boot has settled.
    Settled,
    /// The outcome checks hold.
    Verified,
}

impl Milestone {
    /// All of them, in their order.
    pub const ALL: [Self; 9] = [
        Self::Down,
        Self::Firmware,
        Self::Loader,
        Self::Kernel,
        Self::Userspace,
        Self::Lease,
        Self::Sshd,
        Self::Settled,
        Self::Verified,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Firmware => "firmware",
            Self::Loader => "loader",
            Self::Kernel => "kernel",
            Self::Userspace => "userspace",
            Self::Lease => "lease",
            Self::Sshd => "sshd",
            Self::Settled => "settled",
            Self::Verified => "verified",
        }
    }
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The milestones that a restart passed, in seconds from asking. What it did not pass (a soft-reboot has
/// no firmware) or what left no trace is not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Milestones(BTreeMap<Milestone, f64>);

/// What the machine's side kept of a restart.
#[derive(Clone, Copy, Debug)]
pub struct Traces<'a> {
    /// The journal of the VM.
    pub events: &'a [Event],
    /// The console log, from byte `from` on.
    pub console: &'a [u8],
    /// Where in the log those bytes begin.
    pub from: u64,
    /// When the console's bytes came.
    pub times: &'a Times,
    /// When the restart was asked for (`CLOCK_MONOTONIC`, seconds).
    pub asked: f64,
}

impl Milestones {
    /// When it was passed, in seconds from asking.
    pub fn at(&self, milestone: Milestone) -> Option<f64> {
        self.0.get(&milestone).copied()
    }

    /// It was passed so many seconds after asking.
    pub fn pass(&mut self, milestone: Milestone, seconds: f64) {
        self.0.insert(milestone, seconds);
    }

    /// All that were passed, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Milestone, f64)> {
        self.0.iter().map(|(milestone, seconds)| (*milestone, *seconds))
    }

    /// Those that the machine's own traces show, from down to userspace.
    pub fn from(traces: Traces<'_>) -> Self {
        let Traces { events, times, asked, .. } = traces;
        let since: Vec<_> = events.iter().filter(|event| event.mono >= asked).collect();
        let ends = |what: &What| {
            matches!(what, What::Reset(_) | What::Shutdown(_) | What::GuestPanicked(_) | What::QemuExited(_))
        };
        let ended = since.iter().find(|event| ends(&event.what));
        let kernel = line_of(traces, |line| line.kernel && line.text.contains("] Linux version "));
        let begins = |text: &str| text.contains("systemd[1]: systemd ") && text.contains("running in system mode");
        let userspace = line_of(traces, |line| begins(&line.text));
        // Where no event of the machine ends the old boot, it goes on until the last that it wrote.
        let last_word = || times.before(kernel.or(userspace)?).map(|(time, _)| time);
        let down = ended.map(|event| event.mono).or_else(last_word);
        let runs = |event: &&&Event| matches!(event.what, What::Reset(_) | What::Resume);
        let before_kernel = |event: &&&Event| kernel.is_none_or(|kernel| event.mono < kernel);
        let firmware = ended.and_then(|ended| {
            let after = since.iter().filter(|event| event.mono >= ended.mono);
            after.filter(runs).rfind(before_kernel).map(|event| event.mono)
        });
        let loader = firmware.and_then(|firmware| times.since(firmware)).map(|(time, _)| time);
        let loader = loader.filter(|loader| kernel.is_none_or(|kernel| *loader < kernel));
        let passed = [
            (Milestone::Down, down),
            (Milestone::Firmware, firmware),
            (Milestone::Loader, loader),
            (Milestone::Kernel, kernel),
            (Milestone::Userspace, userspace),
        ];
        let passed = passed.into_iter().filter_map(|(milestone, mono)| Some((milestone, mono? - asked)));
        Self(passed.collect())
    }
}

/// The time of the first line since asking that is wanted.
fn line_of(traces: Traces<'_>, wanted: impl Fn(&Line) -> bool) -> Option<f64> {
    let mut found = None;
    let mut engine = Engine::new(traces.from);
    let mut look = |line: Line| {
        if found.is_none() && wanted(&line) {
            found = traces.times.at(line.offset).filter(|time| *time >= traces.asked);
        }
    };
    engine.feed(traces.console, &mut look);
    engine.flush(&mut look);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn event(mono: f64, kind: &str) -> Event {
        Event::sample(0, mono, kind, &Value::Null)
    }

    /// A console whose lines come at the given times.
    fn console(lines: &[(f64, &str)]) -> (Vec<u8>, Times) {
        let (mut log, mut times) = (Vec::new(), String::new());
        for (time, line) in lines {
            times.push_str(&format!("{time} {}\n", log.len()));
            log.extend_from_slice(format!("{line}\r\n").as_bytes());
        }
        (log, Times::parse(&times))
    }

    fn milestones(events: &[Event], lines: &[(f64, &str)]) -> Vec<(&'static str, f64)> {
        let (log, times) = console(lines);
        let found = Milestones::from(Traces { events, console: &log, from: 0, times: &times, asked: 100.0 });
        found.iter().map(|(milestone, seconds)| (milestone.name(), seconds)).collect()
    }

    const LINUX: &str = "[    0.000000] Linux version 6.12.117+deb13-cloud-amd64 (debian-kernel@lists.debian.org)";
    const SYSTEMD: &str = "[   11.658416] systemd[1]: systemd 257.13-1~deb13u1 running in system mode (+PAM)";

    #[test]
    fn a_guest_reboot_passes_all_and_the_second_of_its_two_resets_starts_the_firmware() {
        let events = [event(50.0, "RESET"), event(104.0, "RESET"), event(104.25, "RESET"), event(170.0, "RESET")];
        let lines = [
            (51.0, LINUX),
            (103.5, "[  200.0] reboot: Restarting system"),
            (106.0, "\x1b[H\x1b[J  Booting `Debian GNU/Linux'"),
            (108.0, LINUX),
            (120.0, SYSTEMD),
        ];
        let expected = [("down", 4.0), ("firmware", 4.25), ("loader", 6.0), ("kernel", 8.0), ("userspace", 20.0)];
        assert_eq!(milestones(&events, &lines), expected);
    }

    #[test]
    fn after_a_power_cut_the_firmware_begins_when_the_new_qemu_runs() {
        let events = [event(101.0, "qemu-exited"), event(101.5, "qemu-started"), event(102.0, "RESUME")];
        let lines = [(99.0, "askari login: "), (103.0, "\x1b[H"), (105.0, LINUX), (116.0, SYSTEMD)];
        let expected = [("down", 1.0), ("firmware", 2.0), ("loader", 3.0), ("kernel", 5.0), ("userspace", 16.0)];
        assert_eq!(milestones(&events, &lines), expected);
    }

    #[test]
    fn a_kexec_has_neither_firmware_nor_loader_and_ends_with_its_last_word() {
        let lines = [
            (101.0, "[  90.1] systemd-shutdown[1]: Rebooting with kexec."),
            (106.0, "[  95.0] kexec_core: Starting new kernel"),
            (107.0, LINUX),
            (118.0, SYSTEMD),
        ];
        assert_eq!(milestones(&[], &lines), [("down", 6.0), ("kernel", 7.0), ("userspace", 18.0)]);
    }

    #[test]
    fn a_soft_reboot_has_no_kernel_either() {
        let lines = [(104.0, "[  210.587305] systemd[1]: Soft-rebooting."), (105.0, SYSTEMD)];
        assert_eq!(milestones(&[], &lines), [("down", 4.0), ("userspace", 5.0)]);
    }

    #[test]
    fn what_left_no_trace_is_not_there() {
        assert_eq!(milestones(&[event(99.0, "RESET")], &[(99.0, LINUX)]), []);
        assert_eq!(milestones(&[event(104.0, "SHUTDOWN")], &[]), [("down", 4.0)]);
    }
}
