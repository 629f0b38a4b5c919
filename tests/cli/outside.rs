//! Where there is no project: what needs none, and what says so.

use assert_cmd::Command;

#[test]
fn outside_a_project_the_error_says_what_a_project_is() {
    let empty = tempfile::tempdir().unwrap();
    let mut command = Command::cargo_bin("boma-qemu").unwrap();
    let out = command.args(["plan", "askari"]).env_remove("BOMA_ROOT").current_dir(&empty).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("profiles/") && said.contains("--root"), "{said}");
}

#[test]
fn outside_a_project_doctor_looks_at_this_host_all_the_same_and_a_wrong_root_is_still_refused() {
    let empty = tempfile::tempdir().unwrap();
    let doctor = |args: &[&str]| {
        let mut command = Command::cargo_bin("boma-qemu").unwrap();
        let folders = ["BOMA_STATE", "BOMA_IT_CACHE", "BOMA_RUNS"].map(|name| (name, empty.path().join(name)));
        command.arg("doctor").args(args).envs(folders).env_remove("BOMA_ROOT").env_remove("BOMA_REPO");
        let out = command.current_dir(&empty).output().unwrap();
        let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (out.status.code().unwrap(), text)
    };
    let (code, text) = doctor(&["--json"]);
    let lines: Vec<serde_json::Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let last = lines.last().unwrap();
    assert_eq!(
        (last["event"].as_str(), last.get("project")),
        (Some("doctor"), Some(&serde_json::Value::Null)),
        "{text}"
    );
    assert_eq!(code, if last["can_run"] == true { 0 } else { 3 }, "{text}");
    assert!(lines.len() > 20 && lines.iter().any(|line| line["check"]["id"] == "subnet"), "{text}");
    let (code, text) = doctor(&["--root", "/nonexistent"]);
    assert!(code == 2 && text.contains("/nonexistent is not a project root"), "{text}");
}

#[test]
fn the_completions_are_a_script_that_bash_reads_and_the_pages_go_where_they_are_sent() {
    let empty = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| Command::cargo_bin("boma-qemu").unwrap().args(args).current_dir(&empty).output().unwrap();
    for (shell, words) in [("bash", "complete -F"), ("zsh", "#compdef boma-qemu"), ("fish", "complete -c boma-qemu")] {
        let script = run(&["completions", shell]);
        assert!(script.status.success() && String::from_utf8_lossy(&script.stdout).contains(words), "{shell}");
        std::fs::write(empty.path().join(shell), script.stdout).unwrap();
    }
    // What bash calls the function is the script's own affair.
    let typed = r#". ./bash; completes=$(complete -p boma-qemu | sed 's/.*-F \([^ ]*\).*/\1/')
        COMP_WORDS=(boma-qemu cyc) COMP_CWORD=1; $completes boma-qemu cyc; echo "${COMPREPLY[@]}""#;
    let loaded = std::process::Command::new("bash").args(["-c", typed]).current_dir(&empty).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&loaded.stdout), "cycle\n", "{}", String::from_utf8_lossy(&loaded.stderr));
    assert_eq!(run(&["man", "a/b"]).status.code(), Some(0));
    assert!(empty.path().join("a/b/boma-qemu-image-build.1").exists());
    std::fs::write(empty.path().join("file"), "").unwrap();
    let refused = run(&["man", "file/b"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("file/b") && said.contains("next:"), "{said}");
}

#[test]
fn the_schema_that_is_kept_is_the_one_of_the_code_and_knows_what_profiles_have() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = std::fs::read_to_string(root.join("schemas/host.json")).unwrap();
    let empty = tempfile::tempdir().unwrap();
    let printed = Command::cargo_bin("boma-qemu").unwrap().arg("schema").current_dir(&empty).output().unwrap();
    assert!(printed.stdout == kept.as_bytes(), "`boma-qemu schema > schemas/host.json` makes it anew");
    let schema: serde_json::Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    let profile = std::fs::read_to_string(root.join("profiles/askari.json")).unwrap();
    let profile: serde_json::Value = serde_json::from_str(&profile).unwrap();
    for key in profile.as_object().unwrap().keys() {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    assert_eq!(schema["required"], serde_json::json!(["inventory", "applies", "verify"]));
    // An entry of `verify` says which probes there are, and a comment may stand in each.
    let definitions = &schema["$defs"];
    assert!(definitions["Probe"].to_string().contains("failed-units"), "{definitions}");
    assert_eq!(definitions["Question"]["patternProperties"]["^//"], true);
}

#[test]
fn what_a_real_host_answered_suggests_checks_and_a_file_that_is_none_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| Command::cargo_bin("boma-qemu").unwrap().args(args).current_dir(&empty).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let script = run(&["observe", "--script"]);
    std::fs::write(empty.path().join("script"), &script.stdout).unwrap();
    let checked = std::process::Command::new("sh").args(["-n", "script"]).current_dir(&empty).output().unwrap();
    assert!(script.status.success() && checked.status.success(), "{}", text(&checked.stderr));

    let answers = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/observe/askari-before.txt");
    let suggested = run(&["checks", "suggest", "web1", "--from-live", answers, "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&suggested.stdout).unwrap();
    let probes: Vec<_> = said["verify"].as_array().unwrap().iter().map(|one| &one["probe"]).collect();
    assert!(probes.contains(&&serde_json::json!({"tcp": {"port": 443, "expect": "open"}})), "{said}");
    assert_eq!(suggested.status.code(), Some(0));

    // Cut off in the middle: what is not whole suggests nothing, and is named.
    let whole = std::fs::read_to_string(answers).unwrap();
    let end = whole.find("\u{1e}sockets\n").unwrap() + 60;
    std::fs::write(empty.path().join("cut"), &whole[..end]).unwrap();
    let cut = run(&["checks", "suggest", "web1", "--from-live", "cut", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&cut.stdout).unwrap();
    assert!(said["unseen"]["sockets"].is_string(), "{said}");
    assert!(!said["verify"].to_string().contains("tcp"), "{said}");

    std::fs::write(empty.path().join("none"), "sudo: a password is required\n").unwrap();
    for file in ["none", "nosuch"] {
        let refused = run(&["checks", "suggest", "web1", "--from-live", file]);
        let said = text(&refused.stderr);
        assert!(refused.status.code() == Some(2) && said.contains(file) && said.contains("next:"), "{said}");
    }
    assert_eq!(run(&["observe", "--script", "web1"]).status.code(), Some(2));
}
