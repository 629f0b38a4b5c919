//! Passes in check mode, held against each other.

use super::*;
use crate::testing::result;

fn tried(task: &str, status: Status, changed: bool) -> TaskResult {
    TaskResult {
        action: "ansible.builtin.copy".into(),
        place: format!("/r/{task}.yml:3"),
        check_mode: true,
        changed,
        diff: if changed { "-a\n+b\n".into() } else { String::new() },
        ..result(task, status)
    }
}

fn item(label: &str, status: Status, changed: bool) -> Item {
    let (label, message, diff) = (label.into(), "m".into(), String::new());
    Item { label, status, broke: false, changed, idle: false, diff, message }
}

fn pass(results: &[TaskResult]) -> Pass {
    Ok(Tried { playbook: "site.yml".into(), seconds: 1.0, results: results.to_vec(), ended: None })
}

fn held(before: &[TaskResult], after: &[TaskResult]) -> Compared {
    compare(&[pass(before)], &[pass(after)], &[])
}

fn names(told: &[Told]) -> Vec<String> {
    told.iter().map(|told| format!("{}{}", told.task, told.item)).collect()
}

#[test]
fn what_would_change_after_the_reboot_only_is_undone_and_what_would_have_before_it_is_not() {
    let before = [tried("a", Status::Ok, false), tried("b", Status::Ok, true), tried("c", Status::Ok, false)];
    let after = [tried("a", Status::Ok, true), tried("b", Status::Ok, true), tried("c", Status::Ok, false)];
    let compared = held(&before, &after);
    assert_eq!((names(&compared.undone), names(&compared.again)), (vec!["a".into()], vec!["b".into()]));
    assert_eq!((compared.judged, compared.undone[0].said.as_str()), (3, "-a\n+b\n"));
    assert_eq!(compared.unjudged, []);
}

#[test]
fn what_the_profile_allows_is_not_undone_until_its_last_day_is_over() {
    let before = [tried("a", Status::Ok, false), tried("b", Status::Ok, false)];
    let after = [tried("a", Status::Ok, true), tried("b", Status::Ok, true)];
    let allow: AllowedLoss =
        serde_json::from_str(r#"{"id": "tasks/a", "why": "a cache", "until": "2026-03-31"}"#).unwrap();
    let on = |day: u64| {
        let mut compared = held(&before, &after);
        compared
            .allow(std::slice::from_ref(&allow), SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(day * 86_400));
        compared
    };
    let valid = on(20_543);
    assert_eq!((names(&valid.undone), valid.allowed[0].1.as_str()), (vec!["b".into()], "a cache (until 2026-03-31)"));
    let over = on(20_544);
    assert_eq!((over.undone.len(), over.allowed.len()), (2, 0));
    assert!(over.undone[0].said.contains("no longer covers it"), "{}", over.undone[0].said);
}

#[test]
fn what_a_second_run_changed_is_never_done_and_no_loss() {
    let before = [tried("a", Status::Ok, false)];
    let after = [tried("a", Status::Ok, true)];
    let really = TaskResult { check_mode: false, ..tried("a", Status::Ok, true) };
    let repeated = changed(&[really]);
    let compared = compare(&[pass(&before)], &[pass(&after)], &repeated);
    assert_eq!((compared.undone.len(), names(&compared.again)), (0, vec!["a".into()]));
}

#[test]
fn what_check_mode_cannot_judge_is_told_and_never_undone() {
    let skipped = TaskResult {
        message: "Command would have run if not in check mode".into(),
        ..tried("cmd", Status::Skipped, false)
    };
    let failed = tried("needs cmd", Status::Failed, false);
    let idle = TaskResult { idle: true, check_mode: false, ..tried("not wanted", Status::Skipped, false) };
    let compared = held(&[], &[skipped.clone(), failed.clone(), idle, tried("new", Status::Ok, true)]);
    assert_eq!(names(&compared.unjudged), ["cmd", "needs cmd", "new"]);
    assert!(compared.unjudged[0].said.contains("not in check mode"));
    assert_eq!((compared.undone.len(), compared.judged), (0, 0));
    // What could not be judged before has nothing to be held against.
    let now = [tried("cmd", Status::Ok, true), tried("needs cmd", Status::Ok, true)];
    assert_eq!(held(&[skipped, failed], &now).undone, []);
}

#[test]
fn a_program_whose_file_is_there_holds() {
    let there = |message: &str| TaskResult { message: message.into(), ..tried("s", Status::Skipped, false) };
    let compared = held(&[there("/x exists, matching creates option")], &[tried("s", Status::Ok, true)]);
    assert_eq!(names(&compared.undone), ["s"]);
}

#[test]
fn a_handler_is_told_by_the_task_that_notifies_it_and_facts_are_nothing() {
    let handler = |changed| TaskResult { handler: true, ..tried("h", Status::Ok, changed) };
    let facts = TaskResult { action: "service_facts".into(), ..tried("f", Status::Ok, true) };
    assert_eq!(held(&[handler(false)], &[handler(true), facts]), Compared::default());
}

#[test]
fn of_a_loop_only_the_item_that_would_change_is_undone() {
    let task = |changed: [bool; 2]| TaskResult {
        items: vec![item("a", Status::Ok, changed[0]), item("b", Status::Ok, changed[1])],
        ..tried("loop ", Status::Ok, true)
    };
    let compared = held(&[task([true, false])], &[task([true, true])]);
    assert_eq!((names(&compared.undone), names(&compared.again)), (vec!["loop b".into()], vec!["loop a".into()]));
    assert_eq!(compared.undone[0].to_string(), "loop  [b] (/r/loop .yml:3)");
}

#[test]
fn a_task_that_comes_another_number_of_times_is_undone_only_if_none_of_them_would_have_changed() {
    let one = |changed| tried("included", Status::Ok, changed);
    assert_eq!(held(&[one(false), one(true)], &[one(true)]).undone, []);
    assert_eq!(held(&[one(false), one(false)], &[one(true)]).undone.len(), 1);
    assert_eq!(held(&[one(true), one(false)], &[one(true), one(true)]).undone.len(), 1, "each by its place");
}

#[test]
fn a_task_that_runs_in_check_mode_too_is_told_and_is_undone_only_where_it_changed_something_anew() {
    let really = |task: &str, changed| TaskResult { check_mode: false, ..tried(task, Status::Ok, changed) };
    let compared = held(
        &[really("reads", false), really("always", true), really("puts back", false)],
        &[really("reads", false), really("always", true), really("puts back", true)],
    );
    assert_eq!(names(&compared.ran), ["reads", "always", "puts back"]);
    assert!(compared.ran[2].said.contains("changed something"));
    assert_eq!((names(&compared.undone), names(&compared.again)), (vec!["puts back".into()], vec!["always".into()]));
}

#[test]
fn a_pass_that_is_not_there_makes_nothing_green_or_red_and_is_told() {
    let after = [tried("a", Status::Ok, true)];
    let lost = || Err("site.yml: the VM could not be reached".to_owned());
    let no_before = compare(&[lost()], &[pass(&after)], &[]);
    assert_eq!((no_before.undone.len(), names(&no_before.unjudged)), (0, vec!["a".into()]));
    assert_eq!(no_before.unseen, ["before the reboot: site.yml: the VM could not be reached"]);
    let no_after = compare(&[pass(&after)], &[lost()], &[]);
    assert_eq!((no_after.judged, no_after.unseen.len()), (0, 1));
    let ended = |task: &str| Ok(Tried { ended: Some(task.into()), ..pass(&after).unwrap() });
    let both = compare(&[ended("x")], &[ended("x")], &[]);
    assert_eq!(both.unseen, ["what comes after it was not looked at: x"], "the same on both sides is told once");
}

#[test]
fn what_a_second_run_changed_is_named_item_by_item_with_its_handlers() {
    let really = TaskResult {
        check_mode: false,
        role: "base".into(),
        task: "base : Loop".into(),
        items: vec![item("a", Status::Ok, true), item("b", Status::Ok, false)],
        ..tried("", Status::Ok, true)
    };
    let handler = TaskResult { check_mode: false, handler: true, ..tried("h", Status::Ok, true) };
    let told = changed(&[really, handler, tried("only tried", Status::Ok, true)]);
    assert_eq!(names(&told), ["Loopa", "h"]);
    assert_eq!(told[0].role, "base");
}

#[test]
fn what_changed_something_counts_as_much_as_a_task_that_did_not() {
    let took = |seconds, changed| TaskResult { seconds, changed, ..result("t", Status::Ok) };
    // 2 s of Ansible's own, 1 + 3 s of what was done already, and 3 s at most for what took a minute.
    let results = [took(1.0, false), took(3.0, false), took(60.0, true), took(0.5, true)];
    assert_eq!(seconds_if_done(66.5, &results), 2.0 + 4.0 + 3.0 + 0.5);
    assert_eq!(seconds_if_done(61.0, &[took(60.0, true)]), 61.0, "with nothing to compare it, as long as it took");
}

#[test]
fn an_entry_about_a_task_that_matched_none_is_named_where_all_could_be_looked_at() {
    let allow = [("tasks/*: lost", "known"), ("tasks/nobody: *", "gone"), ("sysctl/*", "no task's")]
        .map(|(id, why)| AllowedLoss { id: id.into(), why: why.into(), until: None, ticket: None });
    let one = |changed| TaskResult { role: "base".into(), ..tried("lost", Status::Ok, changed) };
    let mut compared = held(&[one(false)], &[one(true)]);
    compared.allow(&allow, SystemTime::UNIX_EPOCH);
    assert_eq!((compared.undone.len(), compared.allowed.len()), (0, 1));
    assert_eq!(compared.unused, ["tasks/nobody: *"]);
    let mut in_part = Compared { unseen: vec!["after the reboot: x".into()], ..held(&[one(false)], &[one(true)]) };
    in_part.allow(&allow, SystemTime::UNIX_EPOCH);
    assert_eq!(in_part.unused, Vec::<String>::new());
}
