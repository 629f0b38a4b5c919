//! The host's networks change while a VM runs: a VPN comes up, a laptop moves. What the host is
//! connected to later is forbidden to the guest as well, at once.

use super::address::Cidr;
use super::host_facts::gather;
use super::{NetError, Network};
use host::cmd::Cmd;
use host::print;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket, sockopt,
};
use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};

/// Multicast groups of rtnetlink(7): IPv4 addresses and IPv4 routes.
const GROUPS: u32 = (nix::libc::RTMGRP_IPV4_IFADDR | nix::libc::RTMGRP_IPV4_ROUTE).cast_unsigned();

/// Follows the host's addresses and routes.
#[derive(Debug)]
pub(crate) struct Watch {
    fd: OwnedFd,
    known: BTreeSet<Cidr>,
    own: Cidr,
    table: String,
    prefix: Vec<String>,
}

impl Watch {
    /// Watch the network namespace of this process. What has changed since the network was planned is
    /// seen at the first [`Watch::follow`].
    pub(crate) fn new(network: &Network) -> Result<Self, NetError> {
        let failed = |errno: nix::Error| NetError::Watch { source: errno.into() };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute).map_err(failed)?;
        setsockopt(&fd, sockopt::RcvBuf, &(1 << 20)).map_err(failed)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS)).map_err(failed)?;
        let plan = &network.plan;
        let mut watch = Self {
            fd,
            known: plan.host_networks.iter().copied().collect(),
            own: plan.subnet,
            table: plan.name.to_string(),
            prefix: network.enter_net_admin(),
        };
        watch.refresh()?;
        Ok(watch)
    }

    /// Readable when something has changed.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Forbid what is new, if anything has changed.
    pub(crate) fn follow(&mut self) -> Result<(), NetError> {
        // What changed is no matter, nor that there was more than the buffer holds: all is read anew.
        let mut changed = false;
        loop {
            match recv(self.fd.as_raw_fd(), &mut [0; 8192], nix::sys::socket::MsgFlags::empty()) {
                Ok(_) | Err(nix::Error::ENOBUFS) => changed = true,
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => break,
                Err(errno) => return Err(NetError::Watch { source: errno.into() }),
            }
        }
        if changed { self.refresh() } else { Ok(()) }
    }

    fn refresh(&mut self) -> Result<(), NetError> {
        let fresh: Vec<_> = gather()?
            .into_iter()
            // Our own bridge is one of the host's networks in host mode.
            .filter(|network| !network.to.overlaps(&self.own) && !self.known.contains(&network.to))
            .collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let words: Vec<_> = fresh.iter().map(|network| network.to.to_string()).collect();
        let elements = format!("{{ {} }}", words.join(", "));
        Cmd::new(&self.prefix[0])
            .args(&self.prefix[1..])
            .args(["nft", "add", "element", "inet", &self.table, "forbidden", &elements])
            .run()
            .map_err(NetError::Command)?;
        for network in fresh {
            print::err(&format!("the host is now connected to {} ({}): forbidden", network.to, network.device));
            self.known.insert(network.to);
        }
        Ok(())
    }
}
