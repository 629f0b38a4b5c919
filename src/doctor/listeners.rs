//! Port 53 on the bridge's address: dnsmasq needs it, and other resolvers like to take it everywhere.

use super::{Finding, Site};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use vm::network::NetDir;

const DNS: u16 = 53;

/// Take the port for a moment, as dnsmasq would.
pub(super) fn check(site: &Site) -> Finding {
    let net = &site.input.net;
    let at = SocketAddrV4::new(net.gateway, DNS);
    let tried = try_take(at, SockType::Datagram).and_then(|()| try_take(at, SockType::Stream));
    match tried {
        Ok(()) => Finding::ok(format!("{at} is free")),
        Err(nix::errno::Errno::EADDRINUSE) if NetDir::of(&site.input.dirs, &net.name).presence().is_there() => {
            Finding::ok(format!("{at} is our own: the network {} is up", net.name))
        }
        Err(nix::errno::Errno::EADDRINUSE) => {
            let by = match holder(at) {
                Some(who) => format!("{who} has it"),
                None => "another program has it".into(),
            };
            let fix = "make that program listen on its own addresses only, not on all; or use --net namespace";
            Finding::fail(format!("{at} is busy: {by}"), fix)
        }
        Err(errno) => Finding::warn(
            format!("{at} could not be tried: {}", errno.desc()),
            "run as root to know; --net host needs it anyway",
        ),
    }
}

/// Bind it, and listen, as dnsmasq does it: with `SO_REUSEADDR`. The address is not there yet, hence
/// `IP_FREEBIND`. The socket goes with this function.
fn try_take(at: SocketAddrV4, kind: SockType) -> nix::Result<()> {
    let socket = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrIn::from(at))?;
    match kind {
        SockType::Stream => listen(&socket, Backlog::new(1)?),
        _ => Ok(()),
    }
}

/// Who has the port, on that address or on all: `dnsmasq (pid 7)`.
fn holder(at: SocketAddrV4) -> Option<String> {
    let inode = ["tcp", "udp", "tcp6", "udp6"].iter().find_map(|table| {
        let text = std::fs::read_to_string(format!("/proc/net/{table}")).ok()?;
        inode(&text, *at.ip(), at.port())
    })?;
    let link = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find_map(|pid| {
        let mut fds = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.filter_map(Result::ok);
        fds.find(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == link.as_str()))?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(format!("{} (pid {pid})", name.trim()))
    })
}

/// The inode of a socket bound to that port, on that address or on all, in a text of /proc/net/{tcp,udp}[6]
/// (proc_pid_net(5)): addresses are in the machine's byte order, states 0A (listening) and 07 (unconnected).
fn inode(text: &str, address: Ipv4Addr, port: u16) -> Option<u64> {
    text.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (hex, local_port) = local.split_once(':')?;
        let bound = parse_address(hex)?;
        let ours = bound.is_unspecified() || bound.to_canonical() == IpAddr::V4(address);
        let fits = ours && u16::from_str_radix(local_port, 16) == Ok(port) && matches!(*state, "0A" | "07");
        fits.then(|| inode.parse().ok())?
    })
}

fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(words.as_flattened()).for_each(|(to, from)| *to = *from);
            Some(IpAddr::from(bytes))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::testing::soon;
    use std::net::TcpListener;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        0: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 17 1 0 100 0 0 10 0\n\
        1: 014DD50A:0035 0B4DD50A:A000 01 00000000:00000000 00:00000000 00000000   101        0 18 1 0 100 0 0 10 0\n\
        2: 00000000:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 19 1 0 100 0 0 10 0\n";
    const TCP6: &str = "  sl  local_address remote_address\n\
        0: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 20 1\n";

    #[test]
    fn a_listener_elsewhere_and_a_connection_do_not_count_but_one_on_all_addresses_does() {
        let bridge = Ipv4Addr::new(10, 213, 77, 1);
        assert_eq!(inode(TCP, bridge, 53), Some(19));
        assert_eq!(inode(TCP, Ipv4Addr::new(127, 0, 0, 53), 53), Some(17));
        assert_eq!(inode(TCP, bridge, 54), None);
        assert_eq!(inode(TCP6, bridge, 53), Some(20));
    }

    #[test]
    fn a_port_that_is_taken_on_all_addresses_is_busy_on_an_address_that_is_not_there_yet() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let at = SocketAddrV4::new(Ipv4Addr::new(10, 213, 77, 1), listener.local_addr().unwrap().port());
        assert_eq!(try_take(at, SockType::Stream), Err(nix::errno::Errno::EADDRINUSE));
        let who = holder(at).unwrap();
        assert!(who.contains(&format!("pid {}", std::process::id())), "{who}");
        drop(listener);
        assert!(soon(|| try_take(at, SockType::Stream) == Ok(())));
    }
}
