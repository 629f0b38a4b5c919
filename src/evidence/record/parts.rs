//! What a record is made of.

use crate::playbook::checks::Check;
use crate::playbook::events::Recap;
use crate::playbook::reports::Report;
use crate::playbook::tried::{Compared, Told};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use vm::timeline::Stages;

/// What the VM was made of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MadeOf {
    /// The golden image.
    pub image: String,
    /// Its SHA-512, where it is known.
    pub image_sha512: Option<String>,
    /// The accelerator, and why that one.
    pub accel: String,
    /// How the VM began; none where no template was asked for, and it was booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Began>,
    /// Packages that were installed before the change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// QEMU's version, in its own words.
    pub qemu: String,
    /// ansible-core's version; empty until it was asked.
    pub ansible: String,
    /// The network mode.
    pub net: String,
    /// What the guest may reach.
    pub egress: String,
    /// The certificate tier.
    pub certs: String,
    /// The extra variables of the last `apply`: the overlays' files, and what was given by name, without values.
    pub extra_vars: Vec<String>,
}

/// The part of the playbooks that an `apply` was restricted to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// Only this playbook of the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Utf8PathBuf>,
    /// From this task on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at_task: Option<String>,
    /// Only tasks with one of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// No task with one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip_tags: Vec<String>,
}

/// As it was typed.
impl std::fmt::Display for Partial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let only = self.only.iter().map(|playbook| format!("--only {playbook}"));
        let start = self.start_at_task.iter().map(|task| format!("--start-at-task {task:?}"));
        let list = |option: &str, tags: &[String]| (!tags.is_empty()).then(|| format!("{option} {}", tags.join(",")));
        let tags = list("--tags", &self.tags).into_iter().chain(list("--skip-tags", &self.skip_tags));
        f.write_str(&only.chain(start).chain(tags).collect::<Vec<_>>().join(" "))
    }
}

/// A key of the profile that is not as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// The key.
    pub key: String,
    /// What it was at `up`.
    pub was: serde_json::Value,
    /// What it is now.
    pub is: serde_json::Value,
}

/// Of lists what came and went, of anything else both values; long ones are cut.
impl std::fmt::Display for Changed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use serde_json::Value::{Array, Object};
        write!(f, "{}: ", self.key)?;
        let said = match (&self.was, &self.is) {
            (Array(was), Array(is)) => {
                let gone = was.iter().filter(|one| !is.contains(one)).map(|one| format!("- {}", short(one)));
                let come = is.iter().filter(|one| !was.contains(one)).map(|one| format!("+ {}", short(one)));
                gone.chain(come).collect::<Vec<_>>()
            }
            (Object(was), Object(is)) => {
                let gone = was.iter().filter(|(key, one)| is.get(*key) != Some(one));
                let come = is.iter().filter(|(key, one)| was.get(*key) != Some(one));
                let gone = gone.map(|(key, one)| format!("- {key}: {}", short(one)));
                gone.chain(come.map(|(key, one)| format!("+ {key}: {}", short(one)))).collect()
            }
            (was, is) => return write!(f, "{} -> {}", short(was), short(is)),
        };
        match said.is_empty() {
            true => f.write_str("in another order"),
            false => f.write_str(&said.join("; ")),
        }
    }
}

/// A value in one line, cut where it is long.
fn short(value: &serde_json::Value) -> String {
    const MOST: usize = 160;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        None => text,
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// How a VM began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum Began {
    /// It was booted.
    Cold {
        /// Why it did not go on from a template.
        why: String,
    },
    /// It went on from a template.
    Template {
        /// Which.
        key: String,
        /// When that was saved (UTC, RFC 3339).
        saved: String,
        /// Whether that was in this run.
        made: bool,
    },
}

impl std::fmt::Display for Began {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cold { why } => write!(f, "cold: {why}"),
            Self::Template { key, saved, made } => {
                let when = if *made { ", made in this run" } else { "" };
                write!(f, "from the template {} of {saved}{when}", key.get(..12).unwrap_or(key))
            }
        }
    }
}

/// One phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Whether it did what it is for.
    pub ok: bool,
    /// What came of it, in one line.
    pub outcome: String,
}

/// One playbook run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Playbook {
    /// The playbook.
    pub playbook: Utf8PathBuf,
    /// Whether it counts as applied.
    pub ok: bool,
    /// How long it took.
    pub seconds: f64,
    /// How long it would take over what it did, in seconds: an estimate; none where it failed, or is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_done_s: Option<f64>,
    /// Tasks that ran on the VM.
    pub tasks: usize,
    /// Tasks that changed something.
    pub changed: usize,
    /// Ansible's own recap of the VM; all zero if the playbook did not come to its end.
    pub recap: Recap,
    /// The tasks that failed, in their order.
    pub failed: Vec<FailedTask>,
    /// What is no failure and has to be known.
    #[serde(default)]
    pub reports: Vec<Report>,
}

/// A task that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailedTask {
    /// The task.
    pub task: String,
    /// File and line.
    pub place: String,
    /// Its words.
    pub message: String,
    /// Whether the playbook went on all the same: the failure was ignored or rescued.
    pub went_on: bool,
}

/// A second run of the playbooks, which should have nothing to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Idempotence {
    /// How long it took.
    pub seconds: f64,
    /// Tasks that ran on the VM.
    pub tasks: usize,
    /// What it changed on the VM all the same.
    pub changed: Vec<Told>,
}

/// The passes in check mode around a reboot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "looked", rename_all = "kebab-case")]
pub enum CheckMode {
    /// They were left out.
    LeftOut {
        /// Why, and how to have them.
        why: String,
    },
    /// They were made.
    Compared {
        /// How long both took, in seconds.
        seconds: f64,
        /// What they say.
        #[serde(flatten)]
        compared: Compared,
    },
}

impl CheckMode {
    /// What they say, if they were made.
    pub fn compared(&self) -> Option<&Compared> {
        match self {
            Self::LeftOut { .. } => None,
            Self::Compared { compared, .. } => Some(compared),
        }
    }
}

/// What a boot said of itself when it had settled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BootSeen {
    /// Which part of the console log it is in (`boot-2`).
    pub console: String,
    /// How long its stages took, by systemd's own figures; none if it could not be asked.
    pub stages: Option<Stages>,
    /// The file in the evidence that has all figures (a [`vm::timeline::Timeline`]).
    pub file: Option<String>,
    /// Why there are none, if so.
    pub why: Option<String>,
}

/// The certificate that the host showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The tier that it was to be of.
    pub tier: String,
    /// Its issuer (RFC 4514).
    pub issuer: String,
    /// The names that it is for.
    pub names: Vec<String>,
    /// When it ends (UTC, RFC 3339).
    pub until: String,
    /// Its SHA-256, in hexadecimal.
    pub fingerprint: String,
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tier, issuer, names, until, .. } = self;
        write!(f, "{tier}: issued by {issuer} for {}, until {until}", names.join(", "))
    }
}

/// One run of the checks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checks {
    /// `before the reboot`, `after the reboot`, or `without a reboot`.
    pub when: String,
    /// What each check said.
    pub checks: Vec<Check>,
}

impl Checks {
    /// The checks that failed or did not look; hints never count.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.is_red())
    }

    /// How many looked at something and could have failed.
    pub fn looked(&self) -> usize {
        self.checks.iter().filter(|check| check.looked && !check.hint).count()
    }
}
