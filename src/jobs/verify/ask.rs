//! Asking probes: all that are still open together, again and again until each has come true or its time is over. What was
//! seen last is what is told.

use crate::checks::network::{self, Asked, Seen};
use crate::checks::probe::Probe;
use crate::checks::{Question, Verdict, guest, judge};
use crate::jobs::bring_up::own_exe;
use evidence::playbook::checks::Check;
use host::failure::{Failure, with_causes};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use vm::handle::Vm;
use vm::network::Network;
use vm::ssh::{Kept, Ssh};

/// How long lies between two rounds.
const PERIOD: Duration = Duration::from_millis(500);
/// How long one look from outside may take: an emulated CPU needs some for a handshake.
const LOOK: Duration = Duration::from_secs(10);
/// How long a login may take.
const LOGIN: Duration = Duration::from_secs(30);

/// What probes are asked by.
pub struct Ways {
    /// This program.
    pub exe: String,
    /// What enters the controller's side of the network.
    pub enter: Vec<String>,
    /// The addresses of the VM and of its network's resolver.
    pub vm: std::net::Ipv4Addr,
    /// See [`Ways::vm`].
    pub resolver: std::net::Ipv4Addr,
    /// The way into the guest.
    pub ssh: Ssh,
    /// The connection that is open, or none.
    pub kept: Kept,
}

/// A question that is asked, and what was seen of it last.
struct Open<'q> {
    question: &'q Question,
    last: Option<Verdict>,
    done: bool,
}

impl Open<'_> {
    fn left(&self, start: Instant) -> Duration {
        self.question.time().saturating_sub(start.elapsed())
    }
}

impl Ways {
    /// The ways to a VM that is up.
    pub fn of(vm: &Vm) -> Result<Self, Failure> {
        let network: Network = vm.network()?;
        Ok(Self {
            exe: own_exe()?.into(),
            enter: network.enter_controller(),
            vm: vm.end().ip,
            resolver: network.plan().gateway,
            ssh: vm.ssh()?,
            kept: vm.kept().clone(),
        })
    }
}

/// Ask them of a VM.
pub async fn ask(vm: &Vm, questions: &[&Question]) -> Result<Vec<Check>, Failure> {
    Ok(poll(&Ways::of(vm)?, questions).await)
}

/// Ask until each holds or its time is over.
pub async fn poll(ways: &Ways, questions: &[&Question]) -> Vec<Check> {
    let start = Instant::now();
    let mut all: Vec<_> = questions.iter().map(|question| Open { question, last: None, done: false }).collect();
    loop {
        round(ways, &mut all, start).await;
        for one in &mut all {
            one.done |= one.last.as_ref().is_some_and(Verdict::holds) || one.left(start).is_zero();
        }
        if all.iter().all(|one| one.done) {
            break;
        }
        tokio::time::sleep(PERIOD).await;
    }
    let unseen = || Verdict::Unseen("nobody came to ask".into());
    all.into_iter().map(|one| one.question.check(one.last.unwrap_or_else(unseen))).collect()
}

/// Ask all that are open, from outside and inside at the same time.
async fn round(ways: &Ways, all: &mut [Open<'_>], start: Instant) {
    let open = |inside: bool| {
        let each = all.iter().enumerate().filter(|(_, one)| !one.done);
        let each = each.filter(|(_, one)| one.question.probe.is_inside() == inside);
        each.map(|(at, one)| (at, one.question, one.left(start))).collect::<Vec<_>>()
    };
    let (outside, inside) = (open(false), open(true));
    let (from_outside, from_inside) = tokio::join!(look(ways, &outside), enter(ways, &inside));
    let each = outside.iter().zip(from_outside).chain(inside.iter().zip(from_inside));
    for ((at, ..), verdict) in each {
        all[*at].last = Some(verdict);
    }
}

type Asking<'q> = (usize, &'q Question, Duration);

/// What is seen from the controller's side.
async fn look(ways: &Ways, asked: &[Asking<'_>]) -> Vec<Verdict> {
    if asked.is_empty() {
        return Vec::new();
    }
    let probes = asked.iter().map(|(_, question, _)| question.probe.clone()).collect();
    let seen = see(ways, probes, longest(asked)).await;
    let now = SystemTime::now();
    match seen {
        Ok(seen) => {
            let each = asked.iter().zip(&seen);
            each.map(|((_, question, _), seen)| judge::outside(&question.probe, seen, ways.vm, now)).collect()
        }
        Err(why) => vec![Verdict::Unseen(why); asked.len()],
    }
}

/// What is seen from the controller's side, of each probe in their order, within about this time. The error says why nothing is.
pub async fn see(ways: &Ways, probes: Vec<Probe>, time: Duration) -> Result<Vec<Seen>, String> {
    let limit = time.clamp(Duration::from_secs(1), LOOK);
    let asked = probes.len();
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let request = Asked { vm: ways.vm, resolver: ways.resolver, limit_ms, probes };
    let text = serde_json::to_string(&request).unwrap_or_default();
    let mut argv = ways.enter.clone();
    argv.extend([ways.exe.clone(), network::NAME.to_owned()]);
    let answer = host::child::answer(&argv, &text, limit + LOOK).await;
    let seen = answer.and_then(|text| serde_json::from_str::<Vec<Seen>>(&text).map_err(|error| error.to_string()));
    let whole = seen.and_then(|seen| match seen.len() == asked {
        true => Ok(seen),
        false => Err(format!("{} answers to {asked} questions", seen.len())),
    });
    whole.map_err(|why| format!("cannot ask from the controller's side: {why}"))
}

/// What the guest says, in one round trip. A connection that breaks is made anew the next time.
async fn enter(ways: &Ways, asked: &[Asking<'_>]) -> Vec<Verdict> {
    if asked.is_empty() {
        return Vec::new();
    }
    match answers(ways, asked).await {
        Ok(answers) => {
            let each = asked.iter().zip(&answers);
            each.map(|((_, question, _), answer)| judge::inside(&question.probe, answer)).collect()
        }
        Err(why) => {
            ways.kept.hang_up();
            vec![Verdict::Unseen(why); asked.len()]
        }
    }
}

async fn answers(ways: &Ways, asked: &[Asking<'_>]) -> Result<Vec<guest::Answer>, String> {
    let limit = longest(asked).clamp(Duration::from_secs(1), LOGIN);
    let session = ways.kept.session(&ways.ssh, limit).await.map_err(|error| with_causes(&error))?;
    let probes: Vec<_> = asked.iter().map(|(_, question, left)| (&question.probe, *left)).collect();
    let limit = guest::limit(&probes);
    let answer = session.root_script(&guest::script(&probes), limit).await.map_err(|error| with_causes(&error))?;
    if answer.code != 0 {
        let said = answer.stderr.trim();
        return Err(format!("the guest could not be asked as root: exit code {}: {said}", answer.code));
    }
    guest::read(&answer.stdout, asked.len()).map_err(|why| format!("the guest's answer is not whole: {why}"))
}

fn longest(asked: &[Asking<'_>]) -> Duration {
    asked.iter().map(|(.., left)| *left).max().unwrap_or_default()
}
