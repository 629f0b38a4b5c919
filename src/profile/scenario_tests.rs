use super::*;

const SCENARIOS: &str = r#""scenarios": {"drop": {"broken": "d.yml", "fails": ["port"], "cause": "policy drop"}}"#;

fn parse(more: &str) -> Result<Profile, String> {
    let text = format!(r#"{{"inventory": "i", "applies": [{{"playbook": "p"}}], "verify": "v", {more}}}"#);
    Profile::parse("x.json".into(), &text).map_err(|e| host::failure::Failure::from(e).to_string())
}

fn wrong(more: &str) -> String {
    parse(more).unwrap_err()
}

#[test]
fn red_is_a_scenario_by_its_name_or_one_that_is_written_out_as_before_there_were_names() {
    let named = parse(&format!(r#""red": "drop", {SCENARIOS}"#)).unwrap();
    assert_eq!((named.red_scenario(), named.all_scenarios().len()), (Some("drop"), 1));
    let written = parse(r#""red": {"overrides": "o.yml", "fails": ["port"]}"#).unwrap();
    let all = written.all_scenarios();
    assert_eq!(written.red_scenario(), Some("red"));
    assert_eq!(
        (all["red"].broken.as_str(), all["red"].shows, all["red"].cause.is_none()),
        ("o.yml", Shows::AfterReboot, true)
    );
    // Both forms are written as they were read: a VM that is up keeps its profile.
    for profile in [named, written] {
        let back: Profile = serde_json::from_value(serde_json::to_value(&profile).unwrap()).unwrap();
        assert_eq!((back.red, back.scenarios), (profile.red, profile.scenarios));
    }
}

#[test]
fn a_red_that_is_no_scenario_is_refused_with_those_that_there_are() {
    assert!(
        wrong(&format!(r#""red": "dorp", {SCENARIOS}"#)).contains("red: no scenario is called dorp; there are drop")
    );
    assert!(wrong(r#""red": "drop""#).contains("there is none"));
    assert!(wrong(r#""red": 3"#).contains("expected the name of a scenario, or an object"));
    assert!(wrong(r#""red": {"overrides": "o", "fails": [], "x": 1}"#).contains("unknown field `x`"));
    assert!(wrong(r#""red": {"overrides": "o", "fails": []}"#).contains("red: fails names no check"));
    let twice = SCENARIOS.replace("drop\"", "red\"").replacen("policy red", "policy drop", 1);
    assert!(
        wrong(&format!(r#""red": {{"overrides": "o", "fails": ["c"]}}, {twice}"#))
            .contains("none of them can be called red")
    );
}

#[test]
fn what_could_be_red_for_any_reason_is_refused() {
    let with = |scenario: &str| wrong(&format!(r#""scenarios": {{"s": {scenario}}}"#));
    assert!(with(r#"{"broken": "b", "fails": ["c"]}"#).contains("scenarios: s: cause is missing"));
    assert!(with(r#"{"broken": "b", "cause": "x"}"#).contains("fails names no check"));
    assert!(with(r#"{"broken": "b", "cause": "x", "shows": "at-once"}"#).contains("fails names no check"));
    assert!(with(r#"{"broken": "b", "cause": "x", "shows": "no-login", "fails": ["c"]}"#).contains("none can look"));
    assert!(with(r#"{"broken": "b", "cause": ".*", "fails": ["c"]}"#).contains("matches every text"));
    assert!(with(r#"{"broken": "b", "cause": "(", "fails": ["c"]}"#).contains("unclosed group"));
    assert!(
        with(r#"{"broken": "b", "cause": "x", "fails": ["c"], "evidence": {"../x": "y"}}"#)
            .contains("does not lie inside")
    );
    assert!(
        with(r#"{"broken": "b", "cause": "x", "fails": ["c"], "shows": "soon"}"#).contains("unknown variant `soon`")
    );
    assert!(
        wrong(r#""scenarios": {"Not A Name": {"broken": "b", "cause": "x", "fails": ["c"]}}"#).contains("not usable")
    );
}
