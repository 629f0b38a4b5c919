//! Which answers count, and which are none.

use super::*;
use crate::playbook::events::Item;
use crate::testing::result;

fn told(checks: &[Check]) -> Vec<(&str, bool, bool)> {
    checks.iter().map(|check| (check.id.as_str(), check.ok, check.looked)).collect()
}

fn check(id: &str, ok: bool) -> Check {
    Check { id: id.into(), ok, hint: false, detail: "d".into(), looked: true }
}

#[test]
fn checks_are_read_as_the_playbook_wrote_them() {
    let text = r#"{"checks": [{"id": "a", "ok": true, "detail": "fine"}, {"id": "h", "ok": false, "hint": true},
                              {"id": "n", "ok": false, "looked": false}]}"#;
    let checks = parse(text).unwrap();
    assert_eq!((checks[0].ok, checks[0].hint, checks[1].hint), (true, false, true));
    assert_eq!(told(&checks), [("a", true, true), ("h", false, true), ("n", false, false)]);
    let again = format!("{{\"checks\": {}}}", serde_json::to_string(&checks).unwrap());
    assert_eq!((parse(&again).unwrap(), again.matches("looked").count()), (checks, 1));
}

#[test]
fn a_list_that_could_never_fail_is_no_list_of_checks() {
    for bad in [r#"{"checks": []}"#, r#"{"checks": [{"id": "h", "ok": false, "hint": true}]}"#, "[]", ""] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    assert!(parse(r#"{"checks": [{"id": "a", "ok": "false"}]}"#).is_err(), "text is not a truth value");
    assert!(parse(r#"{"checks": [{"id": "a", "ok": true}, {"id": "a", "ok": false}]}"#).is_err());
    assert!(parse(r#"{"checks": [{"id": "a", "ok": true, "looked": false}]}"#).is_err(), "ok without a look");
}

#[test]
fn a_task_that_was_skipped_tried_or_left_running_did_not_look() {
    let job = crate::playbook::events::Job {
        id: "j1".into(),
        finished: false,
        file: "/root/.ansible_async/j1".into(),
        limit: 60,
        r#become: false,
        become_user: None,
    };
    let results = [
        result("looked", Status::Ok),
        result("skipped", Status::Skipped),
        TaskResult { check_mode: true, ..result("tried", Status::Ok) },
        TaskResult { jobs: vec![job], ..result("left", Status::Ok) },
        TaskResult { broke: true, ..result("crashed", Status::Ok) },
        result("red", Status::Failed),
    ];
    let checks = from_results(&results);
    let none = |id| (id, false, false);
    assert_eq!(
        told(&checks),
        [("looked", true, true), none("skipped"), none("tried"), none("left"), none("crashed"), ("red", false, true)]
    );
    assert_eq!(never_looked(&checks, &[]).len(), 4);
}

#[test]
fn each_item_of_a_loop_answers_for_itself() {
    let item = |label: &str, status| Item {
        label: label.into(),
        status,
        broke: false,
        message: "m".into(),
        changed: false,
        idle: false,
        diff: String::new(),
    };
    let items = vec![item("a", Status::Ok), item("b", Status::Skipped), item("c", Status::Failed)];
    let checks = from_results(&[TaskResult { items, ..result("t", Status::Failed) }]);
    assert_eq!(told(&checks), [("t: a", true, true), ("t: b", false, false), ("t: c", false, true)]);
}

#[test]
fn what_prepares_is_no_check_and_a_fail_that_was_not_needed_holds() {
    let of = |action: &str, status| TaskResult { action: action.into(), ..result(action, status) };
    let prepares =
        ["ansible.builtin.setup", "service_facts", "ansible.builtin.debug", "set_fact", "ping", "gather_facts"];
    assert_eq!(from_results(&prepares.map(|action| of(action, Status::Ok))), []);
    let held = TaskResult { held: true, ..of("fail", Status::Skipped) };
    assert_eq!(
        told(&from_results(&[held, of("fail", Status::Skipped)])),
        [("fail", true, true), ("fail (2)", false, false)]
    );
}

#[test]
fn a_check_that_the_playbook_ignores_is_a_hint_whether_it_holds_or_not() {
    for status in [Status::Ok, Status::Failed] {
        let checks = from_results(&[TaskResult { ignored: true, ..result("t", status) }]);
        assert!(checks[0].hint && checks[0].ok == (status == Status::Ok));
    }
}

#[test]
fn what_looked_before_and_does_not_look_now_is_red_and_says_so() {
    let before = [check("there", true), check("skipped", true), check("gone", true), check("red", false)];
    let mut now = vec![check("there", true), Check::did_not_look("skipped", "skipped")];
    let earlier = [("before the reboot", &before[..])];
    hold_against(&mut now, &earlier);
    assert_eq!(
        told(&now),
        [("there", true, true), ("skipped", false, false), ("gone", false, false), ("red", false, false)]
    );
    assert_eq!(now[1].detail, "did not look (it was ok before the reboot): skipped");
    assert_eq!(now[2].detail, "did not look (it was ok before the reboot)");
    assert_eq!(now[3].detail, "did not look (it had failed before the reboot)");
    assert!(now[1].is_red() && now[2].is_red() && never_looked(&now, &earlier).is_empty());
}

#[test]
fn a_check_that_went_missing_stays_red_however_often_it_is_asked_for() {
    let first = [check("a", true), check("b", true)];
    let mut second = vec![check("a", true)];
    hold_against(&mut second, &[("before the reboot", &first)]);
    let mut third = vec![check("a", true)];
    hold_against(&mut third, &[("before the reboot", &first), ("after the reboot", &second)]);
    assert_eq!(told(&third)[1], ("b", false, false));
    assert!(third[1].detail.contains("before the reboot"), "{}", third[1].detail);
}

#[test]
fn what_never_looked_is_told_by_name_unless_it_is_a_hint() {
    let hint = Check { hint: true, ..Check::did_not_look("hint", "no nft") };
    let checks = [check("a", true), Check::did_not_look("b", "skipped"), hint];
    assert_eq!(never_looked(&checks, &[("before", &checks)]), ["b (skipped)"]);
}
