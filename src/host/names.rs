//! Names that cannot be wrong: each is checked where it enters the program, once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A name that was refused, and why.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{kind} {text:?} is not usable: {why}")]
pub struct BadName {
    kind: &'static str,
    text: String,
    why: &'static str,
}

impl crate::failure::Blame for BadName {
    fn exit(&self) -> crate::failure::Exit {
        crate::failure::Exit::Usage
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $type {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(why) => Err(BadName { kind: $kind, text, why }),
                }
            }
        }
        impl std::str::FromStr for $type {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::try_from(text.to_owned())
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn label(text: &str, longest: usize) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match text {
        "" => Err("it is empty"),
        t if t.len() > longest => Err("it is too long"),
        t if !t.chars().all(allowed) => Err("only a-z, 0-9 and - may stand in it"),
        t if t.starts_with('-') || t.ends_with('-') => Err("it starts or ends with -"),
        _ => Ok(()),
    }
}

/// What inventories call hosts: labels with dots between them, in which an underscore may stand.
fn host(text: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    match text {
        "" => Err("it is empty"),
        t if t.len() > LONGEST_HOST => Err("it is too long"),
        t if !t.chars().all(allowed) => Err("only a-z, 0-9, -, _ and . may stand in it"),
        t if t.split('.').any(|l| l.is_empty() || l.starts_with(['-', '_']) || l.ends_with(['-', '_'])) => {
            Err("it, or a part of it between dots, is empty or starts or ends with - or _")
        }
        _ => Ok(()),
    }
}

/// The longest name of a host, and the longest that its part in another name is.
const LONGEST_HOST: usize = 63;
const LONGEST_PART: usize = 40;

name!(
    /// The mirrored host's name, as in the real inventory and in `profiles/<host>.json`.
    HostName, "the host name", host
);

impl HostName {
    /// The name that its guest has, as DNS can have it.
    pub fn guest(&self) -> String {
        self.0.replace('_', "-")
    }

    /// Its part in a name that is a label.
    pub fn part(&self) -> String {
        let label = self.0.replace(['.', '_'], "-");
        label.get(..LONGEST_PART).unwrap_or(&label).trim_end_matches('-').to_owned()
    }
}

name!(
    /// The VM's own name, `boma-it-<host>-<id>`: what its process, files and logs are called.
    VmName, "the VM name", |text| label(text, 60)
);
name!(
    /// The name of an audit's condition; it stands in a column of a terminal's table.
    ConditionId, "the condition's name", |text| label(text, 24)
);
name!(
    /// The name of a scenario: a known fault of a host, and the host without it.
    ScenarioName, "the scenario's name", |text| label(text, 32)
);
name!(
    /// The name of a snapshot of a VM; it is a tag in its disks and a folder in its own.
    SnapshotName, "the snapshot's name", |text| label(text, 32)
);

impl SnapshotName {
    /// The snapshot that `apply` takes, and that `reset` goes back to if nothing else is said.
    pub fn applied() -> Self {
        Self("applied".into())
    }
}

name!(
    /// A network interface's name; Linux allows 15 bytes (`IFNAMSIZ` less its NUL).
    IfName, "the interface name", |text| label(text, 15)
);
name!(
    /// An Ethernet address, lower case, `52:54:00:12:34:56`.
    Mac, "the MAC address", |text| {
        let parts: Vec<_> = text.split(':').collect();
        let hex = |p: &str| p.len() == 2 && p.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        if parts.len() == 6 && parts.iter().all(|p| hex(p)) { Ok(()) } else { Err("it is not six lower-case hex pairs") }
    }
);
name!(
    /// A kernel boot id (`/proc/sys/kernel/random/boot_id`): a UUID, new at every kernel start.
    BootId, "the boot id", |text| {
        let shape = [8, 4, 4, 4, 12];
        let parts: Vec<_> = text.split('-').collect();
        let fits = parts.len() == 5 && parts.iter().zip(shape).all(|(p, n)| p.len() == n && p.chars().all(|c| c.is_ascii_hexdigit()));
        if fits { Ok(()) } else { Err("it is not a UUID") }
    }
);

/// A size in MiB (2^20 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MiB(pub u64);

impl fmt::Display for MiB {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0)
    }
}

/// How a disk is kept in a file on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// QEMU's own, which grows.
    #[default]
    Qcow2,
    /// Byte for byte what the guest sees, with holes where nothing was written.
    Raw,
}

impl DiskFormat {
    /// As `qemu-img` and QEMU call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_that_could_leave_its_folder_is_refused() {
        for bad in ["../etc", "a b", "", "-a", "A", "a/b", "a\n", ".", "..", ".a", "a.", "a..b", "a.-b", "_a"] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?}");
        }
        assert!("askari".parse::<HostName>().is_ok());
    }

    #[test]
    fn a_host_is_called_as_inventories_do_and_its_guest_and_vm_as_they_can_be() {
        let names = |text: &str| {
            let host: HostName = text.parse().unwrap();
            format!("boma-it-{}-0000", host.part()).parse::<VmName>().unwrap();
            (host.guest(), host.part())
        };
        assert_eq!(names("web_1.example.com"), ("web-1.example.com".into(), "web-1-example-com".into()));
        let long = format!("{}-.b", "a".repeat(39)).replace("-.", ".");
        assert_eq!(names(&long).1, "a".repeat(39));
    }

    #[test]
    fn an_error_text_is_not_a_boot_id() {
        assert!("ssh: connection refused".parse::<BootId>().is_err());
        assert!("6f1e2b1c-8f0e-4f0e-9d59-3a4b5c6d7e8f".parse::<BootId>().is_ok());
    }

    #[test]
    fn a_mac_is_six_lower_case_pairs() {
        assert!("52:54:00:aa:bb:cc".parse::<Mac>().is_ok());
        assert!("52:54:00:AA:bb:cc".parse::<Mac>().is_err());
    }
}
