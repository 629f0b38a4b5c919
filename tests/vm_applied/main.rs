//! One VM of askari, with everything applied, for many tests: each begins where `apply` had ended, by `reset`,
//! which takes seconds where a boot takes a minute.
//!
//! One test at a time (`--test-threads=1`), in the order of their names: the first, `acceptance`, proves and keeps the VM;
//! the last, `undo`, removes it. Without the first it is made by `up` and `apply`, without the last it goes when the
//! program ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so best by failing")]

mod acceptance;
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
mod part;
mod scripts;
mod seeded;
mod snapshot;
mod tools;
mod undo;
