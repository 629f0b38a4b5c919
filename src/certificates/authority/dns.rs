//! The zone's name server: one datagram in, one out.

use super::zone::{Found, Zone};
use simple_dns::rdata::{A, NS, RData, SOA, TXT};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

/// How long an answer may be kept, in seconds: a challenge is asked for right after it was put there.
const TTL: u32 = 1;

/// The answer to a query; none to what is no query.
pub fn answer(zone: &Zone, query: &[u8]) -> Option<Vec<u8>> {
    let query = Packet::parse(query).ok().filter(|query| !query.has_flags(PacketFlag::RESPONSE))?;
    let question = query.questions.first()?;
    let mut reply = Packet::new_reply(query.id());
    reply.questions.push(question.clone());
    let found = zone.find(&question.qname.to_string());
    match &found {
        Found::Elsewhere => *reply.rcode_mut() = RCODE::Refused,
        Found::Nothing => *reply.rcode_mut() = RCODE::NameError,
        _ => {}
    }
    if found != Found::Elsewhere {
        reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
        let record = |name: Name<'static>, data| ResourceRecord::new(name, CLASS::IN, TTL, data);
        let data = data(zone, &found, question.qtype)?;
        reply.answers = data.into_iter().map(|data| record(question.qname.clone().into_owned(), data)).collect();
        if reply.answers.is_empty() {
            reply.name_servers.push(record(owned(&zone.origin)?, soa(zone)?));
        }
    }
    reply.build_bytes_vec_compressed().ok()
}

fn owned(name: &str) -> Option<Name<'static>> {
    Some(Name::new(name).ok()?.into_owned())
}

/// What is there of a type; none if it cannot be said.
fn data(zone: &Zone, found: &Found<'_>, of: QTYPE) -> Option<Vec<RData<'static>>> {
    Some(match (found, of) {
        (Found::Origin, QTYPE::TYPE(TYPE::SOA)) => vec![soa(zone)?],
        (Found::Origin, QTYPE::TYPE(TYPE::NS)) => vec![RData::NS(NS(owned(&zone.name_server())?))],
        (Found::Server, QTYPE::TYPE(TYPE::A)) => vec![RData::A(A { address: zone.server.to_bits() })],
        (Found::Texts(texts), QTYPE::TYPE(TYPE::TXT)) => {
            let text = |text: &String| Some(RData::TXT(TXT::new().with_string(text).ok()?.into_owned()));
            texts.iter().map(text).collect::<Option<_>>()?
        }
        _ => Vec::new(),
    })
}

fn soa(zone: &Zone) -> Option<RData<'static>> {
    let (mname, rname) = (owned(&zone.name_server())?, owned(&format!("hostmaster.{}", zone.origin))?);
    Some(RData::SOA(SOA { mname, rname, serial: zone.serial, refresh: 600, retry: 60, expire: 3600, minimum: TTL }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::Question;
    use std::net::Ipv4Addr;

    fn ask(zone: &Zone, name: &str, of: TYPE) -> (RCODE, Vec<String>, usize) {
        let mut query = Packet::new_query(7);
        query.questions.push(Question::new(Name::new(name).unwrap(), QTYPE::TYPE(of), CLASS::IN.into(), false));
        let bytes = answer(zone, &query.build_bytes_vec().unwrap()).unwrap();
        let reply = Packet::parse(&bytes).unwrap();
        assert_eq!(reply.id(), 7);
        let texts = reply.answers.iter().map(|record| match &record.rdata {
            RData::TXT(text) => String::try_from(text.clone()).unwrap(),
            RData::NS(NS(name)) => name.to_string(),
            RData::A(a) => Ipv4Addr::from(a.address).to_string(),
            other => format!("{:?}", other.type_code()),
        });
        (reply.rcode(), texts.collect(), reply.name_servers.len())
    }

    #[test]
    fn a_zone_answers_for_its_challenges_and_for_itself() {
        let mut zone = Zone::new("example.net", Ipv4Addr::new(192, 0, 2, 3));
        zone.put("_acme-challenge", vec!["one".into(), "two".into()]);
        let all = [
            ("_acme-challenge.example.net", TYPE::TXT, RCODE::NoError, vec!["one", "two"], 0),
            ("_acme-challenge.example.net", TYPE::A, RCODE::NoError, vec![], 1),
            ("example.net", TYPE::SOA, RCODE::NoError, vec!["SOA"], 0),
            ("example.net", TYPE::NS, RCODE::NoError, vec!["ns1.example.net"], 0),
            ("ns1.example.net", TYPE::A, RCODE::NoError, vec!["192.0.2.3"], 0),
            ("www.example.net", TYPE::A, RCODE::NameError, vec![], 1),
            ("example.org", TYPE::A, RCODE::Refused, vec![], 0),
        ];
        for (name, of, code, texts, authority) in all {
            let (got, answers, servers) = ask(&zone, name, of);
            assert_eq!(
                (got, answers.iter().map(String::as_str).collect::<Vec<_>>(), servers),
                (code, texts, authority),
                "{name}"
            );
        }
        assert_eq!(answer(&zone, b"nonsense"), None);
    }
}
