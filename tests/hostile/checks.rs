//! What the guest, the network and programs of the user's answer to the checks of a profile.

use boma_qemu::checks::guest::{self, Answer};
use boma_qemu::checks::network;
use boma_qemu::checks::output::{self, End, Left};
use boma_qemu::checks::probe::Record;
use boma_qemu::checks::{Format, Probe, Program, judge};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::SystemTime;

/// Questions of each kind that the guest is asked, each so that an empty answer does not hold.
const PROBES: &str = r#"[
    {"unit": {"name": "a.service"}}, {"unit": {"name": "a.service", "state": "not-found"}},
    {"listening": {"port": 22}}, {"listening": {"port": 53, "protocol": "udp", "address": "127.0.0.1"}},
    {"mount": {"path": "/srv", "type": "ext4", "options": ["rw"]}}, {"sysctl": {"key": "a.b", "value": "1"}},
    {"file": {"path": "/etc/a", "mode": "644", "contains": "a=1"}}, {"command": {"run": "a", "stdout": "ok"}}
]"#;

#[expect(clippy::expect_used, reason = "a literal, read by the corpus's test")]
static ALL: LazyLock<Vec<Probe>> = LazyLock::new(|| serde_json::from_str(PROBES).expect("questions"));

/// The first byte says who answers: a program by TAP, JUnit or goss, the guest to the script (`s`) or to one question (`q`), a
/// name server, or a TLS server with its certificate.
pub fn checks(bytes: &[u8]) {
    let Some((who, rest)) = bytes.split_first() else { return };
    let text = &*String::from_utf8_lossy(rest);
    match who {
        b't' => program(Format::Tap, text),
        b'j' => program(Format::Junit, text),
        b'g' => program(Format::Goss, text),
        b's' => answers(text),
        b'q' => question(text),
        b'd' => names(rest),
        b'c' => drop(network::certificate_of(rest)),
        _ => {}
    }
}

/// Whatever it writes, there is a check, none is named as another, and none is ok that did not look.
fn program(format: Format, text: &str) {
    let program = Program { name: "p".into(), run: vec!["p".into()], format, limit: 1 };
    for code in [0, 1] {
        let left = Left { end: End::Code(code), output: Some(text.to_owned()), errors: String::new() };
        let all = output::checks(&program, &left);
        assert!(all.iter().any(|check| !check.hint), "nothing could fail");
        assert!(all.iter().all(|check| check.looked || !check.ok), "one is ok and did not look");
        assert_eq!(all.iter().map(|check| &check.id).collect::<BTreeSet<_>>().len(), all.len(), "two have one name");
        assert!(code == 0 || all.iter().any(|check| check.is_red()), "it failed and is green");
    }
}

fn answers(text: &str) {
    for count in 0..3 {
        if let Ok(all) = guest::read(text, count) {
            assert_eq!(all.len(), count);
        }
    }
}

/// The first line is the exit code.
fn question(text: &str) {
    let (code, output) = text.split_once('\n').unwrap_or(("0", text));
    let code = code.trim().parse().unwrap_or(0);
    for probe in &*ALL {
        let answer = Answer { code, output: output.to_owned(), errors: String::new(), cut: false, late: false };
        let late = Answer { late: true, code: 124, ..answer.clone() };
        assert!(!judge::inside(probe, &late).holds(), "{probe:?} holds by half an answer");
        assert!(!judge::inside(probe, &answer).holds() || !output.is_empty(), "{probe:?} holds by no answer");
    }
}

fn names(bytes: &[u8]) {
    for record in [Record::A, Record::Aaaa, Record::Cname, Record::Mx, Record::Srv, Record::Txt] {
        let Ok(seen) = network::answer_of(bytes, record) else { continue };
        let asked = serde_json::json!({"dns": {"name": "a.b", "expect": ["192.0.2.1"]}});
        if let Ok(probe) = serde_json::from_value::<Probe>(asked) {
            drop(judge::outside(&probe, &seen, Ipv4Addr::LOCALHOST, SystemTime::UNIX_EPOCH));
        }
    }
}
