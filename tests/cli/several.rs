//! Several hosts in one call: what is wrong with one of them is refused before any of them begins.

use super::Project;

impl Project {
    /// A project with two hosts.
    fn of_two() -> Self {
        let project = Self::new();
        let profiles = project.dir.join("profiles");
        std::fs::copy(profiles.join("askari.json"), profiles.join("ubongo.json")).unwrap();
        project
    }
}

#[test]
fn one_host_of_several_that_is_wrong_is_refused_before_any_begins() {
    let refused = |args: &[&str], words: &[&str]| Project::of_two().refused(args, 2, words);
    refused(&["cycle", "askari,nosuch"], &["no profile of a host is called nosuch", "ubongo"]);
    refused(&["cycle", "askari,ubongo,askari"], &["askari is named twice"]);
    refused(&["cycle", "askari,ubongo", "--jobs", "0"], &["--jobs", "1..=64"]);
    refused(&["cycle", "askari,../x"], &["not usable"]);
    refused(&["cycle", "askari,"], &["not usable"]);
    refused(&["cycle", "askari,ubongo", "--net", "host"], &["share a bridge", "next:"]);
    refused(&["cycle", "askari,ubongo", "--keep", "--remove"], &["cannot be used with"]);
    refused(&["cycle", "askari,ubongo", "-e", "@nosuch.yml"], &["nosuch.yml"]);
    refused(&["cycle", "askari,ubongo", "--certs", "le-staging", "--egress", "none"], &["--egress nat"]);
}

#[test]
fn a_matrix_is_checked_whole_before_its_first_run() {
    let refused = |args: &[&str], words: &[&str]| Project::of_two().refused(args, 2, words);
    refused(&["matrix"], &["--hosts"]);
    refused(&["matrix", "--hosts", "askari,nosuch"], &["no profile of a host is called nosuch"]);
    refused(&["matrix", "--hosts", "askari", "--via", "guest,magic"], &["magic", "power-loss"]);
    refused(&["matrix", "--hosts", "askari", "--via", "guest,guest"], &["askari guest is asked for twice"]);
    refused(&["matrix", "--hosts", "askari", "--", "--nonsense"], &["--nonsense"]);
    refused(&["matrix", "--hosts", "askari", "--", "--keep"], &["keeps no VM"]);
    refused(
        &["matrix", "--hosts", "askari,ubongo", "--certs", "internal,le-staging", "--", "--egress", "none"],
        &["--egress nat"],
    );
}

#[test]
fn more_vms_than_there_is_memory_for_are_not_kept() {
    let project = Project::of_two();
    let free = host::memory::available().unwrap().0;
    for host in ["askari", "ubongo"] {
        let path = project.dir.join(format!("profiles/{host}.json"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text.replace("\"mem_mib\": 3072", &format!("\"mem_mib\": {}", free * 6 / 10))).unwrap();
    }
    project.refused(&["cycle", "askari,ubongo", "--keep"], 3, &["--keep", "all the VMs together take"]);
}

/// More than there is: each of the runs is refused by itself, before it makes anything.
const TOO_MUCH: [&str; 2] = ["--min-free-mib", "999999999"];

#[test]
fn each_of_several_runs_has_its_evidence_and_all_have_one_report_and_one_end() {
    let project = Project::of_two();
    let args = [&["cycle", "askari,ubongo", "--jobs", "2", "-e", "token=hunter2hunter2"][..], &TOO_MUCH].concat();
    let out = project.command(&args).output().unwrap();
    let (said, printed) = (String::from_utf8_lossy(&out.stderr), String::from_utf8_lossy(&out.stdout));
    assert_eq!(out.status.code(), Some(3), "{said}{printed}");
    for host in ["askari", "ubongo"] {
        assert!(said.contains(&format!("{host}: preflight ...")), "{said}");
        assert!(printed.contains(&format!("{host}: NO VERDICT: {host} (exit 3)")), "{printed}");
    }
    assert!(printed.contains("NOT PASSED: 0 of 2 runs passed (exit 3)"), "{printed}");
    let report = printed.lines().find_map(|line| line.strip_prefix("report: ")).unwrap();
    let folder = camino::Utf8Path::new(report).parent().unwrap();
    let page = std::fs::read_to_string(report).unwrap();
    assert!(page.contains("-ubongo/report.html") && page.contains("askari.log"), "{page}");
    for entry in folder.read_dir_utf8().unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("hunter2hunter2"), "a secret is in the evidence: {text}");
    }
    // It can be drawn again, and nothing is left of the runs but their evidence.
    std::fs::remove_file(report).unwrap();
    assert!(project.command(&["report", folder.as_str()]).status().unwrap().success());
    assert_eq!(std::fs::read_to_string(report).unwrap(), page);
    assert!(!project.dir.join("s/lanes/1/vms").exists() && project.dir.join("s/lanes/2").exists());
    assert_eq!(project.dir.join("promises").read_dir_utf8().unwrap().count(), 0);
}

#[test]
fn a_matrix_is_a_table_of_verdicts() {
    let project = Project::of_two();
    let args = ["matrix", "--hosts", "askari,ubongo", "--via", "guest,reset", "--jobs", "3", "--json", "--"];
    let out = project.command(&[&args[..], &TOO_MUCH].concat()).output().unwrap();
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rows = events.last().unwrap()["several"]["rows"].as_array().unwrap().clone();
    let asked: Vec<_> =
        rows.iter().map(|row| (row["host"].as_str().unwrap(), row["asked"]["via"].as_str().unwrap())).collect();
    assert_eq!(asked, [("askari", "guest"), ("askari", "reset"), ("ubongo", "guest"), ("ubongo", "reset")]);
    for row in &rows {
        let run = row["run"].as_str().unwrap();
        let result = std::fs::read_to_string(format!("{run}/result.json")).unwrap();
        assert!(result.contains("\"exit\": \"host\""), "{result}");
        let ends = events.iter().filter(|event| event["run"] == row["name"] && event["event"] == "end");
        assert_eq!(ends.count(), 1, "{row}");
    }
    let page = std::fs::read_to_string(events.last().unwrap()["report"].as_str().unwrap()).unwrap();
    assert!(page.contains("Matrix"), "{page}");
}
