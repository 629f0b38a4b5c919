//! Judging playbook runs, by the three things that were seen of them.

use super::*;
use std::os::unix::process::ExitStatusExt;

fn result(task: &str, status: Status) -> TaskResult {
    TaskResult {
        play: "p".into(),
        task: task.into(),
        place: "/r/x.yml:3".into(),
        action: "command".into(),
        host: "askari".into(),
        delegated: None,
        on_host: true,
        status,
        ignored: false,
        changed: false,
        seconds: 0.1,
        message: "exit code 1".into(),
        items: Vec::new(),
        resolved: None,
    }
}

/// A run that ended with `code`; the recap counts what the results say.
fn seen(code: i32, results: Vec<TaskResult>) -> Seen {
    let count = |status| u32::try_from(results.iter().filter(|r| r.status == status && !r.ignored).count()).unwrap();
    let recap = Recap { failures: count(Status::Failed), unreachable: count(Status::Unreachable), ..Recap::default() };
    let mut events: Vec<_> = results.into_iter().map(|r| Event::Result(Box::new(r))).collect();
    events.push(Event::End { hosts: [("askari".to_owned(), recap)].into() });
    Seen {
        host: "askari".into(),
        address: Ipv4Addr::new(10, 9, 8, 7),
        command: "ansible-playbook".into(),
        limit: Duration::from_secs(9),
        ended: Ended { status: Some(std::process::ExitStatus::from_raw(code << 8)), stderr: String::new() },
        events,
        logins: 1,
    }
}

fn error(seen: &Seen) -> AnsibleError {
    seen.judge("site.yml".into(), Stage::Apply).unwrap_err()
}

#[test]
fn a_task_on_the_vm_a_login_and_exit_code_zero_make_a_pass() {
    seen(0, vec![result("t", Status::Ok)]).judge("site.yml".into(), Stage::Apply).unwrap();
}

#[test]
fn exit_code_zero_without_a_task_a_login_or_a_report_is_no_pass() {
    let skipped = seen(0, vec![result("t", Status::Skipped)]);
    assert!(error(&skipped).to_string().contains("ran no task on the VM"));
    let never_logged_in = Seen { logins: 0, ..seen(0, vec![result("t", Status::Ok)]) };
    assert!(error(&never_logged_in).to_string().contains("never logged in"));
    let silent = Seen { events: Vec::new(), ..seen(0, vec![]) };
    assert!(error(&silent).to_string().contains("without reporting"));
}

#[test]
fn the_last_failure_that_nothing_caught_is_the_reason() {
    let ignored = TaskResult { ignored: true, ..result("later", Status::Failed) };
    let failed = seen(2, vec![result("rescued", Status::Failed), result("fatal", Status::Failed), ignored]);
    let said = error(&failed).to_string();
    assert!(said.contains("\"fatal\"") && said.contains("exit code 1"), "{said}");
}

#[test]
fn a_vm_that_does_not_answer_is_lost_and_not_a_failed_playbook() {
    use crate::failure::Blame;
    let lost = error(&seen(4, vec![result("t", Status::Unreachable)]));
    assert!(matches!(lost, AnsibleError::Unreachable { .. }) && lost.exit().code() == 4);
    assert_eq!(error(&seen(2, vec![result("t", Status::Failed)])).exit().code(), 5);
}

#[test]
fn a_task_for_another_host_makes_the_run_a_failure_though_ansible_passed() {
    let to = |target: &str| TaskResult { delegated: Some(target.into()), ..result("t", Status::Ok) };
    let strayed = error(&seen(0, vec![to("ubongo")])).to_string();
    assert!(strayed.contains("delegated to ubongo"), "{strayed}");
    seen(0, vec![to("10.9.8.7")]).judge("site.yml".into(), Stage::Apply).unwrap();
}

#[test]
fn a_verify_playbook_that_fails_with_a_red_check_has_answered_and_one_without_has_not() {
    let check = |ok, hint| Check { id: "a".into(), ok, hint, detail: String::new() };
    let failed = seen(2, vec![result("t", Status::Ok), result("Check", Status::Failed)]);
    failed.judge_verify("verify.yml".into(), &[check(false, false)]).unwrap();
    assert!(failed.judge_verify("verify.yml".into(), &[check(true, false), check(false, true)]).is_err());
    let lost = seen(4, vec![result("t", Status::Unreachable)]);
    assert!(lost.judge_verify("verify.yml".into(), &[check(false, false)]).is_err());
}

#[test]
fn a_playbook_that_was_too_slow_is_told_with_the_task_that_was_running() {
    let slow = Seen {
        ended: Ended { status: None, stderr: String::new() },
        events: vec![Event::Start { play: "p".into(), task: "Wait".into(), host: "askari".into() }],
        ..seen(0, vec![])
    };
    assert!(error(&slow).to_string().contains("task \"Wait\" was running"));
}
