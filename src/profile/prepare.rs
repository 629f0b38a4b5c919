//! What brings a fresh guest to where the real host was before the change: it is no part of what is proved.

use super::inside;
use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Packages first, then playbooks, each in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prepare {
    /// Packages that are installed, by the names that apt has for them (`nginx`, `nginx=1.26.3-3`).
    #[serde(default)]
    pub packages: Vec<String>,
    /// Playbooks, inside the project root; like checks they run in the playbook repository, with the profile's overlays.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub playbooks: Vec<Utf8PathBuf>,
}

impl Prepare {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.playbooks.is_empty()
    }

    /// The first value that cannot work.
    pub(super) fn wrong(&self) -> Option<String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "+-.:=~/".contains(c);
        let is_package =
            |name: &&String| name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed);
        if let Some(name) = self.packages.iter().find(|name| !is_package(name)) {
            return Some(format!("packages: {name:?} is not the name of a package"));
        }
        let outside = self.playbooks.iter().find(|path| !inside(path))?;
        Some(format!("playbooks: {outside} does not lie inside the project root"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_a_name_and_a_playbook_lies_in_the_project() {
        let of = |text: &str| serde_json::from_str::<Prepare>(text).unwrap().wrong();
        assert_eq!(
            of(r#"{"packages": ["g++", "nginx=1.26.3-3+deb13u1", "libc6:i386"], "playbooks": ["prepare/a.yml"]}"#),
            None
        );
        for bad in ["-y", "", "a b", "a;b", "$(x)"] {
            let wrong = of(&serde_json::json!({"packages": [bad]}).to_string()).unwrap();
            assert!(wrong.contains("is not the name of a package"), "{bad}: {wrong}");
        }
        assert!(of(r#"{"playbooks": ["../a.yml"]}"#).unwrap().contains("does not lie inside"));
        assert!(serde_json::from_str::<Prepare>(r#"{"package": []}"#).is_err());
    }
}
