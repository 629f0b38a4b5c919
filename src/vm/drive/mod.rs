//! The guest's drive: what QEMU's disk image lies on, with a write cache that can lose its power.
//!
//! A drive tells "written" long before it is, and keeps its word only for what was flushed. QEMU on a plain
//! file cannot show that: what it was given is in the host's memory, and killing QEMU does not lose it. So
//! QEMU gets its image from here, over NBD on a connected socket pair, from a thread of the monitor.
//!
//! Fuzzed as `nbd`.

mod cache;
mod extents;
pub mod log;
mod nbd;

use cache::Cache;
use camino::Utf8Path;
use host::presence::ignore;
use std::io::{BufReader, Error, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The most that the cache holds, in bytes. Real drives have 64 to 256 MiB.
const MOST: usize = 256 << 20;
/// The most that a log of what was given takes, in bytes; the cache comes on top of it.
const MOST_LOG: usize = 256 << 20;

/// A drive with power on it. It ends with its client, and writes out then what it was given.
#[derive(Debug)]
pub(crate) struct Drive {
    medium: Arc<Medium>,
    ended: oneshot::Receiver<Result<()>>,
}

/// What a power loss cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// What was given and never flushed, in bytes, by whole blocks of 4 KiB.
    pub(crate) bytes: u64,
    /// What was written out before a flush demanded it, because the cache was full, in bytes.
    pub(crate) early: u64,
}

impl Drive {
    /// Serve the image at `path` to the client behind `stream`.
    pub(crate) fn start(path: &Utf8Path, stream: UnixStream) -> Result<Self> {
        let state = State { cache: Cache::open(path.as_std_path(), MOST)?, powered: true };
        let medium = Arc::new(Medium { state: Mutex::new(state) });
        let (end, ended) = oneshot::channel();
        let served = medium.clone();
        std::thread::Builder::new().name("drive".into()).spawn(move || {
            let talked = nbd::serve(BufReader::with_capacity(1 << 20, &stream), &stream, &served);
            // Whatever ended the talk: what was given is kept, unless the power went.
            let kept = served.end();
            ignore(end.send(talked.and(kept)), "the machine was let go of");
        })?;
        Ok(Self { medium, ended })
    }

    /// What was given and not flushed yet, in bytes, by whole blocks.
    pub(crate) fn unflushed(&self) -> u64 {
        self.medium.lock().cache.unflushed()
    }

    /// Take the power away. From here on the drive answers with errors only. The error is that of a log that was being kept:
    /// what had been flushed meanwhile could not be written out.
    pub(crate) fn lose_power(&self) -> Result<Lost> {
        let mut state = self.medium.lock();
        state.powered = false;
        let settled = state.cache.settle();
        let lost = Lost { bytes: state.cache.unflushed(), early: state.cache.early() };
        state.cache.lose();
        settled.map(|()| lost)
    }

    /// Keep a log of all that is given from here on; the image stays as it is now until the log ends.
    pub(crate) fn begin_log(&self) -> Result<()> {
        self.medium.lock().cache.begin_log(MOST_LOG)
    }

    /// Put a mark into the log.
    pub(crate) fn mark(&self) -> Result<()> {
        match self.medium.lock().cache.mark() {
            true => Ok(()),
            false => Err(no_log()),
        }
    }

    /// Write the log so far to a file.
    pub(crate) fn save_log(&self, path: &Utf8Path) -> Result<()> {
        let state = self.medium.lock();
        state.cache.log().ok_or_else(no_log)?.save(path.as_std_path())
    }

    /// End the log: what was given since it began goes into the image.
    pub(crate) fn end_log(&self) -> Result<()> {
        self.medium.lock().cache.end_log()
    }

    /// Wait until the client is gone and what it gave is written out.
    pub(crate) async fn ended(self) -> Result<()> {
        self.ended.await.unwrap_or_else(|_| Err(Error::other("the drive's thread has panicked")))
    }
}

/// What a talk came to.
#[derive(Debug)]
pub struct Talk {
    /// Why it ended; an error where the client said what none says.
    pub ended: Result<()>,
    /// The blocks and ranges that the cache had in memory at its end.
    pub entries: usize,
}

/// Serve the image at `path` to a client whose words are all there already; its cache is of at most `most` bytes.
pub fn talk(path: &Utf8Path, most: usize, from: impl Read, to: impl Write) -> Result<Talk> {
    let state = State { cache: Cache::open(path.as_std_path(), most)?, powered: true };
    let medium = Medium { state: Mutex::new(state) };
    let ended = nbd::serve(from, to, &medium);
    let entries = medium.lock().cache.entries();
    medium.end()?;
    Ok(Talk { ended, entries })
}

/// What the thread and the owner share.
#[derive(Debug)]
struct Medium {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    powered: bool,
}

impl Medium {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Poisoned by a panic in the middle of a request: what the cache holds is still what was given.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Cache) -> Result<T>) -> Result<T> {
        let mut state = self.lock();
        match state.powered {
            true => work(&mut state.cache),
            false => Err(Error::other("the drive has no power")),
        }
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        self.with(|cache| cache.read(offset, into))
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.with(|cache| cache.write(offset, data))
    }

    fn zero(&self, offset: u64, length: usize) -> Result<()> {
        self.with(|cache| cache.zero(offset, length))
    }

    fn flush(&self) -> Result<()> {
        self.with(Cache::flush)
    }

    fn end(&self) -> Result<()> {
        let mut state = self.lock();
        match state.powered {
            true => state.cache.write_out(),
            false => Ok(()),
        }
    }
}

fn no_log() -> Error {
    Error::other("the drive keeps no log")
}
