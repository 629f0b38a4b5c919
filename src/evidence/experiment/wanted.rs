//! What an experiment is asked to do.

use crate::observe::Policy;
use host::failure::{Exit, Failure};
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
    /// What decides the order and the tokens.
    pub seed: u64,
    /// What a finding in the machine's state does to a run.
    pub findings: Policy,
    /// How long a restart may take in seconds, if not as the VM was made for.
    pub timeout_s: Option<u64>,
    /// How long after a restart has settled the guest is looked at for the last time.
    pub watch_for: Duration,
}

impl Wanted {
    /// Refuse what makes no sense, before anything is done.
    pub fn check(&self) -> Result<(), Failure> {
        let usage = |what: String| Err(Failure::new(Exit::Usage, what));
        let twice = |(n, mode): &(usize, &Mode)| self.modes[..*n].contains(mode);
        if let Some((_, mode)) = self.modes.iter().enumerate().find(twice) {
            return usage(format!("--modes names {mode} twice; --runs says how often each is run"));
        }
        match (self.modes.is_empty(), self.runs) {
            (true, _) => usage("--modes names no mode".into()),
            (_, 1..=MOST_RUNS) => Ok(()),
            (_, runs) => usage(format!("--runs {runs}: a mode can be run from 1 to {MOST_RUNS} times")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::ALIVE;

    fn wanted(modes: &[Mode], runs: usize) -> Wanted {
        Wanted { modes: modes.to_vec(), runs, seed: 1, findings: Policy::Fail, timeout_s: None, watch_for: ALIVE }
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
}
