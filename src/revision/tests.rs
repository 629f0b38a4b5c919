use super::*;
use host::dirs::names_in;
use host::testing::scratch;

/// Git in a folder as whoever commits there.
fn by_hand(folder: &Utf8Path, args: &[&str]) {
    let who = ["-c", "user.name=t", "-c", "user.email=t@example.net", "-c", "init.defaultBranch=main"];
    Cmd::new("git").args(["-C", folder.as_str()]).args(who).args(args).run().unwrap();
}

fn write(path: Utf8PathBuf, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A repository in a subfolder `plays`, with two commits: the first has `old.yml`, the second `new.yml`.
fn repository() -> (tempfile::TempDir, Utf8PathBuf) {
    let (keep, dir) = scratch();
    by_hand(&dir, &["init", "-q"]);
    write(dir.join(".gitignore"), "secret\ncollections/\n__pycache__/\n.venv\n");
    write(dir.join("roles/r"), "outside of plays");
    write(dir.join("plays/old.yml"), "old");
    by_hand(&dir, &["add", "."]);
    by_hand(&dir, &["commit", "-q", "-m", "one"]);
    std::fs::rename(dir.join("plays/old.yml"), dir.join("plays/new.yml")).unwrap();
    by_hand(&dir, &["add", "."]);
    by_hand(&dir, &["commit", "-q", "-m", "two"]);
    (keep, dir)
}

#[test]
fn a_revision_is_found_by_any_of_its_names_in_a_folder_of_a_repository_too() {
    let (_keep, dir) = repository();
    let plays = dir.join("plays");
    let found = Revision::of(&plays, "HEAD~1").unwrap();
    assert_eq!((found.within.as_str(), found.commit.len()), ("plays", 40));
    assert_eq!(found.to_string(), format!("HEAD~1 ({})", short(&found.commit)));
    let same = Revision::of(&plays, &found.commit[..10]).unwrap();
    assert_eq!((same.to_string(), same.commit), (short(&found.commit).to_owned(), found.commit.clone()));
    assert_eq!(Revision::of(&dir, "main").unwrap().within, "");
}

#[test]
fn what_is_no_revision_is_refused_with_the_reason() {
    let (_keep, dir) = repository();
    for rev in ["nonsense", "", "--all", "HEAD:plays", "HEAD~9"] {
        let error = Revision::of(&dir, rev).unwrap_err();
        assert!(matches!(error, RevisionError::Unknown { .. }), "{rev}: {error}");
        assert_eq!(error.exit(), Exit::Usage);
    }
    let (_keep, plain) = scratch();
    let error = Revision::of(&plain, "HEAD").unwrap_err();
    assert!(error.to_string().contains("not a git repository"), "{error}");
    assert_eq!(error.exit(), Exit::Usage);
}

#[test]
fn what_the_profile_names_must_be_in_it() {
    let (_keep, dir) = repository();
    let first = Revision::of(&dir.join("plays"), "HEAD~1").unwrap();
    first.must_have(&[("the playbook", "old.yml".into())]).unwrap();
    let error = first.must_have(&[("the playbook", "old.yml".into()), ("the playbook", "new.yml".into())]).unwrap_err();
    assert!(matches!(&error, RevisionError::Lacks { path, .. } if path == "new.yml"), "{error}");
    // A folder, and what lies below a link.
    std::os::unix::fs::symlink("../roles", dir.join("plays/roles")).unwrap();
    by_hand(&dir, &["add", "."]);
    by_hand(&dir, &["commit", "-q", "-m", "three"]);
    let third = Revision::of(&dir, "HEAD").unwrap();
    third.must_have(&[("the playbook", "plays/roles/r".into()), ("the inventory", "plays".into())]).unwrap();
}

#[test]
fn a_submodule_is_refused_where_the_playbooks_are() {
    let (_keep, dir) = repository();
    let head = Revision::of(&dir, "HEAD").unwrap().commit;
    by_hand(&dir, &["update-index", "--add", "--cacheinfo", &format!("160000,{head},plays/sub")]);
    by_hand(&dir, &["commit", "-q", "-m", "sub"]);
    let error = Revision::of(&dir.join("plays"), "HEAD").unwrap().must_have(&[]).unwrap_err();
    assert!(matches!(&error, RevisionError::Submodule { path, .. } if path == "plays/sub"), "{error}");
    Revision::of(&dir.join("roles"), "HEAD").unwrap().must_have(&[]).unwrap();
}

#[test]
fn a_copy_has_the_revision_and_what_git_ignores_and_nothing_of_the_change() {
    let (_keep, dir) = repository();
    let plays = dir.join("plays");
    write(plays.join("untracked.yml"), "a part of the change");
    write(plays.join("secret"), "word");
    write(plays.join("collections/ansible_collections/c"), "installed");
    write(plays.join("group_vars/secret"), "in a folder that the revision has not");
    let status = || {
        let git = Cmd::new("git").args(["-C", dir.as_str(), "--no-optional-locks", "status", "--porcelain"]);
        git.run().unwrap().stdout
    };
    let before = status();
    let index = std::fs::read(dir.join(".git/index")).unwrap();
    let (_state, state) = scratch();
    let checkout = Checkout::make(&Revision::of(&plays, "HEAD~1").unwrap(), &state).unwrap();
    let repo = checkout.repo().to_owned();
    assert_eq!(names_in(&repo).unwrap(), ["collections", "group_vars", "old.yml", "secret"]);
    for (path, text) in [("old.yml", "old"), ("secret", "word"), ("collections/ansible_collections/c", "installed")] {
        assert_eq!(std::fs::read_to_string(repo.join(path)).unwrap(), text, "{path}");
    }
    assert_eq!(std::fs::read_to_string(repo.join("../roles/r")).unwrap(), "outside of plays");
    assert_eq!((status(), std::fs::read(dir.join(".git/index")).unwrap()), (before, index), "it was only read");
    assert!(names_in(&dir.join(".git")).unwrap().iter().all(|name| name != "worktrees"));
    drop(checkout);
    assert!(!repo.exists());
    assert_eq!(names_in(&state).unwrap(), Vec::<String>::new());
}

#[test]
fn a_link_of_the_revision_is_never_written_through() {
    let (_keep, dir) = repository();
    let (_other, elsewhere) = scratch();
    std::os::unix::fs::symlink(&elsewhere, dir.join("plays/group_vars")).unwrap();
    by_hand(&dir, &["add", "."]);
    by_hand(&dir, &["commit", "-q", "-m", "link"]);
    std::fs::remove_file(dir.join("plays/group_vars")).unwrap();
    write(dir.join("plays/group_vars/all.yml"), "tracked");
    by_hand(&dir, &["add", "."]);
    write(dir.join("plays/group_vars/secret"), "ignored");
    let (_state, state) = scratch();
    let checkout = Checkout::make(&Revision::of(&dir.join("plays"), "HEAD").unwrap(), &state).unwrap();
    assert_eq!(names_in(&elsewhere).unwrap(), Vec::<String>::new());
    drop(checkout);
    assert!(elsewhere.exists());
}

#[test]
fn a_copy_that_a_killed_command_has_left_is_removed() {
    let (_keep, dir) = repository();
    let (_state, state) = scratch();
    let checkout = Checkout::make(&Revision::of(&dir, "HEAD").unwrap(), &state).unwrap();
    let left = state.join(names_in(&state).unwrap().remove(0));
    assert!(checkout.repo().starts_with(&left));
    std::mem::forget(checkout);
    std::fs::create_dir(state.join("from-somebody")).unwrap();
    std::fs::write(state.join("from-somebody/file"), "theirs").unwrap();
    let (gone, leaks) = clear(&state).unwrap();
    assert_eq!((gone, leaks.len()), (vec![left.clone()], 1), "what only has such a name stays, and is told");
    assert!(!left.exists() && state.join("from-somebody/file").exists());
}

#[test]
fn a_work_tree_says_whether_it_is_what_was_committed() {
    let (_keep, dir) = repository();
    let revision = Revision::of(&dir.join("plays"), "HEAD~1").unwrap();
    let tree = revision.beside().unwrap();
    let head = Revision::of(&dir, "HEAD").unwrap().commit;
    assert_eq!((tree.commit, tree.changed), (Some(head), false));
    write(dir.join("roles/r"), "changed beside the playbooks");
    assert!(!revision.beside().unwrap().changed);
    write(dir.join("plays/more.yml"), "new");
    assert!(revision.beside().unwrap().changed);
}

#[test]
fn what_git_ignores_is_known_by_its_files_and_not_by_what_programs_write_beside_them() {
    let (_keep, dir) = repository();
    let revision = Revision::of(&dir.join("plays"), "HEAD").unwrap();
    let stamp = || ignored_stamp(&revision).unwrap();
    let none = stamp();
    for path in ["plays/.venv/bin/python", "plays/__pycache__/x", "plays/collections/run.log"] {
        write(dir.join(path), "x");
    }
    let with_folder = stamp();
    assert_ne!(with_folder, none, "a folder of collections has come");
    write(dir.join("plays/.venv/bin/more"), "x");
    write(dir.join("plays/collections/run.log"), "more");
    assert_eq!(stamp(), with_folder);
    write(dir.join("plays/collections/ansible_collections/c.yml"), "one");
    let one = stamp();
    assert_ne!(one, with_folder);
    write(dir.join("plays/collections/ansible_collections/c.yml"), "longer");
    assert_ne!(stamp(), one);
}
