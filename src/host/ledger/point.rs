//! The points of a ledger at which a test can stop a process of this program ([`crate::failpoint`]).

use super::{Change, Kind, Step};
use std::fmt;

/// After a write to a ledger, or before a change is put back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point<'a>(pub(super) Step, pub(super) &'a Change);

impl fmt::Display for Point<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", class(self.0, self.1.kind()), self.1.label())
    }
}

/// The first part of the name of every point of one kind of change: `intent:link`.
fn class(step: Step, kind: Kind) -> String {
    format!("{}:{}", step.word(), kind.word())
}

/// Every class of points. It is made from the ledger's own types, so that nothing can be added to them without a point.
pub fn classes() -> impl Iterator<Item = String> {
    Step::ALL.into_iter().flat_map(|step| Kind::ALL.into_iter().map(move |kind| class(step, kind)))
}
