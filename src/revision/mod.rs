//! A revision of the playbook repository, as git has it: what it is, what it lacks, and a copy of it ([`Checkout`]).
//!
//! The repository is only read: nothing of its index, its branches and its work trees changes, no hook runs and nothing is
//! fetched. It may be a folder inside a git repository; then all of that is brought, for a playbook may lead out of its folder.
//!
//! Not fuzzed: what is read here is what git prints of the user's own repository.

mod checkout;

pub use checkout::{Checkout, clear, ignored_stamp};

use camino::{Utf8Path, Utf8PathBuf};
use host::cmd::{Cmd, CmdError, Output};
use host::failure::{Blame, Exit};
use host::ledger::LedgerError;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long git may take for one answer; a checkout of a large repository is the longest.
const LIMIT: Duration = Duration::from_secs(300);
/// What keeps git from running programs of the repository's configuration that are not needed for reading it, from a sparse
/// view of it, and from the network.
const PLAIN: [&str; 4] =
    ["core.fsmonitor=false", "core.hooksPath=/dev/null", "core.sparseCheckout=false", "protocol.allow=never"];
/// How much of a commit's id is shown.
const SHORT: usize = 12;
/// The mode of a link, and of a submodule, in a tree.
const LINK: &str = "120000";
const SUBMODULE: &str = "160000";

/// A revision of a playbook repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// As the user named it.
    pub rev: String,
    /// Its commit.
    pub commit: String,
    /// The work tree of the git repository, absolute.
    pub top: Utf8PathBuf,
    /// Where the playbook repository lies in it; empty where it is all of it.
    pub within: Utf8PathBuf,
}

/// What stands in the work tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkingTree {
    /// The commit that it is of; none where nothing was committed yet.
    pub commit: Option<String>,
    /// Whether something in the playbook repository's folder is not as in that commit.
    pub changed: bool,
}

/// Why there is no such revision, or no copy of it.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// No git repository, or one that git does not open.
    #[error("--from {rev}: {repo} is not in a git repository that can be read: {said}")]
    NotGit {
        /// The revision.
        rev: String,
        /// The playbook repository.
        repo: Utf8PathBuf,
        /// Git's words.
        said: String,
    },
    /// No such commit.
    #[error("--from {rev}: {repo} has no such commit")]
    Unknown {
        /// The revision.
        rev: String,
        /// The playbook repository.
        repo: Utf8PathBuf,
    },
    /// A file that the profile names is not there.
    #[error("--from {rev}: {what} {path} does not exist in {commit}")]
    Lacks {
        /// The revision.
        rev: String,
        /// Its commit.
        commit: String,
        /// What it is to be.
        what: &'static str,
        /// Where it should be, in the playbook repository.
        path: Utf8PathBuf,
    },
    /// A part of it is in another repository.
    #[error("--from {rev}: {path} is a submodule in {commit}, and submodules are not brought")]
    Submodule {
        /// The revision.
        rev: String,
        /// Its commit.
        commit: String,
        /// The first one.
        path: String,
    },
    /// Git failed.
    #[error("cannot {what}")]
    Git {
        /// What it was to do.
        what: String,
        /// Why not.
        #[source]
        source: Box<CmdError>,
    },
    /// The copy cannot be made.
    #[error("cannot make {path}")]
    Io {
        /// Where.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Its folder cannot be had.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Blame for RevisionError {
    fn exit(&self) -> Exit {
        match self {
            Self::NotGit { .. } | Self::Unknown { .. } | Self::Lacks { .. } | Self::Submodule { .. } => Exit::Usage,
            Self::Git { source, .. } => source.exit(),
            Self::Io { .. } => Exit::Host,
            Self::Ledger(error) => error.exit(),
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::NotGit { .. } => Some("leave --from out, or give --repo the repository that has the history".into()),
            Self::Unknown { repo, .. } => Some(format!("`git -C {repo} log --oneline` lists what there is; fetch what is missing first")),
            Self::Lacks { .. } => Some(
                "choose a revision that has it; or let the profile name what both have, and apply the rest by a playbook that \
                 both have"
                    .into(),
            ),
            Self::Submodule { .. } => Some("check the revision out by hand, submodules too, `up` from there with --repo, then `apply`".into()),
            Self::Git { source, .. } => match **source {
                CmdError::Start { .. } => Some("install git; only --from needs it".into()),
                _ => source.next(),
            },
            Self::Io { .. } => Some("see that the disk below BOMA_STATE is not full".into()),
            Self::Ledger(error) => error.next(),
        }
    }
}

/// A commit's id as it is shown.
pub fn short(commit: &str) -> &str {
    commit.get(..SHORT).unwrap_or(commit)
}

/// Git in a folder, with nothing of the user's environment but the home.
fn git(folder: &Utf8Path) -> Cmd {
    let settings = PLAIN.iter().flat_map(|setting| ["-c", *setting]);
    let git =
        Cmd::new("git").args(["-C", folder.as_str(), "--no-optional-locks", "--no-replace-objects"]).args(settings);
    // A partial clone would fetch what it lacks.
    git.env("GIT_NO_LAZY_FETCH", "1").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").limit(LIMIT)
}

fn failed(what: impl Into<String>, source: CmdError) -> RevisionError {
    RevisionError::Git { what: what.into(), source: Box::new(source) }
}

fn asked(what: impl Into<String>, git: Cmd) -> Result<Output, RevisionError> {
    git.run().map_err(|source| failed(what, source))
}

impl Revision {
    /// Find a revision of the repository in a folder.
    pub fn of(repo: &Utf8Path, rev: &str) -> Result<Self, RevisionError> {
        let place = git(repo).args(["rev-parse", "--show-toplevel", "--show-prefix"]).run();
        let place = place.map_err(|error| match error {
            CmdError::Failed { output, .. } => {
                let said = output.stderr.lines().next().unwrap_or_default().trim_start_matches("fatal: ").to_owned();
                RevisionError::NotGit { rev: rev.into(), repo: repo.into(), said }
            }
            source => failed(format!("ask git about {repo}"), source),
        })?;
        let mut lines = place.stdout.lines();
        let (top, within) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let unknown = || RevisionError::Unknown { rev: rev.into(), repo: repo.into() };
        // What looks like an option is no revision's name.
        if rev.is_empty() || rev.starts_with('-') {
            return Err(unknown());
        }
        let commit = git(repo).args(["rev-parse", "--quiet", "--verify"]).arg(format!("{rev}^{{commit}}")).run();
        let commit = match commit {
            Ok(said) => said.stdout.trim().to_owned(),
            Err(CmdError::Failed { .. }) => return Err(unknown()),
            Err(source) => return Err(failed(format!("look for {rev} in {repo}"), source)),
        };
        let within = within.trim_end_matches('/').into();
        Ok(Self { rev: rev.into(), commit, top: top.into(), within })
    }

    /// Refuse one that lacks what the profile names (what it is, and where in the playbook repository), or that has
    /// submodules there.
    pub fn must_have(&self, wanted: &[(&'static str, Utf8PathBuf)]) -> Result<(), RevisionError> {
        let what = format!("list the files of {}", self.commit);
        let listed = asked(what, git(&self.top).args(["ls-tree", "-r", "-z", "--full-tree", &self.commit]))?;
        let entries: Vec<_> = listed.stdout.split('\0').filter_map(entry).collect();
        let (rev, commit) = (self.rev.clone(), short(&self.commit).to_owned());
        let submodule = entries.iter().find(|(mode, path)| *mode == SUBMODULE && path.starts_with(&self.within));
        if let Some((_, path)) = submodule {
            return Err(RevisionError::Submodule { rev, commit, path: path.to_string() });
        }
        // Below a link it can only be known when all is there; then the preflight looks.
        let has = |path: &Utf8Path| {
            entries.iter().any(|(mode, entry)| entry.starts_with(path) || (*mode == LINK && path.starts_with(entry)))
        };
        match wanted.iter().find(|(_, path)| !has(&self.within.join(path))) {
            None => Ok(()),
            Some((what, path)) => Err(RevisionError::Lacks { rev, commit, what, path: path.clone() }),
        }
    }

    /// What stands in the work tree beside it.
    pub fn beside(&self) -> Result<WorkingTree, RevisionError> {
        let repo = self.top.join(&self.within);
        let head = git(&repo).args(["rev-parse", "--quiet", "--verify", "HEAD^{commit}"]).run();
        let commit = match head {
            Ok(said) => Some(said.stdout.trim().to_owned()),
            Err(CmdError::Failed { .. }) => None,
            Err(source) => return Err(failed(format!("look for the commit of {repo}"), source)),
        };
        let status = git(&repo).args(["status", "--porcelain", "--untracked-files=normal", "--", "."]);
        let changed = !asked(format!("ask what has changed in {repo}"), status)?.stdout.trim().is_empty();
        Ok(WorkingTree { commit, changed })
    }
}

/// `MODE TYPE ID<tab>PATH`.
fn entry(line: &str) -> Option<(&str, &Utf8Path)> {
    let (about, path) = line.split_once('\t')?;
    Some((about.split(' ').next()?, path.into()))
}

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.commit.starts_with(&self.rev) {
            true => f.write_str(short(&self.commit)),
            false => write!(f, "{} ({})", self.rev, short(&self.commit)),
        }
    }
}

impl std::fmt::Display for WorkingTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = self.commit.as_deref().map_or("no commit", short);
        write!(f, "{of}{}", if self.changed { " with uncommitted changes" } else { "" })
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
