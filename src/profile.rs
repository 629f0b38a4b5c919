//! Profiles: what one mirrored host is made of. One JSON file per host, `profiles/<host>.json`.
//!
//! A key that nobody knows is an error with its line and column: a typo must never be a default.
//!
//! Fuzzed as `profile`.

mod break_glass;
mod certificate;
mod choices;
pub(crate) mod kind;
mod machine;
mod prepare;
mod scenario;
mod verify;

pub use break_glass::BreakGlass;
pub use certificate::Certificate;
pub use choices::{PackageLists, Unresolved};
pub use kind::{Kind, ProfileError, names};
pub use machine::{DataDisk, Firmware, Nic};
pub use prepare::Prepare;
pub use scenario::{Red, Scenario, Shows};
pub use verify::{Entry, Part, Verify};

use crate::form::Form;
use camino::{Utf8Path, Utf8PathBuf};
use evidence::allowed::AllowedLoss;
use host::dirs::Dirs;
use host::names::{HostName, IfName, MiB, ScenarioName};
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use vm::console::allow::Allowed;
use vm::qemu::boot::Bus;
use vm::reboot::Mode;

/// A mirrored host, as its profile says it. Paths are as written: inside `repo` for playbooks and the
/// inventory, inside the project root for overlays and verify playbooks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What a person wants to say of it; no meaning.
    #[serde(rename = "//", default, skip_serializing)]
    #[schemars(with = "Option<Value>")]
    pub comment: IgnoredAny,
    /// Where an editor finds what a profile may have; no meaning either.
    #[serde(rename = "$schema", default, skip_serializing)]
    #[schemars(with = "Option<String>")]
    pub schema: IgnoredAny,
    /// A name from `profiles/images.json`, or a path to a disk image.
    #[serde(default = "default_image")]
    pub image: String,
    /// The playbook repository, absolute or inside the project root.
    #[schemars(with = "Option<String>")]
    pub repo: Option<Utf8PathBuf>,
    /// The real inventory, inside the playbook repository.
    #[schemars(with = "String")]
    pub inventory: Utf8PathBuf,
    /// The user that Ansible logs in as: root, or one with NOPASSWD sudo in the guest.
    #[serde(default = "default_user")]
    pub user: String,
    /// The groups that the real host is in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The playbooks, in order.
    pub applies: Vec<Apply>,
    /// Overlays given as `-e @file`, in order.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub extra_vars_files: Vec<Utf8PathBuf>,
    /// Guest memory.
    #[serde(default = "default_memory")]
    pub mem_mib: MiB,
    /// Guest CPUs.
    #[serde(default = "default_cpus")]
    #[schemars(range(min = 1, max = 64))]
    pub vcpus: u8,
    /// The size that the overlay's virtual disk has, in GiB.
    #[serde(default = "default_disk")]
    #[schemars(range(min = 4, max = 2048))]
    pub disk_gib: u64,
    /// How the guest sees its disks: `/dev/vda`, or `/dev/sda`.
    #[serde(default)]
    pub disk_bus: Bus,
    /// What starts the machine before its boot loader.
    #[serde(default)]
    pub firmware: Firmware,
    /// The host's other disks, blank: `/dev/vdb` and so on.
    #[serde(default)]
    pub disks: Vec<DataDisk>,
    /// What the guest calls its first network card; as its image does otherwise.
    #[schemars(with = "Option<String>")]
    pub interface: Option<IfName>,
    /// Its further network cards.
    #[serde(default)]
    pub nics: Vec<Nic>,
    /// What brings a fresh guest to where the real host was before the change.
    #[serde(default)]
    pub prepare: Prepare,
    /// The outcome checks.
    pub verify: Verify,
    /// Public names that must resolve to the VM (`"vm"`) or to an address.
    #[serde(default)]
    pub dns: BTreeMap<String, String>,
    /// The second way in, for the day on which the first one is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlass>,
    /// The certificate that the host serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Names and addresses that the guest may never reach, besides every host of the real inventory.
    #[serde(default)]
    pub never: Vec<String>,
    /// Whether a guest without package lists gets them before the first playbook.
    #[serde(default)]
    pub package_lists: PackageLists,
    /// What becomes of a run where the address of something that may never be reached is not known.
    #[serde(default)]
    pub never_unresolved: Unresolved,
    /// What may be reached although the rules would forbid it.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// What the difference of state across a reboot may be.
    #[serde(default)]
    pub state: StateRules,
    /// What the serial console may say.
    #[serde(default)]
    pub console: ConsoleRules,
    /// How the machine is restarted, unless the command line says otherwise.
    #[serde(default)]
    pub via: Mode,
    /// The scenario that `prove` runs if none is named.
    pub red: Option<Red>,
    /// Known faults, for `prove`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Scenario>")]
    pub scenarios: BTreeMap<ScenarioName, Scenario>,
}

/// How the console rules are meant for this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsoleRules {
    /// Rules whose matches are no problem here.
    #[serde(default)]
    pub allow: Allowed,
}

/// One playbook run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The playbook, inside the repository.
    #[schemars(with = "String")]
    pub playbook: Utf8PathBuf,
    /// Only these tags; all if empty.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// An exception to the confinement, with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// Whom it is for.
    #[serde(rename = "for")]
    pub side: Side,
    /// An IPv4 address or network (`10.1.0.0/16`).
    pub to: Option<String>,
    /// A Unix socket on this host (a vault agent's); only the controller side can have one.
    #[schemars(with = "Option<String>")]
    pub socket: Option<Utf8PathBuf>,
    /// Why this is needed and safe.
    pub why: String,
}

/// Who an exception is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The VM.
    Guest,
    /// ansible-playbook and its ssh.
    Controller,
}

/// What the difference of state across a reboot may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateRules {
    /// Losses that are meant to be.
    #[serde(default)]
    pub allow: Vec<AllowedLoss>,
}

/// The image of a profile that names none.
pub const DEFAULT_IMAGE: &str = "debian-13";

fn default_image() -> String {
    DEFAULT_IMAGE.into()
}
fn default_user() -> String {
    "ansible".into()
}
fn default_memory() -> MiB {
    MiB(3072)
}
fn default_cpus() -> u8 {
    2
}
fn default_disk() -> u64 {
    20
}

/// What a profile may have, as a JSON schema: editors complete keys by it, and say what each is for.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Profile);
    schema.insert("title".into(), "A profile of boma-qemu".into());
    schema.to_value()
}

/// Whether a path stays in the folder that it is relative to.
fn inside(path: &Utf8Path) -> bool {
    path.is_relative() && !path.components().any(|c| c.as_str() == "..")
}

impl Profile {
    /// Read and check the profile of a host.
    pub fn load(dirs: &Dirs, host: &HostName) -> Result<Self, ProfileError> {
        let (path, text) = kind::read(dirs, Kind::Host, host)?;
        Self::parse(&path, &text)
    }

    /// Parse the text of a profile; `path` is for messages.
    pub fn parse(path: &Utf8Path, text: &str) -> Result<Self, ProfileError> {
        let mut wrong = verify_wrong(text);
        // What is wrong with the list is said; a list in its place lets the rest be read.
        let rest = if wrong.is_empty() { None } else { without_verify(text) };
        let parsed = kind::parse::<Self>(Kind::Host, path, rest.as_deref().unwrap_or(text));
        match (parsed, wrong.is_empty()) {
            (Err(error), true) => return Err(error),
            (Err(ProfileError::Parse { source, .. }), false) if rest.is_some() => wrong.push(source.to_string()),
            (Err(_), false) => {}
            (Ok(profile), true) => match profile.wrong() {
                None => return Ok(profile),
                Some(what) => wrong.push(what),
            },
            (Ok(profile), false) => wrong.extend(profile.wrong()),
        }
        Err(ProfileError::Wrong { kind: Kind::Host, path: path.to_owned(), wrong })
    }

    /// The first value that cannot work.
    fn wrong(&self) -> Option<String> {
        if self.applies.is_empty() {
            return Some("applies is empty: nothing would be proved".into());
        }
        if let Some(apply) = self.applies.iter().find(|a| !inside(&a.playbook)) {
            return Some(format!("applies: {} does not lie inside the repository", apply.playbook));
        }
        if !inside(&self.inventory) {
            return Some(format!("inventory: {} does not lie inside the repository", self.inventory));
        }
        if self.vcpus == 0 || self.vcpus > 64 {
            return Some(format!("vcpus: {} is not between 1 and 64", self.vcpus));
        }
        if self.mem_mib < MiB(512) {
            return Some(format!("mem_mib: {} is less than the 512 MiB that Debian 13 needs", self.mem_mib));
        }
        if !(4..=2048).contains(&self.disk_gib) {
            return Some(format!("disk_gib: {} is not between 4 and 2048", self.disk_gib));
        }
        if let Some(wrong) = machine::wrong_disks(&self.disks).or_else(|| machine::wrong_nics(&self.nics)) {
            return Some(wrong);
        }
        if let Some(wrong) = self.prepare.wrong() {
            return Some(format!("prepare: {wrong}"));
        }
        let is_user = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if self.user.is_empty() || self.user.len() > 32 || !self.user.chars().all(is_user) {
            return Some(format!("user: {:?} is not the name of a user", self.user));
        }
        if let Some(group) = self.groups.iter().find(|g| g.is_empty() || g.contains(char::is_whitespace)) {
            return Some(format!("groups: {group:?} is not a group name"));
        }
        if let Some((name, to)) =
            self.dns.iter().find(|(_, to)| *to != "vm" && to.parse::<std::net::Ipv4Addr>().is_err())
        {
            return Some(format!("dns: {name} points to {to:?}, which is neither \"vm\" nor an IPv4 address"));
        }
        if let Some(allow) = self.allow.iter().find(|a| a.to.is_some() == a.socket.is_some()) {
            return Some(format!("allow: the exception {:?} needs exactly one of `to` and `socket`", allow.why));
        }
        if self.allow.iter().any(|a| a.side == Side::Guest && a.socket.is_some()) {
            return Some("allow: a socket can only be for the controller".into());
        }
        if let Some(allowed) = self.state.allow.iter().find(|a| a.id.trim().is_empty() || a.why.trim().is_empty()) {
            return Some(format!("state.allow: {:?} needs both an id and a reason (`why`)", allowed.id));
        }
        if let Some(bare) = self.state.allow.iter().find(|a| a.ticket.as_ref().is_some_and(|t| t.trim().is_empty())) {
            return Some(format!("state.allow: {:?} has an empty `ticket`", bare.id));
        }
        if self.break_glass.as_ref().is_some_and(|way| way.port == 0) {
            return Some("break_glass: port: 0 is not a port".into());
        }
        if let Some(wrong) = self.certificate.as_ref().and_then(Certificate::wrong) {
            return Some(wrong);
        }
        if let Some(wrong) = self.console.allow.wrong() {
            return Some(format!("console: {wrong}"));
        }
        self.wrong_scenarios()
    }
}

/// The value of `verify` as it is written, if the text is JSON and has one.
fn verify_of(text: &str) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Only<'t> {
        #[serde(borrow)]
        verify: Option<&'t RawValue>,
    }
    serde_json::from_str::<Only<'_>>(text).ok()?.verify
}

/// All that is wrong with it.
fn verify_wrong(text: &str) -> Vec<String> {
    let mut form = Form::of(text);
    if let Some(raw) = verify_of(text) {
        Verify::read(&mut form, raw);
    }
    form.wrong
}

/// The text with a playbook where `verify` is, and all else in its place; none where there is no room for it.
fn without_verify(text: &str) -> Option<String> {
    const PLAYBOOK: &str = "\"x\"";
    let raw = verify_of(text)?.get();
    let at = (raw.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let rest = raw.get(PLAYBOOK.len()..)?.replace(|c| c != '\n', " ");
    Some([text.get(..at)?, PLAYBOOK, &rest, text.get(at + raw.len()..)?].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"inventory": "inv.yml", "groups": ["g"], "applies": [{"playbook": "site.yml"}], "verify": "verify/verify.yml"}"#;

    fn error(text: &str) -> String {
        host::failure::Failure::from(Profile::parse("askari.json".into(), text).unwrap_err()).to_string()
    }

    #[test]
    fn a_small_profile_gets_the_documented_defaults() {
        let profile = Profile::parse("x.json".into(), SMALL).unwrap();
        assert_eq!((profile.mem_mib, profile.vcpus, profile.disk_gib), (MiB(3072), 2, 20));
        assert_eq!((profile.user.as_str(), profile.image.as_str()), ("ansible", "debian-13"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_and_column() {
        let said = error("{\n  \"memory\": 1\n}");
        assert!(said.contains("unknown field `memory`") && said.contains("line 2 column 10"), "{said}");
    }

    #[test]
    fn a_never_list_that_is_not_complete_ends_the_run_unless_the_profile_says_more() {
        let with = |word: &str| SMALL.replacen('{', &format!(r#"{{"never_unresolved": "{word}", "#), 1);
        let of = |text: &str| Profile::parse("x.json".into(), text).unwrap().never_unresolved;
        assert_eq!((of(SMALL), of(&with("note"))), (Unresolved::Refuse, Unresolved::Note));
        assert!(error(&with("ignore")).contains("unknown variant `ignore`"));
    }

    #[test]
    fn a_playbook_outside_the_repository_is_refused() {
        assert!(error(&SMALL.replace("site.yml", "../x.yml")).contains("does not lie inside"));
    }

    #[test]
    fn an_allowed_console_rule_must_exist() {
        let with = |id: &str| {
            SMALL.replacen('{', &format!(r#"{{"console": {{"allow": [{{"id": "{id}", "why": "y"}}]}}, "#), 1)
        };
        assert!(error(&with("oom")).contains("console: no console rule is called \"oom\"; there are kernel-panic"));
        let profile = Profile::parse("x.json".into(), &with("oom-kill")).unwrap();
        assert_eq!(profile.console.allow.why("oom-kill"), Some("y"));
    }

    #[test]
    fn an_exception_needs_a_side_a_target_and_a_reason() {
        let with = |allow: &str| SMALL.replacen('{', &format!(r#"{{"allow": [{allow}], "#), 1);
        let good = with(r#"{"for": "controller", "to": "203.0.113.9", "why": "the package mirror"}"#);
        let profile = Profile::parse("x.json".into(), &good).unwrap();
        assert_eq!(profile.allow[0].to.as_deref(), Some("203.0.113.9"));
        assert!(
            error(&with(r#"{"for": "guest", "socket": "/run/x", "why": "y"}"#)).contains("only be for the controller")
        );
    }

    #[test]
    fn an_allowed_loss_needs_an_id_and_a_reason() {
        let with = |allow: &str| SMALL.replacen('{', &format!(r#"{{"state": {{"allow": [{allow}]}}, "#), 1);
        let good = with(r#"{"id": "sysctl/vm.*", "why": "tuned by hand until the next kernel"}"#);
        assert_eq!(Profile::parse("x.json".into(), &good).unwrap().state.allow[0].id, "sysctl/vm.*");
        assert!(error(&with(r#"{"id": "sysctl/vm.*", "why": " "}"#)).contains("needs both an id and a reason"));
        assert!(error(&with(r#"{"id": "a", "why": "b", "since": "c"}"#)).contains("unknown field `since`"));
        assert!(error(&with(r#"{"id": "a", "why": "b", "ticket": ""}"#)).contains("empty `ticket`"));
    }

    #[test]
    fn an_allowed_loss_expires_on_a_day_that_exists() {
        let with = |until: &str| {
            SMALL.replacen(
                '{',
                &format!(r#"{{"state": {{"allow": [{{"id": "a", "why": "b", "until": "{until}"}}]}}, "#),
                1,
            )
        };
        let good = Profile::parse("x.json".into(), &with("2028-02-29")).unwrap();
        let back = serde_json::to_value(&good.state.allow[0]).unwrap();
        assert_eq!(back, serde_json::json!({"id": "a", "why": "b", "until": "2028-02-29"}));
        for bad in
            ["2026-02-30", "2026-02-29", "2026-13-01", "2026-1-1", "31.12.2026", "soon", "", "2026-01-01T00:00:00Z"]
        {
            let said = error(&with(bad));
            assert!(
                said.contains("is not a day of the calendar (YYYY-MM-DD)") && said.contains("line"),
                "{bad}: {said}"
            );
        }
    }
}
