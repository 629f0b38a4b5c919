//! `@authority`: what an ACME client meets, on the VM's network: the zone and the API of its provider. The network's holder starts
//! it, with the ACME server itself beside it (Pebble, Let's Encrypt's own test server), whose configuration it writes.
//!
//! No token is written anywhere: who may enter the directory gets it by a socket.
//!
//! Fuzzed as `authority`.

pub mod api;
pub mod dns;
mod own;
mod pebble;
pub mod zone;

use host::dirs::write_private;
use host::failure::{Exit, Failure};
use host::handshake;
use host::presence::ignore;
use host::print;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UdpSocket, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use vm::network::authority::{API_PORT, Authority, AuthorityDir, DNS_PORT, NAME, RESOLVER_PORT};
use zone::Zone;

/// How long one request may take, its connection included.
const REQUEST: Duration = Duration::from_secs(60);
/// How many connections are served at a time.
const CONNECTIONS: usize = 32;
/// How long nothing is accepted after an error.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the token is waited for.
const TOKEN: Duration = Duration::from_secs(5);

/// The hidden subcommand: `@authority DIRECTORY`, where the directory holds its plan.
pub fn main(args: &[String]) -> ExitCode {
    handshake::end(NAME, run(args))
}

/// The token that the API asks for.
///
/// # Errors
/// If nothing answers there.
pub fn token(dir: &AuthorityDir) -> Result<String, Failure> {
    let path = dir.token();
    let read = || {
        let mut socket = UnixStream::connect(&path)?;
        socket.set_read_timeout(Some(TOKEN))?;
        let mut token = String::new();
        socket.read_to_string(&mut token).map(|_| token)
    };
    read().map_err(|error| {
        Failure::new(Exit::Host, format!("cannot get the token of the rehearsal from {path}: {error}"))
    })
}

fn cannot(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Host, format!("the authority cannot {what}: {error}"))
}

fn run(args: &[String]) -> Result<(), Failure> {
    let [dir] = args else { return Err(Failure::new(Exit::Bug, format!("{NAME} takes one directory"))) };
    let dir = AuthorityDir::at(dir.as_str());
    let text = std::fs::read(dir.plan()).map_err(|error| cannot("read its plan", &error))?;
    let plan: Authority = serde_json::from_slice(&text).map_err(|error| cannot("read its plan", &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| cannot("start", &error))?.block_on(serve(&dir, &plan))
}

/// What the servers share.
struct Shared {
    zone: Mutex<Zone>,
    token: String,
}

impl Shared {
    /// The zone; what another left half done when it panicked is a zone all the same.
    fn zone(&self) -> std::sync::MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Everything answers before the ACME server's configuration is written, which is what its start waits for.
async fn serve(dir: &AuthorityDir, plan: &Authority) -> Result<(), Failure> {
    let at = |port: u16| SocketAddr::from((plan.address, port));
    let own = own::make(plan).map_err(|error| cannot("make its certificates", &error))?;
    let tls = TlsAcceptor::from(Arc::new(own.config().map_err(|error| cannot("use its certificates", &error))?));
    let shared = Arc::new(Shared { zone: Mutex::new(Zone::new(&plan.zone, plan.address)), token: random_token() });
    let api = TcpListener::bind(at(API_PORT)).await.map_err(|error| cannot("serve the API", &error))?;
    for port in [DNS_PORT, RESOLVER_PORT] {
        let socket = UdpSocket::bind(at(port)).await.map_err(|error| cannot("serve the zone", &error))?;
        drop(tokio::spawn(answer_names(socket, shared.clone())));
    }
    let tokens = UnixListener::bind(dir.token()).map_err(|error| cannot("hand over its token", &error))?;
    drop(tokio::spawn(hand_over(tokens, shared.clone())));
    own.write(dir)?;
    write_private(&dir.acme_config(), pebble::config(dir, plan.address))?;
    let root = tokio::task::spawn_blocking(pebble::root_getter(&own)).await;
    let root = root.map_err(|error| cannot("ask the ACME server", &error))??;
    write_private(&dir.issuers(), root)?;
    answer_requests(&api, &tls, &shared).await
}

/// Serve the API for ever. A guest that opens one connection after another waits for its own, and ends nothing.
async fn answer_requests(api: &TcpListener, tls: &TlsAcceptor, shared: &Arc<Shared>) -> Result<(), Failure> {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = free.clone().acquire_owned().await.map_err(|error| cannot("serve the API", &error))?;
        // A connection that was given up is one error of many; the listener stays.
        let Ok((stream, from)) = api.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (tls, shared) = (tls.clone(), shared.clone());
        drop(tokio::spawn(async move {
            let answer = async {
                let stream = tls.accept(stream).await.map_err(|error| error.to_string())?;
                let service = hyper::service::service_fn(|request| api::answer(request, &shared));
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connection.await.map_err(|error| error.to_string())
            };
            if let Ok(Err(error)) = tokio::time::timeout(REQUEST, answer).await {
                print::err(&format!("{from}: {error}"));
            }
            drop(permit);
        }));
    }
}

async fn answer_names(socket: UdpSocket, shared: Arc<Shared>) {
    let mut buffer = [0; 4096];
    // An error is of one datagram: a client that has gone away, say.
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let answer = dns::answer(&shared.zone(), &buffer[..length]);
        if let Some(answer) = answer {
            ignore(socket.send_to(&answer, from).await, "who asked asks again");
        }
    }
}

async fn hand_over(tokens: UnixListener, shared: Arc<Shared>) {
    loop {
        let Ok((mut to, _)) = tokens.accept().await else { continue };
        ignore(to.write_all(shared.token.as_bytes()).await, "who goes away does not want it");
    }
}

/// As long as Gandi's own.
fn random_token() -> String {
    format!("{:040x}", u128::from(rand::random::<u64>()) << 64 | u128::from(rand::random::<u64>()))
}
