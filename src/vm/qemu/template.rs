//! What a machine has of a template: a machine of the same make that was booted once, saved, and is gone on from.
//!
//! QEMU's own recipe (docs/system/vm-templating.rst): the memory is a file, which the maker shares (so that it holds what
//! the guest has written when it stops) and each clone maps privately, so that pages come when they are touched. What the
//! devices know is a migration stream of half a megabyte, which leaves such memory out (`x-ignore-shared`).

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

/// The set of descriptors that the devices' state is in; beyond every number that a descriptor can have.
pub const STATE_SET: u32 = 4096;

/// A machine's part in a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// It is to become one.
    Maker(Saved),
    /// It began as one.
    Clone(Cloned),
}

/// A machine that began as a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cloned {
    /// The template's disk (qcow2), between the machine's own overlay and the golden image. Nothing is ever written to it.
    pub disk: Utf8PathBuf,
    /// What its next start goes on from; none once it has: then it boots as every machine does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<Saved>,
}

/// A machine that was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// Its memory, byte for byte; as large as the machine's.
    pub memory: Utf8PathBuf,
    /// What its processors and devices know, as QEMU writes it.
    pub state: Utf8PathBuf,
}

impl Part {
    /// The disk between the overlay and the golden image.
    pub fn disk(&self) -> Option<&Utf8Path> {
        match self {
            Self::Maker(_) => None,
            Self::Clone(clone) => Some(&clone.disk),
        }
    }

    /// The memory and the state, and whether they are written.
    pub fn saved(&self) -> Option<(&Saved, bool)> {
        match self {
            Self::Maker(saved) => Some((saved, true)),
            Self::Clone(clone) => clone.saved.as_ref().map(|saved| (saved, false)),
        }
    }

    /// Whether the next start goes on from what was saved.
    pub fn goes_on(&self) -> bool {
        matches!(self, Self::Clone(Cloned { saved: Some(_), .. }))
    }
}
