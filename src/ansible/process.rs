//! One ansible-playbook process, as a child of this one behind a prefix.

use super::command::Invocation;
use super::error::AnsibleError;
use camino::Utf8Path;
use host::child::{self, ChildError, Ended, Job};
use std::time::Duration;

/// Start it behind the prefix, hand every line of both streams to `on_line` and to the log, wait for its end.
/// Dropping the future kills the whole process group. Ansible's workers have sessions of their own: it is the
/// prefix's pid namespace that takes them along.
pub(super) async fn run(
    invocation: &Invocation,
    prefix: &[String],
    limit: Duration,
    log: &Utf8Path,
    on_line: &mut dyn FnMut(&str),
) -> Result<Ended, AnsibleError> {
    let argv: Vec<String> = prefix.iter().chain(&invocation.argv).cloned().collect();
    let stdin = invocation.private.as_deref().unwrap_or_default();
    let job = Job { argv: &argv, env: &invocation.env, cwd: &invocation.cwd, limit, stdin, orderly: false };
    child::run(&job, &invocation.to_string(), log, on_line).await.map_err(|error| match error {
        ChildError::Start { program, source } => AnsibleError::Missing { program, source },
        ChildError::Io { path, source } => AnsibleError::Io { path, source },
    })
}
