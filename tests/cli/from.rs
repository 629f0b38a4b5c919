//! What a cycle is to be on top of: refused before anything is made, and shown by `plan` and `lint`.

use crate::project::Project;
use camino::Utf8PathBuf;
use std::process::Command;

/// A project whose playbooks lie in a folder of a git repository of its own, with two commits; the first has no `offsite.yml`.
fn project() -> (Project, Utf8PathBuf) {
    let world = Project::new();
    let repo = world.dir.join("own/plays");
    for file in ["ansible.cfg", "inventories", "playbooks", "roles"] {
        let from = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/boma").join(file);
        std::fs::create_dir_all(&repo).unwrap();
        assert!(Command::new("cp").args(["-a", from.as_str(), repo.as_str()]).status().unwrap().success());
    }
    world.edit_profile("\"tests/fixtures/boma\"", "\"own/plays\"");
    let git = |args: &[&str]| {
        let who = ["-c", "user.name=t", "-c", "user.email=t@example.net"];
        let out =
            Command::new("git").args(["-C", world.dir.join("own").as_str()]).args(who).args(args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    };
    git(&["init", "-q"]);
    git(&["add", "plays/ansible.cfg", "plays/inventories", "plays/roles", "plays/playbooks/site.yml"]);
    git(&["commit", "-q", "-m", "one"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "two"]);
    (world, repo)
}

#[test]
fn what_cannot_be_applied_first_is_refused_before_any_work() {
    let (world, repo) = project();
    world.refused(&["cycle", "askari", "--from", "nonsense"], 2, &["--from nonsense", "no such commit", "git -C"]);
    world.refused(&["cycle", "askari", "--from", "HEAD~1"], 2, &["playbooks/offsite.yml does not exist", "next:"]);
    world.refused(&["plan", "askari", "--from", "HEAD~7"], 2, &["HEAD~7", "no such commit"]);
    world.refused(&["lint", "askari", "--from", "HEAD~1"], 2, &["playbooks/offsite.yml does not exist"]);
    world.refused(&["lint", "pre-nixos", "--from", "HEAD"], 2, &["--from", "audit"]);
    std::fs::remove_dir_all(repo.parent().unwrap().join(".git")).unwrap();
    world.refused(&["cycle", "askari", "--from", "HEAD"], 2, &["not in a git repository", "not a git repository"]);
    assert!(!world.dir.join("s").exists() || !world.dir.join("s/run.lock").exists(), "it is refused before the lock");
}

#[test]
fn both_needs_a_revision_and_a_reboot() {
    let world = Project::new();
    world.refused(&["cycle", "askari", "--both"], 2, &["--from"]);
    world.refused(
        &["cycle", "askari", "--both", "--from", "HEAD", "--no-reboot"],
        2,
        &["--both", "cannot be used with"],
    );
    for command in ["up", "prove", "apply"] {
        world.refused(&[command, "askari", "--from", "HEAD"], 2, &["unexpected argument", "--from"]);
    }
}

#[test]
fn a_plan_shows_what_is_applied_first_and_lint_that_there_is_nothing_on_top() {
    let (world, repo) = project();
    let plan = world.boma(&["plan", "askari", "--from", "HEAD"]).output().unwrap();
    let text = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(plan.status.success(), "{}", String::from_utf8_lossy(&plan.stderr));
    for words in ["revision HEAD, commit ", "from-<random>/tree/plays", "then, on top of it", &format!("cd {repo}")] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    let at = |words: &str| text.find(words).unwrap();
    assert!(at("from-<random>") < at(&format!("cd {repo}")), "the revision comes first");
    world.refused(&["lint", "askari", "--from", "HEAD"], 2, &["nothing would be applied on top"]);
    std::fs::write(repo.join("playbooks/site.yml"), "- hosts: askari\n  roles: []\n").unwrap();
    let lint = world.boma(&["lint", "askari", "--from", "HEAD"]).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&lint.stdout), String::from_utf8_lossy(&lint.stderr));
    assert!(said.contains("with uncommitted changes would be applied on top of HEAD"), "{said}");
    assert!(!world.dir.join("s").exists(), "both only look");
}
