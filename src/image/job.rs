//! A command that takes a minute: its lines are heard while it runs, and it can be stopped.

use super::error::ImageError;
use super::watch::Watch;
use camino::Utf8Path;
use host::deadline::{Deadline, PROBE_PERIOD};
use host::presence::ignore;
use host::process::leave_terminal;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Why a process that cannot be killed is let go of.
const ENDED: &str = "it has ended by itself";

/// Lines of a command's output that are kept to explain its failure.
const KEPT: usize = 8;

/// One step of the building.
pub(super) struct Job<'a> {
    /// What it does, for messages: "installing packages".
    pub doing: &'a str,
    /// The command.
    pub argv: &'a [String],
    /// The folder to run in; also its TMPDIR and BOMA_WORK.
    pub work: &'a Utf8Path,
    /// The longest it may take.
    pub limit: Duration,
}

impl Job<'_> {
    /// Run it to its end. It is killed when the user stops or the limit passes.
    pub(super) fn run(&self, watch: &dyn Watch, on_line: impl Fn(&str)) -> Result<(), ImageError> {
        let mut child = self.spawn()?;
        let lines = listen(&mut child);
        let deadline = Deadline::after(self.limit);
        let mut kept = VecDeque::new();
        loop {
            match lines.recv_timeout(PROBE_PERIOD) {
                Ok(line) => {
                    on_line(&line);
                    kept.push_back(line);
                    if kept.len() > KEPT {
                        kept.pop_front();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if watch.stopped() {
                end(&mut child, &lines);
                return Err(ImageError::Stopped { doing: self.doing.to_owned() });
            }
            if deadline.passed() {
                end(&mut child, &lines);
                return Err(self.failed(&format!("it did not end within {:?}", self.limit), &kept));
            }
        }
        let status = child.wait().map_err(|source| self.failed(&source.to_string(), &kept))?;
        if status.success() { Ok(()) } else { Err(self.failed(&status.to_string(), &kept)) }
    }

    fn spawn(&self) -> Result<Child, ImageError> {
        let mut command = Command::new(&self.argv[0]);
        // A terminal's Ctrl-C goes to us alone; we end the whole tree in order.
        leave_terminal(&mut command);
        command
            .args(&self.argv[1..])
            .current_dir(self.work)
            .env("PATH", super::tools::path())
            .env("TMPDIR", self.work)
            .env("BOMA_WORK", self.work)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| self.failed(&format!("cannot run `{}`: {source}", self.argv[0]), &VecDeque::new()))
    }

    fn failed(&self, why: &str, kept: &VecDeque<String>) -> ImageError {
        let said = kept.iter().map(String::as_str).collect::<Vec<_>>().join(" | ");
        let why = if said.is_empty() { why.to_owned() } else { format!("{why}: {said}") };
        ImageError::Step { step: self.doing.to_owned(), why }
    }
}

/// Kill the command and wait until everything below it has let go of our pipes: then nothing writes
/// into the work folder any more. Bounded, as a stray that left the pid namespace would never do so.
fn end(child: &mut Child, lines: &Receiver<String>) {
    // unshare(1) waits for the first process of the new pid namespace. Killed first, that one is reaped
    // by it, where it would otherwise be left to an init that may not care.
    let below = children(child.id());
    for pid in &below {
        ignore(rustix::process::kill_process(*pid, rustix::process::Signal::KILL), ENDED);
    }
    if below.is_empty() {
        ignore(child.kill(), ENDED);
    }
    let deadline = Deadline::after(Duration::from_secs(5));
    while !deadline.passed() && lines.recv_timeout(deadline.left()).is_ok() {}
    ignore(child.kill(), ENDED);
    ignore(child.wait(), ENDED);
}

/// The children of a process that has one thread. They cannot be reaped by anybody else in between, so
/// the ids stay theirs.
fn children(pid: u32) -> Vec<rustix::process::Pid> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let pids = text.split_whitespace().filter_map(|word| word.parse().ok());
    pids.filter_map(rustix::process::Pid::from_raw).collect()
}

fn listen(child: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    if let Some(out) = child.stdout.take() {
        read_lines(out, sender.clone());
    }
    if let Some(err) = child.stderr.take() {
        read_lines(err, sender);
    }
    lines
}

fn read_lines(pipe: impl Read + Send + 'static, sender: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if !line.is_empty() && sender.send(line).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::watch::Silent;
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    fn sh(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn job(argv: &[String], limit: Duration) -> Job<'_> {
        Job { doing: "testing", argv, work: "/tmp".into(), limit }
    }

    #[test]
    fn lines_are_heard_and_a_failure_keeps_the_last_of_them() {
        let heard = Mutex::new(Vec::new());
        let argv = sh("echo one; echo two >&2; exit 3");
        let error = job(&argv, Duration::from_secs(10))
            .run(&Silent, |line| heard.lock().unwrap().push(line.to_owned()))
            .unwrap_err()
            .to_string();
        assert_eq!(heard.lock().unwrap().len(), 2);
        assert!(
            error.contains("while testing") && error.contains("exit status: 3") && error.contains("two"),
            "{error}"
        );
    }

    #[test]
    fn a_step_that_hangs_ends_at_its_limit() {
        let argv = sh("echo here; exec sleep 60");
        let error = job(&argv, Duration::from_millis(300)).run(&Silent, |_| ()).unwrap_err().to_string();
        assert!(error.contains("did not end within 300ms: here"), "{error}");
    }

    #[test]
    fn a_stop_ends_the_command() {
        struct Stop(AtomicBool);
        impl Watch for Stop {
            fn say(&self, _: &str) {}
            fn progress(&self, _: u64, _: Option<u64>) {}
            fn stopped(&self) -> bool {
                self.0.load(Relaxed)
            }
        }
        let stop = Stop(AtomicBool::new(false));
        let argv = sh("echo $$; exec sleep 60");
        let pid = Mutex::new(String::new());
        let error = job(&argv, Duration::from_secs(30))
            .run(&stop, |line| {
                *pid.lock().unwrap() = line.to_owned();
                stop.0.store(true, Relaxed);
            })
            .unwrap_err();
        assert!(matches!(error, ImageError::Stopped { .. }));
        assert!(!std::path::Path::new(&format!("/proc/{}", pid.lock().unwrap())).exists());
    }
}
