//! A line of the console that would make every wait pointless, if the machine meant it.
//!
//! Any program can write such a line: a message to all terminals, a log that is shown, a unit's description. So a line
//! ends nothing by itself. It is confirmed by what no program says by accident, in a few seconds:
//!
//! - systemd's own line of the *unit* emergency or rescue, by its name, is what it says: a description cannot make it.
//! - A rescue prompt answers: it still stands at the cursor once the console is silent, and Enter brings
//!   it again. A login prompt in its place is a machine that is well. Nothing is typed at anything else.
//! - A kernel that has panicked runs nothing: QEMU tells of each processor whether it runs a program or waits for work.
//!   For some seconds none runs a program, and one at least never waits (the kernel goes round in its own loop). With a
//!   driver for pvpanic the guest says it by an event; that one counts at once, and is no matter of this file.
//! - Process 1, or the firmware, that has given up says nothing any more, and there is no login prompt.
//!
//! A guest that resets itself before that is found out has meant it. What cannot be confirmed, or asked, ends no wait.

use super::FatalCondition;
use crate::console::engine::Engine;
use crate::console::gap;
use crate::console::rules::{Confirm, confirm};
use crate::machine::VmDir;
use crate::monitor::Client;
use crate::monitor::events::{RuleMatch, What};
use camino::Utf8Path;
use host::deadline::Deadline;
use regex::Regex;
use serde_json::json;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long it is tried to confirm a line.
const LIMIT: Duration = Duration::from_secs(20);
/// How often it is looked.
const PERIOD: Duration = Duration::from_millis(100);
/// A console that has said nothing for so long may stand at a prompt.
const QUIET: Duration = Duration::from_millis(500);
/// The time that a prompt has to answer Enter.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// A console that has said nothing for so long says nothing any more.
const SILENCE: Duration = Duration::from_secs(10);
/// The time that the monitor has to type, or QEMU to tell of its processors.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// So many looks at the processors in a row, and how far apart, tell a loop from work.
const LOOKS: u32 = 8;
const LOOK_PERIOD: Duration = Duration::from_millis(500);
/// How much of the console's end is looked at, in bytes.
const WINDOW: u64 = 4096;
/// A longer line at the cursor is no prompt.
const LONGEST_PROMPT: usize = 256;

/// The lines that are being confirmed.
#[derive(Debug, Default)]
pub(super) struct Suspects(Vec<Suspect>);

#[derive(Debug)]
struct Suspect {
    how: Confirm,
    matched: RuleMatch,
    check: JoinHandle<bool>,
    /// The same kind of line came once more meanwhile.
    again: bool,
}

impl Drop for Suspect {
    fn drop(&mut self) {
        self.check.abort();
    }
}

impl Suspects {
    /// A fatal rule matched. Needs a running tokio reactor.
    pub(super) fn add(&mut self, vm: &VmDir, matched: &RuleMatch) {
        let how = confirm(&matched.id);
        match self.0.iter_mut().find(|suspect| suspect.how == how) {
            // The first line is the one that is told.
            Some(known) => known.again = true,
            None => {
                let check = begin(how, vm, &matched.line);
                self.0.push(Suspect { how, matched: matched.clone(), check, again: false });
            }
        }
    }

    /// What happens to the machine ends a suspicion: of an earlier boot there is none. What comes of it, if the guest
    /// resets itself under it.
    pub(super) fn take(&mut self, what: &What) -> Option<FatalCondition> {
        let by_guest = matches!(what, What::Reset(cause) if cause.guest);
        if by_guest || matches!(what, What::Reset(_) | What::Boot(_) | What::Restore(_) | What::QemuStarted(_)) {
            let first = std::mem::take(&mut self.0).into_iter().next();
            return first.filter(|_| by_guest).map(|suspect| fatal(&suspect.matched));
        }
        None
    }

    /// The fatal, once one is confirmed; never, if there is none. It may be dropped and called again.
    pub(super) async fn confirmed(&mut self, vm: &VmDir) -> FatalCondition {
        loop {
            let next = std::future::poll_fn(|context| {
                for (n, suspect) in self.0.iter_mut().enumerate() {
                    if let std::task::Poll::Ready(ended) = std::pin::Pin::new(&mut suspect.check).poll(context) {
                        // One that broke off has confirmed nothing.
                        return std::task::Poll::Ready((n, ended.unwrap_or(false)));
                    }
                }
                std::task::Poll::Pending
            });
            let (n, so) = next.await;
            let mut suspect = self.0.remove(n);
            if so {
                return fatal(&suspect.matched);
            }
            if std::mem::take(&mut suspect.again) {
                suspect.check = begin(suspect.how, vm, &suspect.matched.line);
                self.0.push(suspect);
            }
        }
    }
}

pub(super) fn fatal(matched: &RuleMatch) -> FatalCondition {
    FatalCondition::Console { rule: matched.id.clone(), line: matched.line.clone() }
}

fn begin(how: Confirm, vm: &VmDir, line: &str) -> JoinHandle<bool> {
    let (vm, client, named) = (vm.clone(), Client::new(vm), NAMED.is_match(line));
    tokio::spawn(async move {
        let log = vm.console();
        match how {
            Confirm::Talk if named => true,
            Confirm::Talk => {
                let enter = || {
                    let client = client.clone();
                    async move { client.console_write(b"\r", ASK_LIMIT).await.is_ok() }
                };
                waits_at_a_rescue_prompt(&log, enter).await
            }
            Confirm::Processors => {
                let registers = || {
                    let client = client.clone();
                    async move {
                        let ask = json!({"command-line": "info registers -a"});
                        let answer = client.qmp("human-monitor-command", ask, ASK_LIMIT).await.ok()?;
                        Some(answer.as_str()?.to_owned())
                    }
                };
                goes_round_in_the_kernel(registers).await
            }
            Confirm::Silence => is_silent(&log).await,
        }
    })
}

/// The end of the console.
#[derive(Debug, Default)]
struct Cursor {
    /// The lines before it that are not empty.
    lines: Vec<String>,
    /// What stands at it.
    prompt: String,
}

impl Cursor {
    /// As far as it was written after `from`; a console that cannot be read has no prompt.
    fn read(log: &Utf8Path, from: u64) -> Self {
        let end = length(log);
        let mut engine = Engine::new(from);
        let mut lines = Vec::new();
        for piece in gap::pieces(log, from.max(end.saturating_sub(WINDOW))..end).unwrap_or_default() {
            engine.feed(&piece.bytes, |line| lines.push(line.text));
        }
        lines.retain(|line| !line.trim().is_empty());
        let prompt = engine.prompt(LONGEST_PROMPT).map(|line| line.text).unwrap_or_default();
        Self { lines, prompt }
    }

    fn has(&self, text: &str) -> bool {
        self.lines.iter().rev().take(8).any(|line| line.contains(text))
    }

    fn is_login(&self) -> bool {
        LOGIN.is_match(&self.prompt)
    }

    /// Root is locked: sulogin only waits for Enter, and its line has ended.
    fn is_locked(&self) -> bool {
        let last = self.lines.last().is_some_and(|line| line.trim() == "Press Enter to continue.");
        self.prompt.is_empty() && last && self.has("the root account is locked")
    }

    fn is_rescue(&self) -> bool {
        RESCUE.is_match(&self.prompt) || self.is_locked()
    }

    /// Whether this is the answer to Enter of the prompt that stood at `before`.
    fn answers(&self, before: &Self) -> bool {
        if self.is_login() {
            return false;
        }
        let sulogin = SULOGIN.is_match(&before.prompt);
        self.is_rescue()
            || sulogin && (self.has("Login incorrect") || ROOT_SHELL.is_match(&self.prompt))
            || before.is_locked()
                && (self.has("Reloading system manager configuration") || self.has("Starting default"))
    }
}

fn pattern(text: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the patterns are literals, compiled by the unit tests")]
    Regex::new(text).expect("a literal pattern")
}

static LOGIN: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\b(login|password): *$"));
static SULOGIN: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^(Give root password for maintenance|Press Enter for maintenance)|\(or press Control-D to continue\): *$")
});
static RESCUE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(\(initramfs\)|(dracut|switch_root):\S*#|grub( rescue)?>) *$|^(Give root password|Press Enter) for maintenance|\(or press Control-D to continue\): *$",
    )
});
/// A status line of systemd's, on the console or in the kernel's log, with the unit's own name.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(\[  OK  \]|(\[ *\d+\.\d+\](\[ *[TC]\d+\])? )?systemd\[1\]:) (Reached target|Started) (emergency|rescue)\.(target|service)( - .*)?\.?$",
    )
});
static ROOT_SHELL: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\S*# *$"));

fn length(log: &Utf8Path) -> u64 {
    std::fs::metadata(log).map_or(0, |meta| meta.len())
}

/// Wait until the console has said nothing for some time; where it ends then.
async fn quiet(log: &Utf8Path, for_long: Duration, deadline: &Deadline) -> Option<u64> {
    let (mut end, mut since) = (length(log), Deadline::after(for_long));
    while !since.passed() {
        if deadline.passed() {
            return None;
        }
        tokio::time::sleep(PERIOD).await;
        let now = length(log);
        if now != end {
            (end, since) = (now, Deadline::after(for_long));
        }
    }
    Some(end)
}

/// Whether a rescue prompt waits: it stands at the cursor, and Enter brings it again.
async fn waits_at_a_rescue_prompt<F: Future<Output = bool>>(log: &Utf8Path, enter: impl Fn() -> F) -> bool {
    let deadline = Deadline::after(LIMIT);
    let mut asked = None;
    while let Some(end) = quiet(log, QUIET, &deadline).await {
        let before = Cursor::read(log, 0);
        if before.is_login() {
            return false;
        }
        // What has been asked once without an answer is not asked again before it says more.
        if before.is_rescue() && asked != Some(end) {
            if !enter().await {
                return false;
            }
            let answer = Deadline::after(ANSWER_LIMIT);
            while !answer.passed() {
                tokio::time::sleep(PERIOD).await;
                // The answer can take a while: a password is hashed before it is refused.
                if length(log) > end && Cursor::read(log, end).answers(&before) {
                    return true;
                }
            }
            asked = Some(length(log));
        } else {
            tokio::time::sleep(PERIOD).await;
        }
    }
    false
}

/// Whether the console says nothing any more, and has no login prompt.
async fn is_silent(log: &Utf8Path) -> bool {
    let silent = quiet(log, SILENCE, &Deadline::after(LIMIT + SILENCE)).await;
    silent.is_some() && !Cursor::read(log, 0).is_login()
}

/// Whether the processors do what they do after a panic, look after look.
async fn goes_round_in_the_kernel<F: Future<Output = Option<String>>>(registers: impl Fn() -> F) -> bool {
    let (deadline, mut looks) = (Deadline::after(LIMIT), 0);
    while looks < LOOKS {
        if deadline.passed() {
            return false;
        }
        looks = match registers().await.as_deref().map(is_in_a_loop) {
            Some(true) => looks + 1,
            _ => 0,
        };
        tokio::time::sleep(LOOK_PERIOD).await;
    }
    true
}

/// Of QEMU's `info registers -a`: whether no processor runs a program, and one at least does not wait for work.
fn is_in_a_loop(registers: &str) -> bool {
    static STATE: LazyLock<Regex> = LazyLock::new(|| pattern(r"\bCPL=([0-3])\b.*\bHLT=([01])\b"));
    let states: Vec<_> = STATE.captures_iter(registers).map(|found| (found[1] == *"0", found[2] == *"0")).collect();
    states.iter().all(|(kernel, _)| *kernel) && states.iter().any(|(_, busy)| *busy)
}

#[cfg(test)]
#[path = "suspect_tests.rs"]
mod tests;
