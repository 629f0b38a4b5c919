//! Why a network could not be made, entered or removed.

use super::address::Cidr;
use super::plan::Egress;
use camino::Utf8PathBuf;
use host::cmd::CmdError;
use host::dirs::DirError;
use host::failure::{Blame, Exit, Failure};
use host::ledger::LedgerError;
use host::lock::LockError;
use host::names::IfName;
use std::net::Ipv4Addr;
use std::time::Duration;

/// What can go wrong with a network.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A setting of the plan contradicts another one.
    #[error("the network plan does not hold: {0}")]
    Plan(String),
    /// A file of the network cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file of the network does not say what it should.
    #[error("cannot understand {path}")]
    Format {
        /// The file.
        path: Utf8PathBuf,
        /// Line, column and reason.
        #[source]
        source: serde_json::Error,
    },
    /// The network's folder cannot be made.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// The network's ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The network's lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// `ip`, `nft` or another short command said no.
    #[error(transparent)]
    Command(CmdError),
    /// /dev/net/tun cannot be opened.
    #[error("cannot open /dev/net/tun, which the VM's tap needs")]
    TunDevice {
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The kernel does not give us the tap.
    #[error("cannot make the tap {tap}")]
    Tap {
        /// Its name.
        tap: IfName,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Capabilities could not be changed.
    #[error("cannot {what}")]
    Capabilities {
        /// What was tried.
        what: &'static str,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A namespace could not be made.
    #[error("cannot make {what}")]
    Namespace {
        /// Which one.
        what: &'static str,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Something could not be mounted where it hides what must not be seen.
    #[error("cannot mount over {path}")]
    Mount {
        /// Where.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A folder could not be shown to a confined command.
    #[error("cannot show {path} through overlayfs")]
    Overlay {
        /// The folder.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A socket answered through overlayfs.
    #[error("this kernel's overlayfs leads to the sockets of the host")]
    Reached,
    /// A confined command could not be given a root of its own.
    #[error("cannot change the root of the file system")]
    Pivot {
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A confined command's system calls could not be filtered.
    #[error("cannot filter system calls")]
    Filter {
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Changes of the host's networks cannot be followed.
    #[error("cannot follow the host's addresses and routes")]
    Watch {
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The names of the never list are no longer followed.
    #[error("what looks up the names of the never list has ended")]
    Unfollowed,
    /// A namespace could not be entered.
    #[error("cannot enter the namespaces of process {pid}, which keeps the network")]
    Enter {
        /// The namespace holder's pid.
        pid: i32,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The process that keeps the network is gone.
    #[error("the network is gone: process {pid}, which held its namespaces, has ended")]
    NetnsGone {
        /// The namespace holder's pid.
        pid: i32,
    },
    /// A hidden subcommand was called with arguments that it does not know.
    #[error("{command} does not understand its arguments: {why}")]
    Arguments {
        /// The hidden subcommand.
        command: &'static str,
        /// What is wrong with them.
        why: String,
    },
    /// A program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: String,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A process of ours failed; its own failure, as it was told.
    #[error("{}", failure.chain.join(": "))]
    Child {
        /// The failure.
        failure: Failure,
    },
    /// The process that was to hold the network said nothing.
    #[error("the network's holder {what}; its log ends with: {said}")]
    Holder {
        /// What it did instead of getting ready.
        what: &'static str,
        /// The end of its log.
        said: String,
    },
    /// The network is up already, as something else.
    #[error("the network {name} is up with another plan")]
    Busy {
        /// Its name.
        name: IfName,
    },
    /// What an earlier network left cannot be removed.
    #[error("an earlier network {name} left something that cannot be removed: {leaks}")]
    Stale {
        /// Its name.
        name: IfName,
        /// What is left, and why.
        leaks: String,
    },
    /// The host has our subnet already.
    #[error("the subnet {subnet} is taken on this host: {other} is routed through {device}")]
    Clash {
        /// Ours.
        subnet: Cidr,
        /// Theirs.
        other: Cidr,
        /// The interface.
        device: String,
    },
    /// Something of our name is on the host that is not in our ledger.
    #[error("the name is taken on this host: there is a {what} that is not ours")]
    Taken {
        /// What there is.
        what: String,
    },
    /// Somebody else answers DNS or DHCP on the bridge's address.
    #[error("port 53 or 67 is taken on the bridge's address {address}; dnsmasq said: {said}")]
    PortBusy {
        /// The bridge's address.
        address: Ipv4Addr,
        /// dnsmasq's own words.
        said: String,
    },
    /// A long-running part ended before it was ready, or while it was needed.
    #[error("{program} ended with {status}; it last said: {said}")]
    Ended {
        /// The program.
        program: &'static str,
        /// How it ended.
        status: String,
        /// The end of its log.
        said: String,
    },
    /// The network was started without a way out: there is nothing to cut, and nothing to open.
    #[error("egress={} makes no sense: the network was started with --egress none", match asked { Egress::Nat => "nat", Egress::None => "none" })]
    NoWayOut {
        /// What was asked for.
        asked: Egress,
    },
    /// The network is up and does not work any more.
    #[error("the network is broken: {why}")]
    Broken {
        /// Which part has died, and its last words.
        why: String,
    },
    /// Whether something is there cannot be seen; then nothing is done that takes it for there or for gone.
    #[error("{why}")]
    Unknown {
        /// What could not be looked at, and why.
        why: String,
    },
    /// A long-running part did not become ready.
    #[error("{program} was not ready after {limit:?}; it last said: {said}")]
    NotReady {
        /// The program.
        program: &'static str,
        /// The time it had.
        limit: Duration,
        /// The end of its log.
        said: String,
    },
}

impl Blame for NetError {
    fn exit(&self) -> Exit {
        match self {
            Self::Plan(_) | Self::Format { .. } => Exit::Usage,
            Self::Arguments { .. } => Exit::Bug,
            Self::Child { failure } => failure.exit,
            Self::Busy { .. } | Self::NoWayOut { .. } => Exit::Usage,
            Self::NetnsGone { .. } | Self::Broken { .. } => Exit::Lost,
            Self::Lock(error) => error.exit(),
            _ => Exit::Host,
        }
    }

    fn next(&self) -> Option<String> {
        let text = match self {
            Self::TunDevice { .. } => {
                "load the module `tun`, and let this user open the device (`chmod 0666 /dev/net/tun`, which is the usual mode)"
            }
            Self::Start { .. } | Self::NotReady { .. } => "run `boma-qemu doctor`; it names the package to install",
            Self::NetnsGone { .. } | Self::Broken { .. } => {
                "`boma-qemu down` removes the VM with what is left of it; then `up` again"
            }
            Self::Namespace { .. } => {
                "allow unprivileged user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
                 kernel.apparmor_restrict_unprivileged_userns); in a container its seccomp profile has to allow them, too \
                 (docker: --security-opt seccomp=unconfined)"
            }
            Self::Overlay { source, .. } => return Some(without_overlay(source)),
            Self::Reached => {
                "no playbook can be confined under this kernel: use one of 5.11 or later as distributions ship it"
            }
            Self::Pivot { .. } => "run it where / is a mount point: not in a chroot, and not in an initial RAM disk",
            Self::Filter { .. } => {
                "the kernel needs CONFIG_SECCOMP_FILTER, and the processor has to be x86_64 or aarch64, running 64-bit programs"
            }
            Self::Mount { path, .. } if path == "/proc" => {
                "/proc is covered in part, as in a container without privileges: let the container's manager leave it as it is \
                 (docker: --security-opt systempaths=unconfined; podman: --security-opt unmask=ALL; LXC: \
                 lxc.mount.auto = proc:rw sys:rw, and nesting.conf), or run outside of it"
            }
            Self::Mount { .. } => {
                "mounting is forbidden here, by a container, AppArmor or SELinux (`dmesg` says by which): run it outside of it, or allow it"
            }
            Self::Capabilities { .. } => "--net host needs CAP_NET_ADMIN: run it as root, or use --net namespace",
            Self::Command(error) => return error.next(),
            Self::Dir(error) => return error.next(),
            Self::Child { failure } => return failure.next.clone(),
            Self::Busy { .. } => "`boma-qemu status` shows whose it is; `down` it first",
            Self::Stale { .. } => "remove by hand what is named, as it says there",
            Self::PortBusy { .. } => {
                "`ss -lntup 'sport = 53 or sport = 67'` names the program; let it listen on its own addresses only, or use --net namespace"
            }
            Self::Clash { .. } => "choose another subnet in net/, or use --net namespace, where it cannot clash",
            Self::Taken { .. } => {
                "if no other run is at work, remove it by hand; else wait, use other names in net/, or use --net namespace"
            }
            Self::NoWayOut { .. } => "`down` the VM and start it with `up --egress nat`",
            Self::Ledger(error) => return error.next(),
            Self::Unknown { .. } => "let this user look at it, or run it as the user who can; then try again",
            _ => return None,
        };
        Some(text.into())
    }
}

/// What overlayfs lacks where it does not show a folder.
fn without_overlay(source: &std::io::Error) -> String {
    let text = match source.raw_os_error().map(nix::errno::Errno::from_raw) {
        Some(nix::errno::Errno::ENODEV) => "the kernel has no overlayfs: `modprobe overlay`, or CONFIG_OVERLAY_FS",
        Some(nix::errno::Errno::EPERM) => {
            "an ordinary user may mount overlayfs from Linux 5.11 on, unless AppArmor or SELinux forbids it; or run it as root"
        }
        _ => {
            "overlayfs takes no folder without regard to case, and none through more than one other overlay;              `dmesg` has its reason: keep what the playbooks need elsewhere"
        }
    };
    text.into()
}
