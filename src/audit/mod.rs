//! An audit: whether all holds that must hold for a boot image to come up right, condition by condition.
//!
//! The conditions are data ([`profile`], [`condition`], [`probe`]), refused as a whole if one of them makes no sense
//! ([`check`]). [`schedule`] takes them in their order: what depends on something that failed is blocked by it, and
//! all else goes on. It knows a [`schedule::World`] only, which looks; what came of each is an [`outcome`]. The
//! looking is in rooms of its own: [`host`] tries things on this machine, [`image`] reads the image,
//! and [`runtime`] has a command and a reading of its answer for each question to the booted guest.
//!
//! Fuzzed as `guest`, `medium`, `audit_profile`.

pub mod catalogue;
pub mod check;
pub mod condition;
pub mod draft;
mod form;
pub mod host;
pub mod image;
pub mod outcome;
pub mod probe;
pub mod profile;
pub mod runtime;
pub mod schedule;
pub mod scope;

pub use condition::{Condition, Phase, Severity};
pub use outcome::{Audit, Judged, Outcome};
pub use probe::Probe;
pub use profile::AuditProfile;
