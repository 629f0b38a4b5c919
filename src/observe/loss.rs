//! Which differences are losses, and what to say of them.

use super::diff::Raw;
use super::finding::Severity;
use super::state::State;
use serde::{Deserialize, Serialize};

/// Why a difference is a loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// What is lost, and where it is known, why; one sentence.
    pub what: String,
    /// How much it weighs.
    pub severity: Severity,
}

/// The loss that a difference is, if it is one: what was there and is gone, or is another.
pub(super) fn loss(raw: &Raw, _before: &State, _after: &State) -> Option<Loss> {
    let before = raw.before.as_deref()?;
    let name = match raw.key.is_empty() {
        true => raw.section.to_string(),
        false => raw.key.clone(),
    };
    let what = match &raw.after {
        None => format!("{name} ({before}) is gone"),
        Some(after) => format!("{name} was {before} and is {after}"),
    };
    Some(Loss { what, severity: Severity::Serious })
}
