//! Whether the machine has restarted since a restart was proved: what was proved of one boot says nothing about the next.

use super::restart::Restart;
use super::row::{BY_THE_GUEST, FIRMWARE_S, Seen, telling};
use crate::monitor::events::{Event, What};

/// Every restart, and every end, of the machine after event `seq`, whoever brought it about, in order. What the
/// firmware does to begin a boot is none.
pub fn restarts_since(events: &[Event], seq: u64) -> Vec<Seen> {
    let mut found: Vec<Seen> = Vec::new();
    // The firmware's own reset can come after `seq`, when the one that it belongs to came before.
    let mut ran = f64::NEG_INFINITY;
    let mut firmware = false;
    for event in events {
        let seen = Some(event).filter(|event| restarts(&event.what)).and_then(telling);
        if let Some(seen) = seen {
            let by_firmware = BY_THE_GUEST.is(&seen) && !firmware && event.mono - ran <= FIRMWARE_S;
            firmware = by_firmware;
            if !by_firmware && event.seq > seq {
                found.push(seen);
            }
        }
        match event.what {
            What::Reset(_) if !firmware => ran = event.mono,
            What::Resume if ran.is_finite() && !firmware => ran = event.mono,
            _ => {}
        }
    }
    found
}

/// What begins the machine anew, or ends it. That QEMU was asked to end by the host is told by its end.
fn restarts(what: &What) -> bool {
    match what {
        What::Shutdown(cause) => cause.guest,
        What::Boot(boot) => boot.kernel,
        What::Reset(_)
        | What::Watchdog(_)
        | What::GuestPanicked(_)
        | What::QemuExited(_)
        | What::QemuStarted(_)
        | What::PowerCycle(_)
        | What::PowerLoss(_)
        | What::Restore(_) => true,
        _ => false,
    }
}

/// Whether the guest restarted itself, by a reset or by another kernel.
pub(super) fn is_a_restart_of_its_own(seen: &Seen) -> bool {
    BY_THE_GUEST.is(seen) || seen.kind == "boot"
}

impl Restart {
    /// When it had settled, in seconds of CLOCK_MONOTONIC.
    pub fn settled_mono(&self) -> f64 {
        self.asked_mono + self.settled_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A journal of events at these seconds.
    fn journal(kinds: &[(f64, &str, Value)]) -> Vec<Event> {
        (1..).zip(kinds).map(|(seq, (mono, kind, data))| Event::sample(seq, *mono, kind, data)).collect()
    }

    fn kinds(events: &[(f64, &str, Value)], seq: u64) -> Vec<String> {
        restarts_since(&journal(events), seq).iter().map(ToString::to_string).collect()
    }

    /// A reboot by the guest: its reset, the boot and the firmware's reset.
    fn reboot() -> Vec<(f64, &'static str, Value)> {
        vec![(10.0, "RESET", Value::Null), (10.0, "boot", Value::Null), (10.1, "RESET", Value::Null)]
    }

    #[test]
    fn a_proved_reboot_is_no_later_one_wherever_the_proof_ends() {
        for seq in 1..=3 {
            assert_eq!(kinds(&reboot(), seq), [""; 0], "after event {seq}");
        }
        assert_eq!(kinds(&reboot(), 0), ["RESET guest-reset (event 1)"], "the firmware's is no second one");
    }

    #[test]
    fn every_way_to_begin_anew_is_seen() {
        let reason = |reason: &str| json!({ "reason": reason });
        for (kind, data, seen) in [
            ("RESET", Value::Null, "RESET guest-reset (event 4)"),
            ("RESET", reason("host-qmp-system-reset"), "RESET host-qmp-system-reset (event 4)"),
            ("SHUTDOWN", Value::Null, "SHUTDOWN guest-shutdown (event 4)"),
            ("GUEST_PANICKED", Value::Null, "GUEST_PANICKED run (event 4)"),
            ("WATCHDOG", Value::Null, "WATCHDOG reset (event 4)"),
            ("boot", json!({"kernel": true}), "boot without a RESET (event 4)"),
            ("restore", Value::Null, "restore applied (event 4)"),
            ("power-cycle", Value::Null, "power-cycle (event 4)"),
            ("power-loss", json!({"lost_bytes": 7}), "power-loss lost 7 bytes (event 4)"),
            ("qemu-exited", Value::Null, "qemu-exited by itself (event 4)"),
            ("qemu-started", Value::Null, "qemu-started pid 7 (event 4)"),
        ] {
            let mut events = reboot();
            events.push((40.0, kind, data));
            assert_eq!(kinds(&events, 3), [seen]);
            assert_eq!(kinds(&events, 4), [""; 0], "{kind}: it belongs to what was proved");
        }
    }

    #[test]
    fn what_restarts_nothing_is_not_told() {
        let mut events = reboot();
        let quit = json!({"guest": false, "reason": "host-qmp-quit"});
        for (kind, data) in [
            ("RESUME", Value::Null),
            ("boot", Value::Null),
            ("POWERDOWN", Value::Null),
            ("console-rule", Value::Null),
            ("NIC_RX_FILTER_CHANGED", Value::Null),
            ("SHUTDOWN", quit),
        ] {
            events.push((40.0, kind, data));
        }
        assert_eq!(kinds(&events, 3), [""; 0]);
    }

    #[test]
    fn a_loop_shows_each_of_its_restarts() {
        let mut events = reboot();
        for at in [40.0, 70.0] {
            events.extend([(at, "RESET", Value::Null), (at, "boot", Value::Null), (at + 0.2, "RESET", Value::Null)]);
        }
        assert_eq!(kinds(&events, 3), ["RESET guest-reset (event 4)", "RESET guest-reset (event 7)"]);
        // One that comes later than a firmware's can is another one, also when no boot was seen in between.
        events.push((80.0, "RESET", Value::Null));
        assert_eq!(kinds(&events, 7), ["RESET guest-reset (event 10)"]);
    }
}
