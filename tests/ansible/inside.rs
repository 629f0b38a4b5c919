//! The shipped look at a Docker host from inside, with programs that only pretend: what it says where one is missing,
//! does not answer, or answers badly.

use crate::executable;
use camino::Utf8Path;
use serde_json::Value;
use std::process::Command;

/// A host where all is well, as far as programs say; its container does not run.
const WELL: [(&str, &str); 4] = [
    ("systemctl", r#"[ "$1" = is-active ] && echo active; exit 0"#),
    ("docker", "echo 'Error: No such object: proxy' >&2; exit 1"),
    ("iptables", "echo '  7  420 DNAT  tcp  --  *  *  0.0.0.0/0  0.0.0.0/0  tcp dpt:443 to:172.18.0.2:443'"),
    ("nft", "echo 'chain forward { policy drop; iifname \"br-*\" accept }'"),
];
/// What D-Bus's clients say when it is dead.
const NO_BUS: &str = "echo 'Failed to connect to bus: No such file or directory' >&2; exit 1";

/// What it says with these programs in place of the usual; none with an empty text is there.
fn look(changed: &[(&str, &str)]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    for (name, usual) in WELL {
        let text = changed.iter().find(|(changed, _)| *changed == name).map_or(usual, |(_, text)| text);
        if !text.is_empty() {
            executable::write(dir.path().join(name), &format!("#!/bin/sh\n{text}\n"));
        }
    }
    let script = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("verify/inside.py");
    let mut python = Command::new("/usr/bin/python3");
    let done =
        python.args([script.as_str(), "proxy", "443", "example.org", "0"]).env("PATH", dir.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn told(answers: &Value, check: &str) -> (bool, bool) {
    (answers[check]["ok"].as_bool().unwrap(), answers[check]["looked"].as_bool().unwrap())
}

const OK: (bool, bool) = (true, true);
const RED: (bool, bool) = (false, true);
const UNSEEN: (bool, bool) = (false, false);

#[test]
fn programs_that_answer_well_are_green_and_a_container_that_is_gone_is_red() {
    let answers = look(&[]);
    for check in ["docker_active", "port_is_forwarded", "forward_chain_accepts", "no_failed_units"] {
        assert_eq!(told(&answers, check), OK, "{answers}");
    }
    assert_eq!(told(&answers, "container_reaches_out"), RED, "{answers}");
}

#[test]
fn a_program_that_is_missing_has_not_looked() {
    for (program, checks) in [
        ("systemctl", &["docker_active", "no_failed_units"][..]),
        ("docker", &["container_reaches_out"]),
        ("iptables", &["port_is_forwarded"]),
        ("nft", &["forward_chain_accepts"]),
    ] {
        let answers = look(&[(program, "")]);
        for check in checks {
            assert_eq!(told(&answers, check), UNSEEN, "{answers}");
            assert!(answers[check]["detail"].as_str().unwrap().contains(program), "{answers}");
        }
    }
}

#[test]
fn a_service_manager_that_cannot_be_asked_has_not_looked() {
    let answers = look(&[("systemctl", NO_BUS)]);
    assert_eq!((told(&answers, "docker_active"), told(&answers, "no_failed_units")), (UNSEEN, UNSEEN), "{answers}");
    assert!(answers["docker_active"]["detail"].as_str().unwrap().contains("Failed to connect to bus"), "{answers}");
}

#[test]
fn a_daemon_that_is_dead_while_its_client_is_there_is_red() {
    let dead = "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2; exit 1";
    let state = |state: &str| {
        format!(
            "[ \"$1\" = is-active ] && {{ echo {state}; exit 3; }}; echo 'docker.service loaded failed failed Docker'"
        )
    };
    for word in ["failed", "inactive"] {
        let answers = look(&[("docker", dead), ("systemctl", &state(word))]);
        for check in ["docker_active", "container_reaches_out", "no_failed_units"] {
            assert_eq!(told(&answers, check), RED, "{answers}");
        }
    }
}

#[test]
fn an_error_of_the_firewalls_programs_is_no_rule_and_no_missing_rule() {
    let refused = "echo 'Operation not permitted (you must be root)' >&2; exit 4";
    let answers = look(&[("iptables", refused), ("nft", refused), ("docker", "echo 'permission denied' >&2; exit 1")]);
    for check in ["port_is_forwarded", "forward_chain_accepts", "container_reaches_out"] {
        assert_eq!(told(&answers, check), UNSEEN, "{answers}");
    }
    let none = "echo 'iptables: No chain/target/match by that name.' >&2; exit 1";
    let no_chain = "echo 'Error: No such file or directory' >&2; exit 1";
    let answers = look(&[("iptables", none), ("nft", no_chain)]);
    assert_eq!((told(&answers, "port_is_forwarded"), told(&answers, "forward_chain_accepts")), (RED, OK), "{answers}");
}
