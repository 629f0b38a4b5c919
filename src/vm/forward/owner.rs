//! Whose a connection is that comes over the loopback: the uid that the kernel has for the socket at its other end.
//!
//! As identd does it, but by sock_diag(7), which answers for one connection and finds it also where the client's socket
//! is an IPv6 one.

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io::Error;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};

/// `SOCK_DIAG_BY_FAMILY` (linux/sock_diag.h): both the question's and the answer's type.
const BY_FAMILY: u16 = 20;
/// `NLMSG_ERROR` (linux/netlink.h).
const ERROR: u16 = 2;
/// Bytes of a question: nlmsghdr and inet_diag_req_v2 (linux/inet_diag.h).
const QUESTION: u32 = 72;
/// TCP_ESTABLISHED, TCP_FIN_WAIT1 and TCP_FIN_WAIT2 (linux/tcp_states.h): a client that is there, and may have said all.
const CONNECTED: [u8; 3] = [1, 4, 5];
/// What the kernel says for a user that the asker's user namespace does not have (/proc/sys/kernel/overflowuid).
const NOBODY: u32 = 65534;

/// Asks about connections in the network namespace and the user namespace that it was opened in, wherever it is used.
#[derive(Debug)]
pub(super) struct Owners(OwnedFd);

/// Why it cannot be told whose a connection is.
#[derive(Debug, thiserror::Error)]
pub(super) enum OwnerError {
    /// The kernel could not be asked.
    #[error("cannot ask the kernel whose a connection is")]
    Ask(#[from] Error),
    /// Nobody has it, or nobody who can be named.
    #[error("its owner is unknown")]
    Unknown,
}

impl Owners {
    /// For the namespaces of this process.
    pub(super) fn open() -> Result<Self, Error> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkSockDiag)?;
        Self::of(fd)
    }

    /// With a socket that was opened so.
    pub(super) fn of(fd: OwnedFd) -> Result<Self, Error> {
        // The kernel answers within the call; should it not, the connection waits for nothing.
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(1))?;
        Ok(Self(fd))
    }

    /// The socket itself, to be handed on.
    pub(super) fn into_inner(self) -> OwnedFd {
        self.0
    }

    /// The uid of who has connected from `client` to `server`.
    pub(super) fn of_client(&self, client: SocketAddrV4, server: SocketAddrV4) -> Result<u32, OwnerError> {
        let fd = self.0.as_raw_fd();
        sendto(fd, &question(client, server), &NetlinkAddr::new(0, 0), MsgFlags::empty()).map_err(Error::from)?;
        let mut answer = [0; 1024];
        let length = recv(fd, &mut answer, MsgFlags::empty()).map_err(Error::from)?;
        parse(answer.get(..length).unwrap_or_default(), client, server)
    }
}

/// The client's socket, by its own address first.
fn question(client: SocketAddrV4, server: SocketAddrV4) -> Vec<u8> {
    let mut text = Vec::with_capacity(QUESTION as usize);
    text.extend(QUESTION.to_ne_bytes());
    text.extend(BY_FAMILY.to_ne_bytes());
    text.extend(1_u16.to_ne_bytes()); // NLM_F_REQUEST
    text.extend([0; 8]); // number, and the kernel as receiver
    let (inet, tcp) = (2, 6);
    text.extend([inet, tcp, 0, 0]);
    text.extend(u32::MAX.to_ne_bytes()); // every state
    text.extend(client.port().to_be_bytes());
    text.extend(server.port().to_be_bytes());
    for address in [client.ip(), server.ip()] {
        text.extend(address.octets());
        text.extend([0; 12]);
    }
    text.extend([0; 4]); // any interface
    text.extend([0xff; 8]); // INET_DIAG_NOCOOKIE
    text
}

/// Read nlmsghdr and inet_diag_msg. A socket that nobody has any more has no inode, and its uid is then 0, which is
/// nobody's; one that listens is another's than the connection's.
fn parse(answer: &[u8], client: SocketAddrV4, server: SocketAddrV4) -> Result<u32, OwnerError> {
    let word = |at: usize| answer.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let half = |at: usize| answer.get(at..at + 2)?.try_into().ok();
    match half(4).map(u16::from_ne_bytes) {
        Some(BY_FAMILY) => {}
        Some(ERROR) => {
            let number = word(16).unwrap_or_default().cast_signed().saturating_neg();
            return Err(match number {
                nix::libc::ENOENT => OwnerError::Unknown,
                number => Error::from_raw_os_error(number).into(),
            });
        }
        _ => return Err(OwnerError::Unknown),
    }
    let state = answer.get(17).copied().unwrap_or_default();
    let ports = (half(20).map(u16::from_be_bytes), half(22).map(u16::from_be_bytes));
    let is_it = CONNECTED.contains(&state) && ports == (Some(client.port()), Some(server.port()));
    match (word(80), word(84)) {
        (Some(uid), Some(inode)) if is_it && inode != 0 && uid != NOBODY => Ok(uid),
        _ => Err(OwnerError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    fn v4(address: SocketAddr) -> SocketAddrV4 {
        match address {
            SocketAddr::V4(v4) => v4,
            SocketAddr::V6(v6) => SocketAddrV4::new(v6.ip().to_ipv4_mapped().unwrap(), v6.port()),
        }
    }

    fn owner_of(client: &TcpStream, server: &TcpListener) -> Result<u32, OwnerError> {
        let server = v4(server.local_addr().unwrap());
        Owners::open().unwrap().of_client(v4(client.local_addr().unwrap()), server)
    }

    #[test]
    fn a_connections_owner_is_whoever_has_opened_it_by_ipv4_or_ipv6() {
        let own = rustix::process::geteuid().as_raw();
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        let four = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert_eq!(owner_of(&four, &server).unwrap(), own);
        let mapped: Ipv6Addr = "::ffff:127.0.0.1".parse().unwrap();
        let six = TcpStream::connect((mapped, port)).unwrap();
        assert_eq!(owner_of(&six, &server).unwrap(), own);
        // It has said all, and is still there.
        four.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(owner_of(&four, &server).unwrap(), own);
    }

    #[test]
    fn a_connection_that_was_given_up_is_nobodys() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = v4(server.local_addr().unwrap());
        let mut client = TcpStream::connect(at).unwrap();
        let own = v4(client.local_addr().unwrap());
        client.write_all(b"x").unwrap();
        drop(client);
        let ask = || Owners::open().unwrap().of_client(own, at);
        assert!(matches!(ask(), Err(OwnerError::Unknown)), "the kernel calls it root's");
        // Also when our end has closed as well, and its ghost waits.
        drop(server.accept().unwrap());
        std::thread::sleep(Duration::from_millis(50));
        assert!(matches!(ask(), Err(OwnerError::Unknown)));
    }

    #[test]
    fn a_socket_that_listens_on_the_clients_port_owns_no_connection() {
        let (server, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (client, server) = (v4(other.local_addr().unwrap()), v4(server.local_addr().unwrap()));
        assert!(matches!(Owners::open().unwrap().of_client(client, server), Err(OwnerError::Unknown)));
    }
}
