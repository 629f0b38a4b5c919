//! The console as the monitor keeps it: every byte in one file, cut by boot, watched by the rules.

use super::events::monotonic;
use super::kept::{Cut, Kept, Limits};
use crate::console::allow::Allowed;
use crate::console::rules::{Finding, Watcher};
use crate::console::times::PERIOD_S;
use camino::Utf8Path;
use host::print;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// A boot says some 100 KiB.
const LIMITS: Limits = Limits { head: 16 << 20, tail: 16 << 20, step: 1 << 20, most: 64 << 20 };
/// Events per rule and boot; a guest can repeat one line for ever.
const EVENTS_PER_RULE: u32 = 20;

/// The console log.
#[derive(Debug)]
pub(crate) struct ConsoleLog {
    kept: Kept,
    times: TimesFile,
    watcher: Watcher,
    counts: HashMap<&'static str, u32>,
    boots: u64,
    /// Where the last boot began; none if something else was told since.
    boot_at: Option<u64>,
    /// Whether a kernel has spoken in this part. One that speaks after it was started by it.
    kernel: bool,
}

/// What is worth an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// A rule matched; `last` says that this boot's further matches of the same rule are not told.
    Rule { finding: Finding, last: bool },
    /// Nothing more is written to the file, for this reason.
    Full(String),
    /// From now on only the first `head` and the last `tail` bytes are kept.
    Gap { head: u64, tail: u64 },
    /// A kernel began without a reset of the machine: boot `n`, whose first line stands at `offset`.
    Kernel { n: u64, offset: u64 },
}

impl ConsoleLog {
    /// Open the log and the file of its times, made if they are not there, and append to them.
    pub(crate) fn open(path: &Utf8Path, times: &Utf8Path, allowed: Allowed) -> std::io::Result<Self> {
        let kept = Kept::open(path, LIMITS)?;
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(times)?;
        let times = TimesFile { file, last: f64::NEG_INFINITY, count: 0 };
        let watcher = Watcher::new(kept.length(), allowed);
        Ok(Self { kept, times, watcher, counts: HashMap::new(), boots: 0, boot_at: None, kernel: false })
    }

    /// Bytes in the log.
    pub(crate) fn length(&self) -> u64 {
        self.kept.length()
    }

    /// Boots so far.
    pub(crate) fn boots(&self) -> u64 {
        self.boots
    }

    /// Take the console's next bytes. The rules go on when the file cannot.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<Note> {
        let mut notes = Vec::new();
        let at = self.length();
        notes.extend(self.kept.take(bytes).map(|cut| match cut {
            Cut::Gap { head, tail } => Note::Gap { head, tail },
            Cut::Full(why) => Note::Full(why),
        }));
        if self.length() > at {
            self.times.note(at);
        }
        let found = self.watcher.feed(bytes);
        notes.extend(self.tell(found));
        for offset in self.watcher.kernels() {
            notes.extend(self.kernel(offset));
        }
        notes
    }

    /// A kernel has said its first line at `offset`. After a reset that is the boot that began there; otherwise the
    /// kernel before it has started it (kexec), and a boot begins here.
    fn kernel(&mut self, offset: u64) -> Option<Note> {
        if !std::mem::replace(&mut self.kernel, true) {
            return None;
        }
        self.counts.clear();
        self.boot_at = Some(offset);
        self.boots += 1;
        Some(Note::Kernel { n: self.boots, offset })
    }

    /// The machine begins anew here. A reset that comes before the machine has said a word since the
    /// last one is the same boot (a guest's reboot gives two): then there is no number.
    pub(crate) fn cut(&mut self) -> (Vec<Note>, Option<u64>) {
        if self.boot_at == Some(self.length()) && !self.kept.is_full() {
            return (Vec::new(), None);
        }
        let notes = self.part();
        self.boot_at = Some(self.length());
        self.kernel = false;
        self.boots += 1;
        (notes, Some(self.boots))
    }

    /// An earlier boot goes on here from a snapshot. A reset that follows is a boot, even if the machine has
    /// not said a word in between.
    pub(crate) fn restore(&mut self) -> Vec<Note> {
        let notes = self.part();
        self.boot_at = None;
        self.kernel = true;
        notes
    }

    fn part(&mut self) -> Vec<Note> {
        let found = self.watcher.cut();
        let notes = self.tell(found).collect();
        self.counts.clear();
        notes
    }

    fn tell(&mut self, found: Vec<Finding>) -> impl Iterator<Item = Note> {
        found.into_iter().filter_map(|finding| {
            let count = self.counts.entry(finding.id).or_default();
            *count += 1;
            (*count <= EVENTS_PER_RULE).then_some(Note::Rule { last: *count == EVENTS_PER_RULE, finding })
        })
    }
}

/// The file of times ([`crate::console::times`]).
#[derive(Debug)]
struct TimesFile {
    file: File,
    last: f64,
    count: u64,
}

/// Times at the full rate: half an hour of a flood, some 4 MiB. Then one a second.
const CLOSE_TIMES: u64 = 200_000;
const LATE_PERIOD_S: f64 = 1.0;

impl TimesFile {
    /// The byte at `offset` has come now. A time that cannot be written costs a time and nothing else.
    fn note(&mut self, offset: u64) {
        let now = monotonic();
        let period = if self.count < CLOSE_TIMES { PERIOD_S } else { LATE_PERIOD_S };
        if now - self.last >= period {
            self.count += 1;
            self.last = now;
            if let Err(error) = self.file.write_all(format!("{now:.6} {offset}\n").as_bytes()) {
                print::err(&format!("the time of the console's byte {offset} is lost: {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::gap;
    use camino::Utf8PathBuf;

    fn scratch() -> (tempfile::TempDir, ConsoleLog) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("console.log")).unwrap();
        (dir, ConsoleLog::open(&path, &path.with_extension("times"), Allowed::default()).unwrap())
    }

    #[test]
    fn a_boot_after_a_flood_is_where_its_event_says() {
        let (keep, mut log) = scratch();
        let path = Utf8PathBuf::from_path_buf(keep.path().join("console.log")).unwrap();
        log.kept = Kept::open(&path, Limits { head: 1 << 16, tail: 1 << 16, step: 1 << 16, most: 1 << 20 }).unwrap();
        log.cut();
        let chunk = b"0123456789abcde\n".repeat(1024);
        let notes: Vec<_> = (0..32).flat_map(|_| log.take(&chunk)).collect();
        assert_eq!(notes, [Note::Gap { head: 1 << 16, tail: 1 << 16 }], "said once");
        let end = log.length();
        assert_eq!((log.cut().1, end), (Some(2), 1 << 19));
        log.take(b"the new boot\r\n");
        assert_eq!(gap::text(&path, end..u64::MAX).unwrap(), b"the new boot\r\n");
    }

    #[test]
    fn two_resets_in_a_row_are_one_boot() {
        let (_keep, mut log) = scratch();
        assert_eq!(log.cut().1, Some(1));
        log.take(b"booting\r\n");
        assert_eq!(log.cut().1, Some(2));
        assert_eq!(log.cut().1, None);
        log.take(b"booting again\r\n");
        assert_eq!(log.cut().1, Some(3));
    }

    #[test]
    fn a_second_kernel_without_a_reset_is_a_boot_of_its_own() {
        let (_keep, mut log) = scratch();
        let first_line: &[u8] = b"[    0.000000] Linux version 6.12\r\n";
        let kernels = |notes: Vec<Note>| -> Vec<_> {
            let told = |note| match note {
                Note::Kernel { n, offset } => Some((n, offset)),
                _ => None,
            };
            notes.into_iter().filter_map(told).collect()
        };
        log.cut();
        assert!(kernels(log.take(first_line)).is_empty(), "the boot that the reset began");
        let end = log.length();
        assert_eq!(kernels(log.take(&[b"kexec_core: Starting new kernel\r\n", first_line].concat())), [(2, end + 33)]);
        assert_eq!(log.cut().1, Some(3), "a reset after it");
        assert!(kernels(log.take(first_line)).is_empty());
        log.restore();
        let end = log.length();
        assert_eq!(kernels(log.take(first_line)), [(4, end)], "a restored machine has a kernel");
    }

    #[test]
    fn every_byte_has_a_time_even_when_they_come_in_a_flood() {
        let (keep, mut log) = scratch();
        let begin = monotonic();
        for _ in 0..1000 {
            log.take(b"x");
        }
        let text = std::fs::read_to_string(keep.path().join("console.times")).unwrap();
        let times = crate::console::times::Times::parse(&text);
        assert!((begin..=monotonic()).contains(&times.at(0).unwrap()));
        assert_eq!(times.at(999), times.before(f64::MAX).map(|(time, _)| time));
        assert!(text.lines().count() < 500, "a flood does not write a time per byte");
    }

    #[test]
    fn a_reset_after_a_restore_is_a_boot_and_the_restore_is_none() {
        let (_keep, mut log) = scratch();
        assert_eq!(log.cut().1, Some(1));
        log.restore();
        assert_eq!((log.boots(), log.cut().1), (1, Some(2)));
    }

    #[test]
    fn a_repeated_line_gives_so_many_events_and_no_more_until_the_next_boot() {
        let (_keep, mut log) = scratch();
        let flood = b"Buffer I/O error on dev vda\r\n".repeat(100);
        let notes = log.take(&flood);
        assert_eq!(notes.len(), EVENTS_PER_RULE as usize);
        assert!(matches!(notes.last(), Some(Note::Rule { last: true, .. })));
        assert!(log.take(&flood).is_empty());
        log.cut();
        assert!(!log.take(&flood).is_empty());
    }

    #[test]
    fn a_line_cut_off_by_a_reset_is_still_judged() {
        let (_keep, mut log) = scratch();
        log.cut();
        assert!(log.take(b"[    1.000000] Kernel panic - not syncing: gone").is_empty());
        let (notes, boot) = log.cut();
        assert_eq!((notes.len(), boot), (1, Some(2)));
    }
}
