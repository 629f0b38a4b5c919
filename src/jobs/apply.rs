//! The playbook stages: the real playbooks, and the outcome checks.

use super::run::{Run, Said};
use crate::ansible::run::{Applied, Outcome, Runner};
use crate::ansible::{AnsibleError, Controller, guard};
use camino::Utf8Path;
use evidence::playbook::{checks, deeds, tried};
use evidence::record::{Checks, FailedTask, Playbook};
use host::failure::Failure;
use std::time::Duration;
use vm::network::confine::Confinement;

/// The longest that one playbook may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// What hears each line that Ansible prints.
pub(super) type Say<'a> = &'a mut dyn FnMut(&str);

impl Run<'_> {
    /// Run the profile's playbooks, after the last look at where they would go.
    pub async fn apply(&mut self) -> Result<(), Failure> {
        self.record.made_of.extra_vars = self.plan.extra_vars(self.ctx.dirs);
        self.phase("guard", async |run| run.guard()).await?;
        for apply in self.plan.profile.applies.clone() {
            let name = apply.playbook.file_stem().unwrap_or("apply").to_owned();
            let done = self.phase(&name, async |run| {
                let work = async |runner: &Runner<'_>, say: Say<'_>| Ok(runner.apply(&apply, say).await?);
                let Applied { outcome, judged } = run.ansible(&apply.playbook, work).await?;
                let more = match outcome.reports.len() {
                    0 => String::new(),
                    n => format!(", {n} to know of"),
                };
                let said = format!("{} tasks on the VM, {} changed{more}", outcome.tasks, outcome.changed);
                deeds::add(&mut run.record.deeds, &outcome.results);
                run.record.playbooks.push(playbook(outcome, judged.is_ok()));
                judged?;
                Ok(((), said))
            });
            if let Err(failure) = done.await {
                return Err(self.with_its_way(failure).await);
            }
            // It may have moved the way in: the next one goes on over the new one.
            self.way_in().await?;
        }
        Ok(())
    }

    /// Run the outcome checks. Checks that fail are an answer and no error; [`Run::judge`] judges them.
    pub async fn check(&mut self, phase: &str, when: &str) -> Result<(), Failure> {
        self.phase(phase, async |run| {
            let playbook = run.plan.verify(run.ctx.dirs);
            let work = async |runner: &Runner<'_>, say: Say<'_>| Ok(runner.verify(&playbook, say).await?);
            let (_, mut checks) = run.ansible(&playbook, work).await?;
            let earlier: Vec<_> = run.record.checks.iter().map(|run| (run.when.as_str(), &run.checks[..])).collect();
            checks::hold_against(&mut checks, &earlier);
            let never = checks::never_looked(&checks, &earlier);
            let checks = Checks { when: when.to_owned(), checks };
            // What is red for certain is an answer; without it, nothing is known where nobody looked.
            if !never.is_empty() && checks.failed().count() == never.len() {
                let (when, all) = (when.to_owned(), checks.checks.len());
                run.record.checks.push(checks);
                return Err(AnsibleError::NeverLooked { when, checks: never, all }.into());
            }
            let failed: Vec<_> = checks.failed().map(|check| check.id.as_str()).collect();
            let (all, ok) = (checks.checks.len(), failed.is_empty());
            let text = match ok {
                true => format!("{all} checks hold {when}"),
                false => format!("{} of {all} checks failed {when}: {}", failed.len(), failed.join(", ")),
            };
            run.record.checks.push(checks);
            Ok(((), Said { text, ok }))
        })
        .await
    }

    /// Assert that the playbooks would run on the VM and on nothing else.
    fn guard(&self) -> Result<((), String), Failure> {
        let (controller, prefix) = self.controller()?;
        let connection = self.plan.connection(self.ctx.dirs);
        let playbooks = self.plan.playbooks(self.ctx.dirs);
        guard::check(&controller, &connection, &playbooks, &prefix)?;
        Ok(((), format!("only {} at {}", self.plan.host, connection.address)))
    }

    /// The playbook side and what confines it.
    pub(super) fn controller(&self) -> Result<(Controller, Vec<String>), Failure> {
        let controller = self.plan.controller(self.ctx.dirs);
        // What the user gives with a later `apply -e` comes on top of what the VM was made with.
        controller.write_user_vars()?;
        let prefix = self.network()?.confine(controller.folder.path(), &self.allowed(&controller))?;
        Ok((controller, prefix))
    }

    /// What the repository's code may see of this host, before there is a VM and with one.
    pub(super) fn allowed(&self, controller: &Controller) -> Confinement {
        let keep_sockets = self.plan.profile.allow.iter().filter_map(|allow| allow.socket.clone()).collect();
        // What the playbooks and their plugins read, wherever it lies.
        let mut visible = controller.reads();
        visible.push(self.ctx.dirs.root.clone());
        Confinement { keep_sockets, visible, writable: vec![controller.repo.clone()] }
    }

    /// Run Ansible on a playbook, unless the machine is lost meanwhile.
    pub(super) async fn ansible<T>(
        &self,
        playbook: &Utf8Path,
        work: impl AsyncFnOnce(&Runner<'_>, Say<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (controller, prefix) = self.controller()?;
        let log = self.record.run.join("ansible.log");
        let address = self.plan.net.vm.ip;
        let runner = Runner { controller: &controller, address, prefix: &prefix, log: &log, limit: LIMIT };
        let mut say = |line: &str| self.ctx.progress.output(line);
        self.watch()?.unless_lost(playbook.as_str(), work(&runner, &mut say)).await
    }
}

/// What is kept of a playbook run. In one that failed, the last task that failed is the one that ended it;
/// those before it were ignored or rescued, as all of them were in one that passed.
fn playbook(outcome: Outcome, ok: bool) -> Playbook {
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
    let Outcome { playbook, seconds, tasks, changed, recap, reports, .. } = outcome;
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
            let kept = playbook(outcome(&tasks), ok);
            kept.failed.into_iter().map(|task| (task.task, task.went_on)).collect::<Vec<_>>()
        };
        let named = |last: bool| [("rescued", true), ("ignored", true), ("last", last)].map(|(t, w)| (t.to_owned(), w));
        assert_eq!(told(false), named(false));
        assert_eq!(told(true), named(true));
    }
}
