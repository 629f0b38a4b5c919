//! What a program of the user's says of its tests: each is a check of its own. An output that is empty, broken off or not
//! understood is never green.
//!
//! Fuzzed as `checks`.

mod goss;
mod junit;
mod tap;

use super::judge::shown;
use super::{Format, Program};
use evidence::playbook::checks::{self, Check};

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Code(i32),
    /// It was stopped, for its time was over.
    Late,
    /// It was not run, and why.
    NotRun(String),
}

/// What a program left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// How it ended.
    pub end: End,
    /// What it wrote for us; none if that is more than is read.
    pub output: Option<String>,
    /// The end of its standard error.
    pub errors: String,
}

/// The exit codes by which a shell says that it could not run a program.
const NO_PROGRAM: [i32; 2] = [126, 127];

/// The checks that a program's run is: at least one.
pub fn checks(program: &Program, left: &Left) -> Vec<Check> {
    let unseen = |why: String| vec![Check::did_not_look(&program.name, why)];
    let words = || match left.errors.trim().is_empty() {
        true => shown(left.output.as_deref().unwrap_or_default()),
        false => shown(&left.errors),
    };
    let code = match &left.end {
        End::NotRun(why) => return unseen(format!("it could not be run: {why}")),
        End::Late => return unseen(format!("it did not end within {} s", program.limit)),
        End::Code(code) => *code,
    };
    if program.format == Format::Exit {
        let found = Check { id: program.name.clone(), ok: code == 0, hint: false, detail: words(), looked: true };
        return match code {
            0 => vec![found],
            code if NO_PROGRAM.contains(&code) => {
                unseen(format!("it could not be run (exit code {code}): {}", words()))
            }
            129.. => unseen(format!("it was ended by signal {}", code - 128)),
            code => vec![Check { detail: format!("exit code {code}: {}", words()), ..found }],
        };
    }
    let Some(output) = &left.output else { return unseen("it wrote more than is read (8 MiB)".into()) };
    let mut all = match read(program.format, output) {
        Ok(all) => all,
        Err(why) => return unseen(format!("{why} (exit code {code}): {}", words())),
    };
    for check in &mut all {
        check.id = format!("{}: {}", program.name, check.id);
    }
    checks::number(&mut all);
    // It knows of something that none of its tests says.
    if code != 0 && !all.iter().any(Check::is_red) {
        let why = format!("it ended with {code} although none of its tests failed: {}", words());
        all.push(Check::did_not_look(&program.name, why));
    }
    if all.iter().all(|check| check.hint) {
        all.push(Check::did_not_look(&program.name, "none of its tests could have failed"));
    }
    all
}

/// The tests of an output. The error says why it is none that can be judged.
pub fn read(format: Format, text: &str) -> Result<Vec<Check>, String> {
    if text.trim().is_empty() {
        return Err("it wrote no results".into());
    }
    let all = match format {
        Format::Exit => return Err("an exit code is no text".into()),
        Format::Tap => tap::read(text)?,
        Format::Junit => junit::read(text)?,
        Format::Goss => goss::read(text)?,
    };
    match all.is_empty() {
        true => Err("it wrote results without a single test".into()),
        false => Ok(all),
    }
}

/// A test that looked.
fn looked(id: String, ok: bool, detail: &str) -> Check {
    let detail = if detail.trim().is_empty() { String::new() } else { shown(detail) };
    Check { id, ok, hint: false, detail, looked: true }
}

/// A test that was skipped.
fn skipped(id: String, why: &str) -> Check {
    let why = why.trim();
    Check::did_not_look(id, if why.is_empty() { "skipped".to_owned() } else { format!("skipped: {}", shown(why)) })
}

#[cfg(test)]
#[path = "../output_tests.rs"]
mod tests;
