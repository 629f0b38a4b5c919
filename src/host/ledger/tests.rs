//! What the ledger keeps, drops and undoes.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::testing::scratch;

fn touch(path: &Utf8Path) -> Result<(), LedgerError> {
    std::fs::write(path, "").map_err(|source| LedgerError::Io { path: path.to_owned(), source })
}

#[test]
fn undo_removes_what_was_done_and_the_ledger_itself() {
    let (_keep, dir) = scratch();
    let path = dir.join("ledger.ndjson");
    let file = dir.join("overlay");
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.do_(Change::File { path: file.clone() }, || touch(&file)).unwrap();
    drop(ledger);
    assert_eq!(Ledger::open(&path).unwrap().undo(), []);
    assert!(!file.exists() && !path.exists());
}

#[test]
fn an_intent_without_done_is_undone_too() {
    let (_keep, dir) = scratch();
    let path = dir.join("ledger.ndjson");
    let file = dir.join("half");
    let mut ledger = Ledger::open(&path).unwrap();
    let died: Result<(), LedgerError> = ledger.do_(Change::File { path: file.clone() }, || {
        touch(&file)?;
        Err(LedgerError::Io { path: file.clone(), source: std::io::Error::other("disk full") })
    });
    assert!(died.is_err());
    assert_eq!(Ledger::open(&path).unwrap().undo(), []);
    assert!(!file.exists());
}

#[test]
fn a_torn_last_line_is_dropped_and_the_ledger_goes_on() {
    let (_keep, dir) = scratch();
    let path = dir.join("ledger.ndjson");
    let file = dir.join("kept");
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.do_(Change::File { path: file.clone() }, || touch(&file)).unwrap();
    drop(ledger);
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str(r#"{"step":"intent","seq":1,"cha"#);
    std::fs::write(&path, text).unwrap();
    let mut ledger = Ledger::open(&path).unwrap();
    let other = dir.join("later");
    ledger.do_(Change::File { path: other.clone() }, || touch(&other)).unwrap();
    drop(ledger);
    assert_eq!(Ledger::open(&path).unwrap().undo(), []);
    assert!(!file.exists() && !other.exists());
}

#[test]
fn processes_that_follow_one_another_end_side_by_side() {
    use crate::process::ProcessId;
    use std::process::{Command, Stdio};
    let (_keep, dir) = scratch();
    let ended_by_itself = dir.join("ended");
    let mut older = Command::new("sleep").arg("60").stdout(Stdio::piped()).spawn().unwrap();
    // Deaf to SIGTERM; it ends when the older one has.
    let mut newer = Command::new("sh")
        .args(["-c", "trap '' TERM; echo; read none; : > \"$0\"", ended_by_itself.as_str()])
        .stdin(older.stdout.take().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read(newer.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let mut ledger = Ledger::open(&dir.join("ledger.ndjson")).unwrap();
    for child in [&older, &newer] {
        let id = ProcessId::of(child.id().cast_signed()).unwrap();
        ledger.adopt(Change::Process { role: "test".into(), id }).unwrap();
    }
    assert_eq!(ledger.undo(), []);
    assert!(ended_by_itself.exists(), "the newer one was waited for, and killed, before the older one was asked");
    older.wait().unwrap();
    newer.wait().unwrap();
}

#[test]
fn what_cannot_be_undone_is_a_leak_with_a_name_and_the_rest_goes_on() {
    let (_keep, dir) = scratch();
    let mut ledger = Ledger::open(&dir.join("ledger.ndjson")).unwrap();
    let older = dir.join("older");
    // A folder where a file was recorded: removing it as a file fails.
    let stuck = dir.join("stuck");
    ledger.do_(Change::File { path: older.clone() }, || touch(&older)).unwrap();
    std::fs::create_dir(&stuck).unwrap();
    ledger.adopt(Change::File { path: stuck.clone() }).unwrap();
    let leaks = ledger.undo();
    assert_eq!(leaks.len(), 1);
    assert!(leaks[0].what.contains("stuck"), "{leaks:?}");
    assert!(!older.exists());
}

fn folder(path: &Utf8Path) -> Change {
    Change::Folder { path: path.to_owned() }
}

#[test]
fn a_power_loss_at_any_byte_leaves_a_ledger_that_undoes_all_that_was_begun() {
    let (_keep, dir) = scratch();
    let path = dir.join("ledger.ndjson");
    let names: Vec<_> = (0..3).map(|n| dir.join(format!("folder-{n}"))).collect();
    let mut ledger = Ledger::open(&path).unwrap();
    for name in &names {
        ledger.adopt(folder(name)).unwrap();
    }
    let whole = std::fs::read(&path).unwrap();
    let intents: Vec<_> = whole.split_inclusive(|b| *b == b'\n').collect();
    for (cut, tail) in (0..=whole.len()).flat_map(|cut| [(cut, &b""[..]), (cut, &b"\0\0\0"[..]), (cut, &b"\xff"[..])]) {
        std::fs::write(&path, [&whole[..cut], tail].concat()).unwrap();
        let mut end = 0;
        for (n, line) in intents.iter().enumerate() {
            end += line.len();
            // It is on the disk before the change is begun; every second line is "done".
            if n % 2 == 0 && end <= cut {
                std::fs::create_dir(&names[n / 2]).unwrap();
            }
        }
        assert_eq!(Ledger::open(&path).unwrap().undo(), [], "cut at {cut}");
        assert!(names.iter().all(|name| !name.exists()), "cut at {cut}");
    }
}

#[test]
fn a_recycled_pid_is_a_stranger_whatever_the_ledger_says() {
    let (_keep, dir) = scratch();
    let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let id = ProcessId::of(stranger.id().cast_signed()).unwrap();
    let mut ledger = Ledger::open(&dir.join("ledger.ndjson")).unwrap();
    let recycled = ProcessId { start_time: id.start_time + 1, ..id };
    ledger.adopt(Change::Process { role: "monitor".into(), id: recycled }).unwrap();
    assert_eq!(ledger.undo(), []);
    assert!(id.is_alive());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn after_a_boot_of_the_host_only_files_are_still_ours() {
    let (_keep, dir) = scratch();
    let path = dir.join("ledger.ndjson");
    let ours = dir.join("ours");
    std::fs::create_dir(&ours).unwrap();
    let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let id = ProcessId::of(stranger.id().cast_signed()).unwrap();
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.adopt(folder(&ours)).unwrap();
    ledger.adopt(Change::Process { role: "monitor".into(), id }).unwrap();
    ledger.adopt(Change::Link { name: "lo".into(), netns: Netns::Host }).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&this_boot().unwrap(), "6d2a6e5e-7f4b-4d0c-9a44-0f6f0d3b1c11")).unwrap();
    assert_eq!(Ledger::open(&path).unwrap().undo(), []);
    assert!(id.is_alive() && !ours.exists());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn every_kind_of_change_has_a_point_for_every_step() {
    let classes: Vec<_> = classes().collect();
    assert_eq!(classes.len(), Step::ALL.len() * Kind::ALL.len());
    assert!(classes.contains(&"undone:nft-table".to_owned()), "{classes:?}");
}

#[test]
fn a_socket_is_removed_once_nobody_listens_and_what_took_its_place_is_not() {
    use std::os::unix::net::UnixListener;
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().join("web.sock")).unwrap();
    let change = Change::Socket { path: path.clone() };
    let undo = || change.undo("/nonexistent/ledger".into());
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!((undo(), path.exists()), (Ok(()), true), "somebody listens");
    drop(listener);
    assert_eq!(change.presence(), Presence::There);
    assert_eq!((undo(), path.exists()), (Ok(()), false));
    std::fs::write(&path, "mine").unwrap();
    assert_eq!((undo(), path.exists()), (Ok(()), true), "it is no socket");
}
