//! Waiting for a line of a console that goes on.

use super::engine::{Engine, Line};
use camino::Utf8Path;
use host::tail::Tail;
use std::collections::VecDeque;

/// The longest prompt, in bytes: a longer line counts when it has ended.
const LONGEST_PROMPT: usize = 256;

/// The lines of a growing console log.
#[derive(Debug)]
pub struct Follow {
    tail: Tail,
    engine: Engine,
    bytes: Vec<u8>,
    lines: VecDeque<Line>,
}

impl Follow {
    /// Follow the log at `path` from `offset` on (bytes from its start). Needs a running tokio reactor.
    pub fn open(path: &Utf8Path, offset: u64) -> std::io::Result<Self> {
        let tail = Tail::open(path, offset)?;
        Ok(Self { tail, engine: Engine::new(offset), bytes: Vec::new(), lines: VecDeque::new() })
    }

    /// The next line that fits, whenever it comes. One that has not ended counts as far as it has come: a
    /// prompt never ends. It may be dropped and called again without losing a line.
    pub async fn line(&mut self, mut fits: impl FnMut(&str) -> bool) -> std::io::Result<Line> {
        loop {
            while let Some(line) = self.lines.pop_front() {
                if fits(&line.text) {
                    return Ok(line);
                }
            }
            if let Some(line) = self.engine.prompt(LONGEST_PROMPT).filter(|line| fits(&line.text)) {
                return Ok(line);
            }
            self.tail.more(&mut self.bytes).await?;
            let lines = &mut self.lines;
            self.engine.feed(&self.bytes, |line| lines.push_back(line));
            self.bytes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn a_line_is_found_however_it_comes_and_only_from_the_offset_on() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let old = b"Reached target old\r\n";
        file.write_all(old).unwrap();
        let path = Utf8Path::from_path(file.path()).unwrap().to_owned();
        let mut follow = Follow::open(&path, old.len() as u64).unwrap();
        let write = async {
            for piece in
                ["[  OK  ] Reached tar", "[    1.000000] vda: vda1\r\n", "get \x1b[1mnew\x1b[0m\r\nlo", "gin: "]
            {
                tokio::task::yield_now().await;
                file.write_all(piece.as_bytes()).unwrap();
            }
        };
        let (found, ()) = tokio::join!(follow.line(|line| line.contains("Reached target")), write);
        let found = found.unwrap();
        assert_eq!((found.text.as_str(), found.offset), ("[  OK  ] Reached target new", old.len() as u64));
        assert_eq!(follow.line(|line| line == "login: ").await.unwrap().text, "login: ", "a prompt never ends");
    }
}
