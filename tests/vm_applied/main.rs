//! One VM of askari, with everything applied, for many tests: each begins where `apply` had ended, by `reset`,
//! which takes seconds where a boot takes a minute.
//!
//! One test at a time (`--test-threads=1`). It is on the host's own network; what was made there goes in the last test
//! by name, `undo`, or where that was left out when the program ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so best by failing")]

mod access;
mod applied;
mod console;
mod disk;
mod experiment;
mod faults;
mod guests;
#[allow(dead_code, reason = "shared with vm, which uses other parts")]
#[path = "../vm/lane.rs"]
mod lane;
mod modes;
mod scripts;
mod seeded;
mod snapshot;
mod undo;
