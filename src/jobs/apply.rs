//! The stage of the real playbooks.

use super::run::Run;
use super::target::Target;
use crate::ansible::guard;
use crate::ansible::run::{Applied, Outcome, Runner};
use camino::Utf8Path;
use evidence::playbook::tried;
use evidence::record::{FailedTask, Playbook, Step};
use evidence::verdict::Unproved;
use host::failure::Failure;
use std::time::Duration;

/// The longest that one playbook may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// What hears each line that Ansible prints.
pub(super) type Say<'a> = &'a mut dyn FnMut(&str);

impl Run<'_> {
    /// Run the profile's playbooks; from now on it is another state.
    pub async fn apply(&mut self) -> Result<(), Failure> {
        self.keep(Step::Applied(false));
        self.changes(Unproved::Applied)?;
        self.keep(Step::ExtraVars(self.plan().extra_vars(self.target().dirs)));
        // The last look at where they would go.
        self.phase("guard", async |run| guard(run.target())).await?;
        for apply in self.plan().profile.applies.clone() {
            let name = apply.playbook.file_stem().unwrap_or("apply").to_owned();
            let mut ran = None;
            let done = self.phase(&name, async |run| {
                let work = async |runner: &Runner<'_>, say: Say<'_>| Ok(runner.apply(&apply, say).await?);
                let Applied { outcome, judged } = ansible(run, &apply.playbook, work).await?;
                let more = match outcome.reports.len() {
                    0 => String::new(),
                    n => format!(", {n} to know of"),
                };
                let said = format!("{} tasks on the VM, {} changed{more}", outcome.tasks, outcome.changed);
                ran = Some((playbook(&outcome, judged.is_ok()), outcome.results));
                judged?;
                Ok(((), said))
            });
            let done = done.await;
            if let Some((playbook, tasks)) = ran {
                self.keep(Step::Tasks(tasks));
                self.keep(Step::Playbook(playbook));
            }
            if let Err(failure) = done {
                return Err(self.with_its_way(failure).await);
            }
            // It may have moved the way in: the next one goes on over the new one.
            self.way_in().await?;
        }
        self.keep(Step::Applied(true));
        Ok(())
    }
}

/// Assert that the playbooks would run on the VM and on nothing else.
fn guard(target: &Target<'_>) -> Result<((), String), Failure> {
    let (controller, prefix) = target.controller()?;
    let connection = target.plan.connection(target.dirs);
    guard::check(&controller, &connection, &target.plan.playbooks(target.dirs), &prefix)?;
    Ok(((), format!("only {} at {}", target.plan.host, connection.address)))
}

/// Run Ansible on a playbook, unless the machine is lost meanwhile.
pub(super) async fn ansible<T>(
    run: &Run<'_>,
    playbook: &Utf8Path,
    work: impl AsyncFnOnce(&Runner<'_>, Say<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (controller, prefix) = run.target().controller()?;
    let log = run.folder().path().join("ansible.log");
    let address = run.vm().end().ip;
    let runner = Runner { controller: &controller, address, prefix: &prefix, log: &log, limit: LIMIT };
    let mut say = |line: &str| run.progress().output(line);
    run.vm().watch()?.unless_lost(playbook.as_str(), work(&runner, &mut say)).await
}

/// What is kept of a playbook run. In one that failed, the last task that failed is the one that ended it;
/// those before it were ignored or rescued, as all of them were in one that passed.
fn playbook(outcome: &Outcome, ok: bool) -> Playbook {
    let failed = outcome.results.iter().filter(|result| result.is_bad()).map(|result| FailedTask {
        task: result.task.clone(),
        place: result.place.clone(),
        message: result.why(),
        went_on: ok || result.ignored,
    });
    let mut failed: Vec<_> = failed.collect();
    let last = failed.iter().rposition(|task| !task.went_on);
    for (n, task) in failed.iter_mut().enumerate() {
        task.went_on |= Some(n) != last;
    }
    let if_done_s = ok.then(|| tried::seconds_if_done(outcome.seconds, &outcome.results));
    let Outcome { seconds, tasks, changed, recap, .. } = *outcome;
    let (playbook, reports) = (outcome.playbook.clone(), outcome.reports.clone());
    Playbook { playbook, ok, seconds, if_done_s, tasks, changed, recap, failed, reports }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::playbook::events::parse;

    fn outcome(tasks: &[(&str, &str, bool)]) -> Outcome {
        let line = |(task, status, ignored): &(&str, &str, bool)| {
            let result = serde_json::json!({
                "event": "result", "play": "p", "task": task, "where": "/r/x.yml:3", "action": "command", "host": "askari",
                "delegated": null, "on_host": true, "status": status, "ignored": ignored, "changed": false,
                "check_mode": false, "broke": false, "held": false, "tags": [], "jobs": [], "rebooted": false, "seconds": 0.1, "message": "m", "items": [], "resolved": null
            });
            format!("{result}\n")
        };
        let events = parse(&tasks.iter().map(line).collect::<String>()).unwrap();
        let results = evidence::playbook::events::results(&events).cloned().collect();
        let recap = evidence::playbook::events::Recap::default();
        Outcome { playbook: "x.yml".into(), seconds: 1.0, tasks: 3, changed: 0, recap, results, reports: Vec::new() }
    }

    #[test]
    fn only_the_last_task_that_failed_ended_a_playbook_and_none_if_it_passed() {
        let tasks = [
            ("rescued", "failed", false),
            ("fine", "ok", false),
            ("ignored", "failed", true),
            ("last", "failed", false),
        ];
        let told = |ok| {
            let kept = playbook(&outcome(&tasks), ok);
            kept.failed.into_iter().map(|task| (task.task, task.went_on)).collect::<Vec<_>>()
        };
        let named = |last: bool| [("rescued", true), ("ignored", true), ("last", last)].map(|(t, w)| (t.to_owned(), w));
        assert_eq!(told(false), named(false));
        assert_eq!(told(true), named(true));
    }
}
