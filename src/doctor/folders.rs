//! Folders: whether this user can write there, and whether there is room.

use super::{Finding, Site};
use camino::Utf8Path;
use host::dirs::{self, Use};
use host::failure::{Blame, with_causes};
use host::names::MiB;
use host::presence::Presence;
use std::io::Write;

/// What a folder must have room for.
struct Room {
    /// Below this, a VM cannot run.
    least: MiB,
    /// Below this, a long run may not end well.
    good: MiB,
    /// The setting that moves the folder.
    variable: &'static str,
    /// What it is for.
    role: Use,
}

/// Running VMs: the overlay takes what the guest writes, packages and container images among it.
pub(super) fn state(site: &Site) -> Finding {
    judge(&site.input.dirs.state, &Room { least: MiB(2048), good: MiB(6144), variable: "BOMA_STATE", role: Use::State })
}

/// Golden images: 0.4 GiB for one that is fetched, some 4 GiB while one is built.
pub(super) fn cache(site: &Site) -> Finding {
    let dir = &site.input.dirs.cache;
    if site.input.image_there {
        return Finding::ok(format!("{dir} has a golden image"));
    }
    judge(dir, &Room { least: MiB(1024), good: MiB(5120), variable: "BOMA_IT_CACHE", role: Use::Cache })
}

/// Evidence: logs and reports.
pub(super) fn runs(site: &Site) -> Finding {
    judge(&site.input.dirs.runs, &Room { least: MiB(64), good: MiB(512), variable: "BOMA_RUNS", role: Use::Runs })
}

fn judge(dir: &Utf8Path, room: &Room) -> Finding {
    let variable = room.variable;
    if let Err(error) = dirs::check(dir, room.role) {
        let fix = error.next().unwrap_or_default();
        return Finding::fail(with_causes(&error), fix);
    }
    let there = nearest(dir);
    if let Err(error) = try_write(there) {
        let fix = format!("make {there} writable for this user, or name another folder with {variable}");
        return Finding::fail(format!("{dir}: cannot write in {there}: {error}"), fix);
    }
    let free = match free(there) {
        Ok(free) => free,
        Err(error) => return Finding::warn(format!("{dir}: cannot ask for free space: {error}"), "check it by hand"),
    };
    let seen = format!("{dir}: writable, {free} free");
    let fix = || format!("free some space, or name a folder elsewhere with {variable}");
    match free {
        free if free < room.least => Finding::fail(format!("{seen}, {} needed", room.least), fix()),
        free if free < room.good => Finding::warn(format!("{seen}, {} would be safe", room.good), fix()),
        _ => Finding::ok(seen),
    }
}

/// The folder, or the nearest one above it that exists: what is missing is made when it is needed. One that cannot be
/// looked at is not missing.
fn nearest(dir: &Utf8Path) -> &Utf8Path {
    dir.ancestors().find(|dir| !Presence::of(dir).is_gone()).unwrap_or(Utf8Path::new("/"))
}

/// Write a page into a file without a name: that meets quotas, full disks and read-only mounts, and
/// leaves nothing.
fn try_write(dir: &Utf8Path) -> std::io::Result<()> {
    let mut file = tempfile::tempfile_in(dir)?;
    file.write_all(&[0; 4096])
}

/// Space that this user may fill.
fn free(dir: &Utf8Path) -> std::io::Result<MiB> {
    let stat = rustix::fs::statvfs(dir.as_std_path())?;
    Ok(MiB(stat.f_bavail.saturating_mul(stat.f_frsize) >> 20))
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;
    use host::testing::scratch;

    const ROOM: Room = Room { least: MiB(0), good: MiB(0), variable: "BOMA_STATE", role: Use::Runs };

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_above_and_stays_unmade() {
        let (_keep, dir) = scratch();
        let finding = judge(&dir.join("a/b"), &ROOM);
        assert_eq!(finding.result, Outcome::Ok, "{}", finding.probed);
        assert_eq!(dir.read_dir_utf8().unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_looked_at_is_not_one_that_is_yet_to_be_made() {
        let (_keep, dir) = scratch();
        // ELOOP, which root gets as well.
        std::os::unix::fs::symlink("loop", dir.join("loop")).unwrap();
        assert_eq!(judge(&dir.join("loop/state"), &ROOM).result, Outcome::Fail);
    }

    #[test]
    fn where_nobody_can_write_the_folder_and_its_setting_are_named() {
        let finding = judge(Utf8Path::new("/proc/boma"), &ROOM);
        assert_eq!(finding.result, Outcome::Fail);
        assert!(finding.probed.contains("/proc") && finding.fix.unwrap().contains("BOMA_STATE"));
    }

    #[test]
    fn a_state_folder_that_no_command_would_use_fails_with_the_way_out() {
        let (_keep, dir) = scratch();
        std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o2775)).unwrap();
        let finding = judge(&dir, &Room { role: Use::State, ..ROOM });
        assert_eq!(finding.result, Outcome::Fail);
        assert!(finding.fix.unwrap().contains("mkdir -m 0700"));
    }

    #[test]
    fn too_little_room_fails_and_little_room_warns() {
        let (_keep, dir) = scratch();
        let huge = MiB(u64::MAX);
        assert_eq!(judge(&dir, &Room { good: huge, ..ROOM }).result, Outcome::Warn);
        assert_eq!(judge(&dir, &Room { least: huge, good: huge, ..ROOM }).result, Outcome::Fail);
    }
}
