//! The state across a reboot: what was done by hand is lost, and nothing else is a finding.

use crate::lane::Lane;

/// What is done by hand, and the finding that it must make.
const BY_HAND: [(&str, &str, &str); 3] = [
    ("sysctl -qw vm.swappiness=17", "sysctl/vm.swappiness", "no file in sysctl.d sets it"),
    ("ip address add 192.0.2.77/32 dev lo", "addresses/lo/192.0.2.77/32", "gone"),
    ("systemd-run --quiet --unit=by-hand sleep infinity", "units/by-hand.service/active", "not enabled"),
];

/// Change the running guest, and nothing that outlives it; `observe` sees it.
pub(crate) fn changes_by_hand(lane: &Lane) {
    let earlier = lane.dir.join("earlier.json");
    std::fs::write(&earlier, lane.boma(&["observe", "askari", "--json"]).exits(0).out()).unwrap();
    for (command, ..) in BY_HAND {
        lane.boma(&["ssh", "askari", "--", &format!("sudo -n {command}")]).exits(0);
    }
    let against = lane.boma(&["observe", "askari", "--against", earlier.as_str()]);
    against
        .exits(0)
        .says(&["LOST sysctl/vm.swappiness: 60 -> 17", "     addresses/lo/192.0.2.77/32: - -> scope global"]);
    lane.boma(&["observe", "askari", "--against", "Cargo.toml"]).exits(2).says(&["--against Cargo.toml"]);
}

/// After the reboot: each change is a finding with its reason, and there is no other.
pub(crate) fn what_was_done_by_hand_is_lost_and_nothing_else(lane: &Lane) {
    let result = lane.result();
    let findings = result["state"]["judged"]["findings"].as_array().unwrap();
    for (command, id, why) in BY_HAND {
        let found = findings.iter().find(|finding| finding["id"] == id);
        let what = found.unwrap_or_else(|| panic!("{command}: {id} is not in {findings:?}"))["what"].as_str().unwrap();
        assert!(what.contains(why), "{what}");
    }
    assert_eq!(findings.len(), BY_HAND.len(), "{findings:#?}");
    let before: serde_json::Value = serde_json::from_str(&lane.evidence("guest/state-before.json")).unwrap();
    assert_eq!(before["sections"]["sysctl"]["facts"]["vm.swappiness"], "17");
    let after: serde_json::Value = serde_json::from_str(&lane.evidence("guest/state-after.json")).unwrap();
    assert_eq!(after["sections"]["sysctl"]["facts"]["vm.swappiness"], "60");
    let failed = lane.boma(&["assert", "askari"]);
    failed.exits(6).says(&["did not survive the reboot, 3 findings", "units/by-hand.service/active", "state.allow"]);
    assert!(lane.evidence("junit.xml").contains("by-hand.service was active (running)"));
}
