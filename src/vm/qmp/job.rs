//! QEMU's background jobs. Their command succeeds at once and says nothing: whether the work was done stands
//! in `query-jobs`, and a job stays there until it is dismissed.

use host::deadline::Deadline;
use host::failure::{Blame, Exit};
use host::presence::ignore;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// The time between two looks at a job; a snapshot of a small guest takes half a second.
const LOOK: Duration = Duration::from_millis(25);

/// Why a job's work was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobError {
    /// It ended with an error.
    #[error("{command} failed: {why}")]
    Failed {
        /// The command that made it.
        command: String,
        /// QEMU's own words.
        why: String,
    },
    /// It did not end in time, and may still be at work.
    #[error("{command} did not end within {limit:?}")]
    TimedOut {
        /// The command that made it.
        command: String,
        /// The time it had.
        limit: Duration,
    },
}

impl Blame for JobError {
    fn exit(&self) -> Exit {
        Exit::Lost
    }
    fn next(&self) -> Option<String> {
        Some("free some disk space below BOMA_STATE if it is full; see `boma-qemu events` and qemu.err".into())
    }
}

/// Run the command that makes a job, wait for the job's end and dismiss it. `execute` runs one QMP command;
/// `arguments` is an object and gets the job's id.
pub async fn run<E: From<JobError>>(
    mut execute: impl AsyncFnMut(&str, Value) -> Result<Value, E>,
    command: &str,
    mut arguments: Value,
    limit: Duration,
) -> Result<(), E> {
    let deadline = Deadline::after(limit);
    // A job that somebody gave up on keeps its id.
    let id = format!("{command}-{:08x}", rand::random::<u32>());
    arguments["job-id"] = json!(id);
    execute(command, arguments).await?;
    let error = loop {
        let jobs = execute("query-jobs", Value::Null).await?;
        let job = jobs.as_array().and_then(|jobs| jobs.iter().find(|job| job["id"] == *id));
        match job.map(|job| (job["status"].as_str(), &job["error"])) {
            Some((Some("concluded"), error)) => break error.as_str().map(str::to_owned),
            Some(_) => {}
            None => break Some("the job is gone, and nobody knows how it ended".into()),
        }
        if deadline.passed() {
            return Err(JobError::TimedOut { command: command.into(), limit }.into());
        }
        tokio::time::sleep(LOOK).await;
    };
    match error {
        None => execute("job-dismiss", json!({ "id": id })).await.map(drop),
        Some(why) => {
            ignore(
                execute("job-dismiss", json!({ "id": id })).await,
                "it may be gone already; its error is what counts",
            );
            Err(JobError::Failed { command: command.into(), why }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Runs a job that goes through these states; what was dismissed.
    async fn play(states: &[Value]) -> (Result<(), JobError>, Vec<Value>) {
        let (id, dismissed) = (RefCell::new(Value::Null), RefCell::new(Vec::new()));
        let states = RefCell::new(states.iter());
        let execute = async |command: &str, arguments: Value| {
            match command {
                "query-jobs" => {
                    let mut job = states.borrow_mut().next().cloned().unwrap_or_default();
                    job["id"] = id.borrow().clone();
                    return Ok(json!([{"id": "another", "status": "concluded", "error": "not ours"}, job]));
                }
                "job-dismiss" => dismissed.borrow_mut().push(arguments["id"].clone()),
                _ => *id.borrow_mut() = arguments["job-id"].clone(),
            }
            Ok(Value::Null)
        };
        let done = run(execute, "snapshot-save", json!({"tag": "applied"}), Duration::from_millis(200)).await;
        assert!(dismissed.borrow().iter().all(|one| *one == *id.borrow()));
        (done, dismissed.into_inner())
    }

    #[tokio::test]
    async fn a_job_that_concludes_with_an_error_has_failed_though_its_command_succeeded() {
        let states = [json!({"status": "running"}), json!({"status": "concluded", "error": "No space left"})];
        let (done, dismissed) = play(&states).await;
        assert_eq!(done.unwrap_err().to_string(), "snapshot-save failed: No space left");
        assert_eq!(dismissed.len(), 1);
    }

    #[tokio::test]
    async fn a_job_that_concludes_without_one_is_done_and_dismissed() {
        let (done, dismissed) = play(&[json!({"status": "running"}), json!({"status": "concluded"})]).await;
        assert!(done.is_ok() && dismissed.len() == 1);
    }

    #[tokio::test]
    async fn a_job_that_never_ends_is_given_up_in_time() {
        let (done, dismissed) = play(&[]).await;
        assert!(matches!(done, Err(JobError::TimedOut { .. })), "{done:?}");
        assert_eq!(dismissed, Vec::<Value>::new());
    }
}
