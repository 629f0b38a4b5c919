//! What the console shows from outside: whether it lives from the boot loader to the login prompt, and what it says.

use crate::audit::outcome::Seen;
use crate::form::pattern::Pattern;
use camino::Utf8Path;
use host::deadline::Deadline;
use host::tail::Tail;
use std::time::{Duration, Instant};
use vm::console::engine::Engine;

/// How a console came to its login prompt, or did not.
#[derive(Clone, Debug, PartialEq)]
pub enum Course {
    /// It asks for a login, or has logged somebody in.
    Login {
        /// Seconds from the start of the machine.
        after_s: f64,
        /// Its longest silence, in seconds.
        silence_s: f64,
        /// What it had said last before that.
        before: String,
    },
    /// It fell silent.
    Silent {
        /// For how long, in seconds.
        silence_s: f64,
        /// The last line that it had said; empty if it never said anything.
        after: String,
    },
    /// It goes on talking, and not of a login.
    NoLogin {
        /// Seconds from the start of the machine.
        after_s: f64,
        /// The last line.
        last: String,
    },
}

/// Follow the console's log from its start until `is_login` knows the line that the cursor stands in. A silence longer than
/// `max_gap` ends it at once, for then the answer is known. `begun` is when the machine was started: what lies between and
/// the first look counts as well.
pub async fn follow(
    log: &Utf8Path,
    begun: Instant,
    max_gap: Duration,
    deadline: &Deadline,
    is_login: impl Fn(&str) -> bool,
) -> std::io::Result<Course> {
    let mut tail = Tail::open(log, 0)?;
    let mut engine = Engine::new(0);
    let (mut last_byte, mut last_line) = (begun, String::new());
    let (mut longest, mut before) = (Duration::ZERO, String::new());
    loop {
        let mut bytes = Vec::new();
        let patience = max_gap.saturating_sub(last_byte.elapsed()).min(deadline.left());
        let came = tokio::time::timeout(patience, tail.more(&mut bytes)).await;
        let silence = last_byte.elapsed();
        match came {
            Ok(more) => more?,
            Err(_) if silence >= max_gap => {
                return Ok(Course::Silent { silence_s: silence.as_secs_f64(), after: spoken(&engine, &last_line) });
            }
            Err(_) => {
                return Ok(Course::NoLogin {
                    after_s: begun.elapsed().as_secs_f64(),
                    last: spoken(&engine, &last_line),
                });
            }
        }
        if silence > longest {
            (longest, before) = (silence, spoken(&engine, &last_line));
        }
        last_byte = Instant::now();
        let mut logged_in = false;
        engine.feed(&bytes, |line| {
            logged_in |= !line.kernel && is_login(line.text.trim_end());
            if !line.text.trim().is_empty() {
                last_line = line.text;
            }
        });
        if logged_in || is_login(engine.partial().trim_end()) {
            let (after_s, silence_s) = (begun.elapsed().as_secs_f64(), longest.as_secs_f64());
            return Ok(Course::Login { after_s, silence_s, before });
        }
    }
}

/// The line that the cursor stands in, or the one before.
fn spoken(engine: &Engine, last_line: &str) -> String {
    let partial = engine.partial();
    if partial.trim().is_empty() { last_line.to_owned() } else { partial.trim_end().to_owned() }
}

/// What a course means.
pub fn judge(course: &Course) -> Seen {
    match course {
        Course::Login { after_s, silence_s, before } => {
            let place = if before.is_empty() { "before its first words".into() } else { format!("after {before:?}") };
            Seen::holds(format!("asks for a login after {after_s:.0} s; longest silence {silence_s:.0} s, {place}"))
        }
        Course::Silent { silence_s, after } if after.is_empty() => {
            Seen::fails("no word", format!("the serial console says nothing at all in {silence_s:.0} s"))
        }
        Course::Silent { silence_s, after } => {
            Seen::fails(after.clone(), format!("the serial console fell silent for {silence_s:.0} s after {after:?}"))
        }
        Course::NoLogin { after_s, last } => {
            Seen::fails(last.clone(), format!("no login prompt within {after_s:.0} s; the last line is {last:?}"))
        }
    }
}

/// The console never said it.
pub fn judge_never(pattern: &Pattern, text: &str) -> Seen {
    match pattern.line_in(text) {
        None => Seen::holds(format!("{pattern} is not in {} lines", text.lines().count())),
        Some(line) => Seen::fails(line.trim(), format!("the console says: {}", line.trim()))
            .in_text(text.lines().filter(|line| pattern.is_in(line)).take(50).collect::<Vec<_>>().join("\n")),
    }
}
