//! A guest whose clock is wrong.

use super::FaultError;
use crate::ssh::clock::{Offset, offset, step};
use crate::ssh::{Session, Ssh};
use host::presence::ignore;
use std::time::Duration;

/// How far the clock may be from where it was put, beyond what cannot be measured, in seconds.
const GOOD_S: f64 = 0.5;
/// How often it is set before that is given up.
const TRIES: u32 = 5;
/// How long the login, and the end of a service, may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What sets clocks on Debian, as units.
const KEEPERS: &str = "systemd-timesyncd chrony chronyd ntpsec ntpd openntpd";
/// Which of them were stopped, in the guest's memory: a boot starts them again and forgets the list.
const HELD: &str = "/run/boma-it.held";

/// Put the guest's clock `off_s` seconds ahead of the host's, with nobody there who would put it right.
pub(super) async fn wrong(ssh: &Ssh, off_s: f64) -> Result<Offset, FaultError> {
    let session = ssh.session(LIMIT).await.map_err(FaultError::Guest)?;
    ask(&session, &hold()).await?;
    let put = put(&session, off_s).await;
    if put.is_err() {
        // A fault that was not brought leaves nothing behind, as far as the guest can still be asked.
        ignore(set_right(&session).await, "why the fault was not brought is told instead");
    }
    put
}

/// Put the guest's clock right, and start again what was stopped for it.
pub(super) async fn right(ssh: &Ssh) -> Result<Offset, FaultError> {
    set_right(&ssh.session(LIMIT).await.map_err(FaultError::Guest)?).await
}

async fn set_right(session: &Session) -> Result<Offset, FaultError> {
    let now = put(session, 0.0).await?;
    ask(session, &format!("sudo -n sh -c 'if [ -e {HELD} ]; then systemctl start $(cat {HELD}) && rm {HELD}; fi'"))
        .await?;
    Ok(now)
}

/// Stop what sets the clock, for this boot only: nothing is disabled, so a reboot starts it as ever.
fn hold() -> String {
    format!(
        "sudo -n sh -c 'for unit in {KEEPERS}; do if systemctl is-active --quiet $unit; then \
         systemctl stop $unit && echo $unit >>{HELD} || exit 1; fi; done'"
    )
}

async fn put(session: &Session, off_s: f64) -> Result<Offset, FaultError> {
    let measure = async || offset(session).await.map_err(FaultError::Guest);
    let mut now = measure().await?;
    for _ in 0..TRIES {
        if now.is(off_s, GOOD_S) {
            return Ok(now);
        }
        step(session, off_s - now.s).await.map_err(FaultError::Guest)?;
        now = measure().await?;
    }
    match now.is(off_s, GOOD_S) {
        true => Ok(now),
        false => Err(FaultError::Clock { wanted_s: off_s, is_s: now.s, tries: TRIES }),
    }
}

async fn ask(session: &Session, command: &str) -> Result<(), FaultError> {
    session.must(command, LIMIT).await.map(drop).map_err(FaultError::Guest)
}
