//! `lint`: what is wrong with a profile of either kind, and what is suspicious about its files.

use super::args::RunArgs;
use super::dispatch::{options, resolve};
use super::say::Say;
use crate::plan::lint::lint as look;
use crate::plan::options::Options;
use crate::profile::Kind;
use camino::Utf8Path;
use clap::{Args, FromArgMatches};
use host::dirs::Dirs;
use host::failure::{Exit, Failure};
use host::names::{BadName, HostName};
use host::visible;
use std::time::SystemTime;
use vm::reboot::Choice;

/// An error is one as for every command; what is suspicious ends with 2, and marks that are left with 0.
pub(super) fn lint(dirs: &Dirs, name: &Utf8Path, from: Option<String>, say: &Say) -> Result<u8, Failure> {
    let file = if name.as_str().contains('/') {
        name.to_owned()
    } else {
        dirs.root.join("profiles").join(format!("{name}.json"))
    };
    if std::fs::read_to_string(&file).is_ok_and(|text| matches!(Kind::of(&text), Ok(Kind::Audit))) {
        if from.is_some() {
            let what = format!("--from is for a host's profile, and {file} is an audit's");
            return Err(Failure::new(Exit::Usage, what).next("leave --from out"));
        }
        return super::audit::lint(dirs, name, say);
    }
    let host: HostName =
        name.as_str().parse().map_err(|error: BadName| Failure::new(Exit::Usage, error.to_string()))?;
    let plan = resolve(dirs, &host, Options { from, ..options(dirs, nothing_given()?, Choice::default())? })?;
    let found = look(&plan, dirs, SystemTime::now());
    if let Some(from) = &plan.from {
        let tree = from.beside()?;
        if tree.commit.as_ref() == Some(&from.commit) && !tree.changed {
            let what = format!("--from {from}: that is what stands in {}: nothing would be applied on top", plan.repo);
            return Err(
                Failure::new(Exit::Usage, what).next("name an earlier revision, as the one that the host has now")
            );
        }
        say.text(format!("{tree} would be applied on top of {from}"));
    }
    say.object(&serde_json::json!({"event": "lint", "profile": host, "suspicious": found}));
    let wrong: Vec<_> = found.iter().filter(|one| !one.undecided).collect();
    for one in &found {
        say.result(format!("{}: {}", visible::line(one.file.as_str()), visible::line(&one.what)));
    }
    match wrong.len() {
        0 if found.is_empty() => say.result(format!("{host}: nothing is wrong")),
        0 => {}
        count => {
            let things = if count == 1 { "one thing is".to_owned() } else { format!("{count} things are") };
            return Err(Failure::new(Exit::Usage, format!("{things} suspicious in the files of {host}"))
                .next("correct what is named above; the preflight of a run asks Ansible about the rest"));
        }
    }
    Ok(0)
}

/// The options of a run for which nothing is given.
fn nothing_given() -> Result<RunArgs, Failure> {
    let matches = RunArgs::augment_args(clap::Command::new("lint")).try_get_matches_from(["lint"]);
    let args = matches.and_then(|matches| RunArgs::from_arg_matches(&matches));
    args.map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}
