//! What the user gives with `-e`.

use camino::Utf8PathBuf;
use host::secrets;
use std::fmt;

/// What the user gave with `-e`. A value may be a secret: it is never printed, not even for debugging.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserVars {
    /// `KEY=VALUE`: one variable, a string, as in Ansible.
    Pair {
        /// The variable.
        key: String,
        /// Its value.
        value: String,
    },
    /// `{"key": value}`: JSON.
    Json(String),
    /// `@FILE`, relative to where the user stands.
    File(Utf8PathBuf),
}

/// A `-e` that is none of the forms that are understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("-e {text:?}… is not KEY=VALUE, @FILE or a JSON object")]
pub struct BadUserVars {
    /// How it begins; the rest may be a secret.
    text: String,
}

impl host::failure::Blame for BadUserVars {
    fn exit(&self) -> host::failure::Exit {
        host::failure::Exit::Usage
    }
}

impl std::str::FromStr for UserVars {
    type Err = BadUserVars;

    fn from_str(text: &str) -> Result<Self, BadUserVars> {
        let bad = || BadUserVars { text: text.split(['=', ':']).next().unwrap_or_default().chars().take(40).collect() };
        let is_name = |key: &str| {
            key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if let Some(path) = text.strip_prefix('@') {
            return if path.is_empty() { Err(bad()) } else { Ok(Self::File(path.into())) };
        }
        if text.trim_start().starts_with('{') {
            let object = serde_json::from_str::<serde_json::Map<_, _>>(text);
            return object.map(|_| Self::Json(text.to_owned())).map_err(|_| bad());
        }
        match text.split_once('=') {
            Some((key, value)) if is_name(key) => Ok(Self::Pair { key: key.to_owned(), value: value.to_owned() }),
            _ => Err(bad()),
        }
    }
}

impl fmt::Debug for UserVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pair { key, .. } => write!(f, "{key}=…"),
            Self::Json(_) => f.write_str("{…}"),
            Self::File(path) => write!(f, "@{path}"),
        }
    }
}

impl UserVars {
    /// What of it may be a secret: every value that was given here, and of a file in clear text those whose names
    /// say so. What the vault holds is found when it is opened.
    pub fn secrets(&self) -> Vec<String> {
        match self {
            Self::Pair { value, .. } => vec![value.clone()],
            Self::Json(text) => {
                let mut found = Vec::new();
                strings(&serde_json::from_str(text).unwrap_or_default(), &mut found);
                found
            }
            Self::File(path) => {
                let text = std::fs::read_to_string(path).unwrap_or_default();
                let named = |line: &&str| line.split_once(':').is_some_and(|(name, _)| secrets::is_secret_name(name));
                text.lines().filter(named).flat_map(secrets::values_of).collect()
            }
        }
    }
}

/// Every string in a JSON value.
fn strings(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => found.push(text.clone()),
        serde_json::Value::Array(all) => all.iter().for_each(|value| strings(value, found)),
        serde_json::Value::Object(all) => all.values().for_each(|value| strings(value, found)),
        serde_json::Value::Number(number) => found.push(number.to_string()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_extra_vars_are_told_apart() {
        assert_eq!("@a.yml".parse(), Ok(UserVars::File("a.yml".into())));
        assert_eq!("a=b=c".parse(), Ok(UserVars::Pair { key: "a".into(), value: "b=c".into() }));
        assert_eq!(r#"{"a": [1]}"#.parse(), Ok(UserVars::Json(r#"{"a": [1]}"#.into())));
        for bad in ["", "@", "a", "=b", "1a=b", "{a: 1}", "a b=c"] {
            assert!(bad.parse::<UserVars>().is_err(), "{bad:?}");
        }
    }
}
