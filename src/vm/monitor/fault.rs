//! The words by which a fault is asked for, and by which the journal has it.
//!
//! Not fuzzed: what is read here is the user's argument, or the journal's.

use crate::network::Egress;
use host::failure::{Blame, Exit};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A fault, or what undoes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Fault {
    /// The network cable.
    Link(Switch),
    /// The disk.
    Disk(Disk),
    /// All processors stop, as if the host had forgotten the machine.
    Freeze,
    /// They go on.
    Thaw,
    /// The guest's clock.
    Clock(Clock),
    /// The way out of the guest's network.
    Egress(Egress),
}

/// A cable's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Plugged in.
    Up,
    /// Pulled out.
    Down,
}

/// How the disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Reads and writes fail.
    Error,
    /// They take long.
    Slow,
    /// Writes find no space.
    Full,
    /// As it should.
    Ok,
}

/// How the guest's clock goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// This many seconds ahead of the host's (behind it, if negative); never 0.
    Off(i32),
    /// With the host's.
    Right,
}

/// What a fault is about: of each part, one fault at most is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The network cable.
    Link,
    /// The disk.
    Disk,
    /// Whether the processors run.
    Run,
    /// The clock.
    Clock,
    /// The way out.
    Egress,
}

/// The farthest that a clock may be wrong, in seconds: 20 years.
const FARTHEST: i32 = 20 * 366 * 86_400;

/// What can be asked for, for messages.
const KNOWN: &str = "link=down|up, disk=error|slow|full|ok, freeze, thaw, clock=+SECONDS|-SECONDS|ok, egress=none|nat";

/// Words that name no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no fault: {why}; there are {KNOWN}")]
pub struct BadFault {
    text: String,
    why: String,
}

impl Blame for BadFault {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Fault {
    /// What it is about.
    pub fn part(self) -> Part {
        match self {
            Self::Link(_) => Part::Link,
            Self::Disk(_) => Part::Disk,
            Self::Freeze | Self::Thaw => Part::Run,
            Self::Clock(_) => Part::Clock,
            Self::Egress(_) => Part::Egress,
        }
    }

    /// What undoes it.
    pub fn opposite(self) -> Self {
        match self.part() {
            Part::Link => Self::Link(Switch::Up),
            Part::Disk => Self::Disk(Disk::Ok),
            Part::Run => Self::Thaw,
            Part::Clock => Self::Clock(Clock::Right),
            Part::Egress => Self::Egress(Egress::Nat),
        }
    }

    /// Whether it puts things right.
    pub fn is_undoing(self) -> bool {
        self == self.opposite()
    }
}

impl FromStr for Fault {
    type Err = BadFault;
    fn from_str(text: &str) -> Result<Self, BadFault> {
        let bad = |why: String| BadFault { text: text.to_owned(), why };
        let (what, value) = match text.split_once('=') {
            Some((what, value)) => (what, Some(value)),
            None => (text, None),
        };
        Ok(match (what, value) {
            ("link", Some("up")) => Self::Link(Switch::Up),
            ("link", Some("down")) => Self::Link(Switch::Down),
            ("disk", Some("error")) => Self::Disk(Disk::Error),
            ("disk", Some("slow")) => Self::Disk(Disk::Slow),
            ("disk", Some("full")) => Self::Disk(Disk::Full),
            ("disk", Some("ok")) => Self::Disk(Disk::Ok),
            ("freeze", None) => Self::Freeze,
            ("thaw", None) => Self::Thaw,
            ("clock", Some(value)) => Self::Clock(clock(value).map_err(bad)?),
            ("egress", Some("none")) => Self::Egress(Egress::None),
            ("egress", Some("nat")) => Self::Egress(Egress::Nat),
            ("freeze" | "thaw", Some(_)) => return Err(bad(format!("{what} takes no value"))),
            ("link" | "disk" | "clock" | "egress", None) => return Err(bad(format!("{what} needs a value"))),
            ("link" | "disk" | "egress", Some(value)) => return Err(bad(format!("{what} cannot be {value:?}"))),
            _ => return Err(bad(format!("nobody knows {what:?}"))),
        })
    }
}

fn clock(text: &str) -> Result<Clock, String> {
    if text == "ok" {
        return Ok(Clock::Right);
    }
    let signed = text.starts_with(['+', '-']);
    let seconds = text.parse::<i32>().ok().filter(|_| signed).filter(|s| (1..=FARTHEST).contains(&s.saturating_abs()));
    seconds.map(Clock::Off).ok_or_else(|| format!("clock takes + or - and whole seconds, 1 to {FARTHEST} (20 years)"))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link(Switch::Up) => "link=up",
            Self::Link(Switch::Down) => "link=down",
            Self::Disk(Disk::Error) => "disk=error",
            Self::Disk(Disk::Slow) => "disk=slow",
            Self::Disk(Disk::Full) => "disk=full",
            Self::Disk(Disk::Ok) => "disk=ok",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::Clock(Clock::Off(seconds)) => return write!(f, "clock={seconds:+}"),
            Self::Clock(Clock::Right) => "clock=ok",
            Self::Egress(Egress::None) => "egress=none",
            Self::Egress(Egress::Nat) => "egress=nat",
        })
    }
}

impl TryFrom<String> for Fault {
    type Error = BadFault;
    fn try_from(text: String) -> Result<Self, BadFault> {
        text.parse()
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_reads_as_it_is_written_and_has_an_opposite_that_undoes() {
        for text in [
            "link=down",
            "link=up",
            "disk=error",
            "disk=slow",
            "disk=full",
            "disk=ok",
            "freeze",
            "thaw",
            "clock=+3600",
            "clock=-90",
            "clock=ok",
            "egress=none",
            "egress=nat",
        ] {
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault.to_string(), text);
            assert!(fault.opposite().is_undoing() && fault.opposite().part() == fault.part(), "{text}");
        }
        assert_eq!("freeze".parse::<Fault>().unwrap().opposite(), Fault::Thaw);
    }

    #[test]
    fn what_is_no_fault_is_refused_with_the_list() {
        let cases = [
            ("", "nobody knows"),
            ("lnk=down", "nobody knows \"lnk\""),
            ("link", "needs a value"),
            ("link=Down", "cannot be \"Down\""),
            ("freeze=1", "takes no value"),
            ("clock=60", "+ or -"),
            ("clock=+0", "+ or -"),
            ("clock=+", "+ or -"),
            ("clock=-1.5", "+ or -"),
            ("clock=+99999999999", "20 years"),
            ("clock=-2147483648", "20 years"),
            ("egress=all", "cannot be \"all\""),
        ];
        for (text, why) in cases {
            let said = text.parse::<Fault>().unwrap_err().to_string();
            assert!(said.contains(why) && said.contains("disk=error|slow|full|ok"), "{text}: {said}");
        }
    }
}
