//! The network of a VM: bridge, filters, NAT, DHCP and DNS, in namespaces of our own or on the host.
//!
//! One holder process per network (`@net`) keeps everything alive and dies with everything. Commands
//! get into the network through an argv prefix ([`Network::enter`]).
//!
//! Fuzzed as `network`, `lease`.

pub mod address;
pub mod authority;
mod build;
mod caps;
pub mod confine;
mod dir;
pub mod dnsmasq;
mod egress;
pub mod enter;
mod error;
mod forbid;
pub mod holder;
pub mod host_facts;
pub mod keep;
pub mod lease;
mod never;
pub mod nft;
mod part;
pub mod plan;
pub mod tap;
mod watch;

pub use caps::drop_capabilities_of_the_monitor;
pub use dir::NetDir;
pub use error::NetError;
pub use plan::{Egress, Mode, NetFile, NetPlan};

use camino::{Utf8Path, Utf8PathBuf};
use caps::Keep;
use enter::Enter;
use host::dirs::{Dirs, make_private, write_private};
use host::handshake::Silence;
use host::helper::{Helper, NotReady};
use host::ledger::{Change, Leak, Ledger, LedgerError, folder};
use host::lock::Lock;
use host::names::IfName;
use host::presence::{Presence, ignore};
use host::process::{self, ProcessId};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::time::Duration;

/// How long a network may take to be up; measured: 0.1 s.
const LIMIT: Duration = Duration::from_secs(20);
/// How long its holder may take to end when it is asked to; measured: 5 ms.
const HOLDER_GRACE: Duration = Duration::from_secs(2);

/// A network that is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The program that enters it: this one.
    exe: Utf8PathBuf,
    /// Its folder.
    dir: Utf8PathBuf,
    /// The process that holds it.
    holder: ProcessId,
    /// The namespace holder of the guest side's namespaces; none where that is the host's own network.
    guest: Option<ProcessId>,
    /// The namespace holder of the controller side's network namespace.
    controller: ProcessId,
    /// What it was made from.
    plan: NetPlan,
    /// Whether the guest has been cut off since.
    #[serde(default)]
    cut: bool,
}

impl Network {
    /// Argv prefix that runs a command in the network, without capabilities; empty in host mode.
    pub fn enter(&self) -> Vec<String> {
        match self.guest {
            Some(_) => Enter { netns: self.guest, keep: Keep::None, bound: false }.prefix(&self.exe),
            None => Vec::new(),
        }
    }

    /// Argv prefix that runs a command in the network with `CAP_NET_ADMIN` over it and nothing else.
    pub fn enter_net_admin(&self) -> Vec<String> {
        Enter { netns: self.guest, keep: Keep::NetAdmin, bound: false }.prefix(&self.exe)
    }

    /// The same with what a VM's monitor needs besides.
    pub fn enter_as_monitor(&self) -> Vec<String> {
        Enter { netns: self.guest, keep: Keep::Monitor, bound: false }.prefix(&self.exe)
    }

    /// As [`Network::enter`], for a child of this process that must die with it. Never empty.
    pub fn enter_bound(&self) -> Vec<String> {
        Enter { netns: self.guest, keep: Keep::None, bound: true }.prefix(&self.exe)
    }

    /// Argv prefix that runs a command, without capabilities, in the controller's side of the network, from where only the VM and
    /// the network's resolver can be reached; for a child of this process that must die with it.
    pub fn enter_controller(&self) -> Vec<String> {
        Enter { netns: Some(self.controller), keep: Keep::None, bound: true }.prefix(&self.exe)
    }

    /// A line that enters the network from a shell, to look around; none in host mode.
    pub fn enter_by_hand(&self) -> Option<String> {
        let pid = self.guest?.pid;
        Some(format!("nsenter --target {pid} --user --net --preserve-credentials"))
    }

    /// The network namespace that it is in, as the kernel names it (`net:[4026532600]`); the host's in host mode.
    pub fn namespace(&self) -> Option<String> {
        let netns = self.guest.unwrap_or(self.holder).pid;
        std::fs::read_link(format!("/proc/{netns}/ns/net")).ok()?.into_os_string().into_string().ok()
    }

    /// What it was made from, the host's networks included.
    pub fn plan(&self) -> &NetPlan {
        &self.plan
    }

    /// Its folder.
    pub fn dir(&self) -> NetDir {
        NetDir::at(self.dir.clone())
    }

    /// Whether it still works. The error says which part has died, and its last words.
    pub fn check(&self) -> Result<(), NetError> {
        match self.dir().broken_why()? {
            Some(why) => Err(NetError::Broken { why }),
            None => Ok(()),
        }
    }
}

/// The network of this plan, made if it is not up. `exe` is the program that holds and enters it: this one, but in tests,
/// which are another.
pub fn ensure_as(exe: &Utf8Path, dirs: &Dirs, plan: &NetPlan) -> Result<Network, NetError> {
    plan.check()?;
    let dir = NetDir::of(dirs, &plan.name);
    make_private(&NetDir::all(dirs))?;
    let _lock = Lock::take(&dir.lock(), &format!("pid {}, which starts the network", std::process::id()))?;
    if let Some(network) = open(dirs, &plan.name)? {
        let same = NetPlan { host_networks: plan.host_networks.clone(), ..network.plan.clone() } == *plan;
        return if same { Ok(network) } else { Err(NetError::Busy { name: plan.name.clone() }) };
    }
    // What a holder left that died: in host mode the host still has it.
    let leaks = clear(&dir);
    if !leaks.is_empty() {
        let leaks: Vec<_> = leaks.iter().map(|leak| format!("{} ({})", leak.what, leak.why)).collect();
        return Err(NetError::Stale { name: plan.name.clone(), leaks: leaks.join(", ") });
    }
    // The holder goes on with its ledger.
    drop(folder::make(dir.path())?);
    write_private(&dir.plan(), serde_json::to_vec_pretty(plan).unwrap_or_default())?;
    let started = start_holder(exe, &dir).and_then(|()| read_json(&dir.ready()));
    if started.is_err() {
        // What cannot be removed stays in the ledger, for `prune`.
        clear(&dir);
    }
    started
}

/// The network of this name, if it is up. An error if that cannot be seen.
pub fn open(dirs: &Dirs, name: &IfName) -> Result<Option<Network>, NetError> {
    let dir = NetDir::of(dirs, name);
    match dir.presence() {
        Presence::There => {}
        Presence::Gone => return Ok(None),
        Presence::Unknown(why) => return Err(NetError::Unknown { why }),
    }
    match read_json(&dir.ready()) {
        // Its starter died before it was ready.
        Err(NetError::File { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// Remove the network of this name, dead or alive, with all that it brought; what is still there
/// afterwards is named. Its logs go with it: copy them first.
pub fn release(dirs: &Dirs, name: &IfName) -> Result<Vec<Leak>, NetError> {
    let dir = NetDir::of(dirs, name);
    if Presence::of(dir.path()).is_gone() {
        return Ok(Vec::new());
    }
    let _lock = Lock::take(&dir.lock(), &format!("pid {}, which removes the network", std::process::id()))?;
    Ok(clear(&dir))
}

/// Undo a network's ledger, and with it its folder.
fn clear(dir: &NetDir) -> Vec<Leak> {
    if folder::whose(dir.path()) == folder::Whose::Ours {
        ignore(end_holder(dir), "a ledger that cannot be read is told by the undo");
    }
    folder::remove(dir.path())
}

/// End the holder before the undo begins. One whose starter was killed may still be making things, and what it made
/// after its ledger was read would stay.
fn end_holder(dir: &NetDir) -> Result<(), LedgerError> {
    let ledger = Ledger::open(&dir.ledger())?;
    let first = ledger.changes().find_map(|change| match change {
        Change::Process { id, .. } => Some(*id),
        _ => None,
    });
    if let Some(holder) = first {
        ignore(holder.end(HOLDER_GRACE), "if it does not end, the undo says so");
    }
    Ok(())
}

fn start_holder(exe: &Utf8Path, dir: &NetDir) -> Result<(), NetError> {
    let argv = [exe.to_string(), holder::NAME.into(), dir.path().to_string()];
    let started = Helper::new(&argv, dir.holder_log()).heard().start();
    let started = started.map_err(|source| NetError::Start { program: exe.to_string(), source })?;
    // Its children die with it, where it is not ready.
    started.ready::<()>(LIMIT).map_err(|NotReady { silence, log, .. }| match silence {
        Silence::Failed(failure) => NetError::Child { failure },
        Silence::Closed => NetError::Holder { what: "ended without a word", said: part::last_lines(&log) },
        Silence::Late => NetError::Holder { what: "was not ready in time", said: part::last_lines(&log) },
    })
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Utf8Path) -> Result<T, NetError> {
    let text = std::fs::read(path).map_err(|source| NetError::File { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| NetError::Format { path: path.to_owned(), source })
}

/// The path of this program.
fn own_exe() -> Result<Utf8PathBuf, NetError> {
    process::own_exe().map_err(|source| NetError::Start { program: "this program again".into(), source })
}
