//! The playbook side: the real playbooks, run against the VM as if it were the real host.
//!
//! In order: [`preflight`] before anything boots, [`folder`] written, [`guard`] before the first task, [`run`] for
//! each playbook, [`checks`] from the verify playbook. [`inventory`], [`connection`] and [`command`] are pure.

pub mod command;
pub mod connection;
pub mod folder;
pub mod inventory;

pub use command::{Controller, Invocation, UserVars};
pub use connection::Connection;
pub use folder::Folder;
