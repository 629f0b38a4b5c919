//! The second way in: for the day on which the first one is dead.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A second way in that the host promises besides the inventory's. It has to answer with it, before the reboot and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// sshd's port.
    pub port: u16,
    /// The user; the profile's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl BreakGlass {
    /// The check that a host with one has.
    pub const CHECK: &str = "break_glass";
}
