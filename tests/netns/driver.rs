//! The other end of the tests: small jobs that must run as a process of their own, in namespaces or as
//! a user that the test is not. The test starts this same program again with a job in its environment.

use crate::at_hand::block_on;
use boma_qemu::ansible::command::outer_environment;
use boma_qemu::ansible::inventory::Inline;
use boma_qemu::ansible::run::{Applied, Runner};
use boma_qemu::ansible::{AnsibleError, Connection, Controller, Folder, UserVars, guard};
use boma_qemu::jobs::ttl;
use boma_qemu::profile::Apply;
use camino::{Utf8Path, Utf8PathBuf};
use host::deadline::sleep_until_boottime;
use host::dirs::Dirs;
use host::failure::Failure;
use host::ledger::{Change, Ledger, folder};
use host::names::IfName;
use nix::libc;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, sockopt::BindToDevice};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self as unix, UnixListener};
use std::path::PathBuf;
use std::time::Duration;
use vm::forward;
use vm::machine::VmDir;
use vm::network::confine::{Confinement, without_a_network};
use vm::network::{self, Egress, NetPlan};

/// Where a job is, as JSON.
pub(crate) const JOB: &str = "BOMA_NETNS_JOB";

/// Something to do in another process.
#[derive(Serialize, Deserialize)]
pub(crate) enum Job {
    /// Start the network; says how to enter it.
    Ensure { exe: Utf8PathBuf, state: Utf8PathBuf, plan: Box<NetPlan> },
    /// Remove the network; says what is left.
    Release { state: Utf8PathBuf, name: IfName },
    /// Cut the guest off, or give back what it had.
    Egress { state: Utf8PathBuf, name: IfName, egress: Egress },
    /// Put more out of reach; says what is new.
    Forbid { state: Utf8PathBuf, name: IfName, never: BTreeMap<String, Vec<IpAddr>> },
    /// Say the prefix that confines a command to a network that is up.
    Confine { state: Utf8PathBuf, name: IfName, folder: Utf8PathBuf, allowed: Confinement },
    /// Say the one that confines a command before there is a network.
    ConfineAlone { exe: Utf8PathBuf, folder: Utf8PathBuf, allowed: Confinement },
    /// Open the tap, drop everything, hold it until standard input ends.
    Tap { tap: IfName, bridge: IfName },
    /// Answer "hello" on a TCP port of every address until killed.
    Serve { port: u16 },
    /// Listen on Unix sockets, bound under one name and renamed to another, as ssh does.
    Sockets { paths: Vec<(PathBuf, PathBuf)> },
    /// Send Ethernet frames as they are.
    Frames { device: String, frames: Vec<Vec<u8>> },
    /// Ask for an address; says it.
    Dhcp { device: String, mac: String },
    /// Listen on Unix sockets as somebody who has the host's network: who connects causes a connection
    /// to `target`. A name that begins with `@` is an abstract one.
    Lure { names: Vec<String>, target: SocketAddr },
    /// Write three changes to a ledger, on a disk that is full in the middle of the second.
    HalfLine { ledger: Utf8PathBuf },
    /// Answer, on a TCP port of every address, what a client has said when it has said all, until killed.
    Echo { port: u16 },
    /// Sleep until a time of CLOCK_BOOTTIME.
    Sleep { until: f64 },
    /// Forward a port or a socket of this host to a VM whose folder is there; says where it listens.
    Forward { exe: Utf8PathBuf, state: Utf8PathBuf, name: IfName, vm: Ipv4Addr, ports: String, expose: bool },
    /// Make a VM's folder with its ledger, and let the VM be removed after some time.
    Ttl { exe: Utf8PathBuf, state: Utf8PathBuf, seconds: u64 },
    /// Run a playbook on the VM as a cycle does; says how many tasks ran there, or what went wrong.
    Play(Box<Play>),
}

/// A playbook and all that it takes to run it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Play {
    pub(crate) state: Utf8PathBuf,
    pub(crate) name: IfName,
    pub(crate) vm: Ipv4Addr,
    /// The folder of the keys to the VM.
    pub(crate) keys: Utf8PathBuf,
    pub(crate) repo: Utf8PathBuf,
    /// The folder of Ansible's programs.
    pub(crate) bin: Option<Utf8PathBuf>,
    /// What else it reads below a masked folder.
    pub(crate) visible: Vec<Utf8PathBuf>,
    pub(crate) playbook: Utf8PathBuf,
    pub(crate) user: Vec<UserVars>,
    /// What the guard is to look at first.
    pub(crate) guarded: Vec<Utf8PathBuf>,
    pub(crate) log: Utf8PathBuf,
}

impl Play {
    /// The same calls, in the same order, as `jobs::apply` makes.
    fn run(self) -> Result<usize, String> {
        let controller = Controller {
            host: "askari".parse().unwrap(),
            inventory: self.repo.join("inventories/production/offsite.yml"),
            groups: vec!["offsite_hosts".into()],
            overlays: Vec::new(),
            user: self.user,
            private: None,
            folder: Folder::at(self.state.join("vms/askari/ansible")),
            bin: self.bin,
            outer: outer_environment(),
            repo: self.repo,
        };
        let connection = Connection {
            host: controller.host.clone(),
            address: self.vm,
            port: 22,
            user: "root".into(),
            key: self.keys.join("id_ed25519"),
            known_hosts: self.keys.join("known_hosts"),
        };
        controller.write_folder(&connection, &Inline::default()).unwrap();
        let visible = [controller.reads(), self.visible].concat();
        let network = network::open(&dirs(self.state), &self.name).unwrap().unwrap();
        let allowed =
            Confinement { keep_sockets: Vec::new(), visible, writable: vec![controller.repo.clone()], stdin: false };
        let prefix = network.confine(controller.folder.path(), &allowed).unwrap();
        let failed = |error: AnsibleError| Failure::from(error).to_string();
        if !self.guarded.is_empty() {
            let entry = |playbook: &Utf8PathBuf| Apply { playbook: playbook.clone(), tags: Vec::new() };
            let runs: Vec<_> = self.guarded.iter().map(|playbook| controller.apply(&entry(playbook))).collect();
            guard::check(&controller, &connection, &runs, &prefix).map_err(failed)?;
        }
        let limit = Duration::from_secs(600);
        let runner = Runner { controller: &controller, address: self.vm, prefix: &prefix, log: &self.log, limit };
        let apply = Apply { playbook: self.playbook, tags: Vec::new() };
        block_on(runner.apply(&apply, &mut |_| {}))
            .and_then(Applied::passed)
            .map(|outcome| outcome.tasks)
            .map_err(failed)
    }
}

/// How to enter a network.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ways {
    pub(crate) enter: Vec<String>,
    pub(crate) enter_net_admin: Vec<String>,
    pub(crate) milliseconds: u128,
}

/// The line that a job's answer stands on.
pub(crate) const ANSWER: &str = "ANSWER ";

pub(crate) fn main(job: Job) {
    match job {
        Job::Ensure { exe, state, plan } => {
            let start = std::time::Instant::now();
            let network = network::ensure_as(&exe, &dirs(state), &plan).map_err(Failure::from);
            answer(&network.map(|network| Ways {
                enter: network.enter(),
                enter_net_admin: network.enter_net_admin(),
                milliseconds: start.elapsed().as_millis(),
            }));
        }
        Job::Release { state, name } => answer(&network::release(&dirs(state), &name).unwrap()),
        Job::Egress { state, name, egress } => {
            let mut network = network::open(&dirs(state), &name).unwrap().unwrap();
            answer(&network.set_egress(egress).map_err(|error| Failure::from(error).to_string()));
        }
        Job::Forbid { state, name, never } => {
            let mut network = network::open(&dirs(state), &name).unwrap().unwrap();
            answer(&network.forbid(&never).map_err(|error| Failure::from(error).to_string()));
        }
        Job::Confine { state, name, folder, allowed } => {
            let network = network::open(&dirs(state), &name).unwrap().unwrap();
            answer(&network.confine(&folder, &allowed).unwrap());
        }
        Job::ConfineAlone { exe, folder, allowed } => {
            answer(&without_a_network(&exe, &folder, &allowed).unwrap());
        }
        Job::Tap { tap, bridge } => {
            let _tap = network::tap::open(&tap, &bridge).unwrap();
            answer(&());
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        }
        Job::Serve { port } => {
            let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
            answer(&());
            for stream in listener.incoming() {
                let _ = stream.and_then(|mut stream| stream.write_all(b"hello\n"));
            }
        }
        Job::Sleep { until } => answer(&sleep_until_boottime(until).unwrap()),
        Job::Echo { port } => echo(port),
        Job::Forward { exe, state, name, vm, ports, expose } => {
            let dirs = dirs(state);
            let network = network::open(&dirs, &name).unwrap().unwrap();
            let folder = VmDir::of(&dirs, &"askari".parse().unwrap());
            let spec = match ports.split_once("=") {
                Some((path, port)) => forward::Spec::socket(path.into(), port).unwrap(),
                None => ports.parse().unwrap(),
            };
            let started = forward::start(&exe, &network.enter(), &folder, vm, &spec, expose);
            answer(&started.map_err(|failure| failure.to_string()));
        }
        Job::Sockets { paths } => {
            let sockets: Vec<_> = paths
                .iter()
                .map(|(first, then)| {
                    let listener = UnixListener::bind(first).unwrap();
                    std::fs::rename(first, then).unwrap();
                    listener
                })
                .collect();
            answer(&());
            std::thread::park();
            drop(sockets);
        }
        Job::Ttl { exe, state, seconds } => answer(&forget(&exe, state, seconds)),
        Job::Frames { device, frames } => {
            send(&device, &frames);
            answer(&());
        }
        Job::Dhcp { device, mac } => answer(&dhcp(&device, &mac)),
        Job::Lure { names, target } => lure(&names, target),
        Job::HalfLine { ledger } => {
            half_line(&ledger);
            answer(&());
        }
        Job::Play(play) => answer(&play.run()),
    }
}

fn send(device: &str, frames: &[Vec<u8>]) {
    let flags = SockFlag::SOCK_CLOEXEC;
    let packets = socket::socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap();
    let to = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET.try_into().unwrap(),
        sll_protocol: u16::try_from(libc::ETH_P_ALL).unwrap().to_be(),
        sll_ifindex: nix::net::if_::if_nametoindex(device).unwrap().cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of_val(&to).try_into().unwrap();
    // SAFETY: the address lives for the call, and its length is its own.
    let bound = unsafe { libc::bind(packets.as_raw_fd(), (&raw const to).cast(), length) };
    assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
    for frame in frames {
        assert_eq!(nix::unistd::write(&packets, frame), Ok(frame.len()));
    }
}

fn half_line(path: &Utf8Path) {
    let mut ledger = Ledger::open(path).unwrap();
    let mut adopt = |name: &str| ledger.adopt(Change::Folder { path: format!("/nonexistent/{name}").into() });
    adopt("first").unwrap();
    // SAFETY: to ignore a signal touches nothing.
    unsafe { nix::libc::signal(nix::libc::SIGXFSZ, nix::libc::SIG_IGN) };
    let full = std::fs::metadata(path).unwrap().len() + 20;
    let limit = |soft| setrlimit(Resource::RLIMIT_FSIZE, soft, RLIM_INFINITY).unwrap();
    limit(full);
    assert!(adopt("second").is_err());
    limit(RLIM_INFINITY);
    adopt("third").unwrap();
}

fn echo(port: u16) {
    let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
    answer(&());
    for mut stream in listener.incoming().map_while(Result::ok) {
        std::thread::spawn(move || {
            let mut said = Vec::new();
            stream.read_to_end(&mut said).and_then(|_| stream.write_all(&said))
        });
    }
}

/// As `up` does it.
fn forget(exe: &Utf8Path, state: Utf8PathBuf, seconds: u64) {
    let (dirs, host) = (dirs(state), "askari".parse().unwrap());
    let vm = VmDir::of(&dirs, &host);
    drop(folder::make(vm.path()).unwrap());
    let name = "boma-it-askari-0000".parse().unwrap();
    ttl::start(exe, &dirs, &host, &name, Duration::from_secs(seconds)).unwrap();
}

fn lure(names: &[String], target: SocketAddr) {
    for name in names {
        let address = match name.strip_prefix('@') {
            Some(name) => unix::SocketAddr::from_abstract_name(name),
            None => unix::SocketAddr::from_pathname(name),
        };
        let listener = UnixListener::bind_addr(&address.unwrap()).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // The connection itself is what counts.
                let _ = TcpStream::connect_timeout(&target, Duration::from_secs(2));
                drop(stream);
            }
        });
    }
    answer(&());
    std::thread::park();
}

fn answer(value: &impl Serialize) {
    // On a line of its own: the test harness writes to standard output, too.
    println!("\n{ANSWER}{}", serde_json::to_string(value).unwrap());
    #[allow(clippy::disallowed_methods, reason = "nothing is printed")]
    std::io::stdout().flush().unwrap();
}

fn dirs(state: Utf8PathBuf) -> Dirs {
    let none = Utf8Path::new("/nonexistent").to_owned();
    Dirs { root: none.clone(), state, cache: none.clone(), runs: none }
}

/// DISCOVER, OFFER, REQUEST, ACK (RFC 2131): the address, and the router and resolver that came with it.
fn dhcp(device: &str, mac: &str) -> (String, String, String) {
    let socket = UdpSocket::bind(("0.0.0.0", 68)).unwrap();
    setsockopt(&socket, BindToDevice, &device.into()).unwrap();
    socket.set_broadcast(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mac: Vec<u8> = mac.split(':').map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    let exchange = |options: &[u8], expected: u8| {
        let mut packet = vec![0_u8; 236];
        packet[..4].copy_from_slice(&[1, 1, 6, 0]);
        packet[4..8].copy_from_slice(&[7, 7, 7, 7]);
        packet[10] = 0x80; // the answer is to be broadcast: there is no address yet
        packet[28..34].copy_from_slice(&mac);
        packet.extend([99, 130, 83, 99]);
        packet.extend(options);
        packet.push(255);
        let mut answer = vec![0_u8; 1500];
        // As any client, it asks again: a cable that was just plugged in loses packets.
        let mut asked = (0..6).filter_map(|_| {
            socket.send_to(&packet, ("255.255.255.255", 67)).unwrap();
            // A second answer to the question before may still come.
            let wanted = |answer: &[u8]| option(answer, 53) == Some(&[expected]);
            std::iter::from_fn(|| socket.recv(&mut answer).ok().map(|n| (n, wanted(&answer[..n])))).find(|got| got.1)
        });
        let (length, _) = asked.next().unwrap_or_else(|| panic!("no answer from the DHCP server"));
        answer.truncate(length);
        answer
    };
    let ip = |bytes: &[u8]| format!("{}.{}.{}.{}", bytes[0], bytes[1], bytes[2], bytes[3]);
    let offer = exchange(&[53, 1, 1], 2);
    let server = option(&offer, 54).unwrap();
    let mut request = vec![53, 1, 3, 50, 4];
    request.extend(&offer[16..20]);
    request.extend([54, 4]);
    request.extend(server);
    request.extend([55, 2, 3, 6]);
    let ack = exchange(&request, 5);
    (ip(&ack[16..20]), ip(option(&ack, 3).unwrap()), ip(option(&ack, 6).unwrap()))
}

fn option(packet: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = packet.get(240..)?;
    while let [code, length, tail @ ..] = rest {
        let value = tail.get(..usize::from(*length))?;
        if *code == wanted {
            return Some(value);
        }
        rest = &tail[value.len()..];
    }
    None
}
