//! What a fetch or a build that was killed has left in the cache.

use super::build;
use super::catalogue::is_name;
use super::error::ImageError;
use super::fetch::{Note, note_path};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{Use, check, names_in};
use host::ledger::Leak;
use host::lock::{Lock, LockError};
use host::presence::Presence;
use host::shell::quoted;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

/// Remove it, as far as it is this user's and its maker is gone: whoever fetches or builds an image holds its lock.
/// Says what went, and what is still there and why.
pub fn clear(cache: &Utf8Path) -> Result<(Vec<Utf8PathBuf>, Vec<Leak>), ImageError> {
    check(cache, Use::Cache)?;
    let (mut removed, mut leaks) = (Vec::new(), Vec::new());
    let own = rustix::process::geteuid();
    for (image, path) in candidates(cache)? {
        let all = [path.clone(), note_path(&path)];
        if !all.iter().any(|path| path.symlink_metadata().is_ok_and(|meta| meta.uid() == own.as_raw())) {
            continue;
        }
        let who = format!("`boma-qemu prune`, pid {}", std::process::id());
        let _lock = match Lock::try_take(&cache.join(format!(".{image}.lock")), &who) {
            Err(LockError::Held { .. }) => continue,
            taken => taken?,
        };
        let cleared = match build::image_of(path.file_name().unwrap_or_default()) {
            Some(_) => build::clear(&path, own.is_root())?,
            None => clear_part(&path, own.as_raw())?,
        };
        match cleared {
            Ok(()) => removed.push(path),
            Err(why) => leaks.push(Leak { what: path.into_string(), why }),
        }
    }
    Ok((removed, leaks))
}

/// What has the name of something unfinished, with the image that it is of.
fn candidates(cache: &Utf8Path) -> Result<BTreeSet<(String, Utf8PathBuf)>, ImageError> {
    let own = format!(".{}", rustix::process::geteuid().as_raw());
    let mut found = BTreeSet::new();
    for name in names_in(cache)? {
        let part = name.strip_suffix(".json").unwrap_or(&name);
        let image = match part.strip_prefix('.').and_then(|part| part.strip_suffix(".part")) {
            // With the user's number behind the image's name, or, by older versions, without.
            Some(stem) => Some((stem.strip_suffix(&own).unwrap_or(stem), part)),
            None => build::image_of(&name).map(|image| (image, &*name)),
        };
        if let Some((image, name)) = image.filter(|(image, _)| is_name(image)) {
            found.insert((image.to_owned(), cache.join(name)));
        }
    }
    Ok(found)
}

/// Remove a partial file. The note beside it says that it is one of ours; an empty one has no note yet.
fn clear_part(part: &Utf8Path, own: u32) -> Result<Result<(), String>, ImageError> {
    let note = note_path(part);
    let unneeded =
        |why: &str| format!("{why}, so it is left as it is; if it is not needed: `rm -- {}`", quoted(part.as_str()));
    let is_own = |path: &Utf8Path| match path.symlink_metadata() {
        Ok(meta) => meta.is_file() && meta.uid() == own && meta.nlink() == 1,
        Err(e) => e.kind() == ErrorKind::NotFound,
    };
    if !(is_own(part) && is_own(&note)) {
        return Ok(Err(unneeded("it is not a file of this user's alone")));
    }
    let is_empty = part.metadata().is_ok_and(|meta| meta.len() == 0) && Presence::of(&note).is_gone();
    if !is_empty && Note::read(&note).is_none() {
        return Ok(Err(unneeded("no note beside it says that it is a part of an image")));
    }
    // The note last: it says whose the part is.
    for path in [part, &note] {
        match std::fs::remove_file(path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(ImageError::Io { doing: "remove", path: path.to_owned(), source });
            }
            _ => {}
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::ledger::folder;
    use host::testing::scratch;

    fn names(dir: &Utf8Path) -> Vec<String> {
        names_in(dir).unwrap().into_iter().filter(|name| !name.ends_with(".lock")).collect()
    }

    const NOTE: &str = r#"{"address":"https://x/y","sha512":"0","validator":null}"#;

    #[test]
    fn what_a_killed_fetch_or_build_left_goes() {
        let (_keep, dir) = scratch();
        let own = rustix::process::geteuid().as_raw();
        let build = dir.join(".build-debian-13-77");
        std::fs::create_dir(&build).unwrap();
        drop(folder::adopt(&build).unwrap());
        std::fs::create_dir(build.join("root")).unwrap();
        std::fs::create_dir(dir.join(".build-a-8")).unwrap();
        for part in [".debian-13.part".to_owned(), format!(".a.{own}.part")] {
            std::fs::write(dir.join(&part), "half").unwrap();
            std::fs::write(dir.join(part + ".json"), NOTE).unwrap();
        }
        std::fs::write(dir.join(format!(".empty.{own}.part")), "").unwrap();
        std::fs::write(dir.join(".b.part.json"), NOTE).unwrap();
        let (removed, leaks) = clear(&dir).unwrap();
        assert_eq!((removed.len(), leaks), (6, vec![]));
        assert_eq!(names(&dir), [""; 0]);
    }

    #[test]
    fn what_is_at_work_stays() {
        let (_keep, dir) = scratch();
        std::fs::write(dir.join(".a.part"), "half").unwrap();
        std::fs::write(dir.join(".a.part.json"), NOTE).unwrap();
        let _held = Lock::try_take(&dir.join(".a.lock"), "a fetch").unwrap();
        assert_eq!(clear(&dir).unwrap(), (vec![], vec![]));
        assert_eq!(names(&dir), [".a.part", ".a.part.json"]);
    }

    #[test]
    fn what_only_has_such_a_name_stays_and_is_told_with_the_command_for_it() {
        let (_keep, dir) = scratch();
        std::fs::create_dir_all(dir.join(".build-a-1/notes")).unwrap();
        std::fs::write(dir.join(".a.part"), "precious").unwrap();
        std::fs::write(dir.join(".c.part"), "precious").unwrap();
        std::fs::write(dir.join(".c.part.json"), "{}").unwrap();
        std::os::unix::fs::symlink("/etc", dir.join(".d.part")).unwrap();
        // No name of ours at all.
        for name in [".build-x", ".build-a-b", "a.part", "..part", ".A B.part"] {
            std::fs::write(dir.join(name), "precious").unwrap();
        }
        let before = names(&dir);
        let (removed, leaks) = clear(&dir).unwrap();
        assert_eq!((removed, leaks.len()), (vec![], 4));
        assert!(leaks.iter().all(|leak| leak.why.contains(&leak.what) && leak.why.contains("`rm ")), "{leaks:?}");
        assert_eq!(names(&dir), before);
    }

    #[test]
    fn a_cache_that_is_not_there_has_nothing_of_ours() {
        assert_eq!(clear("/nonexistent/cache".into()).unwrap(), (vec![], vec![]));
    }
}
