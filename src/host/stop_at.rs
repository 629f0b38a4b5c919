//! Points at which a test can stop a process of this program, to kill whom it likes and look at what is left.
//!
//! A test names a folder in `BOMA_STOP`. Every point that is reached is added to its file `reached`; the first time
//! that it is the one in the file `at`, the process writes its pid to `stopped` and stops (SIGSTOP) until it is told to
//! go on. The environment is inherited, so the points of every process of a run count.
//!
//! A program that is to be trusted has no such thing in it: it is there in builds with debug assertions only, which the
//! tests use, and a release build has neither the code nor the words.

use super::ledger::{Change, Kind, Step};
use std::fmt;

/// The variable that names the folder; none in a program that is used.
#[cfg(debug_assertions)]
pub(super) const VARIABLE: Option<&str> = Some("BOMA_STOP");
#[cfg(not(debug_assertions))]
pub(super) const VARIABLE: Option<&str> = None;

/// A point.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Point<'a> {
    /// After a write to a ledger, or before a change is put back.
    Ledger(Step, &'a Change),
    /// After a phase of a run, or within one, when something was done that takes long to come to an end.
    Phase(&'a str),
}

impl fmt::Display for Point<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger(step, change) => write!(f, "{}/{}", class(*step, change.kind()), change.label()),
            Self::Phase(name) => write!(f, "phase:{name}"),
        }
    }
}

/// The first part of the name of every point of one kind of change: `intent:link`.
fn class(step: Step, kind: Kind) -> String {
    format!("{}:{}", step.word(), kind.word())
}

/// Every class of points in a ledger. It is made from the ledger's own types, so that nothing can be added to them
/// without a point.
pub fn classes() -> impl Iterator<Item = String> {
    Step::ALL.into_iter().flat_map(|step| Kind::ALL.into_iter().map(move |kind| class(step, kind)))
}

/// Nothing, in a program that is used.
#[cfg(not(debug_assertions))]
pub(crate) fn reached(_: Point<'_>) {}

/// Stop here, if a test wants it.
#[cfg(debug_assertions)]
pub(crate) fn reached(point: Point<'_>) {
    use super::presence::ignore;
    use std::fs::OpenOptions;
    use std::io::Write;
    let Some(folder) = VARIABLE.and_then(|name| std::env::var(name).ok()) else { return };
    let folder = camino::Utf8Path::new(&folder);
    let (name, pid) = (point.to_string(), std::process::id());
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(folder.join("reached")) {
        ignore(file.write_all(format!("{name}\n").as_bytes()), "a test that finds nothing there fails by itself");
    }
    if !std::fs::read_to_string(folder.join("at")).is_ok_and(|at| at == name) {
        return;
    }
    if let Ok(mut file) = OpenOptions::new().create_new(true).write(true).open(folder.join("stopped")) {
        ignore(file.write_all(pid.to_string().as_bytes()), "a test that finds nothing there fails by itself");
        ignore(
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP),
            "a test that finds it running fails by itself",
        );
    }
}
