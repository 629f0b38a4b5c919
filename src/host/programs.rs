//! Where external programs are found.

use camino::{Utf8Path, Utf8PathBuf};

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
}
