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

fn cycle(host: &str, decision: impl FnOnce(&Lane, &mut Value)) -> Value {
    let lane = Lane::new(User::Caller);
    lane.boma(&["init", host, "--repo", REPO]).exits(0);
    // What is left to decide is marked, and is nothing suspicious.
    lane.boma(&["lint", host]).exits(0);
    decide(&lane, host, |profile| decision(&lane, profile));
    lane.boma(&["lint", host]).exits(0);
    lane.boma(&["cycle", host, "--timeout", "1800"]).exits(0);
    let result = lane.result();
    lane.is_empty();
    result
}

/// What made the host what it was before the change, and cards that it has besides.
fn prepared(lane: &Lane, profile: &mut Value) {
    let playbook =
        "- hosts: front1\n  become: true\n  gather_facts: false\n  tasks:\n    - user: {name: by-hand, system: true}\n";
    std::fs::create_dir(lane.dir.join("prepare")).unwrap();
    std::fs::write(lane.dir.join("prepare/front1.yml"), playbook).unwrap();
    profile["prepare"] = json!({"packages": ["tree"], "playbooks": ["prepare/front1.yml"]});
    profile["nics"] = json!([{"isolated": "lan"}, {}, {"isolated": "lan", "mac": "52:54:00:aa:bb:cc"}]);
    let all = "tree --version && id by-hand && cat /sys/class/net/enp0s20/address && \
               ip -br link show eth0 && test $(ls /sys/class/net | grep -c 'enp0s\\(18\\|19\\|20\\)$') = 3";
    let check = json!({"name": "as it was", "probe": {"command": {"run": all, "stdout": "52:54:00:aa:bb:cc"}}});
    profile["verify"].as_array_mut().unwrap().push(check);
}

#[test]
#[ignore = "a cycle of its own, and an image that may have to be built; a part of make soak"]
fn a_host_with_a_port_of_its_own_and_a_closed_firewall_is_green_by_uefi() {
    let result = cycle("front1", |lane, profile| {
        assert_eq!(profile["interface"], "eth0", "its firewall names it");
        prepared(lane, profile);
    });
    assert_eq!(
        (&result["way"]["answered"]["port"], &result["state"]["judged"]["findings"]),
        (&json!(2022), &json!([])),
        "{result}"
    );
    let left_out = result["playbooks"][0]["reports"].as_array().unwrap().iter().filter(|one| one["kind"] == "left-out");
    assert_eq!(left_out.map(|one| one["task"].clone()).collect::<Vec<_>>(), ["inform : Known to the watchers"]);
    // What prepared it is no part of the change.
    assert_eq!(result["prepared"][0]["changed"], 1, "{result}");
    assert_eq!((&result["made_of"]["packages"], result["playbooks"].as_array().unwrap().len()), (&json!(["tree"]), 1));
}

#[test]
#[ignore = "a cycle of its own, and an image that may have to be built; a part of make soak"]
fn a_debian_12_that_is_entered_as_root_keeps_its_volume_on_a_second_disk() {
    let result = cycle("store1", |_, profile| {
        assert_eq!(profile["disks"], json!([{"size_gib": 8}]), "the inventory names /dev/vdb");
        profile["image"] = "debian-12".into();
    });
    assert_eq!(result["state"]["judged"]["findings"], json!([]), "{result}");
}
