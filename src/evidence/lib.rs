//! What was done to a machine and seen of it, what that proves, and how it is drawn: the product of every run.
//!
//! The [`record`] of a run is kept in the VM's folder and published into the run's folder; [`experiment`] has the same for
//! many runs of all modes, [`several`] for runs side by side. [`playbook`], [`observe`] and [`way`] are what a record is made of, [`verdict`] is what it proves,
//! and [`page`] and [`report`] draw it.

// What fails is handled, or let go of with a reason (`host::presence::ignore`).
#![cfg_attr(not(test), deny(clippy::let_underscore_must_use, clippy::unused_result_ok))]
// Nothing is printed but through `host::print`; `clippy.toml` names every other way.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_macros, clippy::print_stderr))]

pub mod allowed;
pub mod attribution;
pub mod ends;
pub mod experiment;
pub mod observe;
pub mod page;
pub mod playbook;
pub mod record;
pub mod report;
pub mod several;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod verdict;
pub mod way;
