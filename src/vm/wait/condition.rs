//! What can be waited for, as words.

use crate::monitor::events::Event;
use host::failure::{Blame, Exit};
use host::names::BootId;
use regex::Regex;
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// A condition.
#[derive(Clone, Debug)]
pub enum Condition {
    /// A login succeeds.
    Ssh,
    /// The VM has a DHCP lease.
    Lease,
    /// cloud-init is done and systemd has settled.
    Settled,
    /// Something stands in the journal.
    Event(EventPattern),
    /// A console line matches.
    Console(Regex),
    /// A login shows another boot id than this one; none: than that of now.
    BootIdChanged(Option<BootId>),
}

/// What an event must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPattern {
    kind: String,
    /// Keys into its data, with dots for what is nested, and their values as text.
    with: Vec<(String, String)>,
}

/// What can be waited for, for messages.
const KNOWN: &str = "ssh, lease, settled, event=NAME[,KEY=VALUE...], console=REGEX, boot-id-changed[=BOOT-ID]";

/// Words that are no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no condition: {why}; there are {KNOWN}")]
pub struct BadCondition {
    text: String,
    why: String,
}

impl Blame for BadCondition {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Condition {
    /// Whether it is about something that happens, so that it can have happened since some event; the others
    /// are about how things are now.
    pub fn happens(&self) -> bool {
        matches!(self, Self::Event(_) | Self::Console(_) | Self::Lease)
    }
}

impl FromStr for Condition {
    type Err = BadCondition;
    fn from_str(text: &str) -> Result<Self, BadCondition> {
        let bad = |why: String| BadCondition { text: text.to_owned(), why };
        let (what, value) = match text.split_once('=') {
            Some((what, value)) => (what, Some(value)),
            None => (text, None),
        };
        match (what, value) {
            ("ssh", None) => Ok(Self::Ssh),
            ("lease", None) => Ok(Self::Lease),
            ("settled", None) => Ok(Self::Settled),
            ("event", Some(value)) => value.parse().map(Self::Event).map_err(bad),
            ("console", Some("")) => Err(bad("an empty pattern matches every line".into())),
            ("console", Some(value)) => {
                Regex::new(value).map(Self::Console).map_err(|e| bad(format!("the regular expression is wrong: {e}")))
            }
            ("boot-id-changed", None) => Ok(Self::BootIdChanged(None)),
            ("boot-id-changed", Some(value)) => {
                value.trim().parse().map(|id| Self::BootIdChanged(Some(id))).map_err(|e| bad(format!("{e}")))
            }
            ("ssh" | "lease" | "settled", Some(_)) => Err(bad(format!("{what} takes no value"))),
            ("event" | "console", None) => Err(bad(format!("{what} needs a value"))),
            _ => Err(bad(format!("nobody knows {what:?}"))),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssh => f.write_str("ssh"),
            Self::Lease => f.write_str("lease"),
            Self::Settled => f.write_str("settled"),
            Self::Event(pattern) => write!(f, "event={pattern}"),
            Self::Console(pattern) => write!(f, "console={pattern}"),
            Self::BootIdChanged(None) => f.write_str("boot-id-changed"),
            Self::BootIdChanged(Some(id)) => write!(f, "boot-id-changed={id}"),
        }
    }
}

impl FromStr for EventPattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let kind = parts.next().unwrap_or_default();
        let named = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if kind.is_empty() || !kind.chars().all(named) {
            return Err(format!("{kind:?} is no event's name (a-z, A-Z, 0-9, - and _)"));
        }
        let pair = |part: &str| match part.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(format!("{part:?} is not KEY=VALUE")),
        };
        Ok(Self { kind: kind.to_owned(), with: parts.map(pair).collect::<Result<_, _>>()? })
    }
}

impl EventPattern {
    /// Whether an event is one of these: its name, and in its data every key with its value. A key that the
    /// event does not have matches nothing.
    pub fn matches(&self, event: &Event) -> bool {
        let value = |key: &str| key.split('.').try_fold(event.data(), |at, part| at.get(part));
        let same = |(key, wanted): &(String, String)| match value(key) {
            Some(Value::String(text)) => text == wanted,
            Some(other) => serde_json::to_string(other).is_ok_and(|text| text == *wanted),
            None => false,
        };
        self.kind == event.kind() && self.with.iter().all(same)
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        self.with.iter().try_for_each(|(key, value)| write!(f, ",{key}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "6f1e2b1c-8f0e-4f0e-9d59-3a4b5c6d7e8f";

    #[test]
    fn every_condition_reads_as_it_is_written() {
        let id = format!("boot-id-changed={ID}");
        let events = ["event=RESET", "event=RESET,reason=guest-reset,guest=true"];
        for text in ["ssh", "lease", "settled", "console=login: $", "console=a=b,c", "boot-id-changed", &id]
            .into_iter()
            .chain(events)
        {
            assert_eq!(text.parse::<Condition>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_the_list() {
        let cases = [
            ("", "nobody knows"),
            ("shh", "nobody knows \"shh\""),
            ("ssh=1", "takes no value"),
            ("event", "needs a value"),
            ("event=", "no event's name"),
            ("event=RE SET", "no event's name"),
            ("event=RESET,reason", "is not KEY=VALUE"),
            ("event=RESET,=x", "is not KEY=VALUE"),
            ("console=(", "unclosed group"),
            ("console=", "matches every line"),
            ("boot-id-changed=no route to host", "not a UUID"),
        ];
        for (text, why) in cases {
            let said = text.parse::<Condition>().unwrap_err().to_string();
            assert!(said.contains(why) && said.contains("console=REGEX"), "{text}: {said}");
        }
    }

    #[test]
    fn an_event_matches_by_its_name_and_by_every_value_that_is_asked_for() {
        let event: Event = serde_json::from_value(json!({
            "seq": 1, "wall": 0.0, "mono": 0.0, "source": "qmp", "kind": "RESET",
            "data": {"guest": true, "reason": "guest-reset", "info": {"n": 3}},
        }))
        .unwrap();
        let matches = |text: &str| text.parse::<EventPattern>().unwrap().matches(&event);
        assert!(matches("RESET") && matches("RESET,guest=true,reason=guest-reset") && matches("RESET,info.n=3"));
        for other in ["RESET,reason=guest", "RESET,reson=guest-reset", "reset", "RESET,guest=false", "RESET,info.m=3"] {
            assert!(!matches(other), "{other}");
        }
    }
}
