//! Waiting for one condition, as scripts do between two commands.

use host::deadline::PROBE_PERIOD;
use host::failure::{Exit, Failure};
use host::names::BootId;
use regex::Regex;
use serde::Serialize;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::time::Duration;
use vm::console::follow::Follow;
use vm::fault::{InForce, in_force};
use vm::handle::Vm;
use vm::monitor::events::Event;
use vm::network::lease;
use vm::ready;
use vm::reboot::boot_id;
use vm::ssh::{Session, Ssh};
use vm::wait::condition::{Condition, EventPattern};
use vm::wait::vigil::{Panic, Vigil};
use vm::wait::{WaitError, Watch};

/// A login that takes longer than this is tried again.
const LOGIN_LIMIT: Duration = Duration::from_secs(30);
/// The console's own words for a fatal are written before the fatal is: this long they may take to be read.
const GRACE: Duration = Duration::from_millis(200);

/// What was waited for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Waited {
    /// The condition, as it was asked for.
    pub condition: String,
    /// The event from which a next wait goes on: the one that was seen, or the last one before what was seen.
    pub since: u64,
    /// How long it took, in seconds.
    pub waited_s: f64,
    /// What was seen.
    pub saw: Value,
}

/// Wait until a condition holds, for at most `limit`. With `since`, what has happened after that event counts,
/// too; without it, only what happens from now on.
pub async fn wait(vm: &Vm, condition: &Condition, since: Option<u64>, limit: Duration) -> Result<Waited, Failure> {
    let panic = match condition {
        Condition::Ssh | Condition::Lease | Condition::Settled => Panic::Ends,
        Condition::Event(_) | Condition::Console(_) | Condition::BootIdChanged(_) => Panic::MayRestart,
    };
    let (vigil, events) = Vigil::begin(vm.dir(), &format!("waiting for {condition}"), limit, panic)?;
    let since = start(condition, since, vigil.last())?;
    let waiter = Waiter { vm, vigil, events, since };
    waiter.wait(condition).await.map_err(|failure| with_faults(vm, failure))
}

/// A machine that a fault holds up is not slow.
fn with_faults(vm: &Vm, failure: Failure) -> Failure {
    let events = match vm.events() {
        Ok(events) => events,
        // What did not come is the failure; that nothing is known of faults belongs to it.
        Err(error) if failure.next.is_none() => {
            return failure.next(format!("whether a fault is in force is not known: {}", Failure::from(error)));
        }
        Err(_) => return failure,
    };
    let faults = in_force(&events);
    let told = |InForce { fault, seq }: &InForce| {
        format!("{fault} is in force since event {seq} (`boma-qemu fault HOST {}` undoes it)", fault.opposite())
    };
    match faults.is_empty() || failure.next.is_some() {
        true => failure,
        false => failure.next(faults.iter().map(told).collect::<Vec<_>>().join("; ")),
    }
}

/// From which event on it counts.
fn start(condition: &Condition, since: Option<u64>, last: u64) -> Result<Option<u64>, Failure> {
    let refuse = |why: String, next: &str| Err(Failure::new(Exit::Usage, why).next(next));
    match since {
        Some(seq) if seq > last => {
            refuse(format!("--since {seq}: the journal ends at event {last}"), "`boma-qemu events` shows its numbers")
        }
        Some(_) if !condition.happens() => refuse(
            format!("--since makes no sense with {condition}: it is about how the machine is, not about what happened"),
            "to tell a new boot from the old one, wait for boot-id-changed=OLD-ID",
        ),
        since => Ok(since),
    }
}

/// One wait.
struct Waiter<'a> {
    vm: &'a Vm,
    vigil: Vigil,
    /// The journal when the wait began.
    events: Vec<Event>,
    since: Option<u64>,
}

impl Waiter<'_> {
    async fn wait(mut self, condition: &Condition) -> Result<Waited, Failure> {
        let saw = match condition {
            Condition::Event(pattern) => self.event(pattern).await?,
            Condition::Console(pattern) => self.console(pattern).await?,
            Condition::Lease => self.lease().await?,
            Condition::Ssh => {
                let (_, id) = self.login().await?;
                json!({ "boot_id": id })
            }
            Condition::Settled => self.settled().await?,
            Condition::BootIdChanged(from) => self.boot_id_changed(from.as_ref()).await?,
        };
        let waited_s = self.vigil.deadline().waited().as_secs_f64();
        let since = saw["seq"].as_u64().unwrap_or(self.vigil.last());
        Ok(Waited { condition: condition.to_string(), since, waited_s, saw })
    }

    async fn event(&mut self, pattern: &EventPattern) -> Result<Value, Failure> {
        let since = self.since.unwrap_or(u64::MAX);
        let event = match self.events.iter().find(|event| event.seq > since && pattern.matches(event)) {
            Some(event) => event.clone(),
            None => self.vigil.event(|event| pattern.matches(event)).await?,
        };
        Ok(serde_json::to_value(event).unwrap_or_default())
    }

    /// What the console says from the byte on where it stood at the event.
    async fn console(&mut self, pattern: &Regex) -> Result<Value, Failure> {
        let log = self.vm.dir().console();
        let read =
            |source: std::io::Error| Failure::new(Exit::Lost, format!("cannot read the console {log}: {source}"));
        let end = || std::fs::metadata(&log).map(|meta| meta.len());
        let from = match self.since {
            None => end().map_err(read)?,
            Some(seq) => self.events.iter().find(|event| event.seq == seq).map_or(0, |event| event.console),
        };
        let mut console = Follow::open(&log, from).map_err(read)?;
        let fits = |text: &str| pattern.is_match(text);
        let line = self.vigil.race(|| "no such line".into(), console.line(fits)).await;
        let line = match line {
            Err(fatal @ WaitError::Fatal { .. }) => match tokio::time::timeout(GRACE, console.line(fits)).await {
                Ok(line) => line,
                Err(_) => return Err(fatal.into()),
            },
            other => other?,
        }
        .map_err(read)?;
        // What the line brought with it comes after the last event before it.
        let events = self.vm.events()?;
        let seq = events.iter().take_while(|event| event.console <= line.offset).last().map_or(0, |event| event.seq);
        Ok(json!({ "seq": seq, "line": line.text, "offset": line.offset, "kernel": line.kernel }))
    }

    async fn lease(&mut self) -> Result<Value, Failure> {
        let (path, mac) = (self.vm.leases(), &self.vm.end().mac);
        let event = self.since.and_then(|seq| self.events.iter().find(|event| event.seq == seq));
        // The file has whole seconds only: one that was given in the event's own second is not told from an old one.
        let after = event.map(|event| event.wall as u64);
        let fits = |lease: &lease::Lease| match (after, lease.given()) {
            (Some(after), given) => given.is_some_and(|given| given > after),
            (None, _) => true,
        };
        let last = || match (lease::find(&path, mac), after) {
            (Some(lease), Some(_)) => format!("the lease of {} is older than that event", lease.ip),
            (Some(lease), None) => format!("a lease of {}", lease.ip),
            (None, _) => format!("{} has no lease", mac),
        };
        let lease = self.vigil.race(last, lease::wait_for(&path, mac, fits)).await?;
        Ok(json!({ "ip": lease.ip, "until": lease.until, "given": lease.given() }))
    }

    /// A login, and the boot that it is in.
    async fn login(&mut self) -> Result<(Session, BootId), Failure> {
        let ssh = self.vm.ssh()?;
        self.probe(async || attempt(&ssh).await).await
    }

    /// A login to another boot than `old`, or than the one of now.
    async fn boot_id_changed(&mut self, old: Option<&BootId>) -> Result<Value, Failure> {
        let ssh = self.vm.ssh()?;
        let before = match old {
            Some(id) => id.clone(),
            None => {
                let now = self.vigil.race(|| "no login yet".into(), attempt(&ssh)).await?;
                now.map(|(_, id)| id).map_err(unknown_before)?
            }
        };
        let changed = async || match attempt(&ssh).await? {
            (_, id) if id == before => Err(format!("the boot id is still {id}")),
            (_, id) => Ok(id),
        };
        let after = self.probe(changed).await?;
        Ok(json!({ "before": before, "after": after }))
    }

    async fn settled(&mut self) -> Result<Value, Failure> {
        let (session, id) = self.login().await?;
        let mut watch = Watch::since(self.vm.dir(), self.vigil.last())?;
        let ssh = self.vm.ssh()?;
        let (_, settled) = ready::settle(&ssh, session, &mut watch, self.vigil.deadline()).await?;
        let mut saw = serde_json::to_value(settled).unwrap_or_default();
        saw["boot_id"] = json!(id);
        Ok(saw)
    }

    /// Probe until it answers.
    async fn probe<T>(&mut self, mut probe: impl AsyncFnMut() -> Result<T, String>) -> Result<T, Failure> {
        let last = RefCell::new(String::from("none yet: ssh is still trying"));
        let work = async {
            loop {
                match probe().await {
                    Ok(found) => return found,
                    Err(why) => last.replace(why),
                };
                tokio::time::sleep(PROBE_PERIOD).await;
            }
        };
        Ok(self.vigil.race(|| last.borrow().clone(), work).await?)
    }
}

async fn attempt(ssh: &Ssh) -> Result<(Session, BootId), String> {
    let session = ssh.session(LOGIN_LIMIT).await.map_err(|e| e.to_string())?;
    let id = boot_id(&session).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    Ok((session, id))
}

fn unknown_before(why: String) -> Failure {
    Failure::new(Exit::Lost, format!("the boot id of now cannot be read: {why}")).next(
        "read it before the machine goes down, and give it: \
         boot-id-changed=$(boma-qemu ssh HOST -- cat /proc/sys/kernel/random/boot_id)",
    )
}
