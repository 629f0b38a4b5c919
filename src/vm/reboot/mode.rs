//! The ways in which a machine can restart, by name.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use host::failure::{Blame, Exit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a restart is brought about. A *reboot* is asked of the guest, a *reset* is done to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `systemctl reboot` in the guest.
    #[default]
    Guest,
    /// The power button; the guest shuts down, then the machine is reset and goes on.
    Acpi,
    /// The reset button: no word to the guest.
    Reset,
    /// QEMU killed and started again on the same disk, with all that the guest had written to it.
    PowerCycle,
    /// The same, and what the guest had written without a flush is gone.
    PowerLoss,
    /// A crash of the guest's kernel, which then restarts by itself.
    Panic,
    /// A watchdog that nobody feeds.
    Watchdog,
    /// `systemctl kexec` in the guest: a new kernel without a reset of the machine.
    Kexec,
    /// `systemctl soft-reboot` in the guest: a new userspace on the kernel that runs.
    SoftReboot,
}

/// A name that no mode has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no reboot mode {given:?}; there are: {known}", known = known())]
pub struct UnknownMode {
    given: String,
}

impl Blame for UnknownMode {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Mode {
    /// Every mode, in the order in which tables show them.
    pub const ALL: [Self; 9] = [
        Self::Guest,
        Self::Acpi,
        Self::Reset,
        Self::PowerCycle,
        Self::PowerLoss,
        Self::Panic,
        Self::Watchdog,
        Self::Kexec,
        Self::SoftReboot,
    ];

    /// Its name, as on the command line, in profiles and in the evidence.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Acpi => "acpi",
            Self::Reset => "reset",
            Self::PowerCycle => "power-cycle",
            Self::PowerLoss => "power-loss",
            Self::Panic => "panic",
            Self::Watchdog => "watchdog",
            Self::Kexec => "kexec",
            Self::SoftReboot => "soft-reboot",
        }
    }

    /// What it does, in a few words, for `-h`.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Guest => "`systemctl reboot` in the guest",
            Self::Acpi => "The power button; the guest shuts down, then it is reset and goes on",
            Self::Reset => "The reset button, without a word to the guest",
            Self::PowerCycle => "QEMU is killed and started again on the same disk",
            Self::PowerLoss => "The same, and what the guest never flushed is lost",
            Self::Panic => "A kernel crash, after which the guest restarts by itself",
            Self::Watchdog => "A watchdog that nobody feeds",
            Self::Kexec => "`systemctl kexec` in the guest: a new kernel, no reset of the machine",
            Self::SoftReboot => "`systemctl soft-reboot` in the guest: a new userspace, the same kernel; no reboot",
        }
    }
}

impl ValueEnum for Mode {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()).help(self.help()))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let found = Self::ALL.into_iter().find(|mode| mode.name() == text);
        found.ok_or_else(|| UnknownMode { given: text.to_owned() })
    }
}

fn known() -> String {
    Mode::ALL.map(Mode::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_has_one_name_everywhere() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.name());
        }
    }

    #[test]
    fn an_unknown_mode_is_refused_with_the_known_ones() {
        let said = "magic".parse::<Mode>().unwrap_err().to_string();
        assert!(said.contains("\"magic\"") && Mode::ALL.iter().all(|mode| said.contains(mode.name())), "{said}");
    }
}
