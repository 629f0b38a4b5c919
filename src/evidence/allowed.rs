//! The allow-list: losses across a reboot that are meant to be, each with its reason, and perhaps a last day.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

/// A loss across a reboot that is meant to be, with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowedLoss {
    /// The finding's id, or a glob of it: `*` is any text (`units/*.mount/active`).
    pub id: String,
    /// Why it is no loss.
    pub why: String,
    /// The last day on which that holds (UTC); without it, it holds for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub until: Option<Day>,
    /// Where it is followed up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

/// How the ids of tasks begin whose work did not survive.
pub const TASKS: &str = "tasks/";

/// How the ids of differences begin between a fresh host and one that was upgraded.
pub const ENDS: &str = "ends/";

impl AllowedLoss {
    /// Whether it covers what has this id.
    pub fn covers(&self, id: &str) -> bool {
        matches(&self.id, id)
    }

    /// What a list says of the loss with this id at a time; none where no entry covers it. One that holds comes before one
    /// that has expired.
    pub fn allowance(list: &[Self], id: &str, now: SystemTime) -> Option<Allowance> {
        let covers = || list.iter().filter(|allowed| allowed.covers(id));
        let valid = covers().find(|allowed| !allowed.expired(now)).map(|allowed| Allowance::Holds(allowed.reason()));
        let over = |allowed: &Self| format!("state.allow no longer covers it: {}", allowed.reason());
        valid.or_else(|| covers().next().map(|allowed| Allowance::Expired(over(allowed))))
    }

    /// Whether it is about a task, and not about the machine's state.
    pub fn is_of_a_task(&self) -> bool {
        self.id.starts_with(TASKS)
    }

    /// Whether it is about a task, or about two hosts, and not about the state across a reboot.
    pub fn is_of_something_else(&self) -> bool {
        self.is_of_a_task() || self.id.starts_with(ENDS)
    }

    /// Whether its last day is over.
    pub fn expired(&self, now: SystemTime) -> bool {
        self.until.as_ref().is_some_and(|day| now >= day.end)
    }

    /// The reason, with the last day and the ticket where it has them.
    fn reason(&self) -> String {
        let until = self.until.as_ref().map(|day| format!("until {}", day.text));
        let more: Vec<_> = until.into_iter().chain(self.ticket.clone()).collect();
        match more.is_empty() {
            true => self.why.clone(),
            false => format!("{} ({})", self.why, more.join(", ")),
        }
    }
}

/// What the allow-list says of a loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// It is allowed, for this reason.
    Holds(String),
    /// It was until some day, and is not any more: a sentence about that.
    Expired(String),
}

/// Whether a glob matches a whole text: `*` is any text, `/` and none included; all else is itself. (`?` and
/// `[` are themselves too: nft's rules are full of braces, brackets and marks.)
fn matches(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// A day, `2026-03-31`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day {
    text: String,
    /// The first moment of the next day.
    end: SystemTime,
}

impl TryFrom<String> for Day {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a day of the calendar (YYYY-MM-DD)");
        let is_plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let begin = is_plain.then(|| humantime::parse_rfc3339(&format!("{text}T00:00:00Z")));
        let begin = begin.and_then(Result::ok).ok_or_else(bad)?;
        // What cannot be written back as it was read was no day: the 30th of February.
        let same = humantime::format_rfc3339_seconds(begin).to_string().starts_with(&text);
        match same {
            true => Ok(Self { end: begin + Duration::from_secs(86_400), text }),
            false => Err(bad()),
        }
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_everything_else_for_itself() {
        for (glob, text) in [
            ("sysctl/net.ipv4.ip_forward", "sysctl/net.ipv4.ip_forward"),
            ("sysctl/*", "sysctl/net.ipv4.ip_forward"),
            ("units/*/active", "units/caddy.service/active"),
            ("*", ""),
            ("a*b*c", "aXbYbZc"),
            ("nft/*{ 22, 80 }*", "nft/inet filter/input/rules/tcp dport { 22, 80 } accept"),
        ] {
            assert!(matches(glob, text), "{glob} must match {text}");
        }
        for (glob, text) in
            [("sysctl", "sysctl/a"), ("units/*/active", "units/a/sub"), ("a*a", "a"), ("", "x"), ("a?c", "abc")]
        {
            assert!(!matches(glob, text), "{glob} must not match {text}");
        }
    }
}
