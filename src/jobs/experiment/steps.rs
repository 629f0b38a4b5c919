//! The user's ear during an experiment: one line per run instead of one per phase.

use crate::jobs::Progress;
use std::cell::RefCell;

/// Passes everything on; while a run is being made, its phases become what is going on right now.
pub(super) struct Steps<'a> {
    ear: &'a dyn Progress,
    run: RefCell<Option<String>>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(ear: &'a dyn Progress) -> Self {
        Self { ear, run: RefCell::default() }
    }

    /// A run begins.
    pub(super) fn begin_run(&self, name: String) {
        self.ear.begin(&name);
        *self.run.borrow_mut() = Some(name);
    }

    /// It ended.
    pub(super) fn end_run(&self, seconds: f64, outcome: &str, ok: bool) {
        if let Some(name) = self.run.take() {
            self.ear.end(&name, seconds, outcome, ok);
        }
    }
}

impl Progress for Steps<'_> {
    fn begin(&self, phase: &str) {
        match &*self.run.borrow() {
            Some(_) => self.ear.trace(phase),
            None => self.ear.begin(phase),
        }
    }

    fn end(&self, phase: &str, seconds: f64, outcome: &str, ok: bool) {
        match &*self.run.borrow() {
            Some(_) => self.ear.trace(&format!("{phase}: {outcome}")),
            None => self.ear.end(phase, seconds, outcome, ok),
        }
    }

    fn note(&self, text: &str) {
        self.ear.note(text);
    }

    fn output(&self, line: &str) {
        match &*self.run.borrow() {
            Some(_) => self.ear.trace(line),
            None => self.ear.output(line),
        }
    }

    fn trace(&self, line: &str) {
        self.ear.trace(line);
    }
}
