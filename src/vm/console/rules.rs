//! What console lines mean: rules as data, for a live console and for any file.

use super::allow::Allowed;
use super::engine::{Engine, Line};
use regex::Regex;
use regex::bytes::{RegexSet, RegexSetBuilder};
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

/// The longest prompt, in bytes: a longer line that has not ended is none.
const LONGEST_PROMPT: usize = 256;

/// How a fatal line is told from one that only has its words: any program can write to the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// A prompt waits there, and answers.
    Talk,
    /// The processors run no program any more.
    Processors,
    /// Nothing more is said.
    Silence,
}

/// How a match of a fatal rule is confirmed.
pub fn confirm(id: &str) -> Confirm {
    match id {
        PANIC | PANIC_HALT | "pid1-segfault" => Confirm::Processors,
        "pid1-frozen" | "no-boot-device" => Confirm::Silence,
        // What the kernel says of them comes with a panic; what an initramfs says, with its shell.
        _ => Confirm::Talk,
    }
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

/// Where a kernel record begins: at its stamp, or, with `printk.time=0`, at once. What a program says has its name there.
macro_rules! kernel {
    () => {
        r"^(\[ *\d+\.\d+\](\[ *[TC] *\d+\])? )?"
    };
}

/// Where systemd says what became of a job: in a status line, or in the kernel's log. What follows is the unit's name, its
/// description, or both with the name first (`status-unit-format`).
macro_rules! done {
    () => {
        concat!(r"^(\[ *OK *\] |", kernel!(), r"systemd\[1\]: )(Reached target|Started) ")
    };
}

use Severity::{Critical, Error, Warning};

/// The rule of a kernel that panics. It may still restart by itself (`kernel.panic`).
pub const PANIC: &str = "kernel-panic";
/// The rule of a kernel that has panicked and will not.
pub const PANIC_HALT: &str = "panic-halt";

/// All rules. The texts are those of Linux 6.12, systemd 257, initramfs-tools, dracut and GRUB 2.12.
pub const RULES: &[Rule] = &[
    fatal(PANIC, concat!(kernel!(), "Kernel panic - not syncing"), "the kernel panicked"),
    fatal(
        PANIC_HALT,
        concat!(kernel!(), r"---\[ end Kernel panic - not syncing"),
        "the kernel panicked and stands still: kernel.panic is 0, so it does not restart by itself",
    ),
    fatal(
        "pid1-frozen",
        concat!(kernel!(), r"systemd\[1\]: (Freezing execution|Caught <\w+>)|^\[!!!!!!\] "),
        "systemd gave up: it crashed, or cannot do without what has failed",
    ),
    fatal(
        "pid1-segfault",
        concat!(kernel!(), r"(traps: )?(systemd|init)\[1\]:? (segfault at |general protection|trap )"),
        "process 1 crashed",
    ),
    fatal(
        "no-init",
        concat!(
            kernel!(),
            r"(Kernel panic - not syncing: )?(No working init found|Attempted to kill init)",
            r"|^No init found\. Try passing init=|^Target filesystem doesn't have requested /sbin/init",
        ),
        "the kernel has no process 1",
    ),
    fatal(
        "root-mount",
        concat!(
            kernel!(),
            r"(Kernel panic - not syncing: )?VFS: (Unable to mount|Cannot open) root",
            r"|^Gave up waiting for root|^ALERT! .* does not exist|^mount: mounting .* on /root failed",
            r"|^\[FAILED\] Failed to mount (sysroot\.mount|/sysroot)",
        ),
        "the root file system was not found or not mounted",
    ),
    fatal(
        "emergency-mode",
        concat!(
            done!(),
            r"(emergency\.(target|service)( - .*)?|Emergency (Mode|Shell))\.?$",
            r"|^(You are in|Welcome to|Entering) emergency mode\b",
        ),
        "the boot ended in emergency mode (a failed mount in fstab, usually)",
    ),
    fatal(
        "rescue-mode",
        concat!(
            done!(),
            r"(rescue\.(target|service)( - .*)?|Rescue (Mode|Shell))\.?$",
            r"|^(You are in|Welcome to) rescue mode\b",
        ),
        "the boot ended in rescue mode",
    ),
    fatal(
        "no-rescue-login",
        r"^Cannot open access to console, the root account is locked",
        "a rescue shell was due, but root is locked, so nobody can use it",
    ),
    fatal(
        "initramfs-shell",
        r"^(ALERT! .*)?Dropping to a shell!|^BusyBox v.* built-in shell",
        "the initramfs gave up and opened a shell",
    ),
    prompt("initramfs-prompt", r"^\(initramfs\) *$", "the initramfs waits at its shell"),
    prompt("dracut-prompt", r"^(dracut|switch_root):/.*# *$", "the initramfs (dracut) waits at its shell"),
    prompt("grub-prompt", r"^grub( rescue)?> *$", "the boot loader waits at its prompt"),
    fatal(
        "grub-rescue",
        r"^Entering rescue mode\.\.\.",
        "the boot loader found neither its modules nor its configuration",
    ),
    fatal("no-boot-device", r"^(No bootable device|Boot failed: )", "the firmware found nothing to boot from"),
    prompt(
        "sulogin-prompt",
        r"^(Give root password|Press Enter) for maintenance|^\(or press Control-D to continue\): *$",
        "a rescue shell waits for the root password",
    ),
    rule(
        "kernel-oops",
        Error,
        r"\bOops: |general protection fault[,:] .*\[#\d+\]|kernel BUG at |BUG: (unable to handle|kernel NULL|Bad|bad|scheduling|sleeping|spinlock|workqueue|KASAN|KFENCE)",
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
    rule(
        "io-error",
        Error,
        r"\b(I/O|timeout|protection|recoverable transport|kernel resource|critical (target|medium|space allocation)) error, dev \w+, sector|Buffer I/O error on dev",
        "a disk read or write failed",
    ),
    rule(
        "file-system-error",
        Error,
        r"EXT4-fs error|EXT4-fs \(.*\): (I/O error while|Delayed block allocation failed)|Aborting journal on device|JBD2: (Error|I/O error)|EXT4-fs \(.*\): (Remounting filesystem read-only|.*[Cc]orrupt)|XFS \(.*\): .*([Cc]orruption|shut ?down)|BTRFS (critical|error)",
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
        r"[Oo]rdering cycle found|Found ordering cycle|deleted to break ordering cycle",
        "units wait for each other in a circle; systemd dropped one",
    ),
    rule(
        "unit-failed",
        Warning,
        r"\[FAILED\] Failed to (start|mount|activate|listen)|systemd\[1\]: Failed to start",
        "a unit failed to start",
    ),
    rule(
        "dependency-failed",
        Warning,
        r"^\[DEPEND\] Dependency failed for ",
        "a unit was not started, because one that it needs failed",
    ),
    rule(
        "segfault",
        Warning,
        r"\w\[\d+\]: segfault at |\btraps: .+\[\d+\] (general protection|trap )",
        "a program crashed",
    ),
    rule(
        "kernel-warning",
        Warning,
        r"WARNING: CPU: \d+ PID: \d+ at |WARNING: \S+:\d+ at .*CPU#\d+|\bUBSAN: ",
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
    /// Whether this boot cannot get anywhere any more; never, if the rule is allowed.
    pub fatal: bool,
    /// What it means.
    pub means: &'static str,
    /// Why it is allowed, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
    /// The line.
    pub line: String,
    /// Where the line begins in the log, in bytes.
    pub offset: u64,
    /// Which line of the log it begins in, from 1.
    pub row: u64,
}

static ALL: LazyLock<RegexSet> = LazyLock::new(|| {
    // Not by Unicode's classes: on a line with one odd byte they would cost a hundred times as much.
    let patterns = RULES.iter().map(|rule| rule.pattern);
    #[expect(clippy::expect_used, reason = "the patterns are literals, compiled by the unit tests")]
    RegexSetBuilder::new(patterns).unicode(false).build().expect("literal patterns")
});

/// A kernel's first line. Whoever prints the kernel's log later prints other stamps before it.
static FIRST_LINE: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the pattern is a literal, compiled by the unit tests")]
    Regex::new(r"^\[ *0\.000000\](\[ *[TC][0-9]+\])? Linux version ").expect("a literal pattern")
});

/// What the rules find in a line.
pub(crate) fn findings(line: &Line) -> impl Iterator<Item = Finding> {
    let matched = ALL.matches(line.text.as_bytes());
    RULES.iter().enumerate().filter(move |(n, _)| matched.matched(*n)).map(|(_, rule)| Finding {
        prompt: rule.prompt,
        id: rule.id,
        severity: rule.severity,
        fatal: rule.fatal,
        means: rule.means,
        allowed: None,
        line: line.text.clone(),
        offset: line.offset,
        row: line.row,
    })
}

/// Watches a console as it comes.
#[derive(Debug)]
pub struct Watcher {
    engine: Engine,
    allowed: Allowed,
    /// The prompt that was reported last, so that waiting at it is one finding.
    prompt: Option<String>,
    /// Where kernels said their first line, in bytes; whoever asks takes them.
    kernels: Vec<u64>,
}

impl Watcher {
    /// Watch bytes that begin at `offset` in their log.
    pub fn new(offset: u64, allowed: Allowed) -> Self {
        Self { engine: Engine::new(offset), allowed, prompt: None, kernels: Vec::new() }
    }

    /// Take the next bytes; what the rules find in them.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Finding> {
        let mut found = Vec::new();
        let (known, kernels) = (&mut self.prompt, &mut self.kernels);
        self.engine.feed(bytes, |line| {
            kernels.extend(FIRST_LINE.is_match(&line.text).then_some(line.offset));
            found.extend(fresh(&line, known.take()));
        });
        if let Some(line) = self.engine.prompt(LONGEST_PROMPT).filter(|line| self.prompt.as_ref() != Some(&line.text)) {
            let before = found.len();
            found.extend(findings(&line).filter(|finding| finding.prompt));
            if found.len() > before {
                self.prompt = Some(line.text);
            }
        }
        self.judge(found)
    }

    /// Where kernels have said their first line since this was last asked, in bytes.
    pub fn kernels(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.kernels)
    }

    /// The log is cut here (the machine was reset, or the file ends): what was unfinished stays so.
    pub fn cut(&mut self) -> Vec<Finding> {
        let mut found = Vec::new();
        let known = &mut self.prompt;
        self.engine.flush(|line| found.extend(fresh(&line, known.take())));
        self.judge(found)
    }

    /// The line feeds so far, and one.
    pub fn row(&self) -> u64 {
        self.engine.row()
    }

    fn judge(&self, mut found: Vec<Finding>) -> Vec<Finding> {
        for finding in &mut found {
            finding.allowed = self.allowed.why(finding.id).map(str::to_owned);
            finding.fatal &= finding.allowed.is_none();
        }
        found
    }
}

/// What is found in a line, but for the prompt that was reported before its line had ended.
fn fresh(line: &Line, reported: Option<String>) -> impl Iterator<Item = Finding> {
    findings(line).filter(move |finding| !finding.prompt || reported.as_ref() != Some(&finding.line))
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
