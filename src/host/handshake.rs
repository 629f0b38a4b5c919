//! One JSON line on a pipe: a process of ours says that it is ready, or why it never will be.

use crate::deadline::Deadline;
use crate::failure::{Exit, Failure};
use crate::presence::ignore;
use crate::print;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::Read;
use std::os::fd::AsFd;
use std::process::ExitCode;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word<T> {
    Ready(T),
    Failed(Failure),
}

/// Why there was no good word.
#[derive(Debug)]
pub enum Silence {
    /// It said why it failed.
    Failed(Failure),
    /// It closed the pipe without a word, or broke it.
    Closed,
    /// The deadline passed.
    Late,
}

/// Say "ready" on standard output.
pub fn ready(value: &impl Serialize) -> std::io::Result<()> {
    print::exact(&Word::Ready(value))
}

/// Say why not. If nobody listens any more, there is nobody to tell.
fn failed(failure: Failure) {
    ignore(print::exact(&Word::<()>::Failed(failure)), "it is in the log, too");
}

/// Whether nobody holds the other end of standard output any more, so the starter is gone. Asked by a process that is bound to
/// the starter already, it leaves no moment in between.
pub fn abandoned() -> bool {
    let stdout = rustix::stdio::stdout();
    loop {
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(n) => return n > 0 && fds[0].revents().contains(PollFlags::ERR),
            Err(rustix::io::Errno::INTR) => {}
            // Without a starter that is seen, nothing is begun.
            Err(_) => return true,
        }
    }
}

/// A hidden subcommand's end: what failed goes to its log, and to whoever still listens.
pub fn end(name: &str, result: Result<(), impl Into<Failure>>) -> ExitCode {
    let Err(failure) = result.map_err(Into::into) else { return ExitCode::SUCCESS };
    print::err(&format!("{name}: {failure}"));
    let code = failure.exit.code();
    failed(failure);
    ExitCode::from(code)
}

/// Wait for one line.
pub fn listen<T: DeserializeOwned>(pipe: &mut (impl Read + AsFd), deadline: &Deadline) -> Result<T, Silence> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let left = Timespec::try_from(deadline.left()).unwrap_or_default();
        match poll(&mut [PollFd::new(&*pipe, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(Silence::Late),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return Err(Silence::Closed),
        }
        // Byte by byte: what follows the line belongs to somebody else.
        let mut byte = [0];
        match pipe.read(&mut byte) {
            Ok(1) => line.push(byte[0]),
            _ => return Err(Silence::Closed),
        }
    }
    match serde_json::from_slice(&line) {
        Ok(Word::Ready(value)) => Ok(value),
        Ok(Word::Failed(failure)) => Err(Silence::Failed(failure)),
        Err(error) => Err(Silence::Failed(Failure::new(Exit::Bug, format!("a word that is none: {error}")))),
    }
}
