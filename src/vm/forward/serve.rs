//! `@forward`: what carries the bytes.

use super::owner::{OwnerError, Owners};
use super::{Admits, Forwarded, Listen, NAME, file, remove};
use crate::machine::VmDir;
use host::dirs::write_private;
use host::failure::{Exit, Failure, with_causes};
use host::handshake;
use host::ledger::{Change, Ledger};
use host::presence::ignore;
use host::print;
use host::process::ProcessId;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::{AsFd, RawFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// How long the VM may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Connections at once. More wait until one ends; each takes two of the usual 1024 descriptors.
const MOST: usize = 480;
/// How often it looks whether the VM is still there.
const LOOK: Duration = Duration::from_secs(1);

/// What it is told to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    pub(super) listen: Listen,
    admits: Admits,
    to: SocketAddr,
    /// The descriptor of [`Owners`], where it has to ask.
    pub(super) owners: Option<RawFd>,
}

impl Order {
    pub(super) fn new(listen: Listen, admits: Admits, to: SocketAddr) -> Self {
        Self { listen, admits, to, owners: None }
    }

    /// Whether each connection is asked whose it is. A Unix socket's are not: its file is the owner's alone.
    pub(super) fn asks(&self) -> bool {
        matches!((&self.listen, self.admits), (Listen::Tcp(_), Admits::User(_)))
    }

    pub(super) fn text(&self) -> String {
        // Plain data with string keys: serialising it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The hidden subcommand: `@forward FOLDER ORDER`, with the listener as standard input.
pub fn main(args: &[String]) -> ExitCode {
    handshake::end(NAME, run(args))
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::new(Exit::Host, format!("cannot {what}: {error}"))
}

fn run(args: &[String]) -> Result<(), Failure> {
    let bug = || Failure::new(Exit::Bug, format!("{NAME} takes a folder and an order"));
    let [folder, order] = args else { return Err(bug()) };
    let (vm, order) = (VmDir::at(folder.as_str()), serde_json::from_str::<Order>(order).map_err(|_| bug())?);
    // 1. Away from the terminal, and bound to the starter until the ledger has our name.
    ignore(rustix::process::setsid(), "only a session's leader cannot, and has its own");
    let bind = |signal| set_parent_process_death_signal(signal).map_err(|e| io("be bound to the starter")(e.into()));
    bind(Some(Signal::KILL))?;
    if handshake::abandoned() {
        return Err(Failure::new(Exit::Interrupted, "whoever started it is gone"));
    }
    let process = ProcessId::own();
    Ledger::open(&vm.ledger())?.adopt(Change::Process { role: "forwarder".into(), id: process })?;
    bind(None)?;
    // 2. The listener, which is the host's.
    let door = Door::of(&order)?;
    let forwarded = Forwarded { listen: order.listen.clone(), admits: order.admits, to: order.to, process };
    write_private(&file(&vm, process), serde_json::to_vec(&forwarded).unwrap_or_default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io("start"))?;
    let done = runtime.block_on(async {
        let listener = Listener::of(&order.listen).map_err(io("use its listener"))?;
        handshake::ready(&forwarded).map_err(io("tell that it is ready"))?;
        // The starter reads to the line's end only; nobody else is to wait for the pipe.
        rustix::stdio::dup2_stdout(rustix::stdio::stderr()).map_err(|e| io("let go of the starter")(e.into()))?;
        tokio::select! {
            () = serve(listener, door, order.to) => {}
            () = gone(&vm) => {}
        }
        Ok(())
    });
    // 3. Its file goes with the socket; our own copy of that is standard input.
    if let Ok(null) = std::fs::File::open("/dev/null") {
        ignore(rustix::stdio::dup2_stdin(null), "then the file stays for the ledger");
    }
    remove(&order.listen);
    done
}

async fn gone(vm: &VmDir) {
    while vm.is_alive() {
        sleep(LOOK).await;
    }
}

/// Who is let in by TCP.
struct Door {
    /// The uid, and whom to ask; none where everybody is, or the file system has decided.
    only: Option<(u32, Owners)>,
    /// Who was sent away: each is told once.
    told: BTreeSet<Option<u32>>,
}

impl Door {
    fn of(order: &Order) -> Result<Self, Failure> {
        let only = match (order.asks(), order.admits, order.owners) {
            (true, Admits::User(uid), Some(fd)) => {
                // The starter has left this descriptor open for us.
                let fd = host::sys::inherited(fd).map_err(io("ask whose a connection is"))?;
                Some((uid, Owners::of(fd).map_err(io("ask whose a connection is"))?))
            }
            (false, ..) => None,
            // Nobody is let in unasked.
            (true, ..) => return Err(Failure::new(Exit::Bug, format!("{NAME} has no socket to ask for owners with"))),
        };
        Ok(Self { only, told: BTreeSet::new() })
    }

    /// Whether this client is let in: who cannot be named is not.
    fn admits(&mut self, stream: &TcpStream) -> bool {
        let Some((uid, owners)) = &self.only else { return true };
        let owner = match (stream.peer_addr(), stream.local_addr()) {
            (Ok(SocketAddr::V4(client)), Ok(SocketAddr::V4(server))) => owners.of_client(client, server),
            (Err(error), _) | (_, Err(error)) => Err(error.into()),
            _ => Err(OwnerError::Unknown),
        };
        let admitted = matches!(owner, Ok(owner) if owner == *uid);
        if !admitted && self.told.insert(owner.as_ref().ok().copied()) {
            match owner {
                Ok(owner) => print::err(&format!("refused a connection of uid {owner}: this is for uid {uid} only")),
                Err(error) => print::err(&format!("refused a connection: {}", with_causes(&error))),
            }
        }
        admitted
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Standard input.
    fn of(listen: &Listen) -> std::io::Result<Self> {
        let fd = std::io::stdin().as_fd().try_clone_to_owned()?;
        Ok(match listen {
            Listen::Tcp(_) => {
                let listener = std::net::TcpListener::from(fd);
                listener.set_nonblocking(true)?;
                Self::Tcp(TcpListener::from_std(listener)?)
            }
            Listen::Unix(_) => {
                let listener = std::os::unix::net::UnixListener::from(fd);
                listener.set_nonblocking(true)?;
                Self::Unix(UnixListener::from_std(listener)?)
            }
        })
    }
}

async fn serve(listener: Listener, mut door: Door, to: SocketAddr) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(client, _)| match door.admits(&client) {
                true => {
                    tokio::spawn(async move {
                        carry_tcp(client, to).await;
                        drop(place);
                    });
                }
                false => refuse(&client),
            }),
            Listener::Unix(listener) => listener.accept().await.map(|(mut client, _)| {
                tokio::spawn(async move {
                    carry(&mut client, to).await;
                    drop(place);
                });
            }),
        };
        // Out of descriptors, say: that passes when a connection ends.
        if accepted.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn carry_tcp(mut client: TcpStream, to: SocketAddr) {
    ignore(client.set_nodelay(true), "it is slower without");
    // Refused or silent there: refused here.
    if !carry(&mut client, to).await {
        refuse(&client);
    }
}

/// As far as one can after having accepted: it breaks when it is dropped.
fn refuse(client: &TcpStream) {
    ignore(client.set_zero_linger(), "then it ends in silence");
}

/// Both ways, until both have ended: one side's end of file is the other's, and the way back stays open. Whether the VM
/// has accepted.
async fn carry(client: &mut (impl AsyncRead + AsyncWrite + Unpin), to: SocketAddr) -> bool {
    let Ok(Ok(mut vm)) = timeout(CONNECT_LIMIT, TcpStream::connect(to)).await else { return false };
    ignore(vm.set_nodelay(true), "it is slower without");
    let carried = tokio::io::copy_bidirectional(client, &mut vm).await;
    ignore(carried, "a side that breaks off ends the other by being dropped");
    true
}
