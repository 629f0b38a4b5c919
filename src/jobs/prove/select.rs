//! Which scenarios a proof is made of.

use super::ProveError;
use crate::profile::{Profile, Scenario};
use host::names::{HostName, ScenarioName};

/// What was asked for: scenarios by name, or all. Neither: the profile's `red`.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// These.
    pub scenarios: Vec<ScenarioName>,
    /// All that the profile has.
    pub all: bool,
    /// Keep the VM of the last green case even if it passes.
    pub keep: bool,
}

/// The scenarios by name, each once, in the order asked for.
pub(super) fn select(profile: &Profile, host: &HostName, asked: &Asked) -> Result<Vec<(String, Scenario)>, ProveError> {
    let mut all = profile.all_scenarios();
    let known: Vec<_> = all.keys().cloned().collect();
    if let (true, false) = (asked.all, all.is_empty()) {
        return Ok(all.into_iter().collect());
    }
    let names: Vec<String> = match (asked.scenarios.is_empty(), profile.red_scenario()) {
        (false, _) => asked.scenarios.iter().map(ToString::to_string).collect(),
        (true, Some(red)) if !asked.all => vec![red.to_owned()],
        (true, _) => return Err(ProveError::NoRed { host: host.clone(), known }),
    };
    if let Some(unknown) = names.iter().find(|name| !all.contains_key(*name)) {
        return Err(ProveError::Unknown { host: host.clone(), name: unknown.clone(), known });
    }
    // One that was named twice is gone the second time.
    Ok(names.into_iter().filter_map(|name| all.remove(&name).map(|scenario| (name, scenario))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(more: &str) -> Profile {
        let text = format!(r#"{{"inventory": "i", "applies": [{{"playbook": "p"}}], "verify": "v"{more}}}"#);
        Profile::parse("x.json".into(), &text).unwrap()
    }

    const TWO: &str = r#", "red": "b", "scenarios": {
        "b": {"broken": "b.yml", "fails": ["c"], "cause": "x"}, "a": {"broken": "a.yml", "fails": ["c"], "cause": "x"}}"#;

    fn chosen(more: &str, names: &[&str], all: bool) -> Result<Vec<String>, String> {
        let scenarios = names.iter().map(|name| name.parse().unwrap()).collect();
        let asked = Asked { scenarios, all, keep: false };
        let chosen = select(&profile(more), &"askari".parse().unwrap(), &asked);
        chosen.map(|all| all.into_iter().map(|(name, _)| name).collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn red_is_run_if_nothing_is_named_and_each_once_in_the_order_asked_for() {
        assert_eq!(chosen(TWO, &[], false).unwrap(), ["b"]);
        assert_eq!(chosen(TWO, &["b", "a", "b"], false).unwrap(), ["b", "a"]);
        assert_eq!(chosen(TWO, &[], true).unwrap(), ["a", "b"]);
        let old = r#", "red": {"overrides": "o.yml", "fails": ["c"]}"#;
        for (names, all) in [(&[][..], false), (&["red"], false), (&[], true)] {
            assert_eq!(chosen(old, names, all).unwrap(), ["red"]);
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones_and_so_is_a_choice_that_is_not_made() {
        assert!(chosen(TWO, &["a", "c"], false).unwrap_err().contains("no scenario c; there are a, b"));
        assert!(chosen("", &["c"], false).unwrap_err().contains("there is none"));
        let unnamed = TWO.replace(r#", "red": "b""#, "");
        assert!(chosen(&unnamed, &[], false).unwrap_err().contains("names no red case"));
        assert!(chosen("", &[], true).unwrap_err().contains("names no red case"));
    }
}
