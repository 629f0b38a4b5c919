//! The scenarios of a profile, as `plan`, `lint` and `prove` have them, without a VM.

use crate::project::Project;

const LIVE: &str = r#"{"broken": "overrides/askari.red.yml", "fixed": "overrides/askari.yml", "shows": "at-once", "fails": ["docker_active"], "cause": "x"}"#;

impl Project {
    /// Exit code and standard output.
    fn says(&self, args: &[&str]) -> (Option<i32>, String) {
        let out = self.command(args).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// With checks of its own: `lint` reads no folder that is only a link.
    fn with_checks(self) -> Self {
        let (from, to) = (self.dir.join("verify").canonicalize_utf8().unwrap(), self.dir.join("verify"));
        std::fs::remove_file(&to).unwrap();
        std::fs::create_dir(&to).unwrap();
        for file in from.read_dir_utf8().unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_file() {
                std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
        self
    }

    /// A profile with one more scenario.
    fn with_scenario(scenario: &str) -> Self {
        let world = Self::new();
        world.edit_profile("\"scenarios\": {", &format!("\"scenarios\": {{ \"own\": {scenario},"));
        world
    }
}

#[test]
fn an_unknown_scenario_is_refused_with_the_known_ones() {
    let world = Project::with_scenario(LIVE);
    for args in [&["--scenario", "drop"][..], &["--scenario", "own", "--scenario", "drop"]] {
        world.refused(&[&["prove", "askari"], args].concat(), 2, &["no scenario drop; there are", "own", "next:"]);
    }
    world.refused(&["prove", "askari", "--scenario", "../x"], 2, &["not usable"]);
    world.refused(&["prove", "askari", "--all", "--scenario", "own"], 2, &["cannot be used with"]);
}

#[test]
fn without_a_red_case_the_choice_is_asked_for() {
    let world = Project::with_scenario(LIVE);
    world.edit_profile("\"red\": \"forward-drop\",", "");
    world.refused(&["prove", "askari"], 2, &["names no red case", "--scenario", "forward-drop, ", "--all"]);
    world.edit_profile("\"scenarios\": {", "\"red\": \"nosuch\", \"scenarios\": {");
    world.refused(&["prove", "askari"], 2, &["red: no scenario is called nosuch; there are", "own"]);
}

#[test]
fn a_scenario_that_proves_nothing_is_refused_by_each_command() {
    for (scenario, why) in [
        (r#"{"broken": "overrides/askari.red.yml", "fails": ["docker_active"]}"#, "own: cause is missing"),
        (r#"{"broken": "overrides/askari.red.yml", "cause": "x"}"#, "own: fails names no check"),
        (r#"{"broken": "overrides/nosuch.yml", "fails": ["x"], "cause": "x"}"#, "the red case's overlay"),
        (
            r#"{"broken": "overrides/askari.red.yml", "fixed": "overrides/nosuch.yml", "fails": ["x"], "cause": "x"}"#,
            "the green case's overlay",
        ),
        (r#"{"broken": "overrides/askari.red.yml", "fails": ["x"], "cause": "("}"#, "unclosed group"),
        (r#"{"broke": "overrides/askari.red.yml"}"#, "unknown field `broke`"),
    ] {
        for command in ["plan", "lint", "prove", "cycle"] {
            Project::with_scenario(scenario).refused(&[command, "askari"], 2, &[why]);
        }
    }
}

#[test]
fn the_plan_shows_each_scenario_with_what_it_demands() {
    let dead = r#"{"broken": "overrides/askari.red.yml", "shows": "no-login", "cause": "gone", "evidence": {"guest/sshd.txt": "a"}}"#;
    let world = Project::with_scenario(dead);
    world.edit_profile("\"scenarios\": {", &format!("\"scenarios\": {{ \"live\": {LIVE},"));
    let (code, said) = world.says(&["plan", "askari"]);
    assert_eq!(code, Some(0));
    let shown = said.split("## scenarios, for prove").nth(1).unwrap();
    for words in [
        "forward-drop (the one that is run if none is named): red after the reboot",
        "live: red as soon as it is applied",
        "green  overrides/askari.yml",
        "own: no login after the reboot",
        "overrides/askari.red.yml: the verdict says /gone/; guest/sshd.txt says /a/",
        "fails published_port_answers, container_reaches_out; the verdict says /",
        "green  as the profile is",
    ] {
        assert!(shown.contains(words), "{words:?} is not in: {shown}");
    }
}

#[test]
fn lint_names_a_check_that_is_not_there_and_cases_that_are_the_same() {
    assert_eq!(Project::new().with_checks().says(&["lint", "askari"]), (Some(0), "askari: nothing is wrong\n".into()));
    let same = r#"{"broken": "overrides/askari.red.yml", "fixed": "overrides/askari.red.yml", "fails": ["nosuch_check"], "cause": "x"}"#;
    let (code, said) = Project::with_scenario(same).with_checks().says(&["lint", "askari"]);
    assert_eq!(code, Some(2));
    for words in [
        "own: no check of `verify` is called nosuch_check",
        "own: its two cases have the same overlay",
        "own: its red case is the same as that of forward-drop",
    ] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
}
