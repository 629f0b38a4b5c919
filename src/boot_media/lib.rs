//! What a machine boots from, and what it is told before its first boot: [`medium`] reads boot media (ISO 9660, FAT,
//! squashfs, and the configurations of their boot loaders), [`seed`] makes a NoCloud seed.
//!
//! Nothing here knows of a virtual machine: it is bytes in, facts out, and the other way round.

// What fails is handled, or let go of with a reason (`host::presence::ignore`).
#![cfg_attr(not(test), deny(clippy::let_underscore_must_use, clippy::unused_result_ok))]
// Nothing is printed but through `host::print`; `clippy.toml` names every other way.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_macros, clippy::print_stderr))]

pub mod medium;
pub mod seed;
