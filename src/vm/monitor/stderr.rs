//! What QEMU writes to its standard streams: read from a pipe by a thread of its own, so that QEMU never waits for the
//! monitor, and kept with an end ([`Kept`]): a QEMU that floods must not fill the host's disk.

use super::kept::{Cut, Kept, Limits};
use crate::console::gap;
use camino::{Utf8Path, Utf8PathBuf};
use host::presence::ignore;
use host::print;
use std::io::{PipeReader, Read, pipe};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A QEMU in order says a few lines.
const LIMITS: Limits = Limits { head: 1 << 20, tail: 1 << 20, step: 1 << 16, most: 8 << 20 };
/// How much of it is told in errors and events, in bytes.
const TOLD: u64 = 4096;
/// How long the last words of a QEMU that has ended may take: they are in the pipe already.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The words of one start of QEMU, in one file with those of all.
pub(super) struct Stderr {
    path: Utf8PathBuf,
    /// Where this start's words begin.
    from: u64,
    /// Hears of the end of the stream.
    ended: Receiver<()>,
}

impl Stderr {
    /// Begin to read. What QEMU gets as its two streams; the stream has ended when all copies of them are closed.
    pub(super) fn open(path: &Utf8Path) -> std::io::Result<(Self, [OwnedFd; 2])> {
        let kept = Kept::open(path, LIMITS)?;
        let (ours, theirs) = pipe()?;
        let streams = [theirs.try_clone()?.into(), theirs.into()];
        let (tell, ended) = channel();
        let from = kept.length();
        std::thread::Builder::new().name("qemu-err".into()).spawn(move || {
            read(ours, kept);
            ignore(tell.send(()), "nobody hears it where the monitor has let go of this start");
        })?;
        Ok((Self { path: path.to_owned(), from, ended }, streams))
    }

    /// The end of all that it wrote since its start, once it has ended.
    pub(super) fn last_words(&self) -> String {
        ignore(
            self.ended.recv_timeout(LAST_WORDS),
            "what was told so far counts, and it was told where this was asked before",
        );
        self.tail()
    }

    /// The end of what it has written so far.
    pub(super) fn tail(&self) -> String {
        let end = std::fs::metadata(&self.path).map_or(0, |meta| meta.len());
        match gap::text(&self.path, self.from.max(end.saturating_sub(TOLD))..end) {
            Ok(text) => String::from_utf8_lossy(&text).trim_end().to_owned(),
            Err(e) => format!("its words cannot be read ({e})"),
        }
    }
}

/// To the end of the stream, whatever becomes of the file.
fn read(mut from: PipeReader, mut kept: Kept) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        match from.read(&mut bytes) {
            Ok(0) => return,
            Ok(n) => match kept.take(&bytes[..n]) {
                Some(Cut::Full(why)) => print::err(&format!("QEMU's words are no longer kept: {why}")),
                Some(Cut::Gap { .. }) | None => {}
            },
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return print::err(&format!("QEMU's words cannot be read any more: {e}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::testing::scratch;
    use std::process::{Command, Stdio};

    /// Let a shell speak as QEMU does.
    fn spoken(path: &Utf8Path, script: &str) -> Stderr {
        let (stderr, [out, err]) = Stderr::open(path).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(out).stderr(err);
        assert!(command.status().unwrap().success());
        stderr
    }

    #[test]
    fn a_flood_ends_in_a_bounded_file_and_its_last_words_are_told() {
        let (_keep, dir) = scratch();
        let path = dir.join("qemu.err");
        let stderr = spoken(&path, "echo first; head -c 40000000 /dev/zero | tr '\\0' x >&2; echo; echo last >&2");
        assert!(stderr.last_words().ends_with("x\nlast"));
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!(meta.len(), 40_000_012);
        let blocks = std::os::unix::fs::MetadataExt::blocks(&meta) * 512;
        assert!(blocks <= 3 << 20, "{blocks} bytes on the disk");
        let text = gap::text(&path, 0..u64::MAX).unwrap();
        assert!(text.starts_with(b"first\nx") && text.windows(9).any(|part| part == b"boma-qemu"), "the gap is said");
        // The next start tells its own words, and again.
        let stderr = spoken(&path, "echo again >&2");
        assert_eq!((stderr.last_words(), stderr.last_words()), ("again".into(), "again".into()));
    }
}
