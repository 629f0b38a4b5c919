//! What a record says, and what is made of one that says something else.

use super::record::*;
use super::{error::ImageError, sums};
use camino::Utf8Path;
use host::testing::scratch;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;

fn adopted(dir: &Utf8Path) -> Record {
    let temporary = dir.join(".part");
    let mut disk = [0; 512];
    disk[510..].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(&temporary, disk).unwrap();
    let digest = sums::of_file(&temporary).unwrap();
    let bytes = File::open(&temporary).unwrap();
    let record = adopt(dir, "a", &temporary, &bytes, Origin::Built { suite: "trixie".into() }, digest).unwrap();
    write(dir, &record, true).unwrap();
    record
}

fn records(dir: &Utf8Path) -> Vec<Record> {
    read_all(dir).unwrap().into_iter().filter_map(|found| found.record.ok()).collect()
}

#[test]
fn dates_are_those_of_date() {
    assert_eq!(utc(0), "1970-01-01T00:00:00Z");
    assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
    assert_eq!(utc(1_795_174_261), "2026-11-20T11:31:01Z");
}

#[test]
fn an_adopted_file_is_read_only_recorded_and_verified() {
    let (_keep, dir) = scratch();
    let record = adopted(&dir);
    let mode = std::fs::metadata(dir.join(&record.file)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o444);
    assert_eq!(records(&dir), std::slice::from_ref(&record));
    verify(&dir, &record).unwrap();
    assert_eq!(verify_cheaply(&dir, &record).unwrap(), None);
}

#[test]
fn a_file_that_was_put_there_meanwhile_is_not_adopted() {
    let (_keep, dir) = scratch();
    let record = adopted(&dir);
    let (part, golden) = (dir.join(".part"), dir.join(&record.file));
    let bytes = File::open(&golden).unwrap();
    std::fs::copy(&golden, &part).unwrap();
    let again = |bytes| adopt(&dir, "a", &part, bytes, record.origin.clone(), record.sha512.clone());
    assert!(matches!(again(&bytes), Err(ImageError::InTheWay { .. })));
    std::fs::remove_file(&golden).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &golden).unwrap();
    let error = again(&File::open(&part).unwrap()).unwrap_err();
    assert!(error.to_string().contains("it is a link"), "{error}");
}

#[test]
fn a_changed_file_is_caught_cheaply_by_its_stamp() {
    let (_keep, dir) = scratch();
    let record = adopted(&dir);
    std::fs::remove_file(dir.join(&record.file)).unwrap();
    std::fs::write(dir.join(&record.file), "dusk").unwrap();
    let error = verify_cheaply(&dir, &record).unwrap_err();
    assert!(matches!(error, ImageError::Changed { .. }), "{error}");
}

#[test]
fn a_copied_cache_is_read_once_and_believed_again() {
    let (_keep, dir) = scratch();
    let mut record = adopted(&dir);
    record.stamp.inode += 1;
    let kept = verify_cheaply(&dir, &record).unwrap().unwrap();
    assert_eq!(kept.stamp, Stamp::of(&dir.join(&record.file)).unwrap());
    assert_eq!(verify_cheaply(&dir, &kept).unwrap(), None);
}

#[test]
fn bytes_that_were_changed_behind_the_same_size_and_time_are_caught() {
    let (_keep, dir) = scratch();
    let record = adopted(&dir);
    let path = dir.join(&record.file);
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).unwrap();
    let now = Stamp::of(&path).unwrap();
    assert_eq!((now.inode, now.bytes, now.mtime_ns), (record.stamp.inode, record.stamp.bytes, record.stamp.mtime_ns));
    assert!(matches!(verify_cheaply(&dir, &record), Err(ImageError::Changed { .. })));
}

#[test]
fn a_file_that_others_can_write_to_is_read_each_time() {
    let (_keep, dir) = scratch();
    let mut record = adopted(&dir);
    let path = dir.join(&record.file);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o664)).unwrap();
    record.stamp = Stamp::of(&path).unwrap();
    record.sha512 = "0".repeat(128);
    assert!(matches!(verify_cheaply(&dir, &record), Err(ImageError::Changed { .. })));
}

#[test]
fn what_is_only_called_like_a_record_is_told_and_leads_nowhere() {
    let (_keep, dir) = scratch();
    let record = adopted(&dir);
    let path = path_of(&dir, &record);
    let text = |record: &Record| serde_json::to_vec(record).unwrap();
    std::fs::create_dir(dir.join("x.json")).unwrap();
    std::fs::write(dir.join("notes.json"), "{}").unwrap();
    std::fs::write(dir.join("other-name.json"), text(&record)).unwrap();
    std::os::unix::fs::symlink(&path, dir.join("link.json")).unwrap();
    nix::unistd::mkfifo(dir.join("pipe.json").as_std_path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let wrong = |change: &dyn Fn(&mut Record)| {
        let mut record = record.clone();
        change(&mut record);
        record
    };
    let all = read_all(&dir).unwrap();
    let why = |name: &str| {
        let found = all.iter().find(|found| found.path.file_name() == Some(name)).unwrap();
        found.record.as_ref().unwrap_err().clone()
    };
    assert_eq!(all.len(), 6);
    assert!(why("x.json").contains("a folder") && why("link.json").contains("a link"));
    assert!(why("pipe.json").contains("a pipe") && why("notes.json").contains("no record"));
    assert!(why("other-name.json").contains("its own name"));
    assert_eq!(records(&dir), std::slice::from_ref(&record));
    for bad in [
        wrong(&|record| record.file = "../../etc/passwd".into()),
        wrong(&|record| record.sha512 = "short".into()),
        wrong(&|record| record.image = "\u{1b}[2J".into()),
    ] {
        std::fs::write(&path, text(&bad)).unwrap();
        assert_eq!(records(&dir), []);
    }
}
