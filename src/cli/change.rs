//! The commands that change something: each takes its lock, resolves what it needs, and runs its job.

use super::args::{CheckModeArgs, FindingsArgs, RunArgs, SecondArgs, UpgradeArgs, ViaArgs};
use super::dispatch::{options, parse_all, resolve, wait_on, warn};
use super::say::Say;
use super::verdict;
use crate::jobs::cycle::{self, Choices, Keep, Outcome};
use crate::jobs::down::{self, Removed};
use crate::jobs::ends::{self, Both};
use crate::jobs::run::Run;
use crate::jobs::target::Target;
use crate::jobs::{Context, guards, part, snapshot};
use crate::plan::options::Options;
use evidence::page::headline;
use evidence::record::{Asked, Partial};
use host::failure::{Exit, Failure};
use host::names::{HostName, SnapshotName};
use std::time::Duration;
use vm::reboot::{Choice, Mode};

/// Bring a VM up.
pub(super) fn up(ctx: Context<'_>, host: &HostName, run: RunArgs, say: &Say) -> Result<u8, Failure> {
    let what = format!("up {host}");
    let plan = resolve(ctx.dirs, host, options(ctx.dirs, run, Choice::default())?)?;
    let _lock = guards::lock(&ctx, &what)?;
    warn(&ctx, &plan);
    wait_on(async {
        let mut run = Run::begin(ctx, plan, &what)?;
        let done = run.up().await;
        step(run, done, Asked::Step, say).await
    })
}

/// What an `apply` runs, leaves out and judges.
pub(super) struct ApplyArgs {
    /// None: all of the playbooks.
    pub(super) part: Option<Partial>,
    pub(super) no_snapshot: bool,
    pub(super) second: SecondArgs,
}

/// Run the playbooks anew, by the profile as it is now.
pub(super) fn apply<'c>(
    ctx: Context<'c>,
    host: &HostName,
    more: &[String],
    asked: ApplyArgs,
    say: &Say,
) -> Result<u8, Failure> {
    let ApplyArgs { part, no_snapshot, second } = asked;
    let more = parse_all(ctx.dirs, more)?;
    // A refusal leaves no trace in the record of the VM that is there.
    let prepare = |target: Target<'c>| {
        let target = target.renewed()?;
        let part = part.map(|part| part::checked(&target.plan, part)).transpose()?;
        Ok((target.with(more), part))
    };
    stage(ctx, host, "apply", Asked::Step, say, prepare, async |run, part| {
        run.apply_anew(part.as_ref()).await?;
        if second.wanted() {
            run.second_run().await?;
        }
        match (no_snapshot, part) {
            (true, _) => run.discard_snapshot(&SnapshotName::applied()).await?,
            (false, None) => run.snapshot(&SnapshotName::applied()).await?,
            // The way back from a part is to the last whole.
            (false, Some(_)) => {}
        }
        run.judge_idempotence()
    })
}

/// Bring the VM back to a snapshot.
pub(super) fn reset(ctx: Context<'_>, host: &HostName, to: Option<SnapshotName>, say: &Say) -> Result<u8, Failure> {
    let to = to.unwrap_or_else(SnapshotName::applied);
    snapshot::wanted(ctx.dirs, host, &to)?;
    stage(ctx, host, "reset", Asked::Step, say, as_it_is, async |run, ()| {
        let restore = run.restore(&to, run.plan().limit()).await?;
        say.object(&serde_json::json!({"event": "restore", "restore": restore}));
        say.text(verdict::restore(&run.plan().host, &restore));
        Ok(())
    })
}

/// Take a snapshot by a name, or remove one.
pub(super) fn snapshot(
    ctx: Context<'_>,
    host: &HostName,
    name: Option<SnapshotName>,
    drop: Option<SnapshotName>,
    say: &Say,
) -> Result<u8, Failure> {
    match (&name, &drop) {
        (Some(name), _) => snapshot::free(ctx.dirs, host, name)?,
        (None, Some(drop)) => snapshot::wanted(ctx.dirs, host, drop)?,
        (None, None) => {}
    }
    stage(ctx, host, "snapshot", Asked::Step, say, as_it_is, async |run, ()| {
        if let Some(name) = &name {
            run.snapshot(name).await?;
        }
        match &drop {
            Some(drop) => run.discard_snapshot(drop).await,
            None => Ok(()),
        }
    })
}

/// Restart the VM, and compare what was there before with what is there after.
pub(super) fn reboot(
    ctx: Context<'_>,
    host: &HostName,
    via: ViaArgs,
    timeout: Option<u64>,
    findings: FindingsArgs,
    say: &Say,
) -> Result<u8, Failure> {
    let choice = Choice::from(via);
    // What can be refused without the VM is: the mode that `up` resolved matters only where none is given.
    choice.request(Mode::Reset)?;
    stage(ctx, host, "reboot", Asked::Step, say, as_it_is, async |run, ()| {
        tell_partial(run);
        let request = choice.request(run.plan().restart.mode)?;
        let limit = timeout.map_or(run.plan().limit(), Duration::from_secs);
        run.judge_by(findings.into(), findings.watch_for());
        let before = run.observe().await?;
        let restart = run.reboot(&request, limit).await?;
        let since = run.judged_until(Some(&restart))?;
        run.undisturbed(since, Some(&restart), async |run| {
            let compared = run.compare(before).await?;
            run.seen_alive(&restart, compared).await
        })
        .await?;
        run.judge_state()?;
        say.text(verdict::state(run.record()));
        run.judge_way()
    })
}

/// Run the checks and come to a verdict.
pub(super) fn assert(ctx: Context<'_>, host: &HostName, findings: FindingsArgs, say: &Say) -> Result<u8, Failure> {
    stage(ctx, host, "assert", Asked::Verdict, say, as_it_is, async |run, ()| {
        tell_partial(run);
        run.judge_by(findings.into(), findings.watch_for());
        checks(run).await
    })
}

/// What a whole run leaves out, keeps and judges.
pub(super) struct CycleArgs {
    pub(super) keep: Keep,
    pub(super) no_reboot: bool,
    pub(super) no_snapshot: bool,
    pub(super) findings: FindingsArgs,
    pub(super) second: SecondArgs,
    pub(super) check_mode: CheckModeArgs,
    pub(super) upgrade: UpgradeArgs,
}

/// The whole run.
pub(super) fn whole(
    ctx: Context<'_>,
    host: &HostName,
    run: RunArgs,
    via: ViaArgs,
    asked: CycleArgs,
    say: &Say,
) -> Result<u8, Failure> {
    let what = format!("cycle {host}");
    let CycleArgs { keep, no_reboot, no_snapshot, findings, second, check_mode, upgrade } = asked;
    let UpgradeArgs { from, both } = upgrade;
    let options = Options { from, ..options(ctx.dirs, run, via.into())? };
    let plan = resolve(ctx.dirs, host, options.clone())?;
    let _lock = guards::lock(&ctx, &what)?;
    warn(&ctx, &plan);
    let (watch_for, findings, check_mode) = (findings.watch_for(), findings.into(), check_mode.into());
    let idempotence = second.wanted();
    let ends = ends::Wanted::Nothing;
    let choices = Choices { keep, no_reboot, no_snapshot, findings, watch_for, idempotence, check_mode, ends };
    if both {
        return fresh_and_upgraded(ctx, host, options, choices, say);
    }
    let outcome = wait_on(cycle::cycle(ctx, plan, choices, &what))?;
    Ok(tell_outcome(&outcome, say))
}

/// The whole run on a fresh machine and on top of a revision, and how both end.
fn fresh_and_upgraded(
    ctx: Context<'_>,
    host: &HostName,
    options: Options,
    choices: Choices,
    say: &Say,
) -> Result<u8, Failure> {
    let plan = |options| resolve(ctx.dirs, host, options);
    let told = |fresh: &Outcome| {
        say.text(format!("\n== the fresh host{}", verdict::text(&fresh.record)));
        say.object(&serde_json::json!({"event": "fresh", "result": fresh.record}));
    };
    let Both { fresh, upgraded } = wait_on(ends::both(ctx, host, options, choices, plan, told))?;
    let Some(upgraded) = upgraded else { return Ok(tell_outcome(&fresh, say)) };
    say.text("\n== the upgraded host");
    let code = tell_outcome(&upgraded, say);
    // What the first has left behind is told by its own verdict.
    Ok(if code == 0 { fresh.record.code() } else { code })
}

/// Remove the VM.
pub(super) fn down(ctx: Context<'_>, host: &HostName, say: &Say) -> Result<u8, Failure> {
    let _lock = guards::lock(&ctx, &format!("down {host}"))?;
    tell_removed(&wait_on(down::down(&ctx, host))?, say)
}

/// Remove what nobody owns any more, or everything.
pub(super) fn prune(ctx: Context<'_>, all: bool, say: &Say) -> Result<u8, Failure> {
    let _lock = guards::lock(&ctx, "prune")?;
    tell_removed(&wait_on(down::prune(&ctx, all))?, say)
}

/// Remove the networks alone.
pub(super) fn net_down(ctx: Context<'_>, say: &Say) -> Result<u8, Failure> {
    let _lock = guards::lock(&ctx, "net down")?;
    tell_removed(&down::networks_only(&ctx)?, say)
}

/// The checks, of what runs now: where that is what came back from the last reboot, they are part of its proof.
async fn checks(run: &mut Run<'_>) -> Result<(), Failure> {
    let since = run.still_proved().await?;
    let restart = run.record().reboot.clone();
    let when = if restart.is_some() { "after the reboot" } else { "before the reboot" };
    run.undisturbed(since, restart.as_ref(), async |run| {
        run.check("assert", when).await?;
        match &restart {
            Some(restart) => run.seen_alive(restart, None).await,
            None => Ok(()),
        }
    })
    .await?;
    run.judge()?;
    run.judge_state()?;
    run.judge_check_mode()?;
    run.judge_idempotence()
}

/// What is proved of a part of the playbooks is told with its limits, from the beginning.
fn tell_partial(run: &Run<'_>) {
    let Some(part) = &run.record().partial else { return };
    run.progress().note(&format!(
        "only a part of the playbooks was applied last ({part}): the verdict is not that of the whole until `boma-qemu apply {}`",
        run.plan().host
    ));
}

/// For a stage that goes by what the last `apply` went by, or `up`.
fn as_it_is(target: Target<'_>) -> Result<(Target<'_>, ()), Failure> {
    Ok((target, ()))
}

/// One stage of a VM that is up. What `prepare` refuses is refused before any work, and leaves no trace.
fn stage<'c, T>(
    ctx: Context<'c>,
    host: &HostName,
    name: &str,
    asked: Asked,
    say: &Say,
    prepare: impl FnOnce(Target<'c>) -> Result<(Target<'c>, T), Failure>,
    work: impl AsyncFnOnce(&mut Run<'c>, T) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let _lock = guards::lock(&ctx, &format!("{name} {host}"))?;
    wait_on(async {
        let (target, prepared) = prepare(Target::open(ctx.dirs, host)?)?;
        let mut run = Run::go_on(ctx, target)?;
        // Without its DHCP server or its way out the guest would fail for that, and not for what is tested.
        run.vm().network()?.check()?;
        run.begin_command();
        let done = work(&mut run, prepared).await;
        step(run, done, asked, say).await
    })
}

/// The end of a stage that is run alone: the evidence is kept, and so is the VM.
async fn step(run: Run<'_>, done: Result<(), Failure>, asked: Asked, say: &Say) -> Result<u8, Failure> {
    let failed = done.is_err();
    let outcome = run.close(done, Keep::Always, asked).await?;
    if failed {
        return Ok(tell_outcome(&outcome, say));
    }
    say.object(&serde_json::json!({"event": "result", "kept": outcome.kept, "result": outcome.record}));
    if asked == Asked::Verdict {
        say.result(headline(&outcome.record));
    }
    say.result(format!("evidence: {}", outcome.record.run));
    Ok(outcome.record.code())
}

/// The verdict, and how to look at what was kept.
fn tell_outcome(outcome: &Outcome, say: &Say) -> u8 {
    say.text(verdict::text(&outcome.record));
    super::ci::report(&outcome.record);
    say.object(&serde_json::json!({"event": "result", "kept": outcome.kept, "result": outcome.record}));
    if let Some(failure) = &outcome.record.failure {
        super::tell(say, failure);
    }
    if let Some(host) = &outcome.kept {
        how_to_look(host, say);
    }
    outcome.record.code()
}

pub(super) fn how_to_look(host: &HostName, say: &Say) {
    say.text(format!(
        "\nThe VM is still there. Look at it:\n  \
         boma-qemu ssh {host}\n  \
         boma-qemu console {host} --follow\n  \
         boma-qemu qmp {host} query-status\n\
         and remove it:\n  \
         boma-qemu down {host}"
    ));
}

fn tell_removed(removed: &Removed, say: &Say) -> Result<u8, Failure> {
    say.object(&serde_json::json!({"event": "removed", "removed": removed}));
    let names: Vec<_> = removed
        .vms
        .iter()
        .map(|h| format!("VM of {h}"))
        .chain(removed.networks.iter().map(|n| format!("network {n}")))
        .chain(removed.leftovers.iter().map(|path| format!("{path}, left by a command that was killed")))
        .collect();
    say.result(match (names.is_empty(), removed.leaks.is_empty()) {
        (true, true) => "nothing was there".to_owned(),
        (true, false) => "nothing was removed".to_owned(),
        (false, _) => format!("removed: {}", names.join(", ")),
    });
    match removed.leaks.is_empty() {
        true => Ok(0),
        false => {
            let named: Vec<_> = removed.leaks.iter().map(|l| format!("{} ({})", l.what, l.why)).collect();
            Err(Failure::new(Exit::Leaked, format!("still there: {}", named.join("; ")))
                .next("remove by hand what is named, as it says there; `boma-qemu prune` tells whether that was all"))
        }
    }
}
