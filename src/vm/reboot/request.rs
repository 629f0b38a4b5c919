//! What is asked for: a mode, and when.

use super::mode::Mode;
use host::failure::{Blame, Exit};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A restart as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// How.
    pub mode: Mode,
    /// When.
    pub trigger: Trigger,
    /// Restart the machine by this mode first, and do the act in the boot that this begins.
    pub during: Option<Mode>,
}

/// When the act is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Trigger {
    /// At once.
    #[default]
    Now,
    /// That long after the request, or after the begin of the boot that [`Request::during`] begins.
    At(Duration),
    /// When a line of the console matches: one that comes after the request, or after the begin of that boot.
    OnConsole(Pattern),
}

/// A regular expression that compiles and does not match everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Regex);

/// A request as the user made it: what was left open comes from the plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// How, if it was said.
    pub via: Option<Mode>,
    /// When.
    pub trigger: Trigger,
    /// The restart in whose boot it is to be done, if it was said; `Some(None)`: in none.
    pub during: Option<Option<Mode>>,
}

/// Why something cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// A pattern that does not compile.
    #[error("{text:?} is no regular expression: {why}")]
    Pattern {
        /// The pattern.
        text: String,
        /// The compiler's words.
        why: String,
    },
    /// A pattern that every line matches.
    #[error("an empty pattern matches every line of the console")]
    Empty,
    /// A number of seconds that cannot be waited for.
    #[error("{text:?} is no number of seconds from 0 to 86400")]
    Seconds {
        /// The number.
        text: String,
    },
    /// A mode that the guest has to be asked for, in the middle of a boot.
    #[error(
        "{mode} is asked of a guest that can be logged in to, so it cannot be done {when}; what is done to the machine from outside can: {possible}"
    )]
    Asked {
        /// The mode.
        mode: Mode,
        /// When it was to be done.
        when: &'static str,
        /// The modes that can be had.
        possible: String,
    },
    /// A first restart that begins no boot of its own.
    #[error("no act can be done in the middle of a boot that {mode} begins; choose one of: {possible}")]
    During {
        /// The mode.
        mode: Mode,
        /// The modes that can be had.
        possible: String,
    },
    /// A first restart without a word on when the second comes.
    #[error("--during {mode} says in which boot, and nothing says when in it: add --at SECONDS or --on-console REGEX")]
    NoTrigger {
        /// The first mode.
        mode: Mode,
    },
}

impl Blame for BadRequest {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Choice {
    /// The request, with `mode` where none was chosen. A line of the console comes in a boot: where nothing was
    /// said of one, an orderly reboot begins it.
    pub fn request(&self, mode: Mode) -> Result<Request, BadRequest> {
        let usual = matches!(self.trigger, Trigger::OnConsole(_)).then_some(Mode::Guest);
        let request = Request {
            mode: self.via.unwrap_or(mode),
            trigger: self.trigger.clone(),
            during: self.during.unwrap_or(usual),
        };
        request.check().map(|()| request)
    }
}

impl Request {
    /// One that is done at once.
    pub fn now(mode: Mode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Refuse what cannot be done.
    pub fn check(&self) -> Result<(), BadRequest> {
        let done_to = || names(|mode| mode.row().done_to);
        let asked = |when| Err(BadRequest::Asked { mode: self.mode, when, possible: done_to() });
        match (&self.trigger, self.during) {
            (Trigger::Now, Some(mode)) => Err(BadRequest::NoTrigger { mode }),
            (_, Some(mode)) if !begins_a_boot(mode) => Err(BadRequest::During { mode, possible: names(begins_a_boot) }),
            (Trigger::OnConsole(_), _) if !self.mode.row().done_to => asked("at a line of the console"),
            (_, Some(_)) if !self.mode.row().done_to => asked("in the middle of a boot"),
            _ => Ok(()),
        }
    }
}

/// Whether a restart by this mode shows when its boot begins.
fn begins_a_boot(mode: Mode) -> bool {
    !matches!(mode, Mode::Kexec | Mode::SoftReboot)
}

fn names(fits: impl Fn(Mode) -> bool) -> String {
    Mode::ALL.into_iter().filter(|mode| fits(*mode)).map(Mode::name).collect::<Vec<_>>().join(", ")
}

/// Seconds as a user writes them, fractions included.
pub fn seconds(text: &str) -> Result<Duration, BadRequest> {
    const DAY: f64 = 86400.0;
    match text.parse::<f64>() {
        Ok(number) if (0.0..=DAY).contains(&number) => Ok(Duration::from_secs_f64(number)),
        _ => Err(BadRequest::Seconds { text: text.to_owned() }),
    }
}

impl Pattern {
    /// Whether a line of the console matches.
    pub fn matches(&self, line: &str) -> bool {
        self.0.is_match(line)
    }
}

impl TryFrom<String> for Pattern {
    type Error = BadRequest;
    fn try_from(text: String) -> Result<Self, BadRequest> {
        if text.is_empty() {
            return Err(BadRequest::Empty);
        }
        Regex::new(&text).map(Self).map_err(|e| BadRequest::Pattern { text, why: last_line(&e.to_string()) })
    }
}

/// The compiler shows the pattern over several lines; what is wrong with it stands in the last.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim().to_owned()
}

impl std::str::FromStr for Pattern {
    type Err = BadRequest;
    fn from_str(text: &str) -> Result<Self, BadRequest> {
        text.to_owned().try_into()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_str().to_owned()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.0)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mode)?;
        match &self.trigger {
            Trigger::Now => {}
            Trigger::At(after) => write!(f, ", {} s", after.as_secs_f64())?,
            Trigger::OnConsole(pattern) => write!(f, ", at the console line {pattern}")?,
        }
        match (&self.trigger, self.during) {
            (_, Some(mode)) => write!(f, " into the boot that a restart by {mode} begins"),
            (Trigger::At(_), None) => f.write_str(" after the request"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_console(mode: Mode, during: Option<Mode>) -> Request {
        Request { mode, trigger: Trigger::OnConsole("Reached target".parse().unwrap()), during }
    }

    #[test]
    fn what_is_asked_of_the_guest_cannot_be_done_at_a_console_line() {
        for mode in Mode::ALL {
            let possible = matches!(mode, Mode::Reset | Mode::PowerCycle | Mode::PowerLoss);
            for during in [None, Some(Mode::Guest)] {
                let said = on_console(mode, during).check().err().map(|e| e.to_string()).unwrap_or_default();
                assert_eq!(said.is_empty(), possible, "{mode}: {said}");
                assert!(possible || said.contains("reset, power-cycle, power-loss"), "{said}");
            }
        }
    }

    #[test]
    fn a_delay_alone_goes_with_every_mode() {
        for mode in Mode::ALL {
            let request = Request { mode, trigger: Trigger::At(Duration::from_secs(3)), during: None };
            assert_eq!(request.check(), Ok(()));
            let during = Request { during: Some(Mode::Reset), ..request };
            assert_eq!(during.check().is_ok(), mode.row().done_to, "{mode}");
        }
    }

    #[test]
    fn a_first_restart_must_begin_a_boot_and_say_when() {
        for mode in [Mode::Kexec, Mode::SoftReboot] {
            let said = on_console(Mode::Reset, Some(mode)).check().unwrap_err().to_string();
            assert!(said.contains("guest, acpi, reset"), "{said}");
        }
        let request = Request { during: Some(Mode::Guest), ..Request::now(Mode::Reset) };
        assert_eq!(request.check(), Err(BadRequest::NoTrigger { mode: Mode::Guest }));
    }

    #[test]
    fn a_console_line_is_waited_for_in_the_boot_of_an_orderly_reboot_unless_said_otherwise() {
        let trigger = on_console(Mode::Reset, None).trigger;
        let request = |during| Choice { via: None, trigger: trigger.clone(), during }.request(Mode::Reset).unwrap();
        assert_eq!(request(None).during, Some(Mode::Guest));
        assert_eq!(request(Some(None)).during, None);
        assert_eq!(request(Some(Some(Mode::PowerCycle))).during, Some(Mode::PowerCycle));
        let later = Choice { via: None, trigger: Trigger::At(Duration::ZERO), during: None };
        assert_eq!(later.request(Mode::Acpi).unwrap().during, None);
        assert!(Choice { via: Some(Mode::SoftReboot), trigger, during: None }.request(Mode::Guest).is_err());
    }

    #[test]
    fn bad_seconds_and_patterns_are_refused_with_their_text() {
        for text in ["-1", "nan", "inf", "1e9", "", "5s"] {
            assert!(seconds(text).unwrap_err().to_string().contains(&format!("{text:?}")), "{text}");
        }
        assert_eq!(seconds("0.5").unwrap(), Duration::from_millis(500));
        let said = "a(b".parse::<Pattern>().unwrap_err().to_string();
        assert!(said.contains("\"a(b\"") && said.contains("unclosed group"), "{said}");
        assert_eq!("".parse::<Pattern>(), Err(BadRequest::Empty));
    }

    #[test]
    fn a_request_reads_as_it_was_written() {
        let request = on_console(Mode::Reset, Some(Mode::Guest));
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
        assert_eq!(
            request.to_string(),
            "reset, at the console line /Reached target/ into the boot that a restart by guest begins"
        );
        let bad = text.replace("Reached target", "(");
        assert!(serde_json::from_str::<Request>(&bad).is_err());
    }
}
