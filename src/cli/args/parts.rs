//! What the commands that start, forward and experiment take, and the commands below `image` and `net`.

use super::choices::FindingsArgs;
use super::examples;
use crate::plan::options::{Certs, Ttl};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use host::names::{HostName, SnapshotName};
use vm::network;
use vm::qemu::accel;
use vm::reboot::Mode;

/// Options of the commands that start or provision a VM.
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct RunArgs {
    /// Which certificates the reverse proxy gets
    #[arg(long, value_enum, default_value_t)]
    pub(crate) certs: Certs,
    /// Extra variables for the playbooks, after the profile's own (repeatable)
    #[arg(short = 'e', long = "extra-vars", value_name = "KEY=VALUE|@FILE")]
    pub(crate) extra_vars: Vec<String>,
    /// The playbook repository, instead of the profile's
    #[arg(long, env = "BOMA_REPO", value_name = "DIR")]
    pub(crate) repo: Option<Utf8PathBuf>,
    /// A catalogue name or the path of a disk image, instead of the profile's
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) image: Option<String>,
    /// Where the VM's network is made
    #[arg(long, value_enum, default_value_t)]
    pub(crate) net: network::Mode,
    /// What the guest may reach beyond its network
    #[arg(long, value_enum, default_value_t)]
    pub(crate) egress: network::Egress,
    /// The accelerator; auto judges by the CPU and by what the first boot does
    #[arg(long, value_enum, default_value_t)]
    pub(crate) accel: accel::Wanted,
    /// Go on from a machine of the same make that was booted once and saved, which is made first where there is none
    #[arg(long)]
    pub(crate) template: bool,
    /// Accept a documented risk by its name (docs/decisions.md)
    #[arg(long, value_name = "ID")]
    pub(crate) accept_risk: Vec<String>,
    /// Refuse to start with less free memory than this, beside what other VMs of this host will still take
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    pub(crate) min_free_mib: u64,
    /// Where other VMs of this host have the memory, wait until enough of them have ended
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long a boot or a reboot may take until it has settled; emulation on a busy host needs minutes
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) timeout: u64,
    /// Remove the VM by itself after this time, if nobody has by then (`90m`, `2days`); 0 or none: never
    #[arg(long, value_name = "TIME|none", default_value = "12h")]
    pub(crate) ttl: Ttl,
}

/// What is forwarded, and for whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct ForwardArgs {
    /// 8443:443; port 0 takes a free one; without it, list what is forwarded
    #[arg(value_name = "[HOST_IP:]HOSTPORT:VMPORT")]
    pub(crate) ports: Option<String>,
    /// A Unix socket that only this user can open, instead of a port of this host: forward H --socket PATH VMPORT
    #[arg(long, value_name = "PATH", requires = "ports", conflicts_with = "expose")]
    pub(crate) socket: Option<Utf8PathBuf>,
    /// Let others than this user in: on the loopback every user of this host, on another address whoever reaches it
    #[arg(long)]
    pub(crate) expose: bool,
    /// Forward this port of the host, or this socket, no more
    #[arg(long, value_name = "HOSTPORT|PATH", conflicts_with_all = ["ports", "socket", "expose"])]
    pub(crate) stop: Option<String>,
}

/// What an experiment is to do.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExperimentArgs {
    /// The modes, with commas between them
    #[arg(long, value_enum, value_delimiter = ',', required = true, value_name = "MODE,...")]
    pub(crate) modes: Vec<Mode>,
    /// How often each
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) runs: usize,
    /// The snapshot that each run begins from, if not the one that `apply` took
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Option<SnapshotName>,
    /// What decides the order of the runs, the content of the markers and the crash states
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Run a workload once more and examine so many states that a power loss at its end could have left
    #[arg(long, value_name = "N", requires_all = ["workload", "durable"])]
    pub(crate) crash_states: Option<usize>,
    /// The workload: a shell script on this host, which root runs in the guest
    #[arg(long, value_name = "FILE", requires = "crash_states")]
    pub(crate) workload: Option<Utf8PathBuf>,
    /// Files in the guest, or directories of them, that must be durable when the workload has ended
    #[arg(long, value_name = "PATH", requires = "crash_states")]
    pub(crate) durable: Vec<Utf8PathBuf>,
    #[command(flatten)]
    pub(crate) findings: FindingsArgs,
    /// Keep the VM, if the experiment brought it up
    #[arg(long)]
    pub(crate) keep: bool,
}

pub(super) const EXPERIMENT: &str = "\
On a VM that is up and was applied, each run begins from the snapshot that `apply` took, or from
another (--from); options of `up` are refused then. Without a VM, one is brought up, applied, and removed at the end.

Examples:
  boma-qemu experiment askari --modes guest,reset --runs 3
  boma-qemu experiment askari --modes reset,power-cycle,power-loss --seed 7 --findings strict
  boma-qemu experiment askari --modes power-loss --crash-states 200 --workload save.sh --durable /srv/app";

/// What to do about a profile's checks.
#[derive(Debug, Subcommand)]
pub(crate) enum ChecksCommand {
    /// Print probes for `verify` that hold now: on the VM that is up, or on the real host
    #[command(after_help = examples::CHECKS_SUGGEST)]
    Suggest {
        host: HostName,
        /// What `observe --script` printed on the real host, run by root, instead of asking the VM
        #[arg(long, value_name = "FILE")]
        from_live: Option<Utf8PathBuf>,
    },
}

/// What to do with golden images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Download the image and check it
    #[command(after_help = examples::IMAGE_FETCH)]
    Fetch { name: Option<String> },
    /// Make an equivalent image from this machine's package mirror
    #[command(after_help = examples::IMAGE_BUILD)]
    Build { name: Option<String> },
    /// Compare the cached images with their recorded digests
    #[command(after_help = examples::IMAGE_VERIFY)]
    Verify { name: Option<String> },
    /// List the cached images
    #[command(after_help = examples::IMAGE_LIST)]
    List,
}

/// What to do with the network.
#[derive(Debug, Subcommand)]
pub(crate) enum NetCommand {
    /// Stop the network, if no VM uses it
    #[command(after_help = examples::NET_DOWN)]
    Down,
    /// Show the network that is up
    #[command(after_help = examples::NET_SHOW)]
    Show,
}
