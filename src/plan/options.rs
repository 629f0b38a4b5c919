//! The choices of one run, checked together before anything starts.

use crate::ansible::UserVars;
use crate::profile::Certificate;
use camino::{Utf8Path, Utf8PathBuf};
use clap::ValueEnum;
use host::dirs::Dirs;
use host::failure::{Blame, Exit, Failure};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The name of the accepted risk that production certificates bring (docs/decisions.md).
pub const CERT_RISK: &str = "R6";

/// The choices of one run, as the user made them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options {
    /// The certificate tier: a file in `certs/`, without its ending.
    pub certs: Certs,
    /// Extra variables in the order given.
    pub extra_vars: Vec<UserVars>,
    /// The playbook repository, if not the profile's.
    pub repo: Option<Utf8PathBuf>,
    /// The image, if not the profile's.
    pub image: Option<String>,
    /// Where the network is made.
    pub net: vm::network::Mode,
    /// What the guest may reach.
    pub egress: vm::network::Egress,
    /// The accelerator asked for.
    pub accel: vm::qemu::accel::Wanted,
    /// Whether the machine goes on from a template, which is made where there is none; it is booted otherwise.
    #[serde(default)]
    pub template: bool,
    /// Accepted risks, by name.
    pub accepted: Vec<String>,
    /// Free memory that must be there, in MiB.
    pub min_free_mib: u64,
    /// Whether the memory that others' VMs have is waited for.
    #[serde(default)]
    pub wait: bool,
    /// How long a boot, and a reboot, may take until it has settled, in seconds.
    pub timeout_s: u64,
    /// How long the VM lives before it is removed by itself.
    #[serde(default)]
    pub ttl: Ttl,
    /// How the machine is restarted, where the user said so.
    #[serde(default)]
    pub restart: vm::reboot::Choice,
    /// The revision of the playbook repository that is applied first, by the user's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// How long a VM lives before it is removed by itself; none: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ttl(pub Option<Duration>);

impl std::str::FromStr for Ttl {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, humantime::DurationError> {
        match text {
            "none" | "0" => Ok(Self(None)),
            text => humantime::parse_duration(text).map(|after| Self(Some(after).filter(|after| !after.is_zero()))),
        }
    }
}

impl std::fmt::Display for Ttl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(after) => write!(f, "after {}", humantime::format_duration(after)),
            None => f.write_str("never"),
        }
    }
}

/// Certificate tiers, each an overlay in `certs/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certs {
    /// A private authority inside the VM; nothing leaves it.
    #[default]
    Internal,
    /// Let's Encrypt's staging authority by DNS challenge: writes into the real zone (R6).
    LeStaging,
    /// The production wildcard certificate by DNS challenge: writes into the real zone (R6).
    LeProdWildcard,
}

impl Certs {
    /// The tier's name, as on the command line and in `certs/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::LeStaging => "le-staging",
            Self::LeProdWildcard => "le-prod-wildcard",
        }
    }
}

/// Who issues certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// The host itself.
    Internal,
    /// An authority on the VM's network, in the place of the real one: no real zone, no real token.
    Rehearsal,
    /// Let's Encrypt, by the real zone (R6).
    LetsEncrypt,
}

/// Why a choice cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OptionError {
    /// A tier that reaches the real zone, without the user's word.
    #[error(
        "--certs {tier} puts the production DNS token into a throwaway VM and writes into the real zone (risk {CERT_RISK})"
    )]
    Risk {
        /// The tier.
        tier: &'static str,
    },
    /// A tier that needs the internet, without it.
    #[error("--certs {tier} needs the internet, and --egress none forbids it")]
    NoEgress {
        /// The tier.
        tier: &'static str,
    },
    /// A real certificate without the token for it.
    #[error(
        "--certs {tier} needs the token of the zone's provider, and the profile's `certificate` has no `token_file`"
    )]
    NoToken {
        /// The tier.
        tier: &'static str,
    },
    /// An overlay that is not there.
    #[error("-e @{given}: there is no such file (looked in {here} and {root})")]
    NoOverlay {
        /// The path as given.
        given: String,
        /// The working directory.
        here: Utf8PathBuf,
        /// The project root.
        root: Utf8PathBuf,
    },
}

impl Blame for OptionError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Risk { .. } => Some(format!(
                "give the profile a `certificate`, and it is rehearsed without the real zone; or read {CERT_RISK} in docs/decisions.md and say --accept-risk {CERT_RISK}; or leave --certs at internal"
            )),
            Self::NoEgress { .. } => Some("say --egress nat, or leave --certs at internal".into()),
            Self::NoToken { .. } => {
                Some("name the file in `token_file`, or leave --accept-risk out for a rehearsal".into())
            }
            Self::NoOverlay { .. } => None,
        }
    }
}

impl Options {
    /// Who issues the certificates of a host that has such a profile.
    ///
    /// # Errors
    /// If the tier cannot be had.
    pub fn issuer(&self, certificate: Option<&Certificate>) -> Result<Issuer, OptionError> {
        if self.certs == Certs::Internal {
            return Ok(Issuer::Internal);
        }
        let tier = self.certs.name();
        if self.egress == vm::network::Egress::None {
            return Err(OptionError::NoEgress { tier });
        }
        let accepted = self.accepted.iter().any(|risk| risk == CERT_RISK);
        match (accepted, self.certs, certificate) {
            (true, Certs::LeProdWildcard, Some(Certificate { token_file: None, .. })) => {
                Err(OptionError::NoToken { tier })
            }
            (true, ..) => Ok(Issuer::LetsEncrypt),
            (false, _, Some(_)) => Ok(Issuer::Rehearsal),
            (false, _, None) => Err(OptionError::Risk { tier }),
        }
    }
}

/// Parse one `-e`. A relative `@FILE` is looked for in the working directory, then in the project.
pub fn extra_vars(given: &str, dirs: &Dirs) -> Result<UserVars, Failure> {
    let UserVars::File(file) = given.parse()? else { return Ok(given.parse()?) };
    let here = std::env::current_dir().ok().and_then(|d| Utf8PathBuf::from_path_buf(d).ok()).unwrap_or_default();
    let found = [here.join(&file), dirs.root.join(&file)].into_iter().find(|path| path.is_file());
    let missing = || OptionError::NoOverlay { given: file.to_string(), here, root: dirs.root.clone() };
    Ok(UserVars::File(found.ok_or_else(missing)?))
}

/// The overlay of a tier, inside the project root.
pub fn certs_overlay(root: &Utf8Path, certs: Certs) -> Utf8PathBuf {
    root.join("certs").join(format!("{}.yml", certs.name()))
}
