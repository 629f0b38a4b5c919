//! What a restart turned out to be.
//!
//! A reboot and a soft reboot have types of their own, and neither can be made from the other's evidence:
//! whoever asks a [`Restart`] for its reboot gets nothing from a soft one.

use super::mode::Mode;
use super::row::Seen;
use crate::ready::Settled;
use host::names::BootId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Evidence that another kernel was booted. Only two different boot ids make one, also when it is read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BootIds", into = "BootIds")]
pub struct RebootProof(BootIds);

/// Evidence that the userspace was started anew on the kernel that ran: it is no reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Counts", into = "Counts")]
pub struct SoftRebootProof(Counts);

/// The boot ids around a reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BootIds {
    boot_id_before: BootId,
    boot_id_after: BootId,
}

/// The boot id across a soft reboot, and systemd's own count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    boot_id: BootId,
    soft_reboots_before: u32,
    soft_reboots_after: u32,
}

/// Why something is no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// The kernel is the same.
    #[error("the boot id is still {0}")]
    SameBoot(BootId),
    /// The count of soft reboots did not go up by one.
    #[error("SoftRebootsCount went from {before} to {after}")]
    Count {
        /// Before.
        before: u32,
        /// After.
        after: u32,
    },
}

impl RebootProof {
    /// The proof, if the two are not the same.
    pub(super) fn new(before: BootId, after: BootId) -> Result<Self, NoProof> {
        BootIds { boot_id_before: before, boot_id_after: after }.try_into()
    }

    /// The boot id before.
    pub fn before(&self) -> &BootId {
        &self.0.boot_id_before
    }

    /// The boot id after; never the same.
    pub fn after(&self) -> &BootId {
        &self.0.boot_id_after
    }
}

impl SoftRebootProof {
    /// The proof, if the count went up by one.
    pub(super) fn new(boot_id: BootId, before: u32, after: u32) -> Result<Self, NoProof> {
        Counts { boot_id, soft_reboots_before: before, soft_reboots_after: after }.try_into()
    }

    /// The boot id, before and after.
    pub fn boot_id(&self) -> &BootId {
        &self.0.boot_id
    }

    /// systemd's SoftRebootsCount after; before it was one less.
    pub fn count(&self) -> u32 {
        self.0.soft_reboots_after
    }
}

impl TryFrom<BootIds> for RebootProof {
    type Error = NoProof;
    fn try_from(ids: BootIds) -> Result<Self, NoProof> {
        match ids.boot_id_before == ids.boot_id_after {
            true => Err(NoProof::SameBoot(ids.boot_id_after)),
            false => Ok(Self(ids)),
        }
    }
}

impl TryFrom<Counts> for SoftRebootProof {
    type Error = NoProof;
    fn try_from(counts: Counts) -> Result<Self, NoProof> {
        let (before, after) = (counts.soft_reboots_before, counts.soft_reboots_after);
        match before.checked_add(1) == Some(after) {
            true => Ok(Self(counts)),
            false => Err(NoProof::Count { before, after }),
        }
    }
}

impl From<RebootProof> for BootIds {
    fn from(proof: RebootProof) -> Self {
        proof.0
    }
}

impl From<SoftRebootProof> for Counts {
    fn from(proof: SoftRebootProof) -> Self {
        proof.0
    }
}

/// What was proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "proof", rename_all = "kebab-case")]
pub enum Proof {
    /// Another kernel was booted.
    Reboot(RebootProof),
    /// The userspace was started anew on the same kernel.
    SoftReboot(SoftRebootProof),
}

/// How the old boot said that it ended in order; both are empty after a mode that ends it without a word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastWords {
    /// From its journal.
    pub journal: Option<String>,
    /// From its console.
    pub console: Option<String>,
}

impl LastWords {
    /// Either, the journal's first.
    pub fn any(&self) -> Option<&str> {
        self.journal.as_deref().or(self.console.as_deref())
    }
}

/// What set the act off, where it was not done at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Triggered {
    /// The mode of the restart in whose boot the act was done.
    pub during: Option<Mode>,
    /// What that one showed until its boot began.
    pub evidence: Vec<Seen>,
    /// Seconds from the begin of that boot (without one: from the request) to the act.
    pub waited_s: f64,
    /// The console line that set it off.
    pub line: Option<String>,
}

impl fmt::Display for Triggered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.during {
            Some(mode) => write!(f, "done {:.1} s into the boot of a restart by {mode}", self.waited_s)?,
            None => write!(f, "done {:.1} s after the request", self.waited_s)?,
        }
        self.line.as_deref().map_or(Ok(()), |line| write!(f, ", at the console line {line:?}"))
    }
}

/// A restart that was seen and proved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// How it was brought about.
    pub mode: Mode,
    /// What it was.
    #[serde(flatten)]
    pub proof: Proof,
    /// What was done to the guest beforehand, in sentences.
    pub prepared: Vec<String>,
    /// What set it off, if it was not done at once.
    pub triggered: Option<Triggered>,
    /// The `restart-asked` event, by its number in the journal: what comes after it is this restart's.
    pub asked_seq: u64,
    /// When it was asked for, in seconds of CLOCK_MONOTONIC.
    pub asked_mono: f64,
    /// What the machine showed, in order.
    pub evidence: Vec<Seen>,
    /// The old boot's own words that it ended in order.
    pub last_words: LastWords,
    /// Seconds from asking to the end of the old boot, where that left an event.
    pub down_s: Option<f64>,
    /// Seconds from asking to the first login after it.
    pub ssh_s: f64,
    /// Seconds from asking until it had settled.
    pub settled_s: f64,
    /// How it settled.
    pub settled: Settled,
}

impl Restart {
    /// The proof of a reboot, if it was one: a soft reboot is none.
    pub fn reboot(&self) -> Option<&RebootProof> {
        match &self.proof {
            Proof::Reboot(proof) => Some(proof),
            Proof::SoftReboot(_) => None,
        }
    }

    /// The boot id that the guest has now.
    pub fn boot_id(&self) -> &BootId {
        match &self.proof {
            Proof::Reboot(proof) => proof.after(),
            Proof::SoftReboot(proof) => proof.boot_id(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ONE: &str = "6f1e2b1c-8f0e-4f0e-9d59-3a4b5c6d7e8f";
    const TWO: &str = "0f1e2b1c-8f0e-4f0e-9d59-3a4b5c6d7e8f";

    #[test]
    fn the_same_boot_id_is_never_a_reboot_even_when_a_file_says_so() {
        let id: BootId = ONE.parse().unwrap();
        assert_eq!(RebootProof::new(id.clone(), id.clone()), Err(NoProof::SameBoot(id)));
        let forged = json!({"proof": "reboot", "boot_id_before": ONE, "boot_id_after": ONE});
        assert!(serde_json::from_value::<Proof>(forged).is_err());
        let real = json!({"proof": "reboot", "boot_id_before": ONE, "boot_id_after": TWO});
        let proof: Proof = serde_json::from_value(real.clone()).unwrap();
        assert_eq!(serde_json::to_value(proof).unwrap(), real);
    }

    #[test]
    fn a_soft_reboot_needs_the_count_to_go_up_by_one() {
        let id: BootId = ONE.parse().unwrap();
        for (before, after) in [(0, 0), (0, 2), (1, 0), (u32::MAX, 0)] {
            assert_eq!(SoftRebootProof::new(id.clone(), before, after), Err(NoProof::Count { before, after }));
        }
        let proof = Proof::SoftReboot(SoftRebootProof::new(id, 0, 1).unwrap());
        let text = serde_json::to_value(&proof).unwrap();
        assert_eq!(text["proof"], "soft-reboot");
        assert_eq!(serde_json::from_value::<Proof>(text).unwrap(), proof);
    }

    #[test]
    fn what_proves_a_soft_reboot_cannot_be_read_as_a_reboot() {
        let id: BootId = ONE.parse().unwrap();
        let mut text = serde_json::to_value(Proof::SoftReboot(SoftRebootProof::new(id, 0, 1).unwrap())).unwrap();
        text["proof"] = json!("reboot");
        assert!(serde_json::from_value::<Proof>(text).is_err());
    }
}
