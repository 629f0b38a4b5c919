//! A folder of our own: the first entry of the ledger in it is the folder itself. That entry alone says that it is ours,
//! whatever it is called and wherever it lies; a folder without it is left as it is.

use super::{Change, Leak, Ledger, LedgerError, Line};
use crate::dirs::{DirError, is_same_file, make_private};
use crate::failure::with_causes;
use crate::shell::quoted;
use camino::Utf8Path;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::DirBuilderExt;

/// What the ledger in a folder is called.
pub const FILE: &str = "ledger.ndjson";
/// The longest line of a ledger that is read for a look, in bytes.
const LINE_LIMIT: u64 = 64 << 10;

/// Whose a folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Ours: its ledger says so.
    Ours,
    /// Ours, by a command that was killed before it wrote the first entry: there is nothing in it.
    Begun,
    /// Not ours, why, and what to do about it.
    NotOurs(String),
    /// It could not be looked at, and why.
    Unseen(String),
    /// It is not there.
    Gone,
}

/// Make a folder that is not there yet, for its owner alone, and its ledger. What is in it from now on is ours.
pub fn make(folder: &Utf8Path) -> Result<Ledger, LedgerError> {
    if let Some(parent) = folder.parent() {
        make_private(parent)?;
    }
    let io = |source| DirError::Io { path: folder.to_owned(), source };
    std::fs::DirBuilder::new().mode(0o700).create(folder).map_err(io)?;
    adopt(folder)
}

/// The ledger of a folder that was made just now, and that nobody else knows yet.
pub fn adopt(folder: &Utf8Path) -> Result<Ledger, LedgerError> {
    let mut ledger = Ledger::open(&folder.join(FILE))?;
    ledger.adopt(Change::Folder { path: folder.to_owned() })?;
    Ok(ledger)
}

/// Undo the ledger of a folder, which ends with the folder itself. One that is not ours is left byte for byte as it is,
/// and told as still there, with the command for it.
pub fn remove(folder: &Utf8Path) -> Vec<Leak> {
    let left = |why: String| vec![Leak { what: format!("folder {folder}"), why }];
    match whose(folder) {
        Whose::Gone => Vec::new(),
        Whose::NotOurs(why) | Whose::Unseen(why) => left(why),
        Whose::Begun => match remove_begun(folder) {
            Err(e) if e.kind() != ErrorKind::NotFound => left(format!("it cannot be removed: {e}")),
            _ => Vec::new(),
        },
        Whose::Ours => match Ledger::open(&folder.join(FILE)) {
            Ok(ledger) => ledger.undo(),
            Err(error @ LedgerError::Damaged { .. }) => {
                left(format!("{}: it lists what to undo by hand; then {}", with_causes(&error), by_hand(folder)))
            }
            Err(error) => left(with_causes(&error)),
        },
    }
}

/// Look whose a folder is. Nothing is changed.
pub fn whose(folder: &Utf8Path) -> Whose {
    let not_ours = |why: String| Whose::NotOurs(format!("{why}, so it is left as it is; {}", unneeded(folder)));
    let unseen = |path: &Utf8Path, e: std::io::Error| Whose::Unseen(format!("cannot look at {path}: {e}"));
    let meta = match folder.symlink_metadata() {
        Ok(meta) => meta,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Whose::Gone,
        Err(e) => return unseen(folder, e),
    };
    if !meta.is_dir() {
        return not_ours("it is no folder".into());
    }
    let path = folder.join(FILE);
    let first = match path.symlink_metadata() {
        Ok(ledger) if !ledger.is_file() => return not_ours(format!("{path} is no file")),
        Ok(_) => match first_line(&path) {
            Ok(line) => line,
            Err(e) => return unseen(&path, e),
        },
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return unseen(&path, e),
    };
    let Some(first) = first else {
        return match has_no_more(folder) {
            Ok(true) => Whose::Begun,
            Ok(false) => not_ours("it has no ledger that says what in it is ours".into()),
            Err(e) => unseen(folder, e),
        };
    };
    match serde_json::from_slice(&first) {
        Ok(Line::Intent { change: Change::Folder { path }, .. }) if is_same(&path, folder, &meta) => Whose::Ours,
        Ok(Line::Intent { change, .. }) => {
            not_ours(format!("its ledger {path} is another's: it begins with {change} and not with this folder"))
        }
        Ok(_) => not_ours(format!("its ledger {path} does not begin with this folder")),
        Err(source) => not_ours(with_causes(&LedgerError::Damaged { path, line: 1, source })),
    }
}

fn by_hand(folder: &Utf8Path) -> String {
    format!("`rm -r -- {}`", quoted(folder.as_str()))
}

fn unneeded(folder: &Utf8Path) -> String {
    format!("if it is not needed: {}", by_hand(folder))
}

/// The first line of a ledger; none if it is empty.
fn first_line(path: &Utf8Path) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    BufReader::new(std::fs::File::open(path)?.take(LINE_LIMIT)).read_until(b'\n', &mut line)?;
    Ok((!line.is_empty()).then_some(line))
}

/// Whether there is nothing in a folder but, perhaps, a ledger.
fn has_no_more(folder: &Utf8Path) -> std::io::Result<bool> {
    for entry in folder.read_dir_utf8()? {
        if entry?.file_name() != FILE {
            return Ok(false);
        }
    }
    Ok(true)
}

fn remove_begun(folder: &Utf8Path) -> std::io::Result<()> {
    match std::fs::remove_file(folder.join(FILE)) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => std::fs::remove_dir(folder),
    }
}

/// Whether the folder that a ledger names is the one that it lies in: a copy of it, or one that was moved, is not.
fn is_same(named: &Utf8Path, folder: &Utf8Path, meta: &std::fs::Metadata) -> bool {
    named == folder || named.symlink_metadata().is_ok_and(|of| is_same_file(&of, meta))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch;

    /// What is there, as it is now.
    fn tree(dir: &Utf8Path) -> String {
        let list = "find . -printf '%y %m %s %T@ %C@ %p\\n' | sort; find . -type f | sort | xargs -r sha256sum";
        crate::cmd::Cmd::new("sh").args(["-c", &format!("cd {dir}; {list}")]).run().unwrap().stdout
    }

    #[track_caller]
    fn left(folder: &Utf8Path, words: &str) {
        let before = tree(folder);
        let leaks = remove(folder);
        let [Leak { why, .. }] = &leaks[..] else { panic!("{leaks:?}") };
        assert!(why.contains(words) && why.contains(&format!("`rm -r -- {folder}`")), "{why}");
        assert_eq!(tree(folder), before);
    }

    #[test]
    fn a_folder_of_our_own_goes_with_all_that_is_in_it() {
        let (_keep, dir) = scratch();
        let folder = dir.join("vms/askari");
        make(&folder).unwrap();
        std::fs::create_dir(folder.join("keys")).unwrap();
        std::fs::write(folder.join("keys/key"), "x").unwrap();
        assert_eq!(whose(&folder), Whose::Ours);
        assert_eq!(remove(&folder), []);
        assert_eq!((whose(&folder), remove(&folder)), (Whose::Gone, vec![]));
    }

    #[test]
    fn what_is_there_already_is_not_made_ours() {
        let (_keep, dir) = scratch();
        std::fs::create_dir(dir.join("notes")).unwrap();
        assert!(make(&dir.join("notes")).is_err());
        assert!(!dir.join("notes").join(FILE).exists());
    }

    #[test]
    fn a_folder_that_was_only_begun_is_removed() {
        let (_keep, dir) = scratch();
        let folder = dir.join("begun");
        for ledger in [false, true] {
            std::fs::create_dir(&folder).unwrap();
            if ledger {
                std::fs::write(folder.join(FILE), "").unwrap();
            }
            assert_eq!(whose(&folder), Whose::Begun);
            assert_eq!(remove(&folder), []);
            assert!(!folder.exists());
        }
    }

    #[test]
    fn a_folder_whose_ledger_does_not_begin_with_it_stays_byte_for_byte_with_the_command_for_it() {
        let (_keep, dir) = scratch();
        let folder = dir.join("f");
        let ledger = |text: &str| {
            std::fs::create_dir_all(folder.join("deep")).unwrap();
            std::fs::write(folder.join("deep/file"), "precious").unwrap();
            std::fs::write(folder.join(FILE), text).unwrap();
        };
        ledger("");
        left(&folder, "no ledger");
        std::fs::remove_file(folder.join(FILE)).unwrap();
        left(&folder, "no ledger");
        for text in ["theirs", "theirs\n", "{}\n", "\n", "\0\0\0\n", r#"{"step":"intent","seq":0,"cha"#] {
            ledger(text);
            left(&folder, "damaged at line 1");
        }
        ledger("{\"step\":\"done\",\"seq\":0}\n");
        left(&folder, "does not begin with this folder");
        std::fs::remove_file(folder.join(FILE)).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.join(FILE)).unwrap();
        left(&folder, "is no file");
    }

    #[test]
    fn a_copy_of_a_folder_of_ours_is_not_ours_and_neither_is_a_link_to_one() {
        let (_keep, dir) = scratch();
        let (own, copy, link) = (dir.join("own"), dir.join("copy"), dir.join("link"));
        make(&own).unwrap();
        crate::cmd::Cmd::new("cp").args(["-a", own.as_str(), copy.as_str()]).run().unwrap();
        std::os::unix::fs::symlink(&own, &link).unwrap();
        left(&copy, "is another's");
        left(&link, "it is no folder");
        assert_eq!(whose(&own), Whose::Ours, "what the copy names is still there");
        // By another name for the same place it is ours.
        std::os::unix::fs::symlink(&dir, dir.join("way")).unwrap();
        assert_eq!(remove(&dir.join("way/own")), []);
        assert!(!own.exists());
    }

    #[test]
    fn a_ledger_that_is_damaged_further_down_is_told_with_its_line_and_stays() {
        let (_keep, dir) = scratch();
        let folder = dir.join("f");
        make(&folder).unwrap();
        let mut text = std::fs::read(folder.join(FILE)).unwrap();
        text.extend(b"nonsense\n");
        std::fs::write(folder.join(FILE), text).unwrap();
        left(&folder, "damaged at line 3");
    }
}
