use super::*;
use crate::profile::Profile;
use serde_json::{Value, json};

/// A profile whose `verify` begins on its second line.
fn profile(verify: &str) -> String {
    format!(
        "{{\"inventory\": \"inv.yml\", \"groups\": [\"g\"], \"applies\": [{{\"playbook\": \"site.yml\"}}],\n\"verify\": {verify}}}"
    )
}

fn read(verify: &Value) -> Verify {
    Profile::parse("x.json".into(), &profile(&verify.to_string())).unwrap().verify
}

fn said(verify: &str) -> String {
    host::failure::Failure::from(Profile::parse("x.json".into(), &profile(verify)).unwrap_err()).to_string()
}

#[test]
fn one_string_is_a_playbook_and_so_is_an_object_in_a_list() {
    let one = read(&json!("verify/verify.yml"));
    assert_eq!(one, read(&json!(["verify/verify.yml"])));
    assert_eq!(one, read(&json!([{"playbook": "verify/verify.yml", "//": "it has no probe"}])));
    assert_eq!(one.playbooks().collect::<Vec<_>>(), ["verify/verify.yml"]);
    assert_eq!(serde_json::to_value(&one).unwrap(), json!("verify/verify.yml"), "as it always was");
}

#[test]
fn probes_that_stand_together_are_asked_together_and_all_else_in_its_place() {
    let probe = |name: &str, port: u16| json!({"name": name, "probe": {"tcp": {"port": port}}});
    let verify = read(&json!([
        probe("a", 1), probe("b", 2), "p.yml", probe("c", 3),
        {"name": "tests", "run": ["pytest"], "format": "junit", "limit": 60}
    ]));
    let told: Vec<_> = verify
        .parts()
        .iter()
        .map(|part| match part {
            Part::Probes(all) => format!("{} probes", all.len()),
            Part::Playbook(path) => path.to_string(),
            Part::Run(program) => program.name.clone(),
        })
        .collect();
    assert_eq!(told, ["2 probes", "p.yml", "1 probes", "tests"]);
    assert!(verify.names("a") && verify.names("tests: any") && !verify.names("tests") && !verify.names("z"));
}

#[test]
fn an_accepted_list_is_written_as_it_is_read_again() {
    let verify = read(&json!([
        {"name": "one", "probe": {"http": {"tls": true, "host": "www.example.com", "body": "wel+come"}}, "within": 5},
        {"name": "two", "probe": {"tls": {"server-name": "www.example.com", "issuer": "Test", "days-left": 14}}},
        {"name": "three", "probe": {"dns": {"name": "www.example.com", "record": "AAAA", "expect": ["::1"]}}},
        {"name": "four", "probe": {"mount": {"path": "/srv", "type": "ext4", "options": ["nosuid"]}}},
        {"name": "five", "probe": {"command": {"run": ["true"]}}},
        {"name": "six", "probe": {"command": {"run": "true | true"}}},
        {"name": "seven", "run": ["./x"], "format": "tap"},
    ]));
    let again: Verify = serde_json::from_value(serde_json::to_value(&verify).unwrap()).unwrap();
    assert_eq!(verify, again);
}

#[test]
fn all_that_is_wrong_is_said_at_once_and_each_with_its_place() {
    let text = r#"[
{"name": "a", "probe": {"tpc": {"port": 1}}},
{"name": "b", "probe": {"tcp": {"port": 1, "expcet": "open"}}},
{"name": "b", "probe": {"http": {"body": "("}}},
{"name": "d", "probe": {"file": {"path": "etc", "exists": false, "mode": "0644"}}, "within": 0},
{"name": "e", "run": [], "format": "xunit"},
{"name": "f", "probe": {"unit": {"name": "a.service", "state": "running"}}, "run": ["x"]},
{"name": "g"}
]"#;
    let said = said(text);
    for wanted in [
        "line 3 column",
        "unknown probe `tpc`",
        "unknown field `expcet`; did you mean `expect`?",
        "verify 2 is called \"b\", too",
        "the regular expression \"(\" cannot be used",
        "path: \"etc\" is not absolute",
        "what is not there has no mode",
        "within: 0 s is not between 1 and 3600",
        "run: there is no command",
        "unknown variant `xunit`",
        "line 8 column",
        "line 9 column",
        "one of `playbook`, `probe` and `run`",
    ] {
        assert!(said.contains(wanted), "{wanted} is missing in\n{said}");
    }
}

#[test]
fn what_is_wrong_elsewhere_is_said_with_it() {
    let text = profile(r#"[{"name": "a", "probe": {"tcp": {"port": 0}}}], "vcpus": 0"#);
    let both = host::failure::Failure::from(Profile::parse("x.json".into(), &text).unwrap_err()).to_string();
    assert!(both.contains("port: 0 is not a port") && both.contains("vcpus: 0 is not between"), "{both}");
    let text = profile(r#"[{"name": "a", "probe": {"tcp": {"port": 0}}}], "memory": 0"#);
    let both = host::failure::Failure::from(Profile::parse("x.json".into(), &text).unwrap_err()).to_string();
    assert!(both.contains("port: 0 is not a port") && both.contains("unknown field `memory`"), "{both}");
}

#[test]
fn a_list_that_checks_nothing_is_refused() {
    for nothing in ["[]", "{}", "1", "\"\"", "[{}]", "[[]]", "[\"\"]", "null"] {
        assert!(!said(nothing).is_empty(), "{nothing}");
    }
    assert!(said("[]").contains("nothing would be checked"));
    let empty = r#"[{"name": "x", "probe": {"dns": {"name": "a.example", "expect": []}}}]"#;
    assert!(said(empty).contains("nothing is asked"));
    let all = r#"[{"name": "x", "probe": {"failed-units": {"except": ["*"]}}}]"#;
    assert!(said(all).contains("nothing is asked"));
}

/// The rows of the runbook's table: a probe, what its fields are, an example.
#[test]
fn the_runbook_has_every_probe_with_all_its_fields_and_an_example_that_can_be_used() {
    let text = include_str!("../../docs/runbook.md");
    let section = text.split("### Checks\n").nth(1).unwrap().split("**A program**").next().unwrap();
    let rows: Vec<Vec<_>> = section.lines().map(|line| line.trim_matches(['|', ' ']).split(" | ").collect()).collect();
    for probe in crate::form::names::tags::<Probe>() {
        let mine: Vec<_> = rows.iter().filter(|cells| cells[0] == format!("`{probe}`")).collect();
        let [cells] = mine.as_slice() else { panic!("{probe}: {} rows", mine.len()) };
        for field in crate::form::names::fields::<Probe>(probe) {
            assert!(cells[1].contains(&format!("`{field}`")), "{probe}: {field}");
        }
        let example = cells[2].trim_matches('`').replace("\\|", "|");
        let parsed: Probe = serde_json::from_str(&example).unwrap_or_else(|error| panic!("{example}: {error}"));
        assert_eq!((parsed.name().as_str(), parsed.wrong()), (*probe, Vec::new()));
    }
}
