//! A copy of a revision, in a folder of our own.
//!
//! What git ignores in the work tree is no part of any revision, and a run needs it all the same: the virtual environment,
//! installed collections, the vault's password. So the copy has links to it, as it would be there after `git checkout`. What is
//! neither tracked nor ignored is a part of the change, and stays out.

use super::{Revision, RevisionError, asked, git};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{DirError, names_in};
use host::hex::hex;
use host::ledger::Leak;
use host::ledger::scratch::{self, Scratch};
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;

/// How the name of the folder of a copy begins.
const PREFIX: &str = "from-";
/// Ansible's own folder, which a repository may have and neither track nor ignore.
const VENV: &str = ".venv";

/// A copy of a revision; it goes with this value.
#[derive(Debug)]
pub struct Checkout {
    scratch: Scratch,
    within: Utf8PathBuf,
}

/// Remove the copies that killed commands have left in a folder. Only where no other can be at work.
pub fn clear(within: &Utf8Path) -> Result<(Vec<Utf8PathBuf>, Vec<Leak>), DirError> {
    scratch::clear(within, PREFIX)
}

impl Checkout {
    /// Bring a revision into a new folder in `within`.
    pub fn make(of: &Revision, within: &Utf8Path) -> Result<Self, RevisionError> {
        let scratch = Scratch::new(within, PREFIX)?;
        let tree = scratch.path().join("tree");
        // An empty part would end the path with a slash.
        let within = if of.within.as_str().is_empty() { tree.clone() } else { tree.join(&of.within) };
        let checkout = Self { within, scratch };
        make_folder(&checkout.within)?;
        let index = checkout.scratch.path().join("index");
        let with_index = || git(&of.top).env("GIT_INDEX_FILE", &index);
        asked(format!("read the tree of {}", of.commit), with_index().args(["read-tree", &of.commit]))?;
        let to = format!("--prefix={tree}/");
        asked(format!("bring {} into {tree}", of.commit), with_index().args(["checkout-index", "--all", &to]))?;
        checkout.link_ignored(&of.top.join(&of.within))?;
        Ok(checkout)
    }

    /// The playbook repository in it.
    pub fn repo(&self) -> &Utf8Path {
        &self.within
    }

    fn link_ignored(&self, repo: &Utf8Path) -> Result<(), RevisionError> {
        for path in ignored(repo)? {
            let (from, to) = (repo.join(&path), self.within.join(&path));
            // A revision may have a link where the work tree has a folder: nothing is ever made beyond it.
            if self.leads_out(&path) || to.symlink_metadata().is_ok() || from.symlink_metadata().is_err() {
                continue;
            }
            make_folder(to.parent().unwrap_or(&self.within))?;
            std::os::unix::fs::symlink(&from, &to).map_err(|source| RevisionError::Io { path: to, source })?;
        }
        Ok(())
    }

    /// Whether something above a path in the copy is there and is no folder.
    fn leads_out(&self, path: &Utf8Path) -> bool {
        let above = path.ancestors().skip(1).filter(|above| !above.as_str().is_empty());
        above
            .map(|above| self.within.join(above))
            .any(|above| above.symlink_metadata().is_ok_and(|meta| !meta.is_dir()))
    }
}

/// What git ignores in a folder of the work tree, whole folders as one.
pub(super) fn ignored(repo: &Utf8Path) -> Result<Vec<Utf8PathBuf>, RevisionError> {
    let list = ["ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z", "--", "."];
    let said = asked(format!("ask what git ignores in {repo}"), git(repo).args(list))?;
    let mut paths: Vec<Utf8PathBuf> = vec![VENV.into()];
    paths.extend(said.stdout.split('\0').map(|path| path.trim_end_matches('/').into()));
    let inside = |path: &Utf8PathBuf| path.components().all(|part| matches!(part, camino::Utf8Component::Normal(_)));
    paths.retain(|path| !path.as_str().is_empty() && inside(path));
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn make_folder(path: &Utf8Path) -> Result<(), RevisionError> {
    std::fs::create_dir_all(path).map_err(|source| RevisionError::Io { path: path.to_owned(), source })
}

/// Folders of what git ignores that say nothing about what a playbook does: Ansible's version stands for its environment.
const NOT_STAMPED: [&str; 7] = [".venv", ".git", ".ansible", ".cache", "__pycache__", "node_modules", ".ruff_cache"];
/// Files of which the same holds, by how they end.
const NOT_STAMPED_FILES: [&str; 3] = [".log", ".retry", ".pyc"];

/// What tells whether what git ignores beside a revision is what it was: size and time of each file, hashed.
pub fn ignored_stamp(of: &Revision) -> Result<String, RevisionError> {
    let repo = of.top.join(&of.within);
    let (mut todo, mut seen) = (ignored(&repo)?, Sha256::new());
    while let Some(path) = todo.pop() {
        let name = path.file_name().unwrap_or_default();
        let Ok(meta) = repo.join(&path).symlink_metadata() else { continue };
        if NOT_STAMPED.contains(&name) || (meta.is_file() && NOT_STAMPED_FILES.iter().any(|end| name.ends_with(end))) {
            continue;
        }
        if meta.is_dir() {
            let all = repo.join(&path);
            let names = names_in(&all).map_err(host::ledger::LedgerError::from)?;
            todo.extend(names.into_iter().map(|name| path.join(name)));
        }
        let size = if meta.is_file() { meta.len() } else { 0 };
        let at = if meta.is_file() { (meta.mtime(), meta.mtime_nsec()) } else { (0, 0) };
        seen.update(format!("{path}\0{size} {at:?}\0"));
    }
    Ok(hex(seen.finalize()))
}
