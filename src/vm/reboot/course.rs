//! The course of one restart: the journal from the asking on, compared with the mode's row as it grows.

use super::error::RebootError;
use super::mode::Mode;
use super::row::{Evidence, Seen, UnexpectedEvent};
use super::since::is_a_restart_of_its_own;
use crate::machine::VmDir;
use crate::monitor::Client;
use crate::monitor::events::{Event, Terms, What, console_cut, read_all};
use crate::ssh::{Session, SshError};
use crate::wait::{WaitError, Watch};
use host::deadline::Deadline;
use serde_json::{Value, json};
use std::time::Duration;

/// The time that the guest has to take an order.
pub(super) const ASK_LIMIT: Duration = Duration::from_secs(60);
/// The time that one QMP command has.
const QMP_LIMIT: Duration = Duration::from_secs(10);

/// The course of one restart.
pub(super) struct Course<'a> {
    pub(super) vm: &'a VmDir,
    pub(super) mode: Mode,
    pub(super) client: Client,
    pub(super) watch: Watch,
    pub(super) deadline: Deadline,
    /// The mark: where in the journal, when, and where the console stood.
    pub(super) asked: Event,
    evidence: Evidence,
    /// The last event that was looked at.
    at: u64,
    /// Where the console stood at the last expected event so far.
    cut: Option<u64>,
}

impl<'a> Course<'a> {
    /// Begin: what is in the journal by now can never count.
    pub(super) async fn begin(vm: &'a VmDir, mode: Mode, limit: Duration) -> Result<Self, RebootError> {
        let (client, asked) = (Client::new(vm), mark(vm, &What::RestartAsked(terms(json!({ "mode": mode })))).await?);
        let (seq, watch) = (asked.seq, Watch::since(vm, asked.seq)?);
        let (deadline, evidence) = (Deadline::after(limit), Evidence::of(mode));
        Ok(Self { vm, mode, client, watch, deadline, asked, evidence, at: seq, cut: None })
    }

    /// Wait until the first `wanted` events of the row were seen. Whatever else happens to the machine ends
    /// the wait at once; so does what makes every wait pointless, unless it is the very event.
    pub(super) async fn expect(&mut self, wanted: usize) -> Result<(), RebootError> {
        let row = self.mode.row();
        let what = format!("{row} after asking for {}", self.mode);
        while self.evidence.found() < wanted {
            let (evidence, mut unexpected) = (&mut self.evidence, None);
            let before = evidence.found();
            let event = self.watch.event(&what, &self.deadline, |event| match evidence.take(event) {
                Ok(()) => evidence.found() > before || is_rule(event, row.excused),
                Err(_) if is_fatal(event) => false,
                Err(UnexpectedEvent(seen)) => {
                    unexpected = Some(seen);
                    true
                }
            });
            let event = event.await.map_err(RebootError::NotDown)?;
            self.at = event.seq;
            if let Some(seen) = unexpected {
                return Err(other(row.to_string(), seen.to_string()));
            }
            if self.evidence.found() > before {
                self.cut = Some(event.console);
            }
        }
        // From here on it is about the next boot: the old one's console, which may still be judged, is past.
        if let Some(cut) = self.cut.filter(|_| self.evidence.complete()) {
            self.watch.forget_console_before(cut);
        }
        Ok(())
    }

    /// Give the guest an order, and wait for the first `expected` events of the row meanwhile: the connection can die with
    /// the machine, so that no answer comes, or long after.
    pub(super) async fn order(&mut self, session: &Session, command: &str, expected: usize) -> Result<(), RebootError> {
        let answer = tokio::select! {
            biased;
            seen = self.expect(expected), if expected > 0 => return seen,
            answer = session.ask(command, ASK_LIMIT) => answer,
        };
        match answer {
            // 255 is ssh's own: the connection broke.
            Ok(answer) if answer.code != 0 && answer.code != 255 => {
                let said = [answer.stderr.trim(), &masked(session).await].concat();
                return Err(RebootError::Refused { command: command.to_owned(), code: answer.code, said });
            }
            Ok(_) | Err(SshError::Login { .. } | SshError::TimedOut { .. }) => {}
            Err(error) => return Err(RebootError::Before(error)),
        }
        self.expect(expected).await
    }

    /// Run a QMP command.
    pub(super) async fn qmp(&self, what: &'static str, command: &str, arguments: Value) -> Result<(), RebootError> {
        let done = self.client.qmp(command, arguments, QMP_LIMIT).await;
        done.map(drop).map_err(|source| RebootError::Monitor { what, source })
    }

    /// Do what comes after the last expected event, while nothing else may happen to the machine.
    pub(super) async fn undisturbed<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Watch, &Deadline) -> Result<T, RebootError>,
    ) -> Result<T, RebootError> {
        // What the console says is for the work's own wait, which can find out whether it is so.
        let mut others = Watch::since(self.vm, self.at)?.deaf_to_the_console();
        let row = self.mode.row();
        let mut evidence = self.evidence.clone();
        let unexpected = async {
            let mut unexpected = None;
            let endless = Deadline::after(Duration::MAX);
            let next = others.event("nothing else", &endless, |event| {
                unexpected = evidence.take(event).err().filter(|_| !is_fatal(event));
                unexpected.is_some()
            });
            match (next.await, unexpected) {
                (Ok(_), Some(UnexpectedEvent(seen))) => other(row.to_string(), again(&evidence, &self.asked, &seen)),
                // What makes waiting pointless is told by the work's own wait, which knows what it waits for.
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            unexpected = unexpected => Err(unexpected),
            done = work(&mut self.watch, &self.deadline) => done,
        }
    }

    /// The whole of the evidence, judged once more from the asking to now.
    pub(super) fn conclude(&self) -> Result<Evidence, RebootError> {
        let row = self.mode.row();
        let mut evidence = Evidence::of(self.mode);
        for event in events_since(self.vm, self.asked.seq)? {
            evidence.take(&event).map_err(|UnexpectedEvent(seen)| other(row.to_string(), seen.to_string()))?;
        }
        match evidence.complete() {
            true => Ok(evidence.concluded()),
            false => Err(other(row.to_string(), told(evidence.seen()))),
        }
    }

    /// Whether the boot that was running after event `seq` was still the one at the asking.
    pub(super) fn same_boot(&self, seq: u64) -> Result<bool, RebootError> {
        let begins = |event: &Event| event.seq < self.asked.seq && console_cut(event).is_some();
        Ok(!events_since(self.vm, seq)?.iter().any(begins))
    }

    /// Where the new boot's console begins, if an event says so.
    pub(super) fn cut(&self) -> Option<u64> {
        self.cut
    }
}

/// Write a mark into the journal, and read it back: where it stands, when it was, and where the console stood.
pub(super) async fn mark(vm: &VmDir, what: &What) -> Result<Event, RebootError> {
    let noted = Client::new(vm).note(what).await;
    let seq = noted.map_err(|source| RebootError::Monitor { what: "write into the journal", source })?;
    let found = events_since(vm, seq - 1)?.into_iter().next();
    found.ok_or_else(|| other(format!("its mark {what:?}"), "a journal without it".into()))
}

/// What a mark says of a restart.
pub(super) fn terms(said: Value) -> Terms {
    Terms(said.as_object().cloned().unwrap_or_default())
}

pub(super) fn other(asked: String, saw: String) -> RebootError {
    RebootError::Other { asked, saw }
}

/// Which of the targets that restart a machine are masked. systemd's own word for an order that it refuses because of
/// that is "Access denied".
async fn masked(session: &Session) -> String {
    let question = "systemctl list-unit-files --state=masked --plain --no-legend \
                    reboot.target kexec.target soft-reboot.target halt.target poweroff.target";
    let Ok(answer) = session.ask(question, ASK_LIMIT).await else { return String::new() };
    let units: Vec<_> = answer.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    match units.is_empty() {
        true => String::new(),
        false => format!("; masked in the guest: {}", units.join(", ")),
    }
}

/// A further event after a restart's own. A machine that restarts by itself before it has settled is in a loop, as far as
/// can be seen.
fn again(evidence: &Evidence, asked: &Event, seen: &Seen) -> String {
    if !is_a_restart_of_its_own(seen) {
        return format!("then {seen}");
    }
    let own = evidence.last().map_or(asked.mono, |last| last.mono);
    let after_s = seen.mono - own;
    format!(
        "then {seen}, {after_s:.0} s later and before the machine had settled: it restarts again and again by itself"
    )
}

fn told(seen: &[Seen]) -> String {
    match seen.is_empty() {
        true => "nothing".into(),
        false => seen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn events_since(vm: &VmDir, seq: u64) -> Result<Vec<Event>, RebootError> {
    let mut events = read_all(&vm.events()).map_err(WaitError::Journal)?;
    events.retain(|event| event.seq > seq);
    Ok(events)
}

/// Whether an event is a match of the console rule that the mode brings about.
fn is_rule(event: &Event, rule: Option<&str>) -> bool {
    matches!(&event.what, What::ConsoleRule(matched) if rule == Some(matched.id.as_str()))
}

/// Events that a wait ends by itself, with an exit class of its own: the machine is lost, whatever was asked.
fn is_fatal(event: &Event) -> bool {
    matches!(event.what, What::GuestPanicked(_) | What::QemuExited(_))
}

#[cfg(test)]
mod tests;
