//! Where external programs are found.

use camino::{Utf8Path, Utf8PathBuf};
use std::fs::File;
use std::io::Read;

/// Folders of administration programs (`nft`, `dnsmasq`, `mke2fs`), which an ordinary user's PATH lacks
/// on Debian.
const ADMIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The PATH of this process; without one, where `execvp` looks then.
pub fn path() -> String {
    std::env::var("PATH").unwrap_or_else(|_| "/bin:/usr/bin".into())
}

/// That PATH with the folders of administration programs at its end.
pub fn widened(path: &str) -> String {
    let mut folders: Vec<&str> = path.split(':').filter(|folder| !folder.is_empty()).collect();
    for folder in ADMIN {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders.join(":")
}

/// The program that `execvp` would start by this name, or none.
pub fn find(path: &str, program: &str) -> Option<Utf8PathBuf> {
    path.split(':')
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| Utf8Path::new(folder).join(program))
        .find(|file| file.is_file() && rustix::fs::access(file.as_std_path(), rustix::fs::Access::EXEC_OK).is_ok())
}

/// The interpreter that the first line of a script names, absolute; none for what is no script, and where `env` looks for it.
/// A path that the kernel would not take there, being too long or with a blank, pip writes into the second line.
pub fn interpreter(script: &Utf8Path) -> Option<Utf8PathBuf> {
    let mut start = Vec::new();
    File::open(script).ok()?.take(4096).read_to_end(&mut start).ok()?;
    let start = String::from_utf8_lossy(&start);
    let mut lines = start.lines();
    let first = lines.next()?.strip_prefix("#!")?.trim();
    let path = match first {
        "/bin/sh" => lines.next()?.strip_prefix("'''exec' ")?.trim_start_matches('"').split('"').next()?,
        _ => first.split_whitespace().next()?,
    };
    Some(Utf8PathBuf::from(path)).filter(|path| path.is_absolute() && path.file_name() != Some("env"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn administration_folders_come_last_and_only_once() {
        assert_eq!(widened("/usr/bin:/usr/sbin"), "/usr/bin:/usr/sbin:/usr/local/sbin:/sbin");
        assert_eq!(widened(""), "/usr/local/sbin:/usr/sbin:/sbin");
    }

    #[test]
    fn a_file_that_cannot_be_executed_is_no_program() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("nft");
        std::fs::write(&file, "").unwrap();
        let path = dir.path().to_str().unwrap();
        assert_eq!(find(path, "nft"), None);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(path, "nft").unwrap(), file.to_str().unwrap());
    }

    #[test]
    fn the_interpreter_of_a_script_is_in_its_first_line_or_as_pip_writes_it_in_its_second() {
        let dir = tempfile::tempdir().unwrap();
        let script = Utf8PathBuf::from_path_buf(dir.path().join("script")).unwrap();
        for (text, expected) in [
            ("#!/venv/bin/python\nimport sys\n", Some("/venv/bin/python")),
            ("#! /usr/bin/python3 -I\n", Some("/usr/bin/python3")),
            ("#!/bin/sh\n'''exec' \"/a b/bin/python\" \"$0\" \"$@\"\n' '''\n", Some("/a b/bin/python")),
            ("#!/bin/sh\nexec true\n", None),
            ("#!/usr/bin/env python3\n", None),
            ("\x7fELF", None),
            ("", None),
        ] {
            std::fs::write(&script, text).unwrap();
            assert_eq!(interpreter(&script).as_deref(), expected.map(Utf8Path::new), "{text}");
        }
        assert_eq!(interpreter(&script.join("none")), None);
    }
}
