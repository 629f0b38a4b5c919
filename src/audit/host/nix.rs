//! Nix, as somebody finds it who has just logged in and changed into the build folder.

use super::shells::{last_line, run, text};
use super::{Site, broken};
use crate::audit::outcome::Seen;
use crate::audit::probe::Shell;
use crate::form::pattern::Pattern;
use camino::Utf8PathBuf;
use host::cmd::CmdError;
use host::deadline::Deadline;

/// Flakes are experimental still, and an installation may not have them switched on.
const NIX: &str = r#"nix --extra-experimental-features "nix-command flakes" "$@""#;

/// Run Nix; its standard output, or what was seen instead.
fn nix(site: &Site, args: &[&str], deadline: &Deadline) -> Result<String, Seen> {
    let folder = site.base();
    if !folder.is_dir() {
        return Err(Seen::fails("no such folder", format!("there is no folder {folder} to build in")));
    }
    match run(site, Shell::FreshLogin, NIX, args, folder, deadline) {
        Err(CmdError::TimedOut { limit, said, .. }) => {
            Err(Seen::fails(said, format!("nix {} did not end within {:.0} s", args.join(" "), limit.as_secs_f64())))
        }
        Err(error) => Err(broken(&error)),
        Ok((status, output)) if status.success() => Ok(output.stdout),
        Ok((status, output)) => {
            let said = text(&output);
            // Nix says what is wrong in its last lines that begin so, and much more above them.
            let error = said.lines().rev().find(|line| line.trim_start().starts_with("error:"));
            let cause = error.map_or_else(|| last_line(&said), str::trim);
            Err(Seen::fails(status.to_string(), format!("nix {}: {cause}", args.join(" "))).in_text(said))
        }
    }
}

/// The flake is read and has the outputs (`packages.x86_64-linux.iso`).
pub(super) fn flake_show(site: &Site, expect: &[String], deadline: &Deadline) -> Seen {
    let shown = match nix(site, &["flake", "show", "--json"], deadline) {
        Ok(shown) => shown,
        Err(seen) => return seen,
    };
    judge_flake(&shown, expect).in_text(shown)
}

fn judge_flake(shown: &str, expect: &[String]) -> Seen {
    let Some(tree) = shown.lines().find_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) else {
        return Seen::fails(last_line(shown), "nix flake show printed no JSON");
    };
    let has = |path: &str| path.split('.').try_fold(&tree, |tree, name| tree.get(name)).is_some();
    let missing: Vec<_> = expect.iter().filter(|path| !has(path)).map(String::as_str).collect();
    let outputs: Vec<_> = tree.as_object().map(|all| all.keys().map(String::as_str).collect()).unwrap_or_default();
    let cause = (!missing.is_empty()).then(|| format!("the flake has no {}", missing.join(", ")));
    Seen::judged(format!("outputs: {}", outputs.join(", ")), cause)
}

/// A profile script is there, and nix is found in a shell that has sourced it.
pub(super) fn profile_script(site: &Site, paths: &[Utf8PathBuf], deadline: &Deadline) -> Seen {
    let real =
        |path: &Utf8PathBuf| path.strip_prefix("~").map_or_else(|_| path.clone(), |rest| site.user.home.join(rest));
    let Some(script) = paths.iter().map(real).find(|path| path.is_file()) else {
        let paths: Vec<_> = paths.iter().map(|path| path.as_str()).collect();
        return Seen::fails("none of them", format!("none of these is there: {}", paths.join(", ")));
    };
    match run(site, Shell::FreshNonLogin, r#". "$1" && command -v nix"#, &[script.as_str()], &site.user.home, deadline)
    {
        Err(error) => broken(&error),
        Ok((status, output)) if status.success() => {
            Seen::holds(format!("{script} leads to {}", last_line(&output.stdout)))
        }
        Ok((status, output)) => {
            let cause = format!("a shell that has sourced {script} does not find nix ({status})");
            Seen::fails(last_line(&text(&output)), cause).in_text(text(&output))
        }
    }
}

/// The derivation is built or fetched, and its outputs are there.
pub(super) fn realises(site: &Site, installable: &str, deadline: &Deadline) -> Seen {
    let printed = match nix(site, &["build", "--no-link", "--print-out-paths", installable], deadline) {
        Ok(printed) => printed,
        Err(seen) => return seen,
    };
    let paths: Vec<_> = printed.lines().filter(|line| line.starts_with('/')).collect();
    match paths.iter().find(|path| !std::path::Path::new(path).exists()) {
        _ if paths.is_empty() => {
            Seen::fails(last_line(&printed), format!("{installable} has no output")).in_text(printed)
        }
        Some(path) => {
            Seen::fails(*path, format!("{path}, an output of {installable}, does not exist")).in_text(printed)
        }
        None => Seen::holds(paths.join(", ")),
    }
}

/// The attribute has a value, and the expected one.
pub(super) fn eval(site: &Site, attribute: &str, expect: Option<&Pattern>, deadline: &Deadline) -> Seen {
    let value = match nix(site, &["eval", "--json", &format!(".#{attribute}")], deadline) {
        Ok(value) => value,
        Err(seen) => return seen,
    };
    let value = last_line(&value).to_owned();
    let missed = expect.filter(|pattern| !pattern.is_in(&value));
    let cause = missed.map(|pattern| format!("{attribute} is {value}, which is not {pattern}"));
    Seen::judged(format!("{attribute} is {value}"), cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::outcome::Verdict;

    #[test]
    fn an_output_that_the_flake_lacks_is_named() {
        let shown = r#"{"packages": {"x86_64-linux": {"iso": {"name": "nixos.iso", "type": "derivation"}}}}"#;
        let want = |path: &str| judge_flake(shown, &[path.to_owned()]).verdict;
        assert_eq!(want("packages.x86_64-linux.iso"), Verdict::Holds);
        assert_eq!(
            want("packages.x86_64-linux.qcow2"),
            Verdict::Fails("the flake has no packages.x86_64-linux.qcow2".into())
        );
        assert!(matches!(judge_flake("warning: dirty", &[]).verdict, Verdict::Fails(_)));
    }
}
