//! The check of the second way in, which every host that promises one has besides its own checks: it has to answer while the
//! first one does, or nobody knows that it would when it is needed.

use crate::jobs::run::Run;
use crate::profile::BreakGlass;
use evidence::playbook::checks::Check;
use host::failure::{Failure, with_causes};
use std::time::Duration;
use tokio::time::Instant;
use vm::ssh::Ways;

/// How long it may take until it answers: sshd may be starting anew.
const WITHIN: Duration = Duration::from_secs(30);
/// How long lies between two logins.
const PERIOD: Duration = Duration::from_millis(500);

/// The check; none of a host that promises no second way. Where another check is red already, there is nothing to wait for.
pub(super) async fn check(run: &Run<'_>, red: bool) -> Result<Option<Check>, Failure> {
    let ways = Ways::load(&run.vm().dir().ways()).map_err(Failure::from)?;
    let Some(way) = &ways.break_glass else { return Ok(None) };
    let ssh = run.vm().ssh()?;
    let tried = async {
        let start = Instant::now();
        loop {
            match ssh.answers_by(way, WITHIN).await {
                Ok(()) => return Ok::<_, Failure>(None),
                Err(error) if red || start.elapsed() >= WITHIN => {
                    return Ok(Some(with_causes(&error)));
                }
                Err(_) => tokio::time::sleep(PERIOD).await,
            }
        }
    };
    let (ok, detail) = match run.vm().watch()?.unless_lost(BreakGlass::CHECK, tried).await? {
        None => (true, format!("{way} answers")),
        Some(why) => (false, format!("{way} does not lead in any more: {why}; {} still does", ways.current)),
    };
    Ok(Some(Check { id: BreakGlass::CHECK.into(), ok, hint: false, detail, looked: true }))
}
