//! Waiting for the moment of the act.

use super::course::Course;
use super::error::RebootError;
use super::mode::Mode;
use super::needs::prepare;
use super::request::{Request, Trigger};
use super::restart::Triggered;
use super::row::Seen;
use crate::console::follow::Follow;
use crate::host::deadline::Deadline;
use crate::machine::VmDir;
use crate::monitor::events::read_all;
use crate::ssh::Session;
use crate::wait::{WaitError, Watch};
use std::time::Duration;

/// The moment of the request: when it was, and where journal and console stood.
pub(super) struct Requested {
    at: Deadline,
    pub(super) seq: u64,
    console: u64,
}

impl Requested {
    /// Now. `limit` is how long the moment of the act may be waited for.
    pub(super) fn now(vm: &VmDir, limit: Duration) -> Result<Self, RebootError> {
        let events = read_all(&vm.events()).map_err(WaitError::Journal)?;
        let console = std::fs::metadata(vm.console()).map_err(RebootError::Console)?.len();
        Ok(Self { at: Deadline::after(limit), seq: events.last().map_or(0, |event| event.seq), console })
    }
}

/// Where waiting begins.
struct Begin {
    from: Requested,
    watch: Watch,
    during: Option<Mode>,
    evidence: Vec<Seen>,
}

/// Wait for the request's moment; none if it is at once. With [`Request::during`] the machine is restarted by
/// that mode first.
pub(super) async fn moment(
    vm: &VmDir,
    request: &Request,
    session: &mut Option<Session>,
    requested: Requested,
) -> Result<Option<Triggered>, RebootError> {
    if request.trigger == Trigger::Now {
        return Ok(None);
    }
    let Begin { from, mut watch, during, evidence } = match request.during {
        Some(mode) => begin_a_boot(vm, mode, session, requested.at.limit()).await?,
        None => {
            let watch = Watch::since(vm, requested.seq)?;
            Begin { from: requested, watch, during: None, evidence: Vec::new() }
        }
    };
    let line = match &request.trigger {
        Trigger::Now => None,
        Trigger::At(after) => {
            let left = after.saturating_sub(from.at.waited());
            let sleep = async {
                tokio::time::sleep(left).await;
                Ok::<(), WaitError>(())
            };
            let what = format!("the moment {} s on", after.as_secs_f64());
            watch.unless_lost(&what, sleep).await.map_err(RebootError::NoMoment)?;
            None
        }
        Trigger::OnConsole(pattern) => {
            let mut console = Follow::open(&vm.console(), from.console).map_err(RebootError::Console)?;
            let what = format!("a line of the console that matches {pattern}");
            let line = async || Ok(console.line(|line| pattern.matches(line)).await);
            let line = watch.until(&what, &from.at, line).await.map_err(RebootError::NoMoment)?;
            Some(line.map_err(RebootError::Console)?.text)
        }
    };
    Ok(Some(Triggered { during, evidence, waited_s: from.at.waited().as_secs_f64(), line }))
}

/// Restart the machine by `mode`, and stop looking where its boot begins.
async fn begin_a_boot(
    vm: &VmDir,
    mode: Mode,
    session: &mut Option<Session>,
    limit: Duration,
) -> Result<Begin, RebootError> {
    if let Some(session) = session.as_ref() {
        prepare(mode, session).await?;
    }
    let mut course = Course::begin(vm, mode, limit).await?;
    course.act(session).await?;
    let evidence = course.conclude()?.seen().to_vec();
    let console = course.cut().unwrap_or(course.asked.console);
    let from = Requested { at: Deadline::after(limit), seq: course.asked.seq, console };
    Ok(Begin { from, watch: course.watch, during: Some(mode), evidence })
}
