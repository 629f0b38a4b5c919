//! The playbook stages: the real playbooks, and the outcome checks.

use super::record::{Checks, Playbook};
use super::run::{Run, Said};
use crate::ansible::run::{Outcome, Runner};
use crate::ansible::{Controller, guard};
use crate::failure::Failure;
use crate::network::confine::Confinement;
use camino::Utf8PathBuf;
use std::time::Duration;

/// The longest that one playbook may take.
const LIMIT: Duration = Duration::from_secs(3600);

impl Run<'_> {
    /// Run the profile's playbooks, after the last look at where they would go.
    pub async fn apply(&mut self) -> Result<(), Failure> {
        self.phase("guard", async |run| run.guard()).await?;
        for apply in self.plan.profile.applies.clone() {
            let name = apply.playbook.file_stem().unwrap_or("apply").to_owned();
            self.phase(&name, async |run| {
                let (controller, prefix) = run.controller()?;
                let progress = run.ctx.progress;
                let mut say = |line: &str| progress.output(line);
                let log = run.ansible_log();
                let runner = run.runner(&controller, &prefix, &log);
                let work = async { Ok::<_, Failure>(runner.apply(&apply, &mut say).await?) };
                let outcome = run.watch()?.unless_lost(apply.playbook.as_str(), work).await?;
                let said = format!("{} tasks on the VM, {} changed", outcome.tasks, outcome.changed);
                run.record.playbooks.push(playbook(outcome));
                Ok(((), said))
            })
            .await?;
        }
        Ok(())
    }

    /// Run the outcome checks. Checks that fail are an answer and no error; [`Run::judge`] judges them.
    pub async fn check(&mut self, phase: &str, when: &str) -> Result<(), Failure> {
        self.phase(phase, async |run| {
            let (controller, prefix) = run.controller()?;
            let playbook = run.plan.verify(run.ctx.dirs);
            let progress = run.ctx.progress;
            let mut say = |line: &str| progress.output(line);
            let log = run.ansible_log();
            let runner = run.runner(&controller, &prefix, &log);
            let work = async { Ok::<_, Failure>(runner.verify(&playbook, &mut say).await?) };
            let (_, checks) = run.watch()?.unless_lost(playbook.as_str(), work).await?;
            let checks = Checks { when: when.to_owned(), checks };
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
    fn controller(&self) -> Result<(Controller, Vec<String>), Failure> {
        let controller = self.plan.controller(self.ctx.dirs);
        // What the user gives with a later `apply -e` comes on top of what the VM was made with.
        controller.write_user_vars()?;
        let keep_sockets = self.plan.profile.allow.iter().filter_map(|allow| allow.socket.clone()).collect();
        // What the playbooks and their plugins read, wherever it lies.
        let mut visible = controller.reads();
        visible.push(self.ctx.dirs.root.clone());
        let prefix = self.network()?.confine(controller.folder.path(), &Confinement { keep_sockets, visible })?;
        Ok((controller, prefix))
    }

    fn runner<'r>(&self, controller: &'r Controller, prefix: &'r [String], log: &'r Utf8PathBuf) -> Runner<'r> {
        Runner { controller, address: self.plan.net.vm.ip, prefix, log, limit: LIMIT }
    }

    fn ansible_log(&self) -> Utf8PathBuf {
        self.record.run.join("ansible.log")
    }
}

fn playbook(outcome: Outcome) -> Playbook {
    let Outcome { playbook, seconds, tasks, changed, .. } = outcome;
    Playbook { playbook, seconds, tasks, changed }
}
