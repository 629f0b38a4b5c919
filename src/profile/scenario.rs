//! The scenarios of a host's profile: known faults, each with the overlay that brings it back, what must turn red with it, and
//! where the cause must stand. `red` is the one that `prove` runs if none is named.
//!
//! Fuzzed as `profile`.

use super::{BreakGlass, Profile};
use crate::form::pattern::Pattern;
use camino::{Utf8Path, Utf8PathBuf};
use host::names::ScenarioName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The name of the case that a profile writes out as `red`.
const RED: &str = "red";

/// A known fault, and the host without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What a person wants to say of it; no meaning.
    #[serde(rename = "//", default, skip_serializing)]
    #[schemars(with = "Option<Value>")]
    pub comment: IgnoredAny,
    /// The overlay that brings the fault back.
    #[schemars(with = "String")]
    pub broken: Utf8PathBuf,
    /// The overlay of the host without it; none: the host as its profile has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub fixed: Option<Utf8PathBuf>,
    /// The second way in that the host promises in both cases, in the place of the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlass>,
    /// When the fault shows, and by what.
    #[serde(default)]
    pub shows: Shows,
    /// The checks that must turn red, and no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fails: Vec<String>,
    /// What the first line of the red case's verdict must say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Pattern>,
    /// What else must be found, by the file of the red case's evidence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Pattern>")]
    pub evidence: BTreeMap<Utf8PathBuf, Pattern>,
}

/// When a fault shows, and by what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shows {
    /// The checks are green before the reboot and red after it.
    #[default]
    AfterReboot,
    /// They are red as soon as the playbooks were applied; the red case is not rebooted.
    AtOnce,
    /// The checks are green before the reboot, and after it a login is impossible.
    NoLogin,
}

impl fmt::Display for Shows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AfterReboot => "red after the reboot",
            Self::AtOnce => "red as soon as it is applied",
            Self::NoLogin => "no login after the reboot",
        })
    }
}

/// The scenario that `prove` runs if none is named.
#[derive(Clone, Debug, PartialEq)]
pub enum Red {
    /// One of `scenarios`.
    Named(ScenarioName),
    /// Written out, as profiles without `scenarios` have it.
    Written(Written),
}

/// A case that must fail after the reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The overlay that brings the fault back.
    #[schemars(with = "String")]
    pub overrides: Utf8PathBuf,
    /// The checks that must be green before the reboot and red after it.
    pub fails: Vec<String>,
}

impl Serialize for Red {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Named(name) => name.serialize(serializer),
            Self::Written(case) => case.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Red {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Red;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a scenario, or an object with `overrides` and `fails`")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Red, E> {
                name.parse().map(Red::Named).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Red, A::Error> {
                Written::deserialize(MapAccessDeserializer::new(map)).map(Red::Written)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The name of a scenario, or a case.
impl JsonSchema for Red {
    fn schema_name() -> Cow<'static, str> {
        "Red".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let either = [generator.subschema_for::<String>(), generator.subschema_for::<Written>()];
        json_schema!({"anyOf": either})
    }
}

impl Profile {
    /// All scenarios by name, the one that `red` writes out among them.
    pub fn all_scenarios(&self) -> BTreeMap<String, Scenario> {
        let named = self.scenarios.iter().map(|(name, scenario)| (name.to_string(), scenario.clone()));
        let written = match &self.red {
            Some(Red::Written(case)) => Some((RED.to_owned(), case.scenario())),
            Some(Red::Named(_)) | None => None,
        };
        named.chain(written).collect()
    }

    /// The name of the scenario that is run if none is named.
    pub fn red_scenario(&self) -> Option<&str> {
        self.red.as_ref().map(|red| match red {
            Red::Named(name) => name.as_str(),
            Red::Written(_) => RED,
        })
    }

    /// What is wrong with the scenarios, if something is.
    pub(super) fn wrong_scenarios(&self) -> Option<String> {
        match &self.red {
            Some(Red::Named(name)) if !self.scenarios.contains_key(name) => {
                let known: Vec<_> = self.scenarios.keys().map(ToString::to_string).collect();
                let known =
                    if known.is_empty() { "there is none".into() } else { format!("there are {}", known.join(", ")) };
                return Some(format!("red: no scenario is called {name}; {known}"));
            }
            Some(Red::Written(case)) if case.fails.is_empty() => return Some("red: fails names no check".into()),
            Some(Red::Written(_)) if self.scenarios.keys().any(|name| name.as_str() == RED) => {
                return Some(
                    "scenarios: `red` is written out beside `scenarios`, so none of them can be called red".into(),
                );
            }
            _ => {}
        }
        self.scenarios
            .iter()
            .find_map(|(name, scenario)| scenario.wrong().map(|what| format!("scenarios: {name}: {what}")))
    }
}

impl Written {
    fn scenario(&self) -> Scenario {
        Scenario {
            comment: IgnoredAny,
            broken: self.overrides.clone(),
            fixed: None,
            break_glass: None,
            shows: Shows::AfterReboot,
            fails: self.fails.clone(),
            cause: None,
            evidence: BTreeMap::new(),
        }
    }
}

impl Scenario {
    /// Its overlays, and what each is.
    pub fn overlays(&self) -> impl Iterator<Item = (&'static str, &Utf8Path)> {
        let broken = ("the red case's overlay", self.broken.as_path());
        [broken].into_iter().chain(self.fixed.as_deref().map(|path| ("the green case's overlay", path)))
    }

    /// What its red case must show, besides when.
    pub fn demands(&self) -> Vec<String> {
        let fails = (!self.fails.is_empty()).then(|| format!("fails {}", self.fails.join(", ")));
        let cause = self.cause.iter().map(|cause| format!("the verdict says {cause}"));
        let evidence = self.evidence.iter().map(|(file, pattern)| format!("{file} says {pattern}"));
        fails.into_iter().chain(cause).chain(evidence).collect()
    }

    fn wrong(&self) -> Option<String> {
        let inside = |path: &Utf8Path| path.is_relative() && !path.components().any(|c| c.as_str() == "..");
        match (self.shows, self.fails.is_empty()) {
            (Shows::AfterReboot | Shows::AtOnce, true) => return Some("fails names no check".into()),
            (Shows::NoLogin, false) => {
                return Some(
                    "fails names checks, and with no login after the reboot none can look: leave it out".into(),
                );
            }
            _ => {}
        }
        if self.cause.is_none() {
            return Some("cause is missing: without it, the case could be red for another reason".into());
        }
        let outside = self.evidence.keys().find(|path| !inside(path));
        outside.map(|path| format!("evidence: {path} does not lie inside a run's evidence"))
    }
}

#[cfg(test)]
#[path = "scenario_tests.rs"]
mod tests;
