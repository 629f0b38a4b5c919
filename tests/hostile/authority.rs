//! What a guest and an ACME server ask of the authority of a rehearsal, and the certificates that a server shows.

use boma_qemu::certificates::authority::api::{Asked, respond};
use boma_qemu::certificates::authority::dns;
use boma_qemu::certificates::authority::zone::Zone;
use boma_qemu::certificates::chain;
use std::net::Ipv4Addr;
use std::time::SystemTime;

const TEXT: &str = "kept";

/// The first byte says what comes: a query to the name server (`d`), a request to the API (`r`: method, path, token and body,
/// each behind a line break), or certificates (`c`).
pub fn authority(bytes: &[u8]) {
    let Some((what, rest)) = bytes.split_first() else { return };
    let mut zone = Zone::new("example.net", Ipv4Addr::LOCALHOST);
    zone.put("_acme-challenge", vec![TEXT.into()]);
    match what {
        b'd' => query(&zone, rest),
        b'r' => request(&mut zone, &String::from_utf8_lossy(rest)),
        b'c' => certificates(&String::from_utf8_lossy(rest)),
        _ => {}
    }
}

/// An answer has the query's id, and is never answered itself: two name servers would go on for ever.
fn query(zone: &Zone, bytes: &[u8]) {
    if let Some(answer) = dns::answer(zone, bytes) {
        assert_eq!(answer.get(..2), bytes.get(..2), "another query's");
        assert_eq!(dns::answer(zone, &answer), None, "an answer was answered");
    }
}

/// Without the token nothing changes and nothing is shown.
fn request(zone: &mut Zone, text: &str) {
    let mut parts = text.splitn(4, '\n');
    let mut next = || parts.next().unwrap_or_default();
    let (method, path, token, body) = (next(), next(), next(), next());
    let Ok(method) = method.parse() else { return };
    let asked = Asked { method: &method, path, token: (!token.is_empty()).then_some(token), body: body.as_bytes() };
    let (status, value) = respond(zone, "right", &asked);
    if token != "right" {
        assert!((400..500).contains(&status), "{status} without the token");
        assert!(!value.to_string().contains(TEXT), "a record was shown");
        assert_eq!(zone.texts("_acme-challenge"), Some(&[TEXT.to_owned()][..]), "a record was changed");
    }
}

/// No root, no trust.
fn certificates(text: &str) {
    if let Ok(all) = chain::of_pem(text) {
        assert!(!all.is_empty());
        let none = boma_qemu::certificates::chain::roots_of_pem("");
        assert!(none.is_err(), "no root is one");
        if let Ok(roots) = chain::roots_of_pem(text) {
            drop(chain::verify(&all, &roots, "example.net", SystemTime::now()));
        }
    }
}
