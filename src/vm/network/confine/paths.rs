//! Which paths a confined command asks for, and where they lead.

use super::Spec;
use std::fs::read_link;
use std::path::{Path, PathBuf};

/// What the command asks for: its folder, where its programs are, and what it was said to read.
pub(super) fn asked(spec: &Spec, cwd: &Path, homes: &[PathBuf]) -> Vec<PathBuf> {
    let programs: Vec<_> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let allowed = spec.allowed.visible.iter().chain(&spec.allowed.writable).map(|path| path.as_std_path());
    let homes = homes.iter().map(PathBuf::as_path);
    let all = [cwd].into_iter().chain(homes).chain(allowed).map(Path::to_owned).chain(programs);
    all.filter(|path| path.is_absolute()).collect()
}

/// The user's home, as the environment and as the account names it: a shell goes by the one, and Ansible and ssh by
/// the other.
pub(super) fn homes() -> Vec<PathBuf> {
    let account = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).ok().flatten();
    let named = std::env::var_os("HOME").map(PathBuf::from).into_iter().chain(account.map(|user| user.dir));
    // An account without a home has / there, and that is shown already.
    named.filter_map(|home| home.canonicalize().ok()).filter(|home| home.parent().is_some()).collect()
}

/// Whether it is a folder, and no link to another.
pub(super) fn is_itself(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|real| real == path)
}

/// Where a name leads, even if there is nothing (any more): systemd-resolved's file lies below /run.
pub(super) fn final_name(path: &Path) -> PathBuf {
    let link = |path: &Path| Some(path.parent()?.join(read_link(path).ok()?));
    path.canonicalize().ok().or_else(|| link(path)).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nowhere_still_says_where_it_leads() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("resolv.conf");
        std::os::unix::fs::symlink("gone/stub", &link).unwrap();
        assert_eq!(final_name(&link), dir.path().join("gone/stub"));
    }
}
