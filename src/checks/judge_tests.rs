use super::*;
use rstest::rstest;
use serde_json::{Value, json};

const VM: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 7);

fn probe(value: Value) -> Probe {
    serde_json::from_value(value).unwrap()
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Holds(_) => "holds",
        Fails(_) => "fails",
        Unseen(_) => "unseen",
    }
}

/// What is judged of an answer from outside, in one word.
fn from_outside(probe_of: Value, seen: Seen) -> &'static str {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    word(&outside(&probe(probe_of), &seen, VM, now))
}

fn answer(code: i32, output: &str, errors: &str) -> Answer {
    Answer { code, output: output.into(), errors: errors.into(), cut: false, late: false }
}

#[rstest]
#[case("open", ["holds", "fails", "fails", "fails"])]
#[case("refused", ["fails", "holds", "fails", "unseen"])]
#[case("closed", ["fails", "holds", "holds", "unseen"])]
fn a_port_that_is_to_be_closed_must_not_be_closed_because_the_vm_is_gone(
    #[case] expect: &str,
    #[case] words: [&str; 4],
) {
    let all = [Reaction::Accepted, Reaction::Refused, Reaction::Silent, Reaction::Error("no route".into())];
    let told = all.map(|reaction| from_outside(json!({"tcp": {"port": 80, "expect": expect}}), Seen::Port(reaction)));
    assert_eq!(told, words);
}

#[test]
fn an_http_answer_is_held_against_status_and_body() {
    let seen = |status| Seen::Answer { status, body: "<h1>Welcome</h1>".into() };
    assert_eq!(from_outside(json!({"http": {}}), seen(200)), "holds");
    assert_eq!(from_outside(json!({"http": {}}), seen(301)), "fails");
    assert_eq!(from_outside(json!({"http": {"status": [301, 302]}}), seen(301)), "holds");
    assert_eq!(from_outside(json!({"http": {"body": "Welcome"}}), seen(200)), "holds");
    assert_eq!(from_outside(json!({"http": {"body": "^Welcome"}}), seen(200)), "fails");
    assert_eq!(from_outside(json!({"http": {}}), Seen::No("refused".into())), "fails");
    assert_eq!(from_outside(json!({"http": {}}), Seen::Unseen("no network".into())), "unseen");
    assert_eq!(
        from_outside(json!({"http": {}}), Seen::Port(Reaction::Accepted)),
        "unseen",
        "an answer to something else"
    );
}

#[rstest]
#[case(json!({"server-name": "www.example.com"}), "holds")]
#[case(json!({"server-name": "WWW.example.com", "issuer": "^CN=Test", "names": ["example.com"], "days-left": 10}), "holds")]
#[case(json!({"server-name": "a.apps.example.com"}), "holds")]
#[case(json!({"server-name": "a.b.apps.example.com"}), "fails")]
#[case(json!({"server-name": "apps.example.com"}), "fails")]
#[case(json!({"server-name": "www.example.com", "issuer": "Encrypt"}), "fails")]
#[case(json!({"server-name": "www.example.com", "names": ["other.example.com"]}), "fails")]
#[case(json!({"server-name": "www.example.com", "days-left": 11}), "fails")]
fn a_certificate_is_for_a_name_by_somebody_and_for_some_days(#[case] fields: Value, #[case] told: &str) {
    let seen = Seen::Certificate {
        issuer: "CN=Test CA,O=Test".into(),
        names: ["www.example.com", "example.com", "*.apps.example.com"].map(str::to_owned).to_vec(),
        not_before: 0,
        not_after: 1_800_000_000 + 10 * DAY,
        chain: Vec::new(),
    };
    assert_eq!(from_outside(json!({"tls": fields}), seen), told);
}

#[test]
fn a_certificate_that_is_over_or_not_yet_fails_without_being_asked() {
    let seen = |not_before, not_after| Seen::Certificate {
        issuer: "CN=x".into(),
        names: vec!["a.b".into()],
        not_before,
        not_after,
        chain: Vec::new(),
    };
    let asked = || json!({"tls": {"server-name": "a.b"}});
    assert_eq!(from_outside(asked(), seen(0, 1_799_999_999)), "fails");
    assert_eq!(from_outside(asked(), seen(1_800_000_001, u64::MAX)), "fails");
    assert_eq!(from_outside(asked(), seen(0, u64::MAX)), "holds");
}

#[test]
fn each_record_that_is_expected_is_among_the_answers() {
    let seen = |values: &[&str]| Seen::Records {
        code: "NoError".into(),
        values: values.iter().map(|v| (*v).to_owned()).collect(),
    };
    let asked = |record: &str, expect: &[&str]| json!({"dns": {"name": "a.b", "record": record, "expect": expect}});
    assert_eq!(from_outside(asked("A", &["vm"]), seen(&["10.9.8.7"])), "holds");
    assert_eq!(from_outside(asked("A", &["vm"]), seen(&["10.9.8.8"])), "fails");
    assert_eq!(from_outside(asked("A", &["vm"]), seen(&[])), "fails");
    assert_eq!(from_outside(asked("AAAA", &["fe80:0::1"]), seen(&["fe80::1"])), "holds");
    assert_eq!(from_outside(asked("MX", &["10 Mail.b."]), seen(&["5 x.b", "10 mail.b"])), "holds");
    assert_eq!(from_outside(asked("TXT", &["V=1"]), seen(&["v=1"])), "fails", "a text is a text");
}

#[rstest]
#[case(json!({}), "loaded active running success", "holds")]
#[case(json!({"sub": "running"}), "loaded active running success", "holds")]
#[case(json!({"sub": "exited"}), "loaded active running success", "fails")]
#[case(json!({}), "loaded failed failed exit-code", "fails")]
#[case(json!({"state": "inactive"}), "loaded inactive dead success", "holds")]
#[case(json!({"state": "inactive"}), "not-found inactive dead success", "fails")]
#[case(json!({"state": "not-found"}), "not-found inactive dead success", "holds")]
#[case(json!({"state": "masked"}), "masked inactive dead success", "holds")]
#[case(json!({}), "masked inactive dead success", "fails")]
fn a_unit_is_in_the_state_and_one_that_nobody_knows_is_in_none(
    #[case] fields: Value,
    #[case] is: &str,
    #[case] told: &str,
) {
    let mut asked = json!({"name": "a.service"});
    asked.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let words: Vec<_> = is.split(' ').collect();
    let text =
        format!("Result={}\nLoadState={}\nActiveState={}\nSubState={}\n", words[3], words[0], words[1], words[2]);
    assert_eq!(word(&inside(&probe(json!({"unit": asked})), &answer(0, &text, ""))), told);
}

#[test]
fn what_a_program_of_the_guests_did_not_answer_was_not_seen() {
    for asked in [
        json!({"unit": {"name": "a.service"}}),
        json!({"failed-units": {}}),
        json!({"listening": {"port": 80}}),
        json!({"mount": {"path": "/srv"}}),
        json!({"sysctl": {"key": "vm.swappiness", "value": "10"}}),
        json!({"file": {"path": "/etc/x"}}),
        json!({"file": {"path": "/etc/x", "exists": false}}),
        json!({"command": {"run": "x"}}),
    ] {
        let broke = answer(127, "", "sh: systemctl: not found");
        assert_eq!(word(&inside(&probe(asked.clone()), &broke)), "unseen", "{asked}");
        let late = Answer { late: true, ..answer(124, "", "") };
        assert_eq!(word(&inside(&probe(asked.clone()), &late)), "unseen", "{asked}");
    }
    let unreadable = answer(1, "", "stat: cannot statx '/etc/x': Permission denied");
    assert_eq!(word(&inside(&probe(json!({"file": {"path": "/etc/x", "exists": false}})), &unreadable)), "unseen");
    assert_eq!(word(&inside(&probe(json!({"unit": {"name": "a.service"}})), &answer(0, "", ""))), "unseen");
    assert_eq!(word(&inside(&probe(json!({"tcp": {"port": 1}})), &answer(0, "", ""))), "unseen");
}

#[test]
fn failed_units_are_named_but_for_those_that_may_fail() {
    let text = "a.service loaded failed failed A\nbackup@x.service loaded failed failed B\n";
    let told =
        |except: &[&str], text: &str| inside(&probe(json!({"failed-units": {"except": except}})), &answer(0, text, ""));
    assert_eq!(told(&["backup@*.service"], text), Fails("failed: a.service".into()));
    assert_eq!(word(&told(&["backup@*.service", "a.service"], text)), "holds");
    assert_eq!(word(&told(&[], "")), "holds");
}

#[rstest]
#[case(json!({"port": 22}), "holds")]
#[case(json!({"port": 2}), "fails")]
#[case(json!({"port": 22, "address": "0.0.0.0"}), "holds")]
#[case(json!({"port": 22, "address": "::"}), "holds")]
#[case(json!({"port": 22, "address": "127.0.0.1"}), "fails")]
#[case(json!({"port": 53, "address": "127.0.0.53"}), "holds")]
#[case(json!({"port": 53, "address": "0.0.0.0"}), "fails")]
#[case(json!({"port": 80, "address": "0.0.0.0"}), "holds")]
#[case(json!({"port": 80, "address": "10.0.0.1"}), "fails")]
fn a_socket_is_at_the_very_address(#[case] asked: Value, #[case] told: &str) {
    let text = "LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\nLISTEN 0 128 [::]:22 [::]:*\nLISTEN 0 4096 127.0.0.53%lo:53 0.0.0.0:*\nLISTEN 0 5 *:80 *:*\n";
    assert_eq!(word(&inside(&probe(json!({"listening": asked})), &answer(0, text, ""))), told);
}

#[test]
fn the_mount_that_counts_is_the_last_at_its_place() {
    let text =
        "/dev/vda1 / ext4 rw,relatime 0 0\ntmpfs /srv\\040x tmpfs rw 0 0\n/dev/vdb /srv\\040x xfs ro,nosuid 0 0\n";
    let told = |asked: Value| word(&inside(&probe(json!({"mount": asked})), &answer(0, text, "")));
    assert_eq!(told(json!({"path": "/srv x"})), "holds");
    assert_eq!(
        told(json!({"path": "/srv x/", "type": "xfs", "source": "/dev/vdb", "options": ["nosuid", "ro"]})),
        "holds"
    );
    assert_eq!(told(json!({"path": "/srv x", "type": "tmpfs"})), "fails");
    assert_eq!(told(json!({"path": "/srv x", "options": ["rw"]})), "fails");
    assert_eq!(told(json!({"path": "/data"})), "fails");
}

#[test]
fn a_file_is_there_as_it_must_be_or_not_there() {
    let stat = "644 root www-data regular file\na = 1\n";
    let gone = answer(1, "", "stat: cannot statx '/etc/x': No such file or directory\n");
    let told = |asked: Value, answer: &Answer| {
        let mut fields = json!({"path": "/etc/x"});
        fields.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
        word(&inside(&probe(json!({"file": fields})), answer))
    };
    let there = answer(0, stat, "");
    assert_eq!(
        told(json!({"mode": "0644", "owner": "root", "group": "www-data", "contains": "^a = 1$"}), &there),
        "holds"
    );
    assert_eq!(told(json!({"mode": "600"}), &there), "fails");
    assert_eq!(told(json!({"owner": "www-data"}), &there), "fails");
    assert_eq!(told(json!({"contains": "root"}), &there), "fails", "the line of stat is no part of it");
    assert_eq!(told(json!({"exists": false}), &there), "fails");
    assert_eq!(told(json!({}), &gone), "fails");
    assert_eq!(told(json!({"exists": false}), &gone), "holds");
    let long = Answer { cut: true, ..answer(0, stat, "") };
    assert_eq!(told(json!({"contains": "b = 2"}), &long), "unseen");
}

#[test]
fn settings_and_commands_are_held_against_their_values() {
    let sysctl = |value: &str, out: &str| {
        word(&inside(&probe(json!({"sysctl": {"key": "a.b", "value": value}})), &answer(0, out, "")))
    };
    assert_eq!((sysctl("4096 131072", "4096\t131072\n"), sysctl("1", "0\n")), ("holds", "fails"));
    let missing = answer(1, "", "cat: /proc/sys/a/b: No such file or directory\n");
    assert_eq!(word(&inside(&probe(json!({"sysctl": {"key": "a.b", "value": "1"}})), &missing)), "fails");
    let command =
        |asked: Value, code: i32, out: &str| word(&inside(&probe(json!({"command": asked})), &answer(code, out, "")));
    assert_eq!(command(json!({"run": "x"}), 0, ""), "holds");
    assert_eq!(command(json!({"run": "x"}), 3, ""), "fails");
    assert_eq!(command(json!({"run": "x", "code": 3}), 3, ""), "holds");
    assert_eq!(command(json!({"run": "x", "code": 127}), 127, ""), "holds", "what is expected is an answer");
    assert_eq!(command(json!({"run": "x", "stdout": "^ok$"}), 0, "a\nok\n"), "holds");
    assert_eq!(command(json!({"run": "x", "stdout": "^ok$"}), 0, "no\n"), "fails");
}
