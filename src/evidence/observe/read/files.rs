//! Files: modes and access lists in memory, digests in `/etc`, drop-ins until the reboot, settings in `/sys`.

use super::{Files, is_random_veth, there};
use crate::observe::state::{Fact, Facts};
use std::collections::{BTreeMap, BTreeSet};

/// Files in `/etc` that programs write while the machine runs, or that are seen elsewhere: they say nothing about how it
/// is set up.
const WRITTEN: [&str; 22] = [
    "/etc/.pwd.lock",
    "/etc/.updated",
    "/etc/adjtime",
    "/etc/apparmor.d/cache/",
    "/etc/blkid.tab",
    "/etc/docker/key.json",
    "/etc/fake-hwclock.data",
    "/etc/ld.so.cache",
    "/etc/lvm/archive/",
    "/etc/lvm/backup/",
    "/etc/lvm/cache/",
    "/etc/machine-id",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/etc/udev/hwdb.bin",
    // Backups of the files that are seen as users and groups.
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subuid-",
];

/// Files below `/etc`, crontabs and keys that may log in, by digest (`cksum`: a checksum and a length); of `/etc/hosts`
/// what it says.
pub(super) fn etc(text: &str, files: &Files) -> Facts {
    let rows = text.lines().filter_map(|line| {
        let (sum, rest) = line.split_once(' ')?;
        let (length, path) = rest.split_once(' ')?;
        Some((path, format!("{length} bytes, checksum {sum}")))
    });
    let own = |path: &str| !WRITTEN.iter().any(|w| path == *w || (w.ends_with('/') && path.starts_with(w)));
    let mut facts: Facts =
        rows.filter(|(path, _)| own(path)).map(|(path, digest)| (path.to_owned(), Fact::One(digest))).collect();
    let hosts = files.text("/etc/hosts");
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let lines: Vec<_> = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let lines: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    there(&mut facts, "/etc/hosts", lines.join("\n"));
    facts
}

/// Files of systemd, udev and others in `/run`: drop-ins and units that hold until the reboot only. What generators
/// make is not among them.
pub(super) fn runtime(text: &str) -> Facts {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, line) in text.lines().filter_map(|line| line.split_once(':')) {
        let comment = line.trim().is_empty() || line.trim_start().starts_with(['#', ';']);
        let lines = found.entry(path).or_default();
        if !comment {
            lines.push(line.trim());
        }
    }
    let name = |path: &str| path.trim_start_matches('/').to_owned();
    found.into_iter().map(|(path, lines)| (name(path), Fact::One(lines.join("\n")))).collect()
}

/// Modes, owners and access lists below `/run` and `/dev`, and below `/sys` where they are not the kernel's own. A terminal
/// on which a getty asks belongs to whoever has logged in there last.
pub(super) fn permissions(text: &str, acls: &str, units: &str) -> Facts {
    let mut facts = Facts::new();
    let lists = access_lists(acls);
    let terminals = terminals(units);
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some(kind), Some(mode), Some(owner), Some(path)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        // The kernel's names are not drawn, though some of them are numbers.
        let of_one_boot = match path.strip_prefix("/sys/") {
            Some(path) => path.split('/').any(is_random_veth),
            None => {
                is_drawn(path)
                    || (kind == "f" && is_lock(path))
                    || path.strip_prefix("/dev/").is_some_and(|name| terminals.contains(name))
            }
        };
        if of_one_boot {
            continue;
        }
        let kind = match kind {
            "d" => "folder",
            "s" => "socket",
            "p" => "pipe",
            "b" | "c" => "device",
            _ => "file",
        };
        let list = lists.get(path).map(|list| format!(" {}", list.join(" "))).unwrap_or_default();
        there(&mut facts, path, format!("{kind} {mode} {owner}{list}"));
    }
    facts
}

/// The modes that device nodes get at boot, by tmpfiles.d(5): `/dev/autofs 600`. kmod writes such lines for the modules whose
/// nodes are there before they are loaded.
pub(super) fn device_modes(text: &str) -> Vec<String> {
    let nodes = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let kind = words.next()?.trim_end_matches(['+', '!', '-', '=', '~', '^']);
        let (path, mode) = (words.next()?, words.next()?.trim_start_matches('0'));
        matches!(kind, "c" | "b").then(|| format!("{path} {mode}"))
    });
    nodes.collect()
}

/// Whether a file is a lock: it is created when the lock is taken, and says nothing by itself. adduser's has another name.
fn is_lock(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_named = name.ends_with("lock") || name.ends_with(".lck") || path == "/run/adduser";
    path.starts_with("/run/") && (is_named || path.starts_with("/run/lock/"))
}

/// The terminals that a getty has, by its unit: `getty@tty1.service`, `serial-getty@ttyS0.service`.
fn terminals(units: &str) -> BTreeSet<&str> {
    let names = units.lines().filter_map(|line| line.split(' ').next()?.strip_suffix(".service"));
    names.filter_map(|unit| unit.split_once("getty@")).map(|(_, terminal)| terminal).collect()
}

/// The entries of each access list beyond the mode, from `getfacl -s`.
fn access_lists(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut lists = BTreeMap::new();
    let mut path = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# file: ") {
            path = name;
        }
        let base = line.starts_with('#') || line.is_empty() || line.contains("::");
        if !base {
            lists.entry(path).or_insert_with(Vec::new).push(line);
        }
    }
    lists
}

/// Whether a path has a part that a program has drawn: a number of a process or of a user's session, a hash, a UUID.
pub(super) fn is_drawn(path: &str) -> bool {
    const FOLDERS: [&str; 20] = [
        // Of the harness itself.
        "/run/boma-",
        // Seen as the system's machine id.
        "/run/machine-id",
        "/run/cloud-init/",
        // Of who checked the root: the initramfs, or the unit that does it otherwise.
        "/run/fsck",
        "/run/initramfs",
        "/run/user/",
        "/run/credentials/",
        "/run/containerd/",
        "/run/docker/",
        "/run/containers",
        "/run/crun",
        "/run/libpod",
        "/run/podman",
        "/run/runc",
        "/run/netns/",
        "/run/sudo/ts/",
        // Links by name, which udev makes and removes with the device.
        "/dev/disk/",
        "/dev/pts/",
        "/dev/loop",
        "/dev/vcs",
    ];
    let word = |part: &str| {
        let hex = part.len() >= 8 && part.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        let number = !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        hex || number
    };
    FOLDERS.iter().any(|folder| path.starts_with(folder)) || path.split(['/', '.', ':']).any(word)
}

/// Settings below `/sys`, and the parameters of modules.
pub(super) fn sys(text: &str) -> Facts {
    let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        let Some((path, value)) = line.strip_prefix("/sys/").and_then(|line| line.split_once(':')) else { continue };
        let mut parts = path.split('/');
        let elsewhere = path.starts_with("kernel/security/") || path.contains("/dm/") || path.contains("/md/");
        let passing = path.starts_with("block/loop") || path.starts_with("block/ram") || parts.any(is_random_veth);
        if !elsewhere && !passing {
            values.entry(path).or_default().push(value);
        }
    }
    values.into_iter().map(|(path, lines)| (path.to_owned(), Fact::One(lines.join("\n")))).collect()
}

/// AppArmor's profiles, each with its mode: `docker-default (enforce)`.
pub(super) fn apparmor(files: &str) -> Facts {
    let lines = files.lines().filter_map(|line| line.strip_prefix("/sys/kernel/security/apparmor/profiles:"));
    let rows = lines.filter_map(|line| line.rsplit_once(" (")).map(|(name, mode)| (name, mode.trim_end_matches(')')));
    rows.map(|(name, mode)| (name.to_owned(), Fact::One(mode.to_owned()))).collect()
}

/// Volumes of the device mapper by name, loop devices by file, and arrays by level. Which number the kernel gives them is chance.
pub(super) fn block_devices(files: &str) -> Facts {
    let mut facts = Facts::new();
    for (path, value) in files.lines().filter_map(|line| line.strip_prefix("/sys/block/")?.split_once(':')) {
        if path.ends_with("/dm/name") {
            there(&mut facts, value, "device mapper");
        }
        if path.ends_with("/loop/backing_file") {
            there(&mut facts, value, "loop device");
        }
        if let Some(name) = path.strip_suffix("/md/level") {
            there(&mut facts, name, value);
        }
    }
    facts
}

/// Programs that are registered for foreign executables.
pub(super) fn binfmt(text: &str) -> Facts {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        let Some((name, value)) = line.strip_prefix("/proc/sys/fs/binfmt_misc/").and_then(|l| l.split_once(':')) else {
            continue;
        };
        if name != "status" && name != "register" {
            found.entry(name).or_default().push(value);
        }
    }
    found.into_iter().map(|(name, lines)| (name.to_owned(), Fact::One(lines.join("; ")))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::seen;
    use super::*;

    #[test]
    fn an_access_list_belongs_to_the_file_that_it_is_on() {
        let text = "s 660 root:docker /run/docker.sock\nd 755 root:root /run/app\ns 666 root:root /run/containerd/s/0a1b\n\
                    f 644 root:root /run/sshd.pid\nf 666 root:root /sys/devices/pci0000:00/0000:00:1f.2/led\nd 700 root:root /run/session/4711\n";
        let acls = "# file: /run/docker.sock\n# owner: root\n# group: docker\nuser::rw-\nuser:metrics:rw-\ngroup::rw-\n\
                    mask::rw-\nother::---\n\n";
        assert_eq!(
            seen(permissions(text, acls, "")),
            [
                "/run/app = folder 755 root:root",
                "/run/docker.sock = socket 660 root:docker user:metrics:rw-",
                "/run/sshd.pid = file 644 root:root",
                "/sys/devices/pci0000:00/0000:00:1f.2/led = file 666 root:root",
            ]
        );
    }

    #[test]
    fn a_terminal_on_which_a_getty_asks_belongs_to_whoever_logged_in_last() {
        let text = "c 600 ansible:tty /dev/ttyS0\nc 620 root:tty /dev/tty1\nc 666 root:dialout /dev/ttyUSB0\n";
        let units = "getty@tty1.service loaded active running Getty on tty1\n\
                     serial-getty@ttyS0.service loaded active running Serial Getty on ttyS0\n";
        assert_eq!(seen(permissions(text, "", units)), ["/dev/ttyUSB0 = device 666 root:dialout"]);
    }

    #[test]
    fn a_lock_is_made_by_whoever_takes_it_and_a_folder_of_locks_is_none() {
        let text = "f 644 root:root /run/adduser\nf 600 root:root /run/xtables.lock\nf 644 root:root /run/lock/zed\n\
                    d 755 web:web /run/lock/web\nf 644 root:root /run/motd.dynamic\nf 600 root:root /dev/lock";
        let told = seen(permissions(text, "", ""));
        let expected = [
            "/dev/lock = file 600 root:root",
            "/run/lock/web = folder 755 web:web",
            "/run/motd.dynamic = file 644 root:root",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_programs_write_into_etc_is_noise_and_of_hosts_the_words_count() {
        let text = "12 34 /etc/adjtime\n56 78 /etc/nftables.conf\n9 10 /etc/lvm/backup/vg0\n1 2 /root/.ssh/authorized_keys\n3 4 /etc/hosts\n";
        let files = Files::new("/etc/hosts:# cloud-init\n/etc/hosts:127.0.0.1   localhost # own\n/etc/hosts:\n");
        assert_eq!(
            seen(etc(text, &files)),
            [
                "/etc/hosts = 127.0.0.1 localhost",
                "/etc/nftables.conf = 78 bytes, checksum 56",
                "/root/.ssh/authorized_keys = 2 bytes, checksum 1",
            ]
        );
    }

    #[test]
    fn a_drop_in_is_what_it_sets() {
        let text = "/run/systemd/system.control/importer.service.d/50-MemoryMax.conf:# This is a drop-in\n\
                    /run/systemd/system.control/importer.service.d/50-MemoryMax.conf:[Service]\n\
                    /run/systemd/system.control/importer.service.d/50-MemoryMax.conf:MemoryMax=67108864\n";
        assert_eq!(
            seen(runtime(text)),
            ["run/systemd/system.control/importer.service.d/50-MemoryMax.conf = [Service]\nMemoryMax=67108864"]
        );
    }

    #[test]
    fn settings_profiles_and_volumes_are_told_apart() {
        let text = "/sys/kernel/mm/transparent_hugepage/enabled:always [madvise] never\n/sys/block/loop0/queue/scheduler:[none]\n\
                    /sys/block/dm-0/dm/name:vg0-data\n/sys/block/loop3/loop/backing_file:/srv/disk.img\n/sys/block/md127/md/level:raid1\n\
                    /sys/kernel/security/apparmor/profiles:docker-default (enforce)\n";
        assert_eq!(seen(sys(text)), ["kernel/mm/transparent_hugepage/enabled = always [madvise] never"]);
        assert_eq!(seen(apparmor(text)), ["docker-default = enforce"]);
        assert_eq!(
            seen(block_devices(text)),
            ["/srv/disk.img = loop device", "md127 = raid1", "vg0-data = device mapper"]
        );
        let binfmt = binfmt(
            "/proc/sys/fs/binfmt_misc/status:enabled\n/proc/sys/fs/binfmt_misc/wine:enabled\n/proc/sys/fs/binfmt_misc/wine:interpreter /usr/bin/wine\n",
        );
        assert_eq!(seen(binfmt), ["wine = enabled; interpreter /usr/bin/wine"]);
    }

    #[test]
    fn a_path_with_a_number_or_a_hash_in_it_is_of_this_boot_only() {
        for path in ["/run/x/1234", "/run/app/0a1b2c3d4e5f", "/run/user/1000/bus", "/run/dbus.4711"] {
            assert!(is_drawn(path), "{path}");
        }
        for path in ["/run/docker.sock", "/run/app", "/dev/vda1", "/run/app2"] {
            assert!(!is_drawn(path), "{path}");
        }
    }
}
