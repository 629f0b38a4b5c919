//! The pages: one file each, with everything inline, to be read by a person in any browser.
//!
//! Their inputs are plain values that the jobs fill from what they recorded; here nothing is read or decided.

pub mod cycle;
pub mod experiment;
pub mod parts;

pub use cycle::CyclePage;
pub use experiment::ExperimentPage;
