//! What a change was applied on top of.

use super::Playbook;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How much of a commit's id is shown.
const SHORT: usize = 12;

/// The revision of the playbook repository that was applied first, and what was applied on top of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OnTop {
    /// The revision, as the user named it.
    pub rev: String,
    /// Its commit.
    pub commit: String,
    /// The commit that the work tree is of; none where nothing was committed.
    pub tree: Option<String>,
    /// Whether what was applied on top is not as in that commit.
    pub tree_changed: bool,
    /// How the machine came to have the revision applied.
    pub base: Base,
    /// The runs of its playbooks, where they were in this run. They have no part in the verdict.
    #[serde(default)]
    pub playbooks: Vec<Playbook>,
}

/// How a machine came to have a revision applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum Base {
    /// It was applied in this run, to the machine that went on.
    Applied {
        /// Why the machine was not saved for later runs.
        why: String,
    },
    /// It was applied in this run to a machine that was then saved, and went on from there.
    Made {
        /// By what it is found.
        key: String,
        /// When it was saved (UTC, RFC 3339).
        saved: String,
    },
    /// The machine went on from one that an earlier run had saved: nothing of it was applied in this one.
    Reused {
        /// By what it is found.
        key: String,
        /// When it was saved (UTC, RFC 3339).
        saved: String,
    },
}

fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

impl fmt::Display for OnTop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.commit.starts_with(&self.rev) {
            true => f.write_str(short(&self.commit)),
            false => write!(f, "{} ({})", self.rev, short(&self.commit)),
        }
    }
}

impl OnTop {
    /// Both sides and how the first came to be, in one line.
    pub fn line(&self) -> String {
        let tree = self.tree.as_deref().map_or("no commit", short);
        let changed = if self.tree_changed { " with uncommitted changes" } else { "" };
        format!("{tree}{changed} on top of {self}, {}", self.base)
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied { why } => write!(f, "which was applied in this run and is not kept: {why}"),
            Self::Made { key, .. } => write!(f, "which was applied in this run and is kept ({})", short(key)),
            Self::Reused { key, saved } => {
                write!(f, "which an earlier run had applied and kept ({}, {saved})", short(key))
            }
        }
    }
}
