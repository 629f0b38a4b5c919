//! One cause, one difference: what goes only because something larger went is told with it.

use super::diff::Raw;
use super::state::{Section, State};
use std::collections::BTreeMap;

/// Fold the differences of all sections.
pub(super) fn fold(raws: Vec<Raw>, before: &State, after: &State) -> Vec<Raw> {
    let raws = with_the_whole(raws);
    let raws = raws.into_iter().filter(|raw| !of_a_lost_link(raw, before, after)).collect();
    whole_folders(raws, after)
}

/// A part that came or went with its whole: the rules of a chain, the ports of a container. Keys are paths, and a whole
/// is a fact too.
fn with_the_whole(raws: Vec<Raw>) -> Vec<Raw> {
    let mut kept: Vec<Raw> = Vec::new();
    for raw in raws {
        let whole = kept.iter_mut().rev().find(|whole| {
            let same_way = whole.section == raw.section
                && whole.before.is_some() == raw.before.is_some()
                && whole.after.is_some() == raw.after.is_some()
                && (raw.before.is_none() || raw.after.is_none());
            same_way && raw.key.strip_prefix(whole.key.as_str()).is_some_and(|rest| rest.starts_with('/'))
        });
        let Some(whole) = whole else {
            kept.push(raw);
            continue;
        };
        let part = raw.key[whole.key.len() + 1..].to_owned();
        for (text, more) in [(&mut whole.before, raw.before), (&mut whole.after, raw.after)] {
            if let (Some(text), Some(more)) = (text, more) {
                *text = format!("{text}\n{part}: {}", more.replace('\n', "\n  "));
            }
        }
    }
    kept
}

/// The parameters of an interface go with it.
fn of_a_lost_link(raw: &Raw, before: &State, after: &State) -> bool {
    let mut parts = raw.key.split('.');
    let per_link = (parts.next(), parts.next(), parts.next());
    let (Some("net"), Some("ipv4" | "ipv6"), Some("conf" | "neigh")) = per_link else { return false };
    let name = parts.next().unwrap_or_default().replace('/', ".");
    let has = |state: &State| state.fact(Section::Links, &name).is_some();
    raw.section == Section::Sysctl && has(before) != has(after)
}

/// Parameters that vanish or appear together with their folder do so with what made it, a module for example.
fn whole_folders(raws: Vec<Raw>, after: &State) -> Vec<Raw> {
    let folder = |key: &str| key.rsplit_once('.').map(|(folder, _)| format!("{folder}."));
    let exists = |folder: &str| {
        after.facts(Section::Sysctl).is_some_and(|facts| {
            facts.range(folder.to_owned()..).next().is_some_and(|(key, _)| key.starts_with(folder))
        })
    };
    let mut gone: BTreeMap<String, Vec<Raw>> = BTreeMap::new();
    let mut kept = Vec::new();
    for raw in raws {
        match folder(&raw.key).filter(|f| raw.section == Section::Sysctl && raw.after.is_none() && !exists(f)) {
            Some(folder) => gone.entry(folder).or_default().push(raw),
            None => kept.push(raw),
        }
    }
    for (folder, mut raws) in gone {
        if raws.len() > 1 {
            let lines: Vec<_> =
                raws.iter().map(|r| format!("{} = {}", r.key, r.before.as_deref().unwrap_or(""))).collect();
            raws = vec![Raw {
                section: Section::Sysctl,
                key: format!("{folder}*"),
                before: Some(lines.join("\n")),
                after: None,
            }];
        }
        kept.append(&mut raws);
    }
    kept
}
