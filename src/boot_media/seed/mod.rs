//! What a guest is told before its first boot: a NoCloud seed, made in process.
//!
//! The texts are pure functions of a [`Seed`]; [`Secrets`] go into one; [`iso`] makes
//! the medium. The guest reads it as a read-only disk with the label `cidata`.
//!
//! The datasource is pinned from outside, by [`Seed::smbios_serial`] in QEMU's `-smbios type=1,serial=`:
//! cloud-init's ds-identify looks at it before it looks at any disk, so nothing else is probed (EC2's
//! address alone costs about 100 s), at no boot. A setting inside the user data would come too late for
//! the first boot, and a kernel argument would change the mirrored host's own command line.
//!
//! The rescue user's getty on the serial console is systemd's own, made because the image's kernel command
//! line names that console. Enabling it here as well would cost a daemon-reload (4 s when emulated).
//!
//! Not fuzzed: nothing is read here.

pub mod iso;
mod secrets;
mod text;

pub use secrets::{HOST_KEYS, HostKey, KeyPair, Secrets};

use host::names::{HostName, IfName, Mac, VmName};
use iso::{File, IsoError};

/// The user on the serial console that diagnostics use when ssh is dead. It is ours alone: a role that
/// locks root, or tidies up the ordinary users, leaves it.
pub const RESCUE_USER: &str = "boma-rescue";

/// Everything that the guest is told.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The instance id: cloud-init runs its once-per-instance parts when it changes, so it is the VM's own
    /// name, which is the same at every boot of one VM.
    pub instance: VmName,
    /// The mirrored host's name, which becomes the guest's hostname.
    pub host: HostName,
    /// The address of the guest's first network card.
    pub mac: Mac,
    /// What the guest is to call it; as the image names it otherwise.
    pub interface: Option<IfName>,
    /// The user that Ansible logs in as.
    pub user: String,
    /// Keys and the rescue user's password hash.
    pub secrets: Secrets,
}

impl Seed {
    /// `user-data`: a cloud-config.
    pub fn user_data(&self) -> String {
        text::user_data(self)
    }

    /// `meta-data`: the instance id and the hostname.
    pub fn meta_data(&self) -> String {
        text::meta_data(self)
    }

    /// `network-config`, version 2: DHCP on the interface with our address.
    pub fn network_config(&self) -> String {
        text::network_config(self)
    }

    /// The SMBIOS system serial number that pins the datasource at every boot. It also carries the
    /// instance id: should the seed disk ever be missing, the guest still knows that it is the same
    /// instance and makes nothing anew. Put it into `-smbios type=1,serial=…` as it is: it holds no comma.
    pub fn smbios_serial(&self) -> String {
        smbios_serial(&self.instance)
    }

    /// The files of the medium.
    pub fn files(&self) -> Vec<File> {
        vec![
            File::new("meta-data", self.meta_data()),
            File::new("network-config", self.network_config()),
            File::new("user-data", self.user_data()),
        ]
    }

    /// The medium itself. `time` is the date of everything on it, in seconds since 1970 UTC.
    ///
    /// # Errors
    /// Only for a time after 2155: names, label and sizes are ours.
    pub fn image(&self, time: u64) -> Result<Vec<u8>, IsoError> {
        iso::write("cidata", &self.files(), time)
    }
}

/// The SMBIOS system serial number for a VM; see [`Seed::smbios_serial`].
///
/// `dsmode=net` keeps cloud-init's stages where a plain seed disk has them: without it, naming the
/// datasource moves the user set-up into the stage before the network.
pub fn smbios_serial(instance: &VmName) -> String {
    format!("ds=nocloud;i={instance};dsmode=net")
}

#[cfg(test)]
mod tests;
