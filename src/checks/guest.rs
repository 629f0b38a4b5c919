//! Questions that the guest itself is asked: one script for all of them, which runs as root, and the reading of its answer.
//!
//! The answer has four lines for each question, in their order: `= NUMBER CODE`, `o`, `e` and `.`; `o` and `e` bring standard
//! output and standard error in base64, since what a program says can be anything.
//!
//! Fuzzed as `checks`.

use super::probe::{Probe, Protocol, Run};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use host::shell::quoted;
use std::fmt::Write;
use std::time::Duration;

/// How much of standard output comes back, in bytes. One byte more says that there is more.
const MOST: usize = 1 << 20;
/// How much of standard error comes back, in bytes.
const WORDS: usize = 2000;
/// How long a question may take that is no command of the user's.
const QUICK: Duration = Duration::from_secs(20);
/// `timeout` says by this exit code that it has ended the command.
const ENDED: i32 = 124;
/// And by this one that it had to kill it.
const KILLED: i32 = 137;

/// What the guest answered to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The exit code of what was asked.
    pub code: i32,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
    /// Whether there was more on standard output than came back.
    pub cut: bool,
    /// Whether it was ended for being too slow.
    pub late: bool,
}

/// The script that asks these; `left` is how long a command of the user's may take.
pub fn script(asked: &[(&Probe, Duration)]) -> String {
    let mut text = format!(
        "export LC_ALL=C PATH=\"$PATH:/usr/local/sbin:/usr/sbin:/sbin\"\n\
         d=$(mktemp -d /run/boma-XXXXXXXX) || exit 71\ntrap 'rm -rf \"$d\"' EXIT\n\
         back() {{ head -c $(({MOST} + 1)) \"$1\" | base64 | tr -d '\\n'; echo; }}\n\
         words() {{ head -c {WORDS} \"$1\" | base64 | tr -d '\\n'; echo; }}\n"
    );
    let mut add = |line: std::fmt::Arguments<'_>| {
        host::presence::ignore(text.write_fmt(line), host::presence::IN_MEMORY);
    };
    for (number, (probe, left)) in asked.iter().enumerate() {
        let (seconds, command) = match probe {
            Probe::Command { .. } => (left.as_secs().max(1), command(probe)),
            _ => (QUICK.as_secs(), command(probe)),
        };
        // Each in the background: one that hangs must not hold up the others.
        add(format_args!(
            "{{ timeout -k 2 {seconds} sh -c {} </dev/null >\"$d/{number}.o\" 2>\"$d/{number}.e\"; echo $? >\"$d/{number}.c\"; }} &\n",
            quoted(&command)
        ));
    }
    add(format_args!("wait\n"));
    for number in 0..asked.len() {
        add(format_args!(
            "echo \"= {number} $(cat \"$d/{number}.c\")\"; printf 'o '; back \"$d/{number}.o\"; printf 'e '; words \"$d/{number}.e\"; echo .\n"
        ));
    }
    text
}

/// How long the whole script may take.
pub fn limit(asked: &[(&Probe, Duration)]) -> Duration {
    let commands = asked.iter().filter(|(probe, _)| matches!(probe, Probe::Command { .. })).map(|(_, left)| *left);
    commands.max().unwrap_or_default().max(QUICK) + QUICK
}

/// What asks one question.
fn command(probe: &Probe) -> String {
    match probe {
        Probe::Unit { name, .. } => {
            format!("exec systemctl show --property=LoadState,ActiveState,SubState,Result -- {}", quoted(name))
        }
        Probe::FailedUnits { .. } => "exec systemctl list-units --state=failed --plain --no-legend --full --all".into(),
        Probe::Listening { protocol, .. } => {
            format!("exec ss -H -l -n {}", if *protocol == Protocol::Tcp { "-t" } else { "-u" })
        }
        Probe::Mount { .. } => "exec cat /proc/self/mounts".into(),
        Probe::Sysctl { key, .. } => format!("exec cat -- {}", quoted(&sysctl_path(key))),
        Probe::File { path, contains, .. } => {
            let stat = format!("stat -L -c '%a %U %G %F' -- {}", quoted(path));
            match contains {
                None => format!("exec {stat}"),
                Some(_) => format!("{stat} && exec cat -- {}", quoted(path)),
            }
        }
        Probe::Command { run: Run::Text(text), .. } => text.clone(),
        Probe::Command { run: Run::Argv(argv), .. } => {
            let words: Vec<_> = argv.iter().map(|word| quoted(word)).collect();
            format!("exec {}", words.join(" "))
        }
        // It is asked from outside; a script that cannot be asked is never taken for an answer.
        Probe::Tcp { .. } | Probe::Http { .. } | Probe::Tls { .. } | Probe::Dns { .. } => "exit 127".into(),
    }
}

/// Where a setting lies. As sysctl(8) has it: if the first separator is a slash, then dots are part of the names.
fn sysctl_path(key: &str) -> String {
    let slashes = key.find(['.', '/']).is_some_and(|at| key[at..].starts_with('/'));
    let path: String = match slashes {
        true => key.to_owned(),
        false => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
    };
    format!("/proc/sys/{path}")
}

/// The answers to so many questions. The error is for a text that is not whole: then none of them counts.
pub fn read(text: &str, count: usize) -> Result<Vec<Answer>, String> {
    let mut lines = text.lines();
    let mut next = |what: &str| lines.next().ok_or_else(|| format!("it ends before {what}"));
    let mut answers = Vec::new();
    for number in 0..count {
        let head = next(&format!("the answer to question {number}"))?;
        let code = head.strip_prefix(&format!("= {number} ")).and_then(|code| code.trim().parse().ok());
        let code: i32 =
            code.ok_or_else(|| format!("where the exit code of question {number} should be is {head:?}"))?;
        let (output, errors) = (decoded(next("its output")?, 'o')?, decoded(next("its errors")?, 'e')?);
        if next("its end")? != "." {
            return Err(format!("the answer to question {number} has no end"));
        }
        let cut = output.len() > MOST;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        answers.push(Answer {
            code,
            output: text(&output[..output.len().min(MOST)]),
            errors: text(&errors),
            cut,
            late: matches!(code, ENDED | KILLED),
        });
    }
    match lines.next() {
        None => Ok(answers),
        Some(more) => Err(format!("there is more after its end: {more:?}")),
    }
}

fn decoded(line: &str, tag: char) -> Result<Vec<u8>, String> {
    let text = line.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' '));
    let bytes = text.and_then(|text| STANDARD.decode(text.trim()).ok());
    bytes.ok_or_else(|| format!("a line that is no base64 where {tag:?} should be"))
}

#[cfg(test)]
#[path = "guest_tests.rs"]
mod tests;
