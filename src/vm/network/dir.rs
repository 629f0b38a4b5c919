//! The folder of one network, below `$BOMA_STATE/net/<name>/`.

use super::NetError;
use super::authority::{self, AuthorityDir};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{DirError, Dirs, folders_in};
use host::ledger::folder;
use host::lock::Lock;
use host::names::IfName;
use host::presence::Presence;
use std::io::ErrorKind;

/// The folder of one network.
#[derive(Clone, Debug)]
pub struct NetDir {
    path: Utf8PathBuf,
}

impl NetDir {
    /// The folder of the network `name`.
    pub fn of(dirs: &Dirs, name: &IfName) -> Self {
        Self { path: Self::all(dirs).join(name.as_str()) }
    }

    /// The folder at a path, for the hidden subcommands, which are given it.
    pub fn at(path: impl Into<Utf8PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder that holds all networks' folders.
    pub fn all(dirs: &Dirs) -> Utf8PathBuf {
        dirs.state.join("net")
    }

    /// Every network that has a folder, up or not, in the order of their names.
    pub fn list(dirs: &Dirs) -> Result<Vec<IfName>, DirError> {
        folders_in(&Self::all(dirs))
    }

    /// The folder itself.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Whether the network's holder is alive: it holds this lock for its whole life.
    pub fn presence(&self) -> Presence {
        Lock::look(&self.alive())
    }

    /// Why it does not work any more, if it does not. An error if that cannot be seen.
    pub fn broken_why(&self) -> Result<Option<String>, NetError> {
        let path = self.broken();
        match std::fs::read(&path) {
            Ok(why) => return Ok(Some(String::from_utf8_lossy(&why).into_owned())),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(NetError::File { path, source }),
        }
        match self.presence() {
            Presence::There => Ok(None),
            Presence::Gone => Ok(Some("its holder has ended, and all its parts with it".into())),
            Presence::Unknown(why) => Err(NetError::Unknown { why }),
        }
    }

    /// Locked while the holder lives.
    pub fn alive(&self) -> Utf8PathBuf {
        self.path.join("alive.lock")
    }

    /// The plan that the network was made from.
    pub fn plan(&self) -> Utf8PathBuf {
        self.path.join("net.json")
    }

    /// How to get into the network; written when it is ready.
    pub fn ready(&self) -> Utf8PathBuf {
        self.path.join("ready.json")
    }

    /// The changes that the network brought.
    pub fn ledger(&self) -> Utf8PathBuf {
        self.path.join(folder::FILE)
    }

    /// The leases that dnsmasq gave.
    pub fn leases(&self) -> Utf8PathBuf {
        self.path.join("leases")
    }

    /// The names that dnsmasq refuses; it reads them anew on SIGHUP.
    pub fn refused(&self) -> Utf8PathBuf {
        self.path.join("refused.conf")
    }

    /// Where dnsmasq says which process it is.
    pub fn dnsmasq_pid(&self) -> Utf8PathBuf {
        self.path.join("dnsmasq.pid")
    }

    /// What dnsmasq said: every DHCP exchange and every query.
    pub fn dnsmasq_log(&self) -> Utf8PathBuf {
        self.path.join("dnsmasq.log")
    }

    /// What the authority for certificates has, if there is one.
    pub fn authority(&self) -> AuthorityDir {
        AuthorityDir::at(self.path.join("authority"))
    }

    /// What the authority said: each change of its zone, and each certificate.
    pub fn authority_logs(&self) -> [Utf8PathBuf; 2] {
        [authority::NAME, authority::ACME].map(|part| self.path.join(format!("{}.log", part.trim_start_matches('@'))))
    }

    /// What the holder said.
    pub fn holder_log(&self) -> Utf8PathBuf {
        self.path.join("holder.log")
    }

    /// Why the network no longer works, if a part of it has died.
    pub fn broken(&self) -> Utf8PathBuf {
        self.path.join("broken")
    }

    /// The resolver's address, as `/etc/resolv.conf` has it.
    pub fn resolv_conf(&self) -> Utf8PathBuf {
        self.path.join("resolv.conf")
    }

    /// What the controller side has for `/etc/hosts`: no name but its own.
    pub fn hosts(&self) -> Utf8PathBuf {
        self.path.join("hosts")
    }

    /// Held while the network is made or removed. It lies beside the folder, which comes and goes.
    pub(crate) fn lock(&self) -> Utf8PathBuf {
        self.path.with_extension("lock")
    }
}
