//! A connection that the stages of a command share: a login takes a second and more where the CPU is emulated.

use super::{Session, Ssh, SshError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A connection to one guest that is kept open, or none. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Kept(Arc<Mutex<Option<Arc<Session>>>>);

impl Kept {
    /// The connection, if the guest still answers on it; otherwise a new one, which is kept. A caller that has to know that a
    /// login is possible makes a session of its own.
    pub async fn session(&self, ssh: &Ssh, limit: Duration) -> Result<Arc<Session>, SshError> {
        let kept = self.lock().clone();
        match kept {
            Some(session) if session.answers().await => Ok(session),
            _ => Ok(self.share(ssh.session(limit).await?)),
        }
    }

    /// The same, and from now on it is the caller's alone: something is about to be done to the machine that it must not be a
    /// part of, or would not outlive.
    pub async fn take(&self, ssh: &Ssh, limit: Duration) -> Result<Session, SshError> {
        let kept = self.lock().take().and_then(Arc::into_inner);
        match kept {
            Some(session) if session.answers().await => Ok(session),
            _ => ssh.session(limit).await,
        }
    }

    /// Keep this connection for the stages to come.
    pub fn share(&self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        *self.lock() = Some(Arc::clone(&session));
        session
    }

    /// Close it.
    pub fn hang_up(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
