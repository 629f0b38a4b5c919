//! The one door to standard output and standard error. Whatever goes through has its secrets masked and its hidden
//! characters made visible ([`crate::visible`]); clippy refuses any other way to the two streams (`clippy.toml`).
//!
//! Two things pass as they are, each by a name that says so: a line of JSON between processes of ours or for programs
//! ([`exact`]), in which hidden characters are escaped and nothing is masked, and the bytes of a console that a person asked
//! for ([`pass_through`]).
#![allow(clippy::disallowed_methods, reason = "this is the door")]

use super::presence::ignore;
use super::secrets::mask;
use crate::visible::{Painted, block, json_of, json_pretty};
use serde::Serialize;
use std::io::{Error, Result, Write};

/// Why a line that could not be printed is let go of: a reader that has gone away (`| head`) is not our failure.
const NO_READER: &str = "the terminal or the pipe is gone";

/// A text for a person, on standard output.
pub fn out(text: &str) {
    ignore(writeln!(anstream::stdout(), "{}", block(&mask(text))), NO_READER);
}

/// A text for a person, on standard error: what is not the result.
pub fn err(text: &str) {
    ignore(writeln!(anstream::stderr(), "{}", block(&mask(text))), NO_READER);
}

/// Help and version, in colours: text of our own, which repeats no argument.
pub fn help(text: &clap::Error) {
    ignore(text.print(), NO_READER);
}

/// The same in colours.
pub fn out_painted(text: &Painted) {
    ignore(writeln!(anstream::stdout(), "{}", mask(text.as_str())), NO_READER);
}

/// The same in colours.
pub fn err_painted(text: &Painted) {
    ignore(writeln!(anstream::stderr(), "{}", mask(text.as_str())), NO_READER);
}

/// A value for a program, as one line of JSON on standard output.
pub fn object(value: &impl Serialize) {
    ignore(json_of(value).map_err(Error::from).and_then(|text| line(&mask(&text))), NO_READER);
}

/// The same in several lines.
pub fn object_pretty(value: &impl Serialize) {
    ignore(json_pretty(value).map_err(Error::from).and_then(|text| line(&mask(&text))), NO_READER);
}

/// A value with nothing masked, as one line of JSON on standard output.
pub fn exact(value: &impl Serialize) -> Result<()> {
    line(&json_of(value)?)
}

fn line(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Standard output for what a guest wrote, byte for byte.
pub fn pass_through() -> impl Write {
    std::io::stdout()
}

/// Standard error for the program's own trace, an event at a time.
pub struct Trace;

impl Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        err(String::from_utf8_lossy(bytes).trim_end_matches('\n'));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Let a panic, whose message can hold anything, be told through the same door.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let trace = std::backtrace::Backtrace::capture();
        let trace = match trace.status() {
            std::backtrace::BacktraceStatus::Captured => format!("\n{trace}"),
            _ => String::new(),
        };
        let thread = std::thread::current();
        err(&format!("thread '{}' {panic}{trace}", thread.name().unwrap_or("unnamed")));
    }));
}
