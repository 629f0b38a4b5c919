//! The monitor: one small process per VM, QEMU's parent, alive as long as the VM.
//!
//! It holds QMP and the serial console from the first instruction on, so nothing that happens between
//! two commands is lost. It writes the journal ([`events`]) and the console log, runs the console
//! rules, and does what it is asked on a control socket ([`Client`]). It decides nothing: policy is
//! the caller's. QEMU dies with it; it outlives QEMU, so that a power-cycle or a change of the accelerator
//! keeps the journal and the network interface.
//!
//! Fuzzed as `control`.

mod client;
mod confine;
mod console_log;
mod control;
pub mod events;
pub mod fault;
mod files;
mod guest;
mod journal;
mod kept;
mod network;
mod process;
mod spawn;
mod stderr;
mod supervisor;
mod what;
mod wire;

pub use client::{Client, ClientError};
pub use confine::not_in_force;
pub(crate) use confine::tool as confine_tool;
pub use guest::StartError;
pub use process::{NAME, main};
pub use spawn::{MonitorError, spawn};
pub use supervisor::TEMPLATE;
pub use wire::{LogStep, QemuStatus, Refusal, Request, Status};
