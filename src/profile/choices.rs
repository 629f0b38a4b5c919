//! What a profile chooses between.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done about a guest that has no package lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PackageLists {
    /// It fetches them: a host that was set up long ago has them.
    #[default]
    Fetch,
    /// Nothing: the playbooks do it, or need none.
    Leave,
}

/// What becomes of a run that does not know all that it must never reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unresolved {
    /// It does not start.
    #[default]
    Refuse,
    /// It says so, and refuses the names.
    Note,
}
