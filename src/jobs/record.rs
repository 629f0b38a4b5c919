//! The record of one run: what was done and seen so far. It lies in the VM's folder, so that each
//! command adds to it, and goes into the evidence as `result.json`.

use super::page;
use crate::ansible::checks::Check;
use crate::ansible::events::Recap;
use crate::ansible::reports::Report;
use crate::failure::{Exit, Failure};
use crate::host::dirs::{DirError, write_private};
use crate::host::ledger::Leak;
use crate::host::secrets::mask;
use crate::machine::VmDir;
use crate::names::{HostName, VmName};
use crate::observe::Across;
use crate::reboot::{Mode, Restart};
use crate::report::html;
use crate::report::junit::{self, Case};
use crate::report::{ReportError, RunFolder};
use crate::timeline::Stages;
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

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
    /// The exit class so far.
    pub exit: Exit,
    /// What the VM was made of.
    pub made_of: MadeOf,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// The playbook runs.
    pub playbooks: Vec<Playbook>,
    /// The outcome checks, each time that they ran.
    pub checks: Vec<Checks>,
    /// The boots that settled, in order.
    pub boots: Vec<BootSeen>,
    /// How the restart was asked for, once it was.
    #[serde(default)]
    pub via: Option<Mode>,
    /// The restart, with its proof.
    pub reboot: Option<Restart>,
    /// The way into the guest, once a playbook was applied.
    #[serde(default)]
    pub way: Option<super::way::WayIn>,
    /// What the last reboot changed about the guest.
    #[serde(default)]
    pub state: Option<Across>,
    /// What went wrong first.
    pub failure: Option<Failure>,
    /// What was left on the host after the teardown.
    pub leaks: Vec<Leak>,
    /// Whether the VM was brought up or kept on purpose, and `prune` leaves it alone. Until a command that
    /// keeps it has ended well it is not: one that was killed leaves a VM without an owner.
    pub kept: bool,
}

/// What the VM was made of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MadeOf {
    /// The golden image.
    pub image: String,
    /// Its SHA-512, where it is known.
    pub image_sha512: Option<String>,
    /// The accelerator, and why that one.
    pub accel: String,
    /// QEMU's version, in its own words.
    pub qemu: String,
    /// ansible-core's version; empty until it was asked.
    pub ansible: String,
    /// The network mode.
    pub net: String,
    /// What the guest may reach.
    pub egress: String,
    /// The certificate tier.
    pub certs: String,
    /// The extra variables of the last `apply`: the overlays' files, and what was given by name, without values.
    pub extra_vars: Vec<String>,
}

/// One phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Whether it did what it is for.
    pub ok: bool,
    /// What came of it, in one line.
    pub outcome: String,
}

/// One playbook run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Playbook {
    /// The playbook.
    pub playbook: Utf8PathBuf,
    /// Whether it counts as applied.
    pub ok: bool,
    /// How long it took.
    pub seconds: f64,
    /// Tasks that ran on the VM.
    pub tasks: usize,
    /// Tasks that changed something.
    pub changed: usize,
    /// Ansible's own recap of the VM; all zero if the playbook did not come to its end.
    pub recap: Recap,
    /// The tasks that failed, in their order.
    pub failed: Vec<FailedTask>,
    /// What is no failure and has to be known.
    #[serde(default)]
    pub reports: Vec<Report>,
}

/// A task that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailedTask {
    /// The task.
    pub task: String,
    /// File and line.
    pub place: String,
    /// Its words.
    pub message: String,
    /// Whether the playbook went on all the same: the failure was ignored or rescued.
    pub went_on: bool,
}

/// What a boot said of itself when it had settled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BootSeen {
    /// Which part of the console log it is in (`boot-2`).
    pub console: String,
    /// How long its stages took, by systemd's own figures; none if it could not be asked.
    pub stages: Option<Stages>,
    /// The file in the evidence that has all figures (a [`crate::timeline::Timeline`]).
    pub file: Option<String>,
    /// Why there are none, if so.
    pub why: Option<String>,
}

/// One run of the verify playbook.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checks {
    /// `before the reboot`, `after the reboot`, or `without a reboot`.
    pub when: String,
    /// What each check said.
    pub checks: Vec<Check>,
}

impl Checks {
    /// The checks that failed or did not look; hints never count.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.is_red())
    }
}

impl Record {
    /// The record of a run that begins now.
    pub fn begin(host: &HostName, vm: &VmName, run: &RunFolder, made_of: MadeOf) -> Self {
        Self {
            schema: 1,
            version: env!("CARGO_PKG_VERSION").into(),
            host: host.clone(),
            vm: vm.clone(),
            started: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            run: run.path().to_owned(),
            exit: Exit::Passed,
            made_of,
            phases: Vec::new(),
            playbooks: Vec::new(),
            checks: Vec::new(),
            boots: Vec::new(),
            via: None,
            reboot: None,
            way: None,
            state: None,
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
        write_private(&vm.record(), self.json())
    }

    /// Keep it beside the snapshot that was taken now.
    pub fn save_applied(&self, vm: &VmDir) -> Result<(), DirError> {
        write_private(&vm.applied_record(), self.json())
    }

    /// The record as it was when the snapshot was taken.
    pub fn load_applied(vm: &VmDir) -> Result<Self, std::io::Error> {
        Ok(serde_json::from_slice(&std::fs::read(vm.applied_record())?)?)
    }

    /// The machine is as it was when the snapshot was taken: what was seen of it since holds no more. What
    /// was done stays told.
    pub fn back_to(&mut self, applied: Self) {
        let now = std::mem::replace(self, applied);
        self.phases = now.phases;
        self.leaks = now.leaks;
        self.kept = now.kept;
    }

    /// The first failure decides the exit class; a later one is only told.
    pub fn fail(&mut self, failure: &Failure) {
        if self.failure.is_none() {
            self.exit = failure.exit;
            self.failure = Some(failure.clone());
        }
    }

    /// What was left behind is added, and never hides a failure.
    pub fn leaked(&mut self, leaks: &[Leak]) {
        self.leaks.extend_from_slice(leaks);
        if !self.leaks.is_empty() && self.exit == Exit::Passed {
            self.exit = Exit::Leaked;
        }
    }

    /// The last run of the checks.
    pub fn last_checks(&self) -> Option<&Checks> {
        self.checks.last()
    }

    /// Write `junit.xml`, `report.html` and, last of all, `result.json`.
    pub fn publish(&self) -> Result<(), ReportError> {
        let run = RunFolder::open(&self.run);
        let xml = junit::text(&format!("boma-qemu {}", self.host), &self.cases()).unwrap_or_default();
        run.write("junit.xml", xml)?;
        run.write(page::PAGE, html::cycle(&page::of(self, run.path())))?;
        run.write("result.json", self.json())
    }

    fn json(&self) -> String {
        // Plain data with string keys: serialising it cannot fail.
        mask(&serde_json::to_string_pretty(self).unwrap_or_default()).into_owned()
    }

    fn cases(&self) -> Vec<Case> {
        let phases = self.phases.iter().map(|phase| Case {
            suite: "phases".into(),
            name: phase.name.clone(),
            seconds: Some(phase.seconds),
            failure: (!phase.ok).then(|| phase.outcome.clone()),
            note: None,
        });
        let checks = self.checks.iter().flat_map(|run| {
            run.checks.iter().map(|check| Case {
                suite: format!("checks {}", run.when),
                name: check.id.clone(),
                seconds: None,
                failure: check.is_red().then(|| check.detail.clone()),
                note: None,
            })
        });
        let leaks = self.leaks.iter().map(|leak| Case {
            suite: "leaks".into(),
            name: leak.what.clone(),
            seconds: None,
            failure: Some(leak.why.clone()),
            note: None,
        });
        let findings = self.state.iter().flat_map(|state| {
            state.judged.findings.iter().map(|finding| Case {
                suite: "state across the reboot".into(),
                name: finding.id.clone(),
                seconds: None,
                failure: state.strict.then(|| finding.what.clone()),
                note: Some(finding.what.clone()),
            })
        });
        phases.chain(checks).chain(findings).chain(leaks).collect()
    }
}
