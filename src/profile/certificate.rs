//! The certificate that a host serves, for the tiers of `--certs`.

use crate::form::pattern::Pattern;
use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The certificate that the host serves, and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("patternProperties" = {"^//": true}))]
pub struct Certificate {
    /// The name that it is asked for.
    pub server_name: String,
    /// The port that it is served on.
    #[serde(default = "https")]
    pub port: u16,
    /// The DNS zone in which challenges are answered: `server_name` is it, or a name right below it.
    pub zone: String,
    /// The variable that holds the DNS provider's token. In a rehearsal it gets the token of the rehearsal, so that the real one
    /// never comes into the VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_var: Option<String>,
    /// What the issuer of the tier `internal` matches (RFC 4514).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal_issuer: Option<Pattern>,
    /// A file with the DNS provider's token, for a real `le-prod-wildcard`: absolute, or in the home (`~/`); only its owner
    /// may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub token_file: Option<Utf8PathBuf>,
    /// The mail address that a real authority writes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

fn https() -> u16 {
    443
}

impl Certificate {
    /// The check that a host with one has.
    pub const CHECK: &str = "certificate";

    /// The names of the zone's wildcard certificate.
    pub fn wildcard(&self) -> Vec<String> {
        vec![self.zone.clone(), format!("*.{}", self.zone)]
    }

    /// What cannot work about it.
    pub(super) fn wrong(&self) -> Option<String> {
        let name = self.server_name.to_ascii_lowercase();
        let above = name.strip_suffix(&self.zone).map(|label| label.trim_end_matches('.'));
        let is_covered = name == self.zone
            || name.ends_with(&format!(".{}", self.zone)) && above.is_some_and(|label| !label.contains('.'));
        let is_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        let is_variable = |name: &String| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let is_placed = |path: &Utf8PathBuf| path.is_absolute() || path.starts_with("~");
        if self.zone.is_empty() || !self.zone.chars().all(is_label) {
            Some(format!("certificate: zone: {:?} is not a zone's name, in lower case", self.zone))
        } else if !is_covered {
            Some(format!("certificate: server_name: {name:?} is neither the zone {} nor right below it", self.zone))
        } else if self.port == 0 {
            Some("certificate: port: 0 is not a port".into())
        } else if self.token_var.as_ref().is_some_and(|name| !is_variable(name)) {
            Some("certificate: token_var: it is not a variable's name".into())
        } else if self.token_file.as_ref().is_some_and(|path| !is_placed(path)) {
            Some("certificate: token_file: it is neither absolute nor in the home (~/)".into())
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(json: serde_json::Value) -> Option<String> {
        serde_json::from_value::<Certificate>(json).unwrap().wrong()
    }

    #[test]
    fn a_name_that_the_zones_wildcard_does_not_cover_is_refused() {
        let of = |name: &str| wrong(serde_json::json!({"server_name": name, "zone": "example.net"}));
        assert_eq!([of("example.net"), of("www.example.net"), of("WWW.example.net")], [None, None, None]);
        assert!(of("a.b.example.net").unwrap().contains("server_name"));
        assert!(of("badexample.net").is_some() && of("example.org").is_some());
        assert!(wrong(serde_json::json!({"server_name": "a", "zone": ""})).unwrap().contains("zone"));
    }

    #[test]
    fn a_token_has_a_variable_and_a_place_outside_of_the_repository() {
        let of = |key: &str, value: &str| wrong(serde_json::json!({"server_name": "a.b", "zone": "b", key: value}));
        assert_eq!(
            [of("token_var", "x__token"), of("token_file", "~/.token"), of("token_file", "/t")],
            [None, None, None]
        );
        assert!(of("token_var", "a-b").is_some() && of("token_file", "token").is_some());
    }
}
