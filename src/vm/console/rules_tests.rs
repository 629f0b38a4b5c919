//! Lines from the wild, as they are and as a shared serial line mangles them.

use super::*;
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn check(log: &[u8]) -> Vec<Finding> {
    let mut watcher = Watcher::new(0, Allowed::default());
    let mut found = watcher.feed(log);
    found.extend(watcher.cut());
    found
}

fn ids(log: &str) -> Vec<&'static str> {
    check(log.as_bytes()).into_iter().map(|finding| finding.id).collect()
}

/// A line and the rules that know it.
type Known = (&'static str, &'static [&'static str]);

const KERNEL: &[Known] = &[
    (
        "[    2.1] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
        &["kernel-panic", "root-mount"],
    ),
    (
        "[   14.000001] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
        &["kernel-panic", "no-init"],
    ),
    (
        "[   14.000001][    T1] Kernel panic - not syncing: Requested init /nonexistent failed (error -2).",
        &["kernel-panic"],
    ),
    ("Kernel panic - not syncing: sysrq triggered crash", &["kernel-panic"]),
    ("[   33.520000] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---", &["panic-halt"]),
    ("[   31.337000] BUG: unable to handle page fault for address: ffffffffdeadbeef", &["kernel-oops"]),
    ("[   31.337000] BUG: kernel NULL pointer dereference, address: 0000000000000000", &["kernel-oops"]),
    ("[   31.337001] Oops: Oops: 0002 [#1] PREEMPT SMP NOPTI", &["kernel-oops"]),
    (
        "[   31.337001] Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] PREEMPT SMP",
        &["kernel-oops"],
    ),
    ("[   31.337001] kernel BUG at mm/slub.c:4023!", &["kernel-oops"]),
    ("[   90.000000] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [stress:812]", &["soft-lockup"]),
    ("[   90.000000] watchdog: Watchdog detected hard LOCKUP on cpu 1", &["hard-lockup"]),
    ("[  121.000000] rcu: INFO: rcu_preempt self-detected stall on CPU", &["rcu-stall"]),
    ("[  121.000000] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", &["rcu-stall"]),
    ("[  242.000000] INFO: task mount:301 blocked for more than 120 seconds.", &["hung-task"]),
    ("[  300.000000] Out of memory: Killed process 901 (python3) total-vm:3000kB", &["oom-kill"]),
    ("[  300.000000] Memory cgroup out of memory: Killed process 901 (python3) total-vm:3000kB", &["oom-kill"]),
    (
        "[   12.000000] I/O error, dev vda, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2",
        &["io-error"],
    ),
    ("[   12.000000] critical space allocation error, dev vda, sector 2048 op 0x1:(WRITE) flags 0x800", &["io-error"]),
    ("[   12.000000] Buffer I/O error on dev vda2, logical block 131072, lost sync page write", &["io-error"]),
    (
        "[   12.500000] EXT4-fs error (device vda2): ext4_find_entry:1682: inode #2: comm ls: reading directory",
        &["file-system-error"],
    ),
    ("[   12.500000] EXT4-fs (vda2): Remounting filesystem read-only", &["file-system-error"]),
    ("[   12.500000] Aborting journal on device vda2-8.", &["file-system-error"]),
    ("[    3.200000] systemd[1]: sysinit.target: Found ordering cycle on a.service/start", &["ordering-cycle"]),
    ("[   44.000000] caddy[700]: segfault at 0 ip 00007f sp 00007f error 4 in libc.so.6", &["segfault"]),
    ("[   44.000000] traps: a-tool[700] general protection fault ip:7f sp:7f error:0 in libc.so.6", &["segfault"]),
    ("[    4.000000] systemd[1]: segfault at 0 ip 00007f sp 00007f error 4 in systemd", &["pid1-segfault", "segfault"]),
    ("[    4.000000] systemd[1]: Freezing execution.", &["pid1-frozen"]),
    ("[    4.000000] systemd[1]: Caught <SEGV>, dumped core as pid 812.", &["pid1-frozen"]),
    ("[    9.000000] WARNING: CPU: 0 PID: 1 at fs/inode.c:421 drop_nlink+0x2d/0x40", &["kernel-warning"]),
];

/// What programs write; the kernel can write in between.
const USERS: &[Known] = &[
    ("You are in emergency mode. After logging in, type \"journalctl -xb\" to view", &["emergency-mode"]),
    ("[  OK  ] Reached target emergency.target - Emergency Mode.", &["emergency-mode"]),
    ("[  OK  ] Started emergency.service - Emergency Shell.", &["emergency-mode"]),
    ("Entering emergency mode. Exit the shell to continue.", &["emergency-mode"]),
    ("[  OK  ] Reached target rescue.target - Rescue Mode.", &["rescue-mode"]),
    // The other two of systemd's forms: the name, the description.
    ("[  OK  ] Reached target emergency.target.", &["emergency-mode"]),
    ("[  OK  ] Reached target Emergency Mode.", &["emergency-mode"]),
    ("[  OK  ] Started rescue.service.", &["rescue-mode"]),
    ("[  OK  ] Started Rescue Shell.", &["rescue-mode"]),
    ("[  OK  ] Started rescue.service - Rescue Shell.", &["rescue-mode"]),
    ("You are in rescue mode. After logging in, type \"journalctl -xb\" to view", &["rescue-mode"]),
    ("[FAILED] Failed to mount sysroot.mount - /sysroot.", &["root-mount", "unit-failed"]),
    ("Cannot open access to console, the root account is locked.", &["no-rescue-login"]),
    ("ALERT!  UUID=1234 does not exist.  Dropping to a shell!", &["root-mount", "initramfs-shell"]),
    ("Gave up waiting for root file system device.  Common problems:", &["root-mount"]),
    ("mount: mounting /dev/vda2 on /root failed: Invalid argument", &["root-mount"]),
    ("Target filesystem doesn't have requested /sbin/init.", &["no-init"]),
    ("No init found. Try passing init= bootarg.", &["no-init"]),
    ("BusyBox v1.37.0 (Debian 1:1.37.0-6+b3) built-in shell (ash)", &["initramfs-shell"]),
    ("[!!!!!!] Failed to mount API filesystems.", &["pid1-frozen"]),
    ("[ TIME ] Timed out waiting for device /dev/disk/by-uuid/dead.", &["device-timeout"]),
    ("[DEPEND] Dependency failed for local-fs.target - Local File Systems.", &["local-fs-failed", "dependency-failed"]),
    ("[DEPEND] Dependency failed for caddy.service - Caddy.", &["dependency-failed"]),
    ("[FAILED] Failed to start docker.service - Docker Application Container Engine.", &["unit-failed"]),
    ("[ SKIP ] Ordering cycle found, skipping a.service", &["ordering-cycle"]),
    ("/dev/vda2: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.", &["fsck-needed"]),
    ("Entering rescue mode...", &["grub-rescue"]),
    ("No bootable device.", &["no-boot-device"]),
];

/// What a healthy machine can say that has words of a lost one in it.
const BORROWED: &[&str] = &[
    "[  OK  ] Started net-rescue.service - Network rescue daemon.",
    "[  OK  ] Started net-rescue.service.",
    "[  OK  ] Started shell.service - Emergency Shell.",
    "[  OK  ] Started mail-emergency.service - Tells of an Emergency Mode.",
    "[  OK  ] Started Watches for Emergency Mode.",
    "[  OK  ] Reached target my-rescue.target - Rescue Mode.",
    "[  OK  ] Reached target emergency.target.wants-watch.service - x.",
    "[  OK  ] Finished rescue.service-check.service - Rescue Shell.",
    "         Starting emergency.service - Emergency Shell...",
    "[  OK  ] Stopped target emergency.target - Emergency Mode.",
    "[  OK  ] Listening on rescue.socket - Rescue Shell.",
    "[   12.3] myapp[812]: replaying log: Kernel panic - not syncing: test",
    "[   12.345678] myapp[812]: Kernel panic - not syncing: test",
    "[   12.345678][  T812] myapp[812]: You are in emergency mode",
    "[   12.345678] replaying a log: Kernel panic - not syncing: test",
    "myapp[812]: Kernel panic - not syncing: test",
    "myapp[812]: systemd[1]: Freezing execution.",
    "Nov 29 00:11:22 askari myapp[812]: Reached target emergency.target - Emergency Mode.",
    "[   12.345678] crash-collector: kept ---[ end Kernel panic - not syncing: x ]---",
    "sshd[4]: You are in emergency mode",
    "Note: You are in emergency mode when this fails",
    "backup: ALERT! the disk of the day does not exist",
    "pxe[1]: Dropping to a shell!",
    "audit: BusyBox v1.37.0 built-in shell (ash) was started",
    "docs: No init found. Try passing init= bootarg.",
    "check[9]: VFS: Unable to mount root fs on unknown-block(0,0)",
    "ladder[3]: Gave up waiting for root file system device.",
    "agetty[7]: Cannot open access to console, the root account is locked.",
    "install.sh: Give root password for maintenance",
    "[   12.345678] qemu[99]: No bootable device.",
    "[   12.345678] myapp[1]: segfault at 0",
    "vm[7]: [!!!!!!] Failed to mount API filesystems.",
];

#[test]
fn words_of_a_lost_machine_in_another_ones_lines_are_not_fatal() {
    for line in BORROWED {
        let fatal: Vec<_> = check(format!("{line}\r\n").as_bytes()).into_iter().filter(|found| found.fatal).collect();
        assert_eq!(fatal, [], "{line}");
    }
}

/// Each fatal rule says how it is confirmed, and those that a panic stands behind are not asked for a prompt.
#[test]
fn a_fatal_rule_is_confirmed_in_the_way_that_it_can_be() {
    let by = |how| RULES.iter().filter(move |rule| rule.fatal && confirm(rule.id) == how).map(|rule| rule.id);
    assert_eq!(by(Confirm::Processors).collect::<Vec<_>>(), [PANIC, PANIC_HALT, "pid1-segfault"]);
    assert_eq!(by(Confirm::Silence).collect::<Vec<_>>(), ["pid1-frozen", "no-boot-device"]);
    assert!(RULES.iter().filter(|rule| rule.prompt).all(|rule| confirm(rule.id) == Confirm::Talk));
}

const ORDINARY: &[&str] = &[
    "[    0.500000] pvpanic-pci 0000:00:06.0: enabling device",
    "[    1.000000] rcu: \tRCU restricting CPUs from NR_CPUS=8192 to nr_cpu_ids=2.",
    "[  OK  ] Reached target local-fs.target - Local File Systems.",
    "[  OK  ] Reached target reboot.target - System Reboot.",
    "[    0.100000] Kernel command line: panic=10 oops=panic",
    "Gave up waiting for suspend/resume device",
    "[   10.000000] watchdog: watchdog0: watchdog did not stop!",
    "[    1.200000] EXT4-fs (vda2): recovery complete",
    "[    1.200000] EXT4-fs (vda2): mounted filesystem 1f2e ro with ordered data mode. Quota mode: none.",
    "[    0.000000] NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.",
    "error: file `/boot/grub/locale/en.gmo' not found.",
];

#[test]
fn every_rule_has_a_name_of_its_own_and_a_line_from_the_wild() {
    let names: std::collections::HashSet<_> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(names.len(), RULES.len());
    assert_eq!(ALL.len(), RULES.len());
    let known: Vec<_> = KERNEL.iter().chain(USERS).flat_map(|(_, ids)| *ids).collect();
    let unknown = |rule: &&Rule| !rule.prompt && !known.contains(&&rule.id);
    // The last one is what QEMU says, not the console.
    assert_eq!(RULES.iter().filter(unknown).map(|rule| rule.id).collect::<Vec<_>>(), ["kvm-internal-error"]);
}

#[test]
fn a_line_from_the_wild_is_known_and_an_ordinary_one_is_left_alone() {
    for (line, expected) in KERNEL.iter().chain(USERS) {
        assert_eq!(ids(&format!("{line}\r\n")), *expected, "{line}");
    }
    for line in ORDINARY {
        assert_eq!(ids(&format!("{line}\r\n")), [""; 0], "{line}");
    }
}

#[test]
fn a_finding_is_told_at_once_and_not_only_when_the_file_ends() {
    for (line, expected) in KERNEL.iter().chain(USERS) {
        let mut watcher = Watcher::new(0, Allowed::default());
        let found: Vec<_> = watcher.feed(format!("{line}\r\n").as_bytes()).into_iter().map(|f| f.id).collect();
        assert_eq!(found, *expected, "{line}");
    }
}

#[rstest::rstest]
#[case("(initramfs) ", "initramfs-prompt")]
#[case("dracut:/# ", "dracut-prompt")]
#[case("switch_root:/root# ", "dracut-prompt")]
#[case("grub> ", "grub-prompt")]
#[case("grub rescue> ", "grub-prompt")]
#[case("Give root password for maintenance\r\n(or press Control-D to continue): ", "sulogin-prompt")]
fn a_prompt_is_found_before_its_line_ends_and_only_once(#[case] text: &str, #[case] id: &str) {
    let mut watcher = Watcher::new(0, Allowed::default());
    let (first, rest) = text.split_at(4);
    assert_eq!(watcher.feed(first.as_bytes()), []);
    let found = watcher.feed(rest.as_bytes());
    assert!(!found.is_empty() && found.iter().all(|found| found.id == id), "{found:?}");
    assert_eq!(watcher.feed(b"\r\n"), []);
    let prompt = text.rsplit('\n').next().unwrap();
    assert_eq!(watcher.feed(prompt.as_bytes()).len(), 1, "the next prompt is another one");
}

#[test]
fn a_prompt_that_the_kernel_ran_over_is_still_one() {
    let mut watcher = Watcher::new(0, Allowed::default());
    assert_eq!(watcher.feed(b"(initra[   12.345678] eth0: link up\r\n"), []);
    assert_eq!(watcher.feed(b"mfs) ").iter().map(|f| f.id).collect::<Vec<_>>(), ["initramfs-prompt"]);
}

#[test]
fn an_endless_line_is_not_looked_at_again_for_each_of_its_bytes() {
    let mut watcher = Watcher::new(0, Allowed::default());
    let start = std::time::Instant::now();
    for _ in 0..(1 << 20) {
        assert_eq!(watcher.feed(b"x"), []);
    }
    assert!(start.elapsed().as_secs() < 20, "{:?} for 1 MiB, byte by byte", start.elapsed());
}

#[test]
fn a_finding_says_where_its_line_stands() {
    let log = b"fine\r\n\r\nKernel panic - not syncing: x\r\n";
    assert_eq!((check(log)[0].offset, check(log)[0].row), (8, 3));
}

/// Colours, titles and what else a terminal swallows.
const SEQUENCES: [&str; 10] = [
    "\x1b[0;1;31m",
    "\x1b[K",
    "\x1b[?25l",
    "\x1b[m",
    "\x1b]0;a title\x07",
    "\x1b]3008;start=0af1;machineid=[x\x1b\\",
    "\x1b(B",
    "\x1b7",
    "\x1bM",
    "\x1bP1$r0m\x1b\\",
];

const RECORDS: [&str; 3] = [
    "[   12.345678] eth0: link up",
    "[12345.678901] audit: type=1400",
    "[    0.000000][    T1] a record with a [ and a ] ",
];

/// `text` with some of `pieces` put in at some of its places.
fn mangled(text: &'static str, pieces: Vec<(Index, String)>) -> String {
    let places: Vec<_> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut cuts: Vec<_> = pieces.into_iter().map(|(at, piece)| (places[at.index(places.len())], piece)).collect();
    cuts.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let mut text = text.to_owned();
    for (at, piece) in cuts {
        text.insert_str(at, &piece);
    }
    text
}

fn pieces(of: &'static [&'static str], end: &'static str) -> impl Strategy<Value = Vec<(Index, String)>> {
    let piece = select(of).prop_map(move |piece| format!("{piece}{end}"));
    proptest::collection::vec((any::<Index>(), piece), 1..5)
}

proptest! {
    #[test]
    fn control_sequences_anywhere_in_a_line_hide_nothing(
        known in select([KERNEL, USERS].concat()),
        with in pieces(&SEQUENCES, ""),
    ) {
        let (line, expected) = known;
        prop_assert_eq!(ids(&format!("{}\r\n", mangled(line, with))), expected);
    }

    #[test]
    fn kernel_records_anywhere_in_what_a_program_writes_hide_nothing(
        known in select(USERS),
        with in pieces(&RECORDS, "\r\n"),
    ) {
        let (line, expected) = known;
        let log = mangled(line, with);
        prop_assert_eq!(ids(&format!("{log}\r\n")), expected, "{}", log);
    }

    #[test]
    fn a_kernel_record_anywhere_in_a_painted_line_hides_neither(at in any::<Index>(), end in select(vec!["\r\n", "\n", "\r\r\n"])) {
        let line = "[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b]3008;start=1\x1b\\\x1b[0;1;39memergency.target\x1b[0m - Emergency Mode.";
        let (before, after) = line.split_at(at.index(line.len() + 1));
        let log = format!("{before}[   12.345678] Out of memory: Killed process 1 (x){end}{after}\r\n");
        prop_assert_eq!(ids(&log), ["oom-kill", "emergency-mode"], "{}", log);
    }

    #[test]
    fn a_line_among_progress_and_junk_is_found(
        known in select([KERNEL, USERS].concat()),
        junk in proptest::collection::vec(any::<u8>(), 0..300),
        cut in any::<Index>(),
    ) {
        let (line, expected) = known;
        // Junk can end in the middle of a control string: it is over at the latest where a line ends.
        let log = [&junk[..], b"\r\n\r\n(1 of 2) A job runs (5s / 1min)\r", line.as_bytes(), b"\r(2 of 2) A job runs (6s / 1min)\r\n"].concat();
        let mut watcher = Watcher::new(0, Allowed::default());
        let (one, two) = log.split_at(cut.index(log.len()));
        let mut found = watcher.feed(one);
        found.extend(watcher.feed(two));
        let found: Vec<_> = found.into_iter().filter(|f| f.line.ends_with(line)).map(|f| f.id).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_kernels_first_line_is_known_and_where_it_stands() {
    let mut watcher = Watcher::new(100, Allowed::default());
    watcher.feed(b"old\r\n[    0.000000] Linux ver");
    assert!(watcher.kernels().is_empty());
    watcher.feed(
        b"sion 6.12.9 (debian)\r\n[    0.000000][    T0] Linux version 6.13\r\n[    1.000000] Linux version?\r\n",
    );
    assert_eq!(watcher.kernels(), [105, 151]);
    assert!(watcher.kernels().is_empty(), "each is told once");
}
