//! `cycle` of several hosts, and `matrix`.

mod board;

use super::args::{Cli, Command, JobsArgs, MatrixArgs, RunArgs};
use super::dispatch::{options, resolve, wait_on, warn};
use super::say::Say;
use crate::jobs::bring_up::beside;
use crate::jobs::several::{Task, Wanted, none_is_there, several};
use crate::jobs::{Context, guards};
use crate::plan::Plan;
use board::Board;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, Parser};
use evidence::page::PAGE;
use evidence::several::{Row, Several};
use host::failure::{Exit, Failure};
use host::memory;
use host::names::{HostName, MiB};
use host::visible::line;
use std::collections::BTreeMap;
use vm::network::Mode;
use vm::reboot::Choice;

/// `cycle` of several hosts.
pub(super) fn cycle(
    ctx: Context<'_>,
    hosts: &[HostName],
    (run, via): (RunArgs, Choice),
    keep: bool,
    jobs: JobsArgs,
    say: &Say,
) -> Result<u8, Failure> {
    // What was given is read before it is hidden from the process list.
    let given = given_again()?;
    if let Some(twice) = hosts.iter().enumerate().find_map(|(n, host)| hosts[..n].contains(host).then_some(host)) {
        return Err(Failure::new(Exit::Usage, format!("{twice} is named twice")).next("name each host once"));
    }
    let options = options(ctx.dirs, run, via)?;
    let mut plans = Vec::new();
    for host in hosts {
        plans.push(planned(&ctx, host, options.clone())?);
    }
    if keep {
        all_fit(&plans)?;
    }
    let args: Vec<_> = given.into_iter().chain(of_one(keep)).collect();
    let task = |host: &HostName| Task {
        name: host.to_string(),
        host: host.clone(),
        asked: BTreeMap::new(),
        args: args.clone(),
    };
    let tasks: Vec<_> = hosts.iter().map(task).collect();
    let names: Vec<_> = hosts.iter().map(HostName::as_str).collect();
    let command = format!("cycle {}", names.join(","));
    go(ctx, &Wanted { tasks: &tasks, at_once: jobs.at_once(), keep, command: &command }, &plans, say)
}

/// `matrix`: each host, in each of the ways.
pub(super) fn matrix(ctx: Context<'_>, asked: &MatrixArgs, say: &Say) -> Result<u8, Failure> {
    let mut tasks: Vec<Task> = Vec::new();
    let mut plans = Vec::new();
    for cell in cells(asked) {
        let of = |(key, value): (&String, &String)| format!("--{key}={value}");
        let args: Vec<_> = cell.asked.iter().map(of).chain(asked.options.iter().cloned()).collect();
        let (run, via) = parsed(&cell.host, &args)?;
        if tasks.iter().any(|task| task.name == cell.name) {
            return Err(Failure::new(Exit::Usage, format!("{} is asked for twice", cell.name)).next("name each once"));
        }
        plans.push(planned(&ctx, &cell.host, options(ctx.dirs, run, via)?)?);
        tasks.push(Task { args: args.into_iter().chain(of_one(false)).collect(), ..cell });
    }
    let names: Vec<_> = asked.hosts.iter().map(HostName::as_str).collect();
    let command = format!("matrix --hosts {}, {} runs", names.join(","), tasks.len());
    go(ctx, &Wanted { tasks: &tasks, at_once: asked.jobs.at_once(), keep: false, command: &command }, &plans, say)
}

/// The runs of a matrix, without their arguments.
fn cells(asked: &MatrixArgs) -> Vec<Task> {
    let via: Vec<_> = asked.via.iter().map(|mode| mode.name().to_owned()).collect();
    let certs: Vec<_> = asked.certs.iter().map(|certs| certs.name().to_owned()).collect();
    let mut cells: Vec<_> = asked.hosts.iter().map(|host| (host, BTreeMap::new())).collect();
    for (key, values) in [("certs", &certs), ("image", &asked.image), ("via", &via)] {
        if values.is_empty() {
            continue;
        }
        let mut more = Vec::new();
        for (host, others) in &cells {
            for value in values {
                let mut all = others.clone();
                all.insert(key.to_owned(), value.clone());
                more.push((*host, all));
            }
        }
        cells = more;
    }
    let task = |(host, asked): (&HostName, BTreeMap<String, String>)| {
        let name = [host.to_string()].into_iter().chain(asked.values().cloned()).collect::<Vec<_>>().join(" ");
        Task { name, host: host.clone(), asked, args: Vec::new() }
    };
    cells.into_iter().map(task).collect()
}

/// What `cycle` makes of arguments for one of the runs.
fn parsed(host: &HostName, args: &[String]) -> Result<(RunArgs, Choice), Failure> {
    let wrong = |why: String| Failure::new(Exit::Usage, why).next("see `boma-qemu matrix --help`");
    let line = ["boma-qemu", "cycle", host.as_str()].into_iter().chain(args.iter().map(String::as_str));
    match Cli::try_parse_from(line).map(|cli| cli.command) {
        Ok(Command::Cycle { keep: true, .. }) => Err(wrong("a matrix keeps no VM: --keep is for `cycle`".into())),
        Ok(Command::Cycle { run, via, .. }) => Ok((run, via.into())),
        Ok(_) => Err(Failure::new(Exit::Bug, "the options of a cycle are another command")),
        Err(error) => Err(wrong(error.to_string().lines().next().unwrap_or_default().to_owned())),
    }
}

/// Refuse what a run would refuse, before any of them begins.
fn planned(ctx: &Context<'_>, host: &HostName, options: crate::plan::options::Options) -> Result<Plan, Failure> {
    if options.net == Mode::Host {
        let why = "with --net host the VMs of several hosts would share a bridge and an address";
        return Err(
            Failure::new(Exit::Usage, why).next("leave --net at namespace: there each has a network of its own")
        );
    }
    // The longest path that a lane can have.
    resolve(&ctx.dirs.lane(64), host, options)
}

/// What each run is told besides: it waits for memory that others have, and leaves none of it behind. VMs that stay are not
/// waited for.
fn of_one(keep: bool) -> Vec<String> {
    let more: &[&str] = if keep { &["--keep"] } else { &["--wait", "--remove"] };
    more.iter().map(|arg| (*arg).to_owned()).collect()
}

/// Refuse to keep more VMs than there is memory for.
fn all_fit(plans: &[Plan]) -> Result<(), Failure> {
    let need = MiB(plans.iter().map(|plan| plan.profile.mem_mib.0 + beside(plan.machine.accel).0).sum());
    let there = memory::available().map_err(|why| Failure::new(Exit::Host, why))?;
    match need <= there {
        true => Ok(()),
        false => Err(Failure::new(
            Exit::Host,
            format!("--keep: all the VMs together take {need}, and {there} are available"),
        )
        .next("leave --keep out: each is removed when it has ended, and the next one begins")),
    }
}

fn go(ctx: Context<'_>, wanted: &Wanted<'_>, plans: &[Plan], say: &Say) -> Result<u8, Failure> {
    let _lock = guards::lock(&ctx, wanted.command)?;
    let hosts: Vec<_> = wanted.tasks.iter().map(|task| task.host.clone()).collect();
    none_is_there(ctx.dirs, &hosts)?;
    plans.iter().take(1).for_each(|plan| warn(&ctx, plan));
    let board = Board::new(say, wanted.tasks);
    let (all, folder) = wait_on(several(&ctx, wanted, &|n, heard| board.told(n, &heard)))?;
    let report = folder.path().join(PAGE);
    say.text(text(&all));
    say.result(format!("report: {report}"));
    say.object(&serde_json::json!({"event": "several", "report": report, "several": all}));
    Ok(all.code)
}

/// All of it in one screen.
fn text(all: &Several) -> String {
    let mut out = format!("\n{}\n", all.headline());
    match all.grid() {
        Some(grid) => {
            let left = grid.lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
            let width = |n: usize| {
                let cells =
                    grid.lines.iter().filter_map(|(_, cells)| all.rows.get(cells[n]?)).map(|row| row.word().len());
                cells.chain([grid.columns[n].len()]).max().unwrap_or_default()
            };
            let row = |name: &str, cells: &mut dyn Iterator<Item = &str>| {
                let cells: Vec<_> = cells.enumerate().map(|(n, cell)| format!("{cell:<0$}", width(n))).collect();
                format!("{}\n", format!("  {name:<left$}  {}", cells.join("  ")).trim_end())
            };
            out += &row("", &mut grid.columns.iter().copied());
            for (name, cells) in &grid.lines {
                out +=
                    &row(name, &mut cells.iter().map(|cell| cell.and_then(|n| all.rows.get(n)).map_or("-", Row::word)));
            }
        }
        None => {
            let left = all.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
            for row in &all.rows {
                out += &format!("  {:<left$}  {:>5.0} s  {}\n", row.name, row.seconds, line(&row.headline));
            }
        }
    }
    for leak in all.rows.iter().flat_map(|row| &row.leaks) {
        out += &format!("  LEAKED  {}: {}\n", line(&leak.what), line(&leak.why));
    }
    out.trim_end().to_owned()
}

/// The options of this command as they were given, for each of the runs to be given again.
fn given_again() -> Result<Vec<String>, Failure> {
    let bug = |why: String| Failure::new(Exit::Bug, why);
    let mut cli = Cli::command();
    cli.build();
    let matches = cli.clone().try_get_matches_from(std::env::args_os()).map_err(|e| bug(e.to_string()))?;
    let (name, given) = matches.subcommand().ok_or_else(|| bug("there is no command".into()))?;
    let command = cli.find_subcommand(name).ok_or_else(|| bug(format!("there is no command {name}")))?;
    Ok(rebuilt(command, given))
}

/// What is said of all runs together, or said again for each.
const NOT_AGAIN: [&str; 7] = ["hosts", "jobs", "keep", "remove", "wait", "root", "json"];

fn rebuilt(command: &clap::Command, given: &ArgMatches) -> Vec<String> {
    let mut again = Vec::new();
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let Some(long) = arg.get_long().filter(|_| !NOT_AGAIN.contains(&id)) else { continue };
        if !matches!(given.try_contains_id(id), Ok(true)) || given.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        match arg.get_action().takes_values() {
            true => {
                let values = given.get_raw(id).into_iter().flatten();
                again.extend(values.map(|value| format!("--{long}={}", value.to_string_lossy())));
            }
            false => again.push(format!("--{long}")),
        }
    }
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(line: &str) -> Vec<String> {
        let mut cli = Cli::command();
        cli.build();
        let matches = cli.clone().try_get_matches_from(line.split(' ')).unwrap();
        rebuilt(cli.find_subcommand("cycle").unwrap(), matches.subcommand().unwrap().1)
    }

    #[test]
    fn every_option_of_a_cycle_is_given_again_to_each_run() {
        assert_eq!(again("boma-qemu cycle a,b --jobs 2 --keep --json"), Vec::<String>::new());
        let line = "boma-qemu cycle a,b -e x=1 -e @f.yml --via reset --at=3 --strict --no-snapshot --min-free-mib 9";
        let wanted = [
            "--extra-vars=x=1",
            "--extra-vars=@f.yml",
            "--min-free-mib=9",
            "--via=reset",
            "--at=3",
            "--no-snapshot",
            "--strict",
        ];
        let mut got = again(line);
        got.sort();
        let mut wanted = wanted.map(str::to_owned);
        wanted.sort();
        assert_eq!(got, wanted);
        // Whatever is made of it means the same.
        let given: Vec<_> = ["boma-qemu", "cycle", "a"].into_iter().map(str::to_owned).chain(again(line)).collect();
        let parse = |line: Vec<String>| match Cli::try_parse_from(line).unwrap().command {
            Command::Cycle { run, no_snapshot, .. } => (run, no_snapshot),
            other => panic!("{other:?}"),
        };
        assert_eq!(parse(given), parse(line.split(' ').map(str::to_owned).collect()));
    }

    fn asked(hosts: &str, more: &str) -> MatrixArgs {
        let line = format!("boma-qemu matrix --hosts {hosts} {more}");
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Matrix { what } => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_matrix_is_each_host_in_each_way() {
        let names = |hosts, more| cells(&asked(hosts, more)).into_iter().map(|cell| cell.name).collect::<Vec<_>>();
        assert_eq!(names("a,b", ""), ["a", "b"]);
        assert_eq!(names("a,b", "--via guest,reset --image x"), ["a x guest", "a x reset", "b x guest", "b x reset"]);
        assert_eq!(names("a", "--certs internal,le-staging --image x,y").len(), 4);
    }

    #[test]
    fn options_that_a_cycle_does_not_have_are_refused_before_any_run() {
        let refused = |args: &[&str]| {
            let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
            parsed(&"a".parse().unwrap(), &args).unwrap_err()
        };
        assert!(refused(&["--nonsense"]).to_string().contains("--nonsense"));
        assert!(refused(&["--keep"]).to_string().contains("keeps no VM"));
        let (run, _) = parsed(&"a".parse().unwrap(), &["--egress".into(), "none".into()]).unwrap();
        assert_eq!(run.egress, vm::network::Egress::None);
    }

    #[test]
    fn the_screen_has_a_line_a_run_or_a_table_of_modes() {
        let row = |host: &str, via: Option<&str>, code, headline: &str| {
            let asked: BTreeMap<_, _> = via.map(|via| ("via".to_owned(), via.to_owned())).into_iter().collect();
            let row = Row::new(host.into(), host.parse().unwrap(), asked, "x.log".into());
            Row { code: Some(code), headline: headline.into(), seconds: 12.0, ..row }
        };
        let (version, command, started) = (String::new(), String::new(), String::new());
        let mut all = Several {
            schema: 1,
            version,
            command,
            started,
            seconds: 1.0,
            at_once: 2,
            rows: vec![row("askari", None, 0, "PASSED: askari came back"), row("b", None, 6, "FAILED: b is not right")],
            code: 6,
        };
        insta::assert_snapshot!(text(&all).trim_start(), @r"
        NOT PASSED: 1 of 2 runs passed (exit 6)
          askari     12 s  PASSED: askari came back
          b          12 s  FAILED: b is not right
        ");
        all.rows = vec![row("a", Some("guest"), 0, "PASSED: a"), row("a", Some("power-loss"), 6, "FAILED: a")];
        insta::assert_snapshot!(text(&all).trim_start(), @r"
        NOT PASSED: 1 of 2 runs passed (exit 6)
             guest   power-loss
          a  PASSED  FAILED
        ");
    }
}
