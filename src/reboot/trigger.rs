//! Waiting for the moment of the act.

use super::course::Course;
use super::error::RebootError;
use super::mode::Mode;
use super::request::{Request, Trigger};
use super::restart::Triggered;
use crate::console::follow::Follow;
use crate::host::deadline::Deadline;
use crate::machine::VmDir;
use crate::ssh::Session;
use crate::wait::Watch;
use std::time::Duration;

/// Where waiting begins: when, and in the console.
struct From {
    waiting: Deadline,
    console: u64,
    watch: Watch,
    during: Option<(Mode, Vec<super::row::Seen>)>,
}

/// Wait for the request's moment; none if it is at once. With [`Request::during`] the machine is restarted by
/// that mode first, and its boot must not end before the moment has come.
pub(super) async fn moment(
    vm: &VmDir,
    request: &Request,
    session: &mut Option<Session>,
    since: u64,
    limit: Duration,
) -> Result<Option<Triggered>, RebootError> {
    if request.trigger == Trigger::Now {
        return Ok(None);
    }
    let mut from = match request.during {
        Some(mode) => begin_a_boot(vm, mode, session, limit).await?,
        None => From {
            waiting: Deadline::after(limit),
            console: std::fs::metadata(vm.console()).map_or(0, |meta| meta.len()),
            watch: Watch::since(vm, since)?,
            during: None,
        },
    };
    let line = match &request.trigger {
        Trigger::Now => None,
        Trigger::At(after) => {
            let left = after.saturating_sub(from.waiting.waited());
            let sleep = async {
                tokio::time::sleep(left).await;
                Ok::<(), RebootError>(())
            };
            from.watch.unless_lost(&format!("{} s", after.as_secs_f64()), sleep).await?;
            None
        }
        Trigger::OnConsole(pattern) => {
            let mut console = Follow::open(&vm.console(), from.console).map_err(RebootError::Console)?;
            let what = format!("a line of the console that matches {pattern}");
            let line = async || Ok(console.line(|line| pattern.matches(line)).await);
            let line = from.watch.until(&what, &from.waiting, line).await.map_err(RebootError::NotDown)?;
            Some(line.map_err(RebootError::Console)?.text)
        }
    };
    let waited_s = from.waiting.waited().as_secs_f64();
    let (during, evidence) = from.during.map_or((None, Vec::new()), |(mode, seen)| (Some(mode), seen));
    Ok(Some(Triggered { during, evidence, waited_s, line }))
}

/// Restart the machine by `mode`, and stop looking where its boot begins.
async fn begin_a_boot(
    vm: &VmDir,
    mode: Mode,
    session: &mut Option<Session>,
    limit: Duration,
) -> Result<From, RebootError> {
    if let Some(session) = session.as_ref() {
        super::needs::prepare(mode, session).await?;
    }
    let mut course = Course::begin(vm, mode, limit).await?;
    course.act(session).await?;
    let evidence = course.conclude()?;
    let console = course.cut().unwrap_or(course.asked.console);
    Ok(From {
        waiting: Deadline::after(limit),
        console,
        watch: course.watch,
        during: Some((mode, evidence.seen().to_vec())),
    })
}
