//! From the bytes of a serial console to lines of text.
//!
//! A serial console carries several writers at once: the kernel starts a record wherever the cursor
//! happens to be, in the middle of another program's line too, and systemd paints with ANSI and OSC
//! sequences. So three things are done here, in this order: control sequences go, bytes become
//! lines, and a kernel record inside a line is lifted out, so that what it split is whole again.

use regex::bytes::Regex;
use std::sync::LazyLock;

/// The longest line that is kept, in bytes; a longer one is cut into several.
const LONGEST_LINE: usize = 16 * 1024;
/// The longest control string (OSC, DCS); a longer one was none, but a stray introducer.
const LONGEST_CONTROL: usize = 4096;

/// The longest control sequence (`ESC [ …`); they have some ten bytes.
const LONGEST_SEQUENCE: usize = 64;

/// A line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its text, without control sequences and without its end.
    pub text: String,
    /// Whether it is a kernel record (`[   12.345678] …`).
    pub kernel: bool,
    /// Where it begins, in bytes from where the engine was started.
    pub offset: u64,
    /// Which line of the file it begins in, from 1, counted from where the engine was started.
    pub row: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    Escape,
    /// `ESC [` up to a final byte (ECMA-48 control sequence).
    Sequence,
    /// `ESC ]`, `ESC P`, `ESC X`, `ESC ^`, `ESC _` up to BEL or `ESC \`.
    String,
    StringEscape,
}

/// Where something begins.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    offset: u64,
    row: u64,
}

/// Turns console bytes into lines, however they are cut into chunks.
#[derive(Debug)]
pub struct Engine {
    state: State,
    /// What the state has swallowed so far: it may turn out to be text.
    control: Vec<u8>,
    /// What a kernel record broke off, and what goes on behind the record.
    owed: Option<State>,
    after_cr: bool,
    line: Vec<u8>,
    line_at: Place,
    /// User text that a kernel record cut off, and where it began.
    held: Option<(String, Place)>,
    at: Place,
}

/// The time stamp of a kernel record, with the caller field of CONFIG_PRINTK_CALLER if there is one.
static STAMP: LazyLock<Regex> = LazyLock::new(|| pattern(r"\[ *[0-9]{1,7}\.[0-9]{6}\](\[ *[TC][0-9]+\])? "));
/// The same, cut off anywhere by the end of what has come so far.
static STAMP_BEGUN: LazyLock<Regex> = LazyLock::new(|| pattern(r"\[ *([0-9]{1,7}(\.[0-9]{0,6})?)?$"));

fn pattern(text: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the patterns are literals, compiled by the unit tests")]
    Regex::new(text).expect("a literal pattern")
}

/// Bytes that stand for themselves.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x7e | 0x80..=0xff)
}

impl Engine {
    /// An engine for bytes that begin at `offset` in their file.
    pub fn new(offset: u64) -> Self {
        let at = Place { offset, row: 1 };
        let (control, line, held) = Default::default();
        Self { state: State::Text, control, owed: None, after_cr: false, line, line_at: at, held, at }
    }

    /// Take the next bytes; each line that they end goes to `out`.
    pub fn feed(&mut self, bytes: &[u8], mut out: impl FnMut(Line)) {
        let mut rest = bytes;
        while let Some(byte) = rest.first() {
            // A gap in a log that was flooded is read as zeros, and can be long. They say nothing anyway.
            if *byte == 0 && self.state == State::Text {
                let zeros = rest.iter().take_while(|byte| **byte == 0).count();
                self.at.offset += zeros as u64;
                rest = &rest[zeros..];
                continue;
            }
            // The usual case, many bytes at once.
            let plain = match self.state == State::Text && !self.after_cr && !self.line.is_empty() {
                true => {
                    rest.iter().take(LONGEST_LINE - self.line.len() - 1).take_while(|byte| is_plain(**byte)).count()
                }
                false => 0,
            };
            if plain > 0 {
                self.line.extend_from_slice(&rest[..plain]);
                self.at.offset += plain as u64;
                rest = &rest[plain..];
                continue;
            }
            self.take(*byte, &mut out);
            self.at.offset += 1;
            self.at.row += u64::from(*byte == b'\n');
            rest = &rest[1..];
        }
    }

    /// The line feeds so far, and one.
    pub fn row(&self) -> u64 {
        self.at.row
    }

    /// The text of the line that has not ended yet, without a kernel record that has begun in it.
    /// This is where a prompt stands.
    pub fn partial(&self) -> String {
        let stamp = STAMP.find(&self.line).or_else(|| STAMP_BEGUN.find(&self.line));
        let user = &self.line[..stamp.map_or(self.line.len(), |stamp| stamp.start())];
        let held = self.held.as_ref().map_or("", |(held, _)| held);
        format!("{held}{}", String::from_utf8_lossy(user))
    }

    /// The same as a line, if it is as short as prompts are (`longest` bytes): to look at a long one again
    /// and again, whenever a byte comes, would cost its square.
    pub(crate) fn prompt(&self, longest: usize) -> Option<Line> {
        let held = self.held.as_ref().map_or(0, |(held, _)| held.len());
        let text = Some(self.line.len() + held).filter(|length| *length <= longest).map(|_| self.partial())?;
        let Place { offset, row } = self.held.as_ref().map_or(self.line_at, |(_, place)| *place);
        (!text.is_empty()).then_some(Line { text, kernel: false, offset, row })
    }

    /// The writers are gone (the machine was reset): hand out what they left unfinished.
    pub fn flush(&mut self, mut out: impl FnMut(Line)) {
        if let Some(record) = self.record_in_string() {
            self.give_back(record, &mut out);
        }
        self.end_line(&mut out);
        self.let_go(&mut out);
        (self.state, self.owed, self.after_cr) = (State::Text, None, false);
    }

    fn take(&mut self, byte: u8, out: &mut impl FnMut(Line)) {
        match self.state {
            State::Text => self.text(byte, self.at, out),
            State::Escape => match byte {
                b'[' => self.enter(State::Sequence, byte),
                b']' | b'P' | b'X' | b'^' | b'_' => self.enter(State::String, byte),
                0x20..=0x2f => {}
                b'\r' | b'\n' => self.broken(byte, None, out),
                _ => self.state = State::Text,
            },
            State::Sequence => self.sequence(byte, out),
            State::String | State::StringEscape => self.string(byte, out),
        }
    }

    fn enter(&mut self, state: State, byte: u8) {
        self.state = state;
        self.control.clear();
        self.control.push(byte);
    }

    /// Parameters, then intermediates, then one final byte. Where a kernel record begins inside, this order
    /// does not hold: its stamp has a space or a dot before a digit, and no sequence has a second `[`.
    fn sequence(&mut self, byte: u8, out: &mut impl FnMut(Line)) {
        let behind = self.control.last().is_some_and(|last| matches!(last, 0x20..=0x2f));
        match byte {
            b'\r' | b'\n' | 0x1b => self.broken(byte, None, out),
            b'[' => self.broken(byte, Some(State::Sequence), out),
            0x40..=0x7e => self.state = State::Text,
            0x30..=0x3f if behind => self.give_back_and(byte, Some(State::Escape), out),
            _ if self.control.len() >= LONGEST_SEQUENCE => self.give_back_and(byte, None, out),
            _ => self.control.push(byte),
        }
    }

    /// Anything up to BEL or `ESC \`. A kernel record inside is told by its stamp, once its line ends.
    fn string(&mut self, byte: u8, out: &mut impl FnMut(Line)) {
        match byte {
            0x07 => self.state = State::Text,
            b'\\' if self.state == State::StringEscape => self.state = State::Text,
            b'\r' | b'\n' => {
                let Some(record) = self.record_in_string() else { return self.broken(byte, None, out) };
                let escaped = self.control[..record].ends_with(b"\x1b");
                self.give_back(record, out);
                self.broken(byte, Some(if escaped { State::StringEscape } else { State::String }), out);
            }
            _ if self.control.len() >= LONGEST_CONTROL => self.give_back_and(byte, None, out),
            _ => {
                self.control.push(byte);
                self.state = if byte == 0x1b { State::StringEscape } else { State::String };
            }
        }
    }

    /// Where a kernel record begins in a string that has not ended.
    fn record_in_string(&self) -> Option<usize> {
        let in_string = matches!(self.state, State::String | State::StringEscape);
        in_string.then(|| STAMP.find(&self.control)).flatten().map(|stamp| stamp.start())
    }

    /// What was begun ends here, unless a kernel record stands in between: this byte is text again.
    fn broken(&mut self, byte: u8, owed: Option<State>, out: &mut impl FnMut(Line)) {
        (self.state, self.owed) = (State::Text, owed);
        self.control.clear();
        self.text(byte, self.at, out);
    }

    /// What was begun was none: it is text, and this byte, too.
    fn give_back_and(&mut self, byte: u8, owed: Option<State>, out: &mut impl FnMut(Line)) {
        self.give_back(0, out);
        self.broken(byte, owed, out);
    }

    /// What was swallowed, from its `from`th byte on, is text.
    fn give_back(&mut self, from: usize, out: &mut impl FnMut(Line)) {
        if !matches!(self.state, State::Sequence | State::String | State::StringEscape) {
            return;
        }
        let control = std::mem::take(&mut self.control);
        self.state = State::Text;
        for (n, byte) in control.iter().enumerate().skip(from) {
            let offset = self.at.offset.saturating_sub((control.len() - n) as u64);
            self.text(*byte, Place { offset, ..self.at }, out);
        }
    }

    fn text(&mut self, byte: u8, at: Place, out: &mut impl FnMut(Line)) {
        match byte {
            b'\n' => {
                // What a kernel record broke off goes on behind it; behind anything else nothing does.
                let (owed, record) = (self.owed.take(), self.end_line(out));
                self.state = owed.filter(|_| record).unwrap_or(State::Text);
                self.after_cr = false;
            }
            b'\r' => self.after_cr = true,
            0x1b => self.state = State::Escape,
            0x08 => {
                self.line.pop();
            }
            byte if is_plain(byte) => {
                // A carriage return alone goes back and paints over: both texts are worth keeping.
                if std::mem::take(&mut self.after_cr) && !self.line.is_empty() {
                    self.end_line(out);
                }
                if self.line.is_empty() {
                    self.line_at = at;
                }
                self.line.push(byte);
                if self.line.len() >= LONGEST_LINE {
                    self.end_line(out);
                }
            }
            _ => {}
        }
    }

    /// Hand out the line; whether it was a kernel record.
    fn end_line(&mut self, out: &mut impl FnMut(Line)) -> bool {
        let bytes = std::mem::take(&mut self.line);
        let place = self.line_at;
        let stamp = STAMP.find(&bytes).map(|stamp| stamp.range());
        if let Some(stamp) = &stamp {
            let user = String::from_utf8_lossy(&bytes[..stamp.start]).into_owned();
            self.hold(&user, bytes[stamp.end..].starts_with(b"Linux version "), out);
            let text = String::from_utf8_lossy(&bytes[stamp.start..]).into_owned();
            out(Line { text, kernel: true, offset: place.offset + stamp.start as u64, row: place.row });
        } else if !bytes.is_empty() || self.held.is_some() {
            let (mut text, Place { offset, row }) = self.held.take().unwrap_or((String::new(), place));
            text.push_str(&String::from_utf8_lossy(&bytes));
            out(Line { text, kernel: false, offset, row });
        }
        // The same memory for the next line.
        self.line = bytes;
        self.line.clear();
        stamp.is_some()
    }

    /// Keep what a kernel record cut off until its writer goes on; after a new kernel's first record nobody
    /// will.
    fn hold(&mut self, user: &str, new_kernel: bool, out: &mut impl FnMut(Line)) {
        if new_kernel {
            self.let_go(out);
        }
        if !user.is_empty() {
            let (held, _) = self.held.get_or_insert((String::new(), self.line_at));
            held.push_str(user);
            if held.len() >= LONGEST_LINE {
                self.let_go(out);
            }
        }
    }

    fn let_go(&mut self, out: &mut impl FnMut(Line)) {
        if let Some((text, Place { offset, row })) = self.held.take() {
            out(Line { text, kernel: false, offset, row });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(bytes: &[u8]) -> (Vec<String>, String) {
        let mut engine = Engine::new(0);
        let mut found = Vec::new();
        engine.feed(bytes, |line| found.push(line.text));
        (found, engine.partial())
    }

    #[test]
    fn colours_titles_and_doubled_carriage_returns_go() {
        let (found, _) =
            lines(b"[\x1b[0;32m  OK  \x1b[0m] Started \x1b]0;title\x07x\x1b(B.\r\r\n\x1b]3008;a=b\x1b\\y\r\n");
        assert_eq!(found, ["[  OK  ] Started x.", "y"]);
    }

    #[test]
    fn a_kernel_record_inside_a_prompt_leaves_the_prompt_whole() {
        let (found, partial) = lines(b"askari lo[   12.345678] eth0: link up\r\ngin: ");
        assert_eq!(found, ["[   12.345678] eth0: link up"]);
        assert_eq!(partial, "askari login: ");
    }

    #[test]
    fn a_kernel_record_that_has_only_begun_does_not_hide_the_prompt() {
        for begun in ["[", "[    ", "[   12", "[   12.34", "[   12.345678] eth0"] {
            assert_eq!(lines(format!("askari login: {begun}").as_bytes()).1, "askari login: ", "{begun}");
        }
    }

    #[test]
    fn a_kernel_record_inside_a_colour_is_still_a_record() {
        let (found, _) = lines(b"ab\x1b[0;[    1.000001] split\r\n32mcd\r\n");
        assert_eq!(found[0], "[    1.000001] split");
        assert!(found[1].starts_with("ab") && found[1].ends_with("cd"), "{found:?}");
    }

    #[test]
    fn many_records_in_one_line_still_leave_it_whole() {
        let (found, _) =
            lines(b"You are in e[  1.000001] a\r\n[  1.000002] b\r\nmergen[  1.000003][   T1] c\r\ncy mode\r\n");
        assert_eq!(found[3], "You are in emergency mode");
    }

    #[test]
    fn a_prompt_of_the_old_boot_does_not_stand_in_the_new_one() {
        let (found, partial) =
            lines(b"root# [   99.000000] reboot: Restarting\r\n[    0.000000] Linux version 6.12\r\n");
        assert_eq!(found[1], "root# ");
        assert_eq!(partial, "");
    }

    #[test]
    fn a_spinner_that_paints_over_itself_leaves_every_text() {
        let (found, partial) = lines(b"job running (1s)\rjob running (2s)\r\n> ");
        assert_eq!(found, ["job running (1s)", "job running (2s)"]);
        assert_eq!(partial, "> ");
    }

    #[test]
    fn an_offset_is_where_the_text_stands_in_the_file() {
        let mut engine = Engine::new(100);
        let mut at = Vec::new();
        engine.feed(b"one\r\nab[    1.000001] k\r\nc\r\n", |line| at.push((line.offset, line.kernel)));
        assert_eq!(at, [(100, false), (107, true), (105, false)]);
    }

    #[test]
    fn an_unended_control_string_does_not_swallow_the_console() {
        let (found, _) = lines(b"\x1b]0;never ended\r\nKernel panic\r\n");
        assert_eq!(found.last().unwrap(), "Kernel panic");
    }

    const RECORD: &str = "[   12.345678] eth0: link up";

    #[test]
    fn a_record_inside_any_control_sequence_leaves_the_line_whole() {
        // Colours, a title, a context of systemd's (OSC 3008), a private mode, a stamp without spaces.
        let line = "\x1b[0;1;31memer\x1b]0;a title\x07gency\x1b]3008;start=1;x=[0\x1b\\ mo\x1b[?25lde\x1b[0m";
        for record in [RECORD, "[12345.678901][    T1] eth0: link up"] {
            for at in 0..=line.len() {
                let (before, after) = line.split_at(at);
                let (found, _) = lines(format!("{before}{record}\r\n{after}\r\n").as_bytes());
                assert_eq!(found, [record, "emergency mode"], "cut at {at}: {after:?} comes behind the record");
            }
        }
    }

    #[test]
    fn a_stray_introducer_hides_nothing_for_long() {
        let (found, _) = lines(format!("\x1b[{}Kernel panic\r\n", ";".repeat(100)).as_bytes());
        assert!(found[0].ends_with("Kernel panic"), "{found:?}");
        let (found, _) = lines(format!("\x1b]{}Kernel panic\r\n", "x".repeat(LONGEST_CONTROL)).as_bytes());
        assert!(found[0].ends_with("Kernel panic"), "{found:?}");
        let (found, _) = lines(b"\x1b]0;never ended\x1b\r\nKernel panic\r\n");
        assert_eq!(found, ["Kernel panic"]);
    }

    #[test]
    fn a_record_that_a_reset_cut_off_inside_a_title_is_handed_out() {
        let (mut engine, mut found) = (Engine::new(0), Vec::new());
        engine.feed(b"\x1b]0;a ti[    2.000001] Kernel panic", |line| found.push(line.text));
        engine.flush(|line| found.push(line.text));
        assert_eq!(found, ["[    2.000001] Kernel panic"]);
    }

    #[test]
    fn a_row_is_the_line_of_the_file_that_the_text_begins_in() {
        let mut engine = Engine::new(0);
        let mut rows = Vec::new();
        engine.feed(b"one\r\n\r\nab[    1.000001] k\r\nc\nprogress\rmore\r\n", |line| rows.push((line.row, line.text)));
        let rows: Vec<_> = rows.iter().map(|(row, text)| (*row, text.as_str())).collect();
        assert_eq!(rows, [(1, "one"), (3, "[    1.000001] k"), (3, "abc"), (5, "progress"), (5, "more")]);
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_into_chunks_does_not_matter(
            bytes in proptest::collection::vec(proptest::sample::select(b"a[ 1.234567]\x1b\r\n;m\x07\\\x08\xc3".to_vec()), 0..200),
            cut in 0usize..200,
        ) {
            let whole = lines(&bytes);
            let mut engine = Engine::new(0);
            let mut found = Vec::new();
            let (one, two) = bytes.split_at(cut.min(bytes.len()));
            engine.feed(one, |line| found.push(line.text));
            engine.feed(two, |line| found.push(line.text));
            prop_assert_eq!(whole, (found, engine.partial()));
        }
    }
}
