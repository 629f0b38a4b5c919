//! Names looked up as every program of the host does it (getaddrinfo(3)): hosts file, DNS, and what else it is set to ask.

use dns_lookup::{AddrInfoHints, LookupErrorKind, getaddrinfo};
use nix::libc::{AF_INET, AF_INET6, SOCK_STREAM};
use std::net::{IpAddr, Ipv4Addr};

/// Why a name has no address here.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LookupError {
    /// Who knows has said so: there is no such name, or it has no address.
    #[error("it has no address")]
    None,
    /// Nobody who knows could be asked.
    #[error("it could not be looked up: {0}")]
    Unknown(String),
}

/// The IPv4 addresses of a name, or the address that it is.
pub fn ipv4(name: &str) -> Result<Vec<Ipv4Addr>, LookupError> {
    let found = family(name, AF_INET)?.into_iter().map(|address| address.to_canonical());
    Ok(found.filter_map(|address| if let IpAddr::V4(v4) = address { Some(v4) } else { None }).collect())
}

/// All addresses of a name, or the address that it is. What cannot be told of IPv6 alone is no error: many resolvers
/// answer for it badly, and IPv6 does not leave the bridge.
pub fn all(name: &str) -> Result<Vec<IpAddr>, LookupError> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let (four, six) = (family(name, AF_INET), family(name, AF_INET6));
    match (four, six) {
        (Ok(four), six) => Ok(four.into_iter().chain(six.unwrap_or_default()).collect()),
        (Err(LookupError::None), six) => six,
        (Err(error), _) => Err(error),
    }
}

fn family(name: &str, family: i32) -> Result<Vec<IpAddr>, LookupError> {
    let hints = AddrInfoHints { address: family, socktype: SOCK_STREAM, ..AddrInfoHints::default() };
    let unknown = |error: std::io::Error| LookupError::Unknown(error.to_string());
    match getaddrinfo(Some(name), None, Some(hints)) {
        Ok(found) => found.map(|info| info.map(|info| info.sockaddr.ip()).map_err(unknown)).collect(),
        Err(error) => Err(match error.kind() {
            LookupErrorKind::NoName | LookupErrorKind::NoData => LookupError::None,
            _ => {
                let said = std::io::Error::from(error).to_string();
                LookupError::Unknown(said.trim_start_matches("failed to lookup address information: ").to_owned())
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_itself_and_a_name_that_cannot_be_is_none() {
        assert_eq!(all("2001:db8::1"), Ok(vec!["2001:db8::1".parse().unwrap()]));
        assert_eq!(ipv4("192.0.2.1"), Ok(vec![Ipv4Addr::new(192, 0, 2, 1)]));
        assert!(all("localhost").unwrap().contains(&Ipv4Addr::LOCALHOST.into()));
        // RFC 6761: nobody has it. Without any network nobody can say so.
        assert!(all("boma.invalid").is_err());
    }
}
