//! QEMU's migration of a machine's state to and from an open file. Its commands succeed at once; what came of them stands in
//! `query-migrate`. An incoming one that fails ends QEMU, which says why on standard error.

use super::job::JobError;
use host::deadline::Deadline;
use serde_json::{Value, json};
use std::time::Duration;

/// The capability that keeps memory that is a shared file out of the stream (QEMU 4.0).
const IGNORE_SHARED: &str = "x-ignore-shared";
/// The time between two looks; half a megabyte takes 10 ms.
const LOOK: Duration = Duration::from_millis(5);

/// Where the state goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the machine, which must stand still, to the file.
    Out,
    /// From the file to a machine that was started to take it.
    In,
}

impl Way {
    fn command(self) -> &'static str {
        match self {
            Self::Out => "migrate",
            Self::In => "migrate-incoming",
        }
    }
}

/// Move the state, without the memory that is a file, to or from the set of descriptors `set`, and wait for the end.
/// `execute` runs one QMP command.
pub async fn run<E: From<JobError>>(
    mut execute: impl AsyncFnMut(&str, Value) -> Result<Value, E>,
    way: Way,
    set: u32,
    limit: Duration,
) -> Result<(), E> {
    let deadline = Deadline::after(limit);
    let ignore_shared = |state: bool| json!({"capabilities": [{"capability": IGNORE_SHARED, "state": state}]});
    execute("migrate-set-capabilities", ignore_shared(true)).await?;
    execute(way.command(), json!({"uri": format!("file:/dev/fdset/{set}")})).await?;
    loop {
        let seen = execute("query-migrate", Value::Null).await?;
        match seen["status"].as_str() {
            Some("completed") => break,
            Some(status @ ("failed" | "cancelled")) => {
                let why = seen["error-desc"].as_str().unwrap_or(status).to_owned();
                return Err(JobError::Failed { command: way.command().into(), why }.into());
            }
            _ => {}
        }
        if deadline.passed() {
            return Err(JobError::TimedOut { command: way.command().into(), limit }.into());
        }
        tokio::time::sleep(LOOK).await;
    }
    // A snapshot that is taken later must hold all of the memory.
    execute("migrate-set-capabilities", ignore_shared(false)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    async fn play(answers: &[Value]) -> (Result<(), JobError>, Vec<String>) {
        let (answers, asked) = (RefCell::new(answers.iter()), RefCell::new(Vec::new()));
        let execute = async |command: &str, arguments: Value| {
            if command == "query-migrate" {
                return Ok(answers.borrow_mut().next().cloned().unwrap_or_default());
            }
            let state = &arguments["capabilities"][0]["state"];
            asked.borrow_mut().push(if state.is_null() {
                command.to_owned()
            } else {
                format!("ignore-shared {state}")
            });
            Ok(Value::Null)
        };
        let done = run(execute, Way::In, 4096, Duration::from_millis(100)).await;
        (done, asked.into_inner())
    }

    #[tokio::test]
    async fn a_state_that_has_come_leaves_no_capability_behind() {
        let (done, asked) = play(&[json!({}), json!({"status": "active"}), json!({"status": "completed"})]).await;
        done.unwrap();
        assert_eq!(asked, ["ignore-shared true", "migrate-incoming", "ignore-shared false"]);
    }

    #[tokio::test]
    async fn a_failure_has_qemus_words_and_one_that_never_ends_is_given_up() {
        let (done, _) = play(&[json!({"status": "failed", "error-desc": "No space left"})]).await;
        assert_eq!(done.unwrap_err().to_string(), "migrate-incoming failed: No space left");
        let (done, _) = play(&[]).await;
        assert!(matches!(done, Err(JobError::TimedOut { .. })), "{done:?}");
    }
}
