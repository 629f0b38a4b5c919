//! The host that runs the VM: external commands, the ledger of changes, locks, deadlines, processes.
//!
//! Not fuzzed: what is read here is what the kernel and this program's own processes say; what others wrote passes as a
//! whole.

pub mod child;
pub mod cmd;
pub mod deadline;
pub mod dirs;
pub mod ledger;
pub mod lock;
pub mod lookup;
pub mod memory;
pub mod presence;
pub mod print;
pub mod process;
pub mod programs;
pub mod secrets;
pub mod shell;
pub mod stop;
pub mod stop_at;
pub mod tail;
pub mod turn;
