//! The way into a guest: over ssh, by any way that is known; and when none answers, a look over the serial console,
//! which needs neither the network nor sshd, at what stands in between.
//!
//! A boot that has settled without a login is dead or has moved, and the guest knows which. So the look begins a moment
//! after the console asks for a login, and an answer comes seconds after systemd has nothing more to do, instead of at the
//! deadline. What the harness needs for itself and a playbook took away (its key, sudo without a password, the pinned
//! host key) it gives itself back over the console, and writes down that it did.
//!
//! - [`facts`]: what the guest is asked, and its answers.
//! - [`cause`]: what the answers mean; pure.
//! - `console`: the root shell on the serial console.
//! - `repair`: what is given back.
//!
//! Fuzzed as `guest`.

pub mod cause;
mod console;
pub mod facts;
mod repair;

pub use cause::Cause;
pub use console::{NoLook, leave, root_shell};

use crate::machine::VmDir;
use crate::ssh::{About, Change, Rank, Session, Ssh, SshError, Ways, write_ways};
use crate::wait::{WaitError, Watch};
use console::Look;
use host::deadline::Deadline;
use host::failure::{Blame, Exit};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// How long one login may take.
const LOGIN_LIMIT: Duration = Duration::from_secs(30);
/// How long `sudo -n true` may take.
const SUDO_LIMIT: Duration = Duration::from_secs(30);

/// What ssh said last.
#[derive(Clone, Debug)]
struct Said {
    words: String,
    /// When its attempt ended.
    at: Instant,
}

/// When the console is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// While it boots: a login may be late, and a look costs a busy guest some seconds.
    Booting,
    /// In a guest that had answered: soon.
    Running,
    /// After a refusal: at once.
    Refused,
}

/// Why there is no login.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The wait failed.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// The guest cannot be reached, and why.
    #[error("cannot be reached: {cause} (seen over the console {after:.0?} after the boot had settled; ssh: {said})")]
    Dead {
        /// What stands in between.
        cause: Cause,
        /// How long after the boot had settled this was certain.
        after: Duration,
        /// What ssh said last.
        said: String,
    },
    /// sudo does not work for the harness, and it could not be mended.
    #[error("sudo in the guest refuses {user}: {said}")]
    Sudo {
        /// The user.
        user: String,
        /// Its words, and why the console was of no help.
        said: String,
    },
    /// The guest cannot be asked.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// The ways in cannot be written down.
    #[error(transparent)]
    Write(#[from] host::dirs::DirError),
}

impl Blame for AccessError {
    fn exit(&self) -> Exit {
        match self {
            Self::Wait(error) => error.exit(),
            Self::Ssh(error) => error.exit(),
            Self::Write(error) => error.exit(),
            Self::Dead { cause, .. } => cause.exit(),
            Self::Sudo { .. } => Exit::Lost,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Dead { cause, .. } => Some(cause.next()),
            Self::Write(error) => error.next(),
            _ => None,
        }
    }
}

/// Wait until `probe` has a login, or until the guest itself says that none can come.
pub async fn until<T>(
    vm: &VmDir,
    what: &str,
    when: When,
    watch: &mut Watch,
    deadline: &Deadline,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, AccessError> {
    let said = RefCell::new(Said { words: "no answer yet".to_owned(), at: Instant::now() });
    let mut look = Look::new(vm, when, deadline);
    let attempt = async || {
        let answer = probe().await;
        if let Err(why) = &answer {
            said.replace(Said { words: why.clone(), at: Instant::now() });
        }
        answer
    };
    let done = tokio::select! {
        biased;
        answer = watch.until(what, deadline, attempt) => answer.map_err(AccessError::Wait),
        dead = look.until_dead(&said) => Err(dead),
    };
    // Whoever asks a dead guest what ails it needs the shell that there is: another login may not be had.
    if done.is_ok() {
        look.end().await;
    }
    done
}

/// Log in as soon as the guest lets us, by any way that is known, and make sure that root's commands can be run.
pub async fn login(
    vm: &VmDir,
    ssh: &Ssh,
    when: When,
    watch: &mut Watch,
    deadline: &Deadline,
) -> Result<Session, AccessError> {
    let attempt = async || ssh.session(LOGIN_LIMIT).await.map_err(|e| e.to_string());
    let what = "a login over ssh with the pinned host key";
    let session = until(vm, what, when, watch, deadline, attempt).await?;
    with_sudo(vm, session, deadline).await
}

/// Make sure that root's commands can be run over a connection.
pub async fn with_sudo(vm: &VmDir, session: Session, deadline: &Deadline) -> Result<Session, AccessError> {
    let answer = session.ask("sudo -n true", SUDO_LIMIT.min(deadline.left())).await?;
    if answer.code == 0 {
        return Ok(session);
    }
    let user = session.way().1.user.clone();
    let said = answer.stderr.trim().to_owned();
    let mut look = Look::new(vm, When::Refused, deadline);
    let given = look.give_sudo(&user, &said).await;
    look.end().await;
    let refused = |why: String| AccessError::Sudo { user: user.clone(), said: format!("{said}; {why}") };
    given.map_err(refused)?;
    match session.ask("sudo -n true", SUDO_LIMIT).await? {
        answer if answer.code == 0 => Ok(session),
        answer => Err(refused(answer.stderr.trim().to_owned())),
    }
}

/// Write down which way answered, and what has changed about it, if it is another than before.
pub fn answered(vm: &VmDir, session: &Session) -> Result<(), AccessError> {
    let mut ways = Ways::load(&vm.ways())?;
    let (_, way) = session.way();
    if ways.current == *way {
        return Ok(());
    }
    let what = match ways.current.port == way.port {
        true => format!("ssh lets {} in now, not {}", way.user, ways.current.user),
        false => format!("sshd listens on {} now, not on {}", way.port, ways.current.port),
    };
    let what = match ways.rank(way) {
        Rank::Inventory => format!("{what}, as the inventory says"),
        Rank::BreakGlass => format!("only the break-glass way answers, {way}, and not {}", ways.current),
        Rank::Fresh | Rank::Unexpected => format!("{what}; the inventory says {}", ways.inventory),
    };
    ways.current = way.clone();
    ways.changes.push(Change { about: About::Way, what });
    write_ways(vm, &ways)?;
    Ok(())
}
