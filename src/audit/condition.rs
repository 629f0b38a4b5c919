//! One condition, as a profile says it.

use super::probe::Probe;
use host::names::ConditionId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Something that must hold, and how to see whether it does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Its name: what other conditions, reports and `--only` call it.
    pub id: ConditionId,
    /// When it is looked at.
    pub phase: Phase,
    /// What must hold, in one sentence.
    pub what: String,
    /// How to look, and what is expected.
    pub probe: Probe,
    /// What it means if it does not hold.
    #[serde(default)]
    pub severity: Severity,
    /// What to do if it does not hold.
    pub hint: String,
    /// The conditions without which this one says nothing.
    #[serde(default)]
    pub after: Vec<ConditionId>,
    /// When it applies at all.
    #[serde(default)]
    pub when: When,
    /// How long looking may take, in seconds; if not said, what its kind of probe usually needs.
    pub limit: Option<u64>,
}

impl Condition {
    /// How long looking may take.
    pub fn limit(&self) -> Duration {
        self.limit.map_or_else(|| self.probe.usual_limit(), Duration::from_secs)
    }
}

/// The three parts of an audit, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// This machine: what the image is made and booted with.
    Host,
    /// The image as a file.
    Image,
    /// The machine that was booted from it.
    Runtime,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Host, Self::Image, Self::Runtime];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` and not `write_str`: the tables have columns.
        f.pad(match self {
            Self::Host => "host",
            Self::Image => "image",
            Self::Runtime => "runtime",
        })
    }
}

/// What it means if a condition does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The audit fails.
    #[default]
    Must,
    /// It is told, and the audit can pass.
    Should,
}

/// When a condition applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// In every audit.
    #[default]
    Always,
    /// Only if the audit makes the image itself: one that is given (`--image`) needs no build tools.
    Building,
}
