use super::*;
use serde_json::json;
use std::process::Command;

fn probe(value: serde_json::Value) -> Probe {
    serde_json::from_value(value).unwrap()
}

/// What a shell on this machine answers to the script.
fn here(probes: &[Probe]) -> Vec<Answer> {
    let asked: Vec<_> = probes.iter().map(|probe| (probe, Duration::from_secs(5))).collect();
    let text = script(&asked).replace("/run/boma-", "/tmp/boma-");
    let said = Command::new("sh").args(["-c", &text]).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    read(&String::from_utf8(said.stdout).unwrap(), probes.len()).unwrap()
}

#[test]
fn one_script_asks_all_and_each_has_its_own_code_and_words() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it's a $(file)");
    std::fs::write(&path, "a\0b\n").unwrap();
    let answers = here(&[
        probe(json!({"command": {"run": "echo out; echo err >&2; exit 7"}})),
        probe(json!({"command": {"run": ["printf", "%s|", "a b", "'", "$HOME"]}})),
        probe(json!({"file": {"path": path.to_str().unwrap(), "contains": "b"}})),
        probe(json!({"command": {"run": "cat"}})),
    ]);
    assert_eq!((answers[0].code, answers[0].output.as_str(), answers[0].errors.as_str()), (7, "out\n", "err\n"));
    assert_eq!(answers[1].output, "a b|'|$HOME|");
    assert!(answers[2].output.contains("regular file\na\0b"), "{:?}", answers[2]);
    assert_eq!((answers[3].code, answers[3].output.as_str()), (0, ""), "nobody types there");
}

#[test]
fn a_command_that_hangs_is_ended_and_holds_up_no_other() {
    let hangs = probe(json!({"command": {"run": "exec sleep 600"}}));
    let quick = probe(json!({"command": {"run": "true"}}));
    let asked = [(&hangs, Duration::from_secs(1)), (&quick, Duration::from_secs(1))];
    let text = script(&asked).replace("/run/boma-", "/tmp/boma-");
    let said = Command::new("sh").args(["-c", &text]).output().unwrap();
    let answers = read(&String::from_utf8(said.stdout).unwrap(), 2).unwrap();
    assert!(answers[0].late && !answers[1].late && answers[1].code == 0, "{answers:?}");
}

#[test]
fn what_a_command_leaves_behind_may_go_on_writing() {
    let leaves = json!({"command": {"run": "(while echo more; do sleep 0.01; done) & echo $! >&2; sleep 0.3"}});
    let answers = here(&[probe(leaves), probe(json!({"mount": {"path": "/"}}))]);
    assert!(Command::new("kill").arg(answers[0].errors.trim()).status().unwrap().success(), "it has ended by itself");
    assert!(answers[0].output.starts_with("more\n") && answers[1].output.contains(" / "), "{answers:?}");
}

#[test]
fn more_than_can_come_back_is_cut_and_reported() {
    let answers = here(&[probe(json!({"command": {"run": "head -c 3000000 /dev/zero; head -c 9000 /dev/zero >&2"}}))]);
    assert_eq!((answers[0].cut, answers[0].output.len(), answers[0].errors.len()), (true, MOST, WORDS));
}

#[test]
fn an_answer_that_is_not_whole_is_none() {
    let whole = "0 \n1 0\nYQ==\n.\n";
    assert_eq!(read(whole, 1).unwrap()[0].output, "a");
    assert_eq!(read("\n\n.\n", 0).unwrap(), []);
    for bad in ["", "0\n1 0\nYQ==\n", "0 0\n1 0\nYQ==\n.\n", "x\n1 0\nYQ==\n.\n", "0\n1 0\nY\n.\n", "0\n1\nYQ==\n.\n"] {
        read(bad, 1).unwrap_err();
    }
    for lengths in ["0 0", "2 0", "1 1", "-1 0"] {
        read(&format!("0\n{lengths}\nYQ==\n.\n"), 1).unwrap_err();
    }
    read(whole, 2).unwrap_err();
    read(&format!("{whole}more\n"), 1).unwrap_err();
}

#[test]
fn a_setting_is_found_by_either_way_of_writing_it() {
    assert_eq!(sysctl_path("net.ipv4.ip_forward"), "/proc/sys/net/ipv4/ip_forward");
    assert_eq!(sysctl_path("net/ipv4/conf/eth0.1/forwarding"), "/proc/sys/net/ipv4/conf/eth0.1/forwarding");
    assert_eq!(sysctl_path("net.ipv4.conf.eth0/1.forwarding"), "/proc/sys/net/ipv4/conf/eth0.1/forwarding");
}
