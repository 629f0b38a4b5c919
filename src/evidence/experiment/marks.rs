//! Marks of an unclean shutdown: what the new boot says about how the old one left its disk.

use regex::{Regex, RegexSet};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;
use vm::console::engine::Engine;

/// What a mark shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file system's journal was replayed: the file system had not been unmounted.
    JournalReplayed,
    /// Files that had been deleted and were still open were cleared away.
    OrphansCleared,
    /// A file system check mended something, or found that it was not unmounted.
    FsckMended,
    /// journald found its own files not closed.
    JournaldUnclean,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::JournalReplayed, Self::OrphansCleared, Self::FsckMended, Self::JournaldUnclean];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JournalReplayed => "journal-replayed",
            Self::OrphansCleared => "orphans-cleared",
            Self::FsckMended => "fsck-mended",
            Self::JournaldUnclean => "journald-unclean",
        }
    }
}

/// A line that shows an unclean shutdown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What it shows.
    pub kind: Kind,
    /// The line, without its time stamp.
    pub line: String,
}

/// The patterns, in the order of [`Kind::ALL`]. The texts are those of Linux 6.12 (ext4, XFS, btrfs), e2fsprogs
/// 1.47 and systemd 257.
const PATTERNS: [&str; 4] = [
    r"EXT4-fs \(.*\): recovery complete|: recovering journal|XFS \(.*\): (Starting|Ending) recovery|BTRFS info .*start tree-log replay",
    r"EXT4-fs \(.*\): (\d+ (orphan inode|truncate)|orphan cleanup)|[Cc]learing orphaned inode",
    r"was not cleanly unmounted|FILE SYSTEM WAS MODIFIED|fsck.*\bFIXED\b",
    r"corrupted or uncleanly shut ?down",
];

static ALL: LazyLock<RegexSet> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the patterns are literals, compiled by the unit tests")]
    RegexSet::new(PATTERNS).expect("literal patterns")
});

/// The marks in a console log, or in a journal's lines, each line once: the console and the journal
/// often say the same.
pub fn find<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for text in texts {
        let mut engine = Engine::new(0);
        let mut judge = |line: &str| {
            for n in &ALL.matches(line) {
                let mark = Mark { kind: Kind::ALL[n], line: bare(line).to_owned() };
                if !marks.contains(&mark) {
                    marks.push(mark);
                }
            }
        };
        engine.feed(text, |line| judge(&line.text));
        engine.flush(|line| judge(&line.text));
    }
    marks
}

/// What a line says, without who says it and when: the kernel's time stamp (`[   12.345678] `), the name of the
/// host, a program's name and number (`systemd-journald[287]: `).
fn bare(line: &str) -> &str {
    WRITER.find(line).map_or(line, |writer| &line[writer.end()..])
}

static WRITER: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the pattern is a literal, compiled by the unit tests")]
    Regex::new(r"^(\[ *[0-9.]+\] )?([\w.-]+ [\w.@-]+(\[\d+\])?: )?([\w.@-]+\[\d+\]: )?").expect("a literal pattern")
});

/// The lines of a journal (`-o short-monotonic`) that are not older than an uptime in seconds: where the
/// kernel did not restart, the journal of its boot goes back to before the restart.
pub fn since_uptime(journal: &str, uptime_s: f64) -> String {
    let young = |line: &&str| {
        let stamp = line.strip_prefix('[').and_then(|line| line.split_once(']')).map(|(stamp, _)| stamp.trim());
        stamp.and_then(|stamp| stamp.parse::<f64>().ok()).is_some_and(|time| time >= uptime_s)
    };
    journal.lines().filter(young).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("[    5.123456] EXT4-fs (vda2): recovery complete", Kind::JournalReplayed)]
    #[case("/dev/vda2: recovering journal", Kind::JournalReplayed)]
    #[case("[    5.123456] EXT4-fs (vda2): 2 orphan inodes deleted", Kind::OrphansCleared)]
    #[case("[    5.123456] EXT4-fs (vda2): orphan cleanup on readonly fs", Kind::OrphansCleared)]
    #[case("root: Clearing orphaned inode 12 (uid=0, gid=0, mode=0100600, size=0)", Kind::OrphansCleared)]
    #[case("root was not cleanly unmounted, check forced.", Kind::FsckMended)]
    #[case(
        "[   12.000000] askari systemd-journald[210]: File /var/log/journal/95/system.journal corrupted or uncleanly shut down, renaming and replacing.",
        Kind::JournaldUnclean
    )]
    fn a_line_that_shows_it_is_known(#[case] line: &str, #[case] kind: Kind) {
        let marks = find([format!("{line}\r\n").as_bytes()]);
        assert_eq!(marks.iter().map(|mark| mark.kind).collect::<Vec<_>>(), [kind]);
    }

    #[test]
    fn an_ordinary_boot_has_no_mark() {
        let log =
            b"[   82.6] EXT4-fs (vda2): mounted filesystem b07a1336 ro with ordered data mode. Quota mode: none.\r\n\
            root: clean, 19918/196608 files, 206925/785664 blocks\r\n\
            [  292.4] askari containerd[648]: level=info msg=\"Start recovering state\"\r\n\
            [   84.0] systemd-journald[210]: Received client request to flush runtime journal.\r\n";
        assert_eq!(find([log.as_slice()]), []);
    }

    #[test]
    fn what_the_console_and_the_journal_say_alike_is_one_mark() {
        let unclean =
            "File /var/log/journal/95/system.journal corrupted or uncleanly shut down, renaming and replacing.";
        let console = format!(
            "[    5.123456] EXT4-fs (vda2): recovery complete\r\n[   24.7] systemd-journald[287]: {unclean}\r\n"
        );
        let journal = format!(
            "[    5.123456] askari kernel: EXT4-fs (vda2): recovery complete\n\
             [   26.1] askari systemd-journald[287]: {unclean}\n[   24.7] askari kernel: systemd-journald[287]: {unclean}\n"
        );
        let marks = find([console.as_bytes(), journal.as_bytes()]);
        let lines: Vec<_> = marks.iter().map(|mark| mark.line.as_str()).collect();
        assert_eq!(lines, ["EXT4-fs (vda2): recovery complete", unclean]);
    }

    #[test]
    fn a_journal_is_cut_at_an_uptime() {
        let journal = "[    5.100000] a kernel: old\n[  120.500000] a kernel: new\nno stamp\n";
        assert_eq!(since_uptime(journal, 100.0), "[  120.500000] a kernel: new\n");
    }

    #[test]
    fn every_kind_has_its_pattern() {
        assert_eq!(ALL.len(), Kind::ALL.len());
    }
}
