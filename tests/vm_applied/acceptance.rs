//! The whole job as a user has it. By its name the first of all tests: the VM that it keeps is the others'.

use crate::applied::leave;
use crate::lane::{HostState, Lane, User};
use camino::Utf8Path;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

/// What stays dead is waited for in vain: not longer than a live one may need.
const SHORT: &str = "verify__seconds=25";

/// The evidence of a red case says what it was.
fn red_is_explained(run: &Utf8Path) {
    let evidence = |name: &str| {
        let path = run.join(name);
        String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))).into_owned()
    };
    let result: serde_json::Value = serde_json::from_str(&evidence("result.json")).unwrap();
    assert_eq!(result["exit"], "verify");
    let ok = |run: usize, id: &str| {
        let checks = result["checks"][run]["checks"].as_array().unwrap().clone();
        checks.iter().find(|c| c["id"] == id).unwrap()["ok"].as_bool().unwrap()
    };
    assert!(ok(0, "published_port_answers"), "green before the reboot");
    assert!(!ok(1, "published_port_answers"), "red after it");
    assert!(ok(1, "docker_active"), "and Docker itself runs");
    let reboot = &result["reboot"];
    assert_ne!(reboot["boot_id_before"], reboot["boot_id_after"]);
    assert_eq!((&reboot["mode"], &reboot["proof"]), (&"guest".into(), &"reboot".into()));
    assert_eq!(
        (&reboot["evidence"][0]["kind"], &reboot["evidence"][0]["reason"]),
        (&"RESET".into(), &"guest-reset".into())
    );
    assert!(reboot["last_words"]["journal"].is_string() || reboot["last_words"]["console"].is_string());
    let rules = evidence("guest/nft.txt");
    assert!(rules.contains("hook forward") && rules.contains("policy drop"), "{rules}");
    // The first part is that of a machine that went on from a template.
    assert!(evidence("console/restore-1.log").contains("reboot: Restarting system"));
    assert!(evidence("console/boot-1.log").contains("Linux version"));
    for name in ["guest/docker-ps.txt", "guest/failed-units.txt", "qemu-argv.txt", "events.ndjson", "ansible.log"] {
        assert!(!evidence(name).is_empty(), "{name} is empty");
    }
}

/// By the red case; the green one is given the same, and its host serves it before and after the reboot.
fn certificate_is_issued_once(lane: &Lane) {
    let requests = |text: String| text.matches("finalize-order").count();
    let red = std::fs::read_to_string(lane.first_run().join("net/pebble.log")).unwrap();
    assert!(requests(red) > 0, "the red case has it issued");
    assert_eq!(requests(lane.evidence("net/pebble.log")), 0, "the green case issues nothing");
    let result = lane.result();
    let shown = &result["certificate"];
    assert_eq!(shown["tier"], "le-prod-wildcard (rehearsed)");
    assert!(shown["issuer"].as_str().unwrap().contains("Pebble"), "{shown}");
    let names: BTreeSet<_> = shown["names"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["example.net", "*.example.net"]));
    for run in result["checks"].as_array().unwrap() {
        let check = run["checks"].as_array().unwrap().iter().find(|check| check["id"] == "certificate").unwrap();
        assert_eq!(check["ok"], true, "{check}");
    }
    let key = lane.dir.join("s/certificates/rehearsal-example.net.json");
    assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn prove_sees_the_known_fault_and_passes_the_green_case_as_an_ordinary_user() {
    let lane = Lane::new(User::Ordinary);
    let host = HostState::now();
    // In namespaces of our own the host's links, filters, routes and settings do not change even for a moment.
    let run = host.stays_while(|| {
        lane.boma(&["prove", "askari", "--keep", "--template", "--certs", "le-prod-wildcard", "-e", SHORT])
    });
    run.exits(0);
    run.says(&["the red case", "the green case", "PROVED", "came back from its reboot", "nothing is lost"]);
    assert_eq!(lane.result()["state"]["judged"]["findings"], serde_json::json!([]));
    red_is_explained(&lane.first_run());
    certificate_is_issued_once(&lane);
    host.is_now();
    leave(lane, host);
}
