//! What can be chosen from on the command line, and what each choice is to the rest of the program.

use crate::observe::Policy;
use crate::reboot::{Choice, Mode, Pattern, Trigger, seconds};
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Certificate tiers, each an overlay in certs/.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Certs {
    /// A private authority inside the VM; nothing leaves it
    #[default]
    Internal,
    /// Let's Encrypt's staging authority by DNS challenge: writes into the real zone (R6)
    LeStaging,
    /// The production wildcard certificate by DNS challenge: writes into the real zone (R6)
    LeProdWildcard,
}

/// Where the VM's network is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Net {
    /// In namespaces of our own; needs no privilege
    #[default]
    Namespace,
    /// On the host itself; needs CAP_NET_ADMIN
    Host,
}

/// What the guest may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EgressArg {
    /// The internet through NAT, never a private network
    #[default]
    Nat,
    /// Nothing
    None,
}

/// The accelerator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AccelArg {
    /// KVM where it works, else TCG
    #[default]
    Auto,
    /// KVM or fail
    Kvm,
    /// Emulation
    Tcg,
}

/// What a loss of the guest's state across a restart does.
#[derive(Clone, Copy, Debug, PartialEq, Args)]
pub(crate) struct FindingsArgs {
    /// What a loss of the guest's state across the restart does [default: fail]
    #[arg(long, value_enum, value_name = "POLICY")]
    findings: Option<Policy>,
    /// The same as --findings strict
    #[arg(long, conflicts_with = "findings")]
    strict: bool,
}

impl From<FindingsArgs> for Policy {
    fn from(args: FindingsArgs) -> Self {
        match args.strict {
            true => Self::Strict,
            false => args.findings.unwrap_or_default(),
        }
    }
}

impl ValueEnum for Policy {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Report => "Only report it",
            Self::Fail => "What others can depend on fails the run (exit 6)",
            Self::Strict => "Every loss fails it, and so does a part of the state that could not be seen",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

/// How and when the machine is restarted.
#[derive(Clone, Debug, Args)]
pub(crate) struct ViaArgs {
    /// How the machine is restarted [default: the profile's `via`, else guest]
    #[arg(long, value_enum, value_name = "MODE")]
    via: Option<Mode>,
    /// Do it that many seconds after the request, or after the begin of the boot that --during begins
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_hyphen_values = true, conflicts_with = "on_console")]
    at: Option<Duration>,
    /// Do it when a line of the console matches
    #[arg(long, value_name = "REGEX")]
    on_console: Option<Pattern>,
    /// Restart the machine this way first, and do it in that boot; `none` waits for whatever the machine does
    /// [default with --on-console: guest]
    #[arg(long, value_enum, value_name = "MODE|none")]
    during: Option<During>,
}

/// The boot in which a restart is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct During(Option<Mode>);

impl From<ViaArgs> for Choice {
    fn from(args: ViaArgs) -> Self {
        let trigger = match (args.at, args.on_console) {
            (Some(after), _) => Trigger::At(after),
            (None, Some(pattern)) => Trigger::OnConsole(pattern),
            (None, None) => Trigger::Now,
        };
        Self { via: args.via, trigger, during: args.during.map(|During(mode)| mode) }
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

impl ValueEnum for During {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [During; 8] = [
            During(None),
            During(Some(Mode::Guest)),
            During(Some(Mode::Acpi)),
            During(Some(Mode::Reset)),
            During(Some(Mode::PowerCycle)),
            During(Some(Mode::PowerLoss)),
            During(Some(Mode::Panic)),
            During(Some(Mode::Watchdog)),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.map_or("none", Mode::name)))
    }
}

impl From<Certs> for crate::plan::options::Certs {
    fn from(certs: Certs) -> Self {
        match certs {
            Certs::Internal => Self::Internal,
            Certs::LeStaging => Self::LeStaging,
            Certs::LeProdWildcard => Self::LeProdWildcard,
        }
    }
}

impl From<Net> for crate::network::Mode {
    fn from(net: Net) -> Self {
        match net {
            Net::Namespace => Self::Namespace,
            Net::Host => Self::Host,
        }
    }
}

impl From<EgressArg> for crate::network::Egress {
    fn from(egress: EgressArg) -> Self {
        match egress {
            EgressArg::Nat => Self::Nat,
            EgressArg::None => Self::None,
        }
    }
}

impl From<AccelArg> for crate::qemu::accel::Wanted {
    fn from(accel: AccelArg) -> Self {
        match accel {
            AccelArg::Auto => Self::Auto,
            AccelArg::Kvm => Self::Kvm,
            AccelArg::Tcg => Self::Tcg,
        }
    }
}
