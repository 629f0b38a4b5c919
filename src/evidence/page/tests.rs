use super::*;
use crate::page::html::parts::{Mood, Weight};
use crate::record::{Checks, Phase};
use crate::verdict::Kind;
use host::failure::Failure;
use serde_json::json;

fn record() -> Record {
    serde_json::from_str(include_str!("../../../tests/fixtures/record.json")).unwrap()
}

/// A run's folder with a console of two boots, in which the rules found three lines.
fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
    let keep = tempfile::tempdir().unwrap();
    let dir = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
    let filler = |from: u32| (from..from + 20).map(|n| format!("[    {n}.000000] line {n}\r\n")).collect::<String>();
    let failed = "[\u{1b}[0;1;31mFAILED\u{1b}[0m] Failed to start caddy.service - Proxy.\r\n";
    let oom = "[   30.5] Out of memory: Killed process 901 (python3)\r\n";
    let (first, second) = (filler(1), format!("{}{failed}{oom}{}{failed}", filler(21), filler(41)));
    std::fs::write(dir.join("console.log"), format!("{first}{second}")).unwrap();
    let at = |n: usize, of: &str| first.len() + second.match_indices(of).nth(n).unwrap().0;
    let rule = |id: &str, severity: &str, offset: usize| {
        (
            "console-rule",
            json!({"id": id, "severity": severity, "fatal": false, "means": "it means", "line": "x", "offset": offset}),
        )
    };
    let events = [
        ("boot", json!({"n": 1, "offset": 0})),
        ("boot", json!({"n": 2, "offset": first.len()})),
        rule("unit-failed", "warning", at(0, failed)),
        rule("oom-kill", "error", at(0, oom)),
        rule("unit-failed", "warning", at(1, failed)),
    ];
    let line = |(n, (kind, data)): (usize, &(&str, serde_json::Value))| {
        json!({"seq": n + 1, "wall": 0.0, "mono": 0.0, "source": "console", "kind": kind, "data": data}).to_string()
            + "\n"
    };
    std::fs::write(dir.join("events.ndjson"), events.iter().enumerate().map(line).collect::<String>()).unwrap();
    std::fs::write(dir.join("started"), "2026-06-17T06:00:00.000Z\ncycle askari\n").unwrap();
    std::fs::create_dir_all(dir.join("guest")).unwrap();
    std::fs::write(dir.join("guest/nft.txt"), "x").unwrap();
    (keep, dir)
}

#[test]
fn matches_close_to_each_other_are_one_place_of_the_boot_that_they_are_in() {
    let (_keep, dir) = folder();
    let record = record();
    let page = of(&record, &dir);
    let told: Vec<_> = page.console.iter().map(|h| (h.part.as_str(), h.rules.len(), h.lines.len())).collect();
    assert_eq!(told, [("boot 2", 2, 3 + 2 + 5), ("boot 2", 1, 3 + 1)]);
    let matched: Vec<_> = page.console[0].lines.iter().filter(|l| l.matched).map(|l| l.text.as_str()).collect();
    assert_eq!(
        matched,
        ["[FAILED] Failed to start caddy.service - Proxy.", "[   30.5] Out of memory: Killed process 901 (python3)"]
    );
}

#[test]
fn a_damaged_journal_is_told_in_the_place_of_what_matched() {
    let (_keep, dir) = folder();
    std::fs::write(dir.join("events.ndjson"), "{\"seq\":1}\n").unwrap();
    let record = record();
    let page = of(&record, &dir);
    assert_eq!((page.console.len(), page.console[0].rules[0].weight), (1, Weight::Critical));
    assert!(page.console[0].rules[0].means.contains("damaged at line 1"), "{}", page.console[0].rules[0].means);
}

#[test]
fn the_page_names_the_command_and_the_files() {
    let (_keep, dir) = folder();
    let record = record();
    let page = of(&record, &dir);
    assert_eq!(page.command, "cycle askari");
    let files: Vec<_> = page.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, ["result.json", "console.log", "events.ndjson", "started", "guest/nft.txt"]);
}

#[test]
fn a_red_run_says_what_failed_first_what_came_with_it_and_what_to_do() {
    let (_keep, dir) = folder();
    let mut record = record();
    let phase = |name: &str, ok| Phase { name: name.into(), seconds: 1.0, ok, outcome: "o".into() };
    record.phases = vec![phase("check", false), phase("reboot", true), phase("assert", false), phase("down", false)];
    record.fail(&Failure::new(Exit::Verify, "1 of 1 checks failed after the reboot: port").next("look at the port"));
    let check =
        |ok| crate::playbook::checks::Check { id: "port".into(), ok, hint: false, detail: "d".into(), looked: true };
    let checks = |when: &str, ok| Checks { when: when.into(), checks: vec![check(ok)] };
    record.checks = vec![checks("before the reboot", true), checks("after the reboot", false)];
    let page = of(&record, &dir);
    let verdict = &page.verdict;
    assert_eq!((verdict.mood, verdict.failed_in.as_deref()), (Mood::Bad, Some("phase assert")));
    assert!(verdict.headline.starts_with("FAILED: askari did not come back right"));
    assert_eq!(verdict.symptoms.len(), 1, "{:?}", verdict.symptoms);
    assert!(verdict.symptoms[0].contains("boot 2") && verdict.symptoms[0].contains("Failed to start caddy.service"));
    assert!(verdict.commands.is_empty(), "the VM is gone");
    assert_eq!(verdict.next[0], "Look at the port.");
    assert!(verdict.next[1].starts_with("The change does not survive"));
    let text = html::cycle(&page);
    assert!(text.contains("1 of 1 broken by the restart") && text.matches("class=\"when\" aria-hidden").count() == 2);
}

#[test]
fn a_page_can_be_written_again_from_the_evidence_alone() {
    let (_keep, dir) = folder();
    assert!(again(&dir).unwrap_err().to_string().contains("result.json is no result of a run"));
    std::fs::write(dir.join("result.json"), "{\"schema\": 1}").unwrap();
    assert_eq!(again(&dir).unwrap_err().exit, Exit::Usage);
    std::fs::write(dir.join("result.json"), serde_json::to_string(&record()).unwrap()).unwrap();
    let page = std::fs::read_to_string(again(&dir).unwrap()).unwrap();
    assert!(page.contains("Out of memory: Killed process 901") && page.contains("cycle askari"));
}

#[test]
fn boots_without_figures_say_why_and_those_with_them_show_the_slowest_units() {
    let (_keep, dir) = folder();
    let unit = |n: u32| json!({"name": format!("u{n}.service"), "at_s": n, "took_s": n, "failed": n == 1});
    let timeline = json!({
        "boot_id": "6f1e2b1c-8f0e-4f0e-9d59-3a4b5c6d7e8f", "kernel": "6.12", "systemd": "257", "os": "Debian",
        "stages": {"firmware_s": null, "loader_s": null, "kernel_s": 3.0, "initrd_s": null, "userspace_s": 9.0},
        "units": (1..40).map(unit).collect::<Vec<_>>(), "chain": ["u9.service", "u2.service", "gone.service"]
    });
    std::fs::create_dir_all(dir.join("timeline")).unwrap();
    std::fs::write(dir.join("timeline/2-boot-2.json"), timeline.to_string()).unwrap();
    let mut record = record();
    let seen = |console: &str, file: Option<&str>, why: Option<&str>| BootSeen {
        console: console.into(),
        stages: None,
        file: file.map(str::to_owned),
        why: why.map(str::to_owned),
    };
    record.boots = vec![seen("boot-1", None, Some("no sudo")), seen("boot-2", Some("timeline/2-boot-2.json"), None)];
    let page = of(&record, &dir);
    let boot = page.timelines[1].as_ref().unwrap();
    assert_eq!(boot.stages.named(), [("kernel", 3.0), ("userspace", 9.0)]);
    let named = |units: Vec<&vm::timeline::Unit>| units.iter().map(|unit| unit.name.clone()).collect::<Vec<_>>();
    let slowest = named(html::cycle::boots::slowest(boot));
    assert_eq!(
        (slowest.len(), &slowest[..2]),
        (html::cycle::boots::SLOWEST, &["u1.service", "u29.service"].map(str::to_owned)[..])
    );
    assert_eq!(named(html::cycle::boots::chain(boot)), ["u9.service", "u2.service"]);
    let text = html::cycle(&page);
    assert!(text.contains("There are no figures: <span class=\"told\">no sudo") && text.contains("systemd 257"));
    assert!(text.contains("<dt>guest</dt>"), "{text}");
}

/// A result of the first format in which all checks hold.
fn old_and_green() -> serde_json::Value {
    let mut old: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/fixtures/run/result.json")).unwrap();
    (old["exit"], old["failure"]) = (json!("passed"), json!(null));
    for check in old["checks"][1]["checks"].as_array_mut().unwrap() {
        check["ok"] = json!(true);
    }
    old
}

#[test]
fn a_result_of_the_first_format_is_judged_by_what_it_holds() {
    let red: Record = serde_json::from_str(include_str!("../../../tests/fixtures/run/result.json")).unwrap();
    assert_eq!(red.verdict().kind(), Kind::Failed);
    assert!(headline(&red).starts_with("FAILED: askari did not come back right"), "{}", headline(&red));
    let green: Record = serde_json::from_value(old_and_green()).unwrap();
    assert_eq!(green.verdict().kind(), Kind::Passed);
    assert_eq!(headline(&green), "PASSED: askari came back from its reboot; its state was not compared");
}

#[test]
fn what_a_file_says_of_its_own_verdict_is_not_believed() {
    let mut killed = old_and_green();
    (killed["schema"], killed["finished"], killed["exit"]) = (json!(2), json!(false), json!(null));
    killed["verdict"] = json!({"kind": "passed"});
    let killed: Record = serde_json::from_value(killed).unwrap();
    assert_eq!(killed.verdict().kind(), Kind::Unfinished);
    assert!(headline(&killed).starts_with("UNFINISHED: askari"), "{}", headline(&killed));
    let (_keep, dir) = folder();
    assert_eq!(of(&killed, &dir).verdict.mood, Mood::Open);
    // The second format keeps what the first could not: without it, the same checks prove nothing.
    let mut bare = old_and_green();
    bare["schema"] = json!(2);
    let bare: Record = serde_json::from_value(bare).unwrap();
    assert_eq!(bare.verdict().kind(), Kind::NotApplied);
}

/// A task that a pass over the playbooks names.
fn told(task: &str) -> crate::playbook::tried::Told {
    let (role, place, said) = ("base".into(), "/r/main.yml:3".into(), String::new());
    crate::playbook::tried::Told { role, task: task.into(), place, item: String::new(), said }
}

#[test]
fn playbooks_that_are_never_done_are_no_host_that_did_not_come_back() {
    use crate::record::Idempotence;
    let mut record = record();
    record.idempotence = Some(Idempotence { seconds: 1.0, tasks: 3, changed: vec![told("Token")] });
    record.fail(&Failure::new(Exit::Verify, "the playbooks are not idempotent"));
    let said = "FAILED: the playbooks of askari change something each time: base: Token (/r/main.yml:3)";
    assert_eq!(headline(&record), said);
    record.proved(crate::testing::restart());
    assert_eq!(headline(&record), said, "after a reboot, too");
    let check =
        |ok| crate::playbook::checks::Check { id: "port".into(), ok, hint: false, detail: "d".into(), looked: true };
    record.checks.push(Checks { when: "after the reboot".into(), checks: vec![check(false)] });
    assert!(headline(&record).contains("did not come back right"), "{}", headline(&record));
}

#[test]
fn a_task_whose_work_is_gone_is_the_headline_and_a_case_where_nothing_else_is_wrong() {
    use crate::observe::Policy;
    use crate::playbook::tried::Compared;
    use crate::record::CheckMode;
    let mut record = record();
    record.proved(crate::testing::restart());
    record.findings = Policy::Fail;
    let compared = Compared { judged: 2, undone: vec![told("Settings")], ..Compared::default() };
    record.check_mode = Some(CheckMode::Compared { seconds: 2.0, compared });
    record.fail(&Failure::new(Exit::Verify, "1 task would do its work again"));
    assert!(
        headline(&record).ends_with("base: Settings (/r/main.yml:3) would do its work again"),
        "{}",
        headline(&record)
    );
    let red = |record: &Record| {
        let cases = crate::page::cases::of(record);
        cases.iter().any(|case| case.suite.starts_with("check mode") && case.failure.is_some())
    };
    assert!(red(&record));
    record.findings = Policy::Report;
    assert!(!red(&record), "what is only reported fails no case");
}

#[test]
fn a_part_of_the_playbooks_is_no_green_verdict_whatever_came_back_and_a_whole_apply_heals_it() {
    use crate::record::{Asked, Partial, Step};
    use crate::verdict::Unproved;
    let mut record: Record = serde_json::from_value(old_and_green()).unwrap();
    (record.schema, record.alive_s, record.findings) = (2, Some(60.0), crate::observe::Policy::Report);
    let checks = record.checks.last().unwrap().clone();
    let apply = |record: &mut Record, partial: Option<Partial>| {
        record.begin_command();
        record.add(Step::Applied(false));
        record.add(Step::Partial(partial.clone()));
        record.changed(match &partial {
            Some(part) => Unproved::PartlyApplied { part: part.to_string() },
            None => Unproved::Applied,
        });
        record.add(Step::Applied(true));
        record.conclude(Asked::Step);
    };
    let reboot = |record: &mut Record| {
        record.begin_command();
        record.changed(Unproved::Restarting);
        record.proved(crate::testing::restart());
        record.alive_s = Some(60.0);
        record.conclude(Asked::Step);
    };
    let assert = |record: &mut Record| {
        record.begin_command();
        record.checks.push(checks.clone());
        record.conclude(Asked::Verdict);
    };
    let part = Partial { tags: vec!["web".into(), "db".into()], only: Some("site.yml".into()), ..Partial::default() };
    apply(&mut record, Some(part.clone()));
    let said = "NOT JUDGED: askari, no check has looked since; only a part of its playbooks was applied last (--only site.yml --tags web,db)";
    assert_eq!(headline(&record), said);
    assert_eq!(record.applied, Some(false), "a version that does not know of parts must not take it for applied");
    assert(&mut record);
    assert_eq!(record.verdict().kind(), Kind::PartlyApplied);
    assert!(headline(&record).starts_with("PARTLY APPLIED: "), "{}", headline(&record));
    reboot(&mut record);
    assert!(headline(&record).starts_with("NOT JUDGED") && headline(&record).contains("--tags web,db"));
    assert(&mut record);
    assert_eq!(record.verdict().kind(), Kind::PartlyApplied, "a reboot makes no whole of it");
    let (case, written) = (cases::of(&record).pop().unwrap(), serde_json::to_value(&record).unwrap());
    assert!(case.note.is_some_and(|note| note.contains("PARTLY APPLIED")));
    assert_eq!((&written["verdict"]["kind"], &written["partial"]["tags"][1]), (&json!("partly-applied"), &json!("db")));
    let back: Record = serde_json::from_value(written).unwrap();
    assert_eq!((back.verdict().kind(), back.partial), (Kind::PartlyApplied, Some(part)));
    apply(&mut record, None);
    reboot(&mut record);
    assert(&mut record);
    assert_eq!(record.verdict().kind(), Kind::Passed, "{}", headline(&record));
    assert!(serde_json::to_value(&record).unwrap().get("partial").is_none());
}

#[test]
fn what_a_profile_has_changed_in_is_told_by_what_came_and_went() {
    let told = |was: serde_json::Value, is: serde_json::Value| {
        crate::record::Changed { key: "key".into(), was, is }.to_string()
    };
    assert_eq!(told(json!(3072), json!(4096)), "key: 3072 -> 4096");
    assert_eq!(told(json!(["a", "b"]), json!(["b", "c"])), "key: - \"a\"; + \"c\"");
    assert_eq!(told(json!(["a", "b"]), json!(["b", "a"])), "key: in another order");
    assert_eq!(told(json!({"allow": [], "x": 1}), json!({"allow": [1], "x": 1})), "key: - allow: []; + allow: [1]");
    assert!(told(json!("ä".repeat(500)), json!(null)).chars().count() < 200);
}

#[test]
fn the_first_line_has_the_first_red_check_and_a_hint_that_has_turned_with_it_or_what_ended_the_run() {
    use crate::playbook::checks::Check;
    let mut record = record();
    let check = |id: &str, ok, hint| Check { id: id.into(), ok, hint, detail: format!("{id} is {ok}"), looked: true };
    let checks = |when: &str, ok| Checks {
        when: when.into(),
        checks: vec![check("port", ok, false), check("rules", ok, true), check("old", false, true)],
    };
    record.checks = vec![checks("before the reboot", true), checks("after the reboot", false)];
    record.proved(crate::testing::restart());
    record.fail(&Failure::new(Exit::Verify, "1 of 3 checks failed"));
    let said = "did not come back right from its reboot: port (port is false); with it, rules (rules is false)";
    assert!(headline(&record).ends_with(said), "{}", headline(&record));
    // One that never held has not turned.
    record.checks.remove(0);
    assert!(headline(&record).ends_with(": port (port is false)"), "{}", headline(&record));
    let dead = Failure::new(Exit::Verify, "ssh.service failed:\nno such address").during("cannot be reached");
    (record.reboot, record.failure) = (None, Some(dead));
    record.checks.clear();
    record.phases = vec![Phase { name: "reboot".into(), seconds: 1.0, ok: false, outcome: "o".into() }];
    let said = "from its reboot: cannot be reached: ssh.service failed: no such address";
    assert!(headline(&record).ends_with(said), "{}", headline(&record));
}

#[test]
fn the_page_of_a_proof_has_both_cases_of_each_scenario_and_can_be_drawn_again() {
    use crate::record::proof::{Case, Tried};
    let keep = tempfile::tempdir().unwrap();
    let folder = RunFolder::open(Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap());
    let case = |name: &str, verdict: &str| Case {
        run: format!("/runs/{name}").into(),
        verdict: verdict.into(),
        red: vec!["port".into()],
        exit: None,
        seconds: 61.0,
    };
    let red = |name: &str| Tried {
        red: Some(case("one", "FAILED: <b>port</b>")),
        ..Tried::begin(name, "red at once".into())
    };
    let proved = Tried { green: Some(case("two", "PASSED: askari")), ..red("drop") };
    let unproved = Tried { failure: Some(Failure::new(Exit::Unfaithful, "for another reason: dns")), ..red("race") };
    let mut all = ProofRecord::begin(&"askari".parse().unwrap(), vec![proved, unproved]);
    all.conclude();
    publish_proof(&all, &folder).unwrap();
    let file = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let page = file(PAGE);
    for words in [
        "NOT PROVED",
        "drop",
        "race",
        "../one/report.html",
        "../two/report.html",
        "&lt;b&gt;port",
        "another reason: dns",
        "not run",
    ] {
        assert!(page.contains(words), "{words} is not in {page}");
    }
    assert_eq!(file("junit.xml").matches("<failure").count(), 1);
    std::fs::remove_file(folder.path().join(PAGE)).unwrap();
    again(folder.path()).unwrap();
    assert_eq!(file(PAGE), page);
}
