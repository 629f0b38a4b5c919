//! `@look`: questions that are asked from the controller's side of a VM's network. It is started inside of that network's
//! namespace, from where only the VM and the network's resolver can be reached; it reads its questions on standard input, asks
//! all of them at once, each once, and writes what it saw as one line of JSON.
//!
//! Fuzzed as `checks`.

mod dns;
mod http;
mod tls;

use super::probe::{Probe, Server};
use host::deadline::Deadline;
use host::failure::{Exit, Failure};
use host::handshake;
use host::presence::ignore;
use host::print;
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// The hidden subcommand's name.
pub const NAME: &str = "@look";

/// How much of a body is read, in bytes.
const MOST: u64 = 1 << 20;

/// How much longer than its time an answer is waited for: each ends by itself, but for one that comes byte by byte.
const SPARE: Duration = Duration::from_millis(500);

/// What is asked in one go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The VM's address.
    pub vm: Ipv4Addr,
    /// The resolver of the VM's network.
    pub resolver: Ipv4Addr,
    /// How long each may take, in milliseconds.
    pub limit_ms: u64,
    /// The questions.
    pub probes: Vec<Probe>,
}

/// What was seen of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Seen {
    /// What a TCP port did.
    Port(Reaction),
    /// The answer of an HTTP server.
    Answer {
        /// Its status.
        status: u16,
        /// The beginning of its body.
        body: String,
    },
    /// The certificate of a TLS server.
    Certificate {
        /// Its issuer, as RFC 4514 writes it.
        issuer: String,
        /// Host names and addresses that it is for.
        names: Vec<String>,
        /// When it ends, in seconds since 1970.
        not_after: u64,
        /// When it begins, in the same.
        not_before: u64,
        /// It and what the server sent along, in base64 of DER.
        #[serde(default)]
        chain: Vec<String>,
    },
    /// The answer of a name server.
    Records {
        /// Its response code (`NoError`, `NameError`).
        code: String,
        /// The records of the type that was asked for.
        values: Vec<String>,
    },
    /// The VM gave no such answer, and how it did not.
    No(String),
    /// It could not be asked, and why.
    Unseen(String),
}

/// What a TCP port did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reaction {
    /// It accepted the connection.
    Accepted,
    /// It refused.
    Refused,
    /// Nothing came back.
    Silent,
    /// The way there ended with an error (nobody has the address, a filter said no).
    Error(String),
}

/// The hidden subcommand: `@look`, questions on standard input.
pub fn main(_: &[String]) -> ExitCode {
    handshake::end(NAME, run())
}

fn run() -> Result<(), Failure> {
    let bad = |error: String| Failure::new(Exit::Bug, format!("{NAME} cannot read its questions: {error}"));
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| bad(error.to_string()))?;
    let asked: Asked = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    print::exact(&ask(&asked)).map_err(|error| Failure::new(Exit::Host, format!("{NAME} cannot answer: {error}")))
}

/// Ask all at once; what was seen, in their order. What drips in slowly ends, too.
pub fn ask(asked: &Asked) -> Vec<Seen> {
    let limit = Duration::from_millis(asked.limit_ms);
    let deadline = Deadline::after(limit + SPARE);
    let all: Vec<_> = asked.probes.iter().map(|probe| begin(asked.clone(), probe.clone())).collect();
    let seen = all.into_iter().map(|answer| match answer.recv_timeout(deadline.left()) {
        Ok(seen) => seen,
        Err(RecvTimeoutError::Timeout) => Seen::No(format!("no whole answer within {} s", limit.as_secs_f64())),
        Err(RecvTimeoutError::Disconnected) => Seen::Unseen("the question broke off".to_owned()),
    });
    seen.collect()
}

fn begin(asked: Asked, probe: Probe) -> Receiver<Seen> {
    let (answers, answer) = channel();
    std::thread::spawn(move || ignore(answers.send(one(&asked, &probe)), "the time was over before"));
    answer
}

fn one(asked: &Asked, probe: &Probe) -> Seen {
    let limit = Duration::from_millis(asked.limit_ms);
    let at = |port: u16| SocketAddr::from((asked.vm, port));
    match probe {
        Probe::Tcp { port, .. } => Seen::Port(port_at(at(*port), limit)),
        Probe::Http { port, tls, path, host, .. } => {
            let port = port.unwrap_or(if *tls { 443 } else { 80 });
            http::get(at(port), *tls, host.as_deref(), path, limit)
        }
        Probe::Tls { port, server_name, .. } => tls::certificate(at(*port), server_name, limit),
        Probe::Dns { name, record, at: server, port, .. } => match server {
            Server::Vm => dns::ask(at(*port), name, *record, limit).unwrap_or_else(Seen::No),
            // Nobody of the VM's is asked there: a resolver that is silent says nothing of the VM.
            Server::Network => {
                let resolver = SocketAddr::from((asked.resolver, *port));
                dns::ask(resolver, name, *record, limit).unwrap_or_else(Seen::Unseen)
            }
        },
        inside => Seen::Unseen(format!("{} is asked in the guest", inside.name())),
    }
}

fn port_at(to: SocketAddr, limit: Duration) -> Reaction {
    match TcpStream::connect_timeout(&to, limit) {
        Ok(_) => Reaction::Accepted,
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Reaction::Refused,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Reaction::Silent,
            _ => Reaction::Error(error.to_string()),
        },
    }
}

/// A connection, and each wait on it bounded.
fn connect(to: SocketAddr, limit: Duration) -> Result<TcpStream, String> {
    let stream = TcpStream::connect_timeout(&to, limit).map_err(|error| format!("cannot connect to {to}: {error}"))?;
    let set = stream.set_read_timeout(Some(limit)).and_then(|()| stream.set_write_timeout(Some(limit)));
    set.map(|()| stream).map_err(|error| format!("cannot use the connection to {to}: {error}"))
}

/// The records of a name at a name server.
///
/// # Errors
/// Why there is no answer.
pub fn records(server: SocketAddr, name: &str, record: super::probe::Record, limit: Duration) -> Result<Seen, String> {
    dns::ask(server, name, record, limit)
}

/// A name server's answer to a query, as [`ask`] reads it; for trying it with any bytes.
pub fn answer_of(bytes: &[u8], record: super::probe::Record) -> Result<Seen, String> {
    dns::read(bytes, None, record)
}

/// A certificate, as [`ask`] reads it; for trying it with any bytes.
pub fn certificate_of(der: &[u8]) -> Result<Seen, String> {
    tls::read(&[der.into()])
}

#[cfg(test)]
#[path = "../network_tests.rs"]
mod tests;
