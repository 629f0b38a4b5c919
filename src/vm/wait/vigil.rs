//! A wait of a script's, which begins in the middle of things: what the journal has said before counts, too.
//!
//! A fatal of some time ago may have been cured since, by a reset, a power-cycle or a restore; so the journal is
//! read from its beginning, and only what still stands at its end makes a wait pointless.

use super::{FatalCondition, Tidings, WaitError, lost, timed_out};
use crate::console::rules::PANIC;
use crate::machine::VmDir;
use crate::monitor::events::{Event, RuleMatch, What, read_all};
use host::deadline::Deadline;
use std::time::Duration;

/// What a panic of the guest's kernel means for a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panic {
    /// This boot is lost, and the wait is about this boot.
    Ends,
    /// The machine may restart by itself (`kernel.panic`); only when the kernel says that it does not is it lost.
    MayRestart,
}

/// What stands in the way, as the journal tells it.
#[derive(Clone, Debug)]
pub struct Standing {
    panic: Panic,
    fatal: Option<FatalCondition>,
    /// What the console said of this boot that would be one, if it is confirmed.
    suspected: Vec<RuleMatch>,
}

impl Standing {
    /// Nothing yet.
    pub fn new(panic: Panic) -> Self {
        Self { panic, fatal: None, suspected: Vec::new() }
    }

    /// Take the next event.
    pub fn take(&mut self, event: &Event) {
        match &event.what {
            // No restart of the machine brings its network back, or empties the journal.
            What::Reset(_) | What::Boot(_) | What::Restore(_) | What::QemuStarted(_) => {
                self.suspected.clear();
                self.fatal = self
                    .fatal
                    .take()
                    .filter(|fatal| matches!(fatal, FatalCondition::NetworkBroken(_) | FatalCondition::Flooded(_)));
            }
            // On purpose: it is started again, or the monitor ends, too.
            What::QemuExited(exited) if exited.asked => {}
            What::QemuStartFailed(failed) => self.fatal = Some(FatalCondition::QemuGone(failed.why.clone())),
            What::GuestPanicked(_) if self.panic == Panic::MayRestart => {}
            What::ConsoleRule(matched) if self.panic == Panic::MayRestart && matched.id == PANIC => {}
            What::ConsoleRule(matched) if matched.fatal => self.suspected.push(matched.clone()),
            _ => self.fatal = self.fatal.take().or_else(|| FatalCondition::of(event)),
        }
    }

    /// It is so, and stays so until the machine begins anew.
    fn confirmed(&mut self, fatal: FatalCondition) -> FatalCondition {
        self.fatal.get_or_insert(fatal).clone()
    }

    /// What the console said since the machine began that makes waiting pointless, if it is confirmed.
    pub fn suspected(&self) -> &[RuleMatch] {
        &self.suspected
    }

    /// What makes waiting pointless now.
    pub fn fatal(&self) -> Option<&FatalCondition> {
        self.fatal.as_ref()
    }
}

/// A wait that races what it waits for against what stands in the way, and against a deadline.
#[derive(Debug)]
pub struct Vigil {
    tidings: Tidings,
    what: String,
    deadline: Deadline,
    standing: Standing,
    /// The last event that was seen.
    last: u64,
    /// The kinds of events that came since the beginning.
    kinds: Vec<String>,
}

impl Vigil {
    /// Begin to wait for `what`. The events so far come with it: what is waited for may be among them.
    pub fn begin(vm: &VmDir, what: &str, limit: Duration, panic: Panic) -> Result<(Self, Vec<Event>), WaitError> {
        let events = read_all(&vm.events()).map_err(WaitError::Journal)?;
        let mut standing = Standing::new(panic);
        events.iter().for_each(|event| standing.take(event));
        let last = events.last().map_or(0, |event| event.seq);
        let mut tidings = Tidings::since(vm, last)?;
        let deadline = Deadline::after(limit);
        standing.suspected().iter().for_each(|matched| tidings.suspects.add(vm, matched));
        let vigil = Self { tidings, what: what.to_owned(), deadline, standing, last, kinds: Vec::new() };
        Ok((vigil, events))
    }

    /// The number of the last event that was seen.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The time that is left, and that was spent.
    pub fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// Wait for an event from now on.
    pub async fn event(&mut self, wanted: impl Fn(&Event) -> bool) -> Result<Event, WaitError> {
        loop {
            let event = self.next().await?;
            if wanted(&event) {
                return Ok(event);
            }
        }
    }

    /// Do some work, unless it takes too long or makes no sense any more; `last` tells how far it came.
    pub async fn race<T>(&mut self, last: impl Fn() -> String, work: impl Future<Output = T>) -> Result<T, WaitError> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                event = self.next() => match event {
                    Ok(_) => {}
                    Err(WaitError::TimedOut { what, waited, console, .. }) => {
                        return Err(WaitError::TimedOut { what, waited, last: last(), console });
                    }
                    Err(error) => return Err(error),
                },
            }
        }
    }

    /// The next event, unless the machine is lost or the time is up. It may be dropped and called again.
    async fn next(&mut self) -> Result<Event, WaitError> {
        if let Some(fatal) = self.standing.fatal() {
            return Err(self.ended_by(fatal.clone()));
        }
        let next = tokio::select! {
            biased;
            next = self.tidings.next() => next?,
            () = tokio::time::sleep(self.deadline.left()) => {
                return Err(timed_out(&self.tidings.vm, &self.what, self.told(), &self.deadline));
            }
        };
        match next {
            Ok(event) => {
                self.take(&event);
                Ok(event)
            }
            Err(fatal) => {
                let fatal = self.standing.confirmed(fatal);
                Err(self.ended_by(fatal))
            }
        }
    }

    fn ended_by(&self, fatal: FatalCondition) -> WaitError {
        lost(&self.tidings.vm, &self.what, fatal, &self.deadline)
    }

    fn take(&mut self, event: &Event) {
        let before = self.standing.suspected().len();
        self.standing.take(event);
        let Tidings { vm, suspects, .. } = &mut self.tidings;
        suspects.take(&event.what);
        self.standing.suspected().iter().skip(before).for_each(|matched| suspects.add(vm, matched));
        self.last = event.seq;
        if !self.kinds.iter().any(|kind| kind == event.kind()) {
            self.kinds.push(event.kind().to_owned());
        }
    }

    fn told(&self) -> String {
        match self.kinds.is_empty() {
            true => "no event at all".into(),
            false => format!("other events only ({})", self.kinds.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::rules::PANIC_HALT;
    use crate::wait::suspect::fatal;
    use serde_json::{Value, json};

    /// What stands at the end of these events, a suspicion of the console's included.
    fn standing(panic: Panic, events: &[(&str, Value)]) -> Option<FatalCondition> {
        let mut standing = Standing::new(panic);
        for (kind, data) in events {
            standing.take(&Event::sample(1, 0.0, kind, data));
        }
        standing.fatal().cloned().or_else(|| standing.suspected().first().map(fatal))
    }

    fn rule(id: &str) -> (&'static str, Value) {
        ("console-rule", json!({"id": id, "fatal": true, "line": "x"}))
    }

    #[test]
    fn a_fatal_condition_stands_until_the_machine_begins_anew() {
        let emergency = rule("emergency-mode");
        assert!(standing(Panic::Ends, &[emergency.clone(), ("RTC_CHANGE", Value::Null)]).is_some());
        for cure in ["RESET", "boot", "restore", "qemu-started"] {
            assert_eq!(standing(Panic::Ends, &[emergency.clone(), (cure, Value::Null)]), None, "{cure}");
        }
    }

    #[test]
    fn a_broken_network_is_named_and_no_restart_brings_it_back() {
        let broken = ("network-broken", json!({"why": "dnsmasq ended with signal: 9 (SIGKILL)"}));
        let fatal = standing(Panic::MayRestart, &[broken, ("RESET", Value::Null), ("boot", Value::Null)]);
        assert_eq!(fatal, Some(FatalCondition::NetworkBroken("dnsmasq ended with signal: 9 (SIGKILL)".into())));
    }

    #[test]
    fn the_first_fatal_condition_is_the_one_reported() {
        let first = standing(Panic::Ends, &[rule("root-mount"), rule("initramfs-shell")]);
        assert!(matches!(first, Some(FatalCondition::Console { rule, .. }) if rule == "root-mount"));
    }

    #[test]
    fn a_power_cycle_is_no_end_and_a_start_that_failed_is() {
        let killed = |asked| ("qemu-exited", json!({"asked": asked, "status": "signal: 9 (SIGKILL)"}));
        assert_eq!(standing(Panic::Ends, &[killed(true)]), None);
        assert!(matches!(standing(Panic::Ends, &[killed(false)]), Some(FatalCondition::QemuGone(_))));
        let failed = ("qemu-start-failed", json!({"why": "no such disk"}));
        assert_eq!(
            standing(Panic::Ends, &[killed(true), failed]),
            Some(FatalCondition::QemuGone("no such disk".into()))
        );
    }

    #[test]
    fn a_panic_ends_a_wait_for_this_boot_and_one_for_the_next_only_when_none_will_come() {
        let panicked = [("GUEST_PANICKED", Value::Null), rule(PANIC)];
        assert!(standing(Panic::Ends, &panicked).is_some());
        assert_eq!(standing(Panic::MayRestart, &panicked), None);
        let halted = standing(Panic::MayRestart, &[&panicked[..], &[rule(PANIC_HALT)]].concat());
        assert!(matches!(halted, Some(FatalCondition::Console { rule, .. }) if rule == PANIC_HALT));
    }

    #[test]
    fn an_allowed_rule_stands_in_nobodys_way() {
        let allowed = ("console-rule", json!({"id": "emergency-mode", "fatal": false, "allowed": "a test"}));
        assert_eq!(standing(Panic::Ends, &[allowed]), None);
    }
}
