//! Findings: the differences that a reboot should not make, less what the profile allows.

use super::diff::{Change, Diff};
use super::state::Section;
use crate::allowed::{Allowance, AllowedLoss};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

/// How much a finding weighs; what of it fails a run is the [`Policy`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something that others can depend on is gone: a service, a listener, a rule, a mount.
    Serious,
    /// Something that need not matter to anybody: a module, a time that is not yet synchronised.
    Minor,
}

/// What findings do to a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// They are only reported.
    Report,
    /// A serious one fails the run.
    #[default]
    Fail,
    /// Every one fails it, and so does what could not be seen.
    Strict,
}

impl Policy {
    /// Every policy, the mildest first.
    pub const ALL: [Self; 3] = [Self::Report, Self::Fail, Self::Strict];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Fail => "fail",
            Self::Strict => "strict",
        }
    }

    /// Whether a finding fails the run.
    pub fn fails(self, finding: &Finding) -> bool {
        match self {
            Self::Report => false,
            Self::Fail => finding.severity == Severity::Serious,
            Self::Strict => true,
        }
    }
}

impl ValueEnum for Policy {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Report => "Only report it",
            Self::Fail => "What others can depend on fails the run (exit 6)",
            Self::Strict => "Every loss fails it, and so does a part of the state that could not be seen",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
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
    /// How much it weighs: as much as the heaviest of its consequences.
    pub severity: Severity,
    /// What is lost only because this is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consequences: Vec<Finding>,
    /// The task that had set it, where that is certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_by: Option<SetBy>,
}

/// The task of a playbook that had set what is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetBy {
    /// Its role; empty where it is of none.
    pub role: String,
    /// Its name.
    pub task: String,
    /// File and line.
    pub place: String,
}

impl fmt::Display for SetBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.role.is_empty() { String::new() } else { format!("{}: ", self.role) };
        write!(f, "set by {role}{} ({})", self.task, self.place)
    }
}

impl Finding {
    /// The finding of a difference that is a loss.
    fn of(change: &Change) -> Option<Self> {
        let loss = change.loss.as_ref()?;
        Some(Self {
            id: change.id(),
            section: change.section,
            what: loss.what.clone(),
            before: change.before.clone(),
            after: change.after.clone(),
            severity: loss.severity,
            consequences: Vec::new(),
            set_by: None,
        })
    }

    /// How many losses it stands for.
    pub fn losses(&self) -> usize {
        1 + self.consequences.len()
    }

    /// The unit that has failed or is started again and again, if that is what was found. The other findings are often
    /// its consequences.
    pub fn broken_unit(&self) -> Option<&str> {
        let is_broken = self.after.as_deref().is_some_and(is_broken);
        (self.section == Section::Units && is_broken).then(|| self.id.split('/').nth(1)).flatten()
    }
}

/// Whether a unit in this state has failed, or waits for its next start after a failure.
pub(super) fn is_broken(state: &str) -> bool {
    state == "failed" || state.contains("auto-restart")
}

/// The findings of a [`Diff`], judged by the profile's allow-list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// What is a finding: the serious ones first, and of these the units that failed.
    pub findings: Vec<Finding>,
    /// What would be one and is allowed, with the profile's reason.
    pub allowed: Vec<(Finding, String)>,
    /// Entries of the allow-list that no difference matched.
    pub unused: Vec<String>,
    /// What the disk had said before, and the boot has brought into effect: the id, and what it is. No loss, and reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub took_effect: Vec<(String, String)>,
}

impl Judged {
    /// How many differences the findings and what is allowed stand for.
    pub fn losses(&self) -> usize {
        self.findings.iter().chain(self.allowed.iter().map(|(finding, _)| finding)).map(Finding::losses).sum()
    }
}

impl Diff {
    /// The losses that the allow-list does not cover; the serious ones first.
    pub fn findings(&self, allow: &[AllowedLoss]) -> Vec<Finding> {
        self.judge(allow).findings
    }

    /// The losses, and what the allow-list says of them today.
    pub fn judge(&self, allow: &[AllowedLoss]) -> Judged {
        self.judge_on(allow, SystemTime::now())
    }

    /// The losses, and what the allow-list says of them at a time: an entry that has expired allows nothing, and the
    /// finding says so.
    pub fn judge_on(&self, allow: &[AllowedLoss], now: SystemTime) -> Judged {
        let mut judged = Judged::default();
        let mut used = vec![false; allow.len()];
        let mut consequences: BTreeMap<&str, Vec<Finding>> = BTreeMap::new();
        for change in &self.changes {
            judged.took_effect.extend(change.took_effect.iter().map(|what| (change.id(), what.clone())));
            let Some(mut finding) = Finding::of(change) else { continue };
            used.iter_mut().zip(allow).for_each(|(used, allowed)| *used |= allowed.covers(&finding.id));
            match AllowedLoss::allowance(allow, &finding.id, now) {
                Some(Allowance::Holds(why)) => {
                    judged.allowed.push((finding, why));
                    continue;
                }
                Some(Allowance::Expired(why)) => finding.what += &format!("; {why}"),
                None => {}
            }
            match &change.comes_of {
                Some(root) => consequences.entry(root).or_default().push(finding),
                None => judged.findings.push(finding),
            }
        }
        // What comes of a loss that is allowed is allowed with it.
        for finding in judged.findings.iter_mut().chain(judged.allowed.iter_mut().map(|(finding, _)| finding)) {
            finding.consequences = consequences.remove(finding.id.as_str()).unwrap_or_default();
            let heaviest = finding.consequences.iter().map(|consequence| consequence.severity).min();
            finding.severity = finding.severity.min(heaviest.unwrap_or(finding.severity));
        }
        judged.findings.extend(consequences.into_values().flatten());
        judged.findings.sort_by_key(|finding| (finding.severity, finding.broken_unit().is_none()));
        judged.unused = allow
            .iter()
            .zip(used)
            .filter(|(allowed, used)| !used && !allowed.is_of_something_else())
            .map(|(a, _)| a.id.clone())
            .collect();
        judged
    }
}

#[cfg(test)]
mod tests {
    use super::super::loss::Loss;
    use super::*;
    use std::time::Duration;

    fn diff(changes: &[(Section, &str, Option<&str>, Severity)]) -> Diff {
        let change = |(section, key, after, severity): &(Section, &str, Option<&str>, Severity)| Change {
            section: *section,
            key: (*key).to_owned(),
            before: Some("active (running)".into()),
            after: after.map(str::to_owned),
            loss: Some(Loss { what: (*key).to_owned(), severity: *severity }),
            took_effect: None,
            comes_of: None,
        };
        Diff { changes: changes.iter().map(change).collect() }
    }

    #[test]
    fn an_entry_that_has_expired_allows_nothing_and_is_named() {
        let diff = diff(&[(Section::Sysctl, "vm.swappiness", None, Severity::Serious)]);
        let text = r#"{"id": "sysctl/*", "why": "until the next kernel", "until": "2026-03-31", "ticket": "OPS-7"}"#;
        let allow: AllowedLoss = serde_json::from_str(text).unwrap();
        let day = |n: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(n * 86_400);
        // 2026-03-31 is day 20543; it is still covered at its last second.
        let last = diff.judge_on(std::slice::from_ref(&allow), day(20544) - Duration::from_secs(1));
        assert_eq!((last.findings.len(), last.allowed.len()), (0, 1));
        assert_eq!(last.allowed[0].1, "until the next kernel (until 2026-03-31, OPS-7)");
        let over = diff.judge_on(std::slice::from_ref(&allow), day(20544));
        assert_eq!((over.findings.len(), over.allowed.len(), over.unused.len()), (1, 0, 0));
        assert!(over.findings[0].what.contains("(until 2026-03-31, OPS-7)"), "{}", over.findings[0].what);
        // Another entry that still holds covers it.
        let other = AllowedLoss { until: None, ticket: None, ..allow.clone() };
        assert_eq!(diff.judge_on(&[allow, other], day(20544)).allowed.len(), 1);
    }

    #[test]
    fn a_unit_that_failed_comes_before_what_came_of_it() {
        let found = diff(&[
            (Section::Modules, "br_netfilter", None, Severity::Minor),
            (Section::Containers, "web/state", None, Severity::Serious),
            (Section::Units, "a.socket/active", None, Severity::Serious),
            (Section::Units, "docker.service/active", Some("activating (auto-restart)"), Severity::Serious),
        ]);
        let findings = found.findings(&[]);
        let ids: Vec<_> = findings.iter().map(|finding| finding.id.as_str()).collect();
        assert_eq!(
            ids,
            ["units/docker.service/active", "containers/web/state", "units/a.socket/active", "modules/br_netfilter"]
        );
        assert_eq!(findings[0].broken_unit(), Some("docker.service"));
        assert_eq!(findings[2].broken_unit(), None);
    }

    #[test]
    fn what_a_finding_does_to_a_run_is_a_matter_of_its_weight() {
        let of = |severity| diff(&[(Section::Sysctl, "a", None, severity)]).findings(&[]).remove(0);
        let fails = |policy: Policy| [Severity::Serious, Severity::Minor].map(|severity| policy.fails(&of(severity)));
        assert_eq!(Policy::ALL.map(fails), [[false, false], [true, false], [true, true]]);
        assert_eq!(Policy::default(), Policy::Fail);
    }
}
