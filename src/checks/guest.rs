//! Questions that the guest itself is asked: one script for all of them, which runs as root, and the reading of its answer.
//!
//! The answer begins with a line of exit codes and a line of lengths, each in the questions' order; then what was said, in
//! base64, since what a program says can be anything: standard output and standard error of the first question, of the second,
//! and so on; and a line with a full stop. Processes are dear where the CPU is emulated, so all of it is collected at once.
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
    let mut text = "export LC_ALL=C PATH=\"$PATH:/usr/local/sbin:/usr/sbin:/sbin\"\n\
                    d=$(mktemp -d /run/boma-XXXXXXXX) || exit 71\ntrap 'rm -rf \"$d\" >/dev/null 2>&1 &' EXIT\n"
        .to_owned();
    let mut add = |line: std::fmt::Arguments<'_>| {
        host::presence::ignore(text.write_fmt(line), host::presence::IN_MEMORY);
    };
    // Each in the background: one that hangs must not hold up the others.
    for (number, (probe, left)) in asked.iter().enumerate() {
        match probe {
            // What it leaves behind may go on writing: what counts is what it had said when it ended.
            Probe::Command { run, .. } => add(format_args!(
                "{{ timeout -k 2 {seconds} {command} </dev/null >\"$d/{number}.s\" 2>\"$d/{number}.w\"; echo $? >\"$d/{number}.c\"\n\
                 head -c {most} \"$d/{number}.s\" >\"$d/{number}.o\"; head -c {WORDS} \"$d/{number}.w\" >\"$d/{number}.e\"; }} &\n",
                seconds = left.as_secs().max(1),
                command = command(run),
                most = MOST + 1,
            )),
            _ => add(format_args!(
                "{{ timeout -k 2 {seconds} {question} </dev/null >\"$d/{number}.o\" 2>\"$d/{number}.e\"; echo $? >\"$d/{number}.c\"; }} &\n",
                seconds = QUICK.as_secs(),
                question = question(probe),
            )),
        }
    }
    let each = |parts: &[&str]| {
        let files = (0..asked.len()).flat_map(|n| parts.iter().map(move |part| format!(" \"$d/{n}.{part}\"")));
        files.collect::<String>()
    };
    add(format_args!(
        "wait\nfor c in{codes}; do read -r c <\"$c\"; printf '%s ' \"$c\"; done; echo\n\
         l=$(stat -c %s{said}) && echo $l && cat{said} | base64 && echo .\n",
        codes = each(&["c"]),
        said = each(&["o", "e"]),
    ));
    text
}

/// How long the whole script may take.
pub fn limit(asked: &[(&Probe, Duration)]) -> Duration {
    let commands = asked.iter().filter(|(probe, _)| matches!(probe, Probe::Command { .. })).map(|(_, left)| *left);
    commands.max().unwrap_or_default().max(QUICK) + QUICK
}

/// A command of the user's.
fn command(run: &Run) -> String {
    match run {
        Run::Text(text) => format!("sh -c {}", quoted(text)),
        Run::Argv(argv) => argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

/// The program that answers one question.
fn question(probe: &Probe) -> String {
    match probe {
        Probe::Unit { name, .. } => {
            format!("systemctl show --property=LoadState,ActiveState,SubState,Result -- {}", quoted(name))
        }
        Probe::FailedUnits { .. } => "systemctl list-units --state=failed --plain --no-legend --full --all".into(),
        Probe::Listening { protocol, .. } => {
            format!("ss -H -l -n {}", if *protocol == Protocol::Tcp { "-t" } else { "-u" })
        }
        Probe::Mount { .. } => "cat /proc/self/mounts".into(),
        Probe::Sysctl { key, .. } => format!("cat -- {}", quoted(&sysctl_path(key))),
        Probe::File { path, contains, .. } => {
            let stat = format!("stat -L -c '%a %U %G %F' -- {}", quoted(path));
            match contains {
                None => stat,
                Some(_) => format!("sh -c {}", quoted(&format!("{stat} && exec head -c {MOST} -- {}", quoted(path)))),
            }
        }
        // It is asked from outside, or in another way; what cannot be asked is never taken for an answer.
        Probe::Tcp { .. } | Probe::Http { .. } | Probe::Tls { .. } | Probe::Dns { .. } | Probe::Command { .. } => {
            "sh -c 'exit 127'".into()
        }
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
    let (codes, rest) = text.split_once('\n').ok_or("it ends before the exit codes")?;
    let (lengths, rest) = rest.split_once('\n').ok_or("it ends before the lengths")?;
    let codes: Vec<i32> = numbers(codes, count, "exit codes")?;
    let lengths: Vec<usize> = numbers(lengths, 2 * count, "lengths")?;
    let base64 = rest.strip_suffix(".\n").ok_or("it has no end")?.replace('\n', "");
    let said = STANDARD.decode(base64).map_err(|error| format!("the output is not valid base64: {error}"))?;
    let mut left = &said[..];
    let mut next = |length: usize| {
        let (said, rest) = left.split_at_checked(length)?;
        left = rest;
        Some(said)
    };
    let mut answers = Vec::new();
    for (code, lengths) in codes.into_iter().zip(lengths.chunks_exact(2)) {
        let output = next(lengths[0]).ok_or("the output is shorter than its lengths")?;
        let errors = next(lengths[1]).ok_or("the output is shorter than its lengths")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        answers.push(Answer {
            code,
            output: text(&output[..output.len().min(MOST)]),
            errors: text(&errors[..errors.len().min(WORDS)]),
            cut: output.len() > MOST,
            late: matches!(code, ENDED | KILLED),
        });
    }
    match left.len() {
        0 => Ok(answers),
        more => Err(format!("{more} unexpected bytes after the output")),
    }
}

/// A line of so many numbers.
fn numbers<T: std::str::FromStr>(line: &str, count: usize, what: &str) -> Result<Vec<T>, String> {
    let numbers: Option<Vec<T>> = line.split_ascii_whitespace().map(|word| word.parse().ok()).collect();
    let numbers = numbers.filter(|numbers| numbers.len() == count);
    numbers.ok_or_else(|| format!("{count} {what} should be where {line:?} is"))
}

#[cfg(test)]
#[path = "guest_tests.rs"]
mod tests;
