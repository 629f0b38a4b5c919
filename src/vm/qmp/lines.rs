//! Lines from a stream, of bounded length: a peer that never ends a line costs no memory.

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line that is kept, in bytes. QEMU's longest answer (`query-qmp-schema`) has about 250 KB; parsed, a line can
/// take 16 times its length.
pub const LONGEST: usize = 1 << 20;
/// What an empty buffer may keep of its room, in bytes.
const ROOM: usize = 64 << 10;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A whole line, without its end; bytes that are not UTF-8 are replaced.
    Text(String),
    /// A line that was too long and was thrown away.
    TooLong,
    /// The stream is over, and why.
    End(String),
}

/// A reader of lines. `next` may be dropped and called again without losing a byte.
pub struct Lines<R> {
    stream: R,
    buffer: Vec<u8>,
    /// Where the next line begins in the buffer.
    from: usize,
    /// Up to where the buffer is known to hold no line end.
    scanned: usize,
    longest: usize,
    skipping: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The lines of a stream, each up to [`LONGEST`] bytes.
    pub fn new(stream: R) -> Self {
        Self::with_longest(stream, LONGEST)
    }

    /// The lines of a stream, each up to `longest` bytes.
    pub fn with_longest(stream: R, longest: usize) -> Self {
        Self { stream, buffer: Vec::new(), from: 0, scanned: 0, longest, skipping: false }
    }

    /// The next line, or why there is none.
    pub async fn next(&mut self) -> Line {
        loop {
            if let Some(end) = self.buffer[self.scanned..].iter().position(|b| *b == b'\n') {
                let line = self.from..self.scanned + end;
                (self.from, self.scanned) = (line.end + 1, line.end + 1);
                if std::mem::take(&mut self.skipping) || line.len() > self.longest {
                    return Line::TooLong;
                }
                return Line::Text(String::from_utf8_lossy(&self.buffer[line]).trim_end().to_owned());
            }
            self.make_room();
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

    /// Begin the buffer with what is left of it: once for each read, not for each line.
    fn make_room(&mut self) {
        self.buffer.drain(..std::mem::take(&mut self.from));
        self.skipping |= self.buffer.len() > self.longest;
        if self.skipping {
            self.buffer.clear();
        }
        if self.buffer.is_empty() {
            self.buffer.shrink_to(ROOM);
        }
        self.scanned = self.buffer.len();
        self.buffer.reserve(4096);
    }
}
