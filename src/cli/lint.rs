//! `lint`: what is wrong with a profile of either kind, and what is suspicious about its files.

use super::args::RunArgs;
use super::dispatch::{options, resolve};
use super::say::Say;
use crate::plan::lint::lint as look;
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
pub(super) fn lint(dirs: &Dirs, name: &Utf8Path, say: &Say) -> Result<u8, Failure> {
    let file = if name.as_str().contains('/') {
        name.to_owned()
    } else {
        dirs.root.join("profiles").join(format!("{name}.json"))
    };
    if std::fs::read_to_string(&file).is_ok_and(|text| matches!(Kind::of(&text), Ok(Kind::Audit))) {
        return super::audit::lint(dirs, name, say);
    }
    let host: HostName =
        name.as_str().parse().map_err(|error: BadName| Failure::new(Exit::Usage, error.to_string()))?;
    let plan = resolve(dirs, &host, options(dirs, nothing_given()?, Choice::default())?)?;
    let found = look(&plan, dirs, SystemTime::now());
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
