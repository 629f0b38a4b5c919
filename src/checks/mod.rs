//! Checks of a host as data: what is asked ([`probe`]), asking it (from the controller's side of the VM's network, [`network`],
//! or of the guest itself, [`guest`]), and judging what was seen ([`judge`]); the output of programs of the user's whose
//! tests are checks ([`output`]); and the probes that a state suggests ([`suggest`]).
//!
//! Judging is pure: it is given what was seen. What was not seen is never judged to hold.
//!
//! Fuzzed as `checks`, `profile`.

pub mod guest;
pub mod judge;
mod judge_file;
pub mod network;
pub mod output;
pub mod probe;
pub mod suggest;

pub use judge::Verdict;
pub use probe::Probe;

use evidence::playbook::checks::Check;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a question may take to come true, in seconds, where the profile does not say.
pub const WITHIN: u64 = 30;
/// How long a program of the user's may take, in seconds, where the profile does not say.
pub const LIMIT: u64 = 600;
/// The longest of both, in seconds.
pub const LONGEST: u64 = 3600;

/// One question of the profile's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("patternProperties" = {"^//": true}))]
pub struct Question {
    /// The name of its check.
    pub name: String,
    /// What is asked.
    pub probe: Probe,
    /// How long it may take to come true, in seconds.
    #[serde(default = "within")]
    pub within: u64,
}

/// A program of the user's that tests the VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("patternProperties" = {"^//": true}))]
pub struct Program {
    /// The name of its check, or the beginning of the names of its checks.
    pub name: String,
    /// Its command line. It is no shell's.
    pub run: Vec<String>,
    /// What it says its results in.
    pub format: Format,
    /// How long it may take, in seconds.
    #[serde(default = "limit")]
    pub limit: u64,
}

/// How a program says what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// By its exit code: 0 is good.
    Exit,
    /// By TAP (<https://testanything.org>), versions 12 to 14.
    Tap,
    /// By the XML that JUnit, pytest and many others write.
    Junit,
    /// By what `goss validate --format json` prints.
    Goss,
}

fn within() -> u64 {
    WITHIN
}

fn limit() -> u64 {
    LIMIT
}

impl Question {
    /// How long it may take to come true.
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.within)
    }

    /// The check that it is, by the last that was seen of it.
    pub fn check(&self, verdict: Verdict) -> Check {
        let late = |why: String| format!("{why} (asked for {} s)", self.within);
        match verdict {
            Verdict::Holds(saw) => Check { id: self.name.clone(), ok: true, hint: false, detail: saw, looked: true },
            Verdict::Fails(why) => {
                Check { id: self.name.clone(), ok: false, hint: false, detail: late(why), looked: true }
            }
            Verdict::Unseen(why) => Check::did_not_look(&self.name, late(format!("it could not look: {why}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_holds_is_green_and_what_was_not_seen_did_not_look() {
        let question: Question =
            serde_json::from_value(serde_json::json!({"name": "web", "probe": {"tcp": {"port": 80}}})).unwrap();
        assert_eq!(question.within, WITHIN);
        let check = |verdict| question.check(verdict);
        assert!(check(Verdict::Holds("open".into())).ok);
        let red = check(Verdict::Fails("refused".into()));
        assert!(red.is_red() && red.looked && red.detail.contains("refused"));
        let unseen = check(Verdict::Unseen("no ssh".into()));
        assert!(unseen.is_red() && !unseen.looked && unseen.detail.contains("no ssh"));
    }
}
