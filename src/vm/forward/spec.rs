//! From where to where, and for whom.

use super::ForwardError;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// What is to be forwarded: `[HOST_IP:]HOSTPORT:VMPORT`, or a path and the VM's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Where the host listens; port 0 leaves the choice to the kernel.
    pub listen: Listen,
    /// The VM's port.
    pub port: u16,
}

/// Where the host listens: `127.0.0.1:8443`, or an absolute path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket in the file system.
    Unix(Utf8PathBuf),
}

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Admits {
    /// Processes of this uid.
    User(u32),
    /// Whoever reaches it.
    Everybody,
}

impl Spec {
    /// A Unix socket, which belongs to the caller, and a port of the VM's.
    pub fn socket(path: Utf8PathBuf, port: &str) -> Result<Self, ForwardError> {
        let number = port.parse().ok().filter(|port| *port != 0);
        let bad =
            || ForwardError::Spec { text: port.to_owned(), form: "a port of the VM's (--socket takes VMPORT alone)" };
        Ok(Self { listen: Listen::Unix(path), port: number.ok_or_else(bad)? })
    }
}

impl FromStr for Spec {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, ForwardError> {
        let form = "HOSTPORT:VMPORT or HOST_IP:HOSTPORT:VMPORT with an IPv4 address";
        let bad = || ForwardError::Spec { text: text.to_owned(), form };
        let (rest, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let (ip, host_port) = rest.rsplit_once(':').unwrap_or(("127.0.0.1", rest));
        let ip: Ipv4Addr = ip.parse().map_err(|_| bad())?;
        let number = |text: &str| text.parse::<u16>().map_err(|_| bad());
        let (host_port, port) = (number(host_port)?, number(port)?);
        if port == 0 {
            return Err(bad());
        }
        Ok(Self { listen: Listen::Tcp(SocketAddr::from((ip, host_port))), port })
    }
}

impl Listen {
    /// Whether a user would call it so: by its port, or by its path.
    pub(super) fn is_called(&self, name: &str) -> bool {
        match self {
            Self::Tcp(at) => name.parse() == Ok(at.port()),
            Self::Unix(path) => path == Utf8Path::new(name),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(at) => at.fmt(f),
            Self::Unix(path) => path.fmt(f),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = std::net::AddrParseError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.starts_with('/') {
            true => Ok(Self::Unix(text.into())),
            false => text.parse().map(Self::Tcp),
        }
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

impl fmt::Display for Admits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "uid {uid} only"),
            Self::Everybody => f.write_str("whoever reaches it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_two_ports_and_loopback_unless_it_says_more() {
        let parsed = |text: &str| text.parse::<Spec>().map(|spec| (spec.listen.to_string(), spec.port)).ok();
        assert_eq!(parsed("8443:443"), Some(("127.0.0.1:8443".into(), 443)));
        assert_eq!(parsed("0:22"), Some(("127.0.0.1:0".into(), 22)));
        assert_eq!(parsed("127.0.0.9:1:2"), Some(("127.0.0.9:1".into(), 2)));
        for bad in ["", "443", "a:b", "1:0", "70000:1", "::1:1:2", "localhost:1:2", "1:2:3:4", "-1:2", "8443:443 "] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_socket_takes_the_vms_port_alone() {
        let parsed = |text: &str| Spec::socket("/s".into(), text).map(|spec| spec.port).ok();
        assert_eq!(parsed("443"), Some(443));
        for bad in ["", "0", "8443:443", "70000"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn where_it_listens_is_one_string_in_json() {
        for (text, name) in [("127.0.0.1:8443", "8443"), ("/run/user/1000/web.sock", "/run/user/1000/web.sock")] {
            let listen = Listen::try_from(text.to_owned()).unwrap();
            assert_eq!(serde_json::to_string(&listen).unwrap(), format!("{text:?}"));
            assert!(listen.is_called(name) && !listen.is_called("443"));
        }
    }
}
