//! The tap: the network cable between QEMU and the bridge.

use super::NetError;
use host::cmd::Cmd;
use host::names::IfName;
use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

nix::ioctl_write_int! {
    /// `TUNSETIFF` (linux/if_tun.h): which interface an open /dev/net/tun stands for.
    tun_set_iff, b'T', 202
}

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
    // SAFETY: ifreq is plain data, for which all zeroes is a value.
    let mut request: nix::libc::ifreq = unsafe { std::mem::zeroed() };
    // IfName is at most 15 bytes, so the NUL stays.
    for (to, from) in request.ifr_name.iter_mut().zip(tap.as_str().bytes()) {
        *to = from.cast_signed();
    }
    let flags = nix::libc::IFF_TAP | nix::libc::IFF_NO_PI | nix::libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).unwrap_or_default();
    // SAFETY: TUNSETIFF reads an ifreq, which lives until the call returns.
    unsafe { tun_set_iff(device.as_raw_fd(), (&raw const request).addr() as u64) }
        .map_err(|errno| failed(errno.into()))?;
    Cmd::new("ip")
        .args(["link", "set", "dev", tap.as_str(), "master", bridge.as_str(), "addrgenmode", "none", "up"])
        .run()
        .map_err(NetError::Command)?;
    Ok(device.into())
}
