//! Logging in.

use super::shell::is_ours;
use super::terminal::Look;
use super::{Credentials, Dialect, Port, Serial, SerialError};
use host::deadline::Deadline;
use serde::Serialize;
use std::time::Duration;

/// How long an answer may take before it is asked for again.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long nobody may have written before Enter is pressed, to have a prompt that was run over shown again.
const SILENCE: Duration = Duration::from_secs(2);
/// How long Enter has to work.
const NUDGE: Duration = Duration::from_secs(4);
/// Names that arrived damaged and were refused, before the refusal is believed.
const DAMAGED: u32 = 3;

/// How a user got in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// There was a shell: one that somebody left open, or a user who is logged in without being asked.
    ShellWasThere,
    /// By name, without a password.
    Name,
    /// By name and password.
    Password,
    /// From another user's shell.
    FromShell,
}

/// Who is logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Login {
    /// The user's name, as `id -un` says it.
    pub user: String,
    /// The user's number.
    pub uid: u32,
    /// How they got in.
    pub how: How,
}

/// What one try at the login prompt came to.
enum Tried {
    /// It looks as if there were a shell now.
    Shell(How),
    /// It has to be tried again.
    Again,
    /// The name or the password was refused; whether the name had arrived as it was typed.
    Refused { whole: bool },
}

impl<P: Port> Serial<P> {
    /// Get to a shell that takes commands: log in, or take the shell that is there (compare [`Login::user`]).
    ///
    /// A boot loader is left alone: nothing is typed before there is a prompt, or a kernel has spoken and then everybody
    /// is silent. Fails as soon as nobody can log in any more: refused, asked for a password that nobody knows, the
    /// machine lost or in a shell of last resort.
    pub async fn login(
        &mut self,
        dialect: &Dialect,
        who: &Credentials,
        deadline: &Deadline,
    ) -> Result<Login, SerialError> {
        self.shells.clear();
        self.terminal.hold_to_this_boot(false);
        let (mut how, mut damaged) = (How::ShellWasThere, 0);
        loop {
            if let Some(stuck) = self.terminal.stuck() {
                return Err(stuck);
            }
            let cursor = self.terminal.cursor();
            if dialect.login.are_in(&cursor) {
                match self.give_name(dialect, who, deadline).await? {
                    Tried::Shell(by) => how = by,
                    Tried::Again => {}
                    Tried::Refused { whole: false } if damaged < DAMAGED => damaged += 1,
                    Tried::Refused { .. } => return Err(self.refused(who)),
                }
            } else if dialect.password.are_in(&cursor) {
                // Somebody else's half login.
                self.terminal.skip();
                self.terminal.enter("").await?;
            }
            let found = self.terminal.cursor();
            if dialect.shell.are_in(&found)
                && let Some((uid, user)) = self.who_is_there(deadline).await?
            {
                let login = Login { user, uid, how };
                self.taken_over = how == How::ShellWasThere && is_ours(&found);
                self.make_ready(login.clone(), deadline).await?;
                return Ok(login);
            }
            if deadline.passed() {
                return Err(self.terminal.in_vain("a login prompt or a shell", deadline));
            }
            self.until_prompt(dialect, deadline).await?;
        }
    }

    fn refused(&self, who: &Credentials) -> SerialError {
        SerialError::Refused { user: who.user.clone(), window: self.terminal.window() }
    }

    /// At the login prompt.
    async fn give_name(
        &mut self,
        dialect: &Dialect,
        who: &Credentials,
        deadline: &Deadline,
    ) -> Result<Tried, SerialError> {
        enum Answer {
            Password,
            Shell,
            Refused,
            Login,
        }
        let mut whole = false;
        let mut heard = |look: Look<'_>| match look {
            Look::Line(text) if dialect.refused.are_in(text) => Some(Answer::Refused),
            Look::Line(text) => {
                whole |= text.trim() == who.user;
                None
            }
            Look::Prompt(text) if dialect.password.are_in(text) => Some(Answer::Password),
            Look::Prompt(text) if dialect.login.are_in(text) => Some(Answer::Login),
            Look::Prompt(text) if dialect.shell.are_in(text) => Some(Answer::Shell),
            Look::Prompt(_) => None,
        };
        self.terminal.skip();
        self.terminal.enter(&who.user).await?;
        let first = self.terminal.look_for(&deadline.within(PATIENCE), &mut heard).await?;
        let tried = match first {
            Some(Answer::Password) => {
                let window = self.terminal.window();
                let Some(password) = &who.password else {
                    // So that the next one finds a login prompt.
                    self.terminal.enter("").await?;
                    return Err(SerialError::PasswordAsked { user: who.user.clone(), window });
                };
                self.terminal.enter(password).await?;
                match self.terminal.look_for(&deadline.within(PATIENCE), &mut heard).await? {
                    Some(Answer::Refused) => Tried::Refused { whole },
                    // Or a shell whose prompt was run over: asking it will tell.
                    Some(Answer::Shell) | None => Tried::Shell(How::Password),
                    Some(Answer::Password | Answer::Login) => Tried::Again,
                }
            }
            Some(Answer::Shell) => Tried::Shell(How::Name),
            Some(Answer::Refused) => Tried::Refused { whole },
            Some(Answer::Login) | None => Tried::Again,
        };
        Ok(tried)
    }

    /// The user that a shell, if there is one, says it runs as.
    async fn who_is_there(&mut self, deadline: &Deadline) -> Result<Option<(u32, String)>, SerialError> {
        let said = self.ask_once("$(id -u):$(id -un)", deadline).await?;
        Ok(said.and_then(|said| {
            let (uid, user) = said.split_once(':')?;
            Some((uid.parse().ok()?, user.to_owned()))
        }))
    }

    /// Wait for a prompt that is new. If one was run over by somebody's line, Enter brings it back; a command that
    /// somebody left behind is ended.
    async fn until_prompt(&mut self, dialect: &Dialect, deadline: &Deadline) -> Result<(), SerialError> {
        let look = |look: Look<'_>| match look {
            Look::Line(_) => None,
            Look::Prompt(text) => {
                let asks = [&dialect.login, &dialect.password, &dialect.shell];
                asks.iter().any(|words| words.are_in(text)).then_some(())
            }
        };
        let (mut until, mut nudges) = (deadline.within(SILENCE), 0_u32);
        loop {
            if self.terminal.look_for(&until, look).await?.is_some() || deadline.passed() {
                return Ok(());
            }
            if let Some(stuck) = self.terminal.stuck() {
                return Err(stuck);
            }
            let silent = self.terminal.silent_for();
            if silent < SILENCE {
                until = deadline.within(SILENCE - silent);
                continue;
            }
            until = deadline.within(NUDGE);
            if self.terminal.beyond_loader || dialect.shell.are_in(&self.terminal.cursor()) {
                if nudges % 2 == 1 {
                    self.terminal.type_in(b"\x03").await?;
                }
                nudges += 1;
                self.terminal.skip();
                self.terminal.enter("").await?;
            }
        }
    }
}
