//! `experiment.json`: what an experiment was to do, what each run measured, and the figures over them.

use super::crash::CrashStates;
use super::expect::{Deviation, Expected, leaves, survives};
use super::wanted::Wanted;
use crate::experiment::marks::Kind;
use crate::experiment::seeded::order;
use crate::experiment::{Fate, Mark, Marker, Milestone, Milestones, Planted, Summary};
use crate::observe::{Across, Policy};
use crate::playbook::checks::Check;
use crate::record::{MadeOf, Record};
use host::failure::{Exit, Failure};
use host::ledger::Leak;
use host::names::{HostName, SnapshotName, VmName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use vm::reboot::{Mode, Restart};
use vm::snapshot::Restore;

/// An experiment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Experiment {
    /// The format of this file.
    pub schema: u32,
    /// The version of boma-qemu that wrote it.
    pub version: String,
    /// The mirrored host.
    pub host: HostName,
    /// The VM.
    pub vm: VmName,
    /// When it began (UTC, RFC 3339).
    pub started: String,
    /// How long it took so far, in seconds.
    pub seconds: f64,
    /// What the VM was made of.
    pub made_of: MadeOf,
    /// What decides the order and the markers' tokens.
    pub seed: u64,
    /// Whether every finding in the machine's state fails a run.
    pub strict: bool,
    /// What a finding does; none in a file that is older than the choice.
    #[serde(default)]
    pub findings: Option<Policy>,
    /// The snapshot that each run begins from.
    #[serde(default = "SnapshotName::applied")]
    pub from: SnapshotName,
    /// The modes, as they were asked for.
    pub modes: Vec<Mode>,
    /// How often each was to be run.
    pub runs_per_mode: usize,
    /// The order of all runs.
    pub order: Vec<Mode>,
    /// What each mode must show.
    pub expectations: Vec<Expectation>,
    /// The runs that were made to their end, well or not.
    pub runs: Vec<OneRun>,
    /// The figures of each mode.
    pub figures: Vec<Figures>,
    /// The crash states, where they were asked for and could be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash: Option<CrashStates>,
    /// The exit class; none while runs are still to be made.
    pub exit: Option<Exit>,
    /// Why the experiment did not get to its end, if so.
    pub failure: Option<Failure>,
    /// What was left on the host after the teardown.
    pub leaks: Vec<Leak>,
}

/// What a mode must show.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Expectation {
    /// The mode.
    pub mode: Mode,
    /// Whether each marker survives.
    pub markers: BTreeMap<Marker, Expected>,
    /// Whether each mark of an unclean shutdown is there.
    pub marks: BTreeMap<Kind, Expected>,
}

/// One run: a restore, a restart, and all that was measured of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OneRun {
    /// Its place in the order, from 1.
    pub number: usize,
    /// Its round, from 1: it is so-many-th of its mode.
    pub round: usize,
    /// The mode.
    pub mode: Mode,
    /// How long all of it took, in seconds.
    pub seconds: f64,
    /// The restore that it began with.
    pub restore: Option<Restore>,
    /// The restart, with its evidence.
    pub restart: Option<Restart>,
    /// How far the restart came, in seconds from asking.
    pub milestones: Milestones,
    /// The three markers.
    pub markers: Option<Fates>,
    /// The marks of an unclean shutdown that the new boot shows; none where it could not be asked.
    pub marks: Option<Vec<Mark>>,
    /// The machine's state across the restart.
    pub state: Option<Across>,
    /// What the outcome checks said; none where they did not run.
    pub checks: Option<Vec<Check>>,
    /// What is not as it must be.
    pub deviations: Vec<Deviation>,
    /// What ended the run early.
    pub failure: Option<Failure>,
    /// Its folder in the evidence.
    pub folder: String,
}

/// The markers of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fates {
    /// How they were planted.
    pub planted: Planted,
    /// Seconds from the script's answer to the asking.
    pub before_asking_s: f64,
    /// What became of them; empty where they could not be read.
    pub fates: Vec<(Marker, Fate)>,
}

/// The figures of one mode.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// The mode.
    pub mode: Mode,
    /// How many runs it had.
    pub runs: usize,
    /// How many of them were as they must be.
    pub passed: usize,
    /// Seconds to each milestone, over the runs that passed it.
    pub milestones: BTreeMap<Milestone, Summary>,
}

impl OneRun {
    /// A run that begins.
    pub fn begin(number: usize, round: usize, mode: Mode) -> Self {
        Self {
            number,
            round,
            mode,
            seconds: 0.0,
            restore: None,
            restart: None,
            milestones: Milestones::default(),
            markers: None,
            marks: None,
            state: None,
            checks: None,
            deviations: Vec::new(),
            failure: None,
            folder: format!("run-{number:02}-{mode}"),
        }
    }

    /// How it ended.
    pub fn exit(&self) -> Exit {
        match (&self.failure, self.deviations.is_empty()) {
            (Some(failure), _) => failure.exit,
            (None, false) => Exit::Verify,
            (None, true) => Exit::Passed,
        }
    }

    /// What is not as it must be, one sentence each: what ended the run first.
    pub fn wrong(&self) -> Vec<String> {
        let failure = self.failure.iter().map(|failure| failure.chain.join(": "));
        failure.chain(self.deviations.iter().map(ToString::to_string)).collect()
    }

    /// Whether all of it was as it must be.
    pub fn passed(&self) -> bool {
        self.exit() == Exit::Passed
    }
}

impl Experiment {
    /// An experiment that begins, on the machine of a run.
    pub fn begin(wanted: &Wanted, record: &Record) -> Self {
        let expectation = |mode: &Mode| Expectation {
            mode: *mode,
            markers: Marker::ALL.map(|marker| (marker, survives(*mode, marker))).into(),
            marks: Kind::ALL.map(|kind| (kind, leaves(*mode, kind))).into(),
        };
        Self {
            schema: 1,
            version: env!("CARGO_PKG_VERSION").into(),
            host: record.host.clone(),
            vm: record.vm.clone(),
            started: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            seconds: 0.0,
            made_of: record.made_of.clone(),
            seed: wanted.seed,
            strict: wanted.findings == Policy::Strict,
            findings: Some(wanted.findings),
            from: wanted.from.clone(),
            modes: wanted.modes.clone(),
            runs_per_mode: wanted.runs,
            order: order(&wanted.modes, wanted.runs, wanted.seed),
            expectations: wanted.modes.iter().map(expectation).collect(),
            runs: Vec::new(),
            figures: Vec::new(),
            crash: None,
            exit: None,
            failure: None,
            leaks: Vec::new(),
        }
    }

    /// Add a run, and reckon anew.
    pub fn add(&mut self, run: OneRun) {
        self.runs.push(run);
        self.figures = self.modes.iter().map(|mode| figures(*mode, &self.runs)).collect();
        self.judge();
    }

    /// Add the crash states.
    pub fn add_crash(&mut self, crash: CrashStates) {
        self.crash = Some(crash);
        self.judge();
    }

    /// The experiment ends here, before its end.
    pub fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
        self.judge();
    }

    /// What is left on the host; it never hides anything else.
    pub fn leaked(&mut self, leaks: &[Leak]) {
        self.leaks.extend_from_slice(leaks);
        self.judge();
    }

    /// Seconds that the runs to come will take, by those that were: each mode by its own, a mode that had no
    /// turn yet by all of them.
    pub fn left_s(&self) -> Option<f64> {
        let median = |runs: &mut dyn Iterator<Item = &OneRun>| Summary::of(runs.map(|run| run.seconds));
        let all = median(&mut self.runs.iter())?.median;
        let of = |mode: &Mode| median(&mut self.runs.iter().filter(|run| run.mode == *mode)).map_or(all, |s| s.median);
        Some(self.order.iter().skip(self.runs.len()).map(of).sum())
    }

    /// The exit class is the worst: what was stopped has no verdict; a machine that is not as it must be says
    /// more than one that was lost.
    fn judge(&mut self) {
        let of_runs = self.runs.iter().map(OneRun::exit);
        let all = of_runs.chain(self.failure.iter().map(|failure| failure.exit));
        let all = all.chain(self.crash.iter().map(CrashStates::exit));
        let leaked = (!self.leaks.is_empty()).then_some(Exit::Leaked);
        let worst = all.chain(leaked).max_by_key(|exit| weight(*exit)).unwrap_or(Exit::Passed);
        // As long as runs are missing, all that were made being well is not yet that all are.
        let is_open = weight(worst) <= weight(Exit::Leaked) && self.runs.len() < self.order.len();
        self.exit = (!is_open).then_some(worst);
    }

    /// The process exit code.
    pub fn code(&self) -> u8 {
        self.exit.unwrap_or(Exit::Lost).code()
    }

    /// What findings do to a run.
    pub fn policy(&self) -> Policy {
        self.findings.unwrap_or(if self.strict { Policy::Strict } else { Policy::Report })
    }
}

fn weight(exit: Exit) -> u8 {
    match exit {
        Exit::Passed => 0,
        Exit::Leaked => 1,
        Exit::Lost | Exit::Host | Exit::Usage => 2,
        Exit::Verify | Exit::Apply | Exit::Unfaithful => 3,
        Exit::Guest => 4,
        Exit::Bug => 5,
        Exit::Interrupted => 6,
    }
}

fn figures(mode: Mode, runs: &[OneRun]) -> Figures {
    let own: Vec<_> = runs.iter().filter(|run| run.mode == mode).collect();
    let summary = |milestone| Summary::of(own.iter().filter_map(|run| run.milestones.at(milestone)));
    let milestones = Milestone::ALL.into_iter().filter_map(|m| Some((m, summary(m)?))).collect();
    Figures { mode, runs: own.len(), passed: own.iter().filter(|run| run.passed()).count(), milestones }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::sample::wanted;

    fn experiment(modes: &[Mode], runs: usize) -> Experiment {
        let record = serde_json::from_str(include_str!("../../../tests/fixtures/record.json")).unwrap();
        Experiment::begin(&wanted(modes, runs), &record)
    }

    fn run(mode: Mode, seconds: f64, settled: Option<f64>) -> OneRun {
        let mut run = OneRun { seconds, ..OneRun::begin(1, 1, mode) };
        if let Some(settled) = settled {
            run.milestones.pass(Milestone::Settled, settled);
        }
        run
    }

    fn failed(mode: Mode, exit: Exit) -> OneRun {
        OneRun { failure: Some(Failure::new(exit, "no")), ..run(mode, 10.0, None) }
    }

    #[test]
    fn the_figures_are_over_the_runs_that_came_so_far() {
        let mut all = experiment(&[Mode::Reset, Mode::Guest], 3);
        for settled in [Some(40.0), None, Some(50.0)] {
            all.add(run(Mode::Reset, 60.0, settled));
        }
        let reset = &all.figures[0].milestones[&Milestone::Settled];
        assert_eq!((reset.n, reset.median), (2, 45.0));
        assert!(all.figures[1].milestones.is_empty());
    }

    #[test]
    fn the_worst_run_decides_and_a_leak_hides_nothing() {
        let leak = Leak { what: "tap".into(), why: "busy".into() };
        let mut all = experiment(&[Mode::Reset], 9);
        all.add(run(Mode::Reset, 1.0, None));
        assert_eq!(all.exit, None, "eight runs are still to be made");
        all.order.truncate(1);
        all.leaked(&[]);
        assert_eq!(all.exit, Some(Exit::Passed));
        all.leaked(std::slice::from_ref(&leak));
        assert_eq!(all.exit, Some(Exit::Leaked));
        all.add(failed(Mode::Reset, Exit::Lost));
        assert_eq!(all.exit, Some(Exit::Lost));
        let deviation = Deviation { id: "marker/direct".into(), expected: "lost".into(), saw: "survived".into() };
        all.add(OneRun { deviations: vec![deviation], ..run(Mode::Reset, 1.0, None) });
        assert_eq!(all.exit, Some(Exit::Verify));
        all.fail(Failure::new(Exit::Interrupted, "stopped by the user"));
        assert_eq!(all.exit, Some(Exit::Interrupted));
    }

    #[test]
    fn what_is_left_is_told_by_what_each_mode_took() {
        let mut all = experiment(&[Mode::Reset, Mode::Guest], 2);
        assert_eq!(all.left_s(), None);
        let first = all.order[0];
        all.add(run(first, 60.0, None));
        assert_eq!(all.left_s(), Some(180.0));
        all.add(run(all.order[1], 100.0, None));
        assert_eq!(all.left_s(), Some(160.0));
    }

    #[test]
    fn the_file_can_be_read_back() {
        let mut all = experiment(&[Mode::Reset], 1);
        all.add(failed(Mode::Reset, Exit::Lost));
        let text = serde_json::to_string(&all).unwrap();
        let back: Experiment = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
        assert!(text.contains(r#""markers":{"fsynced":"yes","page-cache":"no","direct":"yes"}"#), "{text}");
    }
}
