//! `experiment`: each mode from the same state, and what each does to the machine.

use crate::applied::{Applied, applied};
use crate::modes::signs;
use serde_json::Value;

/// Run an experiment that must come out as its tables say; what it measured.
fn experiment(vm: &Applied, modes: &str, runs: &str) -> Value {
    // A soft reboot does lose something: Docker's policy of the forward chain.
    let how = ["--runs", runs, "--timeout", "900", "--findings", "report"];
    vm.boma(&[&["experiment", "askari", "--modes", modes], &how[..]].concat()).exits(0);
    let (folder, measured) = newest(vm);
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && !page.contains("src=\"http"), "one file, no network");
    let junit = std::fs::read_to_string(folder.join("junit.xml")).unwrap();
    assert_eq!(junit.matches("<testsuite name").count(), modes.split(',').count());
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

/// Which of a run's markers it lost.
fn lost(run: &Value) -> Vec<&str> {
    let fates = run["markers"]["fates"].as_array().unwrap();
    assert_eq!(fates.len(), 3, "{fates:?}");
    fates.iter().filter(|fate| fate[1] != "survived").map(|fate| fate[0].as_str().unwrap()).collect()
}

fn of_mode<'a>(measured: &'a Value, mode: &str) -> impl Iterator<Item = &'a Value> {
    measured["runs"].as_array().unwrap().iter().filter(move |run| run["mode"] == mode)
}

/// What each run shows: its proof, its markers, its checks and its times.
fn is_measured(run: &Value) {
    assert!(run["checks"].as_array().unwrap().iter().all(|check| check["ok"] == true || check["hint"] == true));
    assert!(run["milestones"]["settled"].as_f64().unwrap() > run["milestones"]["down"].as_f64().unwrap());
}

#[test]
fn a_soft_reboot_is_measured_and_said_to_be_no_reboot() {
    let vm = applied();
    let measured = experiment(&vm, "soft-reboot", "1");
    let soft = of_mode(&measured, "soft-reboot").next().unwrap();
    assert_eq!(soft["restart"]["proof"], "soft-reboot");
    assert!(signs(&soft["restart"]).is_empty());
    let began = &soft["restore"]["boot_id"];
    assert_eq!((&soft["restart"]["boot_id"], soft["restart"]["boot_id_after"].is_null()), (began, true));
    assert!(lost(soft).is_empty());
    is_measured(soft);
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
            is_measured(run);
            let expected: &[&str] = match mode {
                "guest" | "acpi" | "kexec" | "soft-reboot" => &[],
                "power-loss" => &["page-cache", "direct"],
                // Six seconds pass until it bites, and the file system commits every five.
                "watchdog" => &lost(run).into_iter().filter(|name| *name == "page-cache").collect::<Vec<_>>(),
                _ => &["page-cache"],
            };
            assert_eq!(lost(run), expected, "{mode}");
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

/// Saves three files: one as it should be, one without any fsync, one in place and past the page cache, without a flush.
const SAVES: &str = "set -e
mkdir /srv/app && cd /srv/app
printf old >synced
head -c 65536 /dev/zero >in-place
sync
printf new >synced.tmp && sync synced.tmp && mv synced.tmp synced && sync .
printf new >renamed.tmp && mv renamed.tmp renamed
tr '\\0' x </dev/zero | dd of=in-place bs=65536 count=1 iflag=fullblock oflag=direct conv=notrunc status=none
";

#[test]
#[ignore = "two restores, a boot and 200 crash states: make soak"]
fn crash_states_show_a_missing_fsync_within_thirty_and_spare_what_was_synced_in_all_of_two_hundred() {
    let vm = applied();
    let script = vm.lane.dir.join("save.sh");
    std::fs::write(&script, SAVES).unwrap();
    let what = ["--crash-states", "200", "--seed", "7", "--workload", script.as_str(), "--durable", "/srv/app"];
    let how = ["experiment", "askari", "--modes", "power-loss", "--timeout", "900", "--findings", "report"];
    let ran = vm.boma(&[&how[..], &what].concat());
    ran.exits(6).says(&["NOT DURABLE: 200 crash states", "not durable: /srv/app/renamed"]);
    let (folder, measured) = newest(&vm);
    let crash = &measured["crash"];
    let of = |name: &str| {
        let files = crash["not_durable"].as_array().unwrap();
        files.iter().find(|file| file["path"] == format!("/srv/app/{name}"))
    };
    assert!(of("synced").is_none(), "{crash:#}");
    assert!(of("renamed").unwrap()["first"].as_u64().unwrap() < 30, "{crash:#}");
    let clean = &crash["controls"][0]["file"];
    let kept = |file: &Value, fate: &str| file["states"][fate].as_u64().unwrap_or(0);
    assert_eq!(kept(clean, "kept") + kept(clean, "old"), 200, "{crash:#}");
    assert!(clean["first"].is_null() && kept(clean, "kept") >= 100, "{crash:#}");
    assert!(crash["controls"][1]["file"]["first"].as_u64().unwrap() < 30, "{crash:#}");
    assert_eq!((&crash["damaged"], &crash["unchecked"]), (&serde_json::json!([]), &serde_json::json!([])));
    // The states really differ: of what was not flushed some have all, some nothing, some a part.
    let in_place = of("in-place").unwrap();
    assert!(kept(in_place, "kept") > 0 && kept(in_place, "torn") > 0, "{crash:#}");
    assert_eq!(crash["missing"], serde_json::json!([]), "the checks were confined");
    let states = std::fs::read_to_string(folder.join("crash-states.ndjson")).unwrap();
    assert_eq!(states.lines().count(), 200);
    // The machine is as `apply` left it, and its drive keeps no log.
    vm.root("test ! -e /srv/app && test ! -e /boma-qemu-crash");
    assert!(!vm.folder().join("drive.log").exists());
}
