//! The look over the serial console, beside the attempts to log in.

use super::cause::{self, Cause};
use super::facts::{self, Facts};
use super::{AccessError, Said, When, repair};
use crate::keys::rescue_password;
use crate::machine::VmDir;
use crate::serial::{Credentials, Dialect, Serial, SerialError};
use crate::ssh::{SshError, Ways};
use boot_media::seed::RESCUE_USER;
use host::deadline::Deadline;
use regex::Regex;
use std::cell::RefCell;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// How long after the console has asked for a login ssh has the first word: in most boots it comes first.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long after a boot has settled a login may still be on its way.
const SETTLED: Duration = Duration::from_secs(3);
/// The same in a guest that had answered before.
const RUNNING_PATIENCE: Duration = Duration::from_secs(4);
/// How long a repaired way has to answer before it is looked at again.
const REPAIRED: Duration = Duration::from_secs(10);
/// How long the login on the console may take.
const LOGIN_LIMIT: Duration = Duration::from_secs(60);
/// How long after sshd was seen to listen an attempt has to end to tell of the way there: TCP asks again after 1, 3 and 7
/// seconds, so one that had begun before has then asked in vain while sshd listened.
const HEARD: Duration = Duration::from_secs(4);
/// How long one command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// Repairs of one login: whoever undoes them each time is believed.
const MOST_REPAIRS: u32 = 3;

/// What a getty asks.
static LOGIN: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the pattern is a literal, compiled by the unit tests")]
    Regex::new(r"login: *$").expect("a literal pattern")
});

/// Log in on the console by the account that the seed made for it, and become root.
async fn root(serial: &mut Serial, vm: &VmDir, deadline: &Deadline) -> Result<(), NoLook> {
    let password = rescue_password(vm)?;
    let (dialect, who) = (Dialect::debian(), Credentials::with_password(RESCUE_USER, &password));
    serial.login(&dialect, &who, deadline).await?;
    serial.become_root(&dialect, &who, deadline).await?;
    Ok(())
}

/// A root shell on the console of a guest that is up.
///
/// # Errors
/// There is no login before the deadline.
pub async fn root_shell(vm: &VmDir, deadline: &Deadline) -> Result<Serial, NoLook> {
    let mut serial = Serial::over(vm).await?;
    root(&mut serial, vm, deadline).await?;
    Ok(serial)
}

/// Leave a root shell, and the line as it was before the login. A shell that does not end is left to whoever logs in next.
pub async fn leave(serial: Serial) {
    if let Err(why) = serial.end().await {
        tracing::info!("the shell on the console was not left: {why}");
    }
}

/// A look at one guest.
pub(super) struct Look<'a> {
    vm: &'a VmDir,
    when: When,
    deadline: &'a Deadline,
    /// The root shell, once there is one. The line is left as it was found ([`Look::end`]).
    root: Option<Serial>,
    /// Since when sshd is known to listen at the guest's address.
    listening: Option<Instant>,
}

/// Why the console was of no help.
#[derive(Debug, thiserror::Error)]
pub enum NoLook {
    /// The line, or the login.
    #[error(transparent)]
    Serial(#[from] SerialError),
    /// The account's password, or the harness's key.
    #[error(transparent)]
    Key(#[from] crate::keys::KeyError),
    /// The ways in cannot be read.
    #[error(transparent)]
    Ways(#[from] SshError),
    /// What was repaired cannot be written down.
    #[error(transparent)]
    Write(#[from] host::dirs::DirError),
    /// A command failed.
    #[error("`{what}` over the console ended with {code}: {said}")]
    Failed {
        /// What it was for.
        what: &'static str,
        /// Its exit code.
        code: i32,
        /// What it printed.
        said: String,
    },
}

impl<'a> Look<'a> {
    pub(super) fn new(vm: &'a VmDir, when: When, deadline: &'a Deadline) -> Self {
        Self { vm, when, deadline, root: None, listening: None }
    }

    /// Ends only when it is certain that no login can come. What cannot be found out over the console is left to the
    /// wait that runs beside, and its deadline.
    pub(super) async fn until_dead(&mut self, said: &RefCell<Said>) -> AccessError {
        match self.look(said).await {
            Ok(dead) => dead,
            Err(why) => {
                tracing::info!("no look over the console: {why}");
                std::future::pending().await
            }
        }
    }

    async fn look(&mut self, said: &RefCell<Said>) -> Result<AccessError, NoLook> {
        self.become_root().await?;
        let settled = self.until_settled().await?;
        tokio::time::sleep(SETTLED).await;
        let (mut suspect, mut repairs) = (None, 0);
        loop {
            let Some((user, cause)) = self.cause(said).await? else {
                suspect = None;
                tokio::time::sleep(PERIOD).await;
                continue;
            };
            if repairs < MOST_REPAIRS && self.repair(&user, &cause).await? {
                repairs += 1;
                tokio::time::sleep(REPAIRED).await;
                continue;
            }
            // Seen twice: a service that is just restarted is not dead. What is dropped was asked for long enough.
            if suspect.as_ref() == Some(&cause) || matches!(cause, Cause::Firewall { .. }) {
                let words = said.borrow().words.clone();
                return Ok(AccessError::Dead { cause, after: settled.elapsed(), said: words });
            }
            suspect = Some(cause);
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// A root shell on the console, once somebody can log in there.
    async fn become_root(&mut self) -> Result<(), NoLook> {
        if self.root.is_some() {
            return Ok(());
        }
        let mut serial = Serial::over(self.vm).await?;
        match self.when {
            When::Booting => {
                serial.expect("a login prompt", std::slice::from_ref(&*LOGIN), self.deadline).await?;
                tokio::time::sleep(PATIENCE).await;
            }
            When::Running => tokio::time::sleep(RUNNING_PATIENCE).await,
            When::Refused => {}
        }
        root(&mut serial, self.vm, &self.deadline.within(LOGIN_LIMIT)).await?;
        self.root = Some(serial);
        Ok(())
    }

    /// Wait until systemd has no more to do; when that was.
    async fn until_settled(&mut self) -> Result<Instant, NoLook> {
        loop {
            let state = self.run("systemctl is-system-running", None).await?;
            if !matches!(state.trim(), "starting" | "initializing") {
                return Ok(Instant::now());
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// What ssh said while sshd was known to listen.
    fn heard(&self, said: &Said) -> String {
        match self.listening {
            Some(since) if said.at.saturating_duration_since(since) >= HEARD => said.words.clone(),
            _ => String::new(),
        }
    }

    /// What stands in between, by the guest's own answers: for the inventory's user first.
    async fn cause(&mut self, said: &RefCell<Said>) -> Result<Option<(String, Cause)>, NoLook> {
        let ways = Ways::load(&self.vm.ways())?;
        let pinned = std::fs::read_to_string(self.vm.known_hosts()).unwrap_or_default();
        let key = repair::key(self.vm)?;
        let mut first = None;
        for user in ways.users() {
            let facts = Facts::read(&self.run(&facts::question(&ways, user, &key), None).await?);
            match cause::ports(&facts, &ways).is_empty() {
                true => self.listening = None,
                false => drop(self.listening.get_or_insert_with(Instant::now)),
            }
            let heard = self.heard(&said.borrow());
            match Cause::of(&facts, &ways, user, &pinned, &heard) {
                // Only the user is in the way, and there is another.
                Some(cause @ (Cause::NoUser { .. } | Cause::NotAllowed { .. })) => {
                    first.get_or_insert((user.to_owned(), cause));
                }
                found => return Ok(found.map(|cause| (user.to_owned(), cause))),
            }
        }
        Ok(first)
    }

    /// Do what lets the harness in again, if there is something to do.
    async fn repair(&mut self, user: &str, cause: &Cause) -> Result<bool, NoLook> {
        let Some(repair) = repair::of(self.vm, user, cause)? else { return Ok(false) };
        if let Some(script) = &repair.script {
            self.run(script, Some("the repair")).await?;
        }
        if repair.pin_host_keys {
            let keys = self.run("cut -d' ' -f1,2 /etc/ssh/ssh_host_*_key.pub", Some("the host keys")).await?;
            repair::pin(self.vm, &keys)?;
        }
        repair::note(self.vm, repair)?;
        Ok(true)
    }

    /// Let sudo serve the harness again; what could not be done in words.
    pub(super) async fn give_sudo(&mut self, user: &str, said: &str) -> Result<(), String> {
        let give = async {
            self.become_root().await?;
            let repair = repair::sudo(user, said);
            if let Some(script) = &repair.script {
                self.run(script, Some("the rule for sudo")).await?;
            }
            repair::note(self.vm, repair)?;
            Ok(())
        };
        give.await.map_err(|why: NoLook| format!("and over the console: {why}"))
    }

    /// Run a command as root. With `must` its exit code has to be 0.
    async fn run(&mut self, command: &str, must: Option<&'static str>) -> Result<String, NoLook> {
        let Some(serial) = &mut self.root else { return Err(SerialError::NoShell.into()) };
        let answer = serial.run(command, COMMAND_LIMIT).await?;
        match must {
            Some(what) if answer.code != 0 => {
                Err(NoLook::Failed { what, code: answer.code, said: answer.output.trim().to_owned() })
            }
            _ => Ok(answer.output),
        }
    }

    /// Leave the console as it was found: at its login prompt.
    pub(super) async fn end(self) {
        if let Some(serial) = self.root {
            leave(serial).await;
        }
    }
}
