//! Talking to whoever sits at the other end of the console: type, and wait for words.
//!
//! What is waited for is looked for in users' lines and in the line that has not ended yet, never in
//! kernel records. A wait ends at its deadline, or at once when a rule says that this boot is lost.

use super::engine::{Engine, Line};
use super::rules::{self, Finding};
use crate::failure::{Blame, Exit};
use crate::host::deadline::Deadline;
use crate::host::tail::Tail;
use camino::{Utf8Path, Utf8PathBuf};
use std::collections::VecDeque;
use std::fmt::Write;
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;

/// Console lines that an error shows.
const WINDOW: usize = 12;
/// How much of the log from before is read, to know where the cursor stands, in bytes.
const HISTORY: u64 = 4096;
/// The time that the guest has to take what is typed.
const TYPING_LIMIT: Duration = Duration::from_secs(30);

/// What types on the console.
pub trait Keyboard {
    /// Type `bytes`; the error says why it could not be done.
    fn type_in(&self, bytes: &[u8], limit: Duration) -> impl Future<Output = Result<(), String>>;
}

/// Why a talk over the console came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// The log cannot be read.
    #[error("cannot read the console log {path}")]
    Log {
        /// The log.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Nothing could be typed.
    #[error("cannot type on the console: {0}")]
    Keyboard(String),
    /// The words did not come in time.
    #[error("the console did not show {what} within {waited:?}; its last lines:\n{window}")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        waited: Duration,
        /// The console's last lines.
        window: String,
    },
    /// The machine is in a state in which nobody can log in.
    #[error("the console cannot be used: {means} ({line:?})")]
    Stuck {
        /// What the line means.
        means: &'static str,
        /// The console line.
        line: String,
    },
    /// The login was refused.
    #[error("the guest refused the console login of {user}; its last lines:\n{window}")]
    Refused {
        /// The user.
        user: String,
        /// The console's last lines.
        window: String,
    },
    /// The user cannot become root.
    #[error("{user} cannot become root on the console; its last lines:\n{window}")]
    NotRoot {
        /// The user.
        user: String,
        /// The console's last lines.
        window: String,
    },
}

impl Blame for TalkError {
    fn exit(&self) -> Exit {
        match self {
            Self::Log { .. } | Self::Keyboard(_) => Exit::Lost,
            Self::TimedOut { .. } | Self::Stuck { .. } | Self::Refused { .. } | Self::NotRoot { .. } => Exit::Guest,
        }
    }
    fn next(&self) -> Option<String> {
        Some("look at the console yourself: `boma-qemu console HOST --follow`".into())
    }
}

/// The console's reading and typing ends.
pub struct Terminal<K> {
    keyboard: K,
    path: Utf8PathBuf,
    tail: Tail,
    engine: Engine,
    /// Users' lines that were not looked at yet.
    fresh: VecDeque<String>,
    /// The last lines of any kind.
    window: VecDeque<String>,
    /// The first line that says that this boot is lost.
    lost: Option<Finding>,
}

impl<K: Keyboard> Terminal<K> {
    /// Open the console whose log is at `path`. Only what comes from now on is looked at, but for the
    /// line that the cursor stands in.
    pub async fn open(path: &Utf8Path, keyboard: K) -> Result<Self, TalkError> {
        let io = |source| TalkError::Log { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(io)?.len();
        let from = length.saturating_sub(HISTORY);
        let tail = Tail::open(path, from).map_err(io)?;
        let engine = Engine::new(from);
        let (fresh, window) = Default::default();
        let mut terminal = Self { keyboard, path: path.to_owned(), tail, engine, fresh, window, lost: None };
        if length > 0 {
            terminal.read().await?;
        }
        terminal.fresh.clear();
        // What is over is over; only a prompt that still stands there counts.
        terminal.lost = None;
        Ok(terminal)
    }

    /// Type a line.
    pub(super) async fn enter(&self, line: &str) -> Result<(), TalkError> {
        // A terminal's Enter key sends a carriage return.
        let bytes = format!("{line}\r");
        self.keyboard.type_in(bytes.as_bytes(), TYPING_LIMIT).await.map_err(TalkError::Keyboard)
    }

    /// The line that the cursor stands in.
    pub(super) fn prompt(&self) -> String {
        self.engine.partial().trim_end().to_owned()
    }

    /// Forget what has come so far.
    pub(super) fn skip(&mut self) {
        self.fresh.clear();
    }

    /// Wait until `look` finds something, in a line that has ended (`Some`) or in where the cursor
    /// stands. `None` once `limit` has passed.
    pub(super) async fn look_for<T>(
        &mut self,
        deadline: &Deadline,
        mut look: impl FnMut(Look<'_>) -> Option<T>,
    ) -> Result<Option<T>, TalkError> {
        loop {
            while let Some(line) = self.fresh.pop_front() {
                if let Some(found) = look(Look::Line(&line)) {
                    return Ok(Some(found));
                }
            }
            if let Some(found) = look(Look::Prompt(&self.prompt())) {
                return Ok(Some(found));
            }
            if let Some(Finding { means, line, .. }) = self.lost.clone() {
                return Err(TalkError::Stuck { means, line });
            }
            match timeout(deadline.left(), self.read()).await {
                Ok(read) => read?,
                Err(_) => return Ok(None),
            }
        }
    }

    /// The error of a wait that was in vain.
    pub(super) fn in_vain(&self, what: &'static str, deadline: &Deadline) -> TalkError {
        TalkError::TimedOut { what, waited: deadline.waited(), window: self.window() }
    }

    /// The console's last lines, for errors.
    pub(super) fn window(&self) -> String {
        let mut text = String::new();
        for line in self.window.iter().chain([&self.engine.partial()]).filter(|line| !line.is_empty()) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "    {line}");
        }
        text.trim_end().to_owned()
    }

    /// A prompt at which nobody of ours can do anything.
    pub(super) fn stuck(&self) -> Option<TalkError> {
        let line = Line { text: self.engine.partial(), kernel: false, offset: 0, row: 0 };
        let finding = rules::findings(&line).find(|finding| finding.fatal)?;
        Some(TalkError::Stuck { means: finding.means, line: finding.line })
    }

    async fn read(&mut self) -> Result<(), TalkError> {
        let io = |source| TalkError::Log { path: self.path.clone(), source };
        let mut bytes = Vec::new();
        self.tail.more(&mut bytes).await.map_err(io)?;
        let (fresh, window, lost) = (&mut self.fresh, &mut self.window, &mut self.lost);
        self.engine.feed(&bytes, |line| {
            if lost.is_none() {
                *lost = rules::findings(&line).find(|finding| finding.fatal);
            }
            if window.len() == WINDOW {
                window.pop_front();
            }
            window.push_back(line.text.clone());
            if !line.kernel {
                fresh.push_back(line.text);
            }
        });
        Ok(())
    }
}

/// What there is to look at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Look<'a> {
    /// A line that has ended.
    Line(&'a str),
    /// The line that the cursor stands in.
    Prompt(&'a str),
}
