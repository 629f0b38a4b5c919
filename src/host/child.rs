//! A child that may take long (ansible-playbook, a build): a session of its own, its output line by line, its end in
//! time. Dropping the wait for it ends it, with what it has started.

use super::deadline::Deadline;
use super::presence::ignore;
use super::secrets::mask;
use super::stop;
use camino::{Utf8Path, Utf8PathBuf};
use std::io::Write;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// How long a child that is stopped has to end its own children.
const GRACE: Duration = Duration::from_secs(5);

/// How long output may still come after the process has ended: what it left behind may hold the pipes open.
const DRAIN: Duration = Duration::from_millis(500);

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The command line.
    pub argv: &'a [String],
    /// Its whole environment.
    pub env: &'a [(String, String)],
    /// The folder that it runs in.
    pub cwd: &'a Utf8Path,
    /// How long it may take.
    pub limit: Duration,
    /// What it reads on its standard input; nothing if empty.
    pub stdin: &'a str,
    /// Whether it ends in order by itself when the user asks this process to stop: then it is asked, too, and waited for.
    pub orderly: bool,
}

/// How a child ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; nothing if it was stopped for being too slow.
    pub status: Option<ExitStatus>,
    /// The end of its standard error.
    pub stderr: String,
    /// Its standard output, if that is no more than [`STDOUT`] bytes.
    pub stdout: Option<String>,
}

/// How much of standard output is kept, in bytes.
pub const STDOUT: usize = 8 << 20;

/// Why a child could not be run or followed.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("cannot run `{program}`")]
    Start {
        /// The program.
        program: String,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Its log could not be written, or its end not be waited for.
    #[error("cannot follow {path}")]
    Io {
        /// The log or the program.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
}

/// Start it, hand every line of both streams to `on_line` and to the log, which begins with what is `shown` of the command
/// line; wait for its end. Dropping the future kills the whole process group.
pub async fn run(
    job: &Job<'_>,
    shown: &str,
    log: &Utf8Path,
    on_line: &mut dyn FnMut(&str),
) -> Result<Ended, ChildError> {
    let io = |source| ChildError::Io { path: log.to_owned(), source };
    let mut log_file = open_log(log).map_err(io)?;
    writeln!(log_file, "$ {shown}").map_err(io)?;
    let deadline = Deadline::after(job.limit);
    let mut group = Group::spawn(job)?;
    if let Some(mut stdin) = group.child.stdin.take() {
        ignore(stdin.write_all(job.stdin.as_bytes()).await, "who ends before it has read all says why");
    }
    let mut out = Lines::of(group.child.stdout.take());
    let mut err = Lines::of(group.child.stderr.take());
    let mut tail: Vec<String> = Vec::new();
    let mut stdout = Some(String::new());
    let mut status = None;
    let mut until = deadline;
    let mut asked = !job.orderly;
    while out.open() || err.open() || status.is_none() {
        let (line, is_err) = tokio::select! {
            line = out.next(), if out.open() => (line, false),
            line = err.next(), if err.open() => (line, true),
            ended = group.child.wait(), if status.is_none() => {
                let path = || job.argv.first().map(Utf8PathBuf::from).unwrap_or_default();
                status = Some(ended.map_err(|source| ChildError::Io { path: path(), source })?);
                until = Deadline::after(DRAIN);
                continue;
            }
            () = stop::until_asked(), if !asked => {
                asked = true;
                group.ask();
                continue;
            }
            () = tokio::time::sleep(until.left()) => break,
        };
        let Some(line) = line else { continue };
        let line = mask(&line).into_owned();
        writeln!(log_file, "{line}").map_err(io)?;
        on_line(&line);
        if is_err {
            tail.push(line);
            if tail.len() > 60 {
                tail.remove(0);
            }
        } else if let Some(kept) = stdout.as_mut() {
            kept.push_str(&line);
            kept.push('\n');
            stdout.take_if(|kept| kept.len() > STDOUT);
        }
    }
    if status.is_none() {
        group.end().await;
        writeln!(log_file, "boma-qemu: stopped after {:?}", job.limit).map_err(io)?;
    }
    Ok(Ended { status, stderr: tail.join("\n"), stdout })
}

/// What a child answers to a text on its standard input. The error says why there is no answer.
pub async fn answer(argv: &[String], text: &str, limit: Duration) -> Result<String, String> {
    let mut words = argv.iter();
    let program = words.next().cloned().unwrap_or_default();
    let mut command = Command::new(&program);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    super::process::leave_terminal(command.as_std_mut());
    super::process::die_with_us(command.as_std_mut());
    let mut child = command.spawn().map_err(|error| format!("cannot run {program}: {error}"))?;
    let stdin = child.stdin.take();
    let exchange = async {
        if let Some(mut stdin) = stdin {
            ignore(stdin.write_all(text.as_bytes()).await, "who ends before it has read all says why");
        }
        child.wait_with_output().await
    };
    let ended = tokio::time::timeout(limit, exchange).await.map_err(|_| format!("no answer within {limit:?}"))?;
    let ended = ended.map_err(|error| error.to_string())?;
    match ended.status.success() {
        true => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
        false => Err(format!("{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr).trim())),
    }
}

fn open_log(path: &Utf8Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// A child that leads a process group, and takes it along when it is dropped.
struct Group {
    child: Child,
    pid: Option<rustix::process::Pid>,
}

impl Group {
    fn spawn(job: &Job<'_>) -> Result<Self, ChildError> {
        let mut argv = job.argv.iter();
        let program = argv.next().cloned().unwrap_or_default();
        let mut command = Command::new(&program);
        command.args(argv).env_clear().envs(job.env.iter().cloned()).current_dir(job.cwd);
        let stdin = if job.stdin.is_empty() { Stdio::null() } else { Stdio::piped() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        super::process::leave_terminal(command.as_std_mut());
        // The tokio runtime has one thread, the main one, so it is killed with the process and not before.
        super::process::die_with_us(command.as_std_mut());
        let child = command.spawn().map_err(|source| ChildError::Start { program, source })?;
        let pid = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        Ok(Self { child, pid })
    }

    /// Ask the child alone to end: what it has started is for it to end.
    fn ask(&self) {
        if let Some(pid) = self.pid {
            ignore(
                rustix::process::kill_process(pid, rustix::process::Signal::TERM),
                "one that has ended already is what is wanted",
            );
        }
    }

    /// Ask all of it to end, then make it.
    async fn end(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        ignore(
            tokio::time::timeout(GRACE, self.child.wait()).await,
            "the rest of the group is killed on drop, whether it ends by itself or not",
        );
    }

    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(pid) = self.pid {
            ignore(
                rustix::process::kill_process_group(pid, signal),
                "a group that has ended already is what is wanted",
            );
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The leader may have ended with workers left; its pid stays theirs as group id, so this hits no stranger.
        self.signal(rustix::process::Signal::KILL);
    }
}

/// The lines of a stream, whatever its bytes are.
struct Lines<R> {
    reader: Option<BufReader<R>>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn of(stream: Option<R>) -> Self {
        Self { reader: stream.map(BufReader::new), line: Vec::new() }
    }

    fn open(&self) -> bool {
        self.reader.is_some()
    }

    /// The next line; nothing at the end of the stream. Cancelled, it keeps what it has read of a line.
    async fn next(&mut self) -> Option<String> {
        let reader = self.reader.as_mut()?;
        ignore(reader.read_until(b'\n', &mut self.line).await, "a stream that breaks has ended");
        if !self.line.ends_with(b"\n") {
            self.reader = None;
        }
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return None;
        }
        Some(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_here(script: &str, limit: Duration) -> (Ended, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let log = Utf8PathBuf::from_path_buf(dir.path().join("log")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let argv = ["sh", "-c", script].map(str::to_owned);
        let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        let job = Job { argv: &argv, env: &env, cwd: "/".into(), limit, stdin: "", orderly: false };
        let mut lines = Vec::new();
        let ended = runtime.block_on(run(&job, "sh -c", &log, &mut |line| lines.push(line.to_owned()))).unwrap();
        assert!(std::fs::read_to_string(&log).unwrap().starts_with("$ sh -c\n"));
        (ended, lines)
    }

    #[test]
    fn both_streams_are_told_line_by_line_whatever_their_bytes_are() {
        let (ended, mut lines) = run_here(r"printf 'a\377b\nlast'; echo e >&2; exit 3", Duration::from_secs(10));
        lines.sort();
        assert_eq!(lines, ["a\u{fffd}b", "e", "last"]);
        assert_eq!((ended.status.unwrap().code(), ended.stderr.as_str()), (Some(3), "e"));
    }

    #[test]
    fn a_process_that_is_too_slow_goes_with_its_children() {
        let start = std::time::Instant::now();
        let (ended, lines) = run_here("sleep 60 & echo $!; wait", Duration::from_millis(300));
        assert!(ended.status.is_none() && start.elapsed() < GRACE);
        let child = crate::process::ProcessId::of(lines[0].parse().unwrap());
        assert!(child.map_or_else(
            |e| e.kind() == std::io::ErrorKind::NotFound,
            |c| c.wait_gone(&Deadline::after(Duration::from_secs(5)))
        ));
    }

    #[test]
    fn what_it_leaves_behind_cannot_hold_it_up() {
        let start = std::time::Instant::now();
        let (ended, lines) = run_here("setsid sleep 3 & echo done", Duration::from_secs(60));
        assert!(ended.status.is_some() && start.elapsed() < Duration::from_secs(3));
        assert_eq!(lines, ["done"]);
    }
}
