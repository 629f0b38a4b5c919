//! `experiment`: each mode from the same state, and what each does to the machine.

use crate::applied::{Applied, applied};
use serde_json::Value;

/// Run an experiment that must come out as its tables say; what it measured.
fn experiment(vm: &Applied, modes: &str, runs: &str) -> Value {
    vm.boma(&["experiment", "askari", "--modes", modes, "--runs", runs, "--timeout", "900"]).exits(0);
    let (folder, measured) = newest(vm);
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && !page.contains("src=\"http"), "one file, no network");
    let junit = std::fs::read_to_string(folder.join("junit.xml")).unwrap();
    assert_eq!(junit.matches("<testcase").count(), measured["runs"].as_array().unwrap().len());
    measured
}

/// The evidence of the newest experiment.
fn newest(vm: &Applied) -> (camino::Utf8PathBuf, Value) {
    let run = vm.lane.dir.join("runs/latest").canonicalize_utf8().unwrap();
    let folder =
        (1..).map(|n| run.join(format!("experiment-{n}"))).take_while(|folder| folder.exists()).last().unwrap();
    let text = std::fs::read_to_string(folder.join("experiment.json")).unwrap();
    (folder, serde_json::from_str(&text).unwrap())
}

/// What became of a run's markers: fsynced, written past the page cache, in the page cache only.
fn fates(run: &Value) -> Vec<(String, String)> {
    let fates = run["markers"]["fates"].as_array().unwrap().iter();
    fates.map(|fate| (fate[0].as_str().unwrap().to_owned(), fate[1].as_str().unwrap().to_owned())).collect()
}

fn of_mode<'a>(measured: &'a Value, mode: &str) -> impl Iterator<Item = &'a Value> {
    measured["runs"].as_array().unwrap().iter().filter(move |run| run["mode"] == mode)
}

#[test]
fn a_reset_and_a_soft_reboot_from_the_same_state_are_measured_side_by_side() {
    let vm = applied();
    let measured = experiment(&vm, "reset,soft-reboot", "1");
    let (reset, soft) =
        (of_mode(&measured, "reset").next().unwrap(), of_mode(&measured, "soft-reboot").next().unwrap());
    assert_eq!((&reset["restart"]["proof"], &soft["restart"]["proof"]), (&"reboot".into(), &"soft-reboot".into()));
    assert_eq!(reset["restore"]["boot_id"], soft["restore"]["boot_id"], "both began in one state");
    assert_eq!(reset["restart"]["boot_id_before"], soft["restart"]["boot_id"]);
    assert_ne!(fates(reset), fates(soft), "what was in the page cache only");
    for run in [reset, soft] {
        assert!(run["checks"].as_array().unwrap().iter().all(|check| check["ok"] == true || check["hint"] == true));
        assert!(run["milestones"]["settled"].as_f64().unwrap() > run["milestones"]["down"].as_f64().unwrap());
    }
}

#[test]
#[ignore = "eighteen boots: make soak"]
fn all_nine_modes_twice_show_their_evidence_and_treat_the_markers_as_they_must() {
    let vm = applied();
    let modes = ["guest", "acpi", "reset", "power-cycle", "power-loss", "panic", "watchdog", "kexec", "soft-reboot"];
    let measured = experiment(&vm, &modes.join(","), "2");
    for mode in modes {
        let runs: Vec<_> = of_mode(&measured, mode).collect();
        assert_eq!(runs.len(), 2, "{mode}");
        for run in runs {
            let proof = if mode == "soft-reboot" { "soft-reboot" } else { "reboot" };
            assert_eq!(run["restart"]["proof"], proof, "{mode}");
            assert_eq!(run["deviations"], serde_json::json!([]), "{mode}");
            let lost: Vec<_> =
                fates(run).into_iter().filter(|(_, fate)| fate != "survived").map(|(name, _)| name).collect();
            let expected: &[&str] = match mode {
                "guest" | "acpi" | "kexec" | "soft-reboot" => &[],
                "power-loss" => &["page-cache", "direct"],
                _ => &["page-cache"],
            };
            assert_eq!(lost.len(), expected.len(), "{mode}: {lost:?}");
            assert!(expected.iter().all(|name| lost.iter().any(|lost| lost == name)), "{mode}: {lost:?}");
        }
    }
}

#[test]
#[ignore = "ten boots: make soak"]
fn ten_clean_reboots_lose_nothing() {
    let vm = applied();
    let measured = experiment(&vm, "guest", "10");
    let findings: Vec<_> = of_mode(&measured, "guest").map(|run| run["state"]["judged"]["findings"].clone()).collect();
    assert_eq!(findings, vec![serde_json::json!([]); 10]);
}
