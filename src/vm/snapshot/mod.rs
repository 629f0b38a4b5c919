//! Snapshots of disk and memory, and going back to them.
//!
//! A restore is no boot: the machine goes on in the middle of what it was doing. Three things prove it, and
//! each excludes another story. QEMU's process is a new one, so nothing of the memory can be left over. The
//! boot id is the old one, so no kernel was started. A nonce is back that was only ever written to a file in
//! the guest's memory, so it is this snapshot's memory and no other's. And the journal shows neither a reset
//! nor a boot since.
//!
//! QEMU is always started anew, whatever state the machine is in: one way back from a running, paused,
//! panicked, frozen, switched off or killed machine, and nothing that was done to the old QEMU (a cut link, a
//! slow disk) comes along.
//!
//! Fuzzed as `guest`.

pub(crate) mod clock;
mod error;
pub(crate) mod quiet;
mod taken;

pub use error::SnapshotError;
pub use quiet::count as connections;
pub use taken::{Origin, Taken, begun};

use crate::access::{self, When};
use crate::machine::VmDir;
use crate::monitor::Client;
use crate::monitor::events::{Event, What, read_all};
use crate::qemu::{self, Machine};
use crate::qmp::job;
use crate::ssh::{Kept, Session, Ssh};
use crate::wait::Watch;
use host::deadline::Deadline;
use host::names::{BootId, SnapshotName};
use host::presence::ignore;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

/// How long one short command in the guest may take.
const ASK_LIMIT: Duration = Duration::from_secs(60);

/// Evidence that a machine was brought back to a snapshot. It has no public constructor: only a restore that
/// was seen makes one, and it is no [`crate::reboot::RebootProof`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Restore {
    /// The snapshot.
    pub snapshot: Taken,
    /// The restore event, by its number in the journal: what comes after it is the restored machine's.
    pub seq: u64,
    /// The process of the new QEMU.
    pub qemu_pid: i64,
    /// The boot id that the guest has now; it is the snapshot's.
    pub boot_id: BootId,
    /// The nonce that the guest has now; it is the snapshot's.
    pub nonce: String,
    /// The guest's clock against the host's, in seconds, as the guest came back (negative: late).
    pub clock_before_s: f64,
    /// The same after it was put right.
    pub clock_after_s: f64,
    /// Seconds from asking to the first login.
    pub ssh_s: f64,
    /// Seconds from asking to the end of the proof.
    pub total_s: f64,
}

/// Take a snapshot of disk and memory; an older one of that name goes. The guest stands still for as long as its memory is
/// written: half a second on an idle machine. `address` is the guest's. The connection that is kept is closed.
pub async fn save(
    vm: &VmDir,
    name: &SnapshotName,
    (ssh, kept): (&Ssh, &Kept),
    address: Ipv4Addr,
    limit: Duration,
) -> Result<Taken, SnapshotError> {
    let deadline = Deadline::after(limit);
    let client = Client::new(vm);
    let seq = last_event(vm)?;
    let from = taken::origin_of(vm, name)?;
    // 1. What only the memory of this boot knows.
    let guest = |source| SnapshotError::Guest { when: "before the snapshot", source };
    let session = kept.take(ssh, deadline.left().min(ASK_LIMIT)).await.map_err(guest)?;
    let Memory { boot_id, nonce } = remember(&session).await?;
    drop(session);
    // 2. A connection that is open now would be a dead one in every restored guest.
    let open_connections = quiet::wait(ssh, address).await;
    // 3. From here on, until it is described, there is no snapshot.
    discard(vm, name, &client).await?;
    let what = "take the snapshot";
    let execute = async |command: &str, arguments| {
        let done = client.qmp(command, arguments, deadline.left()).await;
        done.map_err(|source| SnapshotError::Monitor { what, source })
    };
    let nodes = qemu::snapshot(&machine(vm)?, name.as_str());
    job::run(execute, "snapshot-save", nodes, deadline.left()).await?;
    uninterrupted(vm, seq, "snapshot of one boot")?;
    let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let seconds = deadline.waited().as_secs_f64();
    let taken = Taken { name: name.clone(), at, from, boot_id, nonce, seq, open_connections, seconds };
    taken.keep(vm)?;
    Ok(taken)
}

/// Remove a snapshot; without one there is nothing to do.
pub async fn discard(vm: &VmDir, name: &SnapshotName, client: &Client) -> Result<(), SnapshotError> {
    // The description goes first: one without its snapshot would promise what cannot be kept. A snapshot
    // without one, of a command that was killed, goes too.
    let path = taken::description(vm, name);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        removed => removed.map_err(|source| SnapshotError::Description { path, source })?,
    }
    ignore(std::fs::remove_dir_all(vm.snapshot(name)), "without its description it is no snapshot; there may be none");
    let execute = async |command: &str, arguments| {
        let done = client.qmp(command, arguments, ASK_LIMIT).await;
        done.map_err(|source| SnapshotError::Monitor { what: "remove the old snapshot", source })
    };
    let old = qemu::delete_snapshot(&machine(vm)?, name.as_str());
    job::run(execute, "snapshot-delete", old, ASK_LIMIT).await
}

fn machine(vm: &VmDir) -> Result<Machine, SnapshotError> {
    Machine::load(&vm.machine()).map_err(SnapshotError::Machine)
}

/// Bring the machine back to a snapshot, from whatever state it is in, put its clock right, and prove it.
pub async fn restore(vm: &VmDir, name: &SnapshotName, ssh: &Ssh, limit: Duration) -> Result<Restore, SnapshotError> {
    let deadline = Deadline::after(limit);
    let snapshot = Taken::load(vm, name)?;
    let before = last_event(vm)?;
    // 1. A new QEMU that goes on from there.
    let restored = Client::new(vm).restore(name.as_str()).await;
    restored.map_err(|source| SnapshotError::Monitor { what: "restore the snapshot", source })?;
    let (seq, qemu_pid) = witness(&read_all(&vm.events())?, before, name.as_str())?;
    taken::begin(vm, &snapshot.origin())?;
    // 2. The guest's own word.
    let mut watch = Watch::since(vm, seq)?;
    let attempt = async || ssh.session(ASK_LIMIT).await.map_err(|e| e.to_string());
    let what = "a login to the restored guest";
    let session = access::until(vm, what, When::Booting, &mut watch, &deadline, attempt).await?;
    let ssh_s = deadline.waited().as_secs_f64();
    let Memory { boot_id, nonce } =
        Memory { boot_id: snapshot.boot_id.clone(), nonce: snapshot.nonce.clone() }.proven(&session).await?;
    // 3. It slept without noticing.
    let (clock_before_s, clock_after_s) = clock::put_right(&session).await?;
    // 4. And nothing else happened meanwhile.
    uninterrupted(vm, seq, "restore")?;
    let total_s = deadline.waited().as_secs_f64();
    Ok(Restore { snapshot, seq, qemu_pid, boot_id, nonce, clock_before_s, clock_after_s, ssh_s, total_s })
}

/// What only the memory of one boot knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The boot.
    pub boot_id: BootId,
    /// What stands in a file in the guest's memory, and nowhere else in the guest.
    pub nonce: String,
}

impl Memory {
    /// Make sure that a restored guest has this memory, and no other.
    pub(crate) async fn proven(self, session: &Session) -> Result<Self, SnapshotError> {
        let (boot_id, nonce) = memory(session, "after the restore").await?;
        let same = |what, found: &str, wanted: &str| match found == wanted {
            true => Ok(()),
            false => Err(SnapshotError::Other { what, found: found.to_owned(), wanted: wanted.to_owned() }),
        };
        same("boot id", boot_id.as_str(), self.boot_id.as_str())?;
        same("nonce", &nonce, &self.nonce)?;
        Ok(self)
    }
}

/// Let the guest's memory hold a nonce from now on.
pub(crate) async fn remember(session: &Session) -> Result<Memory, SnapshotError> {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let guest = |source| SnapshotError::Guest { when: "before the snapshot", source };
    session.must(&plant(&nonce), ASK_LIMIT).await.map_err(guest)?;
    let (boot_id, _) = memory(session, "before the snapshot").await?;
    Ok(Memory { boot_id, nonce })
}

/// Write the nonce where it cannot reach a disk, or fail.
fn plant(nonce: &str) -> String {
    format!(
        "test \"$(stat -f -c %T /run)\" = tmpfs || {{ echo /run is no tmpfs >&2; exit 1; }}; \
         sudo -n sh -c 'echo {nonce} >{NONCE}'"
    )
}

/// The file of the nonce, in the guest's memory.
pub(crate) const NONCE: &str = "/run/boma-it.nonce";

/// The boot id and the nonce of the guest; `none` where there is no nonce.
async fn memory(session: &Session, when: &'static str) -> Result<(BootId, String), SnapshotError> {
    let ask = format!("cat /proc/sys/kernel/random/boot_id; cat {NONCE} 2>/dev/null || echo none");
    let text = session.must(&ask, ASK_LIMIT).await.map_err(|source| SnapshotError::Guest { when, source })?;
    let (boot_id, nonce) = text.split_once('\n').unwrap_or((&text, "none"));
    Ok((boot_id.trim().parse().map_err(SnapshotError::BootId)?, nonce.trim().to_owned()))
}

pub(crate) fn last_event(vm: &VmDir) -> Result<u64, SnapshotError> {
    Ok(read_all(&vm.events())?.last().map_or(0, |event| event.seq))
}

/// The restore in the journal: its number, and the process that was started for it.
pub(crate) fn witness(events: &[Event], before: u64, name: &str) -> Result<(u64, i64), SnapshotError> {
    let new = || events.iter().filter(|event| event.seq > before);
    let started = new().find_map(|event| match &event.what {
        What::QemuStarted(started) => Some(started.pid),
        _ => None,
    });
    let restored = new().find(|event| matches!(&event.what, What::Restore(restored) if restored.snapshot == name));
    match (restored, started) {
        (Some(restored), Some(pid)) => Ok((restored.seq, pid)),
        (restored, _) => Err(SnapshotError::Other {
            what: "journal",
            found: if restored.is_none() { "without a restore" } else { "without a new QEMU" }.into(),
            wanted: "one with both".into(),
        }),
    }
}

/// Whether the machine ran on since `seq`: nothing restarted or ended it.
pub(crate) fn uninterrupted(vm: &VmDir, seq: u64, wanted: &'static str) -> Result<(), SnapshotError> {
    match interruption(&read_all(&vm.events())?, seq) {
        None => Ok(()),
        Some(event) => Err(SnapshotError::Restarted { what: event.to_string(), seq: event.seq, wanted }),
    }
}

fn interruption(events: &[Event], seq: u64) -> Option<&Event> {
    let ends = |what: &What| {
        use What::{Boot, GuestPanicked, QemuExited, Reset, Restore, Shutdown};
        matches!(what, Reset(_) | Shutdown(_) | GuestPanicked(_) | Boot(_) | Restore(_) | QemuExited(_))
    };
    events.iter().find(|event| event.seq > seq && ends(&event.what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const APPLIED: &str = "applied";

    fn events(kinds: &[(&str, Value)]) -> Vec<Event> {
        let event = |(seq, (kind, data)): (u64, &(&str, Value))| Event::sample(seq, 0.0, kind, data);
        (1..).zip(kinds).map(event).collect()
    }

    fn restored(rest: &[(&str, Value)]) -> Vec<Event> {
        let mut kinds = vec![
            ("qemu-exited", Value::Null),
            ("qemu-started", json!({"pid": 7})),
            ("restore", json!({"snapshot": APPLIED, "offset": 100})),
        ];
        kinds.extend_from_slice(rest);
        events(&kinds)
    }

    #[test]
    fn a_restore_needs_a_new_qemu_and_its_own_event_after_the_asking() {
        assert_eq!(witness(&restored(&[]), 0, APPLIED).unwrap(), (3, 7));
        assert!(witness(&restored(&[]), 3, APPLIED).is_err(), "an older restore does not count");
        assert!(witness(&restored(&[]), 0, "another").is_err(), "nor that of another snapshot");
        assert!(witness(&restored(&[])[2..], 0, APPLIED).is_err(), "nor one without a new QEMU");
    }

    #[test]
    fn a_boot_or_a_reset_after_the_restore_is_told_from_it() {
        assert_eq!(interruption(&restored(&[("RESUME", Value::Null)]), 3), None);
        for kind in ["RESET", "boot", "qemu-exited", "SHUTDOWN"] {
            assert_eq!(interruption(&restored(&[(kind, Value::Null)]), 3).unwrap().seq, 4, "{kind}");
        }
    }
}
