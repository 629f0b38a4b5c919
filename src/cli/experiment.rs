//! `experiment`, and what it found as tables for a terminal.

use super::args::{Cli, Command, ExperimentArgs, RunArgs};
use super::dispatch::{options, resolve, wait_on, warn};
use super::say::Say;
use crate::jobs::experiment::experiment;
use crate::jobs::{Context, guards};
use clap::Parser;
use evidence::experiment::crash::{CrashStates, CrashWanted};
use evidence::experiment::expect::{leaves, survives};
use evidence::experiment::marks::Kind;
use evidence::experiment::record::{Experiment, OneRun};
use evidence::experiment::{Fate, Marker, Milestone};
use evidence::experiment::{Wanted, headline, why};
use host::failure::{Exit, Failure};
use host::names::{HostName, SnapshotName};
use host::visible::line;
use vm::machine::VmDir;
use vm::reboot::{Choice, Mode};

/// `experiment`.
pub(super) fn run(
    ctx: Context<'_>,
    host: &HostName,
    what: ExperimentArgs,
    mut given: RunArgs,
    say: &Say,
) -> Result<u8, Failure> {
    let crash = crash_wanted(&what)?;
    let ExperimentArgs { modes, runs, seed, findings, keep, from, .. } = what;
    let applied = SnapshotName::applied();
    let other = from.filter(|from| *from != applied);
    let usual = usual()?;
    let timeout_s = (given.timeout != usual.timeout).then_some(given.timeout);
    let watch_for = findings.watch_for();
    let from = other.clone().unwrap_or(applied);
    let wanted = Wanted { modes, runs, seed, from, findings: findings.into(), timeout_s, watch_for, crash };
    wanted.check()?;
    let _lock = guards::lock(&ctx, &format!("experiment {host}"))?;
    let plan = match VmDir::of(ctx.dirs, host).is_alive() {
        true => {
            given.timeout = usual.timeout;
            if given != usual {
                let what = format!("the VM of {host} is up already, so options that say how it is made do nothing");
                return Err(Failure::new(Exit::Usage, what)
                    .next(format!("leave them out, or remove the VM with `boma-qemu down {host}`")));
            }
            None
        }
        false if let Some(other) = other => {
            let what = format!("--from {other}: there is no VM of {host}, so there is no snapshot of it");
            return Err(Failure::new(Exit::Usage, what)
                .next(format!("make one with `boma-qemu up`, `apply` and `snapshot {host} {other}`")));
        }
        false => Some(resolve(ctx.dirs, host, options(ctx.dirs, given, Choice::default())?)?),
    };
    if let Some(plan) = &plan {
        warn(&ctx, plan);
    }
    let told = |one: &OneRun| say.object(&serde_json::json!({"event": "run", "run": one}));
    let outcome = wait_on(experiment(ctx, host, plan, &wanted, keep, told))?;
    let all = &outcome.experiment;
    say.text(text(all, outcome.folder.path().as_str()));
    say.object(&serde_json::json!({"event": "result", "kept": outcome.kept, "result": all}));
    if let Some(failure) = why(all) {
        super::tell(say, &failure);
    }
    Ok(all.code())
}

/// The crash states that are asked for, with the workload's text.
fn crash_wanted(what: &ExperimentArgs) -> Result<Option<CrashWanted>, Failure> {
    let (Some(states), Some(path)) = (what.crash_states, &what.workload) else { return Ok(None) };
    let unreadable = |error| {
        let failure = Failure::new(Exit::Usage, format!("cannot read the workload {path}: {error}"));
        failure.next("name a shell script with --workload")
    };
    let workload = std::fs::read_to_string(path).map_err(unreadable)?;
    Ok(Some(CrashWanted { states, workload, durable: what.durable.clone() }))
}

/// The options of a run that nobody gave any for.
fn usual() -> Result<RunArgs, Failure> {
    let nothing = Cli::try_parse_from(["boma-qemu", "plan", "host"]).map(|cli| cli.command);
    match nothing {
        Ok(Command::Plan { run, .. }) => Ok(run),
        other => Err(Failure::new(Exit::Bug, format!("`plan` has no usual options: {other:?}"))),
    }
}

/// The tables, without colours: they are read in logs as often as on a terminal.
pub(crate) fn text(all: &Experiment, folder: &str) -> String {
    let mut out = format!(
        "\n{}\n  {:.0} min, seed {}\n\n{}\n{}",
        headline(all),
        (all.seconds / 60.0).ceil(),
        all.seed,
        times(all),
        matrix(all)
    );
    for run in &all.runs {
        out.extend(run.wrong().iter().map(|wrong| format!("\n  {}: {}", run.folder, line(wrong))));
    }
    for (mode, what, times, of) in losses(all) {
        out += &format!("\n  {mode} lost state in {times} of {of}: {}", line(&what));
    }
    if let Some(crash) = &all.crash {
        out += &crash_text(crash);
    }
    for leak in &all.leaks {
        out += &format!("\n  LEAKED {}: {}", line(&leak.what), line(&leak.why));
    }
    out + &format!("\n  evidence {folder}")
}

/// What the crash states came to, with the files and what is wrong.
fn crash_text(crash: &CrashStates) -> String {
    let mut out = format!("\n  {}", line(&crash.headline()));
    out.extend(crash.wrong().iter().map(|wrong| format!("\n    {}", line(wrong))));
    for file in &crash.between {
        out += &format!("\n    while the workload ran, neither the old nor the new one: {}", line(&file.path));
    }
    if crash.overruns > 0 {
        out += "\n    more was written than the drive's log holds: the states are of its end";
    }
    for missing in &crash.missing {
        out += &format!("\n    the file system check ran with {}", line(missing));
    }
    out
}

/// Seconds from asking to each milestone: the median, and below it how far the runs lie from it.
fn times(all: &Experiment) -> String {
    let head = ["seconds to".to_owned(), "n".into()].into_iter();
    let mut rows = vec![head.chain(Milestone::ALL.iter().map(ToString::to_string)).collect::<Vec<_>>()];
    for figures in &all.figures {
        let of = |milestone: &Milestone| figures.milestones.get(milestone);
        let median = Milestone::ALL.iter().map(|m| of(m).map_or("-".into(), |s| format!("{:.1}", s.median)));
        rows.push([figures.mode.to_string(), figures.runs.to_string()].into_iter().chain(median).collect());
        let spread = |m: &Milestone| of(m).and_then(|s| Some(format!("±{:.1}", s.spread?.mad))).unwrap_or_default();
        let spread: Vec<_> = Milestone::ALL.iter().map(spread).collect();
        if spread.iter().any(|cell| !cell.is_empty()) {
            rows.push([String::new(), String::new()].into_iter().chain(spread).collect());
        }
    }
    let note = match all.figures.iter().any(|figures| figures.runs > 1) {
        true => "  (median, and below it the median distance from it; least and most are in experiment.json)\n",
        false => "",
    };
    format!("{}{note}", table(&rows))
}

/// What happened in how many of a mode's runs. A `!` marks what is not as it must be.
fn matrix(all: &Experiment) -> String {
    let heads = ["runs that", "gave evidence", "kept fsynced", "kept page-cache", "kept direct", "replayed journal"];
    let more = ["cleared orphans", "mended by fsck", "unclean journald", "passed checks", "lost state"];
    let mut rows = vec![heads.iter().chain(&more).map(|head| (*head).to_owned()).collect::<Vec<_>>()];
    for mode in &all.modes {
        let runs: Vec<_> = all.runs.iter().filter(|run| run.mode == *mode).collect();
        let mut row = vec![mode.to_string(), cell(&runs, |run| Some(run.restart.is_some()), |yes| yes)];
        for marker in Marker::ALL {
            let expected = survives(*mode, marker);
            row.push(cell(&runs, |run| survived(run, marker), |kept| expected.holds(kept)));
        }
        for kind in Kind::ALL {
            let there = |run: &OneRun| run.marks.as_ref().map(|marks| marks.iter().any(|mark| mark.kind == kind));
            row.push(cell(&runs, there, |there| leaves(*mode, kind).holds(there)));
        }
        let green = |run: &OneRun| Some(run.checks.as_ref()?.iter().all(|check| check.ok || check.hint));
        row.push(cell(&runs, green, |green| green));
        let lost = |run: &OneRun| run.state.as_ref().map(|state| !state.judged.findings.is_empty());
        let fails = |run: &&OneRun| {
            let findings = run.state.iter().flat_map(|state| &state.judged.findings);
            findings.into_iter().any(|finding| all.policy().fails(finding))
        };
        let wrong = runs.iter().any(fails);
        row.push(cell(&runs, lost, |lost| !(lost && wrong)));
        rows.push(row);
    }
    table(&rows)
}

/// What each mode lost of the machine's state, and in how many of its runs.
fn losses(all: &Experiment) -> Vec<(Mode, String, usize, usize)> {
    let mut found: Vec<(Mode, String, usize, usize)> = Vec::new();
    for mode in &all.modes {
        let looked: Vec<_> =
            all.runs.iter().filter(|run| run.mode == *mode).filter_map(|run| run.state.as_ref()).collect();
        for finding in looked.iter().flat_map(|state| &state.judged.findings) {
            match found.iter_mut().find(|(own, what, ..)| own == mode && *what == finding.what) {
                Some((.., times, _)) => *times += 1,
                None => found.push((*mode, finding.what.clone(), 1, looked.len())),
            }
        }
    }
    found
}

fn survived(run: &OneRun, marker: Marker) -> Option<bool> {
    let fates = &run.markers.as_ref()?.fates;
    fates.iter().find(|(own, _)| *own == marker).map(|(_, fate)| *fate == Fate::Survived)
}

/// `1/2`: it happened in one of the two runs that could tell.
fn cell(runs: &[&OneRun], happened: impl Fn(&OneRun) -> Option<bool>, right: impl Fn(bool) -> bool) -> String {
    let told: Vec<bool> = runs.iter().filter_map(|run| happened(run)).collect();
    let mark = if told.iter().all(|yes| right(*yes)) { "" } else { "!" };
    match told.is_empty() {
        true => "-".into(),
        false => format!("{}/{}{mark}", told.iter().filter(|yes| **yes).count(), told.len()),
    }
}

/// Rows with the first column to the left and all others to the right; heads of several words stand on several
/// lines.
fn table(rows: &[Vec<String>]) -> String {
    let Some((heads, body)) = rows.split_first() else { return String::new() };
    let words: Vec<Vec<&str>> = heads.iter().map(|head| head.split(' ').collect()).collect();
    let height = words.iter().skip(1).map(Vec::len).max().unwrap_or(0);
    let head_rows = (0..height).map(|row| {
        let word = |words: &Vec<&str>| (row + words.len()).checked_sub(height).map_or("", |n| words[n]).to_owned();
        let first = |words: &Vec<&str>| if row + 1 == height { words.join(" ") } else { String::new() };
        words.iter().enumerate().map(|(n, words)| if n == 0 { first(words) } else { word(words) }).collect()
    });
    let all: Vec<Vec<String>> = head_rows.chain(body.iter().cloned()).collect();
    let columns = heads.len();
    let width = |n: usize| all.iter().map(|row| row[n].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let written = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(n, (cell, width))| match n {
            0 => format!("  {cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        });
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    all.iter().map(written).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_say_what_is_not_as_it_must_be() {
        let all = evidence::experiment::sample::experiment();
        insta::assert_snapshot!(text(&all, "/runs/x/experiment-1"));
    }

    #[test]
    fn the_files_that_were_not_durable_are_told_with_their_paths() {
        let told = crash_text(&evidence::experiment::sample::crash());
        let lines: Vec<_> = told.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 2, "{told}");
        assert!(lines[0].starts_with("NOT DURABLE: 12 crash states (12 different, 0.5 s each) of 5 flushes"), "{told}");
        assert!(
            lines[1].starts_with("not durable: /srv/app/state: as before the workload in 9, torn in 3 of 12"),
            "{told}"
        );
    }
}
