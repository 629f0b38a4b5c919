use super::*;
use camino::Utf8Path;

/// A site that finds no program and keeps everything in a folder that is not there.
pub(super) fn site() -> Site {
    Site { input: input(Utf8Path::new("/nowhere")), os: Os::of_this_host() }
}

fn input(dir: &Utf8Path) -> DoctorInput {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    DoctorInput {
        dirs: Dirs { root: root.to_owned(), state: dir.join("s"), cache: dir.join("c"), runs: dir.join("r") },
        mode: Mode::Namespace,
        net: NetFile::read(&root.join("net/boma-it.json")).unwrap(),
        repo: None,
        image_there: true,
        min_free: MiB(0),
        path: String::new(),
    }
}

fn result(checks: &[Check], id: &str) -> Outcome {
    checks.iter().find(|check| check.id == id).unwrap().result
}

#[test]
fn a_host_without_qemu_cannot_run_a_vm_and_every_other_check_is_still_made() {
    let dir = tempfile::tempdir().unwrap();
    let checks = examine(&input(Utf8Path::from_path(dir.path()).unwrap()));
    assert_eq!(result(&checks, "qemu"), Outcome::Fail);
    assert_eq!(result(&checks, "qemu-devices"), Outcome::Fail);
    assert!(!can_run(&checks));
    assert_eq!(checks.len(), CHECKS.len());
    assert_eq!(result(&checks, "state"), Outcome::Ok);
    let unmended: Vec<_> = checks.iter().filter(|c| c.result == Outcome::Fail && c.fix.is_none()).collect();
    assert!(unmended.is_empty(), "{unmended:?}");
    assert!(dir.path().read_dir().unwrap().next().is_none(), "something was left");
}

#[test]
fn what_only_the_other_mode_needs_is_not_looked_at() {
    let of = |mode| examine(&DoctorInput { mode, ..input(Utf8Path::new("/tmp")) });
    let namespace = of(Mode::Namespace);
    for id in ["net-admin", "port-53", "subnet", "forward"] {
        assert_eq!(result(&namespace, id), Outcome::NotNeeded, "{id}");
    }
    assert_eq!(result(&of(Mode::Host), "pasta"), Outcome::NotNeeded);
}

#[test]
fn a_check_as_json_has_words_that_do_not_change() {
    let check = Check {
        id: "port-53",
        probed: "only `--net host` needs it".into(),
        result: Outcome::NotNeeded,
        fix: None,
        needed_for: NeededFor::Host,
    };
    let json = serde_json::to_string(&check).unwrap();
    let expected =
        r#"{"id":"port-53","probed":"only `--net host` needs it","result":"not-needed","needed_for":"host"}"#;
    assert_eq!(json, expected);
}

#[test]
fn warnings_do_not_stop_a_vm() {
    let check = |result| Check { id: "kvm", probed: String::new(), result, fix: None, needed_for: NeededFor::Nice };
    assert!(can_run(&[check(Outcome::Warn), check(Outcome::NotNeeded), check(Outcome::Ok)]));
    assert!(!can_run(&[check(Outcome::Ok), check(Outcome::Fail)]));
}
