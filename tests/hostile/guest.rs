//! What a guest answers to a question, over ssh or its console.

use boma_qemu::audit::Probe;
use boma_qemu::audit::outcome::Verdict;
use boma_qemu::audit::runtime::{self, Answer, Asked, disks};
use camino::Utf8Path;
use evidence::experiment::crash::guest as crash;
use evidence::experiment::{Markers, Planted, marks};
use sha2::{Digest, Sha256};
use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::Duration;
use vm::access::Cause;
use vm::access::facts::Facts;
use vm::serial::whole_answer;
use vm::ssh::Ways;
use vm::{ready, snapshot, timeline};

/// Conditions of each kind that a guest is asked for.
const PROBES: &str = r#"[
    {"sudo-list": {"expect": "NOPASSWD"}}, {"membership": {"groups": ["wheel"]}},
    {"unit-properties": {"unit": "a.service", "expect": {"ActiveState": "active"}}},
    {"unit-state": {"unit": "a.service", "expect": ["active"], "sub": ["running"]}},
    {"unit-succeeds": {"unit": "a.service"}}, {"file-content": {"path": "/etc/a", "expect": ["a=1"]}},
    {"volume-group": {"name": "vg"}}, {"logical-volume": {"group": "vg", "name": "lv"}},
    {"disk-names": {"expect": ["vda"]}}, {"interface": {"name": "eth0", "ipv4": "lease"}},
    {"interface": {"name": "eth0", "ipv4": "any"}}, {"entropy-device": {"expect": "virtio"}},
    {"time-sane": {"within-s": 5}}
]"#;

#[expect(clippy::expect_used, reason = "a literal, read by the corpus's test")]
static ALL: LazyLock<Vec<Probe>> = LazyLock::new(|| serde_json::from_str(PROBES).expect("conditions"));

/// An answer of the guest's. The first byte says to which question.
pub fn guest(bytes: &[u8]) {
    let Some((question, rest)) = bytes.split_first() else { return };
    let text = &*String::from_utf8_lossy(rest);
    match question {
        b'f' => cause(text),
        b't' => drop(timeline::parse(text)),
        b'm' => {
            drop(Markers::of(1, 1).fates(text));
            drop(Planted::parse(text));
        }
        b'j' => {
            let young = marks::since_uptime(text, 5.0);
            assert!(young.lines().count() <= text.lines().count());
            drop(marks::find([rest]));
        }
        b'c' => {
            drop(crash::place(text));
            drop(crash::sums(text));
            drop(crash::workload_code(text));
        }
        b'u' => ready::units_told(text),
        b'q' => assert!(snapshot::connections(text) <= text.lines().count()),
        b's' => serial(text),
        b'd' => {
            let stats = serde_json::from_str(text).unwrap_or_default();
            drop(disks::judge_blank(Utf8Path::new("/dev/null"), text, disks::written(&stats)));
        }
        b'a' => conditions(text),
        _ => {}
    }
}

/// Why nobody can log in.
fn cause(text: &str) {
    let facts = Facts::read(text);
    let cause =
        Cause::of(&facts, &Ways::fresh(Ipv4Addr::new(10, 213, 77, 10), "admin"), "admin", "ssh-ed25519 AAAA", "");
    assert!(cause.is_none() || facts.are_whole(), "a cause from half of the answers");
    if let Some(cause) = cause {
        assert!(!cause.to_string().is_empty() && !cause.next().is_empty());
    }
}

/// What came over the console between tags: with a right checksum, too, which chance does not find.
fn serial(text: &str) {
    drop(whole_answer("t.1", text.lines()));
    let sent: String = text.chars().filter(|c| !matches!(c, '~' | '\n' | '\r')).collect();
    let sum: String = Sha256::digest(&sent).iter().map(|byte| format!("{byte:02x}")).collect();
    let lines = ["~t.1:<~".to_owned(), format!("~t.1:={sent}~"), format!("~t.1:>{sum}~")];
    if let Some((_, output)) = whole_answer("t.1", lines.iter().map(String::as_str)) {
        assert!(output.len() <= sent.len(), "more came out than was sent");
    }
}

/// Each condition, by an answer whose first line is the exit code.
fn conditions(text: &str) {
    let (code, output) = text.split_once('\n').unwrap_or(("0", text));
    let answer = Answer { code: code.trim().parse().unwrap_or(0), output: output.to_owned() };
    let asked = Asked { user: "admin", as_root: true, limit: Duration::from_secs(5) };
    for probe in &*ALL {
        let seen = runtime::judge(probe, &asked, &answer, 1.7e9);
        assert!(seen.verdict != Verdict::Holds || !answer.output.is_empty(), "{probe:?} holds by no answer");
    }
}
