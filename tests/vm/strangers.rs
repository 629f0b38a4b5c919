//! A repository that knows nothing of this project: from `init` to a green cycle, with nothing edited but what `init` has
//! marked.

use crate::lane::{Lane, User};
use serde_json::{Value, json};

const REPO: &str = "tests/fixtures/estate";

/// Take every mark out, as whoever has decided does, and decide what only they can know of the profile.
fn decide(lane: &Lane, host: &str, decision: impl FnOnce(&mut Value)) {
    for file in ["profiles/HOST.json", "overrides/HOST.yml", "verify/HOST.yml"] {
        let path = lane.dir.join(file.replace("HOST", host));
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        std::fs::write(path, text.replace("DECIDE", "Decided")).unwrap();
    }
    let path = lane.dir.join(format!("profiles/{host}.json"));
    let mut profile = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    decision(&mut profile);
    std::fs::write(path, profile.to_string()).unwrap();
}

fn cycle(host: &str, decision: impl FnOnce(&mut Value)) -> Value {
    let lane = Lane::new(User::Caller);
    lane.boma(&["init", host, "--repo", REPO]).exits(0);
    lane.boma(&["lint", host]).exits(2);
    decide(&lane, host, decision);
    lane.boma(&["lint", host]).exits(0);
    lane.boma(&["cycle", host, "--timeout", "1800"]).exits(0);
    let result = lane.result();
    lane.is_empty();
    result
}

#[test]
#[ignore = "a cycle of its own, and an image that may have to be built; a part of make soak"]
fn a_host_with_a_port_of_its_own_and_a_closed_firewall_is_green_by_uefi() {
    let result = cycle("front1", |_| {});
    assert_eq!(
        (&result["way"]["answered"]["port"], &result["state"]["judged"]["findings"]),
        (&json!(2022), &json!([])),
        "{result}"
    );
}

#[test]
#[ignore = "a cycle of its own, and an image that may have to be built; a part of make soak"]
fn a_debian_12_that_is_entered_as_root_keeps_its_volume_on_a_second_disk() {
    let result = cycle("store1", |profile| {
        assert_eq!(profile["disks"], json!([{"size_gib": 8}]), "the inventory names /dev/vdb");
        profile["image"] = "debian-12".into();
    });
    assert_eq!(result["state"]["judged"]["findings"], json!([]), "{result}");
}
