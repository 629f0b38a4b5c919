//! Judging playbook runs, by the three things that were seen of them.

use super::*;
use evidence::playbook::reports::Kind;
use evidence::testing::result;
use std::os::unix::process::ExitStatusExt;

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
        ended: Ended {
            status: Some(std::process::ExitStatus::from_raw(code << 8)),
            stderr: String::new(),
            stdout: None,
        },
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
fn a_playbook_that_was_only_tried_is_not_applied() {
    let tried = |task: &str| TaskResult { check_mode: true, changed: true, ..result(task, Status::Ok) };
    let facts = TaskResult { action: "ansible.builtin.service_facts".into(), ..result("facts", Status::Ok) };
    let apply = |results| seen(0, results).judge_apply("site.yml".into(), &[], None);
    let nothing = apply(vec![tried("a"), tried("b")]).unwrap_err();
    assert!(nothing.to_string().contains("2 tasks ran in check mode only"), "{nothing}");
    assert!(matches!(apply(vec![facts, tried("a")]), Err(AnsibleError::NothingRan { .. })), "to look is not to apply");
    let mixed = seen(0, vec![tried("a"), result("b", Status::Ok)]);
    mixed.judge_apply("site.yml".into(), &[], None).unwrap();
    let outcome = mixed.outcome("site.yml".into(), 1.0);
    assert_eq!((outcome.tasks, outcome.changed), (1, 0));
    assert_eq!(kinds(&mixed), [("a".to_owned(), Kind::CheckMode)]);
}

#[test]
fn a_pass_in_check_mode_ends_at_a_task_that_fails_and_is_none_if_the_vm_was_not_reached() {
    use host::failure::Blame;
    let tried = |task: &str, status| TaskResult { check_mode: true, ..result(task, status) };
    let judge = |seen: &Seen| seen.judge_check_mode("site.yml".into());
    assert_eq!(judge(&seen(0, vec![tried("a", Status::Ok)])).unwrap(), None);
    let ended = judge(&seen(2, vec![tried("a", Status::Ok), tried("b", Status::Failed)])).unwrap().unwrap();
    assert!(ended.contains("\"b\" at /r/x.yml:3 failed: exit code 1"), "{ended}");
    let lost = [
        seen(4, vec![tried("a", Status::Unreachable)]),
        Seen { logins: 0, ..seen(0, vec![tried("a", Status::Ok)]) },
        seen(0, vec![]),
        Seen { events: Vec::new(), ..seen(2, vec![]) },
        Seen {
            ended: Ended { status: None, stderr: String::new(), stdout: None },
            ..seen(0, vec![tried("a", Status::Ok)])
        },
    ];
    for (n, seen) in lost.iter().enumerate() {
        assert_eq!(judge(seen).unwrap_err().exit().code(), 4, "{n}");
    }
}

fn kinds(seen: &Seen) -> Vec<(String, Kind)> {
    let reports = seen.outcome("site.yml".into(), 1.0).reports;
    reports.into_iter().map(|report| (report.task, report.kind)).collect()
}

#[test]
fn a_tag_that_selects_nothing_is_an_error_whatever_else_ran() {
    let tagged = |task: &str, tag: &str| TaskResult { tags: vec![tag.into()], ..result(task, Status::Ok) };
    let ran = seen(0, vec![tagged("a", "always"), tagged("b", "web")]);
    let judge = |tags: &str| ran.judge_apply("site.yml".into(), &[tags.into()], None);
    for good in ["web", "all", "tagged", "always"] {
        judge(good).unwrap();
    }
    for (bad, named) in [("dbb", "dbb"), ("web,dbb", "dbb"), ("untagged", "untagged")] {
        let error = judge(bad).unwrap_err().to_string();
        assert!(error.contains(&format!("has the tag {named} (2 tasks")), "{error}");
    }
    let include = TaskResult { action: "ansible.builtin.include_tasks".into(), ..tagged("i", "inner") };
    let included = seen(0, vec![include, tagged("a", "always")]);
    assert!(
        included.judge_apply("site.yml".into(), &["inner".into()], None).is_err(),
        "an include does not hand its tag on"
    );
}

#[test]
fn what_a_reader_could_take_for_more_is_reported_and_the_reason_of_a_failure_is_not() {
    let ignored = |task: &str, status| TaskResult { ignored: true, ..result(task, status) };
    let results = || {
        vec![
            result("rescued", Status::Failed),
            ignored("ignored", Status::Failed),
            ignored("away", Status::Unreachable),
            TaskResult { rebooted: true, action: "reboot".into(), ..result("restart", Status::Ok) },
            result("fine", Status::Ok),
        ]
    };
    let mut passed = seen(0, results());
    // Ansible counts what was rescued for itself.
    let hosts = [("askari".to_owned(), Recap::default())].into();
    *passed.events.last_mut().unwrap() = Event::End { hosts };
    let ended = Event::Ended { how: "end_play".into(), play: "p".into(), task: "stop".into(), place: "x:1".into() };
    let unmatched = Event::Unmatched { play: "here".into(), hosts: vec!["localhost".into()] };
    passed.events.splice(0..0, [Event::Playbook { hands_over: false }, ended, unmatched]);
    let told = |kind, task: &str| (task.to_owned(), kind);
    let all = [
        told(Kind::Ended, "stop"),
        told(Kind::NotMirrored, "here"),
        told(Kind::Rescued, "rescued"),
        told(Kind::Ignored, "ignored"),
        told(Kind::UnreachableIgnored, "away"),
        told(Kind::RebootedByPlaybook, "restart"),
    ];
    assert_eq!(kinds(&passed), all);
    let failed = seen(2, [results(), vec![result("fatal", Status::Failed)]].concat());
    assert!(!kinds(&failed).iter().any(|(task, _)| task == "fatal") && kinds(&failed).len() == 4);
}

#[test]
fn a_play_that_ended_before_a_task_ran_says_where() {
    let mut nothing = seen(0, vec![]);
    let ended = Event::Ended { how: "end_host".into(), play: "p".into(), task: "stop".into(), place: "x.yml:7".into() };
    nothing.events.insert(0, ended);
    let said = error(&nothing).to_string();
    assert!(said.contains("ran no task on the VM") && said.contains("x.yml:7"), "{said}");
}

#[test]
fn a_probe_that_came_to_no_answer_is_lost_unless_the_playbook_ignores_it() {
    use host::failure::Blame;
    let broke = TaskResult { broke: true, ..result("Probe", Status::Failed) };
    let error = seen(2, vec![broke.clone()]).judge_probes("verify.yml".into()).unwrap_err();
    assert!(error.exit().code() == 4 && error.to_string().contains("\"Probe\" could not look"), "{error}");
    let ignored = TaskResult { ignored: true, ..broke };
    seen(0, vec![ignored, result("t", Status::Failed)]).judge_probes("verify.yml".into()).unwrap();
}

#[test]
fn a_verify_playbook_that_breaks_gives_no_verdict() {
    use host::failure::Blame;
    let failed = seen(2, vec![result("t", Status::Failed)]);
    let code = |error: AnsibleError| error.exit().code();
    assert_eq!(code(failed.judge("verify.yml".into(), Stage::Verify).unwrap_err()), 4);
    assert_eq!(code(seen(0, vec![]).judge("verify.yml".into(), Stage::Verify).unwrap_err()), 4);
    let refused = Seen { events: Vec::new(), ..seen(2, vec![]) };
    assert_eq!(code(refused.judge("verify.yml".into(), Stage::Verify).unwrap_err()), 4);
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
    use host::failure::Blame;
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
    let check = |ok, hint| Check { id: "a".into(), ok, hint, detail: String::new(), looked: true };
    let failed = seen(2, vec![result("t", Status::Ok), result("Check", Status::Failed)]);
    failed.judge_verify("verify.yml".into(), &[check(false, false)]).unwrap();
    assert!(failed.judge_verify("verify.yml".into(), &[check(true, false), check(false, true)]).is_err());
    let lost = seen(4, vec![result("t", Status::Unreachable)]);
    assert!(lost.judge_verify("verify.yml".into(), &[check(false, false)]).is_err());
}

#[test]
fn a_playbook_that_was_too_slow_is_told_with_the_task_that_was_running() {
    let slow = Seen {
        ended: Ended { status: None, stderr: String::new(), stdout: None },
        events: vec![Event::Start { play: "p".into(), task: "Wait".into(), host: "askari".into() }],
        ..seen(0, vec![])
    };
    assert!(error(&slow).to_string().contains("task \"Wait\" was running"));
}
