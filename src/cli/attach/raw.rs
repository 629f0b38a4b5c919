//! A person's terminal while it belongs to the guest: raw, and as it was before on every way out.

use host::presence::ignore;
use host::tail::watched;
use nix::libc;
use nix::sys::termios::{self, SetArg, Termios, tcgetattr, tcsetattr};
use rustix::io::Errno;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What a guest may have switched, switched back: colours, the cursor, the marks around what is pasted.
const PLAIN: &[u8] = b"\x1b[m\x1b[?25h\x1b[?2004l";

/// A terminal in raw mode. It becomes what it was when this is dropped.
pub(super) struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// Make the terminal behind standard input raw: nothing that is typed means anything to this host.
    pub(super) fn enter() -> std::io::Result<Self> {
        let terminal = std::io::stdin().as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        tcsetattr(&terminal, SetArg::TCSADRAIN, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        ignore(rustix::io::write(&self.terminal, PLAIN), "a terminal that has gone needs nothing");
        ignore(tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before), "a terminal that has gone needs nothing");
    }
}

/// The size of the terminal behind standard output: rows and columns.
pub(super) fn window() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    (size.ws_row > 0).then_some((size.ws_row, size.ws_col))
}

/// One end of the terminal, never waited for by the whole program.
pub(super) struct End(AsyncFd<OwnedFd>);

impl End {
    /// Where keys come from. Needs a running tokio reactor.
    pub(super) fn keys() -> std::io::Result<Self> {
        watched(opened_anew(std::io::stdin().as_fd(), OpenOptions::new().read(true))?).map(Self)
    }

    /// Where text goes. Needs a running tokio reactor.
    pub(super) fn screen() -> std::io::Result<Self> {
        let fd = opened_anew(rustix::stdio::stdout(), OpenOptions::new().write(true))?;
        host::sys::watched(fd, Interest::WRITABLE).map(Self)
    }

    /// What is typed next; nothing once the terminal has gone.
    pub(super) async fn read(&self) -> std::io::Result<Vec<u8>> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut bytes = vec![0; 4096];
            match rustix::io::read(&self.0, &mut bytes) {
                Ok(n) => {
                    // Less than there is room for: there was no more, and reading on would wait.
                    if n < bytes.len() {
                        ready.clear_ready();
                    }
                    bytes.truncate(n);
                    return Ok(bytes);
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(Errno::IO) => return Ok(Vec::new()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Show all of it.
    pub(super) async fn write(&self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            match rustix::io::write(&self.0, bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(Errno::AGAIN) => self.0.writable().await?.clear_ready(),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

/// The same terminal with a description of its own, so that not to wait for it is no matter of the shell's that started
/// us. A terminal of another user's (after `su`) cannot be opened, and is shared.
fn opened_anew(fd: BorrowedFd<'_>, options: &mut OpenOptions) -> std::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    match options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path) {
        Ok(file) => Ok(file.into()),
        Err(_) => fd.try_clone_to_owned(),
    }
}
