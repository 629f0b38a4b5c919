//! Short runs of Ansible's programs on this side. Their output may hold secrets (an inventory lists variables), so
//! an error repeats only what Ansible itself says is the error, never its excerpts of files.

use super::command::Invocation;
use super::error::AnsibleError;
use host::cmd::{Cmd, CmdError, Output};
use std::process::ExitStatus;
use std::time::Duration;
use vm::network::confine::NotRun;

/// How long one of these may take; a vault's password program may ask its owner.
const LIMIT: Duration = Duration::from_secs(60);

/// Run it behind the prefix; its exit status is the caller's to judge.
pub(super) fn run(
    invocation: &Invocation,
    prefix: &[String],
    stdin: Vec<u8>,
) -> Result<(ExitStatus, Output), AnsibleError> {
    let mut argv = prefix.iter().chain(&invocation.argv);
    let program = argv.next().cloned().unwrap_or_default();
    let command = Cmd::new(&program).args(argv).only_env(&invocation.env).current_dir(&invocation.cwd);
    // What is secret goes the same way; no command has both.
    let stdin = invocation.private.as_ref().map_or(stdin, |private| private.as_bytes().to_vec());
    let done = command.stdin(stdin).limit(LIMIT).status().map_err(|error| match error {
        CmdError::Start { program, source } => AnsibleError::Missing { program, source },
        CmdError::Pipe { source, .. } => AnsibleError::Io { path: program.into(), source },
        CmdError::Stopped { .. } => AnsibleError::Refused {
            command: invocation.to_string(),
            status: "was stopped".into(),
            said: "by the user".into(),
            stage: super::Stage::Apply,
        },
        CmdError::TimedOut { .. } | CmdError::Failed { .. } => AnsibleError::Refused {
            command: invocation.to_string(),
            status: format!("no answer within {} s", LIMIT.as_secs()),
            said: "it may be waiting for a password".into(),
            stage: super::Stage::Apply,
        },
    })?;
    match not_confined(done.0.code(), &done.1.stderr) {
        Some(error) => Err(error),
        None => Ok(done),
    }
}

/// The error that a command was not run at all because the prefix could not do its part.
pub(super) fn not_confined(code: Option<i32>, stderr: &str) -> Option<AnsibleError> {
    // These are our own words, and no file's.
    NotRun::told(code, stderr).map(AnsibleError::NotConfined)
}

/// What Ansible says is the error. The lines around it may show a file's contents, and are left out.
pub(super) fn error_lines(stderr: &str) -> String {
    let starts = ["[ERROR]: ", "ERROR! ", "Origin: ", "The error appears to be in ", "error: "];
    let named: Vec<_> = stderr
        .lines()
        .map(str::trim)
        .filter_map(|line| {
            let start = starts.iter().find(|s| line.contains(**s))?;
            let text = &line[line.find(start)?..];
            Some(text.trim_start_matches("[ERROR]: ").trim_start_matches("ERROR! ").trim())
        })
        .collect();
    let mut unique: Vec<&str> = Vec::new();
    for line in named {
        if !unique.contains(&line) {
            unique.push(line);
        }
    }
    match unique.is_empty() {
        false => unique.join(" | "),
        true => stderr.lines().rev().map(str::trim).find(|l| !l.is_empty()).unwrap_or("it said nothing").to_owned(),
    }
}

/// Whether what Ansible said is about a vault that does not open.
pub(super) fn is_about_the_vault(stderr: &str) -> bool {
    let text = stderr.to_lowercase();
    text.contains("vault") || text.contains("decrypt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_without_the_excerpt_of_the_file() {
        let stderr = "[WARNING]: x\n[ERROR]: YAML parsing failed: Found unexpected end\nOrigin: /r/a.yml:2:1\n\n1 password: hunter2\n2 b: [\n  ^ column 1\n";
        let said = error_lines(stderr);
        assert_eq!(said, "YAML parsing failed: Found unexpected end | Origin: /r/a.yml:2:1");
    }

    #[test]
    fn a_prefix_that_could_not_confine_is_no_failure_of_the_playbook() {
        use host::failure::Blame;
        let stderr =
            "boma-qemu @confine: the command was not run: cannot make a mount namespace: EPERM\n  next: run x\n";
        let error = not_confined(Some(125), stderr).unwrap();
        assert!(error.exit().code() == 3 && error.to_string().ends_with("EPERM"), "{error}");
        assert_eq!(error.next().as_deref(), Some("run x"));
        assert!(not_confined(Some(2), stderr).is_none());
    }
}
