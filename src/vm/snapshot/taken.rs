//! The snapshots that a machine has. Each has a folder in the VM's own; the description is written last and removed first, so a
//! folder without one is no snapshot.

use super::SnapshotError;
use crate::machine::VmDir;
use camino::Utf8PathBuf;
use host::dirs::{make_private, write_private};
use host::names::{BootId, SnapshotName};
use serde::{Deserialize, Serialize};

/// A snapshot that was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// Its name in the disks.
    pub name: SnapshotName,
    /// When it was taken (UTC, RFC 3339).
    pub at: String,
    /// The snapshot that the machine had been brought back to, or that had been taken of it, before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Origin>,
    /// The boot that it is in the middle of.
    pub boot_id: BootId,
    /// What stood in a file in the guest's memory, and nowhere else in the guest.
    pub nonce: String,
    /// The last event of the journal before it.
    pub seq: u64,
    /// Connections over ssh that were open while it was taken; they are dead after a restore.
    pub open_connections: usize,
    /// How long it took, in seconds, the guest's questions included.
    pub seconds: f64,
}

/// The snapshot that a state comes from. One of the same name and another time has taken its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Its name.
    pub name: SnapshotName,
    /// When it was taken.
    pub at: String,
}

impl Taken {
    /// A machine's snapshot of this name.
    pub fn load(vm: &VmDir, name: &SnapshotName) -> Result<Self, SnapshotError> {
        let path = description(vm, name);
        let text = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let others = Self::all(vm)?.into_iter().map(|taken| taken.name.into()).collect();
                return Err(SnapshotError::None { name: name.clone(), others });
            }
            read => read.map_err(|source| SnapshotError::Description { path: path.clone(), source })?,
        };
        serde_json::from_slice(&text).map_err(|e| SnapshotError::Description { path, source: e.into() })
    }

    /// All of them, the oldest first.
    pub fn all(vm: &VmDir) -> Result<Vec<Self>, SnapshotError> {
        let unreadable = |source| SnapshotError::Description { path: vm.snapshots(), source };
        let entries = match vm.snapshots().read_dir_utf8() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(unreadable)?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let Ok(name) = entry.map_err(unreadable)?.file_name().parse::<SnapshotName>() else { continue };
            if description(vm, &name).exists() {
                all.push(Self::load(vm, &name)?);
            }
        }
        all.sort_by(|one, other| one.at.cmp(&other.at));
        Ok(all)
    }

    /// What a state that begins here comes from.
    pub fn origin(&self) -> Origin {
        Origin { name: self.name.clone(), at: self.at.clone() }
    }

    pub(super) fn keep(&self, vm: &VmDir) -> Result<(), SnapshotError> {
        make_private(&vm.snapshot(&self.name)).map_err(SnapshotError::Write)?;
        // Plain data with string keys: serialising it cannot fail.
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        write_private(&description(vm, &self.name), text).map_err(SnapshotError::Write)?;
        begin(vm, &self.origin())
    }
}

/// From now on the machine's state comes from this snapshot.
pub(super) fn begin(vm: &VmDir, origin: &Origin) -> Result<(), SnapshotError> {
    write_private(&current(vm), serde_json::to_vec(origin).unwrap_or_default()).map_err(SnapshotError::Write)
}

/// The snapshot that the machine's state comes from, if it does.
pub fn begun(vm: &VmDir) -> Option<Origin> {
    serde_json::from_slice(&std::fs::read(current(vm)).ok()?).ok()
}

/// What the snapshot `name` of the machine as it is now comes from: where it takes the place of one, that one's origin.
pub(super) fn origin_of(vm: &VmDir, name: &SnapshotName) -> Result<Option<Origin>, SnapshotError> {
    match begun(vm) {
        Some(origin) if origin.name == *name => match Taken::load(vm, name) {
            Ok(old) => Ok(old.from),
            Err(SnapshotError::None { .. }) => Ok(None),
            Err(error) => Err(error),
        },
        origin => Ok(origin),
    }
}

pub(super) fn description(vm: &VmDir, name: &SnapshotName) -> Utf8PathBuf {
    vm.snapshot(name).join("taken.json")
}

fn current(vm: &VmDir) -> Utf8PathBuf {
    vm.snapshots().join("current.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(name: &str, at: &str, from: Option<Origin>) -> Taken {
        Taken {
            name: name.parse().unwrap(),
            at: at.into(),
            from,
            boot_id: "5f1e2b1c-8f0e-4f0e-9d59-3a4b5c6d7e8f".parse().unwrap(),
            nonce: "0".repeat(32),
            seq: 1,
            open_connections: 0,
            seconds: 1.0,
        }
    }

    fn scratch() -> (tempfile::TempDir, VmDir) {
        let dir = tempfile::tempdir().unwrap();
        let vm = VmDir::at(Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap());
        (dir, vm)
    }

    #[test]
    fn snapshots_know_what_they_come_from() {
        let (_dir, vm) = scratch();
        assert_eq!(Taken::all(&vm).unwrap(), []);
        let applied = SnapshotName::applied();
        assert_eq!(origin_of(&vm, &applied).unwrap(), None);
        let first = taken("applied", "2026-11-30T10:00:00Z", None);
        first.keep(&vm).unwrap();
        let a: SnapshotName = "a".parse().unwrap();
        assert_eq!(origin_of(&vm, &a).unwrap(), Some(first.origin()));
        let child = taken("a", "2026-11-30T10:01:00Z", Some(first.origin()));
        child.keep(&vm).unwrap();
        assert_eq!(Taken::all(&vm).unwrap(), [first.clone(), child.clone()]);
        // `apply` on a machine that goes on from `a` takes another `applied`, which comes from `a`.
        assert_eq!(origin_of(&vm, &applied).unwrap(), Some(child.origin()));
        // And on one that goes on from `applied` itself it comes from what that came from.
        begin(&vm, &first.origin()).unwrap();
        assert_eq!(origin_of(&vm, &applied).unwrap(), None);
    }

    #[test]
    fn a_folder_without_a_description_is_no_snapshot() {
        let (_dir, vm) = scratch();
        taken("a", "2026-11-30T10:01:00Z", None).keep(&vm).unwrap();
        std::fs::create_dir(vm.snapshots().join("half")).unwrap();
        let error = Taken::load(&vm, &"half".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "the VM has no snapshot half; it has a");
        std::fs::write(description(&vm, &"half".parse().unwrap()), "{").unwrap();
        assert!(matches!(Taken::all(&vm), Err(SnapshotError::Description { .. })), "one that cannot be read is said");
    }
}
