//! The record of a proof: which scenarios were tried, what each of their cases came to, and what is proved by it. It goes into a
//! folder of its own, as `proof.json`; each case is a run with its own evidence.

use super::Record;
use crate::report::RunFolder;
use camino::Utf8PathBuf;
use host::failure::{Exit, Failure};
use host::ledger::Leak;
use host::names::HostName;
use serde::{Deserialize, Serialize};

/// What a proof has come to so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProofRecord {
    /// The format of this file.
    pub schema: u32,
    /// The version of boma-qemu that wrote it.
    pub version: String,
    /// The mirrored host.
    pub host: HostName,
    /// When the proof began (UTC, RFC 3339).
    pub started: String,
    /// The scenarios, in their order.
    pub scenarios: Vec<Tried>,
    /// The checks that no case has seen red; none as long as it has not ended.
    #[serde(default)]
    pub never_red: Option<Vec<String>>,
    /// Why not all is proved: the first reason.
    pub failure: Option<Failure>,
    /// What was left on this host.
    pub leaks: Vec<Leak>,
    /// The exit class; none while it is at work, or where it was killed.
    pub exit: Option<Exit>,
}

/// One scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// Its name.
    pub name: String,
    /// How the fault must show.
    pub shows: String,
    /// The red case, once it was run.
    pub red: Option<Case>,
    /// The green case, if it came to it.
    pub green: Option<Case>,
    /// Why it is not proved, if so.
    pub failure: Option<Failure>,
}

/// One case: a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// Its evidence folder.
    pub run: Utf8PathBuf,
    /// The first line of its verdict.
    pub verdict: String,
    /// The checks that were red when it ended.
    pub red: Vec<String>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// How long its phases took.
    pub seconds: f64,
}

impl Case {
    /// What a run was, with the first line of its verdict.
    pub fn of(record: &Record, verdict: String) -> Self {
        let last = record.last_checks().into_iter().flat_map(|checks| checks.failed());
        Self {
            run: record.run.clone(),
            verdict,
            red: last.filter(|check| check.looked).map(|check| check.id.clone()).collect(),
            exit: record.exit,
            seconds: record.phases.iter().map(|phase| phase.seconds).sum(),
        }
    }
}

impl Tried {
    /// A scenario of which nothing was run yet.
    pub fn begin(name: &str, shows: String) -> Self {
        Self { name: name.to_owned(), shows, red: None, green: None, failure: None }
    }

    /// Whether both of its cases were as they must be.
    pub fn is_proved(&self) -> bool {
        self.failure.is_none() && self.red.is_some() && self.green.is_some()
    }
}

impl ProofRecord {
    /// The record of a proof that begins now.
    pub fn begin(host: &HostName, scenarios: Vec<Tried>) -> Self {
        Self {
            schema: 1,
            version: env!("CARGO_PKG_VERSION").into(),
            host: host.clone(),
            started: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            scenarios,
            never_red: None,
            failure: None,
            leaks: Vec::new(),
            exit: None,
        }
    }

    /// It has come to its end. What is not proved comes before what is left behind.
    pub fn conclude(&mut self) {
        let not_proved = self.scenarios.iter().find_map(|tried| tried.failure.clone());
        let left: Vec<_> = self.leaks.iter().map(|leak| leak.what.as_str()).collect();
        let leaked = (!left.is_empty()).then(|| {
            Failure::new(Exit::Leaked, format!("all cases went as they must, but left behind: {}", left.join(", ")))
        });
        self.failure = not_proved.or(leaked);
        let whole = self.scenarios.iter().all(Tried::is_proved);
        self.exit = Some(match &self.failure {
            Some(failure) => failure.exit,
            None if whole => Exit::Passed,
            None => Exit::Lost,
        });
    }

    /// What is proved, in one sentence.
    pub fn headline(&self) -> String {
        let (host, all) = (&self.host, self.scenarios.len());
        let proved: Vec<_> = self.scenarios.iter().filter(|tried| tried.is_proved()).collect();
        let names = || proved.iter().map(|tried| tried.name.as_str()).collect::<Vec<_>>().join(", ");
        match self.exit {
            None => format!("NOT FINISHED: {host}, {} of {all} scenarios proved so far", proved.len()),
            Some(Exit::Interrupted) => format!("STOPPED: {host}, {} of {all} scenarios proved", proved.len()),
            Some(Exit::Passed) => format!("PROVED: {host} is red with the fault and green without it: {}", names()),
            Some(Exit::Leaked) => format!("LEAKED: {host} is proved, but something was left on this host"),
            Some(_) => match proved.is_empty() {
                true => format!("NOT PROVED: {host}, none of {all} scenarios"),
                false => format!("NOT PROVED: {host}, only {} of {all} scenarios: {}", proved.len(), names()),
            },
        }
    }

    /// The file of the record in its folder.
    pub const FILE: &'static str = "proof.json";

    /// A folder for it beside those of its cases.
    pub fn folder(dirs: &host::dirs::Dirs, host: &HostName, command: &str) -> Result<RunFolder, Failure> {
        RunFolder::create_for(dirs, &format!("{host}-proof"), command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(exit: Exit) -> Case {
        Case { run: "/r".into(), verdict: "v".into(), red: Vec::new(), exit: Some(exit), seconds: 1.0 }
    }

    fn tried(name: &str, failure: Option<Failure>) -> Tried {
        let (red, green) = (Some(case(Exit::Verify)), failure.is_none().then(|| case(Exit::Passed)));
        Tried { red, green, failure, ..Tried::begin(name, "x".into()) }
    }

    fn concluded(scenarios: Vec<Tried>, leaks: Vec<Leak>) -> ProofRecord {
        let mut record = ProofRecord { leaks, ..ProofRecord::begin(&"askari".parse().unwrap(), scenarios) };
        record.conclude();
        record
    }

    #[test]
    fn a_proof_is_one_only_if_each_scenario_is() {
        let whole = concluded(vec![tried("a", None), tried("b", None)], Vec::new());
        assert_eq!((whole.exit, whole.headline().split(':').next()), (Some(Exit::Passed), Some("PROVED")));
        let unfaithful = Failure::new(Exit::Unfaithful, "the red case passed");
        let half = concluded(vec![tried("a", Some(unfaithful)), tried("b", None)], Vec::new());
        assert_eq!(half.exit, Some(Exit::Unfaithful));
        assert!(half.headline().contains("only 1 of 2 scenarios: b"), "{}", half.headline());
        // What was not run is not proved.
        let unseen = concluded(vec![tried("a", None), Tried::begin("b", "x".into())], Vec::new());
        assert_eq!(unseen.exit, Some(Exit::Lost));
    }

    #[test]
    fn a_leak_hides_no_failure() {
        let leak = || vec![Leak { what: "tap".into(), why: "busy".into() }];
        assert_eq!(concluded(vec![tried("a", None)], leak()).exit, Some(Exit::Leaked));
        let lost = Failure::new(Exit::Lost, "gone");
        assert_eq!(concluded(vec![tried("a", Some(lost))], leak()).exit, Some(Exit::Lost));
    }
}
