//! From the arguments to the jobs.

use super::args::{Cli, Command, NetCommand, RunArgs};
use super::say::Say;
use super::{attach, audit, check, experiment, image, look, script, shell, verdict};
use crate::jobs::cycle::{Choices, Outcome, cycle};
use crate::jobs::down::{self, Removed, down, prune};
use crate::jobs::prove::prove;
use crate::jobs::run::Run;
use crate::jobs::{Context, guards, snapshot, stop};
use crate::plan::Plan;
use crate::plan::options::{Options, extra_vars};
use crate::profile::Profile;
use clap::CommandFactory;
use evidence::page::headline;
use evidence::record::Asked;
use host::dirs::Dirs;
use host::failure::{Exit, Failure};
use host::names::HostName;
use host::print;
use host::secrets;
use std::future::Future;
use vm::reboot::{Choice, Mode};

/// Run one command; the exit code.
pub(super) fn run(cli: Cli, say: &Say) -> Result<u8, Failure> {
    match cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "boma-qemu", &mut script);
            print::out(String::from_utf8_lossy(&script).trim_end());
            return Ok(0);
        }
        Command::Man { dir } => return look::man(&dir),
        Command::CheckConsole { file, profile, .. } => {
            let Some(file) = file else { return Ok(check::list(say)) };
            let load = |host| Ok::<_, Failure>(Profile::load(&Dirs::resolve(cli.common.root.as_deref())?, &host)?);
            return check::file(&file, profile.map(load).transpose()?.as_ref(), say);
        }
        _ => {}
    }
    let dirs = Dirs::resolve(cli.common.root.as_deref())?;
    let ctx = Context { dirs: &dirs, progress: say };
    match cli.command {
        Command::Doctor { net, repo } => look::doctor(&dirs, net.into(), repo, say),
        Command::Plan { host, run, via } => look::plan(&dirs, &host, options(&dirs, run, via.into())?, say),
        Command::Status => look::status(&dirs, say),
        Command::Report { run } => look::report(&dirs, run, say),
        Command::Image { command } => image::run(&dirs, command, say),
        Command::Ssh { host, command } => shell::ssh(&ctx, &host, &command),
        Command::Exec { host, command } => shell::exec(&ctx, &host, &command),
        Command::Console { host, check: true, .. } => check::console(&dirs, &host, say),
        Command::Console { host, attach: true, .. } => attach::attach(&dirs, &host),
        Command::Console { host, follow, .. } => look::console(&dirs, &host, follow),
        Command::Events { host, follow, since } => wait_on(script::events(&dirs, &host, follow, since)),
        Command::Qmp { host, command, arguments, timeout } => {
            wait_on(script::qmp(&ctx, &host, &command, arguments.as_deref(), timeout, say))
        }
        Command::Wait { host, condition, timeout, since } => {
            wait_on(script::wait(&ctx, &host, &condition, timeout, since))
        }
        Command::Fault { host, fault } => wait_on(script::fault(&ctx, &host, fault, say)),
        Command::Net { command: NetCommand::Show } => look::net(&dirs, say),
        other => change(other, ctx, say),
    }
}

/// The commands that change something, one at a time.
fn change(command: Command, ctx: Context<'_>, say: &Say) -> Result<u8, Failure> {
    stop::listen().map_err(|e| Failure::new(Exit::Host, format!("cannot listen for signals: {e}")))?;
    match command {
        Command::Up { host, run } => {
            let what = format!("up {host}");
            let plan = resolve(ctx.dirs, &host, options(ctx.dirs, run, Choice::default())?)?;
            let _lock = guards::lock(&ctx, &what)?;
            warn(&ctx, &plan);
            wait_on(async {
                let mut run = Run::begin(ctx, plan, &what)?;
                let done = run.up().await;
                step(run, done, Asked::Step, say).await
            })
        }
        Command::Apply { host, extra_vars: more, no_snapshot, second } => {
            let more = parse_all(ctx.dirs, &more)?;
            stage(ctx, &host, "apply", Asked::Step, say, async |run| {
                run.plan.options.extra_vars.extend(more);
                run.apply_anew().await?;
                if second.wanted() {
                    run.second_run().await?;
                }
                match no_snapshot {
                    true => run.discard_snapshot().await?,
                    false => run.snapshot().await?,
                }
                run.judge_idempotence()
            })
        }
        Command::Reset { host } => {
            snapshot::wanted(ctx.dirs, &host)?;
            stage(ctx, &host, "reset", Asked::Step, say, async |run| {
                let restore = run.restore().await?;
                say.object(&serde_json::json!({"event": "restore", "restore": restore}));
                say.text(verdict::restore(&run.plan.host, &restore));
                Ok(())
            })
        }
        Command::Reboot { host, via, timeout, findings } => {
            let choice = Choice::from(via);
            // What can be refused without the VM is: the mode that `up` resolved matters only where none is given.
            choice.request(Mode::Reset)?;
            stage(ctx, &host, "reboot", Asked::Step, say, async |run| {
                run.plan.restart = choice.request(run.plan.restart.mode)?;
                run.plan.options.timeout_s = timeout.unwrap_or(run.plan.options.timeout_s);
                run.record.findings = findings.into();
                run.watch_for = findings.watch_for();
                let before = run.observe().await?;
                let restart = run.reboot().await?;
                let since = run.judged_until(Some(&restart))?;
                run.undisturbed(since, Some(&restart), async |run| {
                    let compared = run.compare(before).await?;
                    run.seen_alive(&restart, compared).await
                })
                .await?;
                run.judge_state()?;
                say.text(verdict::state(&run.record));
                run.judge_way()
            })
        }
        Command::Observe { host, against, foretell } => {
            let _lock = guards::lock(&ctx, &format!("observe {host}"))?;
            match foretell {
                true => wait_on(look::foretell(ctx, &host, say)),
                false => wait_on(look::observe(ctx, &host, against.as_deref(), say)),
            }
        }
        Command::Assert { host, findings } => stage(ctx, &host, "assert", Asked::Verdict, say, async |run| {
            run.record.findings = findings.into();
            run.watch_for = findings.watch_for();
            assert(run).await
        }),
        Command::Cycle { host, run, via, keep, no_reboot, no_snapshot, findings, second, check_mode } => {
            let what = format!("cycle {host}");
            let plan = resolve(ctx.dirs, &host, options(ctx.dirs, run, via.into())?)?;
            let _lock = guards::lock(&ctx, &what)?;
            warn(&ctx, &plan);
            let (watch_for, findings, check_mode) = (findings.watch_for(), findings.into(), check_mode.into());
            let idempotence = second.wanted();
            let choices = Choices { keep, no_reboot, no_snapshot, findings, watch_for, idempotence, check_mode };
            let outcome = wait_on(cycle(ctx, plan, choices, &what))?;
            Ok(tell_outcome(&outcome, say))
        }
        Command::Experiment { host, what, run } => experiment::run(ctx, &host, what, run, say),
        Command::Audit { name, what } => audit::run(ctx, name, what, say),
        Command::Prove { host, run, via, keep } => {
            let options = options(ctx.dirs, run, via.into())?;
            prove_case(ctx, &host, options, keep, say)
        }
        Command::Forward { host, asked } => {
            let _lock = guards::lock(&ctx, &format!("forward {host}"))?;
            shell::forward(&ctx, &host, asked, say)
        }
        Command::Down { host } => {
            let _lock = guards::lock(&ctx, &format!("down {host}"))?;
            tell_removed(&wait_on(down(&ctx, &host))?, say)
        }
        Command::Prune { all } => {
            let _lock = guards::lock(&ctx, "prune")?;
            tell_removed(&wait_on(prune(&ctx, all))?, say)
        }
        Command::Net { command: NetCommand::Down } => {
            let _lock = guards::lock(&ctx, "net down")?;
            tell_removed(&down::networks_only(&ctx)?, say)
        }
        other => Err(Failure::new(Exit::Bug, format!("no way to run {other:?}"))),
    }
}

fn prove_case(ctx: Context<'_>, host: &HostName, options: Options, keep: bool, say: &Say) -> Result<u8, Failure> {
    let _lock = guards::lock(&ctx, &format!("prove {host}"))?;
    let plan = |more: Vec<crate::ansible::UserVars>| {
        let mut options = options.clone();
        options.extra_vars.extend(more);
        resolve(ctx.dirs, host, options)
    };
    let told = |case: &str, outcome: &Outcome| {
        say.text(format!("\n== the {case} case{}", verdict::text(&outcome.record)));
        say.object(&serde_json::json!({"event": "case", "case": case, "result": outcome.record}));
    };
    let proof = wait_on(prove(ctx, host, keep, plan, told))?;
    if let Some(failure) = proof.failure {
        if let Some(kept) = proof.green.as_ref().and_then(|o| o.kept.as_ref()).or(proof.red.kept.as_ref()) {
            how_to_look(kept, say);
        }
        return Err(failure);
    }
    say.text(format!(
        "\nPROVED: red failed after the reboot, and only there; green passed. A green cycle of {host} means something."
    ));
    Ok(0)
}

/// The checks, of what runs now: where that is what came back from the last reboot, they are part of its proof.
async fn assert(run: &mut Run<'_>) -> Result<(), Failure> {
    let since = run.still_proved().await?;
    let restart = run.record.reboot.clone();
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

/// One stage of a VM that is up.
fn stage(
    ctx: Context<'_>,
    host: &HostName,
    name: &str,
    asked: Asked,
    say: &Say,
    work: impl AsyncFnOnce(&mut Run<'_>) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let _lock = guards::lock(&ctx, &format!("{name} {host}"))?;
    wait_on(async {
        let mut run = Run::resume(ctx, host)?;
        run.network_is_whole()?;
        run.record.begin_command();
        let done = work(&mut run).await;
        step(run, done, asked, say).await
    })
}

/// The end of a stage that is run alone: the evidence is kept, and so is the VM.
async fn step(mut run: Run<'_>, done: Result<(), Failure>, asked: Asked, say: &Say) -> Result<u8, Failure> {
    if let Err(failure) = &done {
        run.record.fail(failure);
    }
    let outcome = run.close(done.is_err(), true, asked).await?;
    if done.is_err() {
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
    say.object(&serde_json::json!({"event": "result", "kept": outcome.kept, "result": outcome.record}));
    if let Some(failure) = &outcome.record.failure {
        super::tell(say, failure);
    }
    if let Some(host) = &outcome.kept {
        how_to_look(host, say);
    }
    outcome.record.code()
}

fn how_to_look(host: &HostName, say: &Say) {
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

/// A risk that was accepted is said again, each time.
pub(super) fn warn(ctx: &Context<'_>, plan: &Plan) {
    use crate::jobs::Progress;
    let progress: &dyn Progress = ctx.progress;
    if plan.options.certs != crate::plan::options::Certs::Internal {
        progress.note(&format!(
            "RISK {}: the production DNS token goes into this VM, and --certs {} writes into the real zone",
            crate::plan::options::CERT_RISK,
            plan.options.certs.name()
        ));
    }
}

pub(super) fn resolve(dirs: &Dirs, host: &HostName, options: Options) -> Result<Plan, Failure> {
    let id: [u8; 2] = rand::random();
    Plan::resolve(dirs, host, options, &format!("{:02x}{:02x}", id[0], id[1]))
}

pub(super) fn options(dirs: &Dirs, run: RunArgs, restart: Choice) -> Result<Options, Failure> {
    Ok(Options {
        certs: run.certs.into(),
        extra_vars: parse_all(dirs, &run.extra_vars)?,
        repo: run.repo,
        image: run.image,
        net: run.net.into(),
        egress: run.egress.into(),
        accel: run.accel.into(),
        accepted: run.accept_risk,
        min_free_mib: run.min_free_mib,
        timeout_s: run.timeout,
        ttl: run.ttl,
        restart,
    })
}

fn parse_all(dirs: &Dirs, given: &[String]) -> Result<Vec<crate::ansible::UserVars>, Failure> {
    let vars = given.iter().map(|text| extra_vars(text, dirs)).collect::<Result<Vec<_>, _>>()?;
    secrets::know(vars.iter().flat_map(crate::ansible::UserVars::secrets));
    secrets::leave_the_process_list();
    Ok(vars)
}

/// Run a future to its end on this thread. Children bind their life to the thread that starts them, so
/// there is only the main one.
pub(super) fn wait_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Host, format!("cannot start the event loop: {e}")))?;
    runtime.block_on(work)
}
