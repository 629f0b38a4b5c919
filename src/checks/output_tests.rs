use super::*;
use rstest::rstest;

fn program(format: Format) -> Program {
    Program { name: "t".into(), run: vec!["x".into()], format, limit: 60 }
}

fn left(code: i32, output: &str) -> Left {
    Left { end: End::Code(code), output: Some(output.into()), errors: String::new() }
}

/// Each check by its name and a letter: `+` green, `-` red, `?` did not look, `h` a red hint.
fn told(format: Format, code: i32, output: &str) -> String {
    let letter = |check: &Check| match (check.ok, check.looked, check.hint) {
        (true, _, _) => '+',
        (_, false, _) => '?',
        (_, _, true) => 'h',
        _ => '-',
    };
    let all = checks(&program(format), &left(code, output));
    all.iter().map(|check| format!("{}{}", letter(check), check.id)).collect::<Vec<_>>().join("; ")
}

#[rstest]
#[case(0, "+t")]
#[case(1, "-t")]
#[case(127, "?t")]
#[case(126, "?t")]
#[case(137, "?t")]
fn an_exit_code_is_an_answer_unless_the_program_did_not_run_or_was_killed(#[case] code: i32, #[case] said: &str) {
    assert_eq!(told(Format::Exit, code, "words"), said);
}

#[rstest]
#[case("", "?t")]
#[case("hello\n", "?t")]
#[case("1..0 # SKIP none\n", "?t")]
#[case("1..2\nok 1 - a\n", "?t")]
#[case("ok 1 - a\nok 2 - b\n", "?t")]
#[case("1..1\nok 1\n1..1\n", "?t")]
#[case("1..2\nok 1\nok 1\n", "?t")]
#[case("1..2\nok 1\nok 3\n", "?t")]
#[case("1..2\nok 1 - a\nBail out! no network\n", "?t")]
#[case("TAP version 14\n1..3\nok 1 - a\nnot ok 2 - b\n# saw c\nok\n", "+t: a; -t: b; +t: test 3")]
#[case("ok 1 a # SKIP no gpu\nnot ok 2 - b # TODO later\nok 3 - c\n1..3\n", "?t: a; ht: b; +t: c")]
#[case("1..1\n    ok 1 - inner\n    1..1\nok 1 - outer \\# 1\n  ---\n  a: 1\n  ...\n", "+t: outer # 1")]
#[case("1..2\nok 1 - a\nok 2 - a\n", "+t: a; +t: a (2)")]
fn tap_is_whole_or_it_is_nothing(#[case] text: &str, #[case] said: &str) {
    assert_eq!(told(Format::Tap, 0, text), said);
}

const PYTEST: &str = r#"<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="2" tests="5">
<testcase classname="test_web" name="test_port[80]" time="0.1"/>
<testcase classname="test_web" name="test_body"><failure message="assert &lt;1&gt; == 2">long</failure></testcase>
<testcase classname="test_web" name="test_ssh"><error message="failed on setup">E</error></testcase>
<testcase classname="test_web" name="test_gpu"><skipped type="pytest.skip" message="no gpu">x</skipped></testcase>
<testcase classname="" name="test_later"><skipped type="pytest.xfail" message="known"/></testcase>
</testsuite></testsuites>"#;

#[test]
fn a_failure_is_red_and_an_error_or_a_skipped_test_did_not_look() {
    assert_eq!(
        told(Format::Junit, 1, PYTEST),
        "+t: test_web.test_port[80]; -t: test_web.test_body; ?t: test_web.test_ssh; ?t: test_web.test_gpu; ht: test_later"
    );
    let all = checks(&program(Format::Junit), &left(1, PYTEST));
    assert_eq!(all[1].detail, "assert <1> == 2");
}

#[rstest]
#[case("<testsuites/>")]
#[case("<testsuite tests=\"0\"></testsuite>")]
#[case("<html/>")]
#[case("<testsuite><testcase name=\"a\"/>")]
#[case("<testsuite tests=\"2\"><testcase name=\"a\"/></testsuite>")]
#[case("<testsuite tests=\"1\" errors=\"1\"><testcase name=\"a\"/></testsuite>")]
#[case("<testsuite><testcase/></testsuite>")]
#[case("<testsuite><testcase name=\"a\"><testcase name=\"b\"/></testcase></testsuite>")]
#[case("<testsuite><testcase name=\"a\"/></testsuites>")]
#[case("<testsuite><testcase name=\"a\"/></testsuite><testsuite><testcase name=\"b\"/></testsuite>")]
fn xml_that_is_not_whole_or_has_no_test_is_never_green(#[case] text: &str) {
    assert_eq!(told(Format::Junit, 0, text), "?t");
}

fn goss(results: &str, tests: usize, failed: usize) -> String {
    format!(
        r#"{{"results": [{results}], "summary": {{"test-count": {tests}, "failed-count": {failed}, "total-duration": 1}}}}"#
    )
}

fn one(id: &str, result: u8, successful: bool) -> String {
    format!(
        r#"{{"err": null, "resource-id": "{id}", "resource-type": "Port", "property": "listening", "result": {result},
            "successful": {successful}, "summary-line": "Port: {id}: said", "title": ""}}"#
    )
}

#[test]
fn gosss_results_are_checks_by_resource_and_property() {
    let text = goss(&[one("tcp:22", 0, true), one("tcp:80", 1, false), one("tcp:81", 2, true)].join(","), 3, 1);
    assert_eq!(
        told(Format::Goss, 1, &text),
        "+t: Port tcp:22 listening; -t: Port tcp:80 listening; ?t: Port tcp:81 listening"
    );
    let broke = one("tcp:22", 0, true).replace("\"err\": null", "\"err\": \"no ss\"");
    assert_eq!(told(Format::Goss, 1, &goss(&broke, 1, 0)), "?t: Port tcp:22 listening");
}

#[rstest]
#[case("{}".to_owned())]
#[case("Error: no such file".to_owned())]
#[case(goss("", 0, 0))]
#[case(goss(&one("tcp:22", 0, true), 2, 0))]
#[case(goss(&one("tcp:22", 0, true), 1, 1))]
#[case(goss(&one("tcp:22", 0, true), 1, 0)[..100].to_owned())]
fn json_that_is_not_gosss_is_never_green(#[case] text: String) {
    assert_eq!(told(Format::Goss, 0, &text), "?t");
}

#[test]
fn a_program_that_ends_badly_although_all_tests_passed_is_red() {
    assert_eq!(told(Format::Tap, 2, "1..1\nok 1 - a\n"), "+t: a; ?t");
    assert_eq!(told(Format::Tap, 0, "1..1\nnot ok 1 - a # TODO x\n"), "ht: a; ?t", "nothing could have failed");
}

#[test]
fn what_was_not_run_or_is_too_long_did_not_look() {
    let of = |end, output| checks(&program(Format::Tap), &Left { end, output, errors: "e".into() });
    let fine = || Some("1..1\nok 1\n".to_owned());
    for all in [of(End::Late, fine()), of(End::NotRun("no such file".into()), fine()), of(End::Code(0), None)] {
        assert!(all.len() == 1 && !all[0].ok && !all[0].looked, "{all:?}");
    }
}
