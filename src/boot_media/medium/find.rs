//! Exactly one file at a path or a glob: an audit of the wrong image proves nothing.

use super::error::MediumError;
use camino::Utf8PathBuf;
use std::path::{Path, PathBuf};

/// Neighbours that are named when nothing matches.
const NAMED: usize = 5;

/// The one file that matches a path or a glob (`*`, `?`, `[a-z]`, `**`).
///
/// A path that exists as it is written is no pattern. Folders do not match, and neither do hidden files unless the
/// pattern begins with a dot.
///
/// # Errors
/// [`MediumError::None`] and [`MediumError::Several`], which name what is there; a pattern that is none.
pub fn find_one(pattern: &str) -> Result<Utf8PathBuf, MediumError> {
    let literal = Path::new(pattern);
    let found = if literal.is_file() { vec![literal.to_owned()] } else { matches(pattern)? };
    let mut names: Vec<_> = found.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    names.sort();
    match (names.len(), names.pop()) {
        (1, Some(name)) => Ok(name.into()),
        (_, None) => Err(MediumError::None { pattern: pattern.to_owned(), but: instead(pattern) }),
        (_, Some(last)) => {
            names.push(last);
            Err(MediumError::Several { pattern: pattern.to_owned(), found: names })
        }
    }
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>, MediumError> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let found = glob::glob_with(pattern, options)
        .map_err(|e| MediumError::Pattern { pattern: pattern.to_owned(), why: e.to_string() })?;
    let mut files = Vec::new();
    for path in found {
        // A folder that cannot be read may hold a second image.
        let path = path.map_err(|e| MediumError::Io {
            path: e.path().to_string_lossy().into_owned().into(),
            source: std::io::Error::new(e.error().kind(), e.error().to_string()),
        })?;
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

/// What there is instead, for a pattern without a match.
fn instead(pattern: &str) -> String {
    let path = Path::new(pattern);
    if path.is_dir() {
        return format!(
            ": it is a folder; name an image in it, or a glob such as {}/*.iso",
            pattern.trim_end_matches('/')
        );
    }
    if path.exists() {
        return ": it is no regular file".into();
    }
    // The lowest folder of the pattern that is written out and exists.
    let fixed = |folder: &&Path| !folder.to_string_lossy().contains(['*', '?', '[']);
    let Some(folder) = path.ancestors().skip(1).find(fixed) else { return String::new() };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = folder.read_dir() else { return format!(": there is no folder {}", folder.display()) };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    match names.len() {
        0 => format!(": {} is empty", folder.display()),
        count if count > NAMED => format!(": {} holds {}, …", folder.display(), names[..NAMED].join(", ")),
        _ => format!(": {} holds {}", folder.display(), names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let path = dir.path().to_str().unwrap().to_owned();
        (dir, path)
    }

    #[test]
    fn one_match_is_the_image_and_several_are_all_named() {
        let (_dir, path) = folder(&["a.iso", "b.iso", "c.img", ".hidden.iso"]);
        assert_eq!(find_one(&format!("{path}/a*.iso")).unwrap(), format!("{path}/a.iso"));
        assert_eq!(find_one(&format!("{path}/c.img")).unwrap(), format!("{path}/c.img"));
        let error = find_one(&format!("{path}/*.iso")).unwrap_err().to_string();
        assert_eq!(error, format!("2 files match {path}/*.iso, and it must be one: {path}/a.iso, {path}/b.iso"));
    }

    #[test]
    fn no_match_says_what_is_there() {
        let (_dir, path) = folder(&["c.img"]);
        let said = |pattern: &str| find_one(&format!("{path}{pattern}")).unwrap_err().to_string();
        assert_eq!(said("/*.iso"), format!("no file matches {path}/*.iso: {path} holds c.img"));
        assert!(said("").contains("it is a folder"), "{}", said(""));
        let device = find_one("/dev/zero").unwrap_err().to_string();
        assert_eq!(device, "no file matches /dev/zero: it is no regular file");
        assert!(said("/result/iso/*.iso").contains(&format!("there is no folder {path}/result/iso")));
        assert!(said("/[.iso").contains("is not a usable pattern"));
    }

    #[test]
    fn a_path_that_exists_is_no_pattern() {
        let (_dir, path) = folder(&["nixos-[test].iso", "nixos-t.iso"]);
        assert_eq!(find_one(&format!("{path}/nixos-[test].iso")).unwrap(), format!("{path}/nixos-[test].iso"));
    }
}
