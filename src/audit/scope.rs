//! Which conditions apply, and which were asked for (`--only`).

use super::condition::{Condition, Phase, When};
use host::names::ConditionId;
use std::fmt;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Only {
    /// All of a phase.
    Phase(Phase),
    /// One condition.
    Condition(ConditionId),
}

impl std::str::FromStr for Only {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match Phase::ALL.into_iter().find(|phase| phase.to_string() == text) {
            Some(phase) => Ok(Self::Phase(phase)),
            None => text.parse().map(Self::Condition).map_err(|error: host::names::BadName| error.to_string()),
        }
    }
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phase(phase) => phase.fmt(f),
            Self::Condition(id) => id.fmt(f),
        }
    }
}

/// Which conditions are looked at.
#[derive(Clone, Debug)]
pub struct Scope {
    /// What was asked for; everything if that is nothing.
    pub only: Vec<Only>,
    /// Why the image is not made here, if it is not.
    pub not_building: Option<&'static str>,
}

/// Why a condition is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// It says nothing of this audit, and neither does what it would come after.
    DoesNotApply(String),
    /// It was not asked for.
    NotAsked,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoesNotApply(why) => f.write_str(why),
            Self::NotAsked => f.write_str("not asked for"),
        }
    }
}

impl Scope {
    /// Why a condition is left out, if it is.
    pub fn leaves_out(&self, condition: &Condition) -> Option<Left> {
        let named = |only: &Only| match only {
            Only::Phase(phase) => *phase == condition.phase,
            Only::Condition(id) => *id == condition.id,
        };
        match (self.not_building, condition.when) {
            (Some(why), When::Building) => Some(Left::DoesNotApply(why.to_owned())),
            _ if self.only.is_empty() || self.only.iter().any(named) => None,
            _ => Some(Left::NotAsked),
        }
    }

    /// A name in `--only` that no condition has.
    pub fn unknown(&self, conditions: &[Condition]) -> Option<&ConditionId> {
        self.only.iter().find_map(|only| match only {
            Only::Condition(id) if !conditions.iter().any(|one| one.id == *id) => Some(id),
            _ => None,
        })
    }
}
