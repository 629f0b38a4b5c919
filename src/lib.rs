//! boma-qemu proves, before a live host is touched, that it will come back from a reboot.
//!
//! Layers, top to bottom; imports point down only, and siblings do not know each other:
//! the command line, the jobs (cycle, doctor), the stages (ansible, reboot, fault, observe, diagnose, report), the machine
//! (image, medium, seed, network, qemu, qmp, monitor, console, ssh), the host, and failures, names and the text of others.

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
pub mod machine;
pub mod medium;
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
pub mod seed;
pub mod serial;
pub mod snapshot;
pub mod ssh;
pub mod timeline;
pub mod verdict;
pub mod wait;
