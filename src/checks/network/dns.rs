//! One question to a name server: over UDP, and over TCP if the answer did not fit.

use super::{Seen, connect};
use crate::checks::probe::Record;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, TYPE};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// How often a question is sent; a datagram can be lost.
const TRIES: u32 = 2;

/// The records of a name; the error says why there is no answer.
pub(super) fn ask(server: SocketAddr, name: &str, record: Record, limit: Duration) -> Result<Seen, String> {
    let id = rand::random();
    let query = query(id, name, record).map_err(|error| format!("{name} cannot be asked for: {error}"))?;
    let said = |error: &dyn std::fmt::Display| format!("no answer from {server} for {name}: {error}");
    let bytes = over_udp(server, &query, limit).map_err(|error| said(&error))?;
    let cut = Packet::parse(&bytes).is_ok_and(|packet| packet.has_flags(PacketFlag::TRUNCATION));
    let bytes = if cut { over_tcp(server, &query, limit).map_err(|error| said(&error))? } else { bytes };
    read(&bytes, Some(id), record).map_err(|error| said(&error))
}

fn query(id: u16, name: &str, record: Record) -> simple_dns::Result<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name.trim_end_matches('.'))?;
    packet.questions.push(Question::new(name, kind(record).into(), CLASS::IN.into(), false));
    packet.build_bytes_vec()
}

fn kind(record: Record) -> TYPE {
    match record {
        Record::A => TYPE::A,
        Record::Aaaa => TYPE::AAAA,
        Record::Cname => TYPE::CNAME,
        Record::Mx => TYPE::MX,
        Record::Ns => TYPE::NS,
        Record::Ptr => TYPE::PTR,
        Record::Srv => TYPE::SRV,
        Record::Txt => TYPE::TXT,
    }
}

fn over_udp(server: SocketAddr, query: &[u8], limit: Duration) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // Connected, so that only this server's answers come and its refusal is told.
    socket.connect(server)?;
    socket.set_read_timeout(Some(limit / TRIES))?;
    let mut buffer = [0; 65535];
    for _ in 0..TRIES {
        socket.send(query)?;
        match socket.recv(&mut buffer) {
            Ok(length) => return Ok(buffer[..length].to_vec()),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            Err(_) => {}
        }
    }
    // The system calls it "temporarily unavailable".
    Err(ErrorKind::TimedOut.into())
}

fn over_tcp(server: SocketAddr, query: &[u8], limit: Duration) -> Result<Vec<u8>, String> {
    let mut stream = connect(server, limit)?;
    let length = u16::try_from(query.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut exchange = || {
        stream.write_all(&[&length, query].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut bytes).map(|()| bytes)
    };
    exchange().map_err(|error: std::io::Error| error.to_string())
}

/// An answer. Only to the question with this number, where one is given.
pub(super) fn read(bytes: &[u8], id: Option<u16>, record: Record) -> Result<Seen, String> {
    let packet = Packet::parse(bytes).map_err(|error| format!("the answer cannot be read: {error}"))?;
    if id.is_some_and(|id| id != packet.id()) || !packet.has_flags(PacketFlag::RESPONSE) {
        return Err("what came is not the answer to the question".into());
    }
    let code = format!("{:?}", packet.rcode());
    let values = packet.answers.iter().filter_map(|answer| value(&answer.rdata, record)).collect();
    Ok(Seen::Records { code, values })
}

/// The value of a record of the type that was asked for.
fn value(data: &RData<'_>, record: Record) -> Option<String> {
    Some(match (data, record) {
        (RData::A(a), Record::A) => Ipv4Addr::from(a.address).to_string(),
        (RData::AAAA(a), Record::Aaaa) => Ipv6Addr::from(a.address).to_string(),
        (RData::CNAME(name), Record::Cname) => name.0.to_string(),
        (RData::NS(name), Record::Ns) => name.0.to_string(),
        (RData::PTR(name), Record::Ptr) => name.0.to_string(),
        (RData::MX(mx), Record::Mx) => format!("{} {}", mx.preference, mx.exchange),
        (RData::SRV(srv), Record::Srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target),
        (RData::TXT(text), Record::Txt) => String::try_from(text.clone()).ok()?,
        _ => return None,
    })
}
