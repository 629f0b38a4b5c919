//! Templates in the cache, beside the golden images: what each is of, whether it can be trusted, and which may go.
//!
//! A template is found by its [`Key`]: all that the machine is made of, and nothing of the host that it mirrors. It holds keys
//! and a guest's memory, so its folder is this user's alone. It is used as long as its bytes are those that were saved:
//! disk and state by their SHA-256, the memory, which would take seconds to read, by what `stat` tells (the time of the last
//! change of a file in any way is the kernel's, and nobody sets it). Whatever else there is about one is a reason not to use
//! it, and never one to fail.
//!
//! Not fuzzed: what is read here is this program's own, in a folder that nobody else can write to.

mod key;
mod shelf;

pub use key::{Key, Made, OfBase, Told, file_digest, of_file, unsupported};
pub use shelf::{Listed, Shelf, Staging, StagingError};

use crate::image::Stamp;
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::only_ours_to_write;
use host::hex::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use vm::qemu::template::Saved;
use vm::template::Memory;

/// What a template's folder says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// What it is of.
    pub made: Made,
    /// When it was saved (UTC, RFC 3339).
    pub at: String,
    /// What only its memory knows.
    pub memory: Memory,
    /// The public key that logs in to it.
    pub client: String,
    /// What its guest calls itself to the DHCP server.
    pub leased_to: String,
    /// Its disk.
    pub disk: Sealed,
    /// What its devices know.
    pub state: Sealed,
    /// Its memory, as `stat` tells it.
    pub ram: Stamp,
}

/// A file whose bytes are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

impl Sealed {
    /// Read a file whole.
    fn of(path: &Utf8Path) -> std::io::Result<Self> {
        let (mut file, mut seen) = (File::open(path)?, Sha256::new());
        let bytes = std::io::copy(&mut file, &mut Hashing(&mut seen))?;
        Ok(Self { bytes, sha256: hex(seen.finalize()) })
    }
}

struct Hashing<'a>(&'a mut Sha256);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Where a template's files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(Utf8PathBuf);

impl Place {
    /// The folder.
    pub fn path(&self) -> &Utf8Path {
        &self.0
    }
    /// The disk, over the golden image.
    pub fn disk(&self) -> Utf8PathBuf {
        self.0.join("disk.qcow2")
    }
    /// The memory and the state of the devices.
    pub fn saved(&self) -> Saved {
        Saved { memory: self.0.join("memory"), state: self.0.join("state") }
    }
    /// The private key that logs in.
    pub fn key(&self) -> Utf8PathBuf {
        self.0.join("id_ed25519")
    }
    /// The host key, pinned.
    pub fn known_hosts(&self) -> Utf8PathBuf {
        self.0.join("known_hosts")
    }
    /// The keys of a host that goes on as itself, and the ways into it.
    pub fn keys(&self) -> Utf8PathBuf {
        self.0.join("keys")
    }
    /// The seed that such a host has read.
    pub fn seed(&self) -> Utf8PathBuf {
        self.0.join("seed.iso")
    }
    fn about(&self) -> Utf8PathBuf {
        self.0.join("template.json")
    }
    /// Its time of change is that of the last use.
    fn used(&self) -> Utf8PathBuf {
        self.0.join("used")
    }

    /// What it says of itself, if that is true; else why it is not used.
    fn read(&self, made: &Made) -> Result<Template, String> {
        let template = self.about_it()?;
        if template.made != *made {
            return Err("it is of another machine".into());
        }
        let saved = self.saved();
        for (path, sealed) in [(self.disk(), &template.disk), (saved.state.clone(), &template.state)] {
            let found = Sealed::of(&path).map_err(|e| format!("{path} cannot be read: {e}"))?;
            if found != *sealed {
                return Err(format!("{path} has changed since it was saved"));
            }
        }
        let ram = Stamp::of(&saved.memory).map_err(|e| host::failure::with_causes(&e))?;
        if ram != template.ram {
            return Err(format!("{} has changed since it was saved", saved.memory));
        }
        Ok(template)
    }

    fn about_it(&self) -> Result<Template, String> {
        let path = self.about();
        for path in [&self.0, &path] {
            match path.symlink_metadata() {
                Ok(meta) if !meta.is_symlink() && only_ours_to_write(&meta) => {}
                Ok(_) => return Err(format!("others could have written {path}")),
                Err(e) => return Err(format!("{path} cannot be looked at: {e}")),
            }
        }
        let text = std::fs::read(&path).map_err(|e| format!("{path} cannot be read: {e}"))?;
        serde_json::from_slice(&text).map_err(|e| format!("{path} is none of this version: {e}"))
    }
}
