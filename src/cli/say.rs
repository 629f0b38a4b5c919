//! What the user sees while work goes on. Progress goes to standard error: on a terminal one live line
//! per phase, elsewhere a plain line when a phase begins and one when it ends. Results go to standard
//! output; with `--json` every line there is one JSON object.

use crate::host::presence::ignore;
use crate::host::secrets::mask;
use crate::jobs::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Why a line that could not be printed is let go of.
const NO_READER: &str = "the terminal or the pipe is gone";

/// The program's voice.
pub(crate) struct Say {
    json: bool,
    verbose: bool,
    live: RefCell<Option<(ProgressBar, Instant)>>,
}

impl Say {
    pub(crate) fn new(json: bool, verbose: bool) -> Self {
        Self { json, verbose, live: RefCell::default() }
    }

    /// Whether results are JSON lines.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// A result for a person; nothing with `--json`.
    pub(crate) fn result(&self, text: impl AsRef<str>) {
        if !self.json {
            self.out(text.as_ref());
        }
    }

    /// A result for a program; nothing without `--json`.
    pub(crate) fn object(&self, value: &serde_json::Value) {
        if self.json {
            self.out(&value.to_string());
        }
    }

    /// A line on standard output whatever the mode: what the command was asked to print.
    pub(crate) fn out(&self, line: &str) {
        // A reader that has gone away (`| head`) is not our failure.
        ignore(writeln!(anstream::stdout(), "{}", mask(line)), NO_READER);
    }

    fn err(&self, line: &str) {
        let line = mask(line);
        match &*self.live.borrow() {
            Some((bar, _)) => bar.suspend(|| {
                ignore(writeln!(anstream::stderr(), "{line}"), NO_READER);
            }),
            None => {
                ignore(writeln!(anstream::stderr(), "{line}"), NO_READER);
            }
        }
    }
}

impl Progress for Say {
    fn begin(&self, phase: &str) {
        self.object(&serde_json::json!({"event": "phase-begin", "phase": phase}));
        let bar = match std::io::stderr().is_terminal() {
            true => {
                let bar = ProgressBar::new_spinner();
                // The template is a constant; a wrong one would show in the first run.
                let style = ProgressStyle::with_template("{spinner} {prefix:<10} {elapsed:>4}  {wide_msg:.dim}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
                bar.set_prefix(phase.to_owned());
                bar.enable_steady_tick(Duration::from_millis(200));
                bar
            }
            false => {
                self.err(&format!("{phase} ..."));
                ProgressBar::hidden()
            }
        };
        *self.live.borrow_mut() = Some((bar, Instant::now()));
    }

    fn end(&self, phase: &str, seconds: f64, outcome: &str, ok: bool) {
        if let Some((bar, _)) = self.live.borrow_mut().take() {
            bar.finish_and_clear();
        }
        let word = if ok { "ok" } else { "FAILED" };
        let gap = if outcome.is_empty() { "" } else { ": " };
        self.err(&format!("{phase:<10} {word} in {seconds:.1} s{gap}{outcome}"));
        self.object(&serde_json::json!({
            "event": "phase-end", "phase": phase, "ok": ok, "seconds": seconds, "outcome": outcome
        }));
    }

    fn note(&self, text: &str) {
        self.err(&format!("           {text}"));
        self.object(&serde_json::json!({"event": "note", "text": text}));
    }

    fn output(&self, line: &str) {
        match &*self.live.borrow() {
            Some((bar, _)) if !bar.is_hidden() && !self.verbose => bar.set_message(mask(line.trim()).into_owned()),
            _ => self.err(&format!("  | {line}")),
        }
    }

    fn trace(&self, line: &str) {
        if let Some((bar, _)) = &*self.live.borrow() {
            bar.set_message(mask(line.trim()).into_owned());
        }
    }
}
