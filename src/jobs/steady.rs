//! Nothing between a proof and the verdict may restart the machine unseen.

use super::run::Run;
use crate::failure::{Exit, Failure};
use crate::machine::VmDir;
use crate::monitor::events::{Event, monotonic, read_all};
use crate::names::BootId;
use crate::reboot::{Proof, Restart, Seen};
use crate::ssh::Session;
use crate::verdict::{ALIVE, Unproved};
use std::time::{Duration, UNIX_EPOCH};

/// How long the login may take.
const LOGIN: Duration = Duration::from_secs(60);
/// How long the question who runs may take.
const ASK: Duration = Duration::from_secs(20);
/// How often it is looked whether the machine was restarted, while its time runs.
const PERIOD: Duration = Duration::from_secs(1);
/// A firmware resets the machine once more before it boots, this soon at the latest.
const FIRMWARE_S: f64 = 2.0;

/// Everything after an event that restarted the machine or ended it. A `guest-reset` right after a reset, before
/// anything was booted, is the firmware's.
pub fn restarts_since(events: &[Event], seq: u64) -> Vec<Seen> {
    let mut seen: Vec<Seen> = Vec::new();
    let mut reset: Option<f64> = None;
    for event in events.iter().filter(|event| event.seq > seq) {
        let kernel = event.kind == "boot" && event.data["kernel"] == true;
        let reason = match event.kind.as_str() {
            "RESET" | "SHUTDOWN" => event.text("reason"),
            "GUEST_PANICKED" | "WATCHDOG" => event.text("action"),
            "restore" => event.text("snapshot"),
            "qemu-started" => None,
            "boot" if kernel => Some("without a RESET"),
            "boot" => {
                reset = None;
                continue;
            }
            _ => continue,
        };
        let again = event.kind == "RESET" && reason == Some("guest-reset");
        if again && reset.take().is_some_and(|at| event.mono - at < FIRMWARE_S) {
            continue;
        }
        reset = (event.kind == "RESET").then_some(event.mono);
        let (kind, reason) = (event.kind.clone(), reason.map(str::to_owned));
        seen.push(Seen { seq: event.seq, mono: event.mono, kind, reason, firmware: false });
    }
    seen
}

/// The last event that a restart's own proof has judged: all up to the moment at which it had settled.
fn judged_until(restart: &Restart, events: &[Event]) -> u64 {
    let own = restart.evidence.iter().map(|seen| seen.seq).max().unwrap_or(0).max(restart.asked_seq);
    let settled = settled_mono(restart);
    let before = events.iter().filter(|event| event.mono <= settled).map(|event| event.seq).max();
    before.unwrap_or(0).max(own)
}

fn settled_mono(restart: &Restart) -> f64 {
    restart.asked_mono + restart.settled_s
}

/// What restarted it, each with its time.
fn told(seen: &[Seen], events: &[Event], restart: Option<&Restart>) -> String {
    let one = |seen: &Seen| {
        let wall = events.iter().find(|event| event.seq == seen.seq).map_or(0.0, |event| event.wall);
        let wall = UNIX_EPOCH + Duration::try_from_secs_f64(wall).unwrap_or_default();
        let after = restart.map(|restart| format!(", {:.0} s after it had settled", seen.mono - settled_mono(restart)));
        format!("{seen} at {}{}", humantime::format_rfc3339_seconds(wall), after.unwrap_or_default())
    };
    seen.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Who runs, and how often its userspace was started anew.
async fn who_runs(session: &Session) -> Result<(BootId, Option<u32>), Failure> {
    let ask = "cat /proc/sys/kernel/random/boot_id; systemctl show -p SoftRebootsCount --value";
    let text = session.must(ask, ASK).await?;
    let (boot_id, count) = text.split_once('\n').unwrap_or((&text, ""));
    let boot_id = boot_id.parse().map_err(|e| Failure::new(Exit::Lost, format!("cannot read the boot id: {e}")))?;
    Ok((boot_id, count.trim().parse().ok()))
}

/// What is different from the boot that was proved.
fn other_boot(restart: &Restart, boot_id: &BootId, soft_reboots: Option<u32>) -> Option<String> {
    if boot_id != restart.boot_id() {
        return Some(format!("the boot id was {} and is {boot_id}", restart.boot_id()));
    }
    let proved = match &restart.proof {
        Proof::Reboot(_) => 0,
        Proof::SoftReboot(proof) => proof.count(),
    };
    let count = soft_reboots.filter(|count| *count != proved)?;
    Some(format!("SoftRebootsCount was {proved} and is {count}, with the same boot id"))
}

fn events(vm: &VmDir) -> Result<Vec<Event>, Failure> {
    Ok(read_all(&vm.events())?)
}

impl Run<'_> {
    /// The last event that the proved restart has judged; without one, the last event.
    pub fn judged_until(&self, restart: Option<&Restart>) -> Result<u64, Failure> {
        let events = events(&self.vm)?;
        let last = events.last().map_or(0, |event| event.seq);
        Ok(restart.map_or(last, |restart| judged_until(restart, &events)))
    }

    /// Whether what runs is still what was proved; if not, the proof goes. The last event that was looked at.
    pub async fn still_proved(&mut self) -> Result<u64, Failure> {
        let events = events(&self.vm)?;
        let last = events.last().map_or(0, |event| event.seq);
        let Some(restart) = self.record.reboot.clone() else { return Ok(last) };
        let restarts = restarts_since(&events, judged_until(&restart, &events));
        let said = match restarts.is_empty() {
            false => Some(told(&restarts, &events, Some(&restart))),
            true => {
                let session = self.ssh()?.session(LOGIN).await?;
                let (boot_id, soft_reboots) = who_runs(&session).await?;
                other_boot(&restart, &boot_id, soft_reboots)
            }
        };
        if let Some(said) = said {
            self.ctx.progress.note(&format!("the last proof no longer holds: {said}"));
            self.changes(Unproved::Restarted { restarts, said })?;
        }
        Ok(last)
    }

    /// Do what comes between an event and the verdict. A restart meanwhile comes before all else that was seen: most of
    /// it will have come of that.
    pub async fn undisturbed<T>(
        &mut self,
        since: u64,
        restart: Option<&Restart>,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let done = work(self).await;
        if done.as_ref().is_err_and(|failure| matches!(failure.exit, Exit::Interrupted | Exit::Guest)) {
            return done;
        }
        let events = events(&self.vm)?;
        let seen = restarts_since(&events, since);
        if seen.is_empty() {
            return done;
        }
        let what =
            format!("{} was restarted while it was looked at: {}", self.plan.host, told(&seen, &events, restart));
        self.record.restarts = seen;
        let mut failure =
            Failure::new(Exit::Verify, what).next("the console of its last boots says why: console/boot-N.log");
        failure.chain.extend(done.err().into_iter().flat_map(|failure| failure.chain));
        Err(failure)
    }

    /// See that the boot that was proved is still there, when it has had the time to restart itself.
    pub async fn seen_alive(&mut self, restart: &Restart) -> Result<(), Failure> {
        self.phase("watch", async |run| {
            let settled = settled_mono(restart);
            let since = run.judged_until(Some(restart))?;
            let passes = async {
                while monotonic() - settled < ALIVE.as_secs_f64() && restarts_since(&events(&run.vm)?, since).is_empty()
                {
                    tokio::time::sleep(PERIOD).await;
                }
                let session = run.ssh()?.session(LOGIN).await?;
                who_runs(&session).await
            };
            let (boot_id, soft_reboots) = run.watch()?.unless_lost("the guest to stay up", passes).await?;
            if let Some(other) = other_boot(restart, &boot_id, soft_reboots) {
                let what = format!("{} was restarted after its proved restart: {other}", run.plan.host);
                return Err(Failure::new(Exit::Verify, what).next("its journal and its console say why"));
            }
            let seconds = monotonic() - settled;
            run.record.alive_s = Some(seconds);
            Ok(((), format!("the same boot, {seconds:.0} s after it had settled")))
        })
        .await
    }

    /// Something is about to be done to the machine by which the last proof ends. That is kept before it is done: a command
    /// that is killed half way must not leave the old proof behind.
    pub fn changes(&mut self, why: Unproved) -> Result<(), Failure> {
        self.record.changed(why);
        self.record.save(&self.vm)?;
        // A run that has not ended has no result; one that had must not keep it.
        if self.record.run.join("result.json").exists() {
            self.record.publish()?;
        }
        Ok(())
    }

    /// Run the playbooks; from now on it is another state.
    pub async fn apply_anew(&mut self) -> Result<(), Failure> {
        self.record.applied = Some(false);
        self.changes(Unproved::Applied)?;
        self.apply().await?;
        self.record.applied = Some(true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::events::Source;
    use serde_json::{Value, json};

    fn journal(kinds: &[(&str, f64, Value)]) -> Vec<Event> {
        let event = |(n, (kind, mono, data)): (usize, &(&str, f64, Value))| Event {
            seq: n as u64 + 1,
            wall: 1_800_000_000.0 + mono,
            mono: *mono,
            source: Source::Qmp,
            kind: (*kind).to_owned(),
            console: 0,
            data: data.clone(),
        };
        kinds.iter().enumerate().map(event).collect()
    }

    fn restart() -> Restart {
        crate::verdict::restart_for_tests()
    }

    fn reset(reason: &str) -> Value {
        json!({ "reason": reason })
    }

    #[test]
    fn whatever_restarts_or_ends_the_machine_is_seen() {
        for (kind, data) in [
            ("RESET", reset("guest-reset")),
            ("RESET", reset("host-qmp-system-reset")),
            ("SHUTDOWN", reset("guest-shutdown")),
            ("boot", json!({"n": 2, "offset": 9, "kernel": true})),
            ("qemu-started", json!({"pid": 7})),
            ("restore", json!({"snapshot": "applied"})),
            ("GUEST_PANICKED", json!({"action": "run"})),
            ("WATCHDOG", json!({"action": "reset"})),
        ] {
            let events = journal(&[("x", 1.0, Value::Null), (kind, 2.0, data)]);
            assert_eq!(restarts_since(&events, 1).len(), 1, "{kind}");
            assert!(restarts_since(&events, 2).is_empty(), "{kind}: it is before");
        }
        let harmless = journal(&[("boot", 1.0, json!({"n": 2, "offset": 9})), ("fault", 2.0, Value::Null)]);
        assert!(restarts_since(&harmless, 0).is_empty());
    }

    #[test]
    fn only_the_firmwares_own_reset_is_excused() {
        let by_us = ("RESET", 10.0, reset("host-qmp-system-reset"));
        let again = |mono| ("RESET", mono, reset("guest-reset"));
        let boot = ("boot", 10.5, json!({"n": 2, "offset": 9}));
        assert_eq!(restarts_since(&journal(&[by_us.clone(), again(10.1)]), 0).len(), 1);
        assert_eq!(restarts_since(&journal(&[by_us.clone(), again(12.5)]), 0).len(), 2, "too late for a firmware");
        assert_eq!(restarts_since(&journal(&[by_us.clone(), boot, again(10.9)]), 0).len(), 2, "after a boot");
        assert_eq!(restarts_since(&journal(&[by_us, again(10.1), again(10.2)]), 0).len(), 2, "once only");
    }

    #[test]
    fn what_comes_after_the_restart_had_settled_is_not_its_own() {
        // Asked at 100 s (event 10), settled 30 s later.
        let mut events = journal(&[]);
        for (seq, mono) in [(11, 101.0), (12, 129.0), (13, 150.0)] {
            events.push(Event { seq, ..journal(&[("RESET", mono, reset("guest-reset"))]).remove(0) });
        }
        assert_eq!(judged_until(&restart(), &events), 12);
        let seen = restarts_since(&events, 12);
        assert_eq!(seen.len(), 1);
        let said = told(&seen, &events, Some(&restart()));
        assert_eq!(said, "RESET guest-reset (event 13) at 2027-01-15T08:02:30Z, 20 s after it had settled");
        assert_eq!(judged_until(&restart(), &[]), 11, "its own evidence never counts against it");
    }

    #[test]
    fn another_boot_or_userspace_is_not_the_one_that_was_proved() {
        let restart = restart();
        let same = restart.boot_id().clone();
        assert_eq!(other_boot(&restart, &same, Some(0)), None);
        assert_eq!(other_boot(&restart, &same, None), None, "a systemd that does not count");
        assert!(other_boot(&restart, &same, Some(1)).unwrap().contains("SoftRebootsCount"));
        let other: BootId = "1f1e2b1c-8f0e-4f0e-9d59-3a4b5c6d7e8f".parse().unwrap();
        assert!(other_boot(&restart, &other, Some(0)).unwrap().contains("1f1e2b1c"));
    }
}
