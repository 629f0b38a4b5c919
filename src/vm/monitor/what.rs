//! What an event is: every kind that this program writes or acts on, with its data. All others are kept as they came.
//!
//! The kinds stand in one table, which makes the type, its names and its reading and writing. Nothing but this type can be
//! written into the journal, beside what QEMU says itself; so a kind that nobody can read is never written.

use super::confine::Confinement;
use super::fault::Fault;
use crate::console::rules::{Finding, Severity};
use crate::qemu::Accel;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

macro_rules! kinds {
    (
        with data { $($(#[$doc:meta])* $name:ident($data:ty) = $kind:literal;)* }
        without { $($(#[$bare_doc:meta])* $bare:ident = $bare_kind:literal;)* }
    ) => {
        /// What happened. QMP's events have the names of QMP (`RESET`); the monitor's own are `qemu-started` and the like.
        #[derive(Clone, Debug, PartialEq)]
        pub enum What {
            $($(#[$doc])* $name($data),)*
            $($(#[$bare_doc])* $bare,)*
            /// Anything else that QMP said: nothing here acts on it. No one else can say it.
            Other(Foreign),
        }

        impl What {
            /// What an event of this kind with this data is. A known kind whose data cannot be read is an error.
            pub(super) fn read(kind: &str, data: &Value) -> Result<Self, serde_json::Error> {
                // Versions that had nothing to say of a kind wrote no data; what must be there is missed all the same.
                let nothing = Value::Object(Map::new());
                let data = if data.is_null() { &nothing } else { data };
                Ok(match kind {
                    $($kind => Self::$name(Deserialize::deserialize(data)?),)*
                    $($bare_kind => Self::$bare,)*
                    _ => Self::Other(Foreign(())),
                })
            }

            /// How it stands in the journal: its name and its data. None of what only QMP says.
            pub(super) fn written(&self) -> Result<Option<(&'static str, Value)>, serde_json::Error> {
                Ok(Some(match self {
                    $(Self::$name(data) => ($kind, serde_json::to_value(data)?),)*
                    $(Self::$bare => ($bare_kind, Value::Null),)*
                    Self::Other(_) => return Ok(None),
                }))
            }
        }
    };
}

kinds! {
    with data {
        /// `RESET`: the machine begins anew.
        Reset(Cause) = "RESET";
        /// `SHUTDOWN`: the machine is off, or QEMU was asked to end.
        Shutdown(Cause) = "SHUTDOWN";
        /// `WATCHDOG`: the machine's watchdog fired.
        Watchdog(Action) = "WATCHDOG";
        /// `GUEST_PANICKED`: the guest's kernel said so to the pvpanic device.
        GuestPanicked(Action) = "GUEST_PANICKED";
        /// `qemu-started`.
        QemuStarted(Started) = "qemu-started";
        /// `qemu-start-failed`.
        QemuStartFailed(Why) = "qemu-start-failed";
        /// `qemu-exited`.
        QemuExited(Exited) = "qemu-exited";
        /// `qmp-command`: a command was passed on to QEMU.
        QmpCommand(Command) = "qmp-command";
        /// `qmp-lost`: QEMU does not answer any more.
        QmpLost(Why) = "qmp-lost";
        /// `qmp-garbage`: a line that is no QMP.
        QmpGarbage(Garbage) = "qmp-garbage";
        /// `boot`: a boot begins in the console log.
        Boot(Boot) = "boot";
        /// `restore`: an earlier boot goes on from a snapshot.
        Restore(Restored) = "restore";
        /// `console-rule`: a line of the console matched a rule.
        ConsoleRule(RuleMatch) = "console-rule";
        /// `console-gap`: only the head and the tail of the console are kept.
        ConsoleGap(Gap) = "console-gap";
        /// `console-full`: the console is not kept any more.
        ConsoleFull(Why) = "console-full";
        /// `power-cycle`: QEMU is killed and started again.
        PowerCycle(Kept) = "power-cycle";
        /// `power-loss`: the same, and what was not flushed is gone.
        PowerLoss(Lost) = "power-loss";
        /// `drive-failed`.
        DriveFailed(Why) = "drive-failed";
        /// `network-broken`.
        NetworkBroken(Why) = "network-broken";
        /// `journal-full`: what the guest does is not written down any more.
        JournalFull(Why) = "journal-full";
        /// `kvm-internal-error`.
        KvmInternalError(Stderr) = "kvm-internal-error";
        /// `fault`: a command brought or undid one.
        Fault(Asked) = "fault";
        /// `restart-armed`: from here on the moment of a restart is waited for.
        RestartArmed(Terms) = "restart-armed";
        /// `restart-asked`: a restart begins here.
        RestartAsked(Terms) = "restart-asked";
    }
    without {
        /// `POWERDOWN`: the power button was pressed.
        Powerdown = "POWERDOWN";
        /// `RESUME`: the processors run.
        Resume = "RESUME";
        /// `stop`: the monitor was asked to end.
        Stop = "stop";
    }
}

/// A kind that this program does not know. It is made by reading alone, so that it cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign(());

/// Who caused it, in QEMU's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Whether the guest did.
    pub guest: bool,
    /// QEMU's reason (`guest-reset`).
    pub reason: String,
}

/// What QEMU did about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// QEMU's word for it.
    pub action: String,
}

/// A QEMU that began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its process.
    pub pid: i64,
    /// What runs the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accel: Option<Accel>,
    /// What of its confinement is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confined: Option<Confinement>,
}

/// A QEMU that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    /// Its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i64>,
    /// How.
    pub status: String,
    /// Whether the monitor made it end.
    pub asked: bool,
    /// The end of what it wrote to standard error.
    #[serde(default)]
    pub stderr: String,
}

/// A reason in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The sentence.
    pub why: String,
}

/// A command over QMP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its name.
    pub command: String,
}

/// Where a boot begins in the console log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// Its number, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// In bytes.
    pub offset: u64,
    /// Whether the kernel before it began it (kexec), without a reset.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kernel: bool,
}

/// Where a restored boot goes on in the console log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The snapshot.
    pub snapshot: String,
    /// In bytes.
    pub offset: u64,
}

/// A console line that a rule matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleMatch {
    /// The rule's name.
    pub id: String,
    /// How bad a match is.
    pub severity: Severity,
    /// Whether a boot whose console says so, and means it, is lost; never, if the rule is allowed.
    pub fatal: bool,
    /// What a match means.
    pub means: String,
    /// Why it is allowed, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
    /// The line.
    pub line: String,
    /// Where the line begins in the log, in bytes.
    pub offset: u64,
    /// Which line of the log it begins in, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// Said once, where this boot's further matches of the rule are not written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

impl RuleMatch {
    /// A match as the journal has it; `last` if this boot's further ones of the same rule are not written down.
    pub(super) fn of(finding: Finding, last: bool) -> Self {
        let Finding { id, severity, fatal, means, allowed, line, offset, row, .. } = finding;
        let last = last.then(|| "further matches in this boot are not told".to_owned());
        Self { id: id.into(), severity, fatal, means: means.into(), allowed, line, offset, row: Some(row), last }
    }
}

/// What the drive had been given and the guest had not flushed, and was written; none without such a drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// In bytes.
    pub kept_bytes: Option<u64>,
}

/// The same, and was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// In bytes.
    pub lost_bytes: Option<u64>,
    /// Of what was written, what the guest had not flushed either, in bytes.
    #[serde(default)]
    pub early_bytes: Option<u64>,
}

/// A fault, or what undoes one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Which.
    pub fault: Fault,
    /// What there is to know besides.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A line that is no QMP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Garbage {
    /// The line.
    #[serde(default)]
    pub line: String,
}

/// What is kept of a console that the guest floods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// So many bytes of its beginning.
    #[serde(default)]
    pub head: u64,
    /// And of its end.
    #[serde(default)]
    pub tail: u64,
    /// Why.
    #[serde(default)]
    pub why: String,
}

/// What QEMU wrote to standard error; none if it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stderr {
    /// The end of it.
    #[serde(default)]
    pub stderr: Option<String>,
}

/// How a restart was asked for, in the words of who asks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Terms(pub Map<String, Value>);

impl What {
    /// Whether a command may write it: what the machine and the monitor did only they can tell.
    pub(crate) fn is_a_commands(&self) -> bool {
        matches!(self, Self::Fault(_) | Self::RestartArmed(_) | Self::RestartAsked(_))
    }
}
