//! What makes of a fresh guest what the real host was before the change: packages, then playbooks. It is no part of what is
//! proved: it has phases and a place in the record of its own, and where it cannot be done there is no verdict.

use super::apply::{Say, ansible, guarded, playbook, told};
use super::run::Run;
use crate::ansible::run::{Applied, Runner};
use crate::profile::Apply;
use evidence::record::Step;
use host::failure::{Exit, Failure};
use host::shell::quoted;
use std::time::Duration;

/// Under emulation a large package takes minutes.
const LIMIT: Duration = Duration::from_secs(3600);

impl Run<'_> {
    /// Do what the profile's `prepare` says, if it says anything.
    pub(super) async fn made_ready(&mut self) -> Result<(), Failure> {
        let packages = self.plan().profile.prepare.packages.clone();
        if !packages.is_empty() {
            let installed = self.phase("prepare: packages", async |run| install(run, &packages).await).await;
            installed.map_err(not_ready)?;
            self.keep(Step::Packages(packages));
        }
        let playbooks = self.plan().prepares(self.target().dirs);
        if playbooks.is_empty() {
            return Ok(());
        }
        self.phase("prepare: guard", async |run| guarded(run.target(), &playbooks)).await.map_err(not_ready)?;
        for apply in &playbooks {
            self.prepare_by(apply).await.map_err(not_ready)?;
        }
        Ok(())
    }

    async fn prepare_by(&mut self, apply: &Apply) -> Result<(), Failure> {
        let name = format!("prepare: {}", apply.playbook.file_stem().unwrap_or("playbook"));
        let mut ran = None;
        let done = self.phase(&name, async |run| {
            let work = async |runner: &Runner<'_>, say: Say<'_>| Ok(runner.apply(apply, say).await?);
            let Applied { outcome, judged, .. } = ansible(run, &apply.playbook, work).await?;
            ran = Some(playbook(&outcome, judged.is_ok()));
            judged?;
            Ok(((), told(&outcome)))
        });
        let done = done.await;
        if let Some(ran) = ran {
            self.keep(Step::Prepared(ran));
        }
        if let Err(failure) = done {
            return Err(self.with_its_way(failure).await);
        }
        self.way_in().await
    }
}

/// The change was not tried, whatever the playbook's own failure says of it.
fn not_ready(failure: Failure) -> Failure {
    let exit = if failure.exit == Exit::Apply { Exit::Lost } else { failure.exit };
    let failure = failure.during("the guest could not be prepared, and nothing of the change was tried");
    Failure { exit, ..failure }
}

async fn install(run: &Run<'_>, packages: &[String]) -> Result<((), String), Failure> {
    let session = run.vm().session(LIMIT).await?;
    let answer = session.root_script(&script(packages), LIMIT).await?;
    match answer.code {
        0 => Ok(((), packages.join(", "))),
        code => {
            let said = format!("{}\n{}", answer.stdout, answer.stderr);
            let why = said.trim().lines().last().unwrap_or("it did not say why").to_owned();
            Err(Failure::new(Exit::Lost, format!("`apt-get install {}` ended with {code}: {why}", packages.join(" ")))
                .next("correct `packages` of `prepare` in the profile; a guest without apt takes a playbook"))
        }
    }
}

/// What root does. The lists are there, if the profile wants them.
fn script(packages: &[String]) -> String {
    let names: Vec<_> = packages.iter().map(|name| quoted(name)).collect();
    format!(
        "DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=60 -o Dpkg::Use-Pty=0 install -- {} 2>&1",
        names.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playbook_that_fails_here_is_no_failure_of_the_change() {
        let failed = not_ready(Failure::new(Exit::Apply, "a task failed").next("look"));
        assert_eq!((failed.exit, failed.next.as_deref()), (Exit::Lost, Some("look")));
        assert!(failed.chain[0].contains("nothing of the change was tried") && failed.chain[1] == "a task failed");
        assert_eq!(not_ready(Failure::new(Exit::Usage, "x")).exit, Exit::Usage);
    }

    #[test]
    fn packages_are_words_of_their_own() {
        let script = script(&["nginx=1.26.3-3".into(), "a~b".into()]);
        assert!(script.contains(" install -- ") && script.contains("1.26.3-3"), "{script}");
    }
}
