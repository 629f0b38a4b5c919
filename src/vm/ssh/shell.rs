//! A root shell that is kept open beside a connection: sudo and a channel of ssh's cost more than most scripts do where the
//! CPU is emulated.
//!
//! Scripts are sent on its standard input: sudo writes each command line into the guest's log, and a script is long. Each
//! runs in a shell of its own, with nothing on its standard input, and what it says lies between two marks that no script
//! can know.

use super::{Answer, SshError, command, last_lines};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

/// What the guest runs.
pub(super) const COMMAND: &str = "exec sudo -n sh";

/// The shell; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct RootShell {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

impl RootShell {
    /// Start it by this argv.
    pub(super) fn start(argv: &[String]) -> Result<Self, SshError> {
        let mut ssh = command(argv);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = ssh.spawn().map_err(SshError::Start)?;
        let pipes = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
        let gone = || SshError::Start(std::io::Error::other("ssh was started without its pipes"));
        let ((stdin, stdout), stderr) = pipes.ok_or_else(gone)?;
        Ok(Self { child, stdin, stdout, stderr })
    }

    /// It, if it has not ended.
    pub(super) fn still_there(mut self) -> Option<Self> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    /// Run a script, which the guest ends after `limit`. The shell comes back where it can run another.
    pub(super) async fn run(mut self, script: &str, limit: Duration) -> Result<(Answer, Option<Self>), SshError> {
        let mark = format!("{:032x}", rand::random::<u128>());
        let text = framed(script, &mark, limit);
        let mut said = (Vec::new(), Vec::new());
        let sent = async {
            self.stdin.write_all(text.as_bytes()).await?;
            self.stdin.flush().await
        };
        let (sent, out, err) = tokio::join!(
            sent,
            until(&mut self.stdout, &mut said.0, &mark),
            until(&mut self.stderr, &mut said.1, &mark)
        );
        let ended = sent.is_err() || !out.map_err(SshError::Start)? || !err.map_err(SshError::Start)?;
        let (stdout, stderr) = (between(&said.0, &mark), between(&said.1, &mark));
        if ended {
            return Ok((self.end(stdout.0, &stderr.0).await?, None));
        }
        let unread = || SshError::Login { said: "the root shell did not say how its script ended".into() };
        let code = stdout.1.trim().parse().map_err(|_| unread())?;
        Ok((Answer { code, stdout: stdout.0, stderr: stderr.0 }, Some(self)))
    }

    /// It has ended before its script: sudo may have refused, or the connection may be gone.
    async fn end(self, stdout: String, stderr: &str) -> Result<Answer, SshError> {
        let Self { mut child, stdin, .. } = self;
        drop(stdin);
        let status = child.wait().await.map_err(SshError::Start)?;
        let said = last_lines(stderr, "");
        match status.code() {
            Some(code) if code != 0 && code != 255 => Ok(Answer { code, stdout, stderr: stderr.to_owned() }),
            _ => Err(SshError::Login { said: format!("the root shell ended with {status}; {said}") }),
        }
    }
}

/// What is written to the shell for one script.
fn framed(script: &str, mark: &str, limit: Duration) -> String {
    let seconds = limit.as_secs().max(1);
    format!(
        "echo {mark}; echo {mark} >&2\n\
         timeout -k 5 {seconds} sh /dev/fd/3 3<<'{mark}' </dev/null\n\
         {script}\n\
         {mark}\n\
         printf '\\n%s %s\\n' {mark} $?; printf '\\n%s .\\n' {mark} >&2\n"
    )
}

/// Read until the second mark's line has come; false where it ends before.
async fn until(pipe: &mut (impl AsyncRead + Unpin), said: &mut Vec<u8>, mark: &str) -> std::io::Result<bool> {
    let last = format!("\n{mark} ");
    let mut looked = 0;
    loop {
        if pipe.read_buf(said).await? == 0 {
            return Ok(false);
        }
        match said[looked..].windows(last.len()).position(|part| part == last.as_bytes()) {
            // What a program that was left behind says meanwhile may come after the line.
            Some(at) if said[looked + at + last.len()..].contains(&b'\n') => return Ok(true),
            Some(at) => looked += at,
            // The mark may come in two pieces.
            None => looked = said.len().saturating_sub(last.len()).max(looked),
        }
    }
}

/// What lies between the marks, and what stands on the second one's line. Before the first and after that line there may be
/// output of a program that a script has left behind.
fn between(said: &[u8], mark: &str) -> (String, String) {
    let text = String::from_utf8_lossy(said);
    let text = text.split_once(&format!("{mark}\n")).map_or(&*text, |(_, text)| text);
    let (text, end) = text.rsplit_once(&format!("\n{mark} ")).unwrap_or((text, ""));
    (text.to_owned(), end.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(shell: RootShell, script: &str) -> (Answer, Option<RootShell>) {
        shell.run(script, Duration::from_secs(20)).await.unwrap()
    }

    fn sh() -> RootShell {
        RootShell::start(&["sh".to_owned()]).unwrap()
    }

    #[tokio::test]
    async fn one_shell_runs_script_after_script_and_each_has_its_own_words_and_code() {
        let (first, shell) = run(sh(), "printf 'no line end'; echo oops >&2; x=1; exit 3").await;
        assert_eq!((first.code, first.stdout.as_str(), first.stderr.as_str()), (3, "no line end", "oops\n"));
        let (second, shell) = run(shell.unwrap(), "echo \"<$x>\"; cat; echo \"it's\"").await;
        assert_eq!((second.code, second.stdout.as_str(), second.stderr.as_str()), (0, "<>\nit's\n", ""));
        let (third, shell) = run(shell.unwrap(), "").await;
        assert_eq!((third.code, third.stdout.as_str()), (0, ""));
        let long = "y".repeat(200_000);
        let (fourth, _) = run(shell.unwrap(), &format!("echo {long}; printf '\\0\\377'; kill $$")).await;
        assert_eq!((fourth.code, fourth.stdout.len()), (143, 200_001 + 4), "any bytes, and any length");
    }

    #[tokio::test]
    async fn what_an_earlier_script_left_behind_says_nothing_for_a_later_one() {
        let (_, shell) = run(sh(), "{ sleep 0.3; echo late; } &").await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        let (answer, _) = run(shell.unwrap(), "echo mine").await;
        assert_eq!(answer.stdout, "mine\n");
    }

    #[tokio::test]
    async fn what_comes_after_the_last_line_is_no_part_of_it_and_a_line_in_pieces_is_waited_for() {
        let all = b"m\nout\n\nm 7\nlate";
        for pieces in 1..all.len() {
            let mut said = Vec::new();
            let (first, rest) = all.split_at(pieces);
            let mut pipe = tokio::io::AsyncReadExt::chain(first, rest);
            assert!(until(&mut pipe, &mut said, "m").await.unwrap());
            assert_eq!(between(&said, "m"), ("out\n".to_owned(), "7".to_owned()));
        }
        assert!(!until(&mut &all[..10], &mut Vec::new(), "m").await.unwrap(), "the line has no end");
    }

    #[tokio::test]
    async fn a_script_that_takes_too_long_is_ended_and_the_shell_goes_on() {
        let (answer, shell) = sh().run("sleep 60", Duration::from_secs(1)).await.unwrap();
        assert_eq!(answer.code, 124);
        assert_eq!(run(shell.unwrap(), "echo on").await.0.stdout, "on\n");
    }

    #[tokio::test]
    async fn a_shell_that_was_refused_says_why_and_a_lost_one_is_no_answer() {
        let argv = |script: &str| ["sh", "-c", script].map(str::to_owned).to_vec();
        let refused = RootShell::start(&argv("echo a password is required >&2; exit 1")).unwrap();
        let (answer, shell) = run(refused, "echo never").await;
        assert_eq!((answer.code, answer.stderr.trim()), (1, "a password is required"));
        assert!(shell.is_none());
        for lost in ["exit 255", "exit 0", "kill -9 $$"] {
            assert!(
                RootShell::start(&argv(lost)).unwrap().run("true", Duration::from_secs(9)).await.is_err(),
                "{lost}"
            );
        }
    }
}
