//! What is bad before a reboot and after it: no loss, and told all the same.

use super::finding::is_broken;
use super::state::{Section, State};
use serde::{Deserialize, Serialize};

/// Something that is bad at both looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The id that a difference of it would have.
    pub id: String,
    /// What is bad, in a sentence.
    pub what: String,
}

/// What is bad at both looks.
pub(super) fn standing(before: &State, after: &State) -> Vec<Standing> {
    [Section::Units, Section::Containers].into_iter().flat_map(|section| in_section(section, before, after)).collect()
}

fn in_section<'s>(section: Section, before: &'s State, after: &'s State) -> impl Iterator<Item = Standing> + 's {
    after.words(section).filter_map(move |(key, now)| {
        let was = before.word(section, key);
        let (name, part) = key.rsplit_once('/')?;
        let is = is_bad(section, part, now).filter(|_| is_bad(section, part, was).is_some())?;
        let noun = if section == Section::Containers { "the container " } else { "" };
        Some(Standing {
            id: format!("{section}/{key}"),
            what: format!("{noun}{name} {is}, before the reboot and after it"),
        })
    })
}

/// What is bad about a value.
fn is_bad(section: Section, part: &str, value: &str) -> Option<&'static str> {
    match (section, part) {
        (Section::Units, "active") if value == "failed" => Some("has failed"),
        (Section::Units, "active") if is_broken(value) => Some("is started again and again"),
        (Section::Containers, "state") if value == "restarting" => Some("is started again and again"),
        (Section::Containers, "state") if value == "dead" => Some("is dead"),
        (Section::Containers, "health") if value == "unhealthy" => Some("is unhealthy"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::{Fact, Observed};
    use super::*;

    #[test]
    fn only_what_is_bad_at_both_looks_is_a_standing_ill() {
        let state = |units: &[(&str, &str)]| {
            let facts = units.iter().map(|(unit, value)| (format!("{unit}/active"), Fact::from(*value))).collect();
            State { sections: [(Section::Units, Observed::Facts(facts))].into(), ..State::default() }
        };
        let before = state(&[("a.service", "failed"), ("b.service", "failed"), ("c.service", "active (running)")]);
        let after = state(&[("a.service", "activating (auto-restart)"), ("c.service", "failed")]);
        let found = standing(&before, &after);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, "a.service is started again and again, before the reboot and after it");
    }
}
