//! Ethernet frames byte by byte: what a guest's own kernel would not send, a hostile one does.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const VLAN: u16 = 0x8100;
pub(crate) const QINQ: u16 = 0x88a8;
pub(crate) const IPV6: u16 = 0x86dd;

pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];

/// An Ethernet address from its text.
pub(crate) fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<_> = text.split(':').map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

pub(crate) fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&to[..], &from, &kind.to_be_bytes(), payload].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// The same frame behind tags of these kinds, for VLAN 7.
pub(crate) fn tagged(frame: &[u8], kinds: &[u16]) -> Vec<u8> {
    let tags: Vec<u8> = kinds.iter().flat_map(|kind| [&kind.to_be_bytes()[..], &[0, 7]].concat()).collect();
    [&frame[..12], &tags, &frame[12..]].concat()
}

/// An IPv4 packet; `fragment` is the field with flags and offset (RFC 791).
pub(crate) fn ipv4(
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: u8,
    options: &[u8],
    fragment: u16,
    payload: &[u8],
) -> Vec<u8> {
    assert!(options.len().is_multiple_of(4));
    let words = u8::try_from(5 + options.len() / 4).unwrap();
    let length = u16::try_from(20 + options.len() + payload.len()).unwrap();
    let mut header = vec![0x40 | words, 0];
    header.extend([length, 0x4242, fragment].map(u16::to_be_bytes).concat());
    header.extend([64, protocol, 0, 0]);
    header.extend([from.octets(), to.octets()].concat());
    header.extend(options);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [header, payload.to_vec()].concat()
}

/// A UDP datagram without a checksum, which IPv4 allows.
pub(crate) fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    [&[from, to, length, 0].map(u16::to_be_bytes).concat(), payload].concat()
}

/// A TCP segment without data; for a packet from one address to another.
pub(crate) fn tcp(ends: (Ipv4Addr, Ipv4Addr), from: u16, to: u16, flags: u8) -> Vec<u8> {
    let mut segment = [from, to].map(u16::to_be_bytes).concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    let sum = checksum(&[&ends.0.octets()[..], &ends.1.octets(), &[0, 6, 0, 20], &segment].concat());
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

pub(crate) fn icmp_echo() -> Vec<u8> {
    let mut message = vec![8, 0, 0, 0, 7, 7, 0, 1];
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// An ARP answer: this Ethernet address has that IPv4 address.
pub(crate) fn arp_claim(has: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let (address, head) = (address.octets(), [0, 1, 8, 0, 6, 4, 0, 2]);
    [&head[..], &has, &address, &BROADCAST, &address].concat()
}

/// An IPv6 packet; for UDP and ICMPv6 with its checksum.
pub(crate) fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let at = if next == 17 { 6 } else { 2 };
    let mut payload = payload.to_vec();
    let pseudo = [&from.octets()[..], &to.octets(), &u32::from(length).to_be_bytes(), &[0, 0, 0, next], &payload];
    let sum = checksum(&pseudo.concat());
    payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    let head = [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[next, 255]].concat();
    [&head, &from.octets()[..], &to.octets(), &payload].concat()
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
}
