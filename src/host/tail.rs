//! Following a file that another process appends to, without polling.

use rustix::fs::inotify;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The most that one call reads, in bytes.
const CHUNK: u64 = 1 << 20;

/// A place in a growing file.
#[derive(Debug)]
pub struct Tail {
    file: File,
    changes: AsyncFd<OwnedFd>,
}

impl Tail {
    /// Follow the file at `path` from `offset` (bytes from its start). Needs a running tokio reactor.
    pub fn open(path: impl AsRef<Path>, offset: u64) -> std::io::Result<Self> {
        let mut file = File::open(path.as_ref())?;
        file.seek(SeekFrom::Start(offset))?;
        let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&fd, path.as_ref(), inotify::WatchFlags::MODIFY)?;
        Ok(Self { file, changes: watched(fd)? })
    }

    /// Wait until there is more, and append it to `into`; never returns with nothing. It may be dropped
    /// and called again without losing a byte.
    pub async fn more(&mut self, into: &mut Vec<u8>) -> std::io::Result<()> {
        loop {
            // Old notices go first: one that comes after this read is for the next round.
            drain(self.changes.get_ref())?;
            if (&mut self.file).take(CHUNK).read_to_end(into)? > 0 {
                return Ok(());
            }
            self.changes.readable().await?.clear_ready();
        }
    }
}

/// The last bytes of a file as text, from the start of a line where that is possible.
pub fn end_of(path: impl AsRef<Path>, most: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(most);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match text.split_once('\n') {
        Some((_, whole_lines)) if from > 0 => Ok(whole_lines.to_owned()),
        _ => Ok(text),
    }
}

/// A descriptor whose readability can be awaited (inotify, a pidfd). Needs a running tokio reactor.
pub fn watched(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    super::sys::watched(fd, Interest::READABLE)
}

/// Take what the descriptor has to read, and forget it.
pub fn drain(fd: impl AsFd) -> std::io::Result<()> {
    let mut notices = [0_u8; 4096];
    loop {
        match rustix::io::read(&fd, &mut notices) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn what_is_appended_arrives_and_nothing_twice() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "skipped,old,").unwrap();
        let mut tail = Tail::open(file.path(), 8).unwrap();
        let mut got = Vec::new();
        tail.more(&mut got).await.unwrap();
        assert_eq!(got, b"old,");
        let write = async {
            tokio::task::yield_now().await;
            write!(file, "new").unwrap();
        };
        let (more, ()) = tokio::join!(tail.more(&mut got), write);
        more.unwrap();
        assert_eq!(got, b"old,new");
    }
}
