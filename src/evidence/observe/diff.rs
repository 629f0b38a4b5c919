//! What differs between two looks at the same guest.

use super::consequences;
use super::fold::fold;
use super::loss::{Loss, Meaning, meaning};
use super::sized::Memory;
use super::state::{Fact, Facts, Observed, Section, State};
use serde::{Deserialize, Serialize};

/// All that differs, in the order of [`Section::ALL`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// Each difference.
    pub changes: Vec<Change>,
}

/// One difference. There is always a `before` or an `after`, and they are never equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where.
    pub section: Section,
    /// What it is about, unique in its section; empty where the whole section came or went.
    pub key: String,
    /// What it was; nothing where it is new.
    pub before: Option<String>,
    /// What it is; nothing where it is gone.
    pub after: Option<String>,
    /// Why this is a loss; nothing where it is only told.
    pub loss: Option<Loss>,
    /// What the disk had said before, and the boot has brought into effect: a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_effect: Option<String>,
    /// The id of the loss that this one comes of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comes_of: Option<String>,
}

/// What kind of difference it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another.
    Changed,
}

impl Change {
    /// Its stable name: the section, then the key (`sysctl/net.ipv4.ip_forward`).
    pub fn id(&self) -> String {
        id(self.section, &self.key)
    }

    /// The part of the key up to a mark: the unit of `web.service/active`.
    pub(super) fn name(&self, end: &str) -> Option<&str> {
        self.key.strip_suffix(end)
    }

    /// What kind of difference it is.
    pub fn kind(&self) -> Kind {
        match (&self.before, &self.after) {
            (None, _) => Kind::Added,
            (_, None) => Kind::Removed,
            _ => Kind::Changed,
        }
    }
}

impl Diff {
    /// Compare two looks.
    pub fn between(before: &State, after: &State) -> Self {
        let mut raw = Vec::new();
        let memory = Memory::between(before, after);
        for section in Section::ALL {
            match (before.sections.get(&section), after.sections.get(&section)) {
                (Some(Observed::Facts(old)), Some(Observed::Facts(new))) => {
                    compare(section, old, new, &memory, &mut raw);
                }
                (Some(old), Some(new)) => whole(section, old, new, &mut raw),
                // Not asked for on one side: an older record, or a state that was cut by hand.
                _ => {}
            }
        }
        let mut raw = fold(raw, before, after);
        raw.sort_by_key(|raw| raw.section);
        let changes = raw.into_iter().map(|raw| {
            let (loss, took_effect) = match meaning(&raw, before, after) {
                Meaning::Lost(loss) => (Some(loss), None),
                Meaning::TookEffect(said) => (None, Some(said)),
                Meaning::Nothing => (None, None),
            };
            let Raw { section, key, before, after } = raw;
            Change { section, key, before, after, loss, took_effect, comes_of: None }
        });
        let told = |change: &Change| change.loss.is_some() || change.took_effect.is_some() || !is_noise(change, after);
        let mut changes: Vec<_> = changes.filter(told).collect();
        consequences::trace(&mut changes, before);
        Self { changes }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The differences of one section.
    pub fn of(&self, section: Section) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.section == section)
    }
}

/// What every boot makes of itself, and a reader of the differences need not know: what is new in `/run` and `/dev`, units that
/// are for a first boot, and the checks of file systems that systemd makes of fstab.
fn is_noise(change: &Change, after: &State) -> bool {
    match change.section {
        Section::Permissions => !change.key.starts_with("/sys/"),
        Section::Units => {
            let excused = || after.known.reasons.get(&change.id()).is_some_and(|reason| reason.excuses);
            change.key.starts_with("systemd-fsck@") || excused()
        }
        _ => false,
    }
}

/// A difference that nobody has judged yet.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) section: Section,
    pub(super) key: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl Raw {
    /// The id that its difference will have.
    pub(super) fn id(&self) -> String {
        id(self.section, &self.key)
    }
}

/// The stable name of a difference: the section, then the key (`sysctl/net.ipv4.ip_forward`).
fn id(section: Section, key: &str) -> String {
    match key.is_empty() {
        true => section.to_string(),
        false => format!("{section}/{key}"),
    }
}

/// A section that came, went, or can no longer be read. What its tool says when it fails is told and not
/// compared: two failures may word it differently.
fn whole(section: Section, old: &Observed, new: &Observed, out: &mut Vec<Raw>) {
    let words = |observed: &Observed| match observed {
        Observed::Absent(_) => None,
        Observed::Failed(why) => Some(format!("cannot be read: {why}")),
        Observed::Facts(facts) => Some(format!("{} facts", facts.len())),
    };
    if std::mem::discriminant(old) != std::mem::discriminant(new) {
        out.push(Raw { section, key: String::new(), before: words(old), after: words(new) });
    }
}

fn compare(section: Section, old: &Facts, new: &Facts, memory: &Memory, out: &mut Vec<Raw>) {
    let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for key in keys {
        match (old.get(key), new.get(key)) {
            (Some(Fact::List(a)), Some(Fact::List(b))) => lines(section, key, a, b, out),
            (a, b) if a == b => {}
            (Some(a), Some(b)) if memory.sizes_alike(section, key, &a.to_string(), &b.to_string()) => {}
            (a, b) => {
                let text = |fact: Option<&Fact>| fact.map(ToString::to_string);
                out.push(Raw { section, key: key.clone(), before: text(a), after: text(b) });
            }
        }
    }
}

/// Two lists: lines that are gone, lines that are new, and, of those that stayed, another order.
fn lines(section: Section, key: &str, old: &[String], new: &[String], out: &mut Vec<Raw>) {
    let (mut gone, mut came) = (old.to_vec(), new.to_vec());
    // Equal lines are paired off one by one, so that one of two equal lines can be missed.
    came.retain(|line| match gone.iter().position(|other| other == line) {
        Some(at) => {
            gone.remove(at);
            false
        }
        None => true,
    });
    let stayed = |all: &[String], but: &[String]| {
        let mut but = but.to_vec();
        let mut kept = all.to_vec();
        kept.retain(|line| match but.iter().position(|other| other == line) {
            Some(at) => {
                but.remove(at);
                false
            }
            None => true,
        });
        kept
    };
    let (a, b) = (stayed(old, &gone), stayed(new, &came));
    let at = |line: &str| format!("{key}/{line}");
    out.extend(gone.iter().map(|l| Raw { section, key: at(l), before: Some(l.clone()), after: None }));
    out.extend(came.iter().map(|l| Raw { section, key: at(l), before: None, after: Some(l.clone()) }));
    if a != b {
        let text = |lines: &[String]| Some(lines.join("\n"));
        out.push(Raw { section, key: format!("{key}/order"), before: text(&a), after: text(&b) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state(section: Section, facts: &[(&str, Fact)]) -> State {
        let facts = facts.iter().map(|(key, fact)| ((*key).to_owned(), fact.clone())).collect();
        State { sections: [(section, Observed::Facts(facts))].into(), ..State::default() }
    }

    fn list(lines: &[&str]) -> Fact {
        Fact::List(lines.iter().map(|line| (*line).to_owned()).collect())
    }

    #[test]
    fn what_is_gone_is_a_loss_and_what_is_new_is_none() {
        let old = state(Section::Modules, &[("dummy", "loaded".into()), ("ext4", "loaded".into())]);
        let new = state(Section::Modules, &[("ext4", "loaded".into()), ("nbd", "loaded".into())]);
        let diff = Diff::between(&old, &new);
        let seen: Vec<_> = diff.changes.iter().map(|c| (c.id(), c.kind(), c.loss.is_some())).collect();
        assert_eq!(seen, [("modules/dummy".into(), Kind::Removed, true), ("modules/nbd".into(), Kind::Added, false)]);
    }

    #[test]
    fn of_two_equal_lines_one_can_be_missed_and_order_is_a_difference_of_its_own() {
        let old = state(Section::Resolv, &[("nameservers", list(&["a", "b", "b", "c"]))]);
        let ids = |new: &[&str]| {
            let diff = Diff::between(&old, &state(Section::Resolv, &[("nameservers", list(new))]));
            diff.changes.iter().map(Change::id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&["a", "b", "c"]), ["resolv/nameservers/b"]);
        assert_eq!(ids(&["b", "a", "b", "c"]), ["resolv/nameservers/order"]);
        assert_eq!(
            ids(&["c", "x", "b", "b"]),
            ["resolv/nameservers/a", "resolv/nameservers/x", "resolv/nameservers/order"]
        );
    }

    #[test]
    fn a_section_that_can_no_longer_be_seen_is_one_loss() {
        let seen = state(Section::Nft, &[("inet filter/input/policy", "drop".into())]);
        let but = |observed| State { sections: [(Section::Nft, observed)].into(), ..State::default() };
        let gone = Diff::between(&seen, &but(Observed::Absent("no nft".into())));
        assert_eq!(
            (gone.changes.len(), gone.changes[0].kind(), gone.changes[0].loss.is_some()),
            (1, Kind::Removed, true)
        );
        let failed = |why: &str| but(Observed::Failed(why.into()));
        assert!(Diff::between(&failed("one word"), &failed("another word")).is_empty());
        assert!(Diff::between(&seen, &failed("no netlink")).changes[0].loss.is_some());
    }

    fn facts() -> impl Strategy<Value = Facts> {
        let fact = prop_oneof![
            "[a-z]{0,6}".prop_map(Fact::One),
            proptest::collection::vec("[a-c]{1,2}", 0..6).prop_map(Fact::List),
        ];
        proptest::collection::btree_map("[a-z./]{1,8}", fact, 1..12)
    }

    proptest! {
        #[test]
        fn nothing_differs_from_itself(facts in facts(), at in 0..Section::ALL.len()) {
            let state = State { sections: [(Section::ALL[at], Observed::Facts(facts))].into(), ..State::default() };
            prop_assert!(Diff::between(&state, &state).is_empty());
        }

        #[test]
        fn every_fact_that_is_taken_away_is_told(facts in facts(), at in 0..Section::ALL.len(), n in 0..12usize) {
            let of = |facts: &Facts| State {
                sections: [(Section::ALL[at], Observed::Facts(facts.clone()))].into(),
                ..State::default()
            };
            let mut less = facts.clone();
            let key = facts.keys().nth(n % facts.len()).cloned().unwrap_or_default();
            less.remove(&key);
            let diff = Diff::between(&of(&facts), &of(&less));
            prop_assert_eq!(diff.changes.len(), 1);
            prop_assert_eq!((&diff.changes[0].key, diff.changes[0].kind()), (&key, Kind::Removed));
        }
    }
}
