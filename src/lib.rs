//! boma-qemu proves, before a live host is touched, that it will come back from a reboot.
//!
//! Crates, top to bottom; each uses those below it only, and `tests/layers.rs` has the order of the rooms in each: this one
//! (the command line, the jobs, the stages), [`evidence`] (what was seen, what it proves, and its reports), [`vm`] (one virtual machine and what is done to it), [`boot_media`] (boot media and seeds), and [`host`] (the host, failures,
//! names and the text of others).

// What fails is handled, or let go of with a reason (`host::presence::ignore`).
#![cfg_attr(not(test), deny(clippy::let_underscore_must_use, clippy::unused_result_ok))]
// Nothing is printed but through `host::print`; `clippy.toml` names every other way.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_macros, clippy::print_stderr))]

pub mod ansible;
pub mod audit;
pub mod certificates;
pub mod checks;
pub mod cli;
pub mod doctor;
pub mod draft;
pub mod form;
pub mod image;
pub mod jobs;
pub mod plan;
pub mod profile;
pub mod revision;
pub mod template;
