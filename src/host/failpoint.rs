//! Points at which a test can stop a process of this program, to kill whom it likes and look at what is left.
//!
//! A test names a folder in `BOMA_FAILPOINT`. Every point that is reached is added to its file `reached`; the first time
//! that it is the one in the file `at`, the process writes its pid to `stopped` and stops (SIGSTOP) until it is told to
//! go on. The environment is inherited, so the points of every process of a run count.
//!
//! A program that is to be trusted has no such thing in it: it is there in builds with debug assertions only, which the
//! tests use, and a release build has neither the code nor the words.

use std::fmt;

/// The variable that names the folder; none in a program that is used.
#[cfg(debug_assertions)]
pub(super) const VARIABLE: Option<&str> = Some("BOMA_FAILPOINT");
#[cfg(not(debug_assertions))]
pub(super) const VARIABLE: Option<&str> = None;

/// A point.
#[derive(Clone, Copy)]
pub enum Point<'a> {
    /// A step of a ledger, by its name.
    Ledger(&'a dyn fmt::Display),
    /// After a phase of a run, or within one, when something was done that takes long to come to an end.
    Phase(&'a str),
}

impl fmt::Display for Point<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger(name) => name.fmt(f),
            Self::Phase(name) => write!(f, "phase:{name}"),
        }
    }
}

/// Nothing, in a program that is used.
#[cfg(not(debug_assertions))]
pub fn reached(_: Point<'_>) {}

/// Stop here, if a test wants it.
#[cfg(debug_assertions)]
pub fn reached(point: Point<'_>) {
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
