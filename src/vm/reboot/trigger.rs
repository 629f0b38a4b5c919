//! Waiting for the moment of the act.

use super::course::{Course, mark, terms};
use super::error::RebootError;
use super::mode::Mode;
use super::needs::prepare;
use super::request::{Request, Trigger};
use super::restart::Triggered;
use super::row::Seen;
use crate::console::follow::Follow;
use crate::machine::VmDir;
use crate::monitor::events::What;
use crate::ssh::Session;
use crate::wait::{WaitError, Watch};
use host::deadline::Deadline;
use serde_json::json;
use std::time::Duration;

/// Where waiting begins: when, and where the console stood.
struct Begin {
    at: Deadline,
    console: u64,
    watch: Watch,
    during: Option<Mode>,
    evidence: Vec<Seen>,
}

/// Wait for the request's moment; none if it is at once. With [`Request::during`] the machine is restarted by
/// that mode first. `limit` is how long the moment may be waited for.
pub(super) async fn moment(
    vm: &VmDir,
    request: &Request,
    session: &mut Option<Session>,
    limit: Duration,
) -> Result<Option<Triggered>, RebootError> {
    if request.trigger == Trigger::Now {
        return Ok(None);
    }
    let Begin { at, console, mut watch, during, evidence } = match request.during {
        Some(mode) => begin_a_boot(vm, mode, session, limit).await?,
        None => arm(vm, request, limit).await?,
    };
    let line = match &request.trigger {
        Trigger::Now => None,
        Trigger::At(after) => {
            let left = after.saturating_sub(at.waited());
            let sleep = async {
                tokio::time::sleep(left).await;
                Ok::<(), WaitError>(())
            };
            let what = format!("the moment {} s on", after.as_secs_f64());
            watch.unless_lost(&what, sleep).await.map_err(RebootError::NoMoment)?;
            None
        }
        Trigger::OnConsole(pattern) => {
            let mut lines = Follow::open(&vm.console(), console).map_err(RebootError::Console)?;
            let what = format!("a line of the console that matches {pattern}");
            let line = async || Ok(lines.line(|line| pattern.matches(line)).await);
            let line = watch.until(&what, &at, line).await.map_err(RebootError::NoMoment)?;
            Some(line.map_err(RebootError::Console)?.text)
        }
    };
    Ok(Some(Triggered { during, evidence, waited_s: at.waited().as_secs_f64(), line }))
}

/// Say in the journal that from now on the moment is waited for, so that a script can wait for that before it sets
/// off what the act is to hit.
async fn arm(vm: &VmDir, request: &Request, limit: Duration) -> Result<Begin, RebootError> {
    let armed = mark(vm, &What::RestartArmed(terms(json!({ "request": request })))).await?;
    let watch = Watch::since(vm, armed.seq)?;
    Ok(Begin { at: Deadline::after(limit), console: armed.console, watch, during: None, evidence: Vec::new() })
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
    Ok(Begin { at: Deadline::after(limit), console, watch: course.watch, during: Some(mode), evidence })
}
