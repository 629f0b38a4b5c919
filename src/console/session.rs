//! A root shell on the console, for when ssh is dead: log in, become root, run commands.
//!
//! The console is shared with the kernel and with systemd, and it echoes. So a command's output comes
//! as base64 between tags that hold a number of this run only, with a checksum over it; what the kernel
//! writes in between is lifted out by the engine, and what arrives damaged is asked for again. What is
//! typed never holds a tag as it will be printed, so our own echo is never taken for an answer.

use super::terminal::{Keyboard, Look, TalkError, Terminal};
use crate::host::deadline::Deadline;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use camino::Utf8Path;
use regex::Regex;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// How long one answer may take before it is asked for again.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time, beyond a command's own, for its output to come over the line (some 20 KB/s under TCG).
const TRANSFER_LIMIT: Duration = Duration::from_secs(60);
/// A terminal in line mode takes 4095 bytes a line.
const LINE_PIECE: usize = 1024;

/// The shell's own side. `go TAG SECONDS BYTES` runs what is in `$c`; `say TAG` prints what came of it, any
/// number of times: `~TAG:<~`, then `~TAG:=…~` lines, then `~TAG:>SHA256~`. The exit code is in brackets,
/// which base64 has not; it may stand anywhere in it.
const SETUP: [&str; 4] = [
    "stty -echo; PS1='boma# '; PS2=; unset HISTFILE",
    "export LC_ALL=C TERM=dumb PAGER=cat SYSTEMD_PAGER=cat SYSTEMD_COLORS=0",
    r#"go() { o=$({ { timeout -k 5 "$2" sh -c "$(printf %s "$c" | base64 -d)" 3>&- </dev/null 2>&1; printf '[%s]' $? >&3; } | { head -c "$3"; cat >/dev/null; } | base64 -w 0; } 3>&1); say "$1"; }"#,
    r#"say() { printf '~%s:<~\n' "$1"; printf '%s\n' "$o" | fold -w 76 | sed "s/.*/~$1:=&~/"; printf '~%s:>%s~\n' "$1" "$(printf %s "$o" | sha256sum | cut -c1-64)"; }"#,
];

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; 124 if it was ended by its time limit.
    pub code: i32,
    /// Its standard output and error, as they came.
    pub output: Vec<u8>,
    /// Whether the output was longer than what was asked for.
    pub truncated: bool,
}

/// A root shell on the console.
pub struct Session<K> {
    terminal: Terminal<K>,
    count: u32,
    salt: u32,
}

impl<K: Keyboard> Session<K> {
    /// Log `user` in on the console whose log is at `log`, and become root, all within `limit`. A shell
    /// that somebody left open there is used as it is.
    pub async fn begin(
        log: &Utf8Path,
        keyboard: K,
        user: &str,
        password: &str,
        limit: Duration,
    ) -> Result<Self, TalkError> {
        let deadline = Deadline::after(limit);
        let terminal = Terminal::open(log, keyboard).await?;
        let mut session = Self { terminal, count: 0, salt: rand::random() };
        let id = session.login(user, password, &deadline).await?;
        session.become_root(&id, user, &deadline).await?;
        Ok(session)
    }

    /// Run a shell command. The guest ends it after `limit`; `most` is how many bytes of its output come.
    pub async fn run(&mut self, command: &str, limit: Duration, most: usize) -> Result<Ran, TalkError> {
        let tag = self.tag();
        let deadline = Deadline::after(limit + TRANSFER_LIMIT);
        self.terminal.skip();
        self.terminal.enter("c=").await?;
        for piece in BASE64.encode(command).as_bytes().chunks(LINE_PIECE) {
            self.terminal.enter(&format!("c=${{c}}{}", String::from_utf8_lossy(piece))).await?;
        }
        // One byte more than is wanted tells whether there was more.
        self.terminal.enter(&format!("go {tag} {} {}", limit.as_secs().max(1), most + 1)).await?;
        let mut ran = self.answer(&tag, limit, &deadline).await?;
        ran.truncated = ran.output.len() > most;
        ran.output.truncate(most);
        Ok(ran)
    }

    /// Leave the console at its login prompt.
    pub async fn end(self) -> Result<(), TalkError> {
        self.terminal.enter("exit").await
    }

    /// Get to a shell; the user id that it answers with. What the console shows is only a hint (a prompt
    /// can be a dead boot's last word): nothing counts but a shell's answer.
    async fn login(&mut self, user: &str, password: &str, deadline: &Deadline) -> Result<String, TalkError> {
        loop {
            if let Some(stuck) = self.terminal.stuck() {
                return Err(stuck);
            }
            let prompt = self.terminal.prompt();
            let shell = match prompt.ends_with("login:") {
                true => self.answer_login(user, password, deadline).await?,
                false => is_shell(&prompt),
            };
            if shell && let Some(id) = self.ask_once("$(id -u)", deadline).await? {
                return Ok(id);
            }
            if deadline.passed() {
                return Err(self.terminal.in_vain("a login prompt", deadline));
            }
            // Enter makes getty ask again, if it was asked wrongly or somebody's line has run over its prompt.
            self.terminal.enter("").await?;
            let asks = |look: Look<'_>| match look {
                Look::Prompt(text) if text != prompt && (text.ends_with("login:") || is_shell(text)) => Some(()),
                _ => None,
            };
            self.terminal.look_for(&deadline.within(PATIENCE), asks).await?;
        }
    }

    /// At the login prompt. Whether it looks as if there were a shell now.
    async fn answer_login(&mut self, user: &str, password: &str, deadline: &Deadline) -> Result<bool, TalkError> {
        self.terminal.skip();
        self.terminal.enter(user).await?;
        let asked = |look: Look<'_>| match look {
            Look::Prompt(text) if text.ends_with("Password:") => Some(()),
            _ => None,
        };
        if self.terminal.look_for(&deadline.within(PATIENCE), asked).await?.is_none() {
            return Ok(false);
        }
        self.terminal.enter(password).await?;
        let refused = |look: Look<'_>| match look {
            Look::Line(text) if text.contains("Login incorrect") => Some(true),
            Look::Prompt(text) if is_shell(text) => Some(false),
            _ => None,
        };
        match self.terminal.look_for(&deadline.within(PATIENCE), refused).await? {
            Some(true) => Err(TalkError::Refused { user: user.into(), window: self.terminal.window() }),
            // Or a shell whose prompt was run over: asking it will tell.
            Some(false) | None => Ok(true),
        }
    }

    /// A plain shell as root, without echo.
    async fn become_root(&mut self, id: &str, user: &str, deadline: &Deadline) -> Result<(), TalkError> {
        if id == "0" {
            self.terminal.enter("exec sh").await?;
        } else {
            if self.ask("$(sudo -n true && echo yes)", deadline).await? != "yes" {
                return Err(TalkError::NotRoot { user: user.into(), window: self.terminal.window() });
            }
            self.terminal.enter("exec sudo -n sh").await?;
        }
        self.make_ready().await?;
        if self.ask("$(id -u)", deadline).await? == "0" {
            return Ok(());
        }
        Err(TalkError::NotRoot { user: user.into(), window: self.terminal.window() })
    }

    async fn make_ready(&self) -> Result<(), TalkError> {
        for line in SETUP {
            self.terminal.enter(line).await?;
        }
        Ok(())
    }

    /// The value of a shell expression; asking twice does no harm, so it is asked until it is answered.
    async fn ask(&mut self, expression: &str, deadline: &Deadline) -> Result<String, TalkError> {
        loop {
            if let Some(value) = self.ask_once(expression, deadline).await? {
                return Ok(value);
            }
            if deadline.passed() {
                return Err(self.terminal.in_vain("an answer from a shell", deadline));
            }
        }
    }

    async fn ask_once(&mut self, expression: &str, deadline: &Deadline) -> Result<Option<String>, TalkError> {
        let tag = self.tag();
        let answer = tagged(&tag);
        self.terminal.enter(&format!("echo \"~\"\"{tag}:=\"\"{expression}~\"")).await?;
        let found = |look: Look<'_>| match look {
            Look::Line(text) => answer.captures(text).map(|found| found[2].to_owned()),
            Look::Prompt(_) => None,
        };
        self.terminal.look_for(&deadline.within(PATIENCE), found).await
    }

    async fn answer(&mut self, tag: &str, limit: Duration, deadline: &Deadline) -> Result<Ran, TalkError> {
        let mut parts = Parts::new(tag);
        let mut patience = deadline.within(limit + PATIENCE);
        loop {
            let heard = |look: Look<'_>| match look {
                Look::Line(text) => parts.take(text),
                Look::Prompt(_) => None,
            };
            // A damaged answer, or none, is asked for again.
            if let Some(Ok(ran)) = self.terminal.look_for(&patience, heard).await? {
                return Ok(ran);
            }
            if deadline.passed() {
                return Err(self.terminal.in_vain("a command's whole output", deadline));
            }
            self.terminal.enter(&format!("say {tag}")).await?;
            patience = deadline.within(PATIENCE);
        }
    }

    fn tag(&mut self) -> String {
        self.count += 1;
        format!("{:08x}.{}", self.salt, self.count)
    }
}

/// Whether a shell waits here. Its prompt ends in `$` or `#`, and a login prompt in neither.
fn is_shell(prompt: &str) -> bool {
    prompt.ends_with(['$', '#'])
}

#[expect(clippy::expect_used, reason = "a tag is hex digits and a dot")]
fn tagged(tag: &str) -> Regex {
    Regex::new(&format!("~{}:([<=>])([^~]*)~", regex::escape(tag))).expect("a pattern")
}

/// The answer came, and not as it was sent.
#[derive(Debug, PartialEq, Eq)]
struct Damaged;

/// An answer as it comes in.
struct Parts {
    pattern: Regex,
    text: String,
}

impl Parts {
    fn new(tag: &str) -> Self {
        Self { pattern: tagged(tag), text: String::new() }
    }

    /// Take a line; something at the answer's end.
    fn take(&mut self, line: &str) -> Option<Result<Ran, Damaged>> {
        let found = self.pattern.captures(line)?;
        match &found[1] {
            "<" => self.text.clear(),
            "=" => self.text.push_str(&found[2]),
            _ => return Some(self.whole(&found[2])),
        }
        None
    }

    fn whole(&self, checksum: &str) -> Result<Ran, Damaged> {
        let digest: String = Sha256::digest(&self.text).iter().map(|byte| format!("{byte:02x}")).collect();
        if digest != checksum {
            return Err(Damaged);
        }
        let (before, rest) = self.text.split_once('[').ok_or(Damaged)?;
        let (code, after) = rest.split_once(']').ok_or(Damaged)?;
        let output = BASE64.decode(format!("{before}{after}")).map_err(|_| Damaged)?;
        Ok(Ran { code: code.parse().map_err(|_| Damaged)?, output, truncated: false })
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
