//! The page of one run.

use super::parts::{CheckRow, Fact, FileLink, StateFinding, Verdict, Weight};

/// Everything that the page of a run shows. What is missing was not reached, and the page says so.
#[derive(Clone, Debug, Default)]
pub struct CyclePage {
    /// The mirrored host.
    pub host: String,
    /// When the run began (UTC).
    pub started: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What the VM was made of, and by which versions.
    pub facts: Vec<Fact>,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// The boots that systemd gave figures of, in order.
    pub boots: Vec<Boot>,
    /// The reboot, if it is proved.
    pub proof: Option<Proof>,
    /// When the checks ran: the columns of the matrix.
    pub check_times: Vec<String>,
    /// The checks.
    pub checks: Vec<CheckRow>,
    /// The differences of state across the reboot; none where it was not observed both times.
    pub state: Option<Vec<StateFinding>>,
    /// What the console rules matched.
    pub console: Vec<Highlight>,
    /// The playbooks.
    pub playbooks: Vec<Playbook>,
    /// What was left on this host: what, and why.
    pub leaks: Vec<(String, String)>,
    /// The evidence.
    pub files: Vec<FileLink>,
}

/// One phase of a run.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Whether it did what it is for.
    pub ok: bool,
    /// What came of it.
    pub outcome: String,
}

/// One boot, by systemd's own figures.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Which one (`before the reboot`).
    pub when: String,
    /// Its boot id.
    pub boot_id: String,
    /// What it runs (`Linux 6.12.48, systemd 257`).
    pub system: String,
    /// Its stages in order (`kernel`, `initrd`, `userspace`), in seconds.
    pub stages: Vec<(String, f64)>,
    /// The slowest units, in the order in which they began; seconds since the kernel's start.
    pub units: Vec<Unit>,
    /// The chain of units that the boot waited for, the last to become active first.
    pub chain: Vec<Unit>,
    /// Why there are no figures, if so.
    pub missing: Option<String>,
}

/// When a unit was started, and how long that took.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// When it began, in seconds since the kernel's start.
    pub at_s: f64,
    /// How long it took to be active, in seconds.
    pub took_s: f64,
    /// Whether it failed.
    pub failed: bool,
}

/// What proves the reboot.
#[derive(Clone, Debug)]
pub struct Proof {
    /// How it was brought about (`guest: systemctl reboot`).
    pub mode: String,
    /// The boot ids before and after.
    pub boot_ids: (String, String),
    /// Who said what, in order.
    pub witnesses: Vec<Witness>,
    /// Milestones in seconds from asking (`down`, `ssh`, `settled`).
    pub milestones: Vec<(String, f64)>,
    /// How the new boot settled (`running`).
    pub settled: String,
    /// Units that failed in the new boot.
    pub failed_units: Vec<String>,
}

/// One witness of the reboot.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Seconds from asking, where known.
    pub at_s: Option<f64>,
    /// Who (`QEMU, event 5`).
    pub who: String,
    /// Its words.
    pub said: String,
}

/// A place in the console log that the rules matched.
#[derive(Clone, Debug)]
pub struct Highlight {
    /// Which boot of the VM, from 1.
    pub boot: usize,
    /// The rules that matched here.
    pub rules: Vec<RuleMatch>,
    /// The lines around, in order.
    pub lines: Vec<ConsoleLine>,
}

/// A rule that matched.
#[derive(Clone, Debug)]
pub struct RuleMatch {
    /// The rule.
    pub id: String,
    /// How bad it is.
    pub weight: Weight,
    /// What it means.
    pub means: String,
}

/// One line of the console.
#[derive(Clone, Debug)]
pub struct ConsoleLine {
    /// Its text.
    pub text: String,
    /// Whether a rule matched it.
    pub matched: bool,
}

/// One playbook run.
#[derive(Clone, Debug)]
pub struct Playbook {
    /// The playbook.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Ansible's recap, in its order (`ok` 12, `changed` 5, …).
    pub recap: Vec<(String, u32)>,
    /// Whether it was applied.
    pub ok: bool,
    /// The tasks that failed.
    pub failed: Vec<FailedTask>,
}

/// A task that failed.
#[derive(Clone, Debug)]
pub struct FailedTask {
    /// The task.
    pub task: String,
    /// File and line.
    pub place: String,
    /// Its words.
    pub message: String,
    /// Whether the playbook went on all the same (it was ignored or rescued).
    pub went_on: bool,
}
