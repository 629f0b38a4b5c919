//! The secrets of one run: our client key, the guest's host keys, the rescue user's password.
//!
//! They are made anew for each VM, lie in its `keys` folder (0700, files 0600) and go with it.
//!
//! Not fuzzed: what is read here is the user's own public keys.

mod password;

pub use boot_media::seed::{HostKey, KeyPair, Secrets};

use crate::machine::VmDir;
use camino::{Utf8Path, Utf8PathBuf};
use host::cmd::{Cmd, CmdError};
use host::dirs::{self, DirError};
use host::failure::{Blame, Exit};
use host::names::VmName;
use std::net::IpAddr;

/// The largest `*.pub` file that is looked into, in bytes.
const PUBLIC_FILE: u64 = 64 * 1024;

/// Why the secrets could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A key is there already: it belongs to a VM that was not taken down.
    #[error("{path} exists already: the VM's folder holds the keys of an earlier run")]
    Exists {
        /// The key file.
        path: Utf8PathBuf,
    },
    /// `ssh-keygen` did not make a key; its command line names the file.
    #[error("cannot make an ssh key")]
    Keygen(#[source] CmdError),
    /// A file of the `keys` folder cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The folder, or a file in it, cannot be written.
    #[error("cannot keep the run's keys")]
    Write(#[source] DirError),
    /// The password could not be hashed.
    #[error("cannot hash the rescue user's password: {0}")]
    Hash(String),
}

impl Blame for KeyError {
    fn exit(&self) -> Exit {
        match self {
            Self::Hash(_) => Exit::Bug,
            Self::Exists { .. } => Exit::Usage,
            Self::Keygen(source) => source.exit(),
            Self::Read { .. } | Self::Write(_) => Exit::Host,
        }
    }

    fn next(&self) -> Option<String> {
        match self {
            Self::Exists { .. } => Some("take the earlier VM down (`boma-qemu down HOST` or `prune`)".into()),
            Self::Keygen(source) => source.next(),
            Self::Write(source) => source.next(),
            Self::Read { .. } | Self::Hash(_) => None,
        }
    }
}

/// Make the secrets of a new VM and keep them in its folder, with the pinned host keys for `address`.
/// `own` are the user's own public keys ([`own_keys`]).
///
/// # Errors
/// [`KeyError::Exists`] when the folder holds keys already: they are never overwritten.
pub fn make(vm: &VmDir, name: &VmName, address: IpAddr, own: Vec<String>) -> Result<Secrets, KeyError> {
    dirs::make_private(&vm.keys()).map_err(KeyError::Write)?;
    let password = password::new();
    let secrets = Secrets {
        client: keygen("ed25519", &vm.ssh_key(), &format!("boma-qemu for {name}"))?.public().to_owned(),
        own,
        host: HostKey::each(|kind| keygen(kind, &vm.host_key(kind), &format!("root@{name}")))?,
        rescue_hash: password::hash(&password).map_err(KeyError::Hash)?,
    };
    dirs::write_private(&vm.break_glass(), format!("{password}\n")).map_err(KeyError::Write)?;
    dirs::write_private(&vm.known_hosts(), secrets.known_hosts(address)).map_err(KeyError::Write)?;
    Ok(secrets)
}

/// The rescue user's password of a VM that is there.
pub fn rescue_password(vm: &VmDir) -> Result<String, KeyError> {
    Ok(read(&vm.break_glass())?.trim_end().to_owned())
}

/// A new key pair in two files, of the size that `ssh-keygen` finds right; it makes the private one 0600.
fn keygen(kind: &str, path: &Utf8Path, comment: &str) -> Result<KeyPair, KeyError> {
    if path.exists() {
        return Err(KeyError::Exists { path: path.into() });
    }
    // An empty passphrase is no secret: the key is guarded by the folder that it lies in.
    let keygen = Cmd::new("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-C", comment, "-f", path.as_str()]);
    keygen.run().map_err(KeyError::Keygen)?;
    Ok(KeyPair::new(read(path)?, read(&Utf8PathBuf::from(format!("{path}.pub")))?))
}

fn read(path: &Utf8Path) -> Result<String, KeyError> {
    std::fs::read_to_string(path).map_err(|source| KeyError::Read { path: path.into(), source })
}

/// The public keys in a user's `.ssh` folder, in the order of their files. Whatever is not a plain
/// public key there (a certificate, something unreadable, something else) is passed over: these keys are
/// a convenience, and none of them is needed.
pub fn own_keys(home: &Utf8Path) -> Vec<String> {
    let Ok(entries) = home.join(".ssh").read_dir_utf8() else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|e| e.into_path()).collect();
    paths.retain(|path| path.extension() == Some("pub"));
    paths.sort();
    let mut keys = Vec::new();
    for path in paths {
        let plain = std::fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= PUBLIC_FILE);
        let text = if plain { std::fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
        keys.extend(text.lines().map(str::trim).filter(|line| is_public_key(line)).map(str::to_owned));
    }
    keys.dedup();
    keys
}

/// One line of the form `type base64 [comment]`, of a type that sshd takes as it is.
fn is_public_key(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let (Some(kind), Some(key)) = (words.next(), words.next()) else { return false };
    let known = ["ssh-ed25519", "ssh-rsa"].contains(&kind)
        || kind.starts_with("ecdsa-sha2-nistp")
        || ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"].contains(&kind);
    let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    known && !kind.contains("-cert-") && key.len() >= 64 && key.chars().all(base64) && !line.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_media::seed::HOST_KEYS;
    use host::testing::scratch;
    use std::os::unix::fs::PermissionsExt;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBoMaQemuTestsOnlyNoPrivateHalfExists0000000 me@home";

    fn made(path: &Utf8Path) -> Result<Secrets, KeyError> {
        let name = "boma-it-askari-1".parse().unwrap();
        make(&VmDir::at(path), &name, [192, 0, 2, 7].into(), vec![KEY.into()])
    }

    #[test]
    fn every_secret_is_readable_by_its_owner_only() {
        let (_dir, path) = scratch();
        made(&path).unwrap();
        let vm = VmDir::at(&path);
        let mode = |p: Utf8PathBuf| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(vm.keys()), 0o700);
        let host_keys = HOST_KEYS.map(|kind| vm.host_key(kind));
        for file in host_keys.into_iter().chain([vm.ssh_key(), vm.break_glass(), vm.known_hosts()]) {
            assert_eq!(mode(file.clone()), 0o600, "{file}");
        }
    }

    #[test]
    fn the_guest_gets_hashes_and_public_halves_only() {
        let (_dir, path) = scratch();
        let secrets = made(&path).unwrap();
        let vm = VmDir::at(&path);
        let password = rescue_password(&vm).unwrap();
        assert!(secrets.client.starts_with("ssh-ed25519 "), "{}", secrets.client);
        assert!(secrets.host.iter().all(|key| key.pair.private().starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n")));
        let shown = format!("{secrets:?}");
        assert!(!shown.contains("PRIVATE") && !shown.contains("$6$") && !shown.contains(&password), "{shown}");
        assert_eq!(secrets.authorized(), [secrets.client.as_str(), KEY]);
    }

    #[test]
    fn host_keys_of_all_kinds_are_pinned_for_the_address() {
        let (_dir, path) = scratch();
        let secrets = made(&path).unwrap();
        let text = std::fs::read_to_string(VmDir::at(&path).known_hosts()).unwrap();
        let types: Vec<_> = text.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
        assert_eq!(types, ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]);
        for (line, host) in text.lines().zip(&secrets.host) {
            let key: Vec<_> = host.pair.public().split(' ').collect();
            assert_eq!(line, format!("192.0.2.7 {} {}", key[0], key[1]));
        }
    }

    #[test]
    fn keys_of_an_earlier_run_are_never_overwritten() {
        let (_dir, path) = scratch();
        made(&path).unwrap();
        assert!(matches!(made(&path), Err(KeyError::Exists { .. })));
    }

    #[test]
    fn only_plain_public_keys_are_taken_from_the_users_folder() {
        let (_dir, home) = scratch();
        assert!(own_keys(&home).is_empty());
        let ssh = home.join(".ssh");
        std::fs::create_dir_all(ssh.join("folder.pub")).unwrap();
        let long = "A".repeat(64);
        let files = [
            ("a.pub", format!("# a comment\n\n{KEY}\n")),
            ("b.pub", format!("ssh-ed25519-cert-v01@openssh.com {long} cert\n")),
            ("c.pub", "not a key at all\n".into()),
            ("d.pub", format!("sk-ssh-ed25519@openssh.com {long}\n")),
            ("e.pub", format!("ssh-rsa {long} \u{1b}[31mred\n")),
            ("id_ed25519", KEY.into()),
        ];
        for (name, text) in files {
            std::fs::write(ssh.join(name), text).unwrap();
        }
        std::fs::write(ssh.join("f.pub"), [0xff, 0xfe]).unwrap();
        assert_eq!(own_keys(&home), [KEY.to_owned(), format!("sk-ssh-ed25519@openssh.com {long}")]);
    }
}
