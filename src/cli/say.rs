//! What the user sees while work goes on. Progress goes to standard error: on a terminal one live line
//! per phase, elsewhere a plain line when a phase begins and one when it ends. Results go to standard
//! output; with `--json` every line there is one JSON object.

use crate::jobs::Progress;
use host::print;
use host::secrets::mask;
use host::visible::{Painted, block, line};
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// What stands before a note, and before each of its lines.
const INDENT: &str = "           ";

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

    /// A result for a person, in one line whatever it holds; nothing with `--json`.
    pub(crate) fn result(&self, text: impl AsRef<str>) {
        self.text(line(text.as_ref()));
    }

    /// A result of several lines: what it holds of others was made one line each before ([`line`]).
    pub(crate) fn text(&self, text: impl AsRef<str>) {
        if !self.json {
            print::out(text.as_ref());
        }
    }

    /// The same in colours.
    pub(crate) fn painted(&self, text: &Painted) {
        if !self.json {
            print::out_painted(text);
        }
    }

    /// A result for a program; nothing without `--json`.
    pub(crate) fn object(&self, value: &serde_json::Value) {
        if self.json {
            print::object(value);
        }
    }

    fn err(&self, text: &str) {
        match &*self.live.borrow() {
            Some((bar, _)) => bar.suspend(|| print::err(text)),
            None => print::err(text),
        }
    }

    /// What is said of the phase that runs, in its own line.
    fn live(bar: &ProgressBar, text: &str) {
        bar.set_message(line(&mask(text.trim())).into_owned());
    }
}

impl Progress for Say {
    fn begin(&self, phase: &str) {
        self.object(&serde_json::json!({"event": "phase-begin", "phase": phase}));
        let bar = match rustix::stdio::stderr().is_terminal() {
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
        self.err(&format!("{phase:<10} {word} in {seconds:.1} s{gap}{}", line(outcome)));
        self.object(&serde_json::json!({
            "event": "phase-end", "phase": phase, "ok": ok, "seconds": seconds, "outcome": outcome
        }));
    }

    fn note(&self, text: &str) {
        // A line of others' cannot begin where ours do.
        self.err(&format!("{INDENT}{}", block(text).replace('\n', &format!("\n{INDENT}"))));
        self.object(&serde_json::json!({"event": "note", "text": text}));
    }

    fn output(&self, said: &str) {
        match &*self.live.borrow() {
            Some((bar, _)) if !bar.is_hidden() && !self.verbose => Self::live(bar, said),
            _ => self.err(&format!("  | {}", line(said))),
        }
    }

    fn trace(&self, said: &str) {
        if let Some((bar, _)) = &*self.live.borrow() {
            Self::live(bar, said);
        }
    }
}
