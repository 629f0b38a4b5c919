//! Memory: what the kernel has to give, and what the control groups leave of it.

use crate::names::MiB;
use camino::{Utf8Path, Utf8PathBuf};
use std::io::ErrorKind;

/// Where the control groups are.
const ROOT: &str = "/sys/fs/cgroup";

/// Memory that can be had without swapping, by the kernel's own estimate.
pub fn available() -> Result<MiB, String> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(|e| format!("cannot read /proc/meminfo: {e}"))?;
    parse_available(&text).ok_or_else(|| "/proc/meminfo has no MemAvailable".into())
}

/// `MemAvailable` of a /proc/meminfo, which counts in KiB (proc_meminfo(5)).
fn parse_available(meminfo: &str) -> Option<MiB> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(MiB(kib / 1024))
}

/// What the control groups that a process is in leave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Memory, and the group that allows no more; none if no group limits it.
    pub memory: Option<(MiB, Utf8PathBuf)>,
    /// Processes and threads, likewise.
    pub pids: Option<(u64, Utf8PathBuf)>,
}

/// Ask the control groups of this process, of both versions (cgroups(7)), each with those around it: the tightest
/// counts.
pub fn left() -> Result<Left, String> {
    left_below(Utf8Path::new(ROOT), &groups_text("self")?)
}

/// Every limit on the memory of this process: the group that sets it, and what it leaves.
pub fn limits() -> Result<Vec<(Utf8PathBuf, MiB)>, String> {
    let mut limits = Vec::new();
    for (group, files) in groups(Utf8Path::new(ROOT), &groups_text("self")?) {
        if let Some(files) = files
            && let Some(room) = memory_of(&group, files)?
        {
            limits.push((group, room));
        }
    }
    Ok(limits)
}

/// The groups that a process is in, with those around each.
pub fn groups_of(pid: i32) -> Result<Vec<Utf8PathBuf>, String> {
    let text = groups_text(&pid.to_string())?;
    Ok(groups(Utf8Path::new(ROOT), &text).into_iter().map(|(group, _)| group).collect())
}

/// The memory that a process's children have for themselves: what the kernel cannot take back without swapping. None
/// where that cannot be seen.
pub fn of_children(pid: i32) -> Option<MiB> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let statuses = children.split_whitespace().map(|child| std::fs::read_to_string(format!("/proc/{child}/status")));
    // One that has ended meanwhile has none.
    Some(MiB(statuses.filter_map(|status| parse_own(&status.ok()?)).sum::<u64>() / 1024))
}

/// What a /proc/PID/status says of memory that no file backs, in KiB (proc_pid_status(5)).
fn parse_own(status: &str) -> Option<u64> {
    let of = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Some(of("RssAnon:")? + of("RssShmem:")?)
}

fn groups_text(process: &str) -> Result<String, String> {
    let path = format!("/proc/{process}/cgroup");
    std::fs::read_to_string(&path).map_err(|e| format!("cannot read {path}: {e}"))
}

/// The groups of a /proc/PID/cgroup, each with those around it, and the files in which it counts memory, if it does.
fn groups(root: &Utf8Path, own: &str) -> Vec<(Utf8PathBuf, Option<[&'static str; 3]>)> {
    let mut groups = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let has = |name: &str| controllers.split(',').any(|own| own == name);
        let (root, memory) = match controllers {
            "" => (root.to_owned(), Some(["memory.max", "memory.current", "inactive_file"])),
            _ if has("memory") => {
                (root.join("memory"), Some(["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"]))
            }
            _ if has("pids") => (root.join("pids"), None),
            _ => continue,
        };
        // In a container the path may be one of the host's, and the group itself be mounted as the root.
        let around = Utf8Path::new(path.trim_start_matches('/')).ancestors();
        groups.extend(around.map(|group| (root.join(group), memory)));
    }
    groups
}

fn left_below(root: &Utf8Path, own: &str) -> Result<Left, String> {
    let mut left = Left::default();
    for (group, memory) in groups(root, own) {
        if let Some(files) = memory
            && let Some(room) = memory_of(&group, files)?
        {
            tighten(&mut left.memory, room, &group);
        }
        if let (Some(most), Some(now)) = (number(&group.join("pids.max"))?, number(&group.join("pids.current"))?) {
            tighten(&mut left.pids, most.saturating_sub(now), &group);
        }
    }
    Ok(left)
}

/// What a group leaves: its limit less what is used and could not be given back at once.
fn memory_of(group: &Utf8Path, [limit, used, cache]: [&str; 3]) -> Result<Option<MiB>, String> {
    // Version 1 says "no limit" with a number near 2^63.
    let limit = number(&group.join(limit))?.filter(|limit| *limit < 1 << 60);
    let (Some(limit), Some(used)) = (limit, number(&group.join(used))?) else { return Ok(None) };
    // Without it none is taken to be given back: less room, never more.
    let stat = std::fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let cached = stat.lines().find_map(|line| line.strip_prefix(cache)?.trim().parse::<u64>().ok()).unwrap_or(0);
    Ok(Some(MiB(limit.saturating_sub(used.saturating_sub(cached)) >> 20)))
}

fn tighten<T: Ord + Copy>(so_far: &mut Option<(T, Utf8PathBuf)>, room: T, group: &Utf8Path) {
    if so_far.as_ref().is_none_or(|(least, _)| room < *least) {
        *so_far = Some((room, group.to_owned()));
    }
}

/// The number in a group's file; none where there is no such file, or where it says that there is no limit.
fn number(path: &Utf8Path) -> Result<Option<u64>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim() == "max" => Ok(None),
        Ok(text) => text.trim().parse().map(Some).map_err(|_| format!("{path} holds no number: {text:?}")),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        // The group itself has gone meanwhile.
        Err(e) if e.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
        Err(e) => Err(format!("cannot read {path}: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_not_free_memory() {
        let text = "MemTotal:       24684084 kB\nMemFree:          100000 kB\nMemAvailable:   20720852 kB\n";
        assert_eq!(parse_available(text), Some(MiB(20235)));
        for none in ["", "MemFree: 1 kB\n", "MemAvailable: much kB\n"] {
            assert_eq!(parse_available(none), None, "{none}");
        }
    }

    #[test]
    fn what_a_process_has_for_itself_is_what_no_file_backs() {
        let text = "VmRSS:\t  900 kB\nRssAnon:\t  2048 kB\nRssFile:\t  512 kB\nRssShmem:\t  1024 kB\n";
        assert_eq!(parse_own(text), Some(3072));
        assert_eq!(parse_own("VmRSS: 900 kB\n"), None, "a kernel thread, or a zombie");
    }

    #[test]
    fn the_memory_of_a_processs_children_is_seen() {
        let hold = "python3 -c 'x = bytearray(64 << 20); print(flush=True); input()'; :";
        let pipe = std::process::Stdio::piped;
        let mut command = std::process::Command::new("sh");
        let mut child = command.args(["-c", hold]).stdin(pipe()).stdout(pipe()).spawn().unwrap();
        std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let seen = of_children(child.id().cast_signed()).unwrap();
        assert!((MiB(64)..MiB(128)).contains(&seen), "{seen}");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(of_children(child.id().cast_signed()), None, "nobody is there to be asked");
    }

    /// A folder with these files in it.
    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        (dir, root)
    }

    #[test]
    fn the_tightest_of_the_groups_around_counts_and_its_cache_is_room() {
        let (_keep, root) = tree(&[
            ("a/memory.max", "4294967296\n"),
            ("a/memory.current", "1073741824\n"),
            ("a/memory.stat", "anon 5\ninactive_file 536870912\n"),
            ("a/b/memory.max", "max\n"),
            ("a/b/pids.max", "100\n"),
            ("a/b/pids.current", "97\n"),
        ]);
        let left = left_below(&root, "0::/a/b\n").unwrap();
        assert_eq!(left.memory, Some((MiB(3584), root.join("a"))));
        assert_eq!(left.pids, Some((3, root.join("a/b"))));
    }

    #[test]
    fn a_limit_that_cannot_be_read_is_not_no_limit() {
        let (_keep, root) = tree(&[("a/memory.max", "much\n")]);
        assert!(left_below(&root, "0::/a\n").unwrap_err().contains("memory.max"));
        // EISDIR.
        let (_keep, root) = tree(&[("a/pids.max/x", "")]);
        assert!(left_below(&root, "0::/a\n").unwrap_err().contains("pids.max"));
    }

    #[test]
    fn version_one_has_a_tree_per_controller_and_no_limit_is_a_large_number() {
        let (_keep, root) = tree(&[
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/memory.usage_in_bytes", "1048576\n"),
            ("memory/x/memory.limit_in_bytes", "2097152\n"),
            ("memory/x/memory.usage_in_bytes", "1048576\n"),
        ]);
        let left = left_below(&root, "4:memory:/x\n8:pids:/\n1:cpu:/\n").unwrap();
        assert_eq!(left.memory, Some((MiB(1), root.join("memory/x"))));
        assert_eq!(left.pids, None);
        assert_eq!(left_below(&root, "4:memory:/\n0::/\n").unwrap(), Left::default());
    }
}
