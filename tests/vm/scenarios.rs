//! Every scenario of askari's profile, on real VMs.

use crate::lane::{Lane, User};

#[test]
#[ignore = "a dozen boots: make soak"]
fn each_scenario_of_askari_is_red_for_its_cause_and_green_without_it() {
    let lane = Lane::new(User::Caller);
    let run = lane.boma(&["prove", "askari", "--all", "--template", "-e", "verify__seconds=25"]);
    run.exits(0).says(&["PROVED", "report.html"]);
    let runs = lane.dir.join("runs").read_dir_utf8().unwrap().map(|entry| entry.unwrap().into_path());
    let folder = runs.into_iter().find(|path| path.as_str().ends_with("-askari-proof")).unwrap();
    let proof: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("proof.json")).unwrap()).unwrap();
    let profile = std::fs::read(lane.dir.join("profiles/askari.json")).unwrap();
    let profile: serde_json::Value = serde_json::from_slice(&profile).unwrap();
    let scenarios = proof["scenarios"].as_array().unwrap();
    let names: Vec<_> = scenarios.iter().map(|scenario| scenario["name"].as_str().unwrap()).collect();
    let mut wanted: Vec<_> = profile["scenarios"].as_object().unwrap().keys().map(String::as_str).collect();
    wanted.sort_unstable();
    assert_eq!(names, wanted);
    for scenario in scenarios {
        assert_eq!((&scenario["red"]["exit"], &scenario["green"]["exit"]), (&"verify".into(), &"passed".into()));
    }
    // Nothing is left of any case.
    lane.boma(&["status"]).exits(0).says(&["nothing is running"]);
}
