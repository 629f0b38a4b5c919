//! Why nothing is forwarded.

use super::Listen;
use host::failure::{Blame, Exit};
use host::process::EndError;
use std::net::IpAddr;

/// Why nothing is forwarded.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// Neither of the forms that are understood.
    #[error("{text:?} is not {form}")]
    Spec {
        /// What was given.
        text: String,
        /// What is understood.
        form: &'static str,
    },
    /// Others than this host could reach the VM.
    #[error("{ip} is not this host's loopback: others could reach the VM there")]
    Exposed {
        /// The address that was asked for.
        ip: IpAddr,
    },
    /// The host's port or path cannot be had.
    #[error("cannot listen on {listen}")]
    Listen {
        /// Where.
        listen: Listen,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It could not be told whose a connection is.
    #[error("cannot ask the kernel whose a connection is (sock_diag)")]
    Owners {
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The forwarder did not start.
    #[error("the forwarder of {listen} did not start: {why}")]
    Start {
        /// Where it was to listen.
        listen: Listen,
        /// Its own words, or what happened to it.
        why: String,
    },
    /// It was not ended.
    #[error("cannot end what forwards {listen}")]
    Stop {
        /// Where it listens.
        listen: Listen,
        /// Why.
        #[source]
        source: EndError,
    },
    /// Nothing to end.
    #[error("nothing is forwarded at {at}")]
    None {
        /// The port or the path.
        at: String,
    },
}

impl Blame for ForwardError {
    fn exit(&self) -> Exit {
        match self {
            Self::Spec { .. } | Self::Exposed { .. } | Self::None { .. } => Exit::Usage,
            Self::Listen { .. } | Self::Owners { .. } | Self::Start { .. } | Self::Stop { .. } => Exit::Host,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Exposed { .. } => Some("leave the address out, or say --expose if that is what you want".into()),
            Self::Listen { listen: Listen::Tcp(_), .. } => Some("choose another port; 0 takes a free one".into()),
            Self::Listen { listen: Listen::Unix(_), .. } => {
                Some("choose a path in a folder of yours where nothing is yet, of at most 107 bytes".into())
            }
            Self::Owners { .. } => Some("use --socket PATH, which needs no such question".into()),
            Self::None { .. } => Some("`boma-qemu status` lists what is forwarded".into()),
            Self::Stop { .. } => Some("try it as the user who started it".into()),
            Self::Spec { .. } | Self::Start { .. } => None,
        }
    }
}
