//! The proof that the harness sees what it exists to see: for each scenario a red case that must fail, then a green one
//! that must pass.
//!
//! Red counts only for the right reason: the checks that the scenario names, and no others, must have
//! turned red when it says so, and the cause must stand where it says.

mod judge;
mod select;

pub use select::Asked;

use super::Context;
use super::cycle::{Choices, Outcome, cycle};
use super::passes::Wanted;
use crate::ansible::UserVars;
use crate::plan::Plan;
use crate::profile::{BreakGlass, Scenario, Shows};
use camino::Utf8PathBuf;
use evidence::page::{self, headline};
use evidence::record::proof::{Case, ProofRecord, Tried};
use evidence::record::{Record, Step};
use evidence::report::RunFolder;
use host::failure::{Blame, Exit, Failure};
use host::names::HostName;
use vm::machine::VmDir;

/// Why nothing is proved.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The profile has no red case.
    #[error("the profile of {host} names no red case")]
    NoRed {
        /// The host.
        host: HostName,
        /// The scenarios that it has all the same.
        known: Vec<String>,
    },
    /// There is no scenario of that name.
    #[error("the profile of {host} has no scenario {name}; {}", listed(.known))]
    Unknown {
        /// The host.
        host: HostName,
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The red case passed.
    #[error("the harness is not faithful: the red case passed")]
    RedPassed,
    /// The red case failed, but not as it has to.
    #[error("the harness is not faithful: the red case failed for another reason: {why}")]
    OtherReason {
        /// What is different.
        why: String,
    },
    /// The green case showed what its red case shows at once.
    #[error("the green case passed, but {id} had failed in it before the reboot: {detail}")]
    GreenWasRed {
        /// The check.
        id: String,
        /// What it saw.
        detail: String,
    },
}

fn listed(known: &[String]) -> String {
    if known.is_empty() { "there is none".into() } else { format!("there are {}", known.join(", ")) }
}

impl Blame for ProveError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoRed { .. } | Self::Unknown { .. } => Exit::Usage,
            Self::RedPassed | Self::OtherReason { .. } => Exit::Unfaithful,
            Self::GreenWasRed { .. } => Exit::Verify,
        }
    }
    fn next(&self) -> Option<String> {
        Some(match self {
            Self::NoRed { known, .. } if !known.is_empty() => {
                format!("name some of its scenarios with --scenario ({}), or take all with --all", known.join(", "))
            }
            Self::NoRed { .. } => {
                "add a scenario to the profile: an overlay that brings a known fault back, and the checks that see it".into()
            }
            Self::Unknown { .. } => "correct the name, or add the scenario to `scenarios` in the profile".into(),
            Self::RedPassed => "the overlay no longer brings the fault back, or the checks no longer see it: trust no green until this is fixed".into(),
            Self::OtherReason { .. } => "compare the checks, the verdict and the files of the evidence with what the scenario says in the profile".into(),
            Self::GreenWasRed { .. } => "correct the green case's overlay or the playbooks: the fault must not show before the reboot either".into(),
        })
    }
}

/// How a proof ended.
#[derive(Debug)]
pub struct Proof {
    /// What was tried, and what came of it.
    pub record: ProofRecord,
    /// Where it is kept.
    pub folder: RunFolder,
    /// The VM that was kept, to be looked at.
    pub kept: Option<HostName>,
}

/// One of the two cases of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// With the fault.
    Red,
    /// Without it.
    Green,
}

impl Side {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Green => "green",
        }
    }
}

/// A scenario, and the plans of its cases.
struct Planned {
    name: String,
    scenario: Scenario,
    red: Plan,
    green: Plan,
}

/// A green case that was run: for every scenario that has the same one.
struct Green {
    overlay: Option<Utf8PathBuf>,
    break_glass: Option<BreakGlass>,
    outcome: Outcome,
}

impl Green {
    /// Whether it is this scenario's, too.
    fn is_of(&self, scenario: &Scenario) -> bool {
        self.overlay == scenario.fixed && self.break_glass == scenario.break_glass
    }
}

/// Run the red case of each scenario, then its green one. `plan` makes the plan of a case from its extra variables. The
/// error is for what went wrong before the first case.
pub async fn prove(
    ctx: Context<'_>,
    host: &HostName,
    asked: &Asked,
    plan: impl Fn(Vec<UserVars>) -> Result<Plan, Failure>,
    told: impl Fn(&str, Side, &Outcome),
) -> Result<Proof, Failure> {
    let whole = plan(Vec::new())?;
    let overlay = |path: &Utf8PathBuf| vec![UserVars::File(ctx.dirs.root.join(path))];
    let mut all = Vec::new();
    for (name, scenario) in select::select(&whole.profile, host, asked)? {
        let promised = |mut plan: Plan| {
            plan.profile.break_glass = scenario.break_glass.clone().or(plan.profile.break_glass);
            plan
        };
        let red = promised(plan(overlay(&scenario.broken))?);
        let green = promised(plan(scenario.fixed.as_ref().map(overlay).unwrap_or_default())?);
        all.push(Planned { name, scenario, red, green });
    }
    super::guards::no_other_vm(&ctx)?;
    let begun = all.iter().map(|one| Tried::begin(&one.name, one.scenario.shows.to_string())).collect();
    let folder = ProofRecord::folder(ctx.dirs, host, &command(host, &all))?;
    let record = ProofRecord::begin(host, begun);
    let mut course =
        Course { ctx, host, keep: asked.keep, record, folder, reds: Vec::new(), greens: Vec::new(), kept: None };
    for (at, one) in all.iter().enumerate() {
        let done = course.scenario(at, one, &told).await;
        let ended = done.as_ref().is_err_and(|failure| failure.exit == Exit::Interrupted);
        course.record.scenarios[at].failure = done.err();
        page::publish_proof(&course.record, &course.folder)?;
        if ended {
            break;
        }
    }
    course.end()
}

/// As it could be typed.
fn command(host: &HostName, all: &[Planned]) -> String {
    let names: Vec<_> = all.iter().map(|one| format!(" --scenario {}", one.name)).collect();
    format!("prove {host}{}", names.concat())
}

/// A proof at work.
struct Course<'a> {
    ctx: Context<'a>,
    host: &'a HostName,
    keep: bool,
    record: ProofRecord,
    folder: RunFolder,
    reds: Vec<Record>,
    greens: Vec<Green>,
    /// The VM that the last case has left.
    kept: Option<HostName>,
}

impl Course<'_> {
    /// Both cases of a scenario. The error is why it is not proved.
    async fn scenario(
        &mut self,
        at: usize,
        one: &Planned,
        told: &impl Fn(&str, Side, &Outcome),
    ) -> Result<(), Failure> {
        let Planned { name, scenario, .. } = one;
        // What shows at once needs no reboot, and the cases are about the checks: what else the playbooks could say is
        // for `cycle`.
        let no_reboot = scenario.shows == Shows::AtOnce;
        let choices = Choices { no_reboot, no_snapshot: true, check_mode: Wanted::Never, ..Choices::default() };
        let red = self.case(one.red.clone(), choices, &format!("prove {}, {name}, the red case", self.host)).await?;
        told(name, Side::Red, &red);
        self.record.scenarios[at].red = Some(Case::of(&red.record, headline(&red.record)));
        let judged = judge::red(&red.record, scenario);
        self.reds.push(red.record);
        judged?;
        // It failed as it must, so there is nothing to look at.
        self.clear().await?;
        let known = self.greens.iter().position(|green| green.is_of(scenario));
        let known = match known {
            Some(known) => known,
            None => {
                let choices = Choices {
                    keep: self.keep.into(),
                    no_snapshot: !self.keep,
                    check_mode: Wanted::Never,
                    ..Choices::default()
                };
                let what = format!("prove {}, {name}, the green case", self.host);
                let outcome = self.case(one.green.clone(), choices, &what).await?;
                told(name, Side::Green, &outcome);
                let (overlay, break_glass) = (scenario.fixed.clone(), scenario.break_glass.clone());
                self.greens.push(Green { overlay, break_glass, outcome });
                self.greens.len() - 1
            }
        };
        let green = &self.greens[known].outcome.record;
        self.record.scenarios[at].green = Some(Case::of(green, headline(green)));
        judge::green(green, scenario)
    }

    /// Run one case, in the place of the last one.
    async fn case(&mut self, plan: Plan, choices: Choices, what: &str) -> Result<Outcome, Failure> {
        self.clear().await?;
        let outcome = cycle(self.ctx, plan, choices, what).await?;
        self.kept.clone_from(&outcome.kept);
        self.record.leaks.extend_from_slice(&outcome.record.leaks);
        Ok(outcome)
    }

    /// Remove what the last case has left.
    async fn clear(&mut self) -> Result<(), Failure> {
        if let Some(host) = self.kept.take() {
            let removed = super::down::down(&self.ctx, &host).await?;
            self.record.leaks.extend_from_slice(&removed.leaks);
        }
        Ok(())
    }

    /// What is known only now goes into the green cases, too.
    fn end(mut self) -> Result<Proof, Failure> {
        let cases = || self.reds.iter().chain(self.greens.iter().map(|green| &green.outcome.record));
        let never = judge::never_red(cases);
        for green in &mut self.greens {
            green.outcome.record.add(Step::NeverRed(never.clone()));
        }
        let last = self.greens.last().filter(|_| self.kept.is_some()).map(|green| &green.outcome);
        if let Some((host, record)) = last.and_then(|last| Some((last.kept.as_ref()?, &last.record))) {
            record.save(&VmDir::of(self.ctx.dirs, host))?;
        }
        for green in &self.greens {
            page::publish(&green.outcome.record)?;
        }
        self.record.never_red = Some(never);
        self.record.conclude();
        page::publish_proof(&self.record, &self.folder)?;
        Ok(Proof { record: self.record, folder: self.folder, kept: self.kept })
    }
}
