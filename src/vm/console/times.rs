//! When the console's bytes came: a small file beside the log, so that any line of it has a time.
//!
//! Each line is `<CLOCK_MONOTONIC seconds> <offset>`: at that time the byte at that offset of the log came,
//! the first of a chunk. The times are those of the journal ([`crate::monitor::events::Event::mono`]).

use camino::Utf8Path;

/// The times of a console log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times(Vec<(f64, u64)>);

impl Times {
    /// Read the file; one that is not there has no times.
    pub fn read(path: &Utf8Path) -> std::io::Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e),
        }
    }

    /// The times in a file's text, without a last line that is still being written.
    pub fn parse(text: &str) -> Self {
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let entry = |line: &str| {
            let (mono, offset) = line.split_once(' ')?;
            Some((mono.parse().ok()?, offset.parse().ok()?))
        };
        Self(text[..whole].lines().filter_map(entry).collect())
    }

    /// When the byte at `offset` came, in seconds; it may have come up to [`PERIOD_S`] later.
    pub fn at(&self, offset: u64) -> Option<f64> {
        let after = self.0.partition_point(|(_, begin)| *begin <= offset);
        Some(self.0.get(after.checked_sub(1)?)?.0)
    }

    /// The first chunk that came at `mono` or later: its time and its offset.
    pub fn since(&self, mono: f64) -> Option<(f64, u64)> {
        self.0.get(self.0.partition_point(|(time, _)| *time < mono)).copied()
    }

    /// The last chunk that came before `mono`: its time and its offset.
    pub fn before(&self, mono: f64) -> Option<(f64, u64)> {
        self.0.get(self.0.partition_point(|(time, _)| *time < mono).checked_sub(1)?).copied()
    }
}

/// How often a time is noted at most, in seconds.
pub const PERIOD_S: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_has_the_time_of_the_chunk_that_brought_it() {
        let times = Times::parse("1.5 0\n2.25 100\n9.0 250\n10.0 3");
        assert_eq!([0, 99, 100, 249, 250, 9999].map(|at| times.at(at).unwrap()), [1.5, 1.5, 2.25, 2.25, 9.0, 9.0]);
        assert_eq!(Times::default().at(0), None);
        assert_eq!(Times::parse("2.0 7\n").at(6), None, "what came before the first note has no time");
    }

    #[test]
    fn the_chunks_around_a_moment_are_found() {
        let times = Times::parse("1.5 0\n2.25 100\n9.0 250\n");
        assert_eq!(times.since(2.25), Some((2.25, 100)));
        assert_eq!(times.since(2.26), Some((9.0, 250)));
        assert_eq!(times.before(2.25), Some((1.5, 0)));
        assert_eq!(times.since(9.5), None);
        assert_eq!(times.before(1.5), None);
    }
}
