//! The disk's faults: broken, slow, full.
//!
//! - `error`: every read, write and flush of the guest fails with EIO, as a drive does whose cable was pulled.
//! - `slow`: [`SLOW_BYTES`] a second and [`SLOW_REQUESTS`] a second for the guest, whichever is less: a drive that
//!   retries, or one whose neighbours are busy.
//! - `full`: the guest's own root file system has no block left, not even for root. (A *host* without space shows
//!   itself to the guest as `error`.)
//! - `ok`: all of that is undone. What the guest made of it is not: a file system that was remounted read-only
//!   stays so until the next boot.
//!
//! `error` and `slow` end with QEMU's process, `full` stays on the disk until it is undone, or the machine is
//! restored.

use super::{Disk, in_force};
use crate::machine::VmDir;
use crate::monitor::events::{JournalError, read_all};
use crate::monitor::{Client, ClientError};
use crate::qemu;
use crate::ssh::{Ssh, SshError};
use host::failure::{Blame, Exit};
use serde_json::{Value, json};
use std::time::Duration;

/// What a slow disk still does in a second.
pub const SLOW_BYTES: u64 = 1 << 20;
/// How many requests a slow disk answers in a second.
pub const SLOW_REQUESTS: u64 = 50;

/// The time that one QMP command has.
const QMP_LIMIT: Duration = Duration::from_secs(20);
/// The time that the guest has to fill its file system or to empty it; emulation takes 10 s.
const GUEST_LIMIT: Duration = Duration::from_secs(180);
/// The node that answers with errors, in front of the disk.
const BROKEN: &str = "broken";
/// The file that fills the guest's file system.
const FILL: &str = "/var/lib/boma-it.fill";

/// Why the disk is not as it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// QEMU or the monitor said no.
    #[error("cannot {what}")]
    Monitor {
        /// What was wanted.
        what: &'static str,
        /// What they said.
        #[source]
        source: ClientError,
    },
    /// The guest could not do its part.
    #[error("cannot {what} in the guest")]
    Guest {
        /// What was wanted.
        what: &'static str,
        /// What it said.
        #[source]
        source: SshError,
    },
    /// What is in force cannot be known.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Blame for DiskError {
    fn exit(&self) -> Exit {
        Exit::Lost
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Monitor { source, .. } => source.next(),
            Self::Guest { .. } => Some("a guest that cannot be reached is brought back by `boma-qemu reset`".into()),
            Self::Journal(e) => e.next(),
        }
    }
}

/// Bring a fault on the disk of a running machine, or undo all of them. One fault replaces another.
pub async fn disk(vm: &VmDir, ssh: &Ssh, what: Disk) -> Result<(), DiskError> {
    let client = Client::new(vm);
    if what != Disk::Full && is_full(vm)? {
        // First, while the guest can still be spoken to.
        guest(ssh, "empty the file system", &format!("sudo -n rm -f {FILL}")).await?;
    }
    mend(&client).await?;
    match what {
        Disk::Ok => Ok(()),
        Disk::Error => break_it(&client).await,
        Disk::Slow => throttle(&client, SLOW_BYTES, SLOW_REQUESTS).await,
        Disk::Full => guest(ssh, "fill the file system", &fill()).await,
    }
}

fn is_full(vm: &VmDir) -> Result<bool, JournalError> {
    Ok(in_force(&read_all(&vm.events())?).iter().any(|known| known.fault == super::Fault::Disk(Disk::Full)))
}

/// A disk that answers, and at once.
async fn mend(client: &Client) -> Result<(), DiskError> {
    let nodes = qmp(client, "list QEMU's disks", "query-named-block-nodes", json!({"flat": true})).await?;
    if nodes.as_array().is_some_and(|nodes| nodes.iter().any(|node| node["node-name"] == BROKEN)) {
        plug(client, qemu::DISK).await?;
        qmp(client, "take the broken disk away", "blockdev-del", json!({"node-name": BROKEN})).await?;
    }
    throttle(client, 0, 0).await
}

async fn break_it(client: &Client) -> Result<(), DiskError> {
    // Without an event the rule holds always.
    let broken = json!({
        "driver": "blkdebug", "node-name": BROKEN, "image": qemu::DISK,
        "inject-error": [{"event": "none", "errno": 5, "once": false}],
    });
    qmp(client, "make a broken disk", "blockdev-add", broken).await?;
    plug(client, BROKEN).await
}

/// Which node the guest's disk is.
async fn plug(client: &Client, node: &str) -> Result<(), DiskError> {
    let path = format!("/machine/peripheral/{}", qemu::DISK_DEVICE);
    let set = json!({"path": path, "property": "drive", "value": node});
    qmp(client, "change the guest's disk", "qom-set", set).await.map(drop)
}

/// No limit where a figure is 0.
async fn throttle(client: &Client, bytes: u64, requests: u64) -> Result<(), DiskError> {
    // By the device inside the PCI device, which is the one that has the disk.
    let id = format!("/machine/peripheral/{}/virtio-backend", qemu::DISK_DEVICE);
    let limits = json!({
        "id": id, "bps": bytes, "bps_rd": 0, "bps_wr": 0, "iops": requests, "iops_rd": 0, "iops_wr": 0,
    });
    qmp(client, "limit the disk's speed", "block_set_io_throttle", limits).await.map(drop)
}

/// Takes what is free in pieces, each as large as still fits; then not even root finds room for a block.
fn fill() -> String {
    format!(
        "sudo -n sh -c 'at=0; for size in 1073741824 67108864 4194304 262144 16384 4096; do \
         while fallocate -o $at -l $size {FILL} 2>/dev/null; do at=$((at + size)); done; done; \
         ! dd if=/dev/zero of={FILL}.probe bs=64k count=1 conv=fsync 2>/dev/null; said=$?; \
         rm -f {FILL}.probe; [ $said = 0 ] || {{ echo there is still room >&2; exit 1; }}'"
    )
}

async fn qmp(client: &Client, what: &'static str, command: &str, arguments: Value) -> Result<Value, DiskError> {
    let done = client.qmp(command, arguments, QMP_LIMIT).await;
    done.map_err(|source| DiskError::Monitor { what, source })
}

async fn guest(ssh: &Ssh, what: &'static str, command: &str) -> Result<(), DiskError> {
    let failed = |source| DiskError::Guest { what, source };
    let session = ssh.session(GUEST_LIMIT).await.map_err(failed)?;
    session.must(command, GUEST_LIMIT).await.map(drop).map_err(failed)
}
