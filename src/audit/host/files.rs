//! Files, memory and room.

use super::Site;
use crate::audit::outcome::Seen;
use crate::audit::probe::Access;
use camino::{Utf8Path, Utf8PathBuf};
use host::memory;
use host::names::MiB;
use std::fs::OpenOptions;

/// A file opens.
pub(super) fn access(path: &Utf8Path, access: Access) -> Seen {
    let (read, write) = match access {
        Access::Read => (true, false),
        Access::Write => (false, true),
        Access::ReadWrite => (true, true),
    };
    match OpenOptions::new().read(read).write(write).open(path) {
        Ok(_) => Seen::holds(format!("{path} opens")),
        Err(error) => Seen::fails(error.to_string(), format!("{path} does not open: {error}")),
    }
}

/// Memory can be had.
pub(super) fn memory(at_least: u64) -> Seen {
    match memory::available() {
        Err(why) => Seen::unknown(why),
        Ok(there) => {
            let cause =
                (there < MiB(at_least)).then(|| format!("{there} of memory can be had, {at_least} MiB are needed"));
            Seen::judged(format!("{there} can be had"), cause)
        }
    }
}

/// The control groups leave enough.
pub(super) fn cgroup(at_least_mib: u64, at_least_pids: u64) -> Seen {
    match memory::left() {
        Err(why) => Seen::unknown(why),
        Ok(left) => judge_cgroup(&left, at_least_mib, at_least_pids),
    }
}

fn judge_cgroup(left: &memory::Left, at_least_mib: u64, at_least_pids: u64) -> Seen {
    let cause = match (&left.memory, &left.pids) {
        (Some((room, group)), _) if *room < MiB(at_least_mib) => {
            Some(format!("the control group {group} leaves {room}, {at_least_mib} MiB are needed"))
        }
        (_, Some((room, group))) if *room < at_least_pids => {
            Some(format!("the control group {group} leaves {room} processes, {at_least_pids} are needed"))
        }
        _ => None,
    };
    let memory = left.memory.as_ref().map_or("no limit of memory".into(), |(room, _)| format!("{room} left"));
    let pids = left.pids.as_ref().map_or("none of processes".into(), |(room, _)| format!("{room} processes left"));
    Seen::judged(format!("{memory}, {pids}"), cause)
}

/// A folder, or the nearest one above it that exists, has room.
pub(super) fn disk_free(site: &Site, folder: &str, at_least: u64) -> Seen {
    let folder: Utf8PathBuf = match folder {
        "state" => site.dirs.state.clone(),
        "runs" => site.dirs.runs.clone(),
        "build" => site.base().to_owned(),
        path => path.into(),
    };
    let there = folder.ancestors().find(|dir| dir.exists()).unwrap_or(Utf8Path::new("/"));
    match rustix::fs::statvfs(there.as_std_path()) {
        Err(errno) => Seen::unknown(format!("cannot ask for the room in {there}: {errno}")),
        Ok(stat) => {
            let free = MiB(stat.f_bavail.saturating_mul(stat.f_frsize) >> 20);
            let cause = (free < MiB(at_least)).then(|| format!("{there} has {free} free, {at_least} MiB are needed"));
            Seen::judged(format!("{there} has {free} free"), cause)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict;
    use super::*;

    #[test]
    fn a_control_group_that_leaves_too_little_is_named() {
        let left = memory::Left { memory: Some((MiB(100), "/g".into())), pids: Some((5, "/p".into())) };
        let cause = |seen: Seen| if let Verdict::Fails(cause) = seen.verdict { cause } else { String::new() };
        assert_eq!(cause(judge_cgroup(&left, 101, 0)), "the control group /g leaves 100 MiB, 101 MiB are needed");
        assert_eq!(cause(judge_cgroup(&left, 100, 6)), "the control group /p leaves 5 processes, 6 are needed");
        assert_eq!(judge_cgroup(&left, 100, 5), Seen::holds("100 MiB left, 5 processes left"));
        assert_eq!(judge_cgroup(&memory::Left::default(), 9, 9).verdict, Verdict::Holds);
    }
}
