//! IPv4 networks in prefix notation.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;

/// An IPv4 network, or one address (`/32`). Host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    base: Ipv4Addr,
    bits: u8,
}

/// A text that is not an IPv4 network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is neither an IPv4 address nor an IPv4 network like 10.0.0.0/8")]
pub struct BadCidr(String);

impl Cidr {
    /// The network of that many leading bits that `address` is in.
    pub const fn new(address: Ipv4Addr, bits: u8) -> Self {
        let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
        Self { base: Ipv4Addr::from_bits(address.to_bits() & mask), bits }
    }

    /// The number of leading bits.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// The network mask, `255.255.255.0`.
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0))
    }

    /// Whether the address is in the network.
    pub fn holds(&self, address: Ipv4Addr) -> bool {
        Self::new(address, self.bits) == *self
    }

    /// Whether the two have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.holds(other.base) || other.holds(self.base)
    }

    /// Whether the address can be a machine's: in the network, not its name and not its broadcast address.
    pub fn is_host(&self, address: Ipv4Addr) -> bool {
        let last = self.base.to_bits() | !self.mask().to_bits();
        self.holds(address) && address != self.base && address.to_bits() != last
    }
}

impl From<Ipv4Addr> for Cidr {
    fn from(address: Ipv4Addr) -> Self {
        Self::new(address, 32)
    }
}

impl std::str::FromStr for Cidr {
    type Err = BadCidr;
    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let bad = || BadCidr(text.to_owned());
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        let address: Ipv4Addr = address.parse().map_err(|_| bad())?;
        let bits: u8 = bits.parse().ok().filter(|bits| *bits <= 32).ok_or_else(bad)?;
        Ok(Self::new(address, bits))
    }
}

impl TryFrom<String> for Cidr {
    type Error = BadCidr;
    fn try_from(text: String) -> Result<Self, BadCidr> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> String {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits {
            32 => write!(f, "{}", self.base),
            bits => write!(f, "{}/{bits}", self.base),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn host_bits_are_cut_and_a_bare_address_is_a_network_of_one() {
        assert_eq!(cidr("10.1.2.3/8").to_string(), "10.0.0.0/8");
        assert_eq!(cidr("192.0.2.7").to_string(), "192.0.2.7");
        assert!(cidr("0.0.0.0/0").holds(Ipv4Addr::BROADCAST));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "fd00::/8", "10.0.0.0/-1"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_network_overlaps_what_is_in_it_and_what_it_is_in() {
        assert!(cidr("10.0.0.0/8").overlaps(&cidr("10.9.0.0/16")));
        assert!(cidr("10.9.0.0/16").overlaps(&cidr("10.0.0.0/8")));
        assert!(!cidr("10.9.0.0/16").overlaps(&cidr("10.8.0.0/16")));
    }

    #[test]
    fn a_machine_has_neither_the_first_nor_the_last_address() {
        let net = cidr("10.9.8.0/24");
        assert!(net.is_host(Ipv4Addr::new(10, 9, 8, 1)));
        assert!(!net.is_host(Ipv4Addr::new(10, 9, 8, 0)) && !net.is_host(Ipv4Addr::new(10, 9, 8, 255)));
    }
}
