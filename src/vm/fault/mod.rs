//! Faults: what a script does to a running machine on purpose, and how it is undone.
//!
//! Each is asked for by one word (`link=down`) and undone by its opposite (`link=up`). What was done stands in
//! the journal, as an event `fault`, and what is still in force is read from there ([`in_force`]): a restart
//! undoes some of it without being asked.
//!
//! Not fuzzed: what is read here is the user's argument.

mod bring;
mod clock;
mod disk;

pub use crate::monitor::fault::{BadFault, Clock, Disk, Fault, Part, Switch};
pub use bring::{Brought, Site, bring};
pub use disk::{DiskError, SLOW_BYTES, SLOW_REQUESTS, disk};

use crate::monitor::ClientError;
use crate::monitor::events::{Event, JournalError, What};
use crate::network::NetError;
use crate::ssh::SshError;
use host::failure::{Blame, Exit};
use serde::Serialize;

/// Why a fault could not be brought or undone.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The monitor or QEMU said no.
    #[error(transparent)]
    Monitor(#[from] ClientError),
    /// The guest stands still already.
    #[error("the guest does not run, so it cannot be frozen: it is {is}")]
    Still {
        /// The run state.
        is: String,
    },
    /// The guest stands still for another reason.
    #[error("the guest was not frozen: it is {is}, and that is not to be undone by going on")]
    OtherStop {
        /// The run state.
        is: String,
    },
    /// The guest cannot be asked.
    #[error("the guest's clock is set over ssh, and it cannot be asked")]
    Guest(#[source] SshError),
    /// The clock does not stay where it is put.
    #[error("the guest's clock does not stay {wanted_s} s from the host's: it is {is_s:.2} s off after {tries} tries")]
    Clock {
        /// Where it was put.
        wanted_s: f64,
        /// Where it is.
        is_s: f64,
        /// How often it was put there.
        tries: u32,
    },
    /// The network said no.
    #[error(transparent)]
    Network(#[from] NetError),
    /// The disk is not as it was asked to be.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Blame for FaultError {
    fn exit(&self) -> Exit {
        match self {
            Self::Monitor(e) => e.exit(),
            Self::Network(e) => e.exit(),
            Self::Journal(e) => e.exit(),
            Self::Disk(e) => e.exit(),
            Self::Still { .. } | Self::OtherStop { .. } => Exit::Usage,
            Self::Guest(e) => e.exit(),
            Self::Clock { .. } => Exit::Lost,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Monitor(e) => e.next(),
            Self::Network(e) => e.next(),
            Self::Still { is } if is == "paused" => Some("`boma-qemu fault HOST thaw` lets it go on".into()),
            Self::Still { .. } | Self::OtherStop { .. } => {
                Some("`boma-qemu reset`, or a restart of the machine, brings it back".into())
            }
            Self::Guest(_) => Some("`boma-qemu wait HOST ssh` tells when it can be asked".into()),
            Self::Clock { .. } => Some("find out what sets it in the guest: `timedatectl`, `journalctl -b`".into()),
            Self::Disk(e) => e.next(),
            Self::Journal(_) => None,
        }
    }
}

/// A fault that was brought and not undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InForce {
    /// What was asked for, `link=down`.
    pub fault: Fault,
    /// The event that says so.
    pub seq: u64,
}

/// The faults that are in force at the end of these events, oldest first.
pub fn in_force(events: &[Event]) -> Vec<InForce> {
    let mut found: Vec<InForce> = Vec::new();
    for event in events {
        if let Some(fault) = asked(event) {
            found.retain(|known| known.fault.part() != fault.part());
            if !fault.is_undoing() {
                found.push(InForce { fault, seq: event.seq });
            }
        }
        found.retain(|known| !ends(event, known.fault));
    }
    found
}

fn asked(event: &Event) -> Option<Fault> {
    match &event.what {
        What::Fault(asked) => Some(asked.fault),
        _ => None,
    }
}

/// Whether an event undoes a fault by itself: a new QEMU knows nothing of the old one's cut cable, broken disk
/// or stopped processors, a new boot reads the host's time from the emulated clock, and what fills the guest's
/// file system is on the disk until that is what it was before.
fn ends(event: &Event, fault: Fault) -> bool {
    match fault.part() {
        Part::Disk if fault == Fault::Disk(Disk::Full) => matches!(event.what, What::Restore(_)),
        Part::Link | Part::Disk => matches!(event.what, What::QemuStarted(_)),
        Part::Run => matches!(event.what, What::QemuStarted(_) | What::Resume),
        Part::Clock => matches!(event.what, What::QemuStarted(_) | What::Boot(_)),
        Part::Egress => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(seq: u64, kind: &str, fault: &str) -> Event {
        Event::sample(seq, 0.0, kind, &json!({ "fault": fault }))
    }

    fn left(events: &[(&str, &str)]) -> Vec<String> {
        let events: Vec<_> = (1..).zip(events).map(|(seq, (kind, fault))| event(seq, kind, fault)).collect();
        in_force(&events).into_iter().map(|known| known.fault.to_string()).collect()
    }

    #[test]
    fn a_fault_is_in_force_until_its_opposite() {
        assert_eq!(left(&[("fault", "link=down"), ("fault", "disk=slow")]), ["link=down", "disk=slow"]);
        assert_eq!(left(&[("fault", "link=down"), ("fault", "disk=slow"), ("fault", "link=up")]), ["disk=slow"]);
        assert_eq!(left(&[("fault", "disk=slow"), ("fault", "disk=error")]), ["disk=error"]);
        assert_eq!(left(&[("fault", "egress=none"), ("fault", "egress=nat")]), [""; 0]);
    }

    #[test]
    fn a_restart_ends_what_it_undoes_and_nothing_else() {
        let all = [("fault", "link=down"), ("fault", "freeze"), ("fault", "clock=+60"), ("fault", "egress=none")];
        let after = |kind| left(&[&all[..], &[(kind, "")]].concat());
        assert_eq!(after("RESET"), ["link=down", "freeze", "clock=+60", "egress=none"], "the boot after it counts");
        assert_eq!(after("boot"), ["link=down", "freeze", "egress=none"]);
        assert_eq!(after("RESUME"), ["link=down", "clock=+60", "egress=none"]);
        assert_eq!(after("qemu-started"), ["egress=none"]);
    }

    #[test]
    fn a_full_disk_outlives_qemu_and_a_broken_one_does_not() {
        let after = |fault, kind| left(&[("fault", fault), (kind, "")]);
        assert_eq!(after("disk=error", "qemu-started"), [""; 0]);
        assert_eq!(after("disk=slow", "qemu-started"), [""; 0]);
        assert_eq!(after("disk=full", "qemu-started"), ["disk=full"]);
        assert_eq!(after("disk=full", "restore"), [""; 0]);
    }
}
