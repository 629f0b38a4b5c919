//! What starts a machine before its boot loader: SeaBIOS, or OVMF with variables of the machine's own.

use super::boot::BootError;
use crate::machine::VmDir;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

/// What starts the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// SeaBIOS.
    #[default]
    Bios,
    /// OVMF, without Secure Boot.
    Uefi,
    /// OVMF that starts only what Microsoft's keys, and so Debian's shim, have signed.
    SecureBoot,
}

/// A UEFI firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uefi {
    /// Its code, shared with everybody.
    pub code: Utf8PathBuf,
    /// Its variables (boot entries, keys), this machine's own.
    pub vars: Utf8PathBuf,
    /// Whether it enforces Secure Boot: then only code in System Management Mode writes its variables.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secure: bool,
}

/// Where distributions keep OVMF: code, and variables as delivered.
pub(super) const PLAIN: [[&str; 2]; 5] = [
    ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"],
    ["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"],
    ["/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"],
    ["/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"],
    ["/run/libvirt/nix-ovmf/OVMF_CODE.fd", "/run/libvirt/nix-ovmf/OVMF_VARS.fd"],
];
/// The same for Secure Boot: the variables have Microsoft's keys.
pub(super) const SECURE: [[&str; 2]; 3] = [
    ["/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"],
    ["/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd"],
    ["/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"],
];

impl Firmware {
    /// What of it a machine in the directory `vm` has; the BIOS needs nothing.
    ///
    /// # Errors
    /// That this host has no such firmware.
    pub fn of(self, vm: &VmDir) -> Result<Option<Uefi>, BootError> {
        let Some([code, _]) = self.delivered()? else { return Ok(None) };
        Ok(Some(Uefi { code: code.to_owned(), vars: vm.vars(), secure: self == Self::SecureBoot }))
    }

    /// Its code, and its variables as this host's distribution delivers them.
    ///
    /// # Errors
    /// That this host has no such firmware.
    pub fn delivered(self) -> Result<Option<[&'static Utf8Path; 2]>, BootError> {
        let places = match self {
            Self::Bios => return Ok(None),
            Self::Uefi => &PLAIN[..],
            Self::SecureBoot => &SECURE[..],
        };
        let there = |pair: &&[&'static str; 2]| pair.iter().all(|file| Utf8Path::new(file).exists());
        let found = places.iter().find(there).ok_or(BootError::NoFirmware { firmware: self })?;
        Ok(Some(found.map(Utf8Path::new)))
    }

    /// Where it is looked for.
    pub(super) fn places(self) -> String {
        let places = if self == Self::SecureBoot { &SECURE[..] } else { &PLAIN[..] };
        places.iter().map(|[code, _]| *code).collect::<Vec<_>>().join(", ")
    }
}

impl std::fmt::Display for Firmware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bios => "BIOS",
            Self::Uefi => "UEFI",
            Self::SecureBoot => "UEFI with Secure Boot",
        })
    }
}

impl Uefi {
    /// Its files, and whether QEMU may write to them; in the order of their descriptors.
    pub(super) fn files(&self) -> [(&Utf8Path, bool); 2] {
        [(&self.code, false), (&self.vars, true)]
    }

    /// Give the machine variables of its own, as the distribution delivers them.
    ///
    /// # Errors
    /// That they cannot be read or written.
    pub fn make_vars(&self) -> std::io::Result<()> {
        let firmware = if self.secure { Firmware::SecureBoot } else { Firmware::Uefi };
        let delivered = firmware.delivered().map_err(std::io::Error::other)?;
        let Some([_, delivered]) = delivered else { return Ok(()) };
        let mut vars = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&self.vars)?;
        std::io::copy(&mut std::fs::File::open(delivered)?, &mut vars).map(drop)
    }
}
