//! What a template is of.

use crate::image::Stamp;
use boot_media::seed::{HostKey, Secrets, Seed};
use camino::Utf8Path;
use host::hex::hex;
use host::names::{IfName, MiB, VmName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vm::network::NetPlan;
use vm::qemu::{Accel, Machine, accel};

/// The format of a template; another one is another template.
const FORMAT: u32 = 1;
/// The first QEMU that writes a machine's state to an open file (`file:/dev/fdset/N`).
const FIRST_QEMU: u32 = 9;

/// All that a machine is made of but for its identity. Two that are equal here boot to the same state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The format.
    pub format: u32,
    /// The golden image, by its digest; a file of the user's own by what `stat` tells of it.
    pub image: String,
    /// What it is called.
    pub called: String,
    /// Memory.
    pub mem: MiB,
    /// Virtual CPUs.
    pub vcpus: u8,
    /// The disk, GiB.
    pub disk_gib: u64,
    /// What runs the guest's instructions.
    pub accel: Accel,
    /// The guest's processor, and the host's where the guest sees that.
    pub cpu: String,
    /// QEMU's version, in its own words: its firmware comes with it.
    pub qemu: String,
    /// The network: the guest's card and address, the gateway, the network behind it.
    pub net: [String; 4],
    /// The seed, without an identity.
    pub seed: String,
    /// Whether the guest has fetched package lists.
    pub package_lists: bool,
    /// What was applied to it; none where that is nothing, and it is no host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<OfBase>,
}

/// What was applied to a machine before it was saved. It is its host's own, with the host's name and keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfBase {
    /// The host.
    pub host: String,
    /// The commit of the playbook repository.
    pub commit: String,
    /// All else that the playbooks were given, hashed.
    pub inputs: String,
}

/// What its seed says besides.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The user that Ansible logs in as.
    pub user: &'a str,
    /// What the guest calls its first network card.
    pub interface: Option<&'a IfName>,
}

/// What a template is found by: the SHA-256 of what it is made of, hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

impl Made {
    /// What a planned machine is made of. `image` is the golden image's digest.
    pub fn of(
        image: (String, String),
        machine: &Machine,
        disk_gib: u64,
        net: &NetPlan,
        told: Told<'_>,
        qemu: &str,
        package_lists: bool,
    ) -> Self {
        let host = match machine.accel {
            Accel::Kvm => accel::host_processor(),
            Accel::Tcg => String::new(),
        };
        let cpu = format!("{} {host}", machine.cpu.as_deref().unwrap_or_default()).trim().to_owned();
        let vm = &net.vm;
        Self {
            format: FORMAT,
            image: image.0,
            called: image.1,
            mem: machine.mem,
            vcpus: machine.vcpus,
            disk_gib,
            accel: machine.accel,
            cpu,
            qemu: qemu.to_owned(),
            net: [vm.mac.to_string(), vm.ip.to_string(), net.gateway.to_string(), net.subnet.to_string()],
            seed: shape(net, told),
            package_lists,
            base: None,
        }
    }

    /// What it is found by.
    pub fn key(&self) -> Key {
        // Plain data with string keys, in the order of the struct: the text is always the same.
        Key(hex(Sha256::digest(serde_json::to_vec(self).unwrap_or_default())))
    }
}

impl Key {
    /// The whole of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The beginning of it, for names and messages.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    /// What the machines are called whose instance id, UUID and address follow from it.
    pub fn name(&self) -> Option<VmName> {
        format!("boma-it-{}-{}", vm::template::identity::HOST, self.short()).parse().ok()
    }
}

/// The seed's texts with a name for each secret, hashed.
fn shape(net: &NetPlan, told: Told<'_>) -> String {
    let name = vm::template::identity::HOST;
    let (Ok(host), Ok(instance)) = (name.parse(), format!("boma-it-{name}").parse()) else { return String::new() };
    let secrets = Secrets {
        client: "client".into(),
        own: Vec::new(),
        host: HostKey::named("private", "public"),
        rescue_hash: "hash".into(),
    };
    let (mac, user, interface) = (net.vm.mac.clone(), told.user.to_owned(), told.interface.cloned());
    let seed = Seed { instance, host, mac, interface, user, secrets };
    let text: Vec<_> = seed.files().into_iter().flat_map(|file| file.bytes).collect();
    hex(Sha256::digest(text))
}

/// What stands for the digest of a golden image that is a file of the user's own, and not in the cache.
pub fn file_digest(path: &Utf8Path, stamp: &Stamp) -> String {
    // Plain data: serialising it cannot fail.
    format!("{} {path}", serde_json::to_string(stamp).unwrap_or_default())
}

/// The file and its stamp, if that is such a digest.
pub fn of_file(digest: &str) -> Option<(&Utf8Path, Stamp)> {
    let (stamp, path) = digest.split_once("} ")?;
    Some((path.into(), serde_json::from_str(&format!("{stamp}}}")).ok()?))
}

/// Why this QEMU (by its `--version`) can have no templates.
pub fn unsupported(qemu: &str) -> Option<String> {
    let version = qemu.split_whitespace().skip_while(|word| *word != "version").nth(1);
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    match major {
        Some(major) if major >= FIRST_QEMU => None,
        Some(_) => Some(format!("templates need QEMU {FIRST_QEMU}.0, and this is {}", version.unwrap_or_default())),
        None => Some(format!("templates need QEMU {FIRST_QEMU}.0, and what this is cannot be told from {qemu:?}")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::template) fn made() -> Made {
        Made {
            format: FORMAT,
            image: "0123".into(),
            called: "debian-13".into(),
            mem: MiB(3072),
            vcpus: 2,
            disk_gib: 20,
            accel: Accel::Tcg,
            cpu: String::new(),
            qemu: "QEMU emulator version 10.0.2 (Debian)".into(),
            net: ["m", "i", "g", "s"].map(str::to_owned),
            seed: "s".into(),
            package_lists: true,
            base: None,
        }
    }

    #[test]
    fn what_was_applied_to_a_machine_is_a_part_of_its_key() {
        let base = OfBase { host: "h".into(), commit: "c".into(), inputs: "i".into() };
        let bases = [
            base.clone(),
            OfBase { host: "g".into(), ..base.clone() },
            OfBase { commit: "d".into(), ..base.clone() },
            OfBase { inputs: "j".into(), ..base },
        ];
        let of = |base| Made { base, ..made() }.key().as_str().to_owned();
        let keys: std::collections::BTreeSet<_> = bases.into_iter().map(Some).chain([None]).map(of).collect();
        assert_eq!(keys.len(), 5);
    }

    #[test]
    fn whatever_a_machine_is_made_of_changes_its_key() {
        let key = made().key();
        assert_eq!((key.as_str().len(), made().key()), (64, key.clone()));
        assert!(key.name().is_some());
        let value = serde_json::to_value(made()).unwrap();
        for name in value.as_object().unwrap().keys() {
            let mut other = value.clone();
            other[name] = match &value[name] {
                serde_json::Value::Number(n) => (n.as_u64().unwrap() + 1).into(),
                serde_json::Value::Bool(b) => (!b).into(),
                serde_json::Value::Array(_) => serde_json::json!(["m", "i", "g", "other"]),
                _ if name == "accel" => "kvm".into(),
                _ => "other".into(),
            };
            let other: Made = serde_json::from_value(other).unwrap();
            assert_ne!(other.key(), key, "{name}");
        }
    }

    #[test]
    fn a_file_of_the_users_own_is_known_by_its_stamp() {
        let path = Utf8Path::new("/home/a b/{} disk.qcow2");
        let stamp = Stamp { inode: 1, bytes: 2, mtime: 3, mtime_ns: 4, ctime: 5, ctime_ns: 6 };
        assert_eq!(of_file(&file_digest(path, &stamp)), Some((path, stamp)));
        assert_eq!(of_file(&"0".repeat(128)), None);
    }

    #[test]
    fn a_qemu_that_is_too_old_or_not_known_has_no_templates() {
        assert_eq!(unsupported("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)"), None);
        assert_eq!(unsupported("QEMU emulator version 9.0.0"), None);
        assert!(unsupported("QEMU emulator version 8.2.1 (Debian)").unwrap().contains("8.2.1"));
        assert!(unsupported("something else").is_some());
    }
}
