//! boma-qemu proves, before a live host is touched, that it will come back from a reboot.
//!
//! Crates, top to bottom; each uses those below it only, and `tests/layers.rs` has the order of the rooms in each: this one
//! (the command line, the jobs, the stages), [`boot_media`] (boot media and seeds), and [`host`] (the host, failures,
//! names and the text of others).

// What fails is handled, or let go of with a reason (`host::presence::ignore`).
#![cfg_attr(not(test), warn(clippy::let_underscore_must_use, clippy::unused_result_ok))]
// Nothing is printed but through `host::print`; `clippy.toml` names every other way.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_macros, clippy::print_stderr))]

pub mod access;
pub mod ansible;
pub mod audit;
pub mod cli;
pub mod console;
pub mod diagnose;
pub mod doctor;
mod drive;
pub mod experiment;
pub mod fault;
pub mod forward;
pub mod hostile;
pub mod image;
pub mod jobs;
pub mod keys;
pub mod machine;
pub mod monitor;
pub mod network;
pub mod observe;
pub mod plan;
pub mod profile;
pub mod qemu;
pub mod qmp;
pub mod ready;
pub mod reboot;
pub mod report;
pub mod serial;
pub mod snapshot;
pub mod ssh;
pub mod timeline;
pub mod verdict;
pub mod wait;
