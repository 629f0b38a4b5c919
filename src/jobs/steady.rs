//! Nothing between a proof and the verdict may restart the machine unseen.

use super::observe::{Compared, once_more};
use super::run::{Run, Said};
use evidence::record::Step;
use evidence::verdict::Unproved;
use host::deadline::Deadline;
use host::failure::{Exit, Failure};
use host::names::BootId;
use std::time::{Duration, UNIX_EPOCH};
use vm::handle::Vm;
use vm::monitor::events::{Event, monotonic};
use vm::reboot::{self, Proof, Restart, Seen, restarts_since};
use vm::ssh::Session;

/// How long the login may take.
const LOGIN: Duration = Duration::from_secs(60);
/// How long a shutdown may take: systemd gives each unit 90 s to stop.
const SHUTDOWN: Duration = Duration::from_secs(120);
/// How long a guest that is up may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How often it is looked whether the machine was restarted, while its time runs.
const PERIOD: Duration = Duration::from_secs(1);

/// The last event that a restart's own proof has judged: all up to the moment at which it had settled.
fn judged_until(restart: &Restart, events: &[Event]) -> u64 {
    let own = restart.evidence.iter().map(|seen| seen.seq).max().unwrap_or(0).max(restart.asked_seq);
    let settled = restart.settled_mono();
    let before = events.iter().filter(|event| event.mono <= settled).map(|event| event.seq).max();
    before.unwrap_or(0).max(own)
}

/// What restarted it, each with its time.
fn told(seen: &[Seen], events: &[Event], restart: Option<&Restart>) -> String {
    let one = |seen: &Seen| {
        let wall = events.iter().find(|event| event.seq == seen.seq).map_or(0.0, |event| event.wall);
        let wall = UNIX_EPOCH + Duration::try_from_secs_f64(wall).unwrap_or_default();
        let after =
            restart.map(|restart| format!(", {:.0} s after it had settled", seen.mono - restart.settled_mono()));
        format!("{seen} at {}{}", humantime::format_rfc3339_seconds(wall), after.unwrap_or_default())
    };
    seen.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Who runs, and how often its userspace was started anew.
async fn who_runs(session: &Session) -> Result<(BootId, Option<u32>), Failure> {
    let identity = reboot::identity(session).await?;
    let identity = identity.map_err(|e| Failure::new(Exit::Lost, format!("cannot read the boot id: {e}")))?;
    Ok((identity.boot_id, identity.soft_reboots))
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

impl Run<'_> {
    /// The last event that the proved restart has judged; without one, the last event.
    pub fn judged_until(&self, restart: Option<&Restart>) -> Result<u64, Failure> {
        let events = self.vm().events()?;
        let last = events.last().map_or(0, |event| event.seq);
        Ok(restart.map_or(last, |restart| judged_until(restart, &events)))
    }

    /// Whether what runs is still what was proved; if not, the proof goes. The last event that was looked at.
    pub async fn still_proved(&mut self) -> Result<u64, Failure> {
        let events = self.vm().events()?;
        let last = events.last().map_or(0, |event| event.seq);
        let Some(restart) = self.record().reboot.clone() else { return Ok(last) };
        let restarts = restarts_since(&events, judged_until(&restart, &events));
        let said = match restarts.is_empty() {
            false => Some(told(&restarts, &events, Some(&restart))),
            true => {
                let session = self.vm().session(LOGIN).await?;
                let (boot_id, soft_reboots) = who_runs(&session).await?;
                other_boot(&restart, &boot_id, soft_reboots)
            }
        };
        if let Some(said) = said {
            self.progress().note(&format!("the last proof no longer holds: {said}"));
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
        let seen = match done.as_ref().is_err_and(|failure| failure.exit == Exit::Lost) {
            true => super::stop::or_stopped(going_down(self.vm(), since)).await?,
            false => restarts_since(&self.vm().events()?, since),
        };
        if seen.is_empty() {
            return done;
        }
        let events = self.vm().events()?;
        let host = self.vm().host();
        let what = format!("{host} was restarted while it was looked at: {}", told(&seen, &events, restart));
        self.keep(Step::Restarts(seen));
        let mut failure =
            Failure::new(Exit::Verify, what).next("the console of its last boots says why: console/boot-N.log");
        failure.chain.extend(done.err().into_iter().flat_map(|failure| failure.chain));
        Err(failure)
    }

    /// See that the boot that was proved is still there, when it has had the time to restart itself; and what has failed
    /// meanwhile, or is started again and again.
    pub async fn seen_alive(&mut self, restart: &Restart, compared: Option<Compared>) -> Result<(), Failure> {
        let since = self.judged_until(Some(restart))?;
        let (mut alive, mut again) = (None, None);
        let watched = self.phase("watch", async |run| {
            let seconds = alive_for(run.vm(), restart, since, run.watch_for()).await?;
            alive = Some(seconds);
            let same = format!("the same boot, {seconds:.0} s after it had settled");
            let Some(compared) = &compared else { return Ok(((), Said::from(same))) };
            let (across, Said { text, ok }) = once_more(run, compared).await?;
            again = Some(across);
            Ok(((), Said { text: format!("{same}; {text}"), ok }))
        });
        let watched = watched.await;
        alive.into_iter().for_each(|seconds| self.keep(Step::Alive(seconds)));
        again.into_iter().for_each(|across| self.keep(Step::State(Box::new(across))));
        watched
    }
}

/// Wait until the time since the restart has passed, and see that the same boot is there: the seconds that have passed.
async fn alive_for(vm: &Vm, restart: &Restart, since: u64, watch: Duration) -> Result<f64, Failure> {
    let settled = restart.settled_mono();
    let passes = async {
        while monotonic() - settled < watch.as_secs_f64() && restarts_since(&vm.events()?, since).is_empty() {
            tokio::time::sleep(PERIOD).await;
        }
        // A login of its own: that one is still possible is a part of what is seen here.
        let session = vm.kept().share(vm.ssh()?.session(LOGIN).await?);
        who_runs(&session).await
    };
    let (boot_id, soft_reboots) = vm.watch()?.unless_lost("the guest to stay up", passes).await?;
    if let Some(other) = other_boot(restart, &boot_id, soft_reboots) {
        let what = format!("{} was restarted after its proved restart: {other}", vm.host());
        return Err(Failure::new(Exit::Verify, what).next("its journal and its console say why"));
    }
    Ok(monotonic() - settled)
}

/// What restarts a guest that could not be reached any more. sshd goes early in a shutdown, and what restarts the
/// machine shows at its end.
async fn going_down(vm: &Vm, since: u64) -> Result<Vec<Seen>, Failure> {
    let deadline = Deadline::after(SHUTDOWN);
    loop {
        let seen = restarts_since(&vm.events()?, since);
        if !seen.is_empty() || deadline.passed() || is_up(vm).await {
            return Ok(seen);
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Whether the guest answers, and is not on its way down.
async fn is_up(vm: &Vm) -> bool {
    let Ok(ssh) = vm.ssh() else { return false };
    let Ok(session) = ssh.session(ANSWER).await else { return false };
    let answer = session.ask("systemctl is-system-running", ANSWER).await;
    answer.is_ok_and(|answer| !matches!(answer.stdout.trim(), "" | "stopping"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reset(seq: u64, mono: f64) -> Event {
        let wall = 1_800_000_000.0 + mono;
        let data = json!({"guest": true, "reason": "guest-reset"});
        let event = json!({"seq": seq, "wall": wall, "mono": mono, "source": "qmp", "kind": "RESET", "data": data});
        serde_json::from_value(event).unwrap()
    }

    fn restart() -> Restart {
        evidence::testing::restart()
    }

    #[test]
    fn what_comes_after_the_restart_had_settled_is_not_its_own() {
        // Asked at 100 s (event 10), settled 30 s later.
        let events = [(11, 101.0), (12, 129.0), (13, 150.0)].map(|(seq, mono)| reset(seq, mono));
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
