//! Templates: a machine that was booted once and stopped, from which others go on ([`crate::qemu::template`]).
//!
//! [`save`] stops a machine that has settled. [`take_over`] makes one that goes on from it a machine of its own: with the
//! template's key it makes sure that this is the template's memory, gives the guest its own name, keys and random numbers
//! ([`identity`]), and from then on the template's key opens nothing.
//!
//! What a clone keeps of its template is what cloud-init and the kernel know a machine by: the card's address, the UUID and
//! the instance id. A next boot finds the same instance, and makes nothing anew.
//!
//! Not fuzzed: of what a guest says, only its boot id and the nonce are read, as in a snapshot.

pub mod identity;

pub use crate::snapshot::Memory;
pub use identity::Identity;

use crate::access::{self, AccessError, When};
use crate::machine::VmDir;
use crate::monitor::{Client, ClientError};
use crate::qemu::template::STATE_SET;
use crate::qmp::job::JobError;
use crate::qmp::migration::{self, Way};
use crate::snapshot::{SnapshotError, last_event, quiet, remember, uninterrupted, witness};
use crate::ssh::{Kept, Session, Ssh, SshError};
use crate::wait::Watch;
use host::deadline::Deadline;
use host::failure::{Blame, Exit};
use serde_json::Value;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long one short command in the guest may take.
const ASK_LIMIT: Duration = Duration::from_secs(60);
/// How long a guest may take to become a machine of its own; 3 s on an idle machine under emulation.
const IDENTITY_LIMIT: Duration = Duration::from_secs(120);
/// What the kernel has learnt about its neighbours within this time it does not let go of for a newer answer
/// (`locktime`, arp(7)): a clone has other neighbours.
const NEIGHBOURS: Duration = Duration::from_millis(1100);

/// Why a machine did not become a template, or another does not go on from one.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The guest's memory is not what it must be, or cannot be asked.
    #[error(transparent)]
    Memory(#[from] SnapshotError),
    /// The monitor or QEMU said no.
    #[error("cannot {what}")]
    Monitor {
        /// What was wanted.
        what: &'static str,
        /// What they said.
        #[source]
        source: ClientError,
    },
    /// QEMU could not do it.
    #[error("cannot save the machine's state")]
    Job(#[from] JobError),
    /// The guest cannot be reached.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The guest cannot be asked.
    #[error("cannot ask the guest of the template")]
    Guest(#[from] SshError),
    /// A step of the change of identity failed.
    #[error("the guest did not become a machine of its own: {step} failed ({code}): {said}")]
    Identity {
        /// The step.
        step: String,
        /// The script's exit code.
        code: i32,
        /// The end of what it said.
        said: String,
    },
}

impl Blame for TemplateError {
    fn exit(&self) -> Exit {
        match self {
            Self::Memory(error) => error.exit(),
            Self::Monitor { source, .. } => source.exit(),
            Self::Access(error) => error.exit(),
            Self::Guest(error) => error.exit(),
            Self::Job(_) | Self::Identity { .. } => Exit::Lost,
        }
    }
}

/// Stop a machine that is a maker of a template ([`crate::qemu::template::Part::Maker`]), save it, and end its QEMU and its
/// monitor. What only its memory knows comes back. The connection that is kept is closed.
pub async fn save(
    vm: &VmDir,
    (ssh, kept): (&Ssh, &Kept),
    address: Ipv4Addr,
    limit: Duration,
) -> Result<Memory, TemplateError> {
    let deadline = Deadline::after(limit);
    let client = Client::new(vm);
    let seq = last_event(vm)?;
    let session = kept.take(ssh, deadline.left().min(ASK_LIMIT)).await?;
    let memory = remember(&session).await?;
    session.must("sync", ASK_LIMIT).await?;
    drop(session);
    // A connection that is open now would be a dead one in every clone.
    quiet::wait(ssh, address).await;
    tokio::time::sleep(NEIGHBOURS).await;
    let asked = async |command: &str, arguments| {
        let done = client.qmp(command, arguments, deadline.left()).await;
        done.map_err(|source| TemplateError::Monitor { what: "save the machine", source })
    };
    asked("stop", Value::Null).await?;
    migration::run(asked, Way::Out, STATE_SET, deadline.left()).await?;
    uninterrupted(vm, seq, "template of one boot")?;
    let stopped = client.stop().await;
    stopped.map_err(|source| TemplateError::Monitor { what: "end the machine that was saved", source })?;
    Ok(memory)
}

/// Make a machine that goes on from a template one of its own. `ssh` logs in with the template's key; how long that
/// took, in seconds.
pub async fn take_over(
    vm: &VmDir,
    ssh: &Ssh,
    memory: Memory,
    identity: &Identity<'_>,
    watch: &mut Watch,
    deadline: &Deadline,
) -> Result<f64, TemplateError> {
    go_on(vm, ssh, memory, &identity.script(), watch, deadline).await
}

/// Let a machine that was saved go on as itself: its clock, its timers and its random numbers are put right. How long the
/// first login took, in seconds.
pub async fn wake(
    vm: &VmDir,
    ssh: &Ssh,
    memory: Memory,
    watch: &mut Watch,
    deadline: &Deadline,
) -> Result<f64, TemplateError> {
    go_on(vm, ssh, memory, &identity::wake(), watch, deadline).await
}

/// Log in to a machine that goes on from what was saved, make sure that it does, and run a script in it.
async fn go_on(
    vm: &VmDir,
    ssh: &Ssh,
    memory: Memory,
    script: &str,
    watch: &mut Watch,
    deadline: &Deadline,
) -> Result<f64, TemplateError> {
    let (seq, _) = witness(
        &crate::monitor::events::read_all(&vm.events()).map_err(SnapshotError::Journal)?,
        0,
        crate::monitor::TEMPLATE,
    )?;
    let attempt = async || ssh.session(ASK_LIMIT).await.map_err(|e| e.to_string());
    let what = "a login to the machine that goes on from its template";
    let session = access::until(vm, what, When::Booting, watch, deadline, attempt).await?;
    let first_s = deadline.waited().as_secs_f64();
    memory.proven(&session).await?;
    become_itself(&session, script).await?;
    drop(session);
    uninterrupted(vm, seq, "machine that goes on from its template")?;
    Ok(first_s)
}

/// Set the guest's clock to the host's, which the change of identity did to within a second. How far it was off before and
/// after, in seconds.
pub async fn clock(session: &Session) -> Result<(f64, f64), TemplateError> {
    Ok(crate::snapshot::clock::put_right(session).await?)
}

async fn become_itself(session: &Session, script: &str) -> Result<(), TemplateError> {
    let answer = session.root_script(script, IDENTITY_LIMIT).await?;
    if answer.code == 0 {
        return Ok(());
    }
    let lines: Vec<_> = answer.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let step = lines.iter().rev().find_map(|line| line.strip_prefix(identity::STEP));
    let said: Vec<_> = lines.iter().filter(|line| !line.starts_with(identity::STEP)).copied().collect();
    let said = said[said.len().saturating_sub(4)..].join(" | ");
    Err(TemplateError::Identity { step: step.unwrap_or("its start").to_owned(), code: answer.code, said })
}
