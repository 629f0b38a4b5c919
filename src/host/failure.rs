//! What the program says when it stops: one failure, its exit class and the next step.
//!
//! Every room has its own `thiserror` enum and says, through [`Blame`], which exit class each of its
//! errors has and what the reader can do next. A [`Failure`] is what is left of it at the top: plain
//! text, ready to be printed or written to `result.json`.

use crate::visible::block;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why the program ended, as a process exit code. The first failure decides; a leak never hides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done and held.
    Passed = 0,
    /// A bug in boma-qemu itself.
    Bug = 1,
    /// Wrong arguments, profile or other input.
    Usage = 2,
    /// This host cannot run a VM (`doctor` says why).
    Host = 3,
    /// The VM or the harness around it was lost.
    Lost = 4,
    /// A playbook failed.
    Apply = 5,
    /// An outcome check failed.
    Verify = 6,
    /// All passed, but something was left on the host.
    Leaked = 7,
    /// The guest panicked or fell into emergency mode.
    Guest = 8,
    /// A red case passed: the harness does not see what it exists to see.
    Unfaithful = 9,
    /// Stopped by the user.
    Interrupted = 130,
}

impl Exit {
    /// The process exit code.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// An error that knows its exit class and the reader's next step.
pub trait Blame: std::error::Error {
    /// The exit class.
    fn exit(&self) -> Exit;
    /// What to do next, as an imperative sentence, if there is something to do.
    fn next(&self) -> Option<String> {
        None
    }
}

/// A failure as it reaches the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The exit class.
    pub exit: Exit,
    /// What failed and why: the error's own words, then each cause's.
    pub chain: Vec<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Failure {
    /// A failure with one line of text.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, chain: vec![what.into()], next: None }
    }

    /// The same failure with a next step.
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// The same failure, told as part of a larger action ("what failed" first).
    pub fn during(mut self, what: impl Into<String>) -> Self {
        self.chain.insert(0, what.into());
        self
    }
}

impl<E: Blame> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: error.exit(), chain: causes(&error), next: error.next() }
    }
}

/// What stands before the next step where a failure is shown.
pub const NEXT: &str = "\n  next: ";

/// An error's own words, then each cause's.
fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    for cause in std::iter::successors(Some(error), |error| error.source()) {
        let text = cause.to_string();
        // thiserror's `transparent` and `{source}` formats repeat the cause: say it once.
        if !chain.iter().any(|said| said.contains(&text)) {
            chain.push(text);
        }
    }
    chain
}

/// An error with its causes, in one text.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    causes(error).join(": ")
}

/// For logs and notes: its hidden characters are visible, and only its first line begins where a line does.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indented = |text: &str| block(text).replace('\n', "\n  ");
        f.write_str(&indented(&self.chain.join(": ")))?;
        match &self.next {
            Some(next) => write!(f, "{NEXT}{}", indented(next)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot make the bridge boma-it")]
    struct Outer(#[source] std::io::Error);

    impl Blame for Outer {
        fn exit(&self) -> Exit {
            Exit::Host
        }
        fn next(&self) -> Option<String> {
            Some("run `boma-qemu doctor`".into())
        }
    }

    #[test]
    fn a_failure_shows_what_hides_and_forges_no_line() {
        let failure = Failure::new(Exit::Lost, "a\nPASSED\u{1b}[2J").next("x\u{202e}");
        assert_eq!(failure.to_string(), "a\n  PASSED⟨U+001B⟩[2J\n  next: x⟨U+202E⟩");
    }

    #[test]
    fn a_failure_tells_what_why_and_what_next() {
        let failure = Failure::from(Outer(std::io::Error::other("no such device")));
        assert_eq!(
            failure.to_string(),
            "cannot make the bridge boma-it: no such device\n  next: run `boma-qemu doctor`"
        );
        assert_eq!(failure.exit.code(), 3);
    }
}
