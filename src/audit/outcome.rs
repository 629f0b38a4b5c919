//! What came of an audit: a result for each condition, and the whole as `audit.json`.

use super::condition::{Condition, Phase, Severity};
use super::image::BootPath;
use camino::Utf8PathBuf;
use host::failure::{Exit, Failure};
use host::ledger::Leak;
use host::names::{ConditionId, HostName};
use serde::{Deserialize, Serialize};

/// What looking at one thing has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What is the case, in one line.
    pub observed: String,
    /// What that means for the condition.
    pub verdict: Verdict,
    /// What it was seen in: a command's answer, a file's text. Empty where `observed` says it all.
    pub evidence: String,
}

/// What was seen means for a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not hold; the cause, in its first line.
    Fails(String),
    /// Nobody could look: nothing is known; why, in its first line.
    Unknown(String),
}

impl Seen {
    /// It holds.
    pub fn holds(observed: impl Into<String>) -> Self {
        Self { observed: observed.into(), verdict: Verdict::Holds, evidence: String::new() }
    }

    /// It does not hold.
    pub fn fails(observed: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { observed: observed.into(), verdict: Verdict::Fails(cause.into()), evidence: String::new() }
    }

    /// Nobody could look.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self { observed: String::new(), verdict: Verdict::Unknown(why.into()), evidence: String::new() }
    }

    /// It holds if there is no cause why not.
    pub fn judged(observed: impl Into<String>, cause: Option<String>) -> Self {
        match cause {
            None => Self::holds(observed),
            Some(cause) => Self::fails(observed, cause),
        }
    }

    /// The same, with what it was seen in.
    pub fn in_text(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = evidence.into();
        self
    }
}

/// What came of one condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold, or nobody could look.
    Failed {
        /// Why, in the first line.
        cause: String,
        /// What to do next.
        next: String,
        /// Whether it was seen not to hold; `false` if nobody could look, which is no verdict on the image.
        looked: bool,
    },
    /// It was not looked at, since what it depends on failed.
    Blocked {
        /// The conditions that failed: the roots, not what they blocked in between.
        by: Vec<ConditionId>,
    },
    /// It does not apply, or was not asked for.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// One condition and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judged {
    /// The condition's name.
    pub id: ConditionId,
    /// Its phase.
    pub phase: Phase,
    /// What must hold.
    pub what: String,
    /// What it means if it does not.
    pub severity: Severity,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What was seen, in one line.
    pub observed: String,
    /// What that was seen in: the end of it, at most [`MOST_TEXT`] bytes.
    pub evidence: String,
    /// The file in the evidence folder that has all of it, where it is longer.
    pub file: Option<String>,
    /// How long looking took.
    pub seconds: f64,
}

/// How much of its evidence a result carries, in bytes.
pub const MOST_TEXT: usize = 4096;

/// What to do about a condition that nobody could look at.
const LOOK_AGAIN: &str = "this says nothing about the image: mend what kept it from being looked at, and audit again";

impl Judged {
    /// A condition that was not looked at.
    pub fn without_looking(condition: &Condition, outcome: Outcome) -> Self {
        Self {
            id: condition.id.clone(),
            phase: condition.phase,
            what: condition.what.clone(),
            severity: condition.severity,
            outcome,
            observed: String::new(),
            evidence: String::new(),
            file: None,
            seconds: 0.0,
        }
    }

    /// A condition that was looked at.
    pub fn of(condition: &Condition, seen: Seen, seconds: f64) -> Self {
        let outcome = match seen.verdict {
            Verdict::Holds => Outcome::Passed,
            Verdict::Fails(cause) => Outcome::Failed { cause, next: condition.hint.clone(), looked: true },
            // The condition's own hint is for one that was seen not to hold.
            Verdict::Unknown(why) => {
                Outcome::Failed { cause: format!("could not look: {why}"), next: LOOK_AGAIN.into(), looked: false }
            }
        };
        let (observed, evidence) = (seen.observed, seen.evidence);
        Self { observed, evidence, seconds, ..Self::without_looking(condition, outcome) }
    }

    /// Whether it failed.
    pub fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. })
    }

    /// Whether the audit fails by it: a must that does not hold, or of which nobody knows.
    pub fn counts(&self) -> bool {
        self.severity == Severity::Must && matches!(self.outcome, Outcome::Failed { .. } | Outcome::Blocked { .. })
    }

    /// What a reader must know of it in one line: the cause, what it waits for, or what was seen.
    pub fn line(&self) -> String {
        match &self.outcome {
            Outcome::Passed => self.observed.clone(),
            Outcome::Failed { cause, .. } => cause.lines().next().unwrap_or_default().to_owned(),
            Outcome::Blocked { by } => format!("blocked by {}", listed(by)),
            Outcome::Skipped { reason } => reason.clone(),
        }
    }
}

/// Names with commas between them.
pub fn listed(ids: &[ConditionId]) -> String {
    ids.iter().map(ConditionId::as_str).collect::<Vec<_>>().join(", ")
}

/// A whole audit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Audit {
    /// The format of this file.
    pub schema: u32,
    /// The version of boma-qemu that wrote it.
    pub version: String,
    /// The audit profile.
    pub profile: HostName,
    /// When the audit began (UTC, RFC 3339).
    pub started: String,
    /// The evidence folder.
    pub run: Utf8PathBuf,
    /// The image, once it is known which file that is.
    pub image: Option<Utf8PathBuf>,
    /// What the machine was made of, once there was one.
    pub machine: Option<String>,
    /// What each firmware would boot of the image, where it was opened.
    #[serde(default)]
    pub boot_paths: Vec<BootPath>,
    /// How long all of it took.
    pub seconds: f64,
    /// The exit class; none until the audit has come to its end.
    pub exit: Option<Exit>,
    /// A result for each condition, in the order in which they were looked at.
    pub conditions: Vec<Judged>,
    /// What ended the audit, or that conditions do not hold.
    pub failure: Option<Failure>,
    /// What was left on the host after the teardown.
    pub leaks: Vec<Leak>,
    /// Whether the machine was kept, as it was asked to.
    pub kept: bool,
}

impl Audit {
    /// An audit that begins now.
    pub fn begin(profile: &HostName, run: Utf8PathBuf) -> Self {
        Self {
            schema: 1,
            version: env!("CARGO_PKG_VERSION").into(),
            profile: profile.clone(),
            started: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            run,
            image: None,
            machine: None,
            boot_paths: Vec::new(),
            seconds: 0.0,
            exit: None,
            conditions: Vec::new(),
            failure: None,
            leaks: Vec::new(),
            kept: false,
        }
    }

    /// How many conditions came to each result: passed, failed, blocked, skipped.
    pub fn counts(&self) -> [usize; 4] {
        let count = |wanted: fn(&Outcome) -> bool| self.conditions.iter().filter(|one| wanted(&one.outcome)).count();
        [
            count(|outcome| matches!(outcome, Outcome::Passed)),
            count(|outcome| matches!(outcome, Outcome::Failed { .. })),
            count(|outcome| matches!(outcome, Outcome::Blocked { .. })),
            count(|outcome| matches!(outcome, Outcome::Skipped { .. })),
        ]
    }

    /// The verdict on what was looked at. One that nobody could look at is no verdict on the image (exit 4), unless
    /// another was seen not to hold.
    pub fn judge(&self) -> Result<(), Failure> {
        let counts: Vec<_> = self.conditions.iter().filter(|one| one.counts()).collect();
        let Some(first) = counts.iter().find(|one| one.failed()).or(counts.first()) else { return self.looked() };
        let unlooked = |one: &&Judged| matches!(one.outcome, Outcome::Failed { looked: false, .. });
        let by_unlooked = |one: &Judged| match &one.outcome {
            Outcome::Blocked { by } => by.iter().all(|id| self.find(id).is_some_and(|root| unlooked(&root))),
            _ => unlooked(&one),
        };
        let exit = if counts.iter().all(|one| by_unlooked(one)) { Exit::Lost } else { Exit::Verify };
        let [.., blocked, _] = self.counts();
        let failed: Vec<_> = counts.iter().filter(|one| one.failed()).map(|one| one.id.clone()).collect();
        let what = match (failed.is_empty(), blocked) {
            (true, blocked) => format!("{blocked} conditions could not be looked at ({})", first.line()),
            (false, 0) => format!("{} not hold: {}", number(failed.len(), "does", "do"), listed(&failed)),
            (false, blocked) => format!(
                "{} not hold, and {} blocked by what failed: {}",
                number(failed.len(), "does", "do"),
                number(blocked, "is", "are"),
                listed(&failed)
            ),
        };
        let failure = Failure::new(exit, what).during(format!("{}: {}", first.id, first.line()));
        Err(match &first.outcome {
            Outcome::Failed { next, .. } => failure.next(next.clone()),
            _ => failure,
        })
    }

    /// Where nothing was looked at, nothing holds.
    fn looked(&self) -> Result<(), Failure> {
        let [passed, failed, ..] = self.counts();
        if passed + failed > 0 {
            return Ok(());
        }
        Err(Failure::new(Exit::Lost, "no condition was looked at: there is no verdict on the image")
            .next("`boma-qemu audit NAME --list` says why each is left out"))
    }

    fn find(&self, id: &ConditionId) -> Option<&Judged> {
        self.conditions.iter().find(|one| one.id == *id)
    }

    /// The first failure decides the exit class.
    pub fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    /// What was left behind is added, and never hides a failure.
    pub fn leaked(&mut self, leaks: &[Leak]) {
        self.leaks.extend_from_slice(leaks);
    }

    /// The audit has come to its end. Whatever its conditions say is judged here, and nowhere else does it pass.
    pub fn conclude(&mut self) {
        if let Err(failure) = self.judge() {
            self.fail(failure);
        }
        self.exit = Some(match (&self.failure, self.leaks.is_empty()) {
            (Some(failure), _) => failure.exit,
            (None, false) => Exit::Leaked,
            (None, true) => Exit::Passed,
        });
    }

    /// The process exit code.
    pub fn code(&self) -> u8 {
        self.exit.unwrap_or(Exit::Lost).code()
    }
}

/// A number with its verb.
fn number(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
