//! Why a restart is not proved.

use super::mode::Mode;
use super::row::Reached;
use crate::access::AccessError;
use crate::monitor::ClientError;
use crate::ready::ReadyError;
use crate::ssh::SshError;
use crate::wait::WaitError;
use host::failure::{Blame, Exit};
use host::names::BadName;
use std::time::Duration;

/// Why a restart is not proved.
#[derive(Debug, thiserror::Error)]
pub enum RebootError {
    /// The boot id could not be read before.
    #[error("cannot read the boot id before the restart")]
    Before(#[source] SshError),
    /// What should be a boot id is none.
    #[error("the guest's boot id {when} the restart cannot be read")]
    BootId {
        /// `before` or `after`.
        when: &'static str,
        /// What it was instead.
        #[source]
        source: BadName,
    },
    /// The guest lacks what the mode needs.
    #[error("this guest cannot be restarted by {mode}: {what}")]
    Missing {
        /// The mode.
        mode: Mode,
        /// What it lacks.
        what: String,
    },
    /// The guest could not be made ready for the mode.
    #[error("cannot make the guest ready for a restart by {mode}")]
    Prepare {
        /// The mode.
        mode: Mode,
        /// Why not.
        #[source]
        source: SshError,
    },
    /// The monitor or QEMU said no.
    #[error("cannot {what}")]
    Monitor {
        /// What was wanted.
        what: &'static str,
        /// What they said.
        #[source]
        source: ClientError,
    },
    /// The guest refused.
    #[error("the guest refused `{command}` with exit code {code}: {said}")]
    Refused {
        /// What it was asked.
        command: String,
        /// The exit code.
        code: i32,
        /// Its words.
        said: String,
    },
    /// Nobody listens to the power button.
    #[error("the guest ignores the power button: {after:.0?} after it was pressed, systemd still says {state:?}")]
    Ignored {
        /// How long it had.
        after: Duration,
        /// `systemctl is-system-running`.
        state: String,
    },
    /// Something else happened.
    #[error("asked for {asked}, saw {saw}")]
    Other {
        /// What the mode must show.
        asked: String,
        /// What was seen instead.
        saw: String,
    },
    /// The old boot did not end in order.
    #[error(
        "asked for {mode}, and the old boot never said that it ended in order: neither {journal:?} in its journal nor \"{console}\" on its console"
    )]
    NoLastWords {
        /// The mode.
        mode: Mode,
        /// What the journal should say.
        journal: &'static str,
        /// What the console should say.
        console: Reached,
    },
    /// The old boot ended in order where it had no time to.
    #[error("asked for {mode}, saw an orderly end of the old boot: {said:?}")]
    Orderly {
        /// The mode.
        mode: Mode,
        /// Its words.
        said: String,
    },
    /// The wait failed.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// The moment of the act did not come.
    #[error("nothing was done to the machine: the moment for it did not come")]
    NoMoment(#[source] WaitError),
    /// The machine was restarted by something else while the moment was waited for.
    #[error("the boot {before} was to be ended, and before the moment came {found}")]
    Meanwhile {
        /// The boot that was running at the request.
        before: host::names::BootId,
        /// What runs instead.
        found: String,
    },
    /// What the machine must show did not come.
    #[error("the machine did not do what it was asked")]
    NotDown(#[source] WaitError),
    /// The machine went down, and nobody can log in to what came after it.
    #[error("the guest did not come back from its restart")]
    NotBack(#[source] AccessError),
    /// It did not become ready.
    #[error(transparent)]
    Ready(#[from] ReadyError),
    /// A command after the restart failed.
    #[error("cannot ask the guest after its restart")]
    After(#[source] SshError),
    /// The console's log cannot be read.
    #[error("cannot follow the console")]
    Console(#[source] std::io::Error),
}

impl Blame for RebootError {
    fn exit(&self) -> Exit {
        match self {
            Self::Wait(e) => e.exit(),
            // QEMU runs: that the guest does not do its part is the guest's doing.
            Self::NotDown(WaitError::TimedOut { .. })
            | Self::NotBack(AccessError::Wait(WaitError::TimedOut { .. })) => Exit::Verify,
            Self::NotDown(e) | Self::NoMoment(e) => e.exit(),
            Self::NotBack(e) => e.exit(),
            Self::Ready(e) => e.exit(),
            Self::Monitor { source, .. } => source.exit(),
            // The machine was asked properly and did not do it: that is what the run is there to find.
            Self::Refused { .. } | Self::Ignored { .. } | Self::Other { .. } | Self::Meanwhile { .. } => Exit::Verify,
            Self::NoLastWords { .. } | Self::Orderly { .. } => Exit::Verify,
            // Nothing was tried: another mode, or another guest, has to be chosen.
            Self::Missing { .. } => Exit::Usage,
            Self::Before(_) | Self::BootId { .. } | Self::Prepare { .. } | Self::After(_) | Self::Console(_) => {
                Exit::Lost
            }
        }
    }

    fn next(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("let a playbook install or load it, or choose another --via".into()),
            Self::Ignored { .. } => {
                Some("see HandlePowerKey in logind.conf, and whether poweroff.target is masked".into())
            }
            Self::Monitor { source, .. } => source.next(),
            Self::NotBack(source) => source.next(),
            _ => None,
        }
    }
}
