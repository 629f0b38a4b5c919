//! `prove`: scenario by scenario, and what is proved by it.

use super::args::{RunArgs, ViaArgs};
use super::change::how_to_look;
use super::dispatch::{options, resolve, wait_on};
use super::say::Say;
use super::verdict;
use crate::ansible::UserVars;
use crate::jobs::cycle::Outcome;
pub(super) use crate::jobs::prove::Asked;
use crate::jobs::prove::{Side, prove};
use crate::jobs::{Context, guards};
use evidence::page::PAGE;
use evidence::record::proof::{Case, ProofRecord};
use host::failure::{Exit, Failure};
use host::names::HostName;
use host::presence::{IN_MEMORY, ignore};
use host::visible::line;
use std::fmt::Write;

/// Prove that each red case fails as it must, and that the green ones pass.
pub(super) fn run(
    ctx: Context<'_>,
    host: &HostName,
    run: RunArgs,
    via: ViaArgs,
    asked: &Asked,
    say: &Say,
) -> Result<u8, Failure> {
    let options = options(ctx.dirs, run, via.into())?;
    let _lock = guards::lock(&ctx, &format!("prove {host}"))?;
    let plan = |more: Vec<UserVars>| {
        let mut options = options.clone();
        options.extra_vars.extend(more);
        resolve(ctx.dirs, host, options)
    };
    let told = |scenario: &str, side: Side, outcome: &Outcome| {
        let case = side.name();
        say.text(format!("\n== {scenario}, the {case} case{}", verdict::text(&outcome.record)));
        // The red case has to fail.
        if side == Side::Green {
            super::ci::report(&outcome.record);
        }
        say.object(&serde_json::json!({"event": "case", "scenario": scenario, "case": case, "result": outcome.record}));
    };
    let proof = wait_on(prove(ctx, host, asked, plan, told))?;
    let (record, page) = (&proof.record, proof.folder.path().join(PAGE));
    let never = record.never_red.as_deref().unwrap_or_default();
    if record.exit == Some(Exit::Passed) && !never.is_empty() {
        say.text(format!("\nNEVER RED: {}", line(&never.join(", "))));
        say.text("No red case turns these checks red, so it is unknown whether they can be: a scenario that breaks what they ask would show it.");
    }
    say.object(&serde_json::json!({"event": "never-red", "checks": never}));
    say.object(&serde_json::json!({"event": "proof", "page": page, "proof": record}));
    say.text(format!("\n{}", table(record).trim_end()));
    say.text(format!("report: {page}"));
    if let Some(host) = &proof.kept {
        how_to_look(host, say);
    }
    match &record.failure {
        Some(failure) => Err(named(record, failure.clone())),
        None => {
            say.text(format!(
                "\nPROVED: {} {}red as it must, and green without its fault. A green cycle of {host} means something.",
                record.scenarios.iter().map(|tried| tried.name.as_str()).collect::<Vec<_>>().join(", "),
                if record.scenarios.len() == 1 { "was " } else { "were each " }
            ));
            Ok(0)
        }
    }
}

/// Of several scenarios, the one that failed is named.
fn named(record: &ProofRecord, failure: Failure) -> Failure {
    match record.scenarios.iter().find(|tried| tried.failure.is_some()) {
        Some(tried) if record.scenarios.len() > 1 => failure.during(format!("scenario {}", tried.name)),
        _ => failure,
    }
}

/// Both cases of each scenario, with the first line of their verdicts.
fn table(record: &ProofRecord) -> String {
    let mut out = String::new();
    let width = record.scenarios.iter().map(|tried| tried.name.len()).max().unwrap_or_default();
    let mut row = |name: &str, case: &str, of: Option<&Case>| {
        let said = of.map(|it| format!("{:5.0} s  {}", it.seconds, line(&it.verdict)));
        let said = said.unwrap_or_else(|| "not run".into());
        ignore(writeln!(out, "  {name:width$}  {case:5}  {said}"), IN_MEMORY);
    };
    for tried in &record.scenarios {
        row(&tried.name, Side::Red.name(), tried.red.as_ref());
        row("", Side::Green.name(), tried.green.as_ref());
    }
    out
}
