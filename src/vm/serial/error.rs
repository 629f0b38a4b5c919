//! Why a talk over the serial line came to nothing.

use camino::Utf8PathBuf;
use host::failure::{Blame, Exit};
use std::time::Duration;

/// Why a talk over the serial line came to nothing. A window is the line's last lines.
#[derive(Debug, thiserror::Error)]
pub enum SerialError {
    /// The log cannot be read.
    #[error("cannot read {path}")]
    Log {
        /// The log.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Nothing could be typed.
    #[error("cannot type on the console: {0}")]
    Keyboard(String),
    /// It did not come in time.
    #[error("the console did not show {what} within {waited:.1?}; its last lines:\n{window}")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        waited: Duration,
        /// The console's last lines.
        window: String,
    },
    /// The machine is in a state in which nobody can log in.
    #[error("the console cannot be used: {means} ({line:?}); its last lines:\n{window}")]
    Stuck {
        /// What the line means.
        means: &'static str,
        /// The console line.
        line: String,
        /// The console's last lines.
        window: String,
    },
    /// Nobody is at the other end any more.
    #[error("the console cannot be used: {why}; its last lines:\n{window}")]
    Lost {
        /// Why not.
        why: String,
        /// Whose fault that is.
        exit: Exit,
        /// The console's last lines.
        window: String,
    },
    /// The machine began anew while a shell was asked.
    #[error("the machine was reset while it was asked over the console; its last lines:\n{window}")]
    Reset {
        /// The console's last lines.
        window: String,
    },
    /// Somebody interrupted what was run.
    #[error("somebody interrupted a command on the console; its last lines:\n{window}")]
    Interrupted {
        /// The console's last lines.
        window: String,
    },
    /// The login was refused.
    #[error("the guest refused the console login of {user}; its last lines:\n{window}")]
    Refused {
        /// The user.
        user: String,
        /// The console's last lines.
        window: String,
    },
    /// The login wants a password, and there is none to give.
    #[error("the console login of {user} asks for a password, and none is known; its last lines:\n{window}")]
    PasswordAsked {
        /// The user.
        user: String,
        /// The console's last lines.
        window: String,
    },
    /// The user cannot become root.
    #[error("{user} cannot become root on the console: {why}")]
    NotRoot {
        /// The user.
        user: String,
        /// What each way came to.
        why: String,
    },
    /// Programs that the talk needs are not there.
    #[error("the guest has no {missing}, so commands cannot be run over its console")]
    NoTools {
        /// Their names.
        missing: String,
    },
    /// Nobody is logged in.
    #[error("nobody is logged in on the console, so nothing can be run")]
    NoShell,
}

impl Blame for SerialError {
    fn exit(&self) -> Exit {
        match self {
            Self::Log { .. } | Self::Keyboard(_) => Exit::Lost,
            Self::Lost { exit, .. } => *exit,
            Self::NoShell => Exit::Bug,
            _ => Exit::Guest,
        }
    }
    fn next(&self) -> Option<String> {
        Some("look at the console yourself: `boma-qemu console HOST --follow`".into())
    }
}
