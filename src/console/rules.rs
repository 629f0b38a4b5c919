//! What console lines mean: rules as data, for a live console and for any file.

use super::engine::{Engine, Line};
use regex::RegexSet;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Warning,
    /// Something is broken.
    Error,
    /// The machine, or a part that it cannot do without, is lost.
    Critical,
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name, for allow-lists and reports.
    pub id: &'static str,
    /// How bad a match is.
    pub severity: Severity,
    /// Whether this boot cannot get anywhere any more: a wait for it ends at once.
    pub fatal: bool,
    /// The pattern, matched against a line without control sequences (crate `regex`).
    pub pattern: &'static str,
    /// What a match means.
    pub means: &'static str,
    /// Whether it is a prompt, which stands at the end of the output and does not end its line.
    pub prompt: bool,
}

const fn rule(id: &'static str, severity: Severity, pattern: &'static str, means: &'static str) -> Rule {
    Rule { id, severity, fatal: false, pattern, means, prompt: false }
}

const fn fatal(id: &'static str, pattern: &'static str, means: &'static str) -> Rule {
    Rule { id, severity: Severity::Critical, fatal: true, pattern, means, prompt: false }
}

const fn prompt(id: &'static str, pattern: &'static str, means: &'static str) -> Rule {
    Rule { prompt: true, ..fatal(id, pattern, means) }
}

use Severity::{Critical, Error, Warning};

/// All rules. The texts are those of Linux 6.12, systemd 257, initramfs-tools, dracut and GRUB 2.12.
pub const RULES: &[Rule] = &[
    fatal("kernel-panic", r"Kernel panic - not syncing", "the kernel panicked"),
    fatal("pid1-frozen", r"systemd\[1\]: (Freezing execution|Caught <\w+>)", "systemd crashed and froze"),
    fatal("no-init", r"No working init found|Attempted to kill init", "the kernel has no process 1"),
    fatal(
        "root-mount",
        r"VFS: (Unable to mount|Cannot open) root|Gave up waiting for root|ALERT! .* does not exist|Failed to mount (sysroot\.mount|.*\[?/sysroot)|mounting .* on /root failed",
        "the root file system was not found or not mounted",
    ),
    fatal(
        "emergency-mode",
        r"You are in emergency mode|Welcome to emergency mode|Entering emergency mode|Reached target .*(emergency\.target|Emergency Mode)",
        "the boot ended in emergency mode (a failed mount in fstab, usually)",
    ),
    fatal(
        "rescue-mode",
        r"You are in rescue mode|Welcome to rescue mode|Reached target .*(rescue\.target|Rescue Mode)",
        "the boot ended in rescue mode",
    ),
    fatal(
        "no-rescue-login",
        r"Cannot open access to console, the root account is locked",
        "a rescue shell was due, but root is locked, so nobody can use it",
    ),
    fatal(
        "initramfs-shell",
        r"Dropping to a shell!|BusyBox v.* built-in shell",
        "the initramfs gave up and opened a shell",
    ),
    prompt("initramfs-prompt", r"^\(initramfs\) *$", "the initramfs waits at its shell"),
    prompt("dracut-prompt", r"^(dracut|switch_root):/.*# *$", "the initramfs (dracut) waits at its shell"),
    prompt("grub-prompt", r"^grub( rescue)?> *$", "the boot loader waits at its prompt"),
    prompt(
        "sulogin-prompt",
        r"Give root password for maintenance|Press Enter for maintenance|\(or press Control-D to continue\): *$",
        "a rescue shell waits for the root password",
    ),
    rule(
        "kernel-oops",
        Error,
        r"\bOops: |BUG: unable to handle|general protection fault, |kernel BUG at |BUG: (Bad|scheduling|sleeping|workqueue|KASAN)",
        "the kernel met a bug of its own",
    ),
    rule("soft-lockup", Error, r"BUG: soft lockup", "a processor was stuck in the kernel"),
    rule("hard-lockup", Critical, r"[Dd]etected hard LOCKUP", "a processor was stuck with interrupts off"),
    rule(
        "rcu-stall",
        Warning,
        r"rcu: INFO: rcu_\w+ .*(stall|detected)|rcu_\w+ kthread starved",
        "a processor did not reach a quiescent state in time (on a busy host this can be the host's doing)",
    ),
    rule(
        "hung-task",
        Warning,
        r"INFO: task .+ blocked for more than \d+ seconds",
        "a task has waited in the kernel for very long",
    ),
    rule(
        "oom-kill",
        Error,
        r"[Oo]ut of memory: Killed process|\boom-kill:constraint",
        "memory ran out and a process was killed",
    ),
    rule("io-error", Error, r"\bI/O error, dev \w+, sector|Buffer I/O error on dev", "a disk read or write failed"),
    rule(
        "file-system-error",
        Error,
        r"EXT4-fs error|EXT4-fs \(.*\): (Remounting filesystem read-only|.*[Cc]orrupt)|XFS \(.*\): .*([Cc]orruption|shut ?down)|BTRFS (critical|error)",
        "a file system is damaged",
    ),
    rule("fsck-needed", Error, r"UNEXPECTED INCONSISTENCY|RUN fsck MANUALLY", "a file system check needs a person"),
    rule(
        "local-fs-failed",
        Error,
        r"Dependency failed for .*([Ll]ocal [Ff]ile [Ss]ystems|local-fs\.target)",
        "a local file system was not mounted; emergency mode follows",
    ),
    rule(
        "device-timeout",
        Error,
        r"Timed out waiting for device",
        "a device that a mount or swap needs did not appear",
    ),
    rule(
        "ordering-cycle",
        Warning,
        r"Found ordering cycle|deleted to break ordering cycle",
        "units wait for each other in a circle; systemd dropped one",
    ),
    rule(
        "unit-failed",
        Warning,
        r"\[FAILED\] Failed to (start|mount|activate|listen)|systemd\[1\]: Failed to start",
        "a unit failed to start",
    ),
    rule("segfault", Warning, r"\w+\[\d+\]: segfault at ", "a program crashed"),
    rule(
        "kernel-warning",
        Warning,
        r"WARNING: CPU: \d+ PID: \d+ at ",
        "the kernel warned of something it did not expect",
    ),
    rule("kvm-internal-error", Critical, r"KVM internal error", "KVM cannot run this guest on this host"),
];

/// A line that a rule matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    #[serde(skip)]
    prompt: bool,
    /// The rule's name.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Whether this boot cannot get anywhere any more.
    pub fatal: bool,
    /// What it means.
    pub means: &'static str,
    /// The line.
    pub line: String,
    /// Where the line begins in the log, in bytes.
    pub offset: u64,
}

static ALL: LazyLock<RegexSet> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the patterns are literals, compiled by the unit tests")]
    RegexSet::new(RULES.iter().map(|rule| rule.pattern)).expect("literal patterns")
});

pub(super) fn findings(line: &Line) -> impl Iterator<Item = Finding> {
    let matched = ALL.matches(&line.text);
    RULES.iter().enumerate().filter(move |(n, _)| matched.matched(*n)).map(|(_, rule)| Finding {
        prompt: rule.prompt,
        id: rule.id,
        severity: rule.severity,
        fatal: rule.fatal,
        means: rule.means,
        line: line.text.clone(),
        offset: line.offset,
    })
}

/// Watches a console as it comes.
#[derive(Debug)]
pub struct Watcher {
    engine: Engine,
    at: u64,
    /// The prompt that was reported last, so that waiting at it is one finding.
    prompt: Option<String>,
}

impl Watcher {
    /// Watch bytes that begin at `offset` in their log.
    pub fn new(offset: u64) -> Self {
        Self { engine: Engine::new(offset), at: offset, prompt: None }
    }

    /// Take the next bytes; what the rules find in them.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Finding> {
        let mut found = Vec::new();
        let known = &mut self.prompt;
        self.engine.feed(bytes, |line| found.extend(fresh(&line, known.take())));
        self.at += bytes.len() as u64;
        let text = self.engine.partial();
        if !text.is_empty() && self.prompt.as_ref() != Some(&text) {
            let offset = self.at.saturating_sub(text.len() as u64);
            let line = Line { text, kernel: false, offset };
            let before = found.len();
            found.extend(findings(&line).filter(|finding| finding.prompt));
            if found.len() > before {
                self.prompt = Some(line.text);
            }
        }
        found
    }

    /// The log is cut here (the machine was reset, or the file ends): what was unfinished stays so.
    pub fn cut(&mut self) -> Vec<Finding> {
        let mut found = Vec::new();
        let known = &mut self.prompt;
        self.engine.flush(|line| found.extend(fresh(&line, known.take())));
        found
    }
}

/// What is found in a line, but for the prompt that was reported before its line had ended.
fn fresh(line: &Line, reported: Option<String>) -> impl Iterator<Item = Finding> {
    findings(line).filter(move |finding| !finding.prompt || reported.as_ref() != Some(&finding.line))
}

/// Run all rules over a whole log.
pub fn check(log: &[u8]) -> Vec<Finding> {
    let mut watcher = Watcher::new(0);
    let mut found = watcher.feed(log);
    found.extend(watcher.cut());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(log: &str) -> Vec<&'static str> {
        check(log.as_bytes()).into_iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let names: std::collections::HashSet<_> = RULES.iter().map(|rule| rule.id).collect();
        assert_eq!(names.len(), RULES.len());
        assert_eq!(ALL.len(), RULES.len());
    }

    #[rstest::rstest]
    #[case("[    2.1] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", &["kernel-panic", "root-mount"])]
    #[case("[   14.000001] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100", &["kernel-panic", "no-init"])]
    #[case("[   31.337000] BUG: unable to handle page fault for address: ffffffffdeadbeef", &["kernel-oops"])]
    #[case("[   31.337001] Oops: Oops: 0002 [#1] PREEMPT SMP NOPTI", &["kernel-oops"])]
    #[case("[   90.000000] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [stress:812]", &["soft-lockup"])]
    #[case("[  121.000000] rcu: INFO: rcu_preempt self-detected stall on CPU", &["rcu-stall"])]
    #[case("[  242.000000] INFO: task mount:301 blocked for more than 120 seconds.", &["hung-task"])]
    #[case("[  300.000000] Out of memory: Killed process 901 (python3) total-vm:3000kB", &["oom-kill"])]
    #[case("[   12.000000] I/O error, dev vda, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2", &["io-error"])]
    #[case("[   12.500000] EXT4-fs error (device vda2): ext4_find_entry:1682: inode #2: comm ls: reading directory", &["file-system-error"])]
    #[case("You are in emergency mode. After logging in, type \"journalctl -xb\" to view", &["emergency-mode"])]
    #[case("[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39memergency.target\x1b[0m - Emergency Mode.", &["emergency-mode"])]
    #[case("Cannot open access to console, the root account is locked.", &["no-rescue-login"])]
    #[case("ALERT!  UUID=1234 does not exist.  Dropping to a shell!", &["root-mount", "initramfs-shell"])]
    #[case("[\x1b[0;1;31m TIME \x1b[0m] Timed out waiting for device /dev/disk/by-uuid/dead.", &["device-timeout"])]
    #[case("[DEPEND] Dependency failed for local-fs.target - Local File Systems.", &["local-fs-failed"])]
    #[case("[    3.200000] systemd[1]: sysinit.target: Found ordering cycle on a.service/start", &["ordering-cycle"])]
    #[case("[FAILED] Failed to start docker.service - Docker Application Container Engine.", &["unit-failed"])]
    #[case("[   44.000000] caddy[700]: segfault at 0 ip 00007f sp 00007f error 4 in libc.so.6", &["segfault"])]
    #[case("[    4.000000] systemd[1]: Freezing execution.", &["pid1-frozen"])]
    fn a_line_from_the_wild_is_known(#[case] line: &str, #[case] expected: &[&str]) {
        assert_eq!(ids(&format!("{line}\r\n")), expected);
    }

    #[rstest::rstest]
    #[case("[    0.500000] pvpanic-pci 0000:00:06.0: enabling device")]
    #[case("[    1.000000] rcu: \tRCU restricting CPUs from NR_CPUS=8192 to nr_cpu_ids=2.")]
    #[case("[  OK  ] Reached target local-fs.target - Local File Systems.")]
    #[case("[    0.100000] Kernel command line: panic=10 oops=panic")]
    #[case("Gave up waiting for suspend/resume device")]
    #[case("[   10.000000] watchdog: watchdog0: watchdog did not stop!")]
    fn an_ordinary_line_is_left_alone(#[case] line: &str) {
        assert_eq!(ids(&format!("{line}\r\n")), [""; 0]);
    }

    #[test]
    fn a_prompt_is_found_before_its_line_ends_and_only_once() {
        let mut watcher = Watcher::new(0);
        assert!(watcher.feed(b"(initra").is_empty());
        let found = watcher.feed(b"mfs) ");
        assert_eq!(found.iter().map(|f| f.id).collect::<Vec<_>>(), ["initramfs-prompt"]);
        assert!(watcher.feed(b"\r\n").is_empty());
        assert_eq!(watcher.feed(b"(initramfs) ").len(), 1);
    }

    #[test]
    fn words_split_by_the_kernel_and_by_colours_still_match() {
        let log = "You are in \x1b[1memer[    7.100000] sda: unknown\r\ngency\x1b[0m mode. After\r\n";
        assert_eq!(ids(log), ["emergency-mode"]);
    }

    #[test]
    fn a_finding_says_where_its_line_stands() {
        let log = b"fine\r\nKernel panic - not syncing: x\r\n";
        assert_eq!(check(log)[0].offset, 6);
    }
}
