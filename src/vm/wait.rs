//! Waiting is always a race: what we wait for, against what can make it impossible, against a deadline.
//!
//! The error names all three: what, how long, the last probe's own words, and the console's last lines.
//!
//! Not fuzzed: what is read here is the user's argument; lines of the console pass as a whole.

pub mod condition;
mod suspect;
pub mod vigil;

use crate::console::tail::last_lines;
use crate::machine::VmDir;
use crate::monitor::events::{Event, Exited, Follow, JournalError, What};
use host::deadline::{Deadline, PROBE_PERIOD};
use host::failure::{Blame, Exit};
use std::time::Duration;
use suspect::Suspects;

/// How many of the console's last lines an error carries.
const CONSOLE_LINES: usize = 12;

/// What every wait follows: the journal, what the console said and is not confirmed yet, and whether the monitor lives.
#[derive(Debug)]
struct Tidings {
    vm: VmDir,
    follow: Follow,
    suspects: Suspects,
}

impl Tidings {
    /// From the event after `seq` on.
    fn since(vm: &VmDir, seq: u64) -> Result<Self, WaitError> {
        let follow = Follow::new(&vm.events(), seq).map_err(WaitError::Journal)?;
        Ok(Self { vm: vm.clone(), follow, suspects: Suspects::default() })
    }

    /// The next event, or what makes every wait pointless. It may be dropped and called again.
    async fn next(&mut self) -> Result<Result<Event, FatalCondition>, WaitError> {
        tokio::select! {
            biased;
            event = self.follow.next() => event.map(Ok).map_err(WaitError::Journal),
            fatal = self.suspects.confirmed(&self.vm) => Ok(Err(fatal)),
            () = monitor_gone(&self.vm) => Ok(Err(FatalCondition::MonitorGone)),
        }
    }
}

/// A view on a VM's journal that a wait races against.
#[derive(Debug)]
pub struct Watch {
    tidings: Tidings,
    /// What stands before it in the console is no fatal any more.
    console_from: u64,
    /// Whether nothing that the console says is one.
    deaf: bool,
}

/// Why what was waited for did not come.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The deadline passed.
    #[error("{what}: not within {waited:.0?}; the last answer was: {last}{console}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// The last probe's own words.
        last: String,
        /// The console's last lines, as the end of the message.
        console: String,
    },
    /// It can no longer come.
    #[error("{what}: impossible since {fatal} (after {waited:.1?}){console}")]
    Fatal {
        /// What was waited for.
        what: String,
        /// What makes it impossible.
        fatal: FatalCondition,
        /// How long it was waited for.
        waited: Duration,
        /// The console's last lines, as the end of the message.
        console: String,
    },
    /// The journal cannot be read.
    #[error("cannot follow the VM's journal")]
    Journal(#[source] JournalError),
}

/// What makes a wait pointless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FatalCondition {
    /// QEMU has ended.
    #[error("QEMU has ended: {0}")]
    QemuGone(String),
    /// The monitor has ended, and QEMU with it.
    #[error("the VM's monitor is gone")]
    MonitorGone,
    /// A part of the VM's network has died; it is not started again.
    #[error("the VM's network is broken: {0}")]
    NetworkBroken(String),
    /// The guest has filled the journal: what it does is not seen any more.
    #[error("the guest floods the journal: {0}")]
    Flooded(String),
    /// KVM gave up on the guest.
    #[error("KVM cannot run this guest (internal error)")]
    KvmBroken,
    /// The guest's kernel panicked.
    #[error("the guest panicked")]
    Panicked,
    /// The guest switched itself off; QEMU keeps it paused.
    #[error("the guest switched itself off")]
    PoweredOff,
    /// The console said that the machine cannot come back by itself.
    #[error("the console says {rule}: {line:?}")]
    Console {
        /// The rule that matched.
        rule: String,
        /// The line that it matched.
        line: String,
    },
}

impl FatalCondition {
    /// What an event means for a wait.
    fn of(event: &Event) -> Option<Self> {
        match &event.what {
            What::QemuExited(Exited { status, stderr, .. }) => {
                let words = stderr.lines().last().map(|line| format!(", saying {line:?}")).unwrap_or_default();
                Some(Self::QemuGone(format!("{status}{words}")))
            }
            What::JournalFull(flood) => Some(Self::Flooded(flood.why.clone())),
            What::NetworkBroken(broken) => Some(Self::NetworkBroken(broken.why.clone())),
            What::KvmInternalError(_) => Some(Self::KvmBroken),
            What::GuestPanicked(_) => Some(Self::Panicked),
            // One of QEMU's own (asked to quit, by QMP or by a signal) is followed by its end, which says so.
            What::Shutdown(cause) if cause.guest => Some(Self::PoweredOff),
            // What the console says has to be confirmed (`suspect`).
            _ => None,
        }
    }
}

impl FatalCondition {
    /// Whose fault it is: the guest's or the harness's.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Panicked | Self::PoweredOff | Self::Flooded(_) | Self::Console { .. } => Exit::Guest,
            _ => Exit::Lost,
        }
    }
}

impl Blame for WaitError {
    fn exit(&self) -> Exit {
        match self {
            Self::Fatal { fatal, .. } => fatal.exit(),
            _ => Exit::Lost,
        }
    }
}

impl WaitError {
    /// Whether the accelerator may be to blame for a boot that came to nothing, so that the same VM is
    /// worth a try without it. Where KVM only half works, a guest can also sit in its boot loader for ever.
    pub fn may_be_kvm(&self) -> bool {
        matches!(
            self,
            Self::TimedOut { .. } | Self::Fatal { fatal: FatalCondition::KvmBroken | FatalCondition::QemuGone(_), .. }
        )
    }
}

impl Watch {
    /// Watch a VM from the event after `seq` on.
    pub fn since(vm: &VmDir, seq: u64) -> Result<Self, WaitError> {
        Ok(Self { tidings: Tidings::since(vm, seq)?, console_from: 0, deaf: false })
    }

    /// A new boot begins at that offset of the console. The old one's last line may be judged only now, when the
    /// machine has been reset already: it says nothing about the new one.
    pub fn forget_console_before(&mut self, offset: u64) {
        self.console_from = offset;
    }

    /// What the console says ends none of its waits: for whoever reads the console, or watches the journal only.
    pub fn deaf_to_the_console(self) -> Self {
        Self { deaf: true, ..self }
    }

    /// What an event means for the boot that is waited for.
    fn fatal(&mut self, event: &Event) -> Option<FatalCondition> {
        match &event.what {
            What::ConsoleRule(matched) => {
                if matched.fatal && !self.deaf && matched.offset >= self.console_from {
                    self.tidings.suspects.add(&self.tidings.vm, matched);
                }
                None
            }
            what => self.tidings.suspects.take(what).or_else(|| FatalCondition::of(event)),
        }
    }

    /// Probe until it answers. A probe's error is the reason why it has not come yet.
    pub async fn until<T>(
        &mut self,
        what: &str,
        deadline: &Deadline,
        mut probe: impl AsyncFnMut() -> Result<T, String>,
    ) -> Result<T, WaitError> {
        let mut last = String::from("none yet");
        loop {
            let failed = tokio::select! {
                biased;
                fatal = self.follow_to_fatal() => return Err(self.ended_by(what, fatal?, deadline)),
                () = tokio::time::sleep(deadline.left()) => return Err(self.timed_out(what, last, deadline)),
                answer = probe() => match answer {
                    Ok(found) => return Ok(found),
                    Err(why) => why,
                },
            };
            last = failed;
            tokio::select! {
                biased;
                fatal = self.follow_to_fatal() => return Err(self.ended_by(what, fatal?, deadline)),
                () = tokio::time::sleep(PROBE_PERIOD.min(deadline.left())) => {}
            }
            if deadline.passed() {
                return Err(self.timed_out(what, last, deadline));
            }
        }
    }

    /// Do some work that makes no sense any more once the machine is lost.
    pub async fn unless_lost<T, E: From<WaitError>>(
        &mut self,
        what: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let start = Deadline::after(Duration::MAX);
        tokio::select! {
            biased;
            fatal = self.follow_to_fatal() => Err(self.ended_by(what, fatal?, &start).into()),
            done = work => done,
        }
    }

    /// Wait for an event of the journal; any fatal before it ends the wait.
    pub async fn event(
        &mut self,
        what: &str,
        deadline: &Deadline,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> Result<Event, WaitError> {
        loop {
            let next = tokio::select! {
                biased;
                next = self.tidings.next() => next?,
                () = tokio::time::sleep(deadline.left()) => {
                    return Err(self.timed_out(what, "no such event".into(), deadline));
                }
            };
            let event = next.map_err(|fatal| self.ended_by(what, fatal, deadline))?;
            if wanted(&event) {
                // Of an earlier boot nothing is suspected any more.
                self.tidings.suspects.take(&event.what);
                return Ok(event);
            }
            if let Some(fatal) = self.fatal(&event) {
                return Err(self.ended_by(what, fatal, deadline));
            }
        }
    }

    /// The next thing that makes every wait pointless.
    async fn follow_to_fatal(&mut self) -> Result<FatalCondition, WaitError> {
        loop {
            match self.tidings.next().await? {
                Err(fatal) => return Ok(fatal),
                Ok(event) => {
                    if let Some(fatal) = self.fatal(&event) {
                        return Ok(fatal);
                    }
                }
            }
        }
    }

    fn timed_out(&self, what: &str, last: String, deadline: &Deadline) -> WaitError {
        timed_out(&self.tidings.vm, what, last, deadline)
    }

    fn ended_by(&self, what: &str, fatal: FatalCondition, deadline: &Deadline) -> WaitError {
        lost(&self.tidings.vm, what, fatal, deadline)
    }
}

fn timed_out(vm: &VmDir, what: &str, last: String, deadline: &Deadline) -> WaitError {
    let last = if last.is_empty() { "nothing".into() } else { last };
    WaitError::TimedOut { what: what.to_owned(), waited: deadline.waited(), last, console: console(vm) }
}

fn lost(vm: &VmDir, what: &str, fatal: FatalCondition, deadline: &Deadline) -> WaitError {
    WaitError::Fatal { what: what.to_owned(), fatal, waited: deadline.waited(), console: console(vm) }
}

fn console(vm: &VmDir) -> String {
    let lines = last_lines(&vm.console(), CONSOLE_LINES);
    match lines.is_empty() {
        true => "\n  the console is silent".into(),
        false => format!("\n  the console's last lines:\n    {}", lines.join("\n    ")),
    }
}

/// A killed monitor cannot write its own end into the journal, but its lock falls.
async fn monitor_gone(vm: &VmDir) {
    while vm.is_alive() {
        tokio::time::sleep(PROBE_PERIOD).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn fatal(kind: &str, data: Value) -> Option<FatalCondition> {
        FatalCondition::of(&Event::sample(1, 0.0, kind, &data))
    }

    #[test]
    fn who_switched_the_machine_off_is_told_apart() {
        let by_guest = json!({"guest": true, "reason": "guest-shutdown"});
        assert_eq!(fatal("SHUTDOWN", by_guest), Some(FatalCondition::PoweredOff));
        assert_eq!(fatal("SHUTDOWN", json!({"guest": false, "reason": "host-qmp-quit"})), None);
        // A playbook may restart the machine.
        assert_eq!(fatal("RESET", json!({"guest": true, "reason": "guest-reset"})), None);
        let end = fatal("qemu-exited", json!({"status": "exit status: 0", "stderr": ""})).unwrap();
        assert_eq!((end.to_string().as_str(), end.exit()), ("QEMU has ended: exit status: 0", Exit::Lost));
    }
}
