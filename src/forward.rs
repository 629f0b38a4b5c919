//! `forward`: a TCP port of this host's loopback that leads to a port of the VM, through the network's namespaces.
//!
//! A socket belongs to the network namespace that it was made in, wherever its process goes. So the listener is made
//! here, on the host, and handed as standard input to `@forward`, which stands in the network: what it accepts comes
//! from the host, what it connects to is the VM. It is in the VM's ledger, and ends by itself with the VM's monitor.

use crate::failure::{Blame, Exit, Failure};
use crate::host::deadline::Deadline;
use crate::host::dirs::{DirError, make_private, names_in, write_private};
use crate::host::ledger::{Change, Ledger};
use crate::host::presence::ignore;
use crate::host::process::{EndError, ProcessId, inherit_little};
use crate::machine::VmDir;
use crate::network::handshake::{self, Silence};
use camino::Utf8Path;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, ExitCode, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// The hidden subcommand's name.
pub const NAME: &str = "@forward";

/// How long `@forward` may take to be ready; measured: 20 ms.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// How long the VM may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Connections at once. More wait until one ends; each takes two of the usual 1024 descriptors.
const MOST: usize = 480;
/// How often it looks whether the VM is still there.
const LOOK: Duration = Duration::from_secs(1);

/// `[HOST_IP:]HOSTPORT:VMPORT`, as given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Where the host listens; port 0 leaves the choice to the kernel.
    pub listen: SocketAddr,
    /// The VM's port.
    pub port: u16,
}

/// What is forwarded, as it stands in the VM's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forwarded {
    /// Where the host listens.
    pub listen: SocketAddr,
    /// The VM's address and port.
    pub to: SocketAddr,
    /// Who does it.
    pub process: ProcessId,
}

/// Why nothing is forwarded.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// Neither of the forms that are understood.
    #[error("{text:?} is not HOSTPORT:VMPORT or HOST_IP:HOSTPORT:VMPORT with an IPv4 address")]
    Spec {
        /// What was given.
        text: String,
    },
    /// Others than this host could reach the VM.
    #[error("{ip} is not this host's loopback: others could reach the VM there")]
    Exposed {
        /// The address that was asked for.
        ip: IpAddr,
    },
    /// The host's port cannot be had.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The address and port.
        listen: SocketAddr,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The forwarder did not start.
    #[error("the forwarder of {listen} did not start: {why}")]
    Start {
        /// The address and port.
        listen: SocketAddr,
        /// Its own words, or what happened to it.
        why: String,
    },
    /// It was not ended.
    #[error("cannot end what forwards port {port} of this host")]
    Stop {
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: EndError,
    },
    /// Nothing to end.
    #[error("nothing forwards port {port} of this host")]
    None {
        /// The port.
        port: u16,
    },
}

impl Blame for ForwardError {
    fn exit(&self) -> Exit {
        match self {
            Self::Spec { .. } | Self::Exposed { .. } | Self::None { .. } => Exit::Usage,
            Self::Listen { .. } | Self::Start { .. } | Self::Stop { .. } => Exit::Host,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Exposed { .. } => Some("leave the address out, or say --expose if that is what you want".into()),
            Self::Listen { .. } => Some("choose another port; 0 takes a free one".into()),
            Self::None { .. } => Some("`boma-qemu status` lists what is forwarded".into()),
            Self::Stop { .. } => Some("try it as the user who started it".into()),
            Self::Spec { .. } | Self::Start { .. } => None,
        }
    }
}

impl FromStr for Spec {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, ForwardError> {
        let bad = || ForwardError::Spec { text: text.to_owned() };
        let (rest, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let (ip, host_port) = rest.rsplit_once(':').unwrap_or(("127.0.0.1", rest));
        let ip: Ipv4Addr = ip.parse().map_err(|_| bad())?;
        let number = |text: &str| text.parse::<u16>().map_err(|_| bad());
        let (host_port, port) = (number(host_port)?, number(port)?);
        if port == 0 {
            return Err(bad());
        }
        Ok(Self { listen: SocketAddr::from((ip, host_port)), port })
    }
}

impl fmt::Display for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.listen, self.to)
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
    all.sort_by_key(|forwarded| forwarded.listen.port());
    Ok(all)
}

/// Begin to forward to a VM that is up. `enter` is the argv prefix into its network
/// ([`crate::network::Network::enter`]); no [`Ledger`] of the VM is open.
pub fn start(
    exe: &Utf8Path,
    enter: &[String],
    vm: &VmDir,
    vm_ip: Ipv4Addr,
    spec: Spec,
    exposed: bool,
) -> Result<Forwarded, Failure> {
    let ip = spec.listen.ip();
    if !ip.is_loopback() && !exposed {
        return Err(ForwardError::Exposed { ip }.into());
    }
    let failed = |source| ForwardError::Listen { listen: spec.listen, source };
    let listener = StdListener::bind(spec.listen).map_err(failed)?;
    let listen = listener.local_addr().map_err(failed)?;
    make_private(&vm.forwards())?;
    let mut argv = enter.to_vec();
    argv.extend([
        exe.to_string(),
        NAME.into(),
        vm.path().to_string(),
        SocketAddr::from((vm_ip, spec.port)).to_string(),
    ]);
    let start = |why: String| ForwardError::Start { listen, why };
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(vm.path().join("forward.log"));
    let mut command = Command::new(&argv[0]);
    inherit_little(&mut command);
    let mut child = command
        .args(&argv[1..])
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::piped())
        .stderr(log.map_err(|e| start(e.to_string()))?)
        .spawn()
        .map_err(|e| start(e.to_string()))?;
    let heard = child.stdout.as_mut().map(|pipe| handshake::listen::<Forwarded>(pipe, &Deadline::after(READY_LIMIT)));
    let why = match heard {
        Some(Ok(forwarded)) => return Ok(forwarded),
        Some(Err(Silence::Failed(failure))) => failure.to_string(),
        Some(Err(Silence::Late)) => format!("it was not ready within {READY_LIMIT:?}"),
        Some(Err(Silence::Closed)) | None => format!("it ended; see {}", vm.path().join("forward.log")),
    };
    // It is not left behind.
    ignore(child.kill(), "it may have ended by itself");
    ignore(child.wait(), "only the start's own error is of use");
    Err(start(why).into())
}

/// Forward a port of this host no more. Connections through it end.
pub fn stop(vm: &VmDir, port: u16) -> Result<Forwarded, Failure> {
    let found = list(vm)?.into_iter().find(|forwarded| forwarded.listen.port() == port);
    let forwarded = found.ok_or(ForwardError::None { port })?;
    // Its ledger entry stays: what is gone already is what an undo wants.
    forwarded.process.end(Duration::from_secs(2)).map_err(|source| ForwardError::Stop { port, source })?;
    ignore(std::fs::remove_file(file(vm, port)), "a file about a process that is gone lists nothing");
    Ok(forwarded)
}

fn file(vm: &VmDir, port: u16) -> camino::Utf8PathBuf {
    vm.forwards().join(format!("{port}.json"))
}

/// The hidden subcommand: `@forward FOLDER ADDRESS:PORT`, with the listener as standard input.
pub fn main(args: &[String]) -> ExitCode {
    handshake::end(NAME, run(args))
}

fn run(args: &[String]) -> Result<(), Failure> {
    let io = |what: &'static str| move |e: std::io::Error| Failure::new(Exit::Host, format!("cannot {what}: {e}"));
    let bug = || Failure::new(Exit::Bug, format!("{NAME} takes a folder and an address"));
    let [folder, to] = args else { return Err(bug()) };
    let (vm, to) = (VmDir::at(folder.as_str()), to.parse::<SocketAddr>().map_err(|_| bug())?);
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
    let listener = StdListener::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(io("use its listener"))?);
    listener.set_nonblocking(true).map_err(io("use its listener"))?;
    let listen = listener.local_addr().map_err(io("use its listener"))?;
    let forwarded = Forwarded { listen, to, process };
    write_private(&file(&vm, listen.port()), serde_json::to_vec(&forwarded).unwrap_or_default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io("start"))?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).map_err(io("use its listener"))?;
        handshake::ready(&forwarded).map_err(io("tell that it is ready"))?;
        // The starter reads to the line's end only; nobody else is to wait for the pipe.
        rustix::stdio::dup2_stdout(std::io::stderr()).map_err(|e| io("let go of the starter")(e.into()))?;
        tokio::select! {
            () = serve(listener, to) => {}
            () = gone(&vm) => {}
        }
        Ok(())
    })
}

async fn gone(vm: &VmDir) {
    while vm.is_alive() {
        sleep(LOOK).await;
    }
}

async fn serve(listener: TcpListener, to: SocketAddr) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(async move {
                    carry(client, to).await;
                    drop(place);
                });
            }
            // Out of descriptors, say: that passes when a connection ends.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Both ways, until both have ended: one side's end of file is the other's, and the way back stays open.
async fn carry(mut client: TcpStream, to: SocketAddr) {
    match timeout(CONNECT_LIMIT, TcpStream::connect(to)).await {
        Ok(Ok(mut vm)) => {
            ignore(client.set_nodelay(true).and(vm.set_nodelay(true)), "it is slower without");
            let carried = tokio::io::copy_bidirectional(&mut client, &mut vm).await;
            ignore(carried, "a side that breaks off ends the other by being dropped");
        }
        // Refused or silent there: refused here, as far as one can after having accepted.
        _ => drop(client.set_zero_linger()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_two_ports_and_loopback_unless_it_says_more() {
        let parsed = |text: &str| text.parse::<Spec>().map(|spec| (spec.listen.to_string(), spec.port)).ok();
        assert_eq!(parsed("8443:443"), Some(("127.0.0.1:8443".into(), 443)));
        assert_eq!(parsed("0:22"), Some(("127.0.0.1:0".into(), 22)));
        assert_eq!(parsed("127.0.0.9:1:2"), Some(("127.0.0.9:1".into(), 2)));
        for bad in ["", "443", "a:b", "1:0", "70000:1", "::1:1:2", "localhost:1:2", "1:2:3:4", "-1:2", "8443:443 "] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
