//! Background jobs (`async` with `poll: 0`) that a playbook leaves behind: what is not done when the playbook ends is
//! not applied, and a reboot would cut it off. They are waited for, with Ansible's own means, and judged.

use super::command::Controller;
use super::error::{AnsibleError, FailedTask};
use super::{Folder, Stage};
use camino::{Utf8Path, Utf8PathBuf};
use evidence::playbook::events::{Item, Job, TaskResult};
use host::dirs::write_private;
use serde_json::json;
use std::time::Duration;

/// The playbook that waits.
const PLAYBOOK: &str = include_str!("plugins/jobs.yml");

/// How much longer than Ansible's own limit a job is waited for: its wrapper ends it then, and says so in the file.
const SLACK: Duration = Duration::from_secs(120);

/// A job whose end nothing in its playbook waited for.
#[derive(Clone, Debug)]
pub(super) struct Left {
    /// The job.
    pub job: Job,
    /// The task that started it.
    pub task: TaskResult,
}

/// The jobs that were started on the VM and not seen to end.
pub(super) fn left(results: &[TaskResult]) -> Vec<Left> {
    let all = || results.iter().flat_map(|result| result.jobs.iter().map(move |job| (result, job)));
    let ended = |id: &str| all().any(|(_, job)| job.finished && job.id == id);
    let started =
        all().filter(|(result, job)| result.on_host && !job.file.is_empty() && result.module() != "async_status");
    let open = started.filter(|(_, job)| !job.finished && !ended(&job.id));
    open.map(|(result, job)| Left { job: job.clone(), task: result.clone() }).collect()
}

/// Write what waits for the jobs into the folder: the playbook and its variables.
pub(super) fn write(controller: &Controller, left: &[Left]) -> Result<(Utf8PathBuf, Utf8PathBuf), AnsibleError> {
    let (playbook, vars) = places(&controller.folder);
    let jobs: Vec<_> = left
        .iter()
        .map(|Left { job, .. }| {
            json!({"id": job.id, "dir": Utf8Path::new(&job.file).parent(), "become": job.r#become, "become_user": job.become_user})
        })
        .collect();
    write_private(&playbook, PLAYBOOK)?;
    write_private(&vars, format!("{}\n", json!({ "boma_jobs": jobs })))?;
    Ok((playbook, vars))
}

fn places(folder: &Folder) -> (Utf8PathBuf, Utf8PathBuf) {
    (folder.path().join("jobs.yml"), folder.path().join("jobs-vars.json"))
}

/// How long they are waited for, of the time that is left.
pub(super) fn limit(left: &[Left], time: Duration) -> Duration {
    let longest = left.iter().map(|left| left.job.limit).max().unwrap_or_default();
    time.min(Duration::from_secs(longest).saturating_add(SLACK))
}

/// The first job that did not end well, as the failure of its task. A job without an answer is none that ended well.
pub(super) fn failed(playbook: &Utf8Path, left: &[Left], answers: &[Item]) -> Result<(), AnsibleError> {
    for Left { job, task } in left {
        let message = match answers.iter().find(|item| item.label == job.id) {
            Some(item) if !item.is_bad() => continue,
            Some(item) => format!("it ran on in the background (async) and failed there: {}", item.message),
            None => "it ran on in the background (async), and how it ended cannot be read".to_owned(),
        };
        return Err(AnsibleError::TaskFailed(Box::new(FailedTask {
            playbook: playbook.to_owned(),
            play: task.play.clone(),
            task: task.task.clone(),
            place: task.place.clone(),
            host: task.host.clone(),
            message,
            stage: Stage::Apply,
        })));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::playbook::events::Status;
    use evidence::testing::result;

    fn job(id: &str, finished: bool) -> Job {
        let file = format!("/root/.ansible_async/{id}");
        Job { id: id.into(), finished, file, limit: 60, r#become: true, become_user: None }
    }

    fn starts(id: &str) -> TaskResult {
        TaskResult { jobs: vec![job(id, false)], ..result(id, Status::Ok) }
    }

    fn asks(id: &str, finished: bool) -> TaskResult {
        TaskResult {
            action: "ansible.builtin.async_status".into(),
            jobs: vec![job(id, finished)],
            ..result("ask", Status::Ok)
        }
    }

    fn ids(results: &[TaskResult]) -> Vec<String> {
        left(results).into_iter().map(|left| left.job.id).collect()
    }

    #[test]
    fn a_job_is_left_behind_until_it_was_seen_to_end() {
        assert_eq!(ids(&[starts("a"), starts("b"), asks("b", true)]), ["a"]);
        assert_eq!(ids(&[starts("a"), asks("a", false)]), ["a"]);
        let polled = TaskResult { jobs: vec![job("p", true)], ..result("p", Status::Ok) };
        let here = TaskResult { on_host: false, ..starts("h") };
        assert_eq!(ids(&[polled, here]), Vec::<String>::new());
    }

    #[test]
    fn a_job_that_failed_or_gave_no_answer_is_its_tasks_failure() {
        let left = left(&[starts("a"), starts("b")]);
        let item = |label: &str, status| Item {
            label: label.into(),
            status,
            broke: false,
            message: "exit code 3".into(),
            changed: false,
            idle: false,
            diff: String::new(),
        };
        failed("x.yml".into(), &left, &[item("a", Status::Ok), item("b", Status::Ok)]).unwrap();
        let error = failed("x.yml".into(), &left, &[item("a", Status::Ok), item("b", Status::Failed)]).unwrap_err();
        assert!(error.to_string().contains("\"b\"") && error.to_string().contains("exit code 3"), "{error}");
        assert!(failed("x.yml".into(), &left, &[item("a", Status::Ok)]).is_err());
    }

    #[test]
    fn the_wait_is_bounded_by_the_job_and_by_the_playbook() {
        let left = left(&[starts("a")]);
        assert_eq!(limit(&left, Duration::from_secs(30)), Duration::from_secs(30));
        assert_eq!(limit(&left, Duration::from_secs(3600)), Duration::from_secs(180));
    }
}
