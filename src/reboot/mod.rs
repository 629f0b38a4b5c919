//! Reboots, and the only way to make a [`RebootProof`].
//!
//! A reboot is *asked of* the guest; a reset is *done to* it. The proof is made of four independent
//! witnesses, read in this order: the boot id before (a UUID or an error, never an error's text), the
//! machine's own RESET event with the reason that belongs to the mode, the old boot's last words (that
//! it ended in order: a panic with `panic=N` or `reboot -f` gives the same RESET), and a different boot
//! id after. The ids are compared only once the RESET was seen, because sshd goes on answering for a
//! while after the reboot was asked for.

pub mod mode;

pub use mode::{Mode, UnknownMode};

use crate::console::tail::text_of;
use crate::failure::{Blame, Exit};
use crate::host::deadline::Deadline;
use crate::machine::VmDir;
use crate::monitor::events::{Event, console_cut, read_all};
use crate::names::{BadName, BootId};
use crate::ready::{self, ReadyError, Settled};
use crate::ssh::{Session, Ssh, SshError};
use crate::wait::{WaitError, Watch};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Evidence that the guest went down in order and came back as a new boot. It has no public
/// constructor: only a reboot that was seen makes one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RebootProof {
    /// How it was brought about.
    pub mode: Mode,
    /// The boot id before.
    pub boot_id_before: BootId,
    /// The boot id after; never the same.
    pub boot_id_after: BootId,
    /// The RESET event that ended the old boot, by its number in the journal.
    pub reset_seq: u64,
    /// The reason that QEMU gave for it.
    pub reset_reason: String,
    /// The old boot's own words that it ended in order.
    pub last_words: LastWords,
    /// Seconds from asking to the RESET.
    pub down_s: f64,
    /// Seconds from asking to the first login on the new boot.
    pub ssh_s: f64,
    /// Seconds from asking until the new boot had settled.
    pub settled_s: f64,
    /// How the new boot settled.
    pub settled: Settled,
}

/// How the old boot said that it ended in order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LastWords {
    /// From its journal: systemd reached reboot.target.
    pub journal: Option<String>,
    /// From its console: the kernel's `reboot: Restarting system`.
    pub console: Option<String>,
}

/// Why a reboot is not proved.
#[derive(Debug, thiserror::Error)]
pub enum RebootError {
    /// The boot id could not be read before.
    #[error("cannot read the boot id before the reboot")]
    Before(#[source] SshError),
    /// What should be a boot id is none.
    #[error("the guest's boot id {when} the reboot cannot be read")]
    BootId {
        /// `before` or `after`.
        when: &'static str,
        /// What it was instead.
        #[source]
        source: BadName,
    },
    /// The guest refused.
    #[error("the guest refused `systemctl reboot` with exit code {code}: {said}")]
    Refused {
        /// systemctl's exit code.
        code: i32,
        /// Its words.
        said: String,
    },
    /// Something else happened.
    #[error("asked for {asked}, saw {saw}")]
    Other {
        /// The evidence that the mode must give.
        asked: &'static str,
        /// What was seen instead.
        saw: String,
    },
    /// The old boot did not end in order.
    #[error(
        "the old boot never said that it ended in order: neither its journal reached reboot.target nor its console said `reboot: Restarting system`"
    )]
    NoLastWords,
    /// The wait failed.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// The machine went down and was reset, and nobody can log in to the new boot.
    #[error("the guest did not come back from its reboot")]
    NotBack(#[source] WaitError),
    /// The new boot did not become ready.
    #[error(transparent)]
    Ready(#[from] ReadyError),
    /// A command in the new boot failed.
    #[error("cannot ask the new boot")]
    After(#[source] SshError),
}

impl Blame for RebootError {
    fn exit(&self) -> Exit {
        match self {
            Self::Wait(e) => e.exit(),
            // QEMU runs and the guest was reset: that it cannot be reached is the guest's doing.
            Self::NotBack(WaitError::TimedOut { .. }) => Exit::Verify,
            Self::NotBack(e) => e.exit(),
            Self::Ready(e) => e.exit(),
            // The machine was asked properly and did not do it: that is what the run is there to find.
            Self::Refused { .. } | Self::Other { .. } | Self::NoLastWords => Exit::Verify,
            _ => Exit::Lost,
        }
    }
}

/// Read the boot id of a running guest: a UUID, or an error.
pub async fn boot_id(session: &Session) -> Result<Result<BootId, BadName>, SshError> {
    let text = session.must("cat /proc/sys/kernel/random/boot_id", Duration::from_secs(20)).await?;
    Ok(text.parse())
}

/// Reboot the guest by `systemctl reboot`, and prove it.
pub async fn guest(vm: &VmDir, ssh: &Ssh, limit: Duration) -> Result<RebootProof, RebootError> {
    let deadline = Deadline::after(limit);
    // 1. Who is running now.
    let session = ssh.session(Duration::from_secs(60)).await.map_err(RebootError::Before)?;
    let before = boot_id(&session).await.map_err(RebootError::Before)?;
    let boot_id_before = before.map_err(|source| RebootError::BootId { when: "before", source })?;
    // 2. Watch from here on, so that an older RESET can never count.
    let seq = read_all(&vm.events()).map_err(WaitError::Journal)?.last().map_or(0, |event| event.seq);
    let mut watch = Watch::since(vm, seq)?;
    // 3. Ask. The connection usually breaks before an exit code comes back; a refusal does come back.
    let asked = Deadline::after(limit);
    match session.ask("sudo -n systemctl reboot", Duration::from_secs(60)).await {
        Ok(answer) if answer.code != 0 && answer.code != 255 => {
            return Err(RebootError::Refused { code: answer.code, said: answer.stderr.trim().to_owned() });
        }
        Ok(_) | Err(SshError::Login { .. } | SshError::TimedOut { .. }) => {}
        Err(error) => return Err(RebootError::Before(error)),
    }
    drop(session);
    // 4. The machine's own word.
    let what = "RESET of the guest after `systemctl reboot`";
    let reset = watch.event(what, &deadline, |event| matches!(event.kind.as_str(), "RESET" | "SHUTDOWN")).await?;
    let reset_reason = check_reset(&reset)?;
    let down_s = asked.waited().as_secs_f64();
    // 5. A new boot that answers, and is another one.
    let session = ready::login(ssh, &mut watch, &deadline).await.map_err(RebootError::NotBack)?;
    let after = boot_id(&session).await.map_err(RebootError::After)?;
    let boot_id_after = after.map_err(|source| RebootError::BootId { when: "after", source })?;
    if boot_id_after == boot_id_before {
        let saw = format!("a RESET ({reset_reason}), but the boot id is still {boot_id_before}");
        return Err(RebootError::Other { asked: "a new boot id", saw });
    }
    let ssh_s = asked.waited().as_secs_f64();
    let (session, settled) = ready::settle(ssh, session, &mut watch, &deadline).await?;
    let settled_s = asked.waited().as_secs_f64();
    // 6. The old boot's last words.
    let last_words = last_words(vm, &session, &reset, &boot_id_before).await?;
    Ok(RebootProof {
        mode: Mode::Guest,
        boot_id_before,
        boot_id_after,
        reset_seq: reset.seq,
        reset_reason,
        last_words,
        down_s,
        ssh_s,
        settled_s,
        settled,
    })
}

/// The event must be a RESET that the guest itself made.
fn check_reset(event: &Event) -> Result<String, RebootError> {
    let reason = event.text("reason").unwrap_or("no reason").to_owned();
    match (event.kind.as_str(), reason.as_str()) {
        ("RESET", "guest-reset") => Ok(reason),
        (kind, _) => Err(RebootError::Other { asked: "RESET guest-reset", saw: format!("{kind} {reason}") }),
    }
}

/// Ask both witnesses: the old boot's journal (by its boot id, so that no other boot can speak for it)
/// and the console up to the reset.
async fn last_words(vm: &VmDir, session: &Session, reset: &Event, before: &BootId) -> Result<LastWords, RebootError> {
    let id = before.as_str().replace('-', "");
    let query = format!("sudo -n journalctl -q --no-pager -o cat _BOOT_ID={id} _PID=1 UNIT=reboot.target");
    let journal = session.ask(&query, Duration::from_secs(60)).await.map_err(RebootError::After)?;
    let said = |text: &str, words: &str| text.lines().rev().find(|l| l.contains(words)).map(|l| l.trim().to_owned());
    let console = old_console(vm, reset)?;
    let words = LastWords {
        journal: said(&journal.stdout, "Reached target reboot.target"),
        console: said(&console, "reboot: Restarting system"),
    };
    match (&words.journal, &words.console) {
        (None, None) => Err(RebootError::NoLastWords),
        _ => Ok(words),
    }
}

/// What the old boot wrote to its console: from the cut before the RESET to the one that it made.
fn old_console(vm: &VmDir, reset: &Event) -> Result<String, RebootError> {
    let events = read_all(&vm.events()).map_err(WaitError::Journal)?;
    // A restore cuts too: what was said before it is not this boot's past.
    let cuts = || events.iter().filter_map(|event| Some((event.seq, console_cut(event)?.offset)));
    let start = cuts().take_while(|(seq, _)| *seq < reset.seq).last().map_or(0, |(_, offset)| offset);
    let end = cuts().find(|(seq, _)| *seq > reset.seq).map(|(_, offset)| offset);
    Ok(text_of(&vm.console(), start, end))
}
