//! From the arguments to the jobs.

use super::args::{ChecksCommand, Cli, Command, NetCommand, RunArgs};
use super::change::{self, ApplyArgs, CycleArgs};
use super::say::Say;
use super::{
    attach, audit, check, experiment, image, init, lint, look, observe, pages, prove, reach, script, several, shell,
    snapshot,
};
use crate::jobs::cycle::Keep;
use crate::jobs::{Context, guards, stop};
use crate::plan::Plan;
use crate::plan::options::{CERT_RISK, Certs, Issuer, Options, extra_vars};
use crate::profile::Profile;
use clap::CommandFactory;
use host::dirs::Dirs;
use host::failure::{Exit, Failure};
use host::names::HostName;
use host::print;
use host::secrets;
use std::future::Future;
use vm::machine::VmDir;
use vm::reboot::Choice;

/// Run one command; the exit code.
pub(super) fn run(cli: Cli, say: &Say) -> Result<u8, Failure> {
    let root = cli.common.root;
    let dirs = || Dirs::resolve(root.as_deref());
    // Where the VM of a host is, and where its next one will be.
    let of = |host: &HostName| Ok::<_, Failure>(VmDir::home(&dirs()?, host)?);
    let looking = |host: &HostName, work: &dyn Fn(Context<'_>) -> Result<u8, Failure>| {
        work(Context { dirs: &of(host)?, progress: say })
    };
    match cli.command {
        Command::Completions { shell } => Ok(completions(shell)),
        Command::Man { dir } => pages::write(&dir),
        Command::CheckConsole { file: None, .. } => Ok(check::list(say)),
        Command::CheckConsole { file: Some(file), profile, .. } => {
            let load = |host| Ok::<_, Failure>(Profile::load(&dirs()?, &host)?);
            check::file(&file, profile.map(load).transpose()?.as_ref(), say)
        }

        Command::Init { host, repo, inventory, from_live } => {
            init::init(root.as_deref(), &host, repo, inventory, from_live.as_deref(), say)
        }
        Command::Lint { name, from } => lint::lint(&dirs()?, &name, from, say),
        Command::Doctor { net, repo } => look::doctor(root.as_deref(), net, repo, say),
        Command::Plan { host, run, via, from } => {
            let dirs = dirs()?;
            look::plan(&dirs, &host, Options { from, ..options(&dirs, run, via.into())? }, say)
        }
        Command::Status => look::status(&dirs()?, say),
        Command::Report { run } => look::report(&dirs()?, run, say),
        Command::Templates => image::templates(&dirs()?, say),
        Command::Image { command } => image::run(&dirs()?, command, say),
        Command::Ssh { host, command } => looking(&host, &|ctx| shell::ssh(&ctx, &host, &command)),
        Command::Exec { host, command } => looking(&host, &|ctx| shell::exec(&ctx, &host, &command)),
        Command::Connect { host, port } => looking(&host, &|ctx| reach::to(&ctx, &host, port)),
        Command::SshConfig { host } => reach::ssh_config(&of(&host)?, &host, say),
        Command::Inventory { only, host, .. } => reach::inventory(&dirs()?, only.as_ref(), host.as_ref()),
        Command::Console { host, check: true, .. } => check::console(&of(&host)?, &host, say),
        Command::Console { host, attach: true, .. } => attach::attach(&of(&host)?, &host),
        Command::Console { host, follow, .. } => look::console(&of(&host)?, &host, follow),
        Command::Events { host, follow, since } => wait_on(script::events(&of(&host)?, &host, follow, since)),
        Command::Qmp { host, command, arguments, timeout } => {
            looking(&host, &|ctx| wait_on(script::qmp(&ctx, &host, &command, arguments.as_deref(), timeout, say)))
        }
        Command::Wait { host, condition, timeout, since } => {
            looking(&host, &|ctx| wait_on(script::wait(&ctx, &host, &condition, timeout, since)))
        }
        Command::Fault { host, fault } => looking(&host, &|ctx| wait_on(script::fault(&ctx, &host, fault, say))),
        Command::Net { command: NetCommand::Show } => look::net(&dirs()?, say),

        Command::Up { host, run } => changing(&of(&host)?, say, |ctx| change::up(ctx, &host, run, say)),
        Command::Apply { host, part, extra_vars, no_snapshot, second } => {
            let asked = ApplyArgs { part: part.into(), no_snapshot, second };
            changing(&of(&host)?, say, |ctx| change::apply(ctx, &host, &extra_vars, asked, say))
        }
        Command::Reset { host, to } => changing(&of(&host)?, say, |ctx| change::reset(ctx, &host, to, say)),
        Command::Snapshot { host, name, drop } => {
            changing(&of(&host)?, say, |ctx| change::snapshot(ctx, &host, name, drop, say))
        }
        Command::Snapshots { host } => snapshot::list(&of(&host)?, &host, say),
        Command::Reboot { host, via, timeout, findings } => {
            changing(&of(&host)?, say, |ctx| change::reboot(ctx, &host, via, timeout, findings, say))
        }
        Command::Schema => {
            print::object_pretty(&crate::profile::schema());
            Ok(0)
        }
        // clap wants a host where there is no --script.
        Command::Observe { host: None, .. } => Ok(observe::script(say)),
        Command::Observe { host: Some(host), against, foretell, .. } => changing(&of(&host)?, say, |ctx| {
            let _lock = guards::lock(&ctx, &format!("observe {host}"))?;
            match foretell {
                true => wait_on(observe::foretell(ctx, &host, say)),
                false => wait_on(observe::observe(ctx, &host, against.as_deref(), say)),
            }
        }),
        Command::Checks { command: ChecksCommand::Suggest { from_live: Some(path), .. } } => {
            observe::suggest_from(&path, say)
        }
        Command::Checks { command: ChecksCommand::Suggest { host, from_live: None } } => {
            changing(&of(&host)?, say, |ctx| {
                let _lock = guards::lock(&ctx, &format!("checks suggest {host}"))?;
                wait_on(observe::suggest_now(ctx, &host, say))
            })
        }
        Command::Assert { host, findings } => {
            changing(&of(&host)?, say, |ctx| change::assert(ctx, &host, findings, say))
        }
        Command::Cycle {
            hosts,
            jobs,
            run,
            via,
            keep,
            remove,
            no_reboot,
            no_snapshot,
            findings,
            second,
            check_mode,
            upgrade,
        } => {
            let [host] = &hosts[..] else {
                return changing(&dirs()?, say, |ctx| several::cycle(ctx, &hosts, (run, via.into()), keep, jobs, say));
            };
            let keep = if remove { Keep::Never } else { keep.into() };
            let asked = CycleArgs { keep, no_reboot, no_snapshot, findings, second, check_mode, upgrade };
            changing(&of(host)?, say, |ctx| change::whole(ctx, host, run, via, asked, say))
        }
        Command::Matrix { what } => changing(&dirs()?, say, |ctx| several::matrix(ctx, &what, say)),
        Command::Experiment { host, what, run } => {
            changing(&of(&host)?, say, |ctx| experiment::run(ctx, &host, what, run, say))
        }
        Command::Audit { what } => changing(&dirs()?, say, |ctx| audit::run(ctx, what, say)),
        Command::Prove { host, run, via, scenarios, all, keep } => {
            let asked = prove::Asked { scenarios, all, keep };
            changing(&of(&host)?, say, |ctx| prove::run(ctx, &host, run, via, &asked, say))
        }
        Command::Forward { host, asked } => changing(&of(&host)?, say, |ctx| {
            let _lock = guards::lock(&ctx, &format!("forward {host}"))?;
            shell::forward(&ctx, &host, asked, say)
        }),
        Command::Down { host } => changing(&of(&host)?, say, |ctx| change::down(ctx, &host, say)),
        Command::Prune { all } => changing(&dirs()?, say, |ctx| change::prune(ctx, all, say)),
        Command::Net { command: NetCommand::Down } => changing(&dirs()?, say, |ctx| change::net_down(ctx, say)),
    }
}

/// Run a command that changes something: the user's signals are listened to from here on.
fn changing(dirs: &Dirs, say: &Say, work: impl FnOnce(Context<'_>) -> Result<u8, Failure>) -> Result<u8, Failure> {
    stop::listen().map_err(|e| Failure::new(Exit::Host, format!("cannot listen for signals: {e}")))?;
    work(Context { dirs, progress: say })
}

fn completions(shell: clap_complete::Shell) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "boma-qemu", &mut script);
    print::out(String::from_utf8_lossy(&script).trim_end());
    0
}

/// A risk that was accepted is said again, each time.
pub(super) fn warn(ctx: &Context<'_>, plan: &Plan) {
    use crate::jobs::Progress;
    let progress: &dyn Progress = ctx.progress;
    let tier = plan.options.certs.name();
    match plan.issuer() {
        Issuer::Internal => {}
        Issuer::Rehearsal => progress.note(&format!(
            "--certs {tier} is rehearsed: the names of the ACME server and of the zone's API lead to an authority on the VM's network"
        )),
        Issuer::LetsEncrypt => progress.note(&match plan.options.certs {
            Certs::LeProdWildcard if plan.profile.certificate.is_some() => format!(
                "RISK {CERT_RISK}: --certs {tier} writes into the real zone, and the key of its wildcard certificate goes into this VM"
            ),
            _ => format!(
                "RISK {CERT_RISK}: the production DNS token goes into this VM, and --certs {tier} writes into the real zone"
            ),
        }),
    }
}

pub(super) fn resolve(dirs: &Dirs, host: &HostName, options: Options) -> Result<Plan, Failure> {
    let id: [u8; 2] = rand::random();
    Plan::resolve(dirs, host, options, &format!("{:02x}{:02x}", id[0], id[1]))
}

pub(super) fn options(dirs: &Dirs, run: RunArgs, restart: Choice) -> Result<Options, Failure> {
    Ok(Options {
        from: None,
        certs: run.certs,
        extra_vars: parse_all(dirs, &run.extra_vars)?,
        repo: run.repo,
        image: run.image,
        net: run.net,
        egress: run.egress,
        accel: run.accel,
        template: run.template,
        accepted: run.accept_risk,
        min_free_mib: run.min_free_mib,
        wait: run.wait,
        timeout_s: run.timeout,
        ttl: run.ttl,
        restart,
    })
}

pub(super) fn parse_all(dirs: &Dirs, given: &[String]) -> Result<Vec<crate::ansible::UserVars>, Failure> {
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
