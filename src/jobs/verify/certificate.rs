//! The check of the certificate that the host serves, which every profile with a `certificate` has besides its own checks.

use super::ask::{self, Ways};
use crate::certificates::judge::{self, Promised};
use crate::checks::Question;
use crate::checks::Verdict;
use crate::checks::probe::Probe;
use crate::jobs::certificates;
use crate::jobs::run::Run;
use crate::profile::Certificate;
use evidence::playbook::checks::Check;
use evidence::record::Shown;
use host::failure::Failure;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// How long it may take until it is right, in seconds: a proxy may still be starting.
const WITHIN: u64 = 30;
/// How long lies between two looks.
const PERIOD: Duration = Duration::from_millis(500);

/// The check, with what was shown last; none of a profile that says nothing of a certificate. Where another check is red already,
/// there is nothing to wait for.
pub(super) async fn check(run: &Run<'_>, when: &str, red: bool) -> Result<Option<(Check, Option<Shown>)>, Failure> {
    let (Some(promised), Some(served)) = (certificates::promised(run.target())?, &run.plan().profile.certificate)
    else {
        return Ok(None);
    };
    let (port, server_name) = (served.port, served.server_name.clone());
    let probe = Probe::Tls { port, server_name, issuer: None, names: Vec::new(), days_left: 0 };
    let question = Question { name: Certificate::CHECK.into(), probe, within: if red { 0 } else { WITHIN } };
    let before = run.record().certificate.clone().filter(|_| when.starts_with("after"));
    let ways = Ways::of(run.vm())?;
    let polled = poll(&ways, &question, &promised, before.as_ref());
    let polled = async { Ok::<_, Failure>(polled.await) };
    let (verdict, shown) = run.vm().watch()?.unless_lost(Certificate::CHECK, polled).await?;
    Ok(Some((question.check(verdict), shown)))
}

async fn poll(
    ways: &Ways,
    question: &Question,
    promised: &Promised,
    before: Option<&Shown>,
) -> (Verdict, Option<Shown>) {
    let start = Instant::now();
    loop {
        let seen = ask::see(ways, vec![question.probe.clone()], question.time()).await;
        let (verdict, shown) = match seen.as_deref() {
            Ok([seen]) => judge::judge(promised, &question.probe, seen, before, (ways.vm, SystemTime::now())),
            Ok(_) => (Verdict::Unseen("no answer".into()), None),
            Err(why) => (Verdict::Unseen(why.clone()), None),
        };
        if verdict.holds() || start.elapsed() >= question.time() {
            return (verdict, shown);
        }
        tokio::time::sleep(PERIOD).await;
    }
}
