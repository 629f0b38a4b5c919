//! Pieces of a console log as clean text: for errors, and for the last words of a boot.

use super::engine::Engine;
use camino::Utf8Path;
use host::presence::ignore;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// As much of a log's end as its last lines can need, in bytes.
const WINDOW: u64 = 16 * 1024;

/// The last lines of a log that are not empty; none if it cannot be read.
pub fn last_lines(log: &Utf8Path, count: usize) -> Vec<String> {
    let length = std::fs::metadata(log).map_or(0, |meta| meta.len());
    let start = length.saturating_sub(WINDOW);
    let mut lines = lines(&read(log, start, None));
    // The first line of a window is rarely whole.
    if start > 0 && !lines.is_empty() {
        lines.remove(0);
    }
    lines.split_off(lines.len().saturating_sub(count))
}

/// The clean text of a log between two offsets in bytes; empty if it cannot be read.
pub fn text_of(log: &Utf8Path, start: u64, end: Option<u64>) -> String {
    lines(&read(log, start, end)).join("\n")
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let (mut engine, mut lines) = (Engine::new(0), Vec::new());
    engine.feed(bytes, |line| lines.push(line.text));
    engine.flush(|line| lines.push(line.text));
    lines.retain(|line| !line.trim().is_empty());
    lines
}

fn read(log: &Utf8Path, start: u64, end: Option<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(log)
        && file.seek(SeekFrom::Start(start)).is_ok()
    {
        let length = end.map_or(u64::MAX, |end| end.saturating_sub(start));
        ignore(file.take(length).read_to_end(&mut bytes), "what was read before is the best that there is");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_clean_and_the_text_between_two_cuts_is_that_boots_own() {
        let dir = tempfile::tempdir().unwrap();
        let log = camino::Utf8PathBuf::from_path_buf(dir.path().join("console.log")).unwrap();
        std::fs::write(&log, "old boot\r\n\x1b[32mreboot: Restarting system\x1b[0m\r\nnew boot\r\nlogin: ").unwrap();
        assert_eq!(last_lines(&log, 2), ["new boot", "login: "]);
        let old = text_of(&log, 0, Some(46));
        assert!(old.contains("reboot: Restarting system") && !old.contains("new boot"), "{old:?}");
    }
}
