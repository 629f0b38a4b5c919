use super::*;
use crate::seed::iso;

const TIME: u64 = 1_795_173_699;

/// An image of our own writer.
fn image(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let files: Vec<_> = files.iter().map(|(name, bytes)| iso::File::new(*name, bytes.clone())).collect();
    iso::write("BOMA-TEST", &files, TIME).unwrap()
}

fn open(bytes: Vec<u8>) -> Medium {
    Medium::of_memory("test.iso", bytes).unwrap()
}

fn three() -> Vec<u8> {
    image(&[("a.txt", vec![b'a'; 5000]), ("Long Name é", b"short".to_vec()), ("empty", Vec::new())])
}

#[test]
fn what_was_written_is_read_back() {
    let medium = open(three());
    assert_eq!((medium.volume_id(), medium.names()), ("BOMA-TEST", Names::RockRidge));
    assert_eq!(medium.volume_size(), medium.size());
    let files: Vec<_> = medium.files().map(|file| (file.path.as_str(), file.bytes)).collect();
    assert_eq!(files, [("/Long Name é", 5), ("/a.txt", 5000), ("/empty", 0)]);
    assert_eq!(medium.read("/a.txt", 5000).unwrap(), vec![b'a'; 5000]);
    assert_eq!(medium.read("/A.TXT", 5000).unwrap().len(), 5000, "in any case");
    assert_eq!(medium.read("/empty", 0).unwrap(), b"");
    assert_eq!(medium.damage(), []);
    assert_eq!((medium.boot_entries(), medium.partitions()), (&[][..], &[][..]));
}

#[test]
fn every_name_and_folder_size_is_read_back() {
    for count in [1, 17, 18, 40, 500] {
        let files: Vec<_> = (0..count).map(|n| (format!("{n:04}{}", "é".repeat(n % 50)), vec![n as u8; n])).collect();
        let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        let medium = open(image(&files));
        for (name, bytes) in &files {
            assert_eq!(medium.read(&format!("/{name}"), 1000).as_ref().unwrap(), bytes, "{name}");
        }
        assert_eq!(medium.files().count(), count);
    }
}

#[test]
fn without_rock_ridge_the_names_are_joliets() {
    let mut bytes = three();
    // The root's `SP` entry says that Rock Ridge is used.
    let at = bytes.windows(7).position(|window| window.starts_with(b"SP\x07\x01\xbe\xef")).unwrap();
    bytes[at] = b'X';
    let medium = open(bytes.clone());
    assert_eq!(medium.names(), Names::Joliet);
    assert_eq!(medium.read("/Long Name é", 10).unwrap(), b"short");
    bytes[17 * 2048 + 88] = b'?';
    let medium = open(bytes);
    assert_eq!(medium.names(), Names::Plain);
    assert_eq!(medium.files().map(|file| file.path.as_str()).collect::<Vec<_>>()[0], "/A.TXT");
}

#[test]
fn an_image_that_is_cut_off_names_what_is_missing() {
    let whole = three();
    let (says, has) = (whole.len() as u64, whole.len() as u64 - 3 * 2048);
    let medium = open(whole[..has as usize].to_vec());
    let told: Vec<_> = medium.damage().iter().map(ToString::to_string).collect();
    assert_eq!(told[0], format!("cut off: the volume has {says} bytes, the file {has}; 6144 are missing"));
    assert!(told[1].starts_with("/a.txt is cut off: it reaches to byte "), "{told:?}");
    let error = medium.read("/a.txt", 5000).unwrap_err().to_string();
    assert!(error.starts_with("/a.txt in test.iso reaches to byte ") && error.ends_with("it is cut off"), "{error}");
    assert_eq!(medium.files().count(), 3, "the folder itself is whole");
}

#[test]
fn an_image_that_ends_before_its_root_folder_says_so() {
    let medium = open(three()[..20 * 2048].to_vec());
    assert!(matches!(&medium.damage()[1], Damage::Folder { path, .. } if path == "/"), "{:?}", medium.damage());
}

#[test]
fn what_is_no_image_is_told_by_what_it_is() {
    let why = |bytes: &[u8]| Medium::of_memory("x", bytes.to_vec()).unwrap_err().to_string();
    assert_eq!(why(b""), "x is no boot image: it is an empty file");
    assert!(
        why(&[b"QFI\xfb".as_slice(), &[0; 40_000]].concat())
            .ends_with("it is a qcow2 of version 0; 2 and 3 can be read")
    );
    assert!(why(&[0; 40_000]).ends_with("it is zeros from its beginning on"));
    assert!(why(&[b"<html>".as_slice(), &[1; 40_000]].concat()).ends_with("it is an HTML page"));
}

#[test]
fn what_is_no_file_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = Utf8PathBuf::from_path_buf(dir.path().join("pipe")).unwrap();
    nix::unistd::mkfifo(pipe.as_std_path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = Medium::open(&pipe).unwrap_err().to_string();
    assert!(error.ends_with("is no boot image: it is not a file"), "{error}");
    assert!(matches!(Medium::open(Utf8Path::new("/gone.iso")), Err(MediumError::Io { .. })));
}

#[test]
fn a_file_that_is_not_there_or_too_large_is_refused() {
    let medium = open(three());
    let error = medium.read("/boot/a.txt", 10).unwrap_err().to_string();
    assert_eq!(error, "test.iso has no file /boot/a.txt; it has /a.txt");
    let error = medium.read("/a.txt", 4999).unwrap_err().to_string();
    assert_eq!(error, "/a.txt in test.iso has 5000 bytes, more than the 4999 that may be read of it");
}

#[test]
fn the_checksums_are_the_usual_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().join("x.iso")).unwrap();
    std::fs::write(&path, three()).unwrap();
    let sums = Medium::open(&path).unwrap().sums().unwrap();
    for (program, sum) in [("sha256sum", &sums.sha256), ("sha512sum", &sums.sha512)] {
        let out = std::process::Command::new(program).arg(&path).output().unwrap();
        assert!(String::from_utf8(out.stdout).unwrap().starts_with(sum.as_str()), "{program}");
    }
}

#[test]
fn every_cut_of_an_image_is_an_error_or_damage_and_no_panic() {
    let whole = three();
    for length in (0..whole.len()).step_by(509) {
        if let Ok(medium) = Medium::of_memory("x", whole[..length].to_vec()) {
            assert!(!medium.damage().is_empty(), "{length} of {} bytes", whole.len());
        }
    }
}
