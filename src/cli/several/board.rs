//! What the user sees while several runs are at work: on a terminal a live line for each, elsewhere what each of them says,
//! with its name before it; with `--json` the events of all, each with its run.

use super::super::say::Say;
use crate::jobs::several::{Heard, Task};
use evidence::several::Row;
use host::print;
use host::visible::line;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use std::io::IsTerminal;
use std::time::Duration;

/// The voices of all runs.
pub(super) struct Board<'a> {
    say: &'a Say,
    names: Vec<String>,
    live: Option<(MultiProgress, Vec<ProgressBar>)>,
}

impl<'a> Board<'a> {
    /// A board with a place for each run.
    pub(super) fn new(say: &'a Say, tasks: &[Task]) -> Self {
        let names: Vec<_> = tasks.iter().map(|task| task.name.clone()).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
        let live = rustix::stdio::stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            let bars = names.iter().map(|name| all.add(bar(&format!("{name:<width$}")))).collect();
            (all, bars)
        });
        Self { say, names, live }
    }

    /// Something was heard of a run.
    pub(super) fn told(&self, n: usize, heard: &Heard<'_>) {
        match heard {
            Heard::Began => self.began(n),
            Heard::Event(event) => self.event(n, event),
            Heard::Line(said) => self.line(n, said),
            Heard::Ended(row) => self.ended(n, row),
        }
    }

    fn name(&self, n: usize) -> &str {
        self.names.get(n).map_or("", String::as_str)
    }

    fn bar(&self, n: usize) -> Option<&ProgressBar> {
        self.live.as_ref().and_then(|(_, bars)| bars.get(n))
    }

    fn began(&self, n: usize) {
        self.object(n, &serde_json::json!({"event": "begin"}));
        match self.bar(n) {
            Some(bar) => {
                bar.reset_elapsed();
                bar.enable_steady_tick(Duration::from_millis(200));
                show(bar, "begins");
            }
            None => print::err(&format!("{}: begins", self.name(n))),
        }
    }

    fn event(&self, n: usize, event: &Value) {
        self.object(n, event);
        let Some(bar) = self.bar(n) else { return };
        let word = |key: &str| event[key].as_str().unwrap_or_default();
        match word("event") {
            "phase-begin" => show(bar, word("phase")),
            "phase-end" if event["ok"] == false => {
                self.aloud(n, &format!("{} FAILED: {}", word("phase"), word("outcome")))
            }
            "note" => self.aloud(n, word("text")),
            _ => {}
        }
    }

    /// Without a live line for each run, its text for people is all that is shown.
    fn line(&self, n: usize, said: &str) {
        match self.bar(n) {
            // What a playbook writes shows that it goes on; all else is heard as an event.
            Some(bar) => said.strip_prefix("  | ").iter().for_each(|said| show(bar, said)),
            // A CI system reads its commands only where a line begins.
            None if said.starts_with("::error ") => print::err(said),
            None => print::err(&format!("{}: {said}", self.name(n))),
        }
    }

    fn ended(&self, n: usize, row: &Row) {
        if let Some(bar) = self.bar(n) {
            bar.finish_and_clear();
        }
        let evidence = row.run.as_ref().map(|run| format!("\n  evidence: {run}")).unwrap_or_default();
        let text = format!("{}: {}{evidence}", self.name(n), line(&row.headline));
        match &self.live {
            Some((all, _)) => all.suspend(|| self.say.text(text)),
            None => self.say.text(text),
        }
        self.object(n, &serde_json::json!({"event": "end", "row": row}));
    }

    fn aloud(&self, n: usize, said: &str) {
        let text = format!("{}: {}", self.name(n), line(said));
        match &self.live {
            Some((all, _)) => all.suspend(|| print::err(&text)),
            None => print::err(&text),
        }
    }

    /// An event with the run that it is of.
    fn object(&self, n: usize, event: &Value) {
        let mut event = event.clone();
        event["run"] = self.name(n).into();
        self.say.object(&event);
    }
}

fn bar(name: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    // The template is a constant; a wrong one would show in the first run.
    let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed:>4}  {wide_msg:.dim}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_prefix(name.to_owned());
    show(&bar, "waits");
    bar
}

fn show(bar: &ProgressBar, said: &str) {
    bar.set_message(line(&host::secrets::mask(said.trim())).into_owned());
}
