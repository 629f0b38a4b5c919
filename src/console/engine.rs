//! From the bytes of a serial console to lines of text.
//!
//! A serial console carries several writers at once: the kernel starts a record wherever the cursor
//! happens to be, in the middle of another program's line too, and systemd paints with ANSI and OSC
//! sequences. So three things are done here, in this order: control sequences go, bytes become
//! lines, and a kernel record inside a line is lifted out, so that what it split is whole again.

use regex::Regex;
use std::sync::LazyLock;

/// The longest line that is kept, in bytes; a longer one is cut into several.
const LONGEST_LINE: usize = 16 * 1024;
/// The longest control string (OSC, DCS); a longer one was none, but a stray introducer.
const LONGEST_CONTROL: usize = 4096;

/// A line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its text, without control sequences and without its end.
    pub text: String,
    /// Whether it is a kernel record (`[   12.345678] …`).
    pub kernel: bool,
    /// Where it begins, in bytes from where the engine was started.
    pub offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    Escape,
    /// `ESC [` up to a final byte (ECMA-48 control sequence).
    Sequence,
    /// `ESC ]`, `ESC P`, `ESC X`, `ESC ^`, `ESC _` up to BEL or `ESC \`.
    String(usize),
    StringEscape(usize),
}

/// Turns console bytes into lines, however they are cut into chunks.
#[derive(Debug)]
pub struct Engine {
    state: State,
    after_cr: bool,
    line: Vec<u8>,
    line_at: u64,
    /// User text that a kernel record cut off, and where it began.
    held: Option<(String, u64)>,
    at: u64,
}

/// The time stamp of a kernel record, with the caller field of CONFIG_PRINTK_CALLER if there is one.
static STAMP: LazyLock<Regex> = LazyLock::new(|| pattern(r"\[ *[0-9]{1,7}\.[0-9]{6}\](\[ *[TC][0-9]+\])? "));
/// The same, cut off anywhere by the end of what has come so far.
static STAMP_BEGUN: LazyLock<Regex> = LazyLock::new(|| pattern(r"\[ *([0-9]{1,7}(\.[0-9]{0,6})?)?$"));

fn pattern(text: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the patterns are literals, compiled by the unit tests")]
    Regex::new(text).expect("a literal pattern")
}

impl Engine {
    /// An engine for bytes that begin at `offset` in their file.
    pub fn new(offset: u64) -> Self {
        Self { state: State::Text, after_cr: false, line: Vec::new(), line_at: offset, held: None, at: offset }
    }

    /// Take the next bytes; each line that they end goes to `out`.
    pub fn feed(&mut self, bytes: &[u8], mut out: impl FnMut(Line)) {
        for byte in bytes {
            self.take(*byte, &mut out);
            self.at += 1;
        }
    }

    /// The text of the line that has not ended yet, without a kernel record that has begun in it.
    /// This is where a prompt stands.
    pub fn partial(&self) -> String {
        let line = String::from_utf8_lossy(&self.line);
        let user = match STAMP.find(&line).or_else(|| STAMP_BEGUN.find(&line)) {
            Some(stamp) => &line[..stamp.start()],
            None => &line,
        };
        match &self.held {
            Some((held, _)) => format!("{held}{user}"),
            None => user.to_owned(),
        }
    }

    /// The writers are gone (the machine was reset): hand out what they left unfinished.
    pub fn flush(&mut self, mut out: impl FnMut(Line)) {
        self.end_line(&mut out);
        if let Some((text, offset)) = self.held.take() {
            out(Line { text, kernel: false, offset });
        }
        self.state = State::Text;
        self.after_cr = false;
    }

    fn take(&mut self, byte: u8, out: &mut impl FnMut(Line)) {
        match self.state {
            State::Text => self.text(byte, out),
            State::Escape => match byte {
                b'[' => self.state = State::Sequence,
                b']' | b'P' | b'X' | b'^' | b'_' => self.state = State::String(0),
                0x20..=0x2f => {}
                b'\r' | b'\n' => self.again(byte, out),
                _ => self.state = State::Text,
            },
            State::Sequence => match byte {
                // A kernel record can begin inside a sequence; no sequence has a second `[`.
                b'[' | b'\r' | b'\n' | 0x1b => self.again(byte, out),
                0x40..=0x7e => self.state = State::Text,
                _ => {}
            },
            State::String(length) => match byte {
                0x07 => self.state = State::Text,
                0x1b => self.state = State::StringEscape(length),
                b'\r' | b'\n' => self.again(byte, out),
                _ if length >= LONGEST_CONTROL => self.again(byte, out),
                _ => self.state = State::String(length + 1),
            },
            State::StringEscape(length) => match byte {
                b'\\' => self.state = State::Text,
                _ if length >= LONGEST_CONTROL => self.again(byte, out),
                _ => self.state = State::String(length + 1),
            },
        }
    }

    /// The sequence was broken off: this byte belongs to the text again.
    fn again(&mut self, byte: u8, out: &mut impl FnMut(Line)) {
        self.state = State::Text;
        self.text(byte, out);
    }

    fn text(&mut self, byte: u8, out: &mut impl FnMut(Line)) {
        match byte {
            b'\n' => {
                self.end_line(out);
                self.after_cr = false;
            }
            b'\r' => self.after_cr = true,
            0x1b => self.state = State::Escape,
            0x08 => {
                self.line.pop();
            }
            b'\t' | 0x20..=0x7e | 0x80..=0xff => {
                // A carriage return alone goes back and paints over: both texts are worth keeping.
                if std::mem::take(&mut self.after_cr) && !self.line.is_empty() {
                    self.end_line(out);
                }
                if self.line.is_empty() {
                    self.line_at = self.at;
                }
                self.line.push(byte);
                if self.line.len() >= LONGEST_LINE {
                    self.end_line(out);
                }
            }
            _ => {}
        }
    }

    fn end_line(&mut self, out: &mut impl FnMut(Line)) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        let Some(stamp) = STAMP.find(&line) else {
            let (mut text, offset) = self.held.take().unwrap_or((String::new(), self.line_at));
            text.push_str(&line);
            return out(Line { text, kernel: false, offset });
        };
        let (user, record) = line.split_at(stamp.start());
        // A new kernel: whoever was cut off will not go on.
        if record[stamp.len()..].starts_with("Linux version ")
            && let Some((text, offset)) = self.held.take()
        {
            out(Line { text, kernel: false, offset });
        }
        if !user.is_empty() {
            let (held, _) = self.held.get_or_insert((String::new(), self.line_at));
            held.push_str(user);
            if held.len() >= LONGEST_LINE
                && let Some((text, offset)) = self.held.take()
            {
                out(Line { text, kernel: false, offset });
            }
        }
        out(Line { text: record.to_owned(), kernel: true, offset: self.line_at + user.len() as u64 });
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
