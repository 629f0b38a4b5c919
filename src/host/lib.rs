//! The host that runs the VM: external commands, the ledger of changes, locks, deadlines, processes.
//!
//! Not fuzzed: what is read here is what the kernel and this program's own processes say; what others wrote passes as a
//! whole.

// What fails is handled, or let go of with a reason (`presence::ignore`).
#![cfg_attr(not(test), deny(clippy::let_underscore_must_use, clippy::unused_result_ok))]
// Nothing is printed but through `print`; `clippy.toml` names every other way.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_macros, clippy::print_stderr))]

pub mod child;
pub mod cmd;
pub mod deadline;
pub mod dirs;
pub mod failpoint;
pub mod failure;
pub mod handshake;
pub mod helper;
pub mod hex;
pub mod ledger;
pub mod links;
pub mod lock;
pub mod lookup;
pub mod memory;
pub mod names;
pub mod presence;
pub mod print;
pub mod process;
pub mod programs;
pub mod promise;
pub mod secrets;
pub mod shell;
pub mod stop;
pub mod sys;
pub mod tail;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod turn;
pub mod visible;
