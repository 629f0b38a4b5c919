//! What cloud-init has come to, by the file that it leaves at its end.
//!
//! `cloud-init status --wait` says the same, but each of its starts takes an emulated CPU some seconds, and it would take
//! them from the boot that is waited for. It is asked where there is no such file when the boot is over.

use crate::ssh::Answer;
use serde::Deserialize;

/// The question: it ends when cloud-init has. On its first line stands who answers.
pub(super) const QUESTION: &str = "command -v cloud-init >/dev/null || { echo none; exit 0; }
result=/run/cloud-init/result.json
while [ ! -e $result ]; do
    case $(systemctl is-system-running) in
    initializing | starting) sleep 1 ;;
    *) [ -e $result ] && break; echo status; exec sudo -n cloud-init status --wait --long ;;
    esac
done
echo result
cat $result 2>/dev/null || exec sudo -n cat $result";

/// How it ended: `done`, or `disabled` where the image has none; the error has the status and cloud-init's own words.
pub(super) fn ended(answer: &Answer) -> Result<String, (String, String)> {
    let said = || format!("{} {}", answer.stdout.trim(), answer.stderr.trim());
    let unknown = || Err(("unknown".to_owned(), said()));
    let Some((who, rest)) = answer.stdout.split_once('\n') else { return unknown() };
    match (who.trim(), answer.code) {
        ("none", 0) => Ok("disabled".into()),
        ("result", 0) => result(rest).map_or_else(unknown, |errors| match errors[..] {
            [] => Ok("done".into()),
            _ => Err(("error".into(), errors.join(" | "))),
        }),
        // Exit code 2 is "done, with warnings" (cloud-init's documentation of `status`).
        ("status", 0 | 2) => match status(rest) {
            Some(status @ ("done" | "disabled")) => Ok(status.into()),
            status => Err((status.unwrap_or("unknown").into(), said())),
        },
        ("status", _) => Err((status(rest).unwrap_or("unknown").into(), said())),
        _ => unknown(),
    }
}

/// The errors of all stages in `result.json`, which make `cloud-init status` say `error` (cloud-init's documentation, "Failure
/// states"); those that it could recover from stand elsewhere.
fn result(text: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Result {
        v1: Stages,
    }
    #[derive(Deserialize)]
    struct Stages {
        errors: Vec<String>,
    }
    serde_json::from_str::<Result>(text).ok().map(|result| result.v1.errors)
}

/// The value of the line `status: …`. cloud-init prints a dot for each time that it looked, and no line end after them.
pub(super) fn status(text: &str) -> Option<&str> {
    text.lines().find_map(|line| Some(line.trim_start_matches('.').strip_prefix("status:")?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(code: i32, stdout: &str) -> std::result::Result<String, String> {
        let answer = Answer { code, stdout: stdout.into(), stderr: String::new() };
        ended(&answer).map_err(|(status, _)| status)
    }

    #[test]
    fn it_is_done_when_its_result_has_no_errors() {
        let done = "result\n{\"v1\": {\"datasource\": \"DataSourceNoCloud [seed=/dev/vdb]\", \"errors\": []}}\n";
        assert_eq!(ends(0, done).unwrap(), "done");
        let recovered = "result\n{\"v1\": {\"errors\": [], \"recoverable_errors\": {\"WARNING\": [\"x\"]}}}\n";
        assert_eq!(ends(0, recovered).unwrap(), "done");
        assert_eq!(ends(0, "none\n").unwrap(), "disabled");
        let failed = "result\n{\"v1\": {\"errors\": [\"('locale', ProcessExecutionError(...))\"]}}\n";
        assert_eq!(ends(0, failed).unwrap_err(), "error");
    }

    #[test]
    fn a_result_that_cannot_be_read_is_no_end() {
        for text in ["", "result\n", "result\n{}", "result\n{\"v1\": {}}", "none", "what\n"] {
            assert_eq!(ends(0, text).unwrap_err(), "unknown", "{text:?}");
        }
        assert_eq!(ends(1, "result\n{\"v1\": {\"errors\": []}}").unwrap_err(), "unknown", "it could not be read whole");
        assert_eq!(ends(1, "none\n").unwrap_err(), "unknown");
    }

    #[test]
    fn where_it_leaves_no_result_its_own_word_counts() {
        let text = "status\n....\n..status: done\nextended_status: degraded done\n";
        assert_eq!(ends(2, text).unwrap(), "done");
        assert_eq!(ends(0, "status\nstatus: disabled\n").unwrap(), "disabled");
        assert_eq!(ends(1, "status\n..status: error\n").unwrap_err(), "error");
        assert_eq!(ends(0, "status\nstatus: running\n").unwrap_err(), "running");
    }

    #[test]
    fn the_question_is_one_the_shell_can_read() {
        host::cmd::Cmd::new("sh").args(["-n", "-c", QUESTION]).run().unwrap();
    }
}
