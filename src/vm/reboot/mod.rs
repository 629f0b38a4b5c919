//! Restarts of the machine: done, seen, and told apart.
//!
//! A *reboot* is asked of the guest, a *reset* is done to it. Each [`Mode`] has a row ([`row`]) of what it must
//! show and must not show; whatever else is seen is an error of its own: asked for X, saw Y. A reboot is proved
//! by independent witnesses, read in this order: the boot id before (a UUID or an error, never an error's text),
//! the machine's own events with the reasons that belong to the mode, the old boot's last words (or, where it had
//! no time for any, that there are none), and a different boot id after. The ids are compared only once the
//! events were seen, because sshd goes on answering for a while. `kexec` and `soft-reboot` show no event:
//! there the boot id, or systemd's own count of soft reboots, is what has to change. Durations are the host's; the guest's
//! clock plays no part.
//!
//! Not fuzzed: lines of the guest are compared here as a whole; a boot id and a number go through `FromStr`.

mod act;
mod course;
mod error;
pub mod mode;
mod needs;
mod request;
mod restart;
pub mod row;
pub mod since;
mod trigger;
mod words;

pub use error::RebootError;
pub use mode::{Mode, UnknownMode};
pub use request::{BadRequest, Choice, Pattern, Request, Trigger, seconds};
pub use restart::{LastWords, NoProof, Proof, RebootProof, Restart, SoftRebootProof, Triggered};
pub use row::Seen;
pub use since::restarts_since;

use crate::access::{self, When};
use crate::console::times::Times;
use crate::machine::VmDir;
use crate::monitor::events::{monotonic, read_all};
use crate::ready::{self, Settled};
use crate::ssh::{Kept, Session, Ssh, SshError};
use crate::wait::{WaitError, Watch};
use course::{Course, other};
use host::deadline::Deadline;
use host::names::{BadName, BootId};
use std::time::Duration;

const ASK_LIMIT: Duration = Duration::from_secs(20);
const LOGIN_LIMIT: Duration = Duration::from_secs(60);

/// Who is running: the kernel's boot, and how often its userspace was started anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The kernel's boot id.
    pub boot_id: BootId,
    /// systemd's SoftRebootsCount; none where systemd is too old to count.
    pub soft_reboots: Option<u32>,
}

/// Read the boot id of a running guest: a UUID, or an error.
pub async fn boot_id(session: &Session) -> Result<Result<BootId, BadName>, SshError> {
    Ok(identity(session).await?.map(|identity| identity.boot_id))
}

/// Read who is running.
pub async fn identity(session: &Session) -> Result<Result<Identity, BadName>, SshError> {
    let ask = "cat /proc/sys/kernel/random/boot_id; systemctl show -p SoftRebootsCount --value";
    let text = session.must(ask, ASK_LIMIT).await?;
    let (boot_id, count) = text.split_once('\n').unwrap_or((&text, ""));
    Ok(boot_id.parse().map(|boot_id| Identity { boot_id, soft_reboots: count.trim().parse().ok() }))
}

/// Restart the machine as it is asked for, and prove it. `limit` is for each part: the wait for the moment of the
/// act, and the time from the act until the machine has settled again. The connection that is kept is used for the asking;
/// the one that the restarted machine was seen through is kept in its place.
pub async fn run(
    vm: &VmDir,
    logins: (&Ssh, &Kept),
    request: &Request,
    limit: Duration,
) -> Result<Restart, RebootError> {
    run_after(vm, logins, request, limit, async |_| Ok(())).await
}

/// The same, with some work in the guest that is done last before the act, so that as little as can be comes
/// between the two. It needs a guest that can be logged in to at that moment; where there is none it is left out.
pub async fn run_after(
    vm: &VmDir,
    (ssh, kept): (&Ssh, &Kept),
    request: &Request,
    limit: Duration,
    last: impl AsyncFnOnce(&Session) -> Result<(), SshError>,
) -> Result<Restart, RebootError> {
    let mode = request.mode;
    let seq = read_all(&vm.events()).map_err(WaitError::Journal)?.last().map_or(0, |event| event.seq);
    // 1. Who is running now, and whether it can do what it will be asked.
    let session = kept.take(ssh, LOGIN_LIMIT).await.map_err(RebootError::Before)?;
    let before = identity(&session).await.map_err(RebootError::Before)?;
    let before = before.map_err(|source| RebootError::BootId { when: "before", source })?;
    let prepared = needs::prepare(mode, &session).await?;
    // 2. The moment.
    let mut session = Some(session);
    let triggered = trigger::moment(vm, request, &mut session, limit).await?;
    if triggered.is_some() && !mode.row().done_to {
        session = Some(still_there(ssh, session, &before).await?);
    }
    if let Some(session) = &session {
        last(session).await.map_err(RebootError::Before)?;
    }
    // 3. The act, and the machine's own word.
    let mut course = Course::begin(vm, mode, limit).await?;
    if let Err(error) = course.act(&mut session).await {
        drop(session);
        return Err(instead(error, ssh, mode, &before).await);
    }
    // 4. Who answers then, and how the old boot ended.
    let asked_mono = course.asked.mono;
    let back =
        course.undisturbed(async |watch, deadline| come_back(vm, ssh, mode, &before, session, watch, deadline).await);
    let back = back.await?;
    let proof = prove(mode, &before, back.now)?;
    // A boot that began while the moment was waited for was cut off before anybody could ask for its id.
    let boot_id = course.same_boot(seq)?.then_some(&before.boot_id);
    let old = words::Old { vm, session: &back.session, boot_id, from: course.asked.console, to: course.cut() };
    let said = words::judge(mode, &old).await?;
    // 5. The whole story once more, from the asking to now.
    let evidence = course.conclude()?;
    kept.share(back.session);
    let over = evidence.over().map(|seen| seen.mono).or_else(|| time_of(vm, said.offset?));
    Ok(Restart {
        mode,
        proof,
        prepared,
        triggered,
        asked_seq: course.asked.seq,
        asked_mono,
        evidence: evidence.seen().to_vec(),
        last_words: said.words,
        down_s: over.map(|mono| mono - asked_mono),
        ssh_s: back.ssh_mono - asked_mono,
        settled_s: back.settled_mono - asked_mono,
        settled: back.settled,
    })
}

/// A login on the boot that was running at the request: the guest is asked for its own end and no other.
async fn still_there(ssh: &Ssh, session: Option<Session>, before: &Identity) -> Result<Session, RebootError> {
    let known = match &session {
        Some(open) => identity(open).await.ok(),
        None => None,
    };
    let (session, now) = match session.zip(known) {
        Some(known) => known,
        // The connection may have died, and the guest be as it was.
        None => {
            let session = ssh.session(LOGIN_LIMIT).await.map_err(RebootError::Before)?;
            let now = identity(&session).await.map_err(RebootError::Before)?;
            (session, now)
        }
    };
    match now {
        Ok(now) if now == *before => Ok(session),
        Ok(now) => {
            let found = format!("{} ran (soft reboots: {})", now.boot_id, now.soft_reboots.unwrap_or(0));
            Err(RebootError::Meanwhile { before: before.boot_id.clone(), found })
        }
        Err(source) => Err(RebootError::BootId { when: "before", source }),
    }
}

/// The machine showed nothing in time; the guest may know what happened in the place of it. (`systemctl reboot`
/// makes a soft reboot where another root was put under /run/nextroot.)
async fn instead(error: RebootError, ssh: &Ssh, mode: Mode, before: &Identity) -> RebootError {
    let RebootError::NotDown(WaitError::TimedOut { .. }) = &error else { return error };
    let Ok(session) = ssh.session(LOGIN_LIMIT).await else { return error };
    let saw = match identity(&session).await {
        Ok(Ok(now)) if now.boot_id != before.boot_id => format!("another boot ({}) and no event", now.boot_id),
        Ok(Ok(now)) if now.soft_reboots > before.soft_reboots => "a soft reboot: the same boot id".into(),
        _ => return error,
    };
    other(mode.row().to_string(), saw)
}

/// The machine after its restart.
struct Back {
    session: Session,
    now: Identity,
    ssh_mono: f64,
    settled: Settled,
    settled_mono: f64,
}

/// Log in to what comes after the old boot, and wait until it has settled. Where no event says that the old boot
/// is over, it may answer for a while: through the connection that is still open, or a new one.
async fn come_back(
    vm: &VmDir,
    ssh: &Ssh,
    mode: Mode,
    before: &Identity,
    mut session: Option<Session>,
    watch: &mut Watch,
    deadline: &Deadline,
) -> Result<Back, RebootError> {
    let probe = async || {
        let open = match session.take() {
            Some(open) => open,
            None => ssh.session(LOGIN_LIMIT).await.map_err(|e| e.to_string())?,
        };
        let now = identity(&open).await.map_err(|e| e.to_string())?;
        session = Some(open);
        match mode.row().expected.is_empty() && now.as_ref() == Ok(before) {
            true => Err(format!("the old boot still answers ({})", before.boot_id)),
            false => Ok(now),
        }
    };
    let what = format!("a login after the restart by {mode}");
    let now = access::until(vm, &what, When::Booting, watch, deadline, probe).await.map_err(RebootError::NotBack)?;
    let now = now.map_err(|source| RebootError::BootId { when: "after", source })?;
    let ssh_mono = monotonic();
    let session = match session {
        Some(session) => access::with_sudo(vm, session, deadline).await,
        None => access::login(vm, ssh, When::Booting, watch, deadline).await,
    };
    let session = session.map_err(RebootError::NotBack)?;
    let (session, settled) = ready::settle(ssh, session, watch, deadline).await?;
    Ok(Back { session, now, ssh_mono, settled, settled_mono: monotonic() })
}

/// What the identities before and after prove.
fn prove(mode: Mode, before: &Identity, now: Identity) -> Result<Proof, RebootError> {
    let not = |saw: String| other(mode.row().to_string(), saw);
    if mode != Mode::SoftReboot {
        let proof = RebootProof::new(before.boot_id.clone(), now.boot_id).map_err(|no| not(no.to_string()))?;
        return Ok(Proof::Reboot(proof));
    }
    if now.boot_id != before.boot_id {
        return Err(not(format!("another boot ({} -> {})", before.boot_id, now.boot_id)));
    }
    match (before.soft_reboots, now.soft_reboots) {
        (Some(one), Some(two)) => {
            let proof = SoftRebootProof::new(now.boot_id, one, two).map_err(|no| not(no.to_string()))?;
            Ok(Proof::SoftReboot(proof))
        }
        _ => Err(not("a systemd that does not count soft reboots".into())),
    }
}

/// When the console's byte at `offset` came.
fn time_of(vm: &VmDir, offset: u64) -> Option<f64> {
    Times::read(&vm.console_times()).ok()?.at(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(boot_id: char, soft_reboots: Option<u32>) -> Identity {
        let text = "6f1e2b1c-8f0e-4f0e-9d59-3a4b5c6d7e8f".replacen('6', &boot_id.to_string(), 1);
        Identity { boot_id: text.parse().unwrap(), soft_reboots }
    }

    #[test]
    fn a_soft_reboot_is_never_a_reboot_and_a_reboot_never_a_soft_one() {
        let before = identity('1', Some(0));
        let (soft, new, same) = (identity('1', Some(1)), identity('2', Some(0)), before.clone());
        for mode in Mode::ALL {
            let proof = |now: &Identity| prove(mode, &before, now.clone()).ok();
            assert_eq!(proof(&same), None, "{mode}: nothing happened");
            match mode {
                Mode::SoftReboot => {
                    assert!(matches!(proof(&soft), Some(Proof::SoftReboot(_))));
                    assert_eq!(proof(&new), None);
                    assert_eq!(proof(&identity('1', Some(2))), None, "two are not one");
                    assert_eq!(proof(&identity('2', Some(1))), None);
                    assert_eq!(proof(&identity('1', None)), None);
                }
                _ => {
                    assert_eq!(proof(&soft), None, "{mode} took a soft reboot");
                    assert!(matches!(proof(&new), Some(Proof::Reboot(_))), "{mode}");
                }
            }
        }
    }
}
