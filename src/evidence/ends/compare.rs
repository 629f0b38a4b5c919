//! What differs between two end states.

use super::{End, drawn};
use crate::allowed::{Allowance, AllowedLoss, ENDS};
use crate::observe::{Diff, Fact, Facts, Kind, Observed, Section};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::time::SystemTime;

/// What became of the comparison of two end states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ends {
    /// The evidence of the run whose machine was fresh.
    pub fresh: Utf8PathBuf,
    /// What differs and should not.
    pub findings: Vec<Difference>,
    /// What may differ, and why.
    pub allowed: Vec<(Difference, String)>,
    /// What could not be seen of one of them or of both, and why: nothing is known of it.
    pub unseen: Vec<String>,
    /// What of that must be known for a verdict.
    pub blind: Vec<String>,
    /// What is not looked at, in a sentence.
    pub not_looked: String,
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its stable name, by which the profile can allow it: `ends/files/etc/nginx/old.conf`, `ends/units/old.service/active`.
    pub id: String,
    /// Which machine has it.
    pub side: Side,
    /// What it is on the fresh machine.
    pub fresh: Option<String>,
    /// What it is on the one that was upgraded.
    pub upgraded: Option<String>,
}

/// Which of two machines has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// It was left behind.
    OnlyUpgraded,
    /// The change does not bring it to a host that is there already.
    OnlyFresh,
    /// Both have it, and not the same.
    Differs,
}

impl Difference {
    /// What it is about: `files/etc/nginx/old.conf`.
    pub fn name(&self) -> &str {
        self.id.strip_prefix(ENDS).unwrap_or(&self.id)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |text: &Option<String>| text.as_deref().unwrap_or_default().replace('\n', " | ");
        let (id, fresh, upgraded) = (self.name(), one(&self.fresh), one(&self.upgraded));
        match self.side {
            Side::OnlyUpgraded => write!(f, "{id} is on the upgraded host only ({upgraded}): left behind"),
            Side::OnlyFresh => write!(f, "{id} is on the fresh host only ({fresh}): the upgrade does not bring it"),
            Side::Differs => write!(f, "{id} is {upgraded} on the upgraded host, and {fresh} on the fresh one"),
        }
    }
}

impl Ends {
    /// Compare them; `run` is the evidence of the fresh one.
    pub fn between(fresh: &End, upgraded: &End, run: Utf8PathBuf, allow: &[AllowedLoss], now: SystemTime) -> Self {
        let (mut unseen, mut blind) = (Vec::new(), Vec::new());
        let mut all = Vec::new();
        let disks = [
            ("packages", &fresh.disk.packages, &upgraded.disk.packages),
            ("files", &fresh.disk.files, &upgraded.disk.files),
        ];
        for (name, old, new) in disks {
            match (old, new) {
                (Observed::Facts(old), Observed::Facts(new)) => all.extend(facts(name, old, new)),
                (old, new) => [old, new].into_iter().for_each(|side| match side {
                    Observed::Facts(_) => {}
                    Observed::Absent(why) => unseen.push(format!("{name}: {why}")),
                    Observed::Failed(why) => blind.push(format!("{name}: {why}")),
                }),
            }
        }
        unseen.extend(blind.iter().cloned());
        for (section, why) in fresh.state.failed().chain(upgraded.state.failed()) {
            unseen.push(format!("{section}: {why}"));
        }
        all.extend(state(fresh, upgraded));
        all.sort_by_key(|one| (one.side, !one.name().starts_with("files/")));
        let (mut findings, mut allowed) = (Vec::new(), Vec::new());
        for one in all {
            match AllowedLoss::allowance(allow, &one.id, now) {
                Some(Allowance::Holds(why)) => allowed.push((one, why)),
                Some(Allowance::Expired(_)) | None => findings.push(one),
            }
        }
        unseen.sort();
        unseen.dedup();
        Self { fresh: run, findings, allowed, unseen, blind, not_looked: super::NOT_LOOKED.into() }
    }

    /// What came of it, in some words.
    pub fn summary(&self) -> String {
        let count = |side| self.findings.iter().filter(|one| one.side == side).count();
        match self.findings.len() {
            0 => "both hosts end as one".to_owned(),
            _ => format!(
                "{} left behind, {} missing after the upgrade, {} not the same",
                count(Side::OnlyUpgraded),
                count(Side::OnlyFresh),
                count(Side::Differs)
            ),
        }
    }
}

fn difference(id: String, fresh: Option<String>, upgraded: Option<String>) -> Difference {
    let side = match (&fresh, &upgraded) {
        (None, _) => Side::OnlyUpgraded,
        (_, None) => Side::OnlyFresh,
        _ => Side::Differs,
    };
    Difference { id: format!("{ENDS}{id}"), side, fresh, upgraded }
}

/// What differs on the disk. A folder of which one machine has something is told by what is in it.
fn facts(name: &str, old: &Facts, new: &Facts) -> Vec<Difference> {
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).collect();
    let missing = |key: &String| !(old.contains_key(key) && new.contains_key(key));
    let has_more = |key: &&String| {
        let below = format!("{key}/");
        missing(key) && keys.range(below.clone()..).next().is_some_and(|next| next.starts_with(&below))
    };
    let text = |fact: Option<&Fact>| fact.map(ToString::to_string);
    let told = keys.iter().filter(|key| !has_more(key));
    let id = |key: &str| format!("{name}/{}", key.trim_start_matches('/'));
    told.map(|key| difference(id(key), text(old.get(*key)), text(new.get(*key)))).collect()
}

/// What differs of what runs: as across a reboot, with the fresh machine for the one before it.
fn state(fresh: &End, upgraded: &End) -> Vec<Difference> {
    let changes = Diff::between(&fresh.state, &upgraded.state).changes;
    let kept = changes.into_iter().filter(|change| {
        let numbers = |text: &Option<String>| text.as_deref().map(drawn::without_numbers);
        let is_somebody = matches!(change.section, Section::Users | Section::Groups) && change.kind() == Kind::Changed;
        let same = is_somebody && numbers(&change.before) == numbers(&change.after);
        !(same || drawn::is_natural(&change.id()))
    });
    kept.map(|change| difference(change.id(), change.before, change.after)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ends::OnDisk;
    use crate::observe::State;

    fn end(files: &[(&str, &str)], units: &[(&str, &str)]) -> End {
        let facts = |all: &[(&str, &str)]| {
            Observed::Facts(all.iter().map(|(key, value)| ((*key).to_owned(), Fact::from(*value))).collect())
        };
        let state = State { sections: [(Section::Units, facts(units))].into(), ..State::default() };
        End { state, disk: OnDisk { packages: facts(&[("nginx", "1.26")]), files: facts(files) } }
    }

    fn compared(fresh: &End, upgraded: &End, allow: &[AllowedLoss]) -> Ends {
        Ends::between(fresh, upgraded, "/r".into(), allow, SystemTime::now())
    }

    #[test]
    fn a_leftover_a_missing_step_and_what_is_not_the_same_are_told_apart_and_by_their_paths() {
        let fresh =
            end(&[("/etc", "folder"), ("/etc/a", "1"), ("/etc/new.d", "folder"), ("/etc/new.d/f", "file")], &[]);
        let upgraded = end(
            &[
                ("/etc", "folder"),
                ("/etc/a", "2"),
                ("/etc/x.service.d", "folder"),
                ("/etc/x.service.d/old.conf", "file"),
            ],
            &[("old.service/active", "active (running)")],
        );
        let ends = compared(&fresh, &upgraded, &[]);
        let told: Vec<_> = ends.findings.iter().map(|one| (one.name(), one.side)).collect();
        assert_eq!(
            told,
            [
                ("files/etc/x.service.d/old.conf", Side::OnlyUpgraded),
                ("units/old.service/active", Side::OnlyUpgraded),
                ("files/etc/new.d/f", Side::OnlyFresh),
                ("files/etc/a", Side::Differs),
            ]
        );
        assert!(ends.findings[0].to_string().contains("left behind"));
        assert!(compared(&fresh, &fresh, &[]).findings.is_empty());
    }

    #[test]
    fn an_empty_folder_is_a_leftover_too() {
        let fresh = end(&[("/etc", "folder")], &[]);
        let upgraded =
            end(&[("/etc", "folder"), ("/etc/x.service.d", "folder"), ("/etc/x.service.d-more", "file")], &[]);
        let ids: Vec<_> = compared(&fresh, &upgraded, &[]).findings.iter().map(|one| one.name().to_owned()).collect();
        assert_eq!(ids, ["files/etc/x.service.d", "files/etc/x.service.d-more"]);
    }

    #[test]
    fn what_the_profile_allows_is_no_finding_and_what_was_not_seen_is_told() {
        let fresh = end(&[("/etc", "folder")], &[]);
        let mut upgraded = end(&[("/etc", "folder"), ("/etc/old", "file")], &[]);
        let allow: AllowedLoss =
            serde_json::from_str(r#"{"id": "ends/files/etc/old", "why": "an operator's note"}"#).unwrap();
        let ends = compared(&fresh, &upgraded, &[allow]);
        assert_eq!((ends.findings.len(), ends.allowed.len(), ends.unseen.len()), (0, 1, 0));
        upgraded.disk.files = Observed::Failed("no find".into());
        let ends = compared(&fresh, &upgraded, &[]);
        assert_eq!((ends.findings.len(), &ends.unseen), (0, &vec!["files: no find".to_owned()]));
        assert_eq!(ends.blind, ends.unseen);
    }
}
