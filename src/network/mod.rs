//! The network of a VM: bridge, filters, NAT, DHCP and DNS, in namespaces of our own or on the host.
//!
//! One holder process per network (`@net`) keeps everything alive and dies with everything. Commands
//! get into the network through an argv prefix ([`Network::enter`]).

mod caps;
pub mod enter;
mod error;
pub mod tap;

pub use caps::drop_all_capabilities;
pub use error::NetError;

use crate::host::process::ProcessId;
use camino::Utf8PathBuf;
use caps::Keep;
use enter::Enter;
use serde::{Deserialize, Serialize};

/// A network that is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The program that enters it: this one.
    exe: Utf8PathBuf,
    /// The keeper of the guest side's namespaces; none where that is the host's own network.
    guest: Option<ProcessId>,
}

impl Network {
    /// Argv prefix that runs a command in the network, without capabilities; empty in host mode.
    pub fn enter(&self) -> Vec<String> {
        match self.guest {
            Some(_) => Enter { keeper: self.guest, keep: Keep::None, bound: false }.prefix(&self.exe),
            None => Vec::new(),
        }
    }

    /// Argv prefix that runs a command in the network with `CAP_NET_ADMIN` over it and nothing else.
    pub fn enter_net_admin(&self) -> Vec<String> {
        Enter { keeper: self.guest, keep: Keep::NetAdmin, bound: false }.prefix(&self.exe)
    }
}
