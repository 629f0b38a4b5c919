//! The stage of the outcome checks: the entries of `verify` in their order.

pub mod ask;
mod break_glass;
mod certificate;

use super::apply::{Say, ansible};
use super::run::{Run, Said};
use crate::ansible::AnsibleError;
use crate::ansible::run::Runner;
use crate::checks::{Program, output};
use crate::profile::Part;
use camino::Utf8Path;
use evidence::playbook::checks::{self, Check};
use evidence::record::{Checks, Shown, Step};
use host::failure::Failure;

impl Run<'_> {
    /// Run the outcome checks. Checks that fail are an answer and no error; [`Run::judge`] judges them.
    pub async fn check(&mut self, phase: &str, when: &str) -> Result<(), Failure> {
        let mut ran = None;
        let done = self.phase(phase, async |run| {
            let (said, checks, shown) = check(run, when).await?;
            ran = Some((checks, shown));
            Ok(((), said?))
        });
        let done = done.await;
        if let Some((checks, shown)) = ran {
            self.keep(Step::Checks(checks));
            if let Some(shown) = shown {
                self.keep(Step::Certificate(shown));
            }
        }
        done
    }
}

/// Go through `verify`: what is said of it, what its checks said, and the certificate that was shown.
async fn check(run: &Run<'_>, when: &str) -> Result<(Result<Said, Failure>, Checks, Option<Shown>), Failure> {
    let mut checks = all(run).await?;
    let red = checks.iter().any(Check::is_red);
    let (certificate, shown) = certificate::check(run, when, red).await?.unzip();
    checks.extend(certificate);
    let red = checks.iter().any(Check::is_red);
    checks.extend(break_glass::check(run, red).await?);
    checks::number(&mut checks);
    let earlier: Vec<_> = run.record().checks.iter().map(|run| (run.when.as_str(), &run.checks[..])).collect();
    checks::hold_against(&mut checks, &earlier);
    let never = checks::never_looked(&checks, &earlier);
    let checks = Checks { when: when.to_owned(), checks };
    let failed: Vec<_> = checks.failed().map(|check| check.id.as_str()).collect();
    let all = checks.checks.len();
    // What is red for certain is an answer; without it, nothing is known where nobody looked.
    let said = match failed.len() {
        n if !never.is_empty() && n == never.len() => {
            Err(AnsibleError::NeverLooked { when: when.to_owned(), checks: never, all }.into())
        }
        0 => Ok(Said::from(format!("{all} checks hold {when}"))),
        n => Ok(Said { text: format!("{n} of {all} checks failed {when}: {}", failed.join(", ")), ok: false }),
    };
    Ok((said, checks, shown.flatten()))
}

/// What all entries found.
async fn all(run: &Run<'_>) -> Result<Vec<Check>, Failure> {
    let mut checks = Vec::new();
    for part in run.plan().profile.verify.parts() {
        checks.extend(match part {
            Part::Playbook(path) => playbook(run, path).await?,
            Part::Probes(questions) => {
                let what = format!("{} probes", questions.len());
                run.vm().watch()?.unless_lost(&what, ask::ask(run.vm(), &questions)).await?
            }
            Part::Run(one) => program(run, one).await?,
        });
    }
    Ok(checks)
}

async fn playbook(run: &Run<'_>, path: &Utf8Path) -> Result<Vec<Check>, Failure> {
    let playbook = run.target().dirs.root.join(path);
    let work = async |runner: &Runner<'_>, say: Say<'_>| Ok(runner.verify(&playbook, say).await?);
    Ok(ansible(run, &playbook, work).await?.1)
}

async fn program(run: &Run<'_>, program: &Program) -> Result<Vec<Check>, Failure> {
    let dirs = run.target().dirs;
    let connection = run.plan().connection(dirs);
    let work =
        async |runner: &Runner<'_>, say: Say<'_>| Ok(runner.program(program, &dirs.root, &connection, say).await?);
    let left = ansible(run, Utf8Path::new(&program.name), work).await?;
    Ok(output::checks(program, &left))
}
