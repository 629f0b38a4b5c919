//! Becoming root.

use super::dialect::{Way, Whose};
use super::login::PATIENCE;
use super::shell::is_ours;
use super::terminal::Look;
use super::{Credentials, Dialect, How, Login, Port, Serial, SerialError};
use host::deadline::Deadline;

/// What the shell says on the way.
enum Said {
    /// It asks for a password.
    Asks,
    /// Our own prompt again: the way led nowhere.
    Back,
    /// Another shell's prompt.
    Shell,
    /// Why not.
    Refused(String),
}

impl<P: Port> Serial<P> {
    /// Root's login shell, inside the one that takes commands now; it takes them from now on. Each way of the dialect is
    /// tried in turn; that it worked is believed when `id -u` says 0. If none works, the error has what each said.
    pub async fn become_root(
        &mut self,
        dialect: &Dialect,
        who: &Credentials,
        deadline: &Deadline,
    ) -> Result<Login, SerialError> {
        let now = self.shells.last().ok_or(SerialError::NoShell)?.clone();
        if now.uid == 0 {
            return Ok(now);
        }
        let mut tried = Vec::new();
        for way in &dialect.become_root {
            match self.try_way(way, dialect, who, deadline).await? {
                Ok(root) => return Ok(root),
                Err(why) => tried.push(format!("`{}`: {why}", way.run.replace("-p {prompt} ", ""))),
            }
        }
        Err(SerialError::NotRoot { user: now.user, why: tried.join("; ") })
    }

    /// Root's shell, or why this way leads nowhere.
    async fn try_way(
        &mut self,
        way: &Way,
        dialect: &Dialect,
        who: &Credentials,
        deadline: &Deadline,
    ) -> Result<Result<Login, String>, SerialError> {
        if let Some(check) = &way.check {
            let said = self.ask(&format!("$(x=$({check} </dev/null 2>&1); echo $?:$x)"), deadline).await?;
            let (code, words) = said.split_once(':').unwrap_or(("", &said));
            if code != "0" {
                let words = words.trim();
                return Ok(Err(if words.is_empty() { format!("`{check}` failed ({code})") } else { words.into() }));
            }
        }
        let password = way.password.map(|whose| (whose, who.of(whose)));
        if let Some((whose, None)) = password {
            let whose = if whose == Whose::Own { "the user's" } else { "root's" };
            return Ok(Err(format!("asks for {whose} password, and none is known")));
        }
        let password = password.and_then(|(_, password)| password);
        let why = self.take_way(way, dialect, password, deadline).await?;
        let id = self.ask("$(id -u):$(id -un)", deadline).await?;
        match id.split_once(':') {
            Some(("0", user)) => {
                let root = Login { user: user.to_owned(), uid: 0, how: How::FromShell };
                self.make_ready(root.clone(), deadline).await?;
                Ok(Ok(root))
            }
            _ => Ok(Err(why.unwrap_or_else(|| format!("the shell is that of {id}")))),
        }
    }

    /// Go one way, and come to some shell; why it is not root's, if that was said.
    async fn take_way(
        &mut self,
        way: &Way,
        dialect: &Dialect,
        password: Option<&str>,
        deadline: &Deadline,
    ) -> Result<Option<String>, SerialError> {
        let tag = self.tag();
        let ours = format!("~{tag}?");
        let has_own_prompt = way.run.contains("{prompt}");
        let mut heard = |look: Look<'_>| match look {
            Look::Line(text) if dialect.refused.are_in(text) => Some(Said::Refused(text.trim().to_owned())),
            Look::Line(text) if text.starts_with("sudo:") || text.starts_with("Sorry") || text.contains("sudoers") => {
                Some(Said::Refused(text.trim().to_owned()))
            }
            Look::Line(_) => None,
            Look::Prompt(text) if text.ends_with(&ours) => Some(Said::Asks),
            Look::Prompt(text) if !has_own_prompt && dialect.password.are_in(text) => Some(Said::Asks),
            Look::Prompt(text) if is_ours(text) => Some(Said::Back),
            Look::Prompt(text) if dialect.shell.are_in(text) => Some(Said::Shell),
            Look::Prompt(_) => None,
        };
        // Our prompt may not have come yet that stands behind the last answer: what is said before the way is begun says
        // nothing about it. Of what is typed, no part is a word as it will be shown.
        let begun = format!("~{tag}!~");
        let begins = |look: Look<'_>| matches!(look, Look::Line(text) if text.ends_with(&begun)).then_some(());
        self.terminal.skip();
        let run = way.run.replace("{prompt}", &format!("\"~\"\"{tag}?\""));
        self.terminal.enter(&format!("echo \"~\"\"{tag}!~\"; {run}")).await?;
        if self.terminal.look_for(&deadline.within(PATIENCE), begins).await?.is_none() {
            return Ok(None);
        }
        let mut password = password;
        loop {
            let said = self.terminal.look_for(&deadline.within(PATIENCE), &mut heard).await?;
            match (said, password.take()) {
                (Some(Said::Asks), Some(password)) => self.terminal.enter(password).await?,
                // Asked again: it was wrong.
                (Some(Said::Asks), None) => {
                    self.interrupt(deadline).await?;
                    return Ok(Some("the password was refused".into()));
                }
                (Some(Said::Refused(why)), _) => {
                    // It may ask once more.
                    self.interrupt(deadline).await?;
                    return Ok(Some(why));
                }
                (Some(Said::Back | Said::Shell) | None, _) => return Ok(None),
            }
        }
    }
}
