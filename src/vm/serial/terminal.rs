//! Reading and typing: from the log's bytes to lines that are looked at once, and never twice.
//!
//! Lines are looked at as they end, and the line that the cursor stands in as far as it has come; what a look has taken
//! of it does not come again. Kernel records are lifted out, in the middle of a line too, and are never looked at. A
//! wait ends at its deadline, or at once when nothing can come any more.

use super::{Interruption, Port, SerialError};
use crate::console::allow::Allowed;
use crate::console::engine::{Engine, Line};
use crate::console::rules::{self, Finding};
use camino::{Utf8Path, Utf8PathBuf};
use host::deadline::Deadline;
use host::failure::Exit;
use host::presence::{IN_MEMORY, ignore};
use host::tail::Tail;
use regex::Regex;
use std::collections::VecDeque;
use std::fmt::Write;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Lines that an error shows.
const WINDOW: usize = 20;
/// The longest line that an error shows whole, in characters.
const WINDOW_WIDTH: usize = 240;
/// How much of the log from before is read, to know where the cursor stands, in bytes.
const HISTORY: u64 = 4096;
/// The time that the guest has to take what is typed.
const TYPING_LIMIT: Duration = Duration::from_secs(30);
/// How many pieces of what a machine left behind are still read.
const LAST_PIECES: usize = 64;

/// What came of the patterns that were waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which of the patterns, from 0.
    pub which: usize,
    /// The line, as far as it had come.
    pub line: String,
}

/// What there is to look at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Look<'a> {
    /// A line that has ended.
    Line(&'a str),
    /// The line that the cursor stands in, without spaces at its end.
    Prompt(&'a str),
}

/// The line's reading and typing ends.
pub(super) struct Terminal<P> {
    port: P,
    path: Utf8PathBuf,
    tail: Tail,
    engine: Engine,
    /// The offset in the log of what is read next.
    at: u64,
    allowed: Allowed,
    /// Users' lines that have ended and were not looked at.
    ended: VecDeque<String>,
    /// How much of the cursor's line was looked at and taken, in bytes.
    taken: usize,
    /// The last lines of any kind.
    window: VecDeque<String>,
    /// When a user's text came last.
    heard: Instant,
    /// Whether a kernel or a getty has spoken in this boot: then the boot loader is over.
    pub(super) beyond_loader: bool,
    /// The boots that have begun.
    boots: u32,
    /// The boot that the shell in use belongs to.
    shell_of: Option<u32>,
    /// The first line that says that this boot is lost.
    lost: Option<Finding>,
    gone: Option<(String, Exit)>,
}

impl<P: Port> Terminal<P> {
    /// Open the line whose log is at `path`. Only what comes from now on is looked at, but for the line that the cursor
    /// stands in.
    pub(super) async fn open(path: &Utf8Path, port: P, allowed: Allowed) -> Result<Self, SerialError> {
        let io = |source| SerialError::Log { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(io)?.len();
        let from = length.saturating_sub(HISTORY);
        let tail = Tail::open(path, from).map_err(io)?;
        let (ended, window) = Default::default();
        let mut terminal = Self {
            port,
            path: path.to_owned(),
            tail,
            engine: Engine::new(from),
            at: from,
            allowed,
            ended,
            taken: 0,
            window,
            heard: Instant::now(),
            beyond_loader: false,
            boots: 0,
            shell_of: None,
            lost: None,
            gone: None,
        };
        if length > 0 {
            let mut bytes = Vec::new();
            terminal.tail.more(&mut bytes).await.map_err(io)?;
            terminal.take(&bytes);
        }
        // What is over is over; only a prompt that still stands there counts.
        terminal.ended.clear();
        terminal.lost = None;
        Ok(terminal)
    }

    /// Type a line.
    pub(super) async fn enter(&self, line: &str) -> Result<(), SerialError> {
        // A terminal's Enter key sends a carriage return.
        self.type_in(format!("{line}\r").as_bytes()).await
    }

    pub(super) async fn type_in(&self, bytes: &[u8]) -> Result<(), SerialError> {
        if let Some(gone) = self.is_gone() {
            return Err(gone);
        }
        self.port.type_in(bytes, TYPING_LIMIT).await.map_err(SerialError::Keyboard)
    }

    /// The whole line that the cursor stands in, without spaces at its end.
    pub(super) fn cursor(&self) -> String {
        self.engine.partial().trim_end().to_owned()
    }

    /// Forget what has come so far, the cursor's line too.
    pub(super) fn skip(&mut self) {
        self.ended.clear();
        self.taken = self.engine.partial().len();
    }

    /// From now on a reset is an error: the shell that is in use dies with its boot.
    pub(super) fn hold_to_this_boot(&mut self, held: bool) {
        self.shell_of = held.then_some(self.boots);
    }

    /// How long no user has written anything.
    pub(super) fn silent_for(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Wait until `look` finds something; it is taken then. `None` once the deadline has passed.
    pub(super) async fn look_for<T>(
        &mut self,
        deadline: &Deadline,
        mut look: impl FnMut(Look<'_>) -> Option<T>,
    ) -> Result<Option<T>, SerialError> {
        loop {
            while let Some(line) = self.ended.pop_front() {
                if let Some(found) = look(Look::Line(&line)) {
                    return Ok(Some(found));
                }
            }
            let partial = self.engine.partial();
            let fresh = partial.get(self.taken..).unwrap_or_default().trim_end();
            if !fresh.is_empty()
                && let Some(found) = look(Look::Prompt(fresh))
            {
                self.taken = partial.len();
                return Ok(Some(found));
            }
            if self.shell_of.is_some_and(|boot| boot != self.boots) {
                return Err(SerialError::Reset { window: self.window() });
            }
            if let Some(Finding { means, line, .. }) = self.lost.clone() {
                return Err(SerialError::Stuck { means, line, window: self.window() });
            }
            if let Some(gone) = self.is_gone() {
                return Err(gone);
            }
            if !self.read(deadline).await? {
                return Ok(None);
            }
        }
    }

    /// See [`super::Serial::expect`].
    pub(super) async fn expect(
        &mut self,
        what: &'static str,
        patterns: &[Regex],
        deadline: &Deadline,
    ) -> Result<Seen, SerialError> {
        let look = |look: Look<'_>| {
            let (Look::Line(text) | Look::Prompt(text)) = look;
            let which = patterns.iter().position(|pattern| pattern.is_match(text))?;
            Some(Seen { which, line: text.to_owned() })
        };
        self.look_for(deadline, look).await?.ok_or_else(|| self.in_vain(what, deadline))
    }

    /// The error of a wait that was in vain.
    pub(super) fn in_vain(&self, what: &'static str, deadline: &Deadline) -> SerialError {
        SerialError::TimedOut { what, waited: deadline.waited(), window: self.window() }
    }

    /// The last lines, for errors.
    pub(super) fn window(&self) -> String {
        let mut text = String::new();
        for line in self.window.iter().chain([&self.engine.partial()]).filter(|line| !line.trim().is_empty()) {
            let short: String = line.chars().take(WINDOW_WIDTH).collect();
            ignore(writeln!(text, "    {short}"), IN_MEMORY);
        }
        if text.is_empty() { "    (nothing)".into() } else { text.trim_end().to_owned() }
    }

    /// A prompt at which nobody of ours can do anything.
    pub(super) fn stuck(&self) -> Option<SerialError> {
        let line = Line { text: self.engine.partial(), kernel: false, offset: 0, row: 0 };
        let finding = rules::findings(&line).find(|finding| is_fatal(finding, &self.allowed))?;
        Some(SerialError::Stuck { means: finding.means, line: finding.line, window: self.window() })
    }

    fn is_gone(&self) -> Option<SerialError> {
        let (why, exit) = self.gone.clone()?;
        Some(SerialError::Lost { why, exit, window: self.window() })
    }

    /// Take what comes next; `false` once the deadline has passed.
    async fn read(&mut self, deadline: &Deadline) -> Result<bool, SerialError> {
        if deadline.passed() {
            return Ok(false);
        }
        let path = self.path.clone();
        let io = |source| SerialError::Log { path, source };
        let mut bytes = Vec::new();
        tokio::select! {
            biased;
            what = self.port.interrupted() => match what {
                Interruption::NewBoot { offset } => self.cut(offset).await.map_err(io)?,
                Interruption::Lost { why, exit } => {
                    // What it said before it went may be what is waited for.
                    self.drain().await.map_err(io)?;
                    self.gone = Some((why, exit));
                }
            },
            read = self.tail.more(&mut bytes) => {
                read.map_err(io)?;
                self.take(&bytes);
            }
            () = tokio::time::sleep(deadline.left()) => return Ok(false),
        }
        Ok(true)
    }

    /// Take what is there already, and not for ever: whoever floods is not waited for.
    async fn drain(&mut self) -> std::io::Result<()> {
        for _ in 0..LAST_PIECES {
            let mut bytes = Vec::new();
            match timeout(Duration::ZERO, self.tail.more(&mut bytes)).await {
                Ok(read) => read?,
                Err(_) => break,
            }
            self.take(&bytes);
        }
        Ok(())
    }

    /// The machine began anew at an offset of the log: what stood in the cursor's line before it is over.
    async fn cut(&mut self, offset: u64) -> std::io::Result<()> {
        while self.at < offset {
            let mut bytes = Vec::new();
            match timeout(Duration::ZERO, self.tail.more(&mut bytes)).await {
                Ok(read) => read?,
                // The log is full, and goes on no more.
                Err(_) => break,
            }
            let old = usize::try_from(offset - self.at).unwrap_or(usize::MAX).min(bytes.len());
            self.take(&bytes[..old]);
            if self.at == offset {
                self.begin_anew();
                self.take(&bytes[old..]);
                return Ok(());
            }
        }
        self.begin_anew();
        Ok(())
    }

    fn begin_anew(&mut self) {
        let window = &mut self.window;
        self.engine.flush(|line| push(window, line.text));
        self.ended.clear();
        (self.taken, self.beyond_loader, self.lost) = (0, false, None);
        self.boots += 1;
    }

    fn take(&mut self, bytes: &[u8]) {
        self.at += bytes.len() as u64;
        let before = self.engine.partial().len();
        let mut new = false;
        let Self { ended, window, lost, allowed, taken, beyond_loader, .. } = self;
        self.engine.feed(bytes, |line| {
            if lost.is_none() {
                *lost = rules::findings(&line).find(|finding| is_fatal(finding, allowed));
            }
            push(window, line.text.clone());
            *beyond_loader |= line.kernel || line.text.contains("login:");
            if !line.kernel {
                let from = std::mem::take(taken);
                ended.push_back(line.text.get(from..).unwrap_or_default().to_owned());
                new = true;
            }
        });
        // Whoever goes back over a line takes back what was looked at.
        let after = self.engine.partial().len();
        self.taken = self.taken.min(after);
        if new || after != before {
            self.heard = Instant::now();
        }
    }
}

fn is_fatal(finding: &Finding, allowed: &Allowed) -> bool {
    finding.fatal && allowed.why(finding.id).is_none()
}

fn push(window: &mut VecDeque<String>, line: String) {
    if window.len() == WINDOW {
        window.pop_front();
    }
    window.push_back(line);
}
