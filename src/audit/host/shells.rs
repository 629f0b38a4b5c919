//! Fresh shells: what somebody finds who has just logged in, and what a service or a CI job finds that has not.
//!
//! Both begin with what login(1) sets and nothing else, USER among it: Nix's profile script does nothing without USER,
//! so a build that works in one's own terminal fails in a shell that lacks it.

use super::{Site, User, broken};
use crate::audit::outcome::Seen;
use crate::audit::probe::Shell;
use crate::form::pattern::Pattern;
use camino::Utf8Path;
use host::cmd::{Cmd, CmdError, Output};
use host::deadline::Deadline;
use std::process::ExitStatus;

/// What stands before our own lines: profile scripts print, too.
const MARK: &str = "boma-qemu:";

/// What login(1) sets, with the PATH of Debian's login.defs(5).
pub(super) fn environment_of(user: &User) -> Vec<(String, String)> {
    let path = match user.is_root {
        true => "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        false => "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games",
    };
    let set = [
        ("HOME", user.home.as_str()),
        ("USER", &user.name),
        ("LOGNAME", &user.name),
        ("SHELL", "/bin/bash"),
        ("PATH", path),
        ("TERM", "dumb"),
    ];
    set.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
}

impl Shell {
    /// Its command line, up to the script.
    fn argv(self) -> [&'static str; 2] {
        match self {
            Self::FreshLogin => ["bash", "-lc"],
            Self::FreshNonLogin => ["bash", "-c"],
        }
    }
}

impl std::fmt::Display for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::FreshLogin => "a fresh login shell",
            Self::FreshNonLogin => "a fresh non-login shell",
        })
    }
}

/// Run a script with arguments in a fresh shell in a folder: at home, where a shell begins, or where the build is.
pub(super) fn run<S: AsRef<str>>(
    site: &Site,
    shell: Shell,
    script: &str,
    args: &[S],
    folder: &Utf8Path,
    deadline: &Deadline,
) -> Result<(ExitStatus, Output), CmdError> {
    let [bash, option] = shell.argv();
    let cmd = Cmd::new(bash).args([option, script, "bash"]).args(args.iter().map(AsRef::as_ref));
    cmd.only_env(&environment_of(&site.user)).current_dir(folder).limit(deadline.left()).status()
}

/// What was said, both streams.
pub(super) fn text(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

/// The variables are set, and those that say who this is are right.
pub(super) fn environment(site: &Site, shells: &[Shell], set: &[String], deadline: &Deadline) -> Seen {
    // `printenv`: what a command that is started there gets, not what the shell has for itself.
    let script = format!("for v in \"$@\"; do printf '\\n{MARK}%s=%s\\n' \"$v\" \"$(printenv \"$v\")\"; done");
    each(site, shells, &script, set, deadline, |output| {
        let value = |name: &str| marked(output).find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let wrong = set.iter().filter_map(|name| match (name.as_str(), value(name).unwrap_or_default()) {
            (name, "") => Some(format!("{name} is not set")),
            ("USER" | "LOGNAME", value) if value != site.user.name => {
                Some(format!("{name} is {value:?} and not {:?}", site.user.name))
            }
            ("HOME", value) if value != site.user.home => {
                Some(format!("HOME is {value:?} and not {:?}", site.user.home))
            }
            _ => None,
        });
        let wrong: Vec<_> = wrong.collect();
        (!wrong.is_empty()).then(|| wrong.join(", "))
    })
}

/// The commands are found.
pub(super) fn present(site: &Site, shells: &[Shell], names: &[String], deadline: &Deadline) -> Seen {
    let script =
        format!("for c in \"$@\"; do command -v -- \"$c\" >/dev/null || printf '\\n{MARK}%s\\n' \"$c\"; done; :");
    each(site, shells, &script, names, deadline, |output| {
        let missing: Vec<_> = marked(output).collect();
        (!missing.is_empty()).then(|| format!("not found: {}", missing.join(", ")))
    })
}

/// The command ends well and says what is expected.
pub(super) fn works(
    site: &Site,
    shells: &[Shell],
    argv: &[String],
    expect: Option<&Pattern>,
    deadline: &Deadline,
) -> Seen {
    each(site, shells, "\"$@\"", argv, deadline, |output| {
        let said = text(output);
        let missed = expect.filter(|pattern| !pattern.is_in(&said))?;
        Some(format!("{} does not say {missed} but {:?}", argv.join(" "), last_line(&said)))
    })
}

/// Do the same in each shell; the first cause why not.
fn each(
    site: &Site,
    shells: &[Shell],
    script: &str,
    args: &[String],
    deadline: &Deadline,
    judge: impl Fn(&Output) -> Option<String>,
) -> Seen {
    let mut told = String::new();
    for shell in shells {
        let (status, output) = match run(site, *shell, script, args, &site.user.home, deadline) {
            Ok(ran) => ran,
            Err(CmdError::TimedOut { limit, said, .. }) => {
                return Seen::fails(said, format!("in {shell}: no end within {:.0} s", limit.as_secs_f64()));
            }
            Err(error) => return broken(&error),
        };
        told += &format!("== {shell} ({status})\n{}\n", text(&output).trim());
        let cause = match status.success() {
            true => judge(&output),
            false => Some(format!("{} ended with {status}: {}", args.join(" "), last_line(&text(&output)))),
        };
        if let Some(cause) = cause {
            return Seen::fails(cause.clone(), format!("in {shell}: {cause}")).in_text(told);
        }
    }
    let named: Vec<_> = shells.iter().map(ToString::to_string).collect();
    Seen::holds(format!("in {}", named.join(" and "))).in_text(told)
}

fn marked(output: &Output) -> impl Iterator<Item = &str> {
    output.stdout.lines().filter_map(|line| line.strip_prefix(MARK))
}

pub(super) fn last_line(text: &str) -> &str {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("nothing")
}
