use super::*;
use crate::testing::restart;
use serde_json::json;

fn all<'a>(restart: &'a Restart) -> Parts<'a> {
    Parts {
        finished: true,
        failure: None,
        applied: Applied::Whole,
        checks: Some(Tally { looked: 2, red: 0 }),
        without_reboot: false,
        restart: Some(restart),
        unproved: None,
        restarts: 0,
        alive: ALIVE,
        compared: Compared::Judged(0),
        undone: 0,
        repeated: 0,
        ends: 0,
        way_is_wrong: false,
        leaks: 0,
    }
}

#[test]
fn nothing_is_proved_by_nothing() {
    assert_eq!(Verdict::from_parts(&Parts::default()).kind(), Kind::Unfinished);
    assert_eq!(Verdict::from_parts(&Parts { finished: true, ..Parts::default() }).kind(), Kind::Unfinished);
}

#[test]
fn a_run_is_passed_only_with_all_of_its_parts() {
    let restart = restart();
    let all = all(&restart);
    assert_eq!(Verdict::from_parts(&all).kind(), Kind::Passed);
    assert_eq!(Verdict::from_parts(&Parts { compared: Compared::NotAsked, ..all }).kind(), Kind::Passed);
    let tally = |looked, red| Some(Tally { looked, red });
    for (what, parts, kind) in [
        ("it was killed", Parts { finished: false, ..all }, Kind::Unfinished),
        ("no playbook", Parts { applied: Applied::No, ..all }, Kind::NotApplied),
        ("a part of the playbooks", Parts { applied: Applied::Partly, ..all }, Kind::PartlyApplied),
        ("a part, without a reboot", Parts { applied: Applied::Partly, restart: None, ..all }, Kind::PartlyApplied),
        (
            "a part, the reboot left out",
            Parts { applied: Applied::Partly, without_reboot: true, restart: None, ..all },
            Kind::PartlyApplied,
        ),
        ("a part, and red", Parts { applied: Applied::Partly, checks: tally(2, 1), ..all }, Kind::Failed),
        ("no check ran", Parts { checks: None, ..all }, Kind::Unfinished),
        ("no check looked", Parts { checks: tally(0, 0), ..all }, Kind::NoVerdict),
        ("a check is red", Parts { checks: tally(2, 1), ..all }, Kind::Failed),
        ("a check that was skipped", Parts { checks: tally(0, 1), ..all }, Kind::Failed),
        ("no restart", Parts { restart: None, ..all }, Kind::NotRebooted),
        ("it restarted itself", Parts { restarts: 1, ..all }, Kind::Failed),
        ("it is reached as nothing expects it", Parts { way_is_wrong: true, ..all }, Kind::Failed),
        ("not seen for long", Parts { alive: ALIVE - Duration::from_millis(1), ..all }, Kind::Unfinished),
        ("not compared", Parts { compared: Compared::No, ..all }, Kind::NoVerdict),
        ("a loss", Parts { compared: Compared::Judged(1), ..all }, Kind::Failed),
        ("a task's work is gone", Parts { undone: 1, ..all }, Kind::Failed),
        ("the upgrade leaves something behind", Parts { ends: 1, ..all }, Kind::Failed),
        ("the playbooks are never done", Parts { repeated: 1, ..all }, Kind::Failed),
        ("a leak", Parts { leaks: 1, ..all }, Kind::Leaked),
        ("left out", Parts { without_reboot: true, restart: None, ..all }, Kind::WithoutReboot),
        ("left out, a leak", Parts { without_reboot: true, restart: None, leaks: 1, ..all }, Kind::Leaked),
        ("a leak does not hide a loss", Parts { leaks: 1, compared: Compared::Judged(1), ..all }, Kind::Failed),
        ("not rebooted and red", Parts { restart: None, checks: tally(2, 1), ..all }, Kind::Failed),
    ] {
        assert_eq!(Verdict::from_parts(&parts).kind(), kind, "{what}");
    }
}

#[test]
fn a_failure_decides_whatever_else_is_well() {
    let restart = restart();
    let all = all(&restart);
    for (exit, kind) in [
        (Exit::Apply, Kind::Failed),
        (Exit::Verify, Kind::Failed),
        (Exit::Guest, Kind::Failed),
        (Exit::Lost, Kind::NoVerdict),
        (Exit::Host, Kind::NoVerdict),
        (Exit::Usage, Kind::NoVerdict),
        (Exit::Bug, Kind::NoVerdict),
        (Exit::Interrupted, Kind::Stopped),
    ] {
        assert_eq!(Verdict::from_parts(&Parts { failure: Some(exit), ..all }).kind(), kind, "{exit:?}");
    }
}

#[test]
fn what_was_changed_since_the_proof_is_named_and_a_proof_needs_no_excuse() {
    let restart = restart();
    let said = "RESET guest-reset (event 77)".to_owned();
    let restarts = vec![Seen { seq: 77, mono: 200.0, kind: "RESET".into(), reason: None, firmware: false }];
    let why = Unproved::Restarted { restarts, said };
    let verdict = Verdict::from_parts(&Parts { restart: None, unproved: Some(&why), ..all(&restart) });
    let text = serde_json::to_value(&verdict).unwrap();
    assert_eq!((&text["kind"], &text["why"]["changed"]), (&json!("not-rebooted"), &json!("restarted")));
    assert_eq!(text["why"]["restarts"][0]["seq"], 77);
    assert!(why.to_string().contains("event 77"));
    let back: Unproved = serde_json::from_value(text["why"].clone()).unwrap();
    assert_eq!(back, why);
    let proved = Verdict::from_parts(&Parts { unproved: Some(&why), ..all(&restart) });
    assert_eq!((proved.kind(), proved.why()), (Kind::Passed, None));
}

#[test]
fn only_what_holds_ends_with_zero_and_what_is_unfinished_has_no_exit_class() {
    let restart = restart();
    let all = all(&restart);
    let exit = |parts: Parts<'_>| Verdict::from_parts(&parts).exit();
    assert_eq!(exit(all), Some(Exit::Passed));
    assert_eq!(exit(Parts { restart: None, ..all }), Some(Exit::Passed));
    assert_eq!(exit(Parts { finished: false, ..all }), None);
    assert_eq!(exit(Parts { compared: Compared::No, ..all }), Some(Exit::Lost));
    assert_eq!(exit(Parts { checks: Some(Tally { looked: 1, red: 1 }), ..all }), Some(Exit::Verify));
}
