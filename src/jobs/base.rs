//! A change on top of what is there: a revision of the playbook repository is applied first, and has no part in the verdict.

use super::Progress;
use super::inputs::{self, Inputs};
use super::renew::take_effect;
use super::run::Run;
use super::target::Target;
use super::up::Found;
use crate::plan::Plan;
use crate::revision::{self, Checkout, Revision, WorkingTree};
use camino::Utf8Path;
use evidence::record::{Base, OnTop, Playbook, Step};
use host::failure::Failure;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What the phases of what is applied first are told by.
const WORD: &str = "base ";

/// A revision that is to be applied first, brought and looked at.
pub(super) struct First {
    from: Revision,
    beside: WorkingTree,
    /// The run's plan by the copy of the repository.
    plan: Plan,
    inputs: Inputs,
    /// The copy; it goes when it was applied.
    _checkout: Checkout,
}

impl First {
    /// Bring the revision of the plan, if it has one, and look at its inputs as at those of the run. Nothing but a copy is made.
    pub(super) fn look(target: &Target<'_>, progress: &dyn Progress) -> Result<Option<Self>, Failure> {
        let (dirs, Some(from)) = (target.dirs, target.plan.from.clone()) else { return Ok(None) };
        // The run has the lock: what lies there was left by a command that was killed.
        let (_, leaks) = revision::clear(&dirs.state)?;
        for leak in leaks {
            progress.note(&format!("{} is left as it is: {}", leak.what, leak.why));
        }
        let checkout = Checkout::make(&from, &dirs.state)?;
        let beside = from.beside()?;
        let plan = target.plan.by(checkout.repo());
        let inputs =
            inputs::look(&Target::new(dirs, plan.clone()), progress).map_err(|failure| first(failure, &from))?;
        Ok(Some(Self { from, beside, plan, inputs, _checkout: checkout }))
    }

    /// Its commit.
    pub(super) fn commit(&self) -> &str {
        &self.from.commit
    }

    /// Where the playbooks lie in the git repository.
    pub(super) fn within(&self) -> &Utf8Path {
        &self.from.within
    }

    /// What tells whether what git ignores is what it was.
    pub(super) fn ignored(&self) -> Result<String, String> {
        revision::ignored_stamp(&self.from).map_err(|e| host::failure::with_causes(&e))
    }

    /// Out of reach is what either side must never reach.
    pub(super) fn add_never(&self, never: &mut BTreeMap<String, Vec<IpAddr>>) {
        for (name, addresses) in &self.inputs.never {
            let known = never.entry(name.clone()).or_default();
            known.extend(addresses);
            known.sort();
            known.dedup();
        }
    }
}

impl Run<'_> {
    /// Apply what comes first to a machine that is ready, which came to be so by `base`.
    pub(super) async fn apply_first(&mut self, of: &First, found: &Found, base: Base) -> Result<(), Failure> {
        let done = self.by(of.plan.clone(), WORD, async |run| {
            run.begin_apply(None)?;
            take_effect(run, &of.inputs.preflight, &found.net.never)?;
            run.playbooks(None).await
        });
        let done = done.await;
        let playbooks = self.record().playbooks.clone();
        self.keep(Step::OnTop(Box::new(on_top(of, base, playbooks))));
        done.map_err(|failure| first(failure, &of.from))
    }

    /// From here on all is the run's own.
    pub(super) fn then_the_change(&self, found: &Found) -> Result<(), Failure> {
        take_effect(self, &found.preflight, &found.net.never)
    }
}

/// What the record has of it.
pub(super) fn on_top(of: &First, base: Base, playbooks: Vec<Playbook>) -> OnTop {
    let (tree, tree_changed) = (of.beside.commit.clone(), of.beside.changed);
    OnTop { rev: of.from.rev.clone(), commit: of.from.commit.clone(), tree, tree_changed, base, playbooks }
}

/// A failure of what comes first is none of the change.
fn first(failure: Failure, from: &Revision) -> Failure {
    failure.during(format!("{from}, which is to be applied first, is not what the change can be applied on top of"))
}

impl std::fmt::Display for First {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.from.fmt(f)
    }
}
