//! The record of one run: what was done and seen so far. It lies in the VM's folder, so that each
//! command adds to it, and goes into the evidence as `result.json`.
//!
//! Not fuzzed: what is read here is this program's own evidence.

mod on_top;
mod parts;
pub mod proof;
mod step;

use crate::ends::{Difference, Ends};
use crate::observe::{Across, Finding, Policy};
use crate::playbook::deeds::Deed;
use crate::playbook::tried::Told;
use crate::report::RunFolder;
use crate::verdict::{ALIVE, Applied, Compared, Parts, Tally, Unproved, Verdict};
use camino::Utf8PathBuf;
use host::dirs::{DirError, write_private};
use host::failure::{Exit, Failure};
use host::ledger::Leak;
use host::names::{HostName, SnapshotName, VmName};
use host::secrets::mask;
pub use on_top::{Base, OnTop};
pub use parts::{
    Began, BootSeen, Changed, CheckMode, Checks, FailedTask, Idempotence, MadeOf, Partial, Phase, Playbook, Shown,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
pub use step::Step;
use vm::machine::VmDir;
use vm::reboot::{Mode, Restart, Seen};

/// What one run did and saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The format of this file.
    pub schema: u32,
    /// The version of boma-qemu that wrote it.
    pub version: String,
    /// The mirrored host.
    pub host: HostName,
    /// The VM.
    pub vm: VmName,
    /// When the run began (UTC, RFC 3339).
    pub started: String,
    /// The evidence folder.
    pub run: Utf8PathBuf,
    /// The exit class of the last command that came to its end; none while one is at work, or where it was killed.
    pub exit: Option<Exit>,
    /// What is proved, for readers of the file; [`Record::verdict`] judges anew.
    #[serde(default, skip_deserializing)]
    verdict: Written,
    /// Whether the last command came to its end.
    #[serde(default = "ended")]
    pub finished: bool,
    /// What the VM was made of.
    pub made_of: MadeOf,
    /// What the change was applied on top of; none where that is a fresh machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_top: Option<OnTop>,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// The playbooks that prepared the guest: what it was before the change, and no part of what is proved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepared: Vec<Playbook>,
    /// The playbook runs.
    pub playbooks: Vec<Playbook>,
    /// Whether the last run of the playbooks came to its end; none where there was none.
    #[serde(default)]
    pub applied: Option<bool>,
    /// The part of them that the last `apply` was restricted to; none where that was all. What was run in part counts as not
    /// applied until a whole run: [`Record::applied`] is never true beside it, for whoever does not know this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Partial>,
    /// What of the profile is not as it was at `up`, as the last `apply` found it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Changed>,
    /// Their second run, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotence: Option<Idempotence>,
    /// The passes in check mode around the last reboot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_mode: Option<CheckMode>,
    /// What the playbooks did to the VM since it booted. It stays with the VM: what a task was given is no evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deeds: Vec<Deed>,
    /// The outcome checks, each time that they ran.
    pub checks: Vec<Checks>,
    /// The certificate that the host showed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Shown>,
    /// In the green case of a proof: the checks that neither case has seen red.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub never_red: Option<Vec<String>>,
    /// Which of them are of the state that is there now: those from this one on.
    #[serde(default)]
    state_from: usize,
    /// Which of them are of the boot that runs now: those from this one on.
    #[serde(default)]
    boot_from: usize,
    /// The boots that settled, in order.
    pub boots: Vec<BootSeen>,
    /// How the restart was asked for, once it was.
    #[serde(default)]
    pub via: Option<Mode>,
    /// The restart, with its proof.
    pub reboot: Option<Restart>,
    /// The way into the guest, once a playbook was applied.
    #[serde(default)]
    pub way: Option<crate::way::WayIn>,
    /// Why there is no proof of a restart of what runs now.
    #[serde(default)]
    pub unproved: Option<Unproved>,
    /// What restarted the machine after the proved restart, while it was looked at.
    #[serde(default)]
    pub restarts: Vec<Seen>,
    /// How long the guest was seen alive after the proved restart had settled, in seconds.
    #[serde(default)]
    pub alive_s: Option<f64>,
    /// What findings do to the run.
    #[serde(default = "reported")]
    pub findings: Policy,
    /// What the last reboot changed about the guest.
    #[serde(default)]
    pub state: Option<Across>,
    /// How the end state of an upgraded host differs from that of a fresh one, where both were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Ends>,
    /// What went wrong first.
    pub failure: Option<Failure>,
    /// What was left on the host after the teardown.
    pub leaks: Vec<Leak>,
    /// Whether the VM was brought up or kept on purpose, and `prune` leaves it alone. Until a command that
    /// keeps it has ended well it is not: one that was killed leaves a VM without an owner.
    pub kept: bool,
}

/// The verdict as it was written last.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
struct Written(Verdict);

impl Default for Written {
    fn default() -> Self {
        Self(Verdict::from_parts(&Parts::default()))
    }
}

/// When the checks ran in a run whose reboot was left out.
pub const WITHOUT: &str = "without a reboot";

/// The format that has a verdict of its own.
const SCHEMA: u32 = 2;

/// `result.json` of the first format was written at the end only.
fn ended() -> bool {
    true
}

/// In the first format, findings failed nothing.
fn reported() -> Policy {
    Policy::Report
}

/// What a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To do something to the machine.
    Step,
    /// To come to a verdict on it.
    Verdict,
    /// To remove it: what was known of it stays as it was.
    Removal,
}

impl Record {
    /// The record of a run that begins now.
    pub fn begin(host: &HostName, vm: &VmName, run: &RunFolder, made_of: MadeOf) -> Self {
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").into(),
            host: host.clone(),
            vm: vm.clone(),
            started: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            run: run.path().to_owned(),
            exit: None,
            verdict: Written::default(),
            finished: false,
            made_of,
            on_top: None,
            phases: Vec::new(),
            prepared: Vec::new(),
            playbooks: Vec::new(),
            applied: None,
            partial: None,
            changed: Vec::new(),
            idempotence: None,
            check_mode: None,
            deeds: Vec::new(),
            checks: Vec::new(),
            certificate: None,
            never_red: None,
            state_from: 0,
            boot_from: 0,
            boots: Vec::new(),
            via: None,
            reboot: None,
            way: None,
            unproved: None,
            restarts: Vec::new(),
            alive_s: None,
            findings: Policy::default(),
            state: None,
            ends: None,
            failure: None,
            leaks: Vec::new(),
            kept: false,
        }
    }

    /// The record of the run that made a VM.
    pub fn load(vm: &VmDir) -> Result<Self, std::io::Error> {
        Ok(serde_json::from_slice(&std::fs::read(vm.record())?)?)
    }

    /// Keep it in the VM's folder for the next command.
    pub fn save(&self, vm: &VmDir) -> Result<(), DirError> {
        write_private(&vm.record(), self.json(true))
    }

    /// Keep it with the snapshot that was taken now.
    pub fn save_with(&self, vm: &VmDir, snapshot: &SnapshotName) -> Result<(), DirError> {
        write_private(&vm.snapshot_record(snapshot), self.json(true))
    }

    /// The record as it was when the snapshot was taken.
    pub fn load_with(vm: &VmDir, snapshot: &SnapshotName) -> Result<Self, std::io::Error> {
        Ok(serde_json::from_slice(&std::fs::read(vm.snapshot_record(snapshot))?)?)
    }

    /// The machine is as it was when the snapshot was taken: what was seen of it since holds no more. What
    /// was done stays told.
    pub fn back_to(&mut self, then: Self) {
        let now = std::mem::replace(self, then);
        self.phases = now.phases;
        self.leaks = now.leaks;
        self.kept = now.kept;
        self.begin_command();
        self.changed(Unproved::Restored);
    }

    /// A command begins: until it has come to its end, nothing is known of what it leads to. Each is judged on its
    /// own, for an earlier failure may have been repaired by hand since.
    pub fn begin_command(&mut self) {
        self.failure = None;
        self.exit = None;
        self.finished = false;
        self.never_red = None;
        self.restarts.clear();
    }

    /// What runs now is not, or not for sure, what was proved: the proof goes, and all that was seen with it.
    pub fn changed(&mut self, why: Unproved) {
        // What was done in an earlier boot explains nothing that is there in this one.
        if self.reboot.is_some() || matches!(self.unproved, Some(Unproved::Restarting | Unproved::Restarted { .. })) {
            self.deeds.clear();
        }
        self.boot_from = self.checks.len();
        let applied = matches!(why, Unproved::Applied | Unproved::PartlyApplied { .. });
        if applied {
            self.idempotence = None;
        }
        // What was left out, and why, is told until something else is known.
        self.check_mode.take_if(|passes| passes.compared().is_some() || applied);
        if applied || why == Unproved::Restored {
            self.state_from = self.checks.len();
            // One that another state has shown is nothing to compare with.
            self.certificate = None;
        }
        (self.via, self.reboot, self.state, self.alive_s) = (None, None, None, None);
        self.ends = None;
        self.unproved = Some(why);
    }

    /// What runs now came back from a proved restart.
    pub fn proved(&mut self, restart: Restart) {
        self.unproved = None;
        self.reboot = Some(restart);
    }

    /// The first failure decides; a later one is only told.
    pub fn fail(&mut self, failure: &Failure) {
        self.failure.get_or_insert_with(|| failure.clone());
    }

    /// What was left behind is added, and never hides a failure.
    pub fn leaked(&mut self, leaks: &[Leak]) {
        self.leaks.extend_from_slice(leaks);
    }

    /// The command has come to its end. One that did what it is for ends well even if nothing is proved by it; one that
    /// was to come to a verdict ends as that says, and without one it has lost it.
    pub fn conclude(&mut self, asked: Asked) {
        self.finished |= asked != Asked::Removal;
        let verdict = self.verdict();
        let done = match asked {
            Asked::Step => Some(Exit::Passed),
            Asked::Verdict => Some(verdict.exit().unwrap_or(Exit::Lost)),
            Asked::Removal => self.exit,
        };
        self.exit = match (&self.failure, done) {
            (Some(failure), Some(_)) => Some(failure.exit),
            (None, Some(Exit::Passed)) if !self.leaks.is_empty() => Some(Exit::Leaked),
            (_, done) => done,
        };
        self.verdict = Written(verdict);
    }

    /// The process exit code.
    pub fn code(&self) -> u8 {
        self.exit.unwrap_or(Exit::Lost).code()
    }

    /// What is proved of the machine as it is now.
    pub fn verdict(&self) -> Verdict {
        Verdict::from_parts(&self.parts())
    }

    fn parts(&self) -> Parts<'_> {
        // The first format kept less; what it has is judged by the rules of its time.
        let is_old = self.schema < SCHEMA;
        let last = self.last_checks();
        let whole = !self.playbooks.is_empty() && self.playbooks.iter().all(|playbook| playbook.ok);
        let seconds = self.alive_s.filter(|seconds| *seconds > 0.0).unwrap_or_default();
        Parts {
            finished: self.finished,
            failure: self.failure.as_ref().map(|failure| failure.exit),
            applied: match (&self.partial, self.applied.unwrap_or(is_old && whole)) {
                (Some(_), _) => Applied::Partly,
                (None, true) => Applied::Whole,
                (None, false) => Applied::No,
            },
            checks: last.map(|last| Tally { looked: last.looked(), red: last.failed().count() }),
            without_reboot: last.is_some_and(|last| last.when == WITHOUT),
            restart: self.reboot.as_ref(),
            unproved: self.unproved.as_ref(),
            restarts: self.restarts.len(),
            alive: if is_old { ALIVE } else { Duration::try_from_secs_f64(seconds).unwrap_or_default() },
            compared: match &self.state {
                Some(_) => Compared::Judged(self.losses().len()),
                None if self.findings == Policy::Report => Compared::NotAsked,
                None => Compared::No,
            },
            undone: self.undone().len(),
            repeated: self.repeated().len(),
            ends: self.ends_differ().len(),
            way_is_wrong: self.way.as_ref().is_some_and(|way| way.wrong().is_some()),
            leaks: self.leaks.len(),
        }
    }

    /// The last run of the checks, if it was of the boot that runs now.
    pub fn last_checks(&self) -> Option<&Checks> {
        self.checks.get(self.boot_from..)?.last()
    }

    /// The findings that fail the run.
    pub fn losses(&self) -> Vec<&Finding> {
        let found = self.state.iter().flat_map(|state| {
            let policy = if state.strict { Policy::Strict } else { self.findings };
            state.judged.findings.iter().filter(move |finding| policy.fails(finding))
        });
        found.collect()
    }

    /// The tasks whose work did not survive the reboot, as far as that fails the run.
    pub fn undone(&self) -> &[Told] {
        let compared = self.check_mode.as_ref().and_then(CheckMode::compared);
        compared.filter(|_| self.findings != Policy::Report).map_or(&[], |compared| compared.undone.as_slice())
    }

    /// What the second run of the playbooks changed, although the first had done it.
    pub fn repeated(&self) -> &[Told] {
        self.idempotence.as_ref().map_or(&[], |second| second.changed.as_slice())
    }

    /// What is not the same on a fresh host and an upgraded one, as far as that fails the run.
    pub fn ends_differ(&self) -> &[Difference] {
        let ends = self.ends.as_ref().filter(|_| self.findings != Policy::Report);
        ends.map_or(&[], |ends| ends.findings.as_slice())
    }

    /// What is written of it, in the VM's folder with the deeds and in the evidence without.
    pub fn json(&self, with_deeds: bool) -> String {
        let mut written = Self { verdict: Written(self.verdict()), ..self.clone() };
        if !with_deeds {
            written.deeds.clear();
        }
        // Plain data with string keys: serialising it cannot fail.
        mask(&host::visible::json_pretty(&written).unwrap_or_default()).into_owned()
    }
}
