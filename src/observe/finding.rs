//! Findings: the differences that a reboot should not make, less what the profile allows.

use super::diff::Diff;
use super::state::Section;
use crate::profile::AllowedLoss;
use serde::{Deserialize, Serialize};

/// How much a finding weighs. Both fail a strict run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something that others can depend on is gone: a service, a listener, a rule, a mount.
    Serious,
    /// Something that need not matter to anybody: a module, a time that is not yet synchronised.
    Minor,
}

/// Something that was there before the reboot and is gone, or another, after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its stable name, by which the profile can allow it: `units/caddy.service/active`.
    pub id: String,
    /// Where it was seen.
    pub section: Section,
    /// What is lost, and where it is known, why; one sentence.
    pub what: String,
    /// What it was.
    pub before: Option<String>,
    /// What it is now.
    pub after: Option<String>,
    /// How much it weighs.
    pub severity: Severity,
}

/// The findings of a [`Diff`], judged by the profile's allow-list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// What is a finding: the serious ones first.
    pub findings: Vec<Finding>,
    /// What would be one and is allowed, with the profile's reason.
    pub allowed: Vec<(Finding, String)>,
    /// Entries of the allow-list that no difference matched.
    pub unused: Vec<String>,
}

impl Diff {
    /// The losses that the allow-list does not cover; the serious ones first.
    pub fn findings(&self, allow: &[AllowedLoss]) -> Vec<Finding> {
        self.judge(allow).findings
    }

    /// The losses, and what the allow-list says of them.
    pub fn judge(&self, allow: &[AllowedLoss]) -> Judged {
        let mut judged = Judged::default();
        let mut used = vec![false; allow.len()];
        for change in &self.changes {
            let Some(loss) = &change.loss else { continue };
            let finding = Finding {
                id: change.id(),
                section: change.section,
                what: loss.what.clone(),
                before: change.before.clone(),
                after: change.after.clone(),
                severity: loss.severity,
            };
            let mut why = None;
            for (n, allowed) in allow.iter().enumerate() {
                if matches(&allowed.id, &finding.id) {
                    used[n] = true;
                    why.get_or_insert(&allowed.why);
                }
            }
            match why {
                Some(why) => judged.allowed.push((finding, why.clone())),
                None => judged.findings.push(finding),
            }
        }
        judged.findings.sort_by_key(|finding| finding.severity);
        judged.unused = allow.iter().zip(used).filter(|(_, used)| !used).map(|(a, _)| a.id.clone()).collect();
        judged
    }
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
