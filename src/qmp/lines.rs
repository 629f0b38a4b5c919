//! Lines from a stream, of bounded length: a peer that never ends a line costs no memory.

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line that is kept, in bytes. QEMU's longest answer (`query-qmp-schema`) has about 250 KB.
pub(crate) const LONGEST: usize = 8 << 20;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A whole line, without its end; bytes that are not UTF-8 are replaced.
    Text(String),
    /// A line that was too long and was thrown away.
    TooLong,
    /// The stream is over, and why.
    End(String),
}

/// A reader of lines. `next` may be dropped and called again without losing a byte.
pub(crate) struct Lines<R> {
    stream: R,
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no line end.
    scanned: usize,
    longest: usize,
    skipping: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self::with_longest(stream, LONGEST)
    }

    pub(crate) fn with_longest(stream: R, longest: usize) -> Self {
        Self { stream, buffer: Vec::new(), scanned: 0, longest, skipping: false }
    }

    pub(crate) async fn next(&mut self) -> Line {
        loop {
            if let Some(end) = self.buffer[self.scanned..].iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=self.scanned + end).collect();
                self.scanned = 0;
                if std::mem::take(&mut self.skipping) {
                    return Line::TooLong;
                }
                return Line::Text(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.scanned = self.buffer.len();
            if self.buffer.len() > self.longest {
                self.skipping = true;
            }
            if self.skipping {
                self.buffer = Vec::new();
                self.scanned = 0;
            }
            self.buffer.reserve(4096);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) if self.buffer.is_empty() => return Line::End("the other side closed it".into()),
                Ok(0) => {
                    self.buffer.clear();
                    self.scanned = 0;
                    return Line::End("the other side closed it in the middle of a line".into());
                }
                Ok(_) => {}
                Err(e) => return Line::End(e.to_string()),
            }
        }
    }
}
