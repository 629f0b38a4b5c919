use super::*;
use crate::checks::probe::Record;
use serde_json::json;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn asked(probes: serde_json::Value) -> Vec<Seen> {
    ask(&Asked { vm: HERE, resolver: HERE, limit_ms: 2000, probes: serde_json::from_value(probes).unwrap() })
}

/// A server that gives one answer to each who comes, and the first line that it was asked.
fn server(answer: &'static str) -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, hears) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = [0; 2000];
            let length = stream.read(&mut bytes).unwrap_or(0);
            stream.write_all(answer.as_bytes()).unwrap();
            heard.send(String::from_utf8_lossy(&bytes[..length]).into_owned()).unwrap();
        }
    });
    (port, hears)
}

/// A port that nobody listens on: it was free a moment ago.
fn nobody() -> u16 {
    TcpListener::bind((HERE, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn a_port_accepts_or_refuses() {
    let (port, _heard) = server("");
    let seen = asked(json!([{"tcp": {"port": port}}, {"tcp": {"port": nobody()}}, {"unit": {"name": "a.service"}}]));
    assert_eq!(seen[..2], [Seen::Port(Reaction::Accepted), Seen::Port(Reaction::Refused)]);
    assert!(matches!(seen[2], Seen::Unseen(_)), "it is not asked from here");
}

#[test]
fn a_server_is_asked_by_the_name_that_is_given_and_its_redirect_is_not_followed() {
    let (port, heard) = server("HTTP/1.1 302 Found\r\nLocation: http://203.0.113.1/\r\nContent-Length: 4\r\n\r\nmoon");
    let seen = asked(json!([{"http": {"port": port, "host": "www.example.com", "path": "/a?b=1"}}]));
    assert_eq!(seen, [Seen::Answer { status: 302, body: "moon".into() }]);
    let request = heard.recv().unwrap().to_ascii_lowercase();
    assert!(request.starts_with("get /a?b=1 http/1.1\r\n") && request.contains("host: www.example.com"), "{request}");
}

#[test]
fn what_is_no_http_or_no_tls_is_no_answer() {
    let (port, _heard) = server("SSH-2.0-OpenSSH\r\n");
    let seen = asked(json!([
        {"http": {"port": port}}, {"http": {"port": port, "tls": true}}, {"tls": {"port": port, "server-name": "a.b"}},
        {"http": {"port": nobody()}}, {"tls": {"port": nobody(), "server-name": "a.b"}}
    ]));
    assert!(seen.iter().all(|seen| matches!(seen, Seen::No(_))), "{seen:?}");
}

/// A name server for two questions: an answer with one address, and one that was cut off.
#[test]
fn a_name_server_is_asked_and_only_its_own_answer_counts() {
    let socket = UdpSocket::bind((HERE, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut bytes = [0; 512];
        let (length, from) = socket.recv_from(&mut bytes).unwrap();
        let mut answer = bytes[..length].to_vec();
        (answer[2], answer[3], answer[7]) = (0x81, 0x80, 1);
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 9, 8, 7]);
        socket.send_to(&answer, from).unwrap();
        let (length, from) = socket.recv_from(&mut bytes).unwrap();
        let mut wrong = bytes[..length].to_vec();
        (wrong[0], wrong[2]) = (wrong[0] ^ 1, 0x81);
        socket.send_to(&wrong, from).unwrap();
    });
    let question = json!([{"dns": {"name": "www.example.com", "expect": ["vm"], "at": "vm", "port": port}}]);
    assert_eq!(asked(question.clone()), [Seen::Records { code: "NoError".into(), values: vec!["10.9.8.7".into()] }]);
    assert!(matches!(&asked(question)[..], [Seen::No(_)]), "an answer to another question");
}

#[test]
fn a_resolver_of_the_network_that_is_silent_says_nothing_of_the_vm() {
    let silent = UdpSocket::bind((HERE, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let ask_at = |at: &str| json!([{"dns": {"name": "a.b", "expect": ["vm"], "at": at, "port": port}}]);
    assert!(matches!(&asked(ask_at("network"))[..], [Seen::Unseen(_)]));
    assert!(matches!(&asked(ask_at("vm"))[..], [Seen::No(_)]));
}

#[test]
fn bytes_that_are_no_answer_are_none() {
    for bytes in [&[][..], &[0; 12], &[0xff; 40]] {
        answer_of(bytes, Record::A).unwrap_err();
        certificate_of(bytes).unwrap_err();
    }
}
