//! What a CI system is told besides the exit code, where its environment asks for it: a summary of the step, and an annotation
//! at the line of each task that failed (GitHub's workflow commands, which Forgejo and Gitea read, too).

use super::verdict;
use camino::Utf8Path;
use evidence::page::headline;
use evidence::record::Record;
use host::print;
use host::secrets::mask;
use host::visible::{block, line};
use std::io::Write;

/// Tell it of a run that has ended.
pub(super) fn report(record: &Record) {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if var("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        let workspace = var("GITHUB_WORKSPACE").unwrap_or_default();
        annotations(record, &workspace).iter().for_each(|command| print::err(command));
    }
    if let Some(path) = var("GITHUB_STEP_SUMMARY") {
        let text = mask(&block(&summary(record))).into_owned();
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
        if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
            print::err(&format!("cannot write the step's summary, {path}: {error}"));
        }
    }
}

/// Markdown: the headline, and the verdict as it is printed.
fn summary(record: &Record) -> String {
    // A fence that is longer than any in the text.
    let text = verdict::text(record);
    let fence = "`".repeat(text.split(|c| c != '`').map(str::len).max().unwrap_or(0).max(2) + 1);
    format!("### {}\n\n{fence}text{text}{fence}\n", line(&headline(record)))
}

/// One `::error` for each task that ended a playbook, and one for the verdict where no task did.
fn annotations(record: &Record, workspace: &str) -> Vec<String> {
    let Some(failure) = &record.failure else { return Vec::new() };
    let failed = record.playbooks.iter().flat_map(|playbook| &playbook.failed).filter(|task| !task.went_on);
    let mut all: Vec<_> = failed
        .map(|task| {
            let (file, row) = task.place.rsplit_once(':').unwrap_or((&task.place, "1"));
            let file = Utf8Path::new(file);
            let file = file.strip_prefix(workspace).unwrap_or(file);
            let text = format!("task \"{}\": {}", task.task, task.message);
            format!("::error file={},line={}::{}", value(file.as_str()), value(row), escaped(&text))
        })
        .collect();
    if all.is_empty() {
        all.push(format!("::error title=boma-qemu {}::{}", record.host, escaped(&failure.to_string())));
    }
    all
}

/// The message of a workflow command: it is one line.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a workflow command's property.
fn value(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::record::FailedTask;
    use host::failure::{Exit, Failure};

    fn record() -> Record {
        let mut record: Record = serde_json::from_str(include_str!("../../tests/fixtures/run/result.json")).unwrap();
        record.fail(&Failure::new(Exit::Apply, "a playbook failed"));
        record
    }

    #[test]
    fn a_failed_task_is_annotated_at_its_line_and_cannot_begin_a_command_of_its_own() {
        let mut record = record();
        let task = |place: &str, went_on| FailedTask {
            task: "50%".into(),
            place: place.into(),
            message: "no\n::error::x".into(),
            went_on,
        };
        record.playbooks[0].failed = vec![task("/w/roles/a,b/main.yml:7", false), task("/w/other.yml:1", true)];
        let told = annotations(&record, "/w");
        assert_eq!(told, ["::error file=roles/a%2Cb/main.yml,line=7::task \"50%25\": no%0A::error::x"]);
    }

    #[test]
    fn without_a_task_the_failure_itself_is_annotated_and_a_pass_is_not() {
        let mut record = record();
        record.playbooks.iter_mut().for_each(|playbook| playbook.failed.clear());
        assert_eq!(annotations(&record, "").len(), 1);
        record.failure = None;
        assert!(annotations(&record, "").is_empty());
    }

    #[test]
    fn the_summary_holds_the_whole_verdict_in_a_fence_that_nothing_in_it_ends() {
        let mut record = record();
        record.made_of.image = "````".into();
        let text = summary(&record);
        assert!(
            text.starts_with("### ") && text.contains("\n`````text\n") && text.trim_end().ends_with("`````"),
            "{text}"
        );
    }
}
