//! `forward`: a port of this host's loopback, or a Unix socket, that leads to a port of the VM through the network's
//! namespaces.
//!
//! A socket belongs to the network namespace that it was made in, wherever its process goes. So the listener is made
//! here, on the host, and handed as standard input to `@forward`, which stands in the network: what it accepts comes
//! from the host, what it connects to is the VM. It is in the VM's ledger, and ends by itself with the VM's monitor.
//!
//! The loopback is every local user's. So each connection is asked whose it is before the VM hears of it; a Unix socket
//! has the file system's own permissions.
//!
//! Not fuzzed: what is read here is the user's argument, and a file of this program's own; what is forwarded is not
//! read.

mod error;
mod owner;
mod serve;
mod spec;

pub use error::ForwardError;
pub use serve::main;
pub use spec::{Admits, Listen, Spec};

use crate::machine::VmDir;
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{DirError, make_private, names_in};
use host::failure::Failure;
use host::handshake::Silence;
use host::helper::{Helper, NotReady};
use host::ledger::{Change, Ledger};
use host::presence::{Presence, ignore};
use host::process::ProcessId;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::stat::{Mode, fchmod};
use owner::Owners;
use serde::{Deserialize, Serialize};
use serve::Order;
use std::fmt;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// The hidden subcommand's name.
pub const NAME: &str = "@forward";

/// How long `@forward` may take to be ready; measured: 20 ms.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// What is forwarded, as it stands in the VM's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forwarded {
    /// Where the host listens.
    pub listen: Listen,
    /// Who may connect there.
    pub admits: Admits,
    /// The VM's address and port.
    pub to: SocketAddr,
    /// Who does it.
    pub process: ProcessId,
}

impl fmt::Display for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}, for {}", self.listen, self.to, self.admits)
    }
}

/// What is forwarded to a VM now, in the order of the host's ports. A forwarder that cannot be looked at is among them.
pub fn list(vm: &VmDir) -> Result<Vec<Forwarded>, DirError> {
    let folder = vm.forwards();
    let mut all = Vec::new();
    for name in names_in(&folder)?.iter().filter(|name| name.ends_with(".json")) {
        let path = folder.join(name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            // It was ended meanwhile.
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(source) => return Err(DirError::Look { path, source }),
        };
        let read = serde_json::from_slice::<Forwarded>(&bytes);
        all.push(read.map_err(|e| DirError::Look { path, source: e.into() })?);
    }
    all.retain(|forwarded| forwarded.process.is_alive());
    all.sort_by(|a, b| a.listen.cmp(&b.listen));
    Ok(all)
}

/// Begin to forward to a VM that is up. `enter` is the argv prefix into its network
/// ([`crate::network::Network::enter`]); no [`Ledger`] of the VM is open.
pub fn start(
    exe: &Utf8Path,
    enter: &[String],
    vm: &VmDir,
    vm_ip: Ipv4Addr,
    spec: &Spec,
    exposed: bool,
) -> Result<Forwarded, Failure> {
    if let Listen::Tcp(at) = spec.listen
        && !at.ip().is_loopback()
        && !exposed
    {
        return Err(ForwardError::Exposed { ip: at.ip() }.into());
    }
    let admits = match exposed {
        true => Admits::Everybody,
        false => Admits::User(rustix::process::geteuid().as_raw()),
    };
    make_private(&vm.forwards())?;
    let (listener, listen) = listener(vm, &spec.listen)?;
    let started = start_with(exe, enter, vm, listener, Order::new(listen.clone(), admits, (vm_ip, spec.port).into()));
    if started.is_err() {
        remove(&listen);
    }
    started
}

fn start_with(
    exe: &Utf8Path,
    enter: &[String],
    vm: &VmDir,
    listener: OwnedFd,
    mut order: Order,
) -> Result<Forwarded, Failure> {
    let listen = order.listen.clone();
    let start = |why: String| ForwardError::Start { listen: listen.clone(), why };
    let owners = match order.asks() {
        true => Some(Owners::open().map_err(|source| ForwardError::Owners { source })?.into_inner()),
        false => None,
    };
    order.owners = owners.as_ref().map(AsRawFd::as_raw_fd);
    let mut argv = enter.to_vec();
    argv.extend([exe.to_string(), NAME.into(), vm.path().to_string(), order.text()]);
    let helper = Helper::new(&argv, vm.path().join("forward.log")).reading(listener).heard().at_the_root();
    let helper = owners.iter().fold(helper, Helper::keeping);
    let started = helper.start().map_err(|e| start(e.to_string()))?;
    started.ready(READY_LIMIT).map_err(|NotReady { silence, log, .. }| {
        let why = match silence {
            Silence::Failed(failure) => failure.to_string(),
            Silence::Late => format!("it was not ready within {READY_LIMIT:?}"),
            Silence::Closed => format!("it ended; see {log}"),
        };
        start(why).into()
    })
}

/// Listen on the host, and say where that is.
fn listener(vm: &VmDir, at: &Listen) -> Result<(OwnedFd, Listen), Failure> {
    let failed = |source: std::io::Error| ForwardError::Listen { listen: at.clone(), source };
    match at {
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address).map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            Ok((listener.into(), Listen::Tcp(address)))
        }
        Listen::Unix(path) => {
            match Presence::of(path) {
                Presence::Gone => {}
                Presence::There => return Err(failed(ErrorKind::AlreadyExists.into()).into()),
                Presence::Unknown(why) => return Err(failed(std::io::Error::other(why)).into()),
            }
            let listener = Ledger::open(&vm.ledger())?.do_(Change::Socket { path: path.clone() }, || {
                unix_listener(path).map_err(|source| Failure::from(failed(source)))
            })?;
            Ok((listener, at.clone()))
        }
    }
}

/// A Unix socket that only its owner can connect to, from its first moment on: bind(2) takes the file's mode from the
/// socket's own.
fn unix_listener(path: &Utf8Path) -> std::io::Result<OwnedFd> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path.as_std_path())?)?;
    listen(&fd, Backlog::MAXCONN)?;
    Ok(fd)
}

/// Forward no more what listens there: a port of this host, or the path of a socket. Connections through it end.
pub fn stop(vm: &VmDir, at: &str) -> Result<Forwarded, Failure> {
    let found = list(vm)?.into_iter().find(|forwarded| forwarded.listen.is_called(at));
    let forwarded = found.ok_or_else(|| ForwardError::None { at: at.into() })?;
    // Its ledger entries stay: what is gone already is what an undo wants.
    let failed = |source| ForwardError::Stop { listen: forwarded.listen.clone(), source };
    forwarded.process.end(Duration::from_secs(2)).map_err(failed)?;
    remove(&forwarded.listen);
    ignore(std::fs::remove_file(file(vm, forwarded.process)), "a file about a process that is gone lists nothing");
    Ok(forwarded)
}

/// Remove the file of a socket on which nobody listens any more. What cannot be removed is still in the ledger.
fn remove(listen: &Listen) {
    if let Listen::Unix(path) = listen
        && (Change::Socket { path: path.clone() }).presence() == Presence::There
    {
        ignore(std::fs::remove_file(path), "it is in the VM's ledger");
    }
}

fn file(vm: &VmDir, process: ProcessId) -> Utf8PathBuf {
    vm.forwards().join(format!("{}.json", process.pid))
}
