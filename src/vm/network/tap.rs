//! The tap: the network cable between QEMU and the bridge.

use super::NetError;
use host::cmd::Cmd;
use host::names::IfName;
use host::sys;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

/// Make the tap `tap` in the current network namespace, put it on the bridge and bring it up.
///
/// It is not persistent: it lives as long as the descriptor (and its copies), and the kernel removes
/// it with the last one, even after SIGKILL. It carries a virtio-net header (`IFF_VNET_HDR`), as QEMU's
/// `-netdev tap,fd=` expects. Needs `CAP_NET_ADMIN` over the network namespace.
pub fn open(tap: &IfName, bridge: &IfName) -> Result<OwnedFd, NetError> {
    let failed = |source| NetError::Tap { tap: tap.clone(), source };
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .map_err(|source| NetError::TunDevice { source })?;
    stand_for(&device, tap.as_str()).map_err(|errno| failed(errno.into()))?;
    Cmd::new("ip")
        .args(["link", "set", "dev", tap.as_str(), "master", bridge.as_str(), "addrgenmode", "none", "up"])
        .run()
        .map_err(NetError::Command)?;
    Ok(device.into())
}

/// Let an open /dev/net/tun stand for a tap of the current network namespace. Makes system calls only.
pub fn stand_for(device: impl AsFd, tap: &str) -> nix::Result<()> {
    sys::attach_tun(device, tap, nix::libc::IFF_TAP | nix::libc::IFF_NO_PI | nix::libc::IFF_VNET_HDR)
}
