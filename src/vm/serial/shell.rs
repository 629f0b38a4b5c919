//! Running commands, and knowing what came of them.
//!
//! The shell that logged us in is replaced by the plainest one there is: no echo, no line editing, no colours, whatever
//! the distribution gave its users. A command goes to it as base64, and its output comes back as base64 between tags
//! that hold a number of this talk only, with a checksum over it; what the kernel writes in between is lifted out, and
//! what arrives damaged is asked for again. What is typed never holds a tag as it will be printed, so our own echo is
//! never taken for an answer.

use super::login::PATIENCE;
use super::terminal::Look;
use super::{Login, Port, Serial, SerialError};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use host::deadline::Deadline;
use host::hex::hex;
use regex::Regex;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

/// The time, beyond a command's own, for its output to come over the line (some 20 KB/s under TCG).
const TRANSFER_LIMIT: Duration = Duration::from_secs(60);
/// How long an interrupt may take; whoever did not see its prompt finds out by asking.
const INTERRUPT_LIMIT: Duration = Duration::from_secs(3);
/// A terminal in line mode takes 4095 bytes a line, and busybox's line editing 1023.
const LINE_PIECE: usize = 512;
/// How much of a command's output comes, in bytes.
const MOST: usize = 256 << 10;

/// A shell without line editing, which an interrupt or a syntax error does not end (dash, bash and busybox's ash agree
/// on no shorter form). Its prompt as it is typed is not its prompt as it is shown.
const PLAIN: &str = r#"exec env LC_ALL=C TERM=dumb PAGER=cat SYSTEMD_PAGER=cat SYSTEMD_COLORS=0 sh -c 'stty -echo; trap i=1 INT; while i=; printf "bo""ma# "; do l=; IFS= read -r l || [ "$i" ] || break; command eval "$l"; done'"#;
/// The same, as it is shown.
const PROMPT: &str = "boma#";

/// What every command needs in the guest.
const TOOLS: &str = "base64 cat cut fold head printf sed sha256sum timeout tr";

/// The shell's own side. `go TAG SECONDS BYTES LENGTH` runs what is in `$c`, if that has as many characters as were
/// typed; `say TAG` prints what came of it, any number of times: `~TAG:<~`, then `~TAG:=…~` lines, then `~TAG:>SHA256~`.
/// The exit code is in brackets, which base64 has not; it may stand anywhere in it. What was not run, or not to its
/// end, is said to be so (`~TAG:!…~`): an interrupt throws away what was typed and not read yet. An old busybox knows no
/// `timeout -k`.
const SETUP: [&str; 4] = [
    r#"k='-k 5'; timeout $k 5 true 2>/dev/null || k=; b=; d="#,
    r#"go() { b=; d=; [ ${#c} = "$4" ] || { say "$1"; return; }; b=$1; o=$(run "$@"); case $o in *]*) d=$1 ;; esac; say "$1"; }"#,
    r#"run() { { { timeout $k "$2" sh -c "$(printf %s "$c" | base64 -d)" 3>&- </dev/null 2>&1; printf '[%s]' $? >&3; } | { head -c "$3"; cat >/dev/null; } | base64 | tr -d '\n'; } 3>&1; }"#,
    r#"say() { [ "$d" = "$1" ] || { printf '~%s:!%s~\n' "$1" "$b"; return; }; printf '~%s:<~\n' "$1"; printf '%s\n' "$o" | fold -w 76 | sed "s/.*/~$1:=&~/"; printf '~%s:>%s~\n' "$1" "$(printf %s "$o" | sha256sum | cut -c1-64)"; }"#,
];

/// What a command did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Its exit code; 124 if it was ended by its time limit (143 where the guest's `timeout` is an old busybox's).
    pub code: i32,
    /// Its standard output and error as text; what is not UTF-8 is replaced.
    pub output: String,
    /// The same, as it came.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// Whether the output was longer than what was asked for.
    pub truncated: bool,
    /// From Enter to the end of the answer, in seconds; the way over the line is in it.
    pub seconds: f64,
}

impl<P: Port> Serial<P> {
    /// Run a shell command as the user who was logged in last, with nothing on its standard input. The guest ends it
    /// after `limit`. Of its output the first 256 KiB come ([`Serial::run_most`]).
    pub async fn run(&mut self, command: &str, limit: Duration) -> Result<Answer, SerialError> {
        self.run_most(command, limit, MOST).await
    }

    /// As [`Serial::run`]; `most` is how many bytes of its output come.
    pub async fn run_most(&mut self, command: &str, limit: Duration, most: usize) -> Result<Answer, SerialError> {
        if self.shells.is_empty() {
            return Err(SerialError::NoShell);
        }
        let start = Instant::now();
        let deadline = Deadline::after(limit + TRANSFER_LIMIT);
        let (code, mut bytes) = loop {
            let tag = self.tag();
            self.terminal.skip();
            // One byte more than is wanted tells whether there was more.
            self.type_command(command, &format!("go {tag} {} {}", limit.as_secs().max(1), most + 1)).await?;
            match self.answer(&tag, limit, &deadline).await {
                Ok(End::Whole(code, bytes)) => break (code, bytes),
                Ok(End::NotBegun) if !deadline.passed() => {}
                Ok(End::NotBegun) => return Err(self.terminal.in_vain("that a command began", &deadline)),
                Ok(End::Interrupted) => return Err(SerialError::Interrupted { window: self.terminal.window() }),
                Err(error @ SerialError::TimedOut { .. }) => {
                    // Something holds its output open: the next command must not wait behind it.
                    self.interrupt(&Deadline::after(PATIENCE)).await?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        };
        let truncated = bytes.len() > most;
        bytes.truncate(most);
        let output = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Answer { code, output, bytes, truncated, seconds: start.elapsed().as_secs_f64() })
    }

    /// Type a command into `$c`, and what runs it.
    async fn type_command(&mut self, command: &str, go: &str) -> Result<(), SerialError> {
        let code = BASE64.encode(command);
        let mut line = String::from("c=");
        for (n, piece) in code.as_bytes().chunks(LINE_PIECE).enumerate() {
            if n > 0 {
                self.terminal.enter(&line).await?;
                line = "c=${c}".into();
            }
            line.push_str(&String::from_utf8_lossy(piece));
        }
        self.terminal.enter(&format!("{line}; {go} {}", code.len())).await
    }

    /// Make the shell at the cursor take commands.
    pub(super) async fn make_ready(&mut self, login: Login, deadline: &Deadline) -> Result<(), SerialError> {
        self.terminal.hold_to_this_boot(true);
        loop {
            self.terminal.skip();
            self.terminal.enter(PLAIN).await?;
            if self.until_ours(&deadline.within(PATIENCE)).await? {
                break;
            }
            if deadline.passed() {
                return Err(self.terminal.in_vain("a plain shell", deadline));
            }
        }
        let missing = format!("$(for t in {TOOLS}; do command -v $t >/dev/null || printf '%s ' $t; done)");
        let missing = self.ask(&missing, deadline).await?.trim().replace(' ', ", ");
        if !missing.is_empty() {
            return Err(SerialError::NoTools { missing });
        }
        // Until it says that all of it has arrived.
        loop {
            for line in SETUP {
                self.terminal.enter(line).await?;
            }
            if self.ask("$(type go run say >/dev/null 2>&1 && echo ready)", deadline).await? == "ready" {
                break;
            }
            if deadline.passed() {
                return Err(self.terminal.in_vain("a shell that takes commands", deadline));
            }
        }
        self.shells.push(login);
        Ok(())
    }

    /// End what runs in the foreground, and wait for our prompt: what is typed before it comes may be thrown away.
    pub(super) async fn interrupt(&mut self, deadline: &Deadline) -> Result<(), SerialError> {
        self.terminal.skip();
        self.terminal.type_in(b"\x03").await?;
        self.until_ours(&deadline.within(INTERRUPT_LIMIT)).await.map(drop)
    }

    /// Wait for our prompt; `false` if it did not come.
    pub(super) async fn until_ours(&mut self, deadline: &Deadline) -> Result<bool, SerialError> {
        let ours = |look: Look<'_>| match look {
            Look::Prompt(text) if is_ours(text) => Some(()),
            _ => None,
        };
        Ok(self.terminal.look_for(deadline, ours).await?.is_some())
    }

    /// The value of a shell expression, in one line; asking twice does no harm, so it is asked until it is answered.
    pub(super) async fn ask(&mut self, expression: &str, deadline: &Deadline) -> Result<String, SerialError> {
        loop {
            if let Some(value) = self.ask_once(expression, deadline).await? {
                return Ok(value);
            }
            if deadline.passed() {
                return Err(self.terminal.in_vain("an answer from a shell", deadline));
            }
        }
    }

    pub(super) async fn ask_once(
        &mut self,
        expression: &str,
        deadline: &Deadline,
    ) -> Result<Option<String>, SerialError> {
        self.terminal.skip();
        let tag = self.tag();
        let answer = tagged(&tag);
        // What is said of other things may hold line ends, and what ends an answer.
        let one_line = format!("\"$(printf %s \"{expression}\" | tr '~\\n' '- ')\"");
        self.terminal.enter(&format!("echo \"~\"\"{tag}:=\"{one_line}\"~\"")).await?;
        let found = |look: Look<'_>| match look {
            Look::Line(text) => answer.captures(text).map(|found| found[2].to_owned()),
            Look::Prompt(_) => None,
        };
        self.terminal.look_for(&deadline.within(PATIENCE), found).await
    }

    async fn answer(&mut self, tag: &str, limit: Duration, deadline: &Deadline) -> Result<End, SerialError> {
        let mut parts = Parts::new(tag);
        let mut patience = deadline.within(limit + PATIENCE);
        loop {
            let heard = |look: Look<'_>| match look {
                Look::Line(text) => parts.take(text),
                Look::Prompt(_) => None,
            };
            match self.terminal.look_for(&patience, heard).await? {
                Some(Part::End(Ok(end))) => return Ok(end),
                // As long as it comes, it is waited for.
                Some(Part::More) => patience = deadline.within(PATIENCE),
                // A damaged answer, or none, is asked for again.
                Some(Part::End(Err(Damaged))) | None => {
                    if deadline.passed() {
                        return Err(self.terminal.in_vain("a command's whole output", deadline));
                    }
                    self.terminal.enter(&format!("say {tag}")).await?;
                    patience = deadline.within(PATIENCE);
                }
            }
        }
    }
}

/// The exit code and the output that an answer's lines have, if they are all there: for whoever tries lines of any kind.
pub fn whole_answer<'a>(tag: &str, lines: impl Iterator<Item = &'a str>) -> Option<(i32, Vec<u8>)> {
    let mut parts = Parts::new(tag);
    lines.filter_map(|line| parts.take(line)).find_map(|part| match part {
        Part::End(Ok(End::Whole(code, output))) => Some((code, output)),
        _ => None,
    })
}

/// Whether our own shell waits here.
pub(super) fn is_ours(prompt: &str) -> bool {
    prompt.ends_with(PROMPT)
}

#[expect(clippy::expect_used, reason = "a tag is hex digits and a dot")]
fn tagged(tag: &str) -> Regex {
    Regex::new(&format!("~{}:([<=>!])([^~]*)~", regex::escape(tag))).expect("a pattern")
}

/// The answer came, and not as it was sent.
#[derive(Debug, PartialEq, Eq)]
struct Damaged;

/// A piece of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// There is more to come.
    More,
    /// Its end.
    End(Result<End, Damaged>),
}

/// What came of a command.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Its exit code and its output.
    Whole(i32, Vec<u8>),
    /// It did not arrive, and was not run.
    NotBegun,
    /// It was interrupted.
    Interrupted,
}

/// An answer as it comes in.
struct Parts {
    tag: String,
    pattern: Regex,
    text: String,
}

impl Parts {
    fn new(tag: &str) -> Self {
        Self { tag: tag.to_owned(), pattern: tagged(tag), text: String::new() }
    }

    /// Take a line; nothing if it is none of the answer's.
    fn take(&mut self, line: &str) -> Option<Part> {
        let found = self.pattern.captures(line)?;
        match &found[1] {
            "<" => self.text.clear(),
            "=" => self.text.push_str(&found[2]),
            "!" if found[2] == self.tag => return Some(Part::End(Ok(End::Interrupted))),
            "!" => return Some(Part::End(Ok(End::NotBegun))),
            _ => return Some(Part::End(self.whole(&found[2]))),
        }
        Some(Part::More)
    }

    fn whole(&self, checksum: &str) -> Result<End, Damaged> {
        if hex(Sha256::digest(&self.text)) != checksum {
            return Err(Damaged);
        }
        let (before, rest) = self.text.split_once('[').ok_or(Damaged)?;
        let (code, after) = rest.split_once(']').ok_or(Damaged)?;
        let output = BASE64.decode(format!("{before}{after}")).map_err(|_| Damaged)?;
        Ok(End::Whole(code.parse().map_err(|_| Damaged)?, output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_one_wrong_letter_is_damaged() {
        let digest = |text: &str| hex(Sha256::digest(text));
        let sum = digest("b2s=[0]");
        let mut parts = Parts::new("t.1");
        for (data, expected) in [("b2s=[1]", Err(Damaged)), ("b2s=[0]", Ok(End::Whole(0, b"ok".to_vec())))] {
            assert_eq!(parts.take("boma# ~t.1:<~"), Some(Part::More));
            assert_eq!(parts.take(&format!("~t.1:={data}~")), Some(Part::More));
            assert_eq!(parts.take("~t.2:=another~"), None);
            assert_eq!(parts.take(&format!("~t.1:>{sum}~")), Some(Part::End(expected)));
        }
        assert_eq!(parts.take("~t.1:!~"), Some(Part::End(Ok(End::NotBegun))));
        assert_eq!(parts.take("~t.1:!t.1~"), Some(Part::End(Ok(End::Interrupted))));
    }

    #[test]
    fn nothing_that_is_typed_holds_what_is_waited_for() {
        assert!(!PLAIN.contains(PROMPT) && PLAIN.len() < LINE_PIECE);
        let typed = ["c=; go t.1 1 1 0", "say t.1", "echo \"~\"\"t.1:=\"x\"~\""];
        assert!(typed.iter().all(|line| !tagged("t.1").is_match(line)));
        assert!(!PLAIN.contains('!'), "history expansion");
        assert!(SETUP.iter().all(|line| line.len() < LINE_PIECE));
    }
}
