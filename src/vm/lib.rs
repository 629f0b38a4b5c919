//! One virtual machine: the process that runs it and what it is made of, its network, the ways into its guest, and what is
//! done to it (waits, restarts, faults, snapshots) with the proof that it was done.
//!
//! Every command finds a machine through its folder ([`machine::VmDir`]); what happens to it stands in the journal
//! ([`monitor::events`]), which the machine's monitor alone writes.

// What fails is handled, or let go of with a reason (`host::presence::ignore`).
#![cfg_attr(not(test), deny(clippy::let_underscore_must_use, clippy::unused_result_ok))]
// Nothing is printed but through `host::print`; `clippy.toml` names every other way.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_macros, clippy::print_stderr))]

pub mod access;
pub mod connect;
pub mod console;
pub mod crash;
pub mod diagnose;
pub mod drive;
pub mod fault;
pub mod forward;
pub mod handle;
pub mod keys;
pub mod machine;
pub mod monitor;
pub mod network;
pub mod qemu;
pub mod qmp;
pub mod ready;
pub mod reboot;
pub mod serial;
pub mod snapshot;
pub mod ssh;
pub mod template;
pub mod timeline;
pub mod wait;
