//! The ways into a guest that questions can go.

use super::Shell;
use crate::ssh::{Session, SshError};
use std::time::Duration;

/// What a login over the network takes besides the command itself.
const SSH_SLACK: Duration = Duration::from_secs(10);

impl Shell for Session {
    type Error = SshError;

    fn is_root(&self) -> bool {
        false
    }

    fn most(&self) -> usize {
        1 << 20
    }

    async fn run(&mut self, command: &str, limit: Duration) -> Result<Vec<u8>, SshError> {
        Ok(self.ask(command, limit + SSH_SLACK).await?.stdout.into_bytes())
    }
}
