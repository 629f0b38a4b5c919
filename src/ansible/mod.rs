//! The playbook side: the real playbooks, run against the VM as if it were the real host.
//!
//! In order: [`preflight`] before anything boots, [`folder`] written, [`guard`] before the first task, [`run`] for
//! each playbook, `checks` from the verify playbook. [`inventory`], [`connection`] and [`command`] are pure.
//!
//! Not fuzzed: what is read here is the user's repository, and what this program's own plugins say of it; what tasks answered
//! is read by `evidence::playbook`.

pub mod command;
pub mod connection;
pub mod draft;
mod error;
pub mod folder;
pub mod guard;
pub mod hosts;
pub mod inventory;
mod judge;
mod left_behind;
mod local;
mod overlay;
mod plugin;
pub mod preflight;
mod private;
mod process;
pub mod real;
pub mod run;
mod selection;
mod user_vars;

pub use command::{Controller, Invocation};
pub use connection::Connection;
pub use error::{AnsibleError, FailedTask};
pub use folder::Folder;
pub use private::Private;
pub use selection::Selection;
pub use user_vars::{BadUserVars, UserVars};

use host::failure::Exit;

/// What a playbook is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// To make the VM what the real host is.
    Apply,
    /// To find out whether it does its work.
    Verify,
}

impl Stage {
    /// The exit class of a failed playbook.
    pub fn exit(self) -> Exit {
        match self {
            Self::Apply => Exit::Apply,
            // A red check is an answer, and no failure of the playbook: if that fails, nothing was seen.
            Self::Verify => Exit::Lost,
        }
    }
}
