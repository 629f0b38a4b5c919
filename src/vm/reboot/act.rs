//! The acts themselves: what is done to the machine, or asked of it, in each mode.

use super::course::{Course, other};
use super::error::RebootError;
use super::mode::Mode;
use super::needs::starve_watchdog;
use crate::ssh::Session;
use host::deadline::{Deadline, PROBE_PERIOD};
use host::presence::ignore;
use serde_json::{Value, json};
use std::time::Duration;

/// The time that a guest has to begin its shutdown after the power button. logind lets programs delay it by
/// 5 s; the rest is for a guest that is slow because the host is busy.
const BUTTON_LIMIT: Duration = Duration::from_secs(60);

impl Course<'_> {
    /// Do it, and see all that the mode's row demands of the journal. `session` is a login on the old boot, where
    /// there can be one; it is left only where the row has no event that shows that this boot is over.
    pub(super) async fn act(&mut self, session: &mut Option<Session>) -> Result<(), RebootError> {
        let expected = self.mode.row().expected.len();
        let guest = || session.as_ref().ok_or_else(|| other("a guest to be asked".into(), "no login".into()));
        match self.mode {
            Mode::Guest => self.order(guest()?, "sudo -n systemctl reboot", expected).await?,
            Mode::Acpi => self.press_the_power_button(guest()?).await?,
            Mode::Reset => self.qmp("reset the machine", "system_reset", Value::Null).await?,
            Mode::PowerCycle => {
                let done = self.client.power_cycle().await;
                done.map_err(|source| RebootError::Monitor { what: "cut the power and give it back", source })?;
            }
            Mode::PowerLoss => {
                let done = self.client.power_loss().await;
                done.map_err(|source| RebootError::Monitor { what: "cut the power of machine and drive", source })?;
            }
            // Nothing is synced first: what a crash loses is what this mode is there to show.
            Mode::Panic => self.order(guest()?, "sudo -n sh -c 'echo c >/proc/sysrq-trigger'", expected).await?,
            Mode::Watchdog => self.starve_the_watchdog(guest()?).await?,
            Mode::Kexec => self.start_the_loaded_kernel(guest()?).await?,
            Mode::SoftReboot => self.order(guest()?, "sudo -n systemctl soft-reboot", expected).await?,
        }
        self.expect(expected).await?;
        if expected > 0 {
            *session = None;
        }
        Ok(())
    }

    /// What `virsh reboot` does: the button, the guest's own shutdown, then reset and go on.
    async fn press_the_power_button(&mut self, guest: &Session) -> Result<(), RebootError> {
        self.qmp("press the power button", "system_powerdown", Value::Null).await?;
        // POWERDOWN, then SHUTDOWN; QEMU keeps the machine paused.
        tokio::select! {
            biased;
            down = self.expect(2) => down?,
            ignored = ignored(guest) => return Err(ignored),
        }
        self.qmp("reset the machine", "system_reset", Value::Null).await?;
        self.qmp("let the machine go on", "cont", Value::Null).await
    }

    /// A kernel that stays loaded would turn the next `systemctl reboot` into a kexec.
    async fn start_the_loaded_kernel(&mut self, guest: &Session) -> Result<(), RebootError> {
        let started = self.order(guest, "sudo -n systemctl kexec", 0).await;
        if let Err(RebootError::Refused { .. }) = &started {
            ignore(guest.ask("sudo -n kexec -u", BUTTON_LIMIT).await, "the refusal is what has to be told");
        }
        started
    }

    /// The machine's watchdog resets it, as a real one does: if QEMU only told us and we did it, the guest would
    /// run on for a while after its time was up. Afterwards a watchdog of the guest's own is again only told.
    async fn starve_the_watchdog(&mut self, guest: &Session) -> Result<(), RebootError> {
        let expected = self.mode.row().expected.len();
        let what = "choose what the watchdog does";
        self.qmp(what, "set-action", json!({"watchdog": "reset"})).await?;
        let starved = self.order(guest, &starve_watchdog(), expected).await;
        let put_back = self.qmp(what, "set-action", json!({"watchdog": "none"})).await;
        starved.and(put_back)
    }
}

/// Ends when the guest, long after the button, is as it was. Once it shuts down, or cannot be asked any more,
/// this never ends.
async fn ignored(guest: &Session) -> RebootError {
    let pressed = Deadline::after(BUTTON_LIMIT);
    loop {
        let answer = guest.ask("systemctl is-system-running", BUTTON_LIMIT).await;
        let state = answer.map(|answer| answer.stdout.trim().to_owned()).unwrap_or_default();
        if !matches!(state.as_str(), "running" | "degraded" | "starting" | "initializing" | "maintenance") {
            std::future::pending::<()>().await;
        }
        if pressed.passed() {
            return RebootError::Ignored { after: pressed.waited(), state };
        }
        tokio::time::sleep(PROBE_PERIOD).await;
    }
}
