use super::*;
use host::failure::Failure;

/// An audit profile with these conditions in it.
fn with(conditions: &str) -> String {
    format!(
        r#"{{"kind": "audit", "image": "x.iso", "machine": {{}}, "guest": {{"dialect": "nixos", "user": "nixos"}},
"conditions": [
{conditions}
]}}"#
    )
}

fn condition(id: &str, phase: &str, probe: &str, more: &str) -> String {
    format!(r#"{{"id": "{id}", "phase": "{phase}", "what": "w", "hint": "h", "probe": {probe}{more}}}"#)
}

fn said(text: &str) -> String {
    Failure::from(AuditProfile::parse("p/odd.json".into(), text).unwrap_err()).to_string()
}

#[test]
fn a_typo_is_refused_where_it_stands() {
    let typo = with(&condition("a", "runtime", r#"{"unit-state": {"unit": "x", "expct": ["active"]}}"#, ""));
    let text = said(&typo);
    assert!(text.contains("line 3 column 97: a: unit-state: unknown field `expct`; did you mean `expect`?"), "{text}");
    let text = said(&with(&condition("a", "runtime", r#"{"unit-stat": {}}"#, "")));
    assert!(
        text.contains("unknown probe `unit-stat`; did you mean `unit-state`?") && text.contains("line 3"),
        "{text}"
    );
    let text = said(&with(&condition("a", "host", r#"{"build": {}}"#, r#", "severty": "should""#)));
    assert!(text.contains("unknown field `severty`") && text.contains("line 3"), "{text}");
}

#[test]
fn a_bad_pattern_is_refused_before_any_work_with_the_reason() {
    let text = said(&with(&condition("a", "runtime", r#"{"console-never": {"pattern": "a(b"}}"#, "")));
    assert!(text.contains("\"a(b\"") && text.contains("unclosed group") && text.contains("line 3"), "{text}");
    assert_eq!(text.lines().count(), 2, "one line, and what to do: {text}");
}

#[test]
fn everything_that_is_wrong_with_the_conditions_is_said_at_once() {
    let login = r#"{"login": {}}"#;
    let conditions = [
        condition("a", "runtime", login, r#", "after": ["b"]"#),
        condition("b", "runtime", login, r#", "after": ["c"]"#),
        condition("c", "runtime", login, r#", "after": ["a"]"#),
        condition("late", "runtime", login, r#", "after": ["c", "nosuch"]"#),
        condition("early", "host", r#"{"build": {}}"#, r#", "after": ["late"]"#),
        condition("early", "image", r#"{"whole": {}}"#, ""),
        condition("odd", "image", login, ""),
        condition("long", "runtime", login, r#", "limit": 0"#),
        condition("none", "image", r#"{"el-torito": {"expect": []}}"#, ""),
    ];
    let text = said(&with(&conditions.join(",\n")));
    for words in [
        "2 conditions are called early",
        "late: after names nosuch, and there is no such condition",
        "early: a condition of the phase host cannot come after late, which is of the phase runtime",
        "odd: the probe login is for the phase runtime, not for image",
        "long: limit is not between 1 and 86400 seconds",
        "none: el-torito: expect is empty",
        "conditions wait for each other: a -> b -> c -> a",
    ] {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
}

#[test]
fn an_audit_is_no_host_and_a_host_is_no_audit() {
    let audit = with(&condition("a", "host", r#"{"build": {}}"#, ""));
    AuditProfile::parse("x.json".into(), &audit).unwrap();
    let text = Failure::from(crate::profile::Profile::parse("profiles/x.json".into(), &audit).unwrap_err()).to_string();
    assert!(text.contains("boma-qemu audit x"), "{text}");
    let host = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/askari.json")).unwrap();
    let text = Failure::from(AuditProfile::parse("profiles/askari.json".into(), &host).unwrap_err()).to_string();
    assert!(text.contains("boma-qemu cycle askari"), "{text}");
}

#[test]
fn an_image_is_looked_for_where_the_build_leaves_it_and_the_command_line_wins() {
    let text = with(&condition("a", "host", r#"{"build": {}}"#, "")).replacen(
        '{',
        r#"{"build": {"command": ["make"], "folder": "../images"}, "#,
        1,
    );
    let profile = AuditProfile::parse("x.json".into(), &text).unwrap();
    let dirs = Dirs { root: "/p".into(), state: "/s".into(), cache: "/c".into(), runs: "/r".into() };
    assert_eq!(profile.image(&dirs, None, "/h".into()).unwrap(), "/p/../images/x.iso");
    assert_eq!(profile.image(&dirs, Some("y.iso".into()), "/h".into()).unwrap(), "/h/y.iso");
}

#[test]
fn a_machine_and_a_guest_that_cannot_be_are_said_with_the_rest() {
    let blank = condition("blank", "runtime", r#"{"disk-blank-before": {"disk": 0}}"#, "");
    let text = with(&blank)
        .replace(
            r#""machine": {}"#,
            r#""machine": {"iso": "y.iso", "vcpus": 0}, "console": {"allow": [{"id": "no", "why": "y"}]}"#,
        )
        .replace(r#""dialect": "nixos""#, r#""dialect": "nixso""#);
    let text = said(&text);
    for words in [
        "the CD is the image",
        "vcpus: 0",
        "dialect \"nixso\"",
        "no console rule is called \"no\"",
        "blank: there is no disk 0",
    ] {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
}

#[test]
fn the_profile_that_is_delivered_can_be_used_and_each_condition_says_what_to_do() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/pre-nixos.json")).unwrap();
    let profile = AuditProfile::parse("profiles/pre-nixos.json".into(), &text).unwrap();
    let ordered = crate::audit::schedule::in_order(&profile.conditions);
    assert_eq!(ordered.len(), profile.conditions.len());
    for one in &profile.conditions {
        assert!(one.what.ends_with('.') && one.hint.len() > 20, "{}", one.id);
    }
}
