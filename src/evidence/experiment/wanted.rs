//! What an experiment is asked to do.

use super::crash::guest::is_usable;
use super::crash::{CrashWanted, LONGEST_WORKLOAD, MOST_STATES};
use crate::observe::Policy;
use host::failure::{Exit, Failure};
use host::names::SnapshotName;
use std::time::Duration;
use vm::reboot::Mode;

/// The most runs of one mode; a run takes a minute and more.
const MOST_RUNS: usize = 100;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The modes, in the order in which they are shown.
    pub modes: Vec<Mode>,
    /// How often each.
    pub runs: usize,
    /// The snapshot that each run begins from.
    pub from: SnapshotName,
    /// What decides the order and the tokens.
    pub seed: u64,
    /// What a finding in the machine's state does to a run.
    pub findings: Policy,
    /// How long a restart may take in seconds, if not as the VM was made for.
    pub timeout_s: Option<u64>,
    /// How long after a restart has settled the guest is looked at for the last time.
    pub watch_for: Duration,
    /// The crash states that are to be examined besides, if any.
    pub crash: Option<CrashWanted>,
}

impl Wanted {
    /// Refuse what makes no sense, before anything is done.
    pub fn check(&self) -> Result<(), Failure> {
        let usage = |what: String| Err(Failure::new(Exit::Usage, what));
        let twice = |(n, mode): &(usize, &Mode)| self.modes[..*n].contains(mode);
        if let Some((_, mode)) = self.modes.iter().enumerate().find(twice) {
            return usage(format!("--modes names {mode} twice; --runs says how often each is run"));
        }
        if let Some(crash) = &self.crash {
            self.check_crash(crash)?;
        }
        match (self.modes.is_empty(), self.runs) {
            (true, _) => usage("--modes names no mode".into()),
            (_, 1..=MOST_RUNS) => Ok(()),
            (_, runs) => usage(format!("--runs {runs}: a mode can be run from 1 to {MOST_RUNS} times")),
        }
    }

    fn check_crash(&self, crash: &CrashWanted) -> Result<(), Failure> {
        let usage = |what: String| Err(Failure::new(Exit::Usage, what));
        if !self.modes.contains(&Mode::PowerLoss) {
            return usage(
                "--crash-states: they are those of a power loss, and --modes does not name power-loss".into(),
            );
        }
        if !(1..=MOST_STATES).contains(&crash.states) {
            return usage(format!("--crash-states {}: from 1 to {MOST_STATES} can be examined", crash.states));
        }
        if crash.workload.trim().is_empty() || crash.workload.len() > LONGEST_WORKLOAD || crash.workload.contains('\0')
        {
            let bytes = crash.workload.len();
            return usage(format!(
                "--workload has {bytes} bytes: it must be a shell script of at most {LONGEST_WORKLOAD}"
            ));
        }
        match crash.durable.iter().find(|path| !is_usable(path)) {
            Some(path) => {
                usage(format!("--durable {path}: it must be an absolute path, without a line end or a backslash"))
            }
            None if crash.durable.is_empty() => {
                usage("--crash-states: no --durable names the files that must be durable".into())
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::sample;

    fn wanted(modes: &[Mode], runs: usize) -> Wanted {
        Wanted { findings: Policy::Fail, ..sample::wanted(modes, runs) }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        assert!(wanted(&[Mode::Reset, Mode::Guest], 2).check().is_ok());
        for (modes, runs, word) in [
            (vec![Mode::Reset, Mode::Guest, Mode::Reset], 1, "reset twice"),
            (vec![], 1, "no mode"),
            (vec![Mode::Guest], 0, "--runs 0"),
            (vec![Mode::Guest], MOST_RUNS + 1, "--runs 101"),
        ] {
            let failure = wanted(&modes, runs).check().unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.to_string().contains(word), "{failure}");
        }
    }

    #[test]
    fn crash_states_that_make_no_sense_are_refused_by_name() {
        let crash = |states, workload: &str, durable: &[&str]| {
            let durable = durable.iter().map(|path| (*path).into()).collect();
            Some(CrashWanted { states, workload: workload.into(), durable })
        };
        let with = |modes: &[Mode], crash| Wanted { crash, ..wanted(modes, 1) };
        let loss = [Mode::PowerLoss];
        assert!(with(&loss, crash(200, "true", &["/srv"])).check().is_ok());
        for (modes, crash, word) in [
            (&[Mode::Reset][..], crash(1, "true", &["/srv"]), "power-loss"),
            (&loss, crash(0, "true", &["/srv"]), "--crash-states 0"),
            (&loss, crash(1, " ", &["/srv"]), "--workload"),
            (&loss, crash(1, "true", &["srv"]), "--durable srv"),
            (&loss, crash(1, "true", &[]), "--durable"),
        ] {
            let failure = with(modes, crash).check().unwrap_err();
            assert!(failure.exit == Exit::Usage && failure.to_string().contains(word), "{failure}");
        }
    }
}
