//! What the guest is asked and given for crash states: where the files lie, two controls, the workload, and what the files are.
//!
//! *Two controls* show whether the whole of it sees what it must see. `clean` is replaced as it should be (write, fsync, rename,
//! fsync of the directory) before the workload, and is the new one in every state of the power loss, the old or the new one in
//! any earlier one. `unsynced` is written and renamed without fsync behind the workload. It is renamed to a name that was free:
//! over a file that is there ext4 starts writing the data by itself (`auto_da_alloc`), and whether it is lost would be
//! a matter of time. It must be missing, empty or torn in one state at least. Each is at the side of the workload where its own
//! fsync, or the lack of one, changes nothing for the workload's files: a commit is for the whole file system.

use camino::{Utf8Path, Utf8PathBuf};
use host::hex::hex;
use host::shell::quoted;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use vm::crash::Partition;

/// The directory of the controls, at the root of the file system that is looked at.
const DIR: &str = "boma-qemu-crash";
/// What `clean` holds first, and both hold in the end.
const OLD: &str = "the old one";
const NEW: &str = "the new one";
/// The most files that are followed.
const MOST_FILES: usize = 20_000;

/// Why what the guest said cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct GuestError {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub next: &'static str,
}

fn wrong(what: impl Into<String>, next: &'static str) -> GuestError {
    GuestError { what: what.into(), next }
}

/// Where the files lie: the one file system that all of them are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where it is mounted.
    pub mount: Utf8PathBuf,
    /// Its first byte on the disk.
    pub start: u64,
    /// Its length, bytes.
    pub length: u64,
}

/// Paths with their SHA-256.
pub type Sums = BTreeMap<String, String>;

impl Place {
    /// The part of the disk that it is.
    pub fn partition(&self) -> Partition {
        Partition { start: self.start, length: self.length }
    }

    /// A path as it is in the file system.
    pub fn inside(&self, path: &str) -> String {
        match path.strip_prefix(self.mount.as_str()) {
            Some(rest) if rest.starts_with('/') => rest.to_owned(),
            Some(rest) => format!("/{rest}"),
            None => path.to_owned(),
        }
    }

    /// The path of a control.
    pub fn control(&self, name: &str) -> String {
        self.mount.join(DIR).join(name).into_string()
    }

    /// Makes the controls' directory and what `clean` was before, all of it durable, so that the window begins with it.
    pub fn prepare_script(&self) -> String {
        let (dir, clean) = (quoted(self.mount.join(DIR).as_str()), quoted(&self.control("clean")));
        format!("set -e\nmkdir -p {dir}\nrm -f {dir}/*\nprintf %s {} >{clean}\nsync", quoted(OLD))
    }

    /// The window: the clean control, the workload, the one that must break. It ends with the workload's exit code.
    pub fn window_script(&self, workload: &str) -> String {
        let (dir, new) = (quoted(self.mount.join(DIR).as_str()), quoted(NEW));
        let [clean, unsynced] = ["clean", "unsynced"].map(|name| quoted(&self.control(name)));
        format!(
            "set -e\nprintf %s {new} | dd of={clean}.tmp conv=fsync 2>/dev/null\nmv {clean}.tmp {clean}\nsync {dir}\n\
             set +e\nsh -c {}\ncode=$?\nset -e\n\
             printf %s {new} >{unsynced}.tmp\nmv {unsynced}.tmp {unsynced}\necho \"workload $code\"",
            quoted(workload)
        )
    }
}

/// Asks where the files at these paths lie, or would lie.
pub fn place_script(paths: &[Utf8PathBuf]) -> String {
    let one = |path: &Utf8PathBuf| format!("at {}\n", quoted(path.as_str()));
    // The device's number as stat has it (makedev(3)), and its partition as sysfs has it.
    let at = r#"at() {
    path=$1
    while [ ! -e "$path" ]; do path=$(dirname "$path"); done
    mount=$(stat -c %m "$path")
    device=$(stat -c %d "$path")
    number=$((device >> 8 & 4095)):$((device & 255 | device >> 12 & 1048320))
    kind=$(awk -v mount="$mount" '$5 == mount { for (n = 7; n < NF; n++) if ($n == "-") kind = $(n + 1) " " $4 } END { print kind }' /proc/self/mountinfo)
    sys=/sys/dev/block/$number
    start=0
    [ ! -e $sys/start ] || start=$(cat $sys/start)
    size=$(cat $sys/size 2>/dev/null || echo 0)
    if [ -e $sys/partition ]; then disk=$(basename "$(dirname "$(readlink -f $sys)")"); else disk=$(basename "$(readlink -f $sys)"); fi
    printf 'place\t%s\t%s\t%s\t%s\t%s\n' "$mount" "$kind" "$start" "$size" "$disk"
}
first=$(basename "$(ls -d /sys/block/vda /sys/block/sda 2>/dev/null | head -n 1)")
printf 'first\t%s\n' "$first"
"#;
    format!("set -e\n{at}{}", paths.iter().map(one).collect::<String>())
}

/// The one place of all of them.
///
/// # Errors
/// If they are in several file systems, or in one that cannot be looked at.
pub fn place(said: &str) -> Result<Place, GuestError> {
    let mut lines = said.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let first = match lines.next().as_deref() {
        Some(["first", first]) => (*first).to_owned(),
        other => {
            return Err(wrong(format!("the guest did not say which disk is its first: {other:?}"), "see the console"));
        }
    };
    let mut found: Option<Place> = None;
    for line in lines {
        let ["place", mount, kind, start, size, disk] = line.as_slice() else {
            return Err(wrong(format!("the guest did not say where the files lie: {line:?}"), "see the console"));
        };
        if !matches!(*kind, "ext4 /" | "ext3 /") {
            let what = format!(
                "{mount} is {kind:?} in the guest: crash states are examined in an ext4 that is mounted as a whole"
            );
            return Err(wrong(what, "name files with --durable that lie in an ext4"));
        }
        let number = |text: &str| text.parse::<u64>().ok().and_then(|sectors| sectors.checked_mul(512));
        let (Some(start), Some(length)) = (number(start), number(size)) else {
            return Err(wrong(format!("the place of {mount} cannot be read: {line:?}"), "see the console"));
        };
        if length == 0 || start.checked_add(length).is_none() || *disk != first {
            let what = format!(
                "{mount} lies on {disk}, and only a partition of the first disk ({first}) is followed, no LVM and no RAID"
            );
            return Err(wrong(what, "name files with --durable that lie on the first disk"));
        }
        let place = Place { mount: Utf8PathBuf::from(*mount), start, length };
        match &found {
            Some(other) if *other != place => {
                let what = format!("the files lie in two file systems, {} and {mount}", other.mount);
                return Err(wrong(what, "make an experiment for each"));
            }
            _ => found = Some(place),
        }
    }
    found.ok_or_else(|| wrong("the guest named no place", "see the console"))
}

/// Asks for the SHA-256 of all regular files at these paths, on their own file system; links in the paths are followed.
pub fn sums_script(paths: &[Utf8PathBuf]) -> String {
    let one = |path: &Utf8PathBuf| {
        let path = quoted(path.as_str());
        format!(
            "path=$(readlink -f {path})\n[ ! -e \"$path\" ] || find \"$path\" -xdev -type f -exec sha256sum {{}} +\n"
        )
    };
    format!("set -e\nexport LC_ALL=C\n{}", paths.iter().map(one).collect::<String>())
}

/// The sums that the guest named.
///
/// # Errors
/// If a line is not a sum and a path, or there are too many.
pub fn sums(said: &str) -> Result<Sums, GuestError> {
    let mut sums = Sums::new();
    for line in said.lines() {
        if line.contains(char::REPLACEMENT_CHARACTER) {
            let what = format!("a file has a name that is no UTF-8: {line:?}");
            return Err(wrong(what, "name files with --durable whose names are text"));
        }
        // A name with a line end in it begins with a backslash, before the sum.
        let Some((sum, path)) =
            line.split_once("  ").filter(|(sum, _)| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()))
        else {
            return Err(wrong(
                format!("this is no file with its sum: {line:?}"),
                "name files with --durable whose names are one line",
            ));
        };
        sums.insert(path.to_owned(), sum.to_owned());
    }
    match sums.len() {
        0..=MOST_FILES => Ok(sums),
        many => {
            Err(wrong(format!("{many} files are too many: {MOST_FILES} can be followed"), "name fewer with --durable"))
        }
    }
}

/// The workload's exit code.
///
/// # Errors
/// If the script did not come to its end.
pub fn workload_code(said: &str) -> Result<i32, GuestError> {
    let last = said.lines().last().and_then(|line| line.strip_prefix("workload ")).and_then(|code| code.parse().ok());
    last.ok_or_else(|| wrong("the workload's script did not come to its end", "try it in the guest by hand"))
}

/// The SHA-256 of what a control holds: before the window and after it; none where there is no such file.
pub fn control_sums(name: &str) -> (Option<String>, Option<String>) {
    let sum = |text: &str| hex(Sha256::digest(text));
    ((name == "clean").then(|| sum(OLD)), Some(sum(NEW)))
}

/// Whether a path can be one of the files: absolute, on one line.
pub fn is_usable(path: &Utf8Path) -> bool {
    path.is_absolute() && !path.as_str().contains(['\n', '\r', '\t', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "first\tvda\n";

    #[test]
    fn files_of_one_ext4_on_the_first_disk_have_one_place() {
        let line = "place\t/srv\text4 /\t262144\t8192\tvda\n";
        let place = place(&format!("{FIRST}{line}{line}")).unwrap();
        assert_eq!(place, Place { mount: "/srv".into(), start: 262_144 * 512, length: 8192 * 512 });
        assert_eq!(place.inside("/srv/app/state"), "/app/state");
        assert_eq!(place.control("clean"), "/srv/boma-qemu-crash/clean");
        let root = Place { mount: "/".into(), ..place };
        assert_eq!(root.inside("/etc/hostname"), "/etc/hostname");
    }

    #[rstest::rstest]
    #[case("", "named no place")]
    #[case("place\t/\tbtrfs /\t0\t8\tvda\n", "btrfs")]
    #[case("place\t/a\text4 /b\t0\t8\tvda\n", "mounted as a whole")]
    #[case("place\t/\text4 /\t0\t8\tdm-0\n", "no LVM")]
    #[case("place\t/\text4 /\t0\t0\tvda\n", "first disk")]
    #[case("place\t/\text4 /\tx\t8\tvda\n", "cannot be read")]
    #[case("place\t/\text4 /\t1\t8\tvda\nplace\t/b\text4 /\t9\t8\tvda\n", "two file systems")]
    #[case("nonsense\n", "did not say where")]
    fn what_cannot_be_looked_at_is_refused_by_name(#[case] lines: &str, #[case] word: &str) {
        let error = place(&format!("{FIRST}{lines}")).unwrap_err();
        assert!(error.what.contains(word), "{error}");
    }

    #[test]
    fn sums_are_read_by_line_and_anything_else_is_refused() {
        let sum = "0123456789abcdef".repeat(4);
        let found = sums(&format!("{sum}  /srv/a file\n")).unwrap();
        assert_eq!(found.get("/srv/a file"), Some(&sum));
        assert!(sums(&format!("\\{sum}  /srv/a\\nfile\n")).is_err());
        assert!(sums(&format!("{sum}  /srv/\u{fffd}\n")).is_err());
        assert!(sums("find: no such file").is_err());
    }

    #[test]
    fn a_script_that_broke_off_has_no_exit_code() {
        assert_eq!(workload_code("said this\nworkload 3"), Ok(3));
        assert!(workload_code("workload 3\nand then").is_err());
        assert!(workload_code("").is_err());
    }

    /// The very scripts, here instead of in a guest.
    #[test]
    fn the_scripts_do_what_they_are_for() {
        let keep = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(keep.path()).unwrap();
        let place = Place { mount: dir.to_owned(), start: 0, length: 0 };
        let run = |script: &str| {
            let ran = host::cmd::Cmd::new("sh").args(["-c", script]).run();
            ran.unwrap_or_else(|error| panic!("{script}: {error}")).stdout
        };
        run(&place.prepare_script().replace("\nsync", ""));
        let paths = [dir.join("app"), dir.join("boma-qemu-crash")];
        let before = sums(&run(&sums_script(&paths))).unwrap();
        let clean = place.control("clean");
        assert_eq!(before.get(&clean).cloned(), control_sums("clean").0);
        let workload = format!("mkdir {0}/app; echo it\\'s here >{0}/app/state; exit 7", dir);
        assert_eq!(workload_code(&run(&place.window_script(&workload))), Ok(7));
        let after = sums(&run(&sums_script(&paths))).unwrap();
        assert_eq!(after.len(), 3);
        for control in ["clean", "unsynced"] {
            assert_eq!(after.get(&place.control(control)).cloned(), control_sums(control).1, "{control}");
        }
        let said = run(&place_script(&[dir.join("not/there/yet")]));
        assert!(said.starts_with("first\t") && said.lines().count() == 2, "{said}");
    }
}
