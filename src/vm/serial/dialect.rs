//! What guests' consoles look like: prompts, and the ways to become root. Data, one file per kind of guest.

use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The dialects that come with the program.
const KNOWN: [(&str, &str); 3] = [
    ("debian", include_str!("dialects/debian.json")),
    ("nixos", include_str!("dialects/nixos.json")),
    ("alpine", include_str!("dialects/alpine.json")),
];

/// How a kind of guest speaks on its console. The patterns are looked for in a line without control sequences, kernel
/// records and spaces at its end. A prompt is a hint only: that a shell is there is believed when it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// Its name.
    pub name: String,
    /// The login prompt.
    pub login: Words,
    /// What is asked for after the user's name.
    pub password: Words,
    /// What is said to a wrong password or name.
    pub refused: Words,
    /// What is said when a user is logged in without being asked.
    pub automatic: Words,
    /// A shell's prompt.
    pub shell: Words,
    /// The ways to become root, tried in this order.
    pub become_root: Vec<Way>,
}

/// A way to become root.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// A command that says beforehand whether it will work: exit code 0.
    #[serde(default)]
    pub check: Option<String>,
    /// The command that becomes root's login shell. `{prompt}` stands for a prompt of ours, where it takes one.
    pub run: String,
    /// Whose password it asks for.
    #[serde(default)]
    pub password: Option<Whose>,
}

/// Whose password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// The user's own.
    Own,
    /// Root's.
    Root,
}

/// Who logs in. It is never printed with its passwords.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The user's password, if one is known.
    #[serde(default)]
    pub password: Option<String>,
    /// Root's password, if one is known.
    #[serde(default)]
    pub root_password: Option<String>,
}

impl Credentials {
    /// A user who needs no password.
    pub fn user(name: &str) -> Self {
        Self { user: name.into(), password: None, root_password: None }
    }

    /// A user with a password.
    pub fn with_password(name: &str, password: &str) -> Self {
        Self { password: Some(password.into()), ..Self::user(name) }
    }

    pub(super) fn of(&self, whose: Whose) -> Option<&str> {
        match whose {
            Whose::Own => self.password.as_deref(),
            Whose::Root => self.root_password.as_deref(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Dialect {
    /// A dialect that comes with the program; the error lists them.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = KNOWN.iter().find(|(known, _)| *known == name);
        let (_, text) = found.ok_or_else(|| {
            let names: Vec<_> = KNOWN.iter().map(|(known, _)| *known).collect();
            format!("nobody knows the console dialect {name:?}; there are {}", names.join(", "))
        })?;
        serde_json::from_str(text).map_err(|e| format!("the dialect {name} is damaged: {e}"))
    }

    /// Debian's, which most distributions speak.
    #[expect(clippy::expect_used, reason = "the dialects are part of the program and read by the unit tests")]
    pub fn debian() -> Self {
        Self::named("debian").expect("a dialect of our own")
    }
}

/// A regular expression for a line.
#[derive(Clone)]
pub struct Words(Regex);

impl Words {
    /// Whether a line has them.
    pub fn are_in(&self, line: &str) -> bool {
        self.0.is_match(line)
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_str().fmt(f)
    }
}

impl Serialize for Words {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Regex::new(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_that_comes_with_the_program_can_be_read_and_bears_its_name() {
        for (name, _) in KNOWN {
            let dialect = Dialect::named(name).unwrap();
            assert_eq!(dialect.name, name);
            assert!(dialect.login.are_in("askari login:") && !dialect.login.are_in("Last login: never"));
            assert!(dialect.password.are_in("Password:") && dialect.refused.are_in("Login incorrect"));
            assert!(!dialect.shell.are_in("askari login:") && !dialect.shell.are_in("[  OK  ] Started foo."));
        }
        assert!(Dialect::named("debina").unwrap_err().contains("there are debian, nixos, alpine"));
    }

    #[test]
    fn the_prompts_of_real_guests_are_known() {
        let is_shell = |name: &str, prompt: &str| Dialect::named(name).unwrap().shell.are_in(prompt);
        assert!(is_shell("debian", "ansible@askari:~$") && is_shell("debian", "root@askari:~#"));
        assert!(is_shell("nixos", "[nixos@nixos:~]$") && is_shell("nixos", "[root@nixos:~]#"));
        assert!(is_shell("alpine", "localhost:~#") && is_shell("alpine", "~ $"));
        let automatic = Dialect::named("nixos").unwrap().automatic;
        assert!(automatic.are_in("nixos login: nixos (automatic login)"));
    }

    #[test]
    fn a_password_is_not_in_what_is_printed_for_debugging() {
        let who = Credentials { root_password: Some("very".into()), ..Credentials::with_password("nixos", "secret") };
        let said = format!("{who:?}");
        assert!(said.contains("nixos") && !said.contains("secret") && !said.contains("very"), "{said}");
    }
}
