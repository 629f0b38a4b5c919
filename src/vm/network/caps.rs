//! Capabilities: what a process may do beyond its user. Everything here runs with as few as it can.

use super::NetError;
use rustix::process::geteuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// Which capabilities a command keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Not one.
    None,
    /// Links, addresses, nft: `CAP_NET_ADMIN`.
    NetAdmin,
    /// What dnsmasq needs: ports 53 and 67, raw sockets, answers to clients that have no address yet.
    Dnsmasq,
    /// Ports below 1024: `CAP_NET_BIND_SERVICE`.
    Ports,
    /// What a VM's monitor needs: for the tap `CAP_NET_ADMIN`, and, where we are root, what starts QEMU as a user of
    /// its own and ends it again.
    Monitor,
    /// The same once the tap is there.
    Switch,
    /// Whatever it has.
    All,
}

impl Keep {
    /// The word for it on a command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NetAdmin => "net-admin",
            Self::Dnsmasq => "dnsmasq",
            Self::Ports => "ports",
            Self::Monitor => "monitor",
            Self::Switch => "switch",
            Self::All => "all",
        }
    }

    /// The reverse of [`Keep::word`].
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let all = [Self::None, Self::NetAdmin, Self::Dnsmasq, Self::Ports, Self::Monitor, Self::Switch, Self::All];
        all.into_iter().find(|keep| keep.word() == word)
    }

    fn set(self) -> CapabilitySet {
        match self {
            Self::None => CapabilitySet::empty(),
            Self::NetAdmin => CapabilitySet::NET_ADMIN,
            Self::Dnsmasq => CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW | CapabilitySet::NET_BIND_SERVICE,
            Self::Ports => CapabilitySet::NET_BIND_SERVICE,
            Self::Monitor => CapabilitySet::NET_ADMIN | Self::Switch.set(),
            // Only root has other users to switch to; anybody else's namespace holds nobody but them.
            Self::Switch if geteuid().is_root() => CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL,
            Self::Switch => CapabilitySet::empty(),
            Self::All => CapabilitySet::all(),
        }
    }

    /// Keep these and no others, for this process and all that it starts.
    ///
    /// The order matters: the bounding set can only be cut while `CAP_SETPCAP` is still there, and the
    /// ambient set only holds what is permitted and inheritable.
    pub(crate) fn apply(self) -> Result<(), NetError> {
        let failed = |what: &'static str| {
            move |errno: rustix::io::Errno| NetError::Capabilities { what, source: std::io::Error::from(errno) }
        };
        if self == Self::All {
            // A program started by an ordinary user has none but the ambient ones.
            let now = capabilities(None).map_err(failed("read capabilities"))?;
            let sets = CapabilitySets { inheritable: now.permitted, ..now };
            set_capabilities(None, sets).map_err(failed("set capabilities"))?;
            return raise(now.permitted).map_err(failed("raise the ambient set"));
        }
        if threads().map_err(|source| NetError::Capabilities { what: "count the threads of this process", source })?
            != 1
        {
            let source = std::io::Error::other("the process has a second thread, which would keep them");
            return Err(NetError::Capabilities { what: "drop capabilities", source });
        }
        let wanted = self.set();
        let now = capabilities(None).map_err(failed("read capabilities"))?;
        if !now.permitted.contains(wanted) {
            let source = std::io::Error::other(format!("it takes {wanted:?} and this process has {:?}", now.permitted));
            return Err(NetError::Capabilities { what: "keep a capability", source });
        }
        clear_ambient_capability_set().map_err(failed("clear the ambient set"))?;
        // Without CAP_SETPCAP the bounding set stays: then no_new_privs below is what holds.
        if now.effective.contains(CapabilitySet::SETPCAP) {
            for bit in (0..64).map(|n| 1_u64 << n).filter(|bit| wanted.bits() & bit == 0) {
                match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
                    // Beyond the last capability that this kernel knows.
                    Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                    Err(errno) => return Err(failed("cut the bounding set")(errno)),
                }
            }
        }
        let sets = CapabilitySets { effective: wanted, permitted: wanted, inheritable: wanted };
        set_capabilities(None, sets).map_err(failed("set capabilities"))?;
        raise(wanted).map_err(failed("raise the ambient set"))?;
        set_no_new_privs(true).map_err(failed("set no_new_privs"))
    }
}

/// Make capabilities ambient: a program that is started then has them, whoever the user is.
fn raise(set: CapabilitySet) -> rustix::io::Result<()> {
    let bits = (0..64).map(|n| 1_u64 << n).filter(|bit| set.bits() & bit != 0);
    for bit in bits {
        configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(bit), true)?;
    }
    Ok(())
}

/// Drop every capability for good that a monitor does not need any more once it has the tap: all of them for an
/// ordinary user; root's keeps those that start QEMU as another user and end it. Also for all that this process
/// starts, and with `no_new_privs`. Call it before a second thread exists.
pub fn drop_capabilities_of_the_monitor() -> Result<(), NetError> {
    Keep::Switch.apply()
}

/// Threads of this process.
pub(crate) fn threads() -> std::io::Result<usize> {
    std::fs::read_dir("/proc/self/task")?.try_fold(0, |n, task| task.map(|_| n + 1))
}
