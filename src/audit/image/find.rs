//! Which file is meant: exactly one, or it is said how many there are.

use camino::{Utf8Path, Utf8PathBuf};

/// The one file that a path or a glob names, or why there is none such.
pub fn one(glob: &Utf8Path) -> Result<Utf8PathBuf, String> {
    let mut found = all(glob)?;
    match (found.pop(), found.len()) {
        (None, _) => Err(format!("there is no file {glob}")),
        (Some(image), 0) => Ok(image),
        (Some(last), others) => {
            let names: Vec<_> = found.iter().chain([&last]).filter_map(|path| path.file_name()).collect();
            Err(format!("{glob} names {} files and not one: {}", others + 1, names.join(", ")))
        }
    }
}

/// All files that it names, in the order of their names.
fn all(glob: &Utf8Path) -> Result<Vec<Utf8PathBuf>, String> {
    // A file whose own name has brackets or a star in it is that file.
    if glob.is_file() {
        return Ok(vec![glob.to_owned()]);
    }
    let paths = glob::glob(glob.as_str()).map_err(|error| format!("{glob} is no path and no glob: {error}"))?;
    let files = paths.filter_map(Result::ok).filter(|path| path.is_file());
    files
        .map(|path| Utf8PathBuf::from_path_buf(path).map_err(|path| format!("{} is not UTF-8", path.display())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_one_and_none_or_two_are_said() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let glob = dir.join("*.iso");
        assert!(one(&glob).unwrap_err().starts_with("there is no file"));
        std::fs::write(dir.join("a.iso"), "").unwrap();
        std::fs::create_dir(dir.join("folder.iso")).unwrap();
        assert_eq!(one(&glob).unwrap(), dir.join("a.iso"));
        std::fs::write(dir.join("b[1].iso"), "").unwrap();
        assert_eq!(one(&dir.join("b[1].iso")).unwrap(), dir.join("b[1].iso"));
        assert_eq!(one(&glob).unwrap_err(), format!("{glob} names 2 files and not one: a.iso, b[1].iso"));
    }
}
