use super::*;
use evidence::playbook::checks::Check;
use evidence::record::Phase;

fn checks(when: &str, oks: [bool; 2]) -> Checks {
    let check = |id: &str, ok| Check { id: id.into(), ok, hint: false, detail: "d".into(), looked: true };
    Checks { when: when.into(), checks: vec![check("port", oks[0]), check("docker", oks[1])] }
}

fn record(before: [bool; 2], after: [bool; 2]) -> Record {
    let text = include_str!("../../../tests/fixtures/record.json");
    let mut record: Record = serde_json::from_str(text).unwrap();
    record.checks = vec![checks("before the reboot", before), checks("after the reboot", after)];
    if after != [true, true] {
        record.fail(&Failure::new(Exit::Verify, "checks failed"));
    }
    record
}

fn but(record: &Record, change: impl FnOnce(&mut Record)) -> Record {
    let mut record = record.clone();
    change(&mut record);
    record
}

fn scenario() -> Scenario {
    of(r#"{"broken": "x.yml", "fails": ["port"]}"#)
}

fn of(text: &str) -> Scenario {
    serde_json::from_str(text).unwrap()
}

#[test]
fn red_for_the_named_reason_is_a_proof() {
    red(&record([true, true], [false, true]), &scenario()).unwrap();
}

#[test]
fn a_red_case_that_passes_makes_the_harness_unfaithful() {
    let failure = red(&record([true, true], [true, true]), &scenario()).unwrap_err();
    assert_eq!(failure.exit, Exit::Unfaithful);
}

#[test]
fn what_the_fault_has_lost_of_the_state_is_no_other_reason_and_no_reason_alone() {
    let unit = evidence::observe::BrokenUnit { unit: "u".into(), what: "u has failed".into(), words: Vec::new() };
    let lost = |after| {
        let mut record = record([true, true], after);
        record.state = Some(crate::jobs::observe::across_for_tests(Vec::new(), vec![unit.clone()]));
        record.failure = Some(Failure::new(Exit::Verify, "1 check failed").during("u has failed"));
        record
    };
    red(&lost([false, true]), &scenario()).unwrap();
    let failure = red(&lost([true, true]), &scenario()).unwrap_err();
    assert_eq!(failure.exit, Exit::Unfaithful);
    assert!(failure.to_string().contains("port still held after the reboot; it failed for this: u has"), "{failure}");
}

#[test]
fn red_before_the_reboot_or_for_another_check_proves_nothing() {
    for (before, after) in
        [([false, true], [false, true]), ([true, true], [false, false]), ([true, true], [true, false])]
    {
        let failure = red(&record(before, after), &scenario()).unwrap_err();
        assert_eq!(failure.exit, Exit::Unfaithful, "{before:?} {after:?}: {failure}");
    }
}

#[test]
fn a_check_that_did_not_look_is_no_proof_and_no_other_reason() {
    let mut unseen = record([true, true], [false, true]);
    unseen.checks[1].checks[0].looked = false;
    let why = red(&unseen, &scenario()).unwrap_err().to_string();
    assert!(why.contains("port did not look after the reboot"), "{why}");
    let mut ended_there = record([true, true], [false, false]);
    ended_there.checks[1].checks[1].looked = false;
    red(&ended_there, &scenario()).unwrap();
}

#[test]
fn a_red_case_that_broke_earlier_keeps_its_own_exit_class() {
    let mut record = record([true, true], [false, true]);
    record.failure = Some(Failure::new(Exit::Lost, "QEMU has ended"));
    assert_eq!(red(&record, &scenario()).unwrap_err().exit, Exit::Lost);
}

/// A red case as `record` makes it, with a hint that has turned red and a folder of its own.
fn red_case() -> (Record, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut record = record([true, true], [false, true]);
    record.run = camino::Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
    let hint = |ok| Check { id: "rules".into(), ok, hint: true, detail: "policy drop".into(), looked: true };
    record.checks.iter_mut().zip([true, false]).for_each(|(run, ok)| run.checks.push(hint(ok)));
    (record, folder)
}

#[test]
fn the_cause_must_stand_in_the_first_line_of_the_verdict() {
    let (record, _folder) = red_case();
    for known in ["^FAILED: .*port \\(d\\)", "rules \\(policy drop\\)"] {
        let known = serde_json::json!({"broken": "x", "fails": ["port"], "cause": known});
        red(&record, &of(&known.to_string())).unwrap();
    }
    let why = red(&record, &of(r#"{"broken": "x", "fails": ["port"], "cause": "no masquerade"}"#)).unwrap_err();
    assert_eq!(why.exit, Exit::Unfaithful);
    assert!(
        why.to_string().contains("/no masquerade/ is not in the first line of its verdict, which is: FAILED"),
        "{why}"
    );
}

#[test]
fn what_the_evidence_must_say_is_looked_for_in_its_file() {
    let (record, folder) = red_case();
    let scenario = of(r#"{"broken": "x", "fails": ["port"], "evidence": {"console.log": "oom-kill"}}"#);
    let said = || red(&record, &scenario).map_err(|failure| failure.to_string());
    assert!(said().unwrap_err().contains("console.log of its evidence cannot be read"));
    std::fs::write(folder.path().join("console.log"), "login:").unwrap();
    assert!(said().unwrap_err().contains("/oom-kill/ is not in console.log"));
    std::fs::write(folder.path().join("console.log"), b"\xff oom-kill: x").unwrap();
    said().unwrap();
}

#[test]
fn what_shows_at_once_is_judged_without_a_reboot_and_must_not_show_in_the_green_case() {
    let scenario = of(r#"{"broken": "x", "fails": ["port"], "shows": "at-once"}"#);
    let mut record = record([true, true], [false, true]);
    assert!(red(&record, &scenario).unwrap_err().to_string().contains("the checks did not run"));
    record.checks = vec![checks(WITHOUT, [false, true])];
    red(&record, &scenario).unwrap();
    for oks in [[true, true], [false, false]] {
        record.checks = vec![checks(WITHOUT, oks)];
        assert_eq!(red(&record, &scenario).unwrap_err().exit, Exit::Unfaithful, "{oks:?}");
    }
    let passed = |before| self::record(before, [true, true]);
    green(&passed([true, false]), &scenario).unwrap();
    let why = green(&passed([false, true]), &scenario).unwrap_err();
    assert!(why.exit == Exit::Verify && why.to_string().contains("port had failed in it before the reboot"), "{why}");
    // What shows after the reboot may be green or red before it.
    green(&passed([false, true]), &self::scenario()).unwrap();
}

#[test]
fn no_login_is_one_that_the_reboot_took_away_from_a_host_that_was_well() {
    let scenario = of(r#"{"broken": "x", "shows": "no-login", "cause": "Cannot assign"}"#);
    let mut record = record([true, true], [false, true]);
    let phase = |name: &str, ok| Phase { name: name.into(), seconds: 1.0, ok, outcome: String::new() };
    record.checks.truncate(1);
    (record.reboot, record.state) = (None, None);
    record.phases = vec![phase("check", true), phase("reboot", false)];
    record.failure = Some(Failure::new(Exit::Verify, "cannot be reached: ssh.service failed: Cannot assign it"));
    red(&record, &scenario).unwrap();
    let why = |record: &Record| red(record, &scenario).unwrap_err().to_string();
    let ill = but(&record, |record| record.checks = vec![checks(BEFORE, [true, false])]);
    assert!(why(&ill).contains("docker had failed before the reboot"));
    let early = but(&record, |record| record.phases = vec![phase("site", false)]);
    assert!(why(&early).contains("it failed in the phase site"));
    let back = but(&record, |record| record.reboot = Some(evidence::testing::restart()));
    assert!(why(&back).contains("it came back, and let us in"));
    record.failure = Some(Failure::new(Exit::Verify, "cannot be reached: the host key is another one"));
    assert!(why(&record).contains("/Cannot assign/ is not in the first line"));
}

#[test]
fn a_check_that_was_never_seen_red_is_named_and_one_that_did_not_look_was_not_seen() {
    let never = |cases: [&Record; 2]| never_red(|| cases.into_iter());
    let (red, green) = (record([true, true], [false, true]), record([true, true], [true, true]));
    assert_eq!(never([&red, &green]), ["docker"]);
    let mut unseen = red.clone();
    unseen.checks[1].checks[0].looked = false;
    assert_eq!(never([&unseen, &green]), ["port", "docker"]);
    let mut hints = green.clone();
    hints.checks.iter_mut().for_each(|run| run.checks[1].hint = true);
    assert_eq!(never([&hints, &hints]), ["port"]);
}

/// The details are those that a real red case of askari has shown.
#[test]
fn the_cause_that_askaris_profile_demands_is_what_its_red_case_shows() {
    let text = include_str!("../../../profiles/askari.json");
    let profile = crate::profile::Profile::parse("profiles/askari.json".into(), text).unwrap();
    let scenario = &profile.all_scenarios()["forward-drop"];
    let told = [
        ("docker_active", true, false, "docker.service is active"),
        (
            "published_port_answers",
            false,
            false,
            "10.213.77.10:443 as askari.example.net: timed out (try 5, 25.4 s); 25 packets through the DNAT rule for port 443",
        ),
        ("container_reaches_out", false, false, "from container reverse_proxy to resolver 10.213.77.1: timed out"),
        (
            "forward_chain_accepts",
            false,
            true,
            "table inet filter { chain forward { type filter hook forward priority filter; policy drop; } }",
        ),
    ];
    let checks = |when: &str, before: bool| Checks {
        when: when.into(),
        checks: Vec::from(told.map(|(id, ok, hint, detail)| {
            let (id, detail) = (id.into(), detail.into());
            Check { id, ok: ok || before, hint, detail, looked: true }
        })),
    };
    let mut record = record([true, true], [false, true]);
    record.checks = vec![checks(BEFORE, true), checks(AFTER, false)];
    red(&record, scenario).unwrap();
    // Without the rules in the way, the same red checks have another cause.
    record.checks[1].checks[3].ok = true;
    assert_eq!(red(&record, scenario).unwrap_err().exit, Exit::Unfaithful);
}
