//! The serial line, used as a person uses it: log in, become root, run commands, and know what came of them.
//!
//! The line is shared with the kernel and with systemd, it echoes, and it paints. So nothing that the screen shows
//! counts but as a hint; what counts is an answer between tags that our own typing cannot contain.
//!
//! - `port`: who sits at the other end, and what can take them away.
//! - `terminal`: from what comes to lines that were looked at once, and never twice.
//! - [`dialect`]: what prompts look like, and how to become root there; data, one file each.
//! - [`login`](Serial::login), [`become_root`](Serial::become_root), [`run`](Serial::run).
//!
//! Fuzzed as `guest`.

pub mod dialect;
mod error;
mod login;
mod port;
mod root;
mod shell;
mod terminal;

pub use dialect::{Credentials, Dialect};
pub use error::SerialError;
pub use login::{How, Login};
pub use port::{Interruption, Port, VmPort};
pub use shell::Answer;
pub use shell::whole_answer;
pub use terminal::Seen;

use crate::console::allow::Allowed;
use crate::machine::VmDir;
use camino::Utf8Path;
use host::deadline::Deadline;
use login::PATIENCE;
use regex::Regex;
use terminal::Terminal;

/// More shells than any login stands in.
const MOST_SHELLS: usize = 8;

/// The serial line of a machine. One talk goes on over it at a time; any number may watch.
pub struct Serial<P = VmPort> {
    terminal: Terminal<P>,
    count: u32,
    salt: u32,
    /// The users whose shells were made ready, one inside the other; the last one takes commands.
    shells: Vec<Login>,
    /// Whether the login found a shell of ours, left by an earlier talk: how many it stands in is not known.
    taken_over: bool,
}

impl Serial<VmPort> {
    /// The line of a VM whose monitor runs. Only what comes from now on is looked at, but for the line that the cursor
    /// stands in: so begin it right after the start to see all of a boot.
    pub async fn over(vm: &VmDir) -> Result<Self, SerialError> {
        let port = VmPort::open(vm)?;
        let allowed = Allowed::read(&vm.console_allowed())
            .map_err(|source| SerialError::Log { path: vm.console_allowed(), source })?;
        Self::on(&vm.console(), port, allowed).await
    }
}

impl<P: Port> Serial<P> {
    /// The line whose log is at `log`, typed on through `port`. A console rule that is `allowed` ends no wait.
    pub async fn on(log: &Utf8Path, port: P, allowed: Allowed) -> Result<Self, SerialError> {
        let terminal = Terminal::open(log, port, allowed).await?;
        Ok(Self { terminal, count: 0, salt: rand::random(), shells: Vec::new(), taken_over: false })
    }

    /// Wait for a line that fits one of `patterns`, whichever comes first. The line that the cursor stands in counts as
    /// far as it has come, kernel records do not count, and what was matched once is not matched again. `what` is for
    /// the error, which comes at the deadline or as soon as nothing can come any more.
    pub async fn expect(
        &mut self,
        what: &'static str,
        patterns: &[Regex],
        deadline: &Deadline,
    ) -> Result<Seen, SerialError> {
        self.terminal.expect(what, patterns, deadline).await
    }

    /// Type bytes as they are, for boot loaders and the like.
    pub async fn type_in(&self, bytes: &[u8]) -> Result<(), SerialError> {
        self.terminal.type_in(bytes).await
    }

    /// The last lines that came, kernel records too: what an error shows.
    pub fn window(&self) -> String {
        self.terminal.window()
    }

    /// Leave the line as it was before the first login: at its login prompt, or in the shell that logs in by itself. Where
    /// the login found a shell of ours, the ones that it stands in are left as well.
    ///
    /// # Errors
    /// The machine is gone, or a shell does not end.
    pub async fn end(mut self) -> Result<(), SerialError> {
        for _ in 0..MOST_SHELLS {
            let last = self.shells.len() <= 1;
            if self.shells.pop().is_none() && !self.taken_over {
                return Ok(());
            }
            self.terminal.skip();
            self.terminal.enter("exit").await?;
            if last && !self.taken_over {
                return Ok(());
            }
            let below = self.until_ours(&Deadline::after(PATIENCE)).await?;
            if last && !below {
                return Ok(());
            }
            // What is typed before the shell below reads again is thrown away, and on a busy machine that is some time
            // after its prompt: it must have answered once.
            self.ask("0", &Deadline::after(3 * PATIENCE)).await?;
            self.until_ours(&Deadline::after(PATIENCE)).await?;
        }
        Ok(())
    }

    /// A tag that was never used before on this line.
    fn tag(&mut self) -> String {
        self.count += 1;
        format!("{:08x}.{}", self.salt, self.count)
    }
}
