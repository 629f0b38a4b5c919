//! Rules that a profile expects to match: they end no wait and are no problem, and are still told.

use super::rules::RULES;
use camino::Utf8Path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rules that are allowed to match, as a profile names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Allowed(Vec<Allow>);

/// One of them, with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// The rule's name.
    pub id: String,
    /// Why a match is no problem here.
    pub why: String,
}

impl Allowed {
    /// Why a rule is allowed, if it is.
    pub fn why(&self, id: &str) -> Option<&str> {
        self.0.iter().find(|allow| allow.id == id).map(|allow| allow.why.as_str())
    }

    /// What is wrong with the list: a name that no rule has, or no reason.
    pub fn wrong(&self) -> Option<String> {
        let known = |id: &str| RULES.iter().any(|rule| rule.id == id);
        if let Some(allow) = self.0.iter().find(|allow| !known(&allow.id)) {
            let ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
            return Some(format!("no console rule is called {:?}; there are {}", allow.id, ids.join(", ")));
        }
        let silent = self.0.iter().find(|allow| allow.why.trim().is_empty())?;
        Some(format!("the console rule {} is allowed without a reason (`why`)", silent.id))
    }

    /// Read the list that a VM was given; one without it allows nothing.
    pub fn read(path: &Utf8Path) -> std::io::Result<Self> {
        match std::fs::read(path) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::rules::Watcher;

    fn allowed(text: &str) -> Allowed {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_allowed_rule_is_found_and_is_not_fatal() {
        let list = allowed(r#"[{"id": "emergency-mode", "why": "this test wants it"}]"#);
        let mut watcher = Watcher::new(0, list);
        let found = watcher.feed(b"You are in emergency mode. After\r\nDropping to a shell!\r\n");
        let told: Vec<_> = found.iter().map(|f| (f.id, f.fatal, f.allowed.as_deref())).collect();
        assert_eq!(told, [("emergency-mode", false, Some("this test wants it")), ("initramfs-shell", true, None)]);
    }

    #[test]
    fn an_unknown_rule_is_refused_with_the_list_and_so_is_one_without_a_reason() {
        let said = allowed(r#"[{"id": "emergency", "why": "x"}]"#).wrong().unwrap();
        assert!(said.contains("\"emergency\"") && said.contains("emergency-mode, rescue-mode"), "{said}");
        let said = allowed(r#"[{"id": "oom-kill", "why": " "}]"#).wrong().unwrap();
        assert!(said.contains("oom-kill") && said.contains("reason"), "{said}");
        assert_eq!(allowed(r#"[{"id": "oom-kill", "why": "it is tested"}]"#).wrong(), None);
    }
}
