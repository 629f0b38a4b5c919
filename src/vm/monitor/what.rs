//! What an event is, with its data read: the kinds that this program acts on, and all others as they came.

use super::fault::Fault;
use crate::console::rules::Severity;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What happened. QMP's events have the names of QMP (`RESET`); the monitor's own are `qemu-started` and the like.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// `RESET`: the machine begins anew.
    Reset(Cause),
    /// `SHUTDOWN`: the machine is off, or QEMU was asked to end.
    Shutdown(Cause),
    /// `POWERDOWN`: the power button was pressed.
    Powerdown,
    /// `RESUME`: the processors run.
    Resume,
    /// `WATCHDOG`: the machine's watchdog fired.
    Watchdog(Action),
    /// `GUEST_PANICKED`: the guest's kernel said so to the pvpanic device.
    GuestPanicked(Action),
    /// `qemu-started`.
    QemuStarted(Started),
    /// `qemu-start-failed`.
    QemuStartFailed(Why),
    /// `qemu-exited`.
    QemuExited(Exited),
    /// `qmp-command`: a command was passed on to QEMU.
    QmpCommand(Command),
    /// `qmp-lost`: QEMU does not answer any more.
    QmpLost(Why),
    /// `qmp-garbage`: a line that is no QMP.
    QmpGarbage,
    /// `boot`: a boot begins in the console log.
    Boot(Boot),
    /// `restore`: an earlier boot goes on from a snapshot.
    Restore(Restored),
    /// `console-rule`: a line of the console matched a rule.
    ConsoleRule(RuleMatch),
    /// `console-gap`: only the head and the tail of the console are kept.
    ConsoleGap,
    /// `console-full`: the console is not kept any more.
    ConsoleFull(Why),
    /// `power-cycle`: QEMU is killed and started again.
    PowerCycle(Kept),
    /// `power-loss`: the same, and what was not flushed is gone.
    PowerLoss(Lost),
    /// `drive-failed`.
    DriveFailed(Why),
    /// `stop`: the monitor was asked to end.
    Stop,
    /// `network-broken`.
    NetworkBroken(Why),
    /// `journal-full`: what the guest does is not written down any more.
    JournalFull(Why),
    /// `kvm-internal-error`.
    KvmInternalError,
    /// `fault`: a command brought or undid one.
    Fault(Asked),
    /// `restart-armed`: from here on the moment of a restart is waited for.
    RestartArmed,
    /// `restart-asked`: a restart begins here.
    RestartAsked,
    /// Anything else that QMP or a command said: nothing here acts on it.
    Other,
}

/// Who caused it, in QEMU's words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Cause {
    /// Whether the guest did.
    pub guest: bool,
    /// QEMU's reason (`guest-reset`).
    pub reason: String,
}

/// What QEMU did about it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Action {
    /// QEMU's word for it.
    pub action: String,
}

/// A QEMU that began.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Started {
    /// Its process.
    pub pid: i64,
}

/// A QEMU that ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Exited {
    /// How.
    pub status: String,
    /// Whether the monitor made it end.
    pub asked: bool,
    /// The end of what it wrote to standard error.
    #[serde(default)]
    pub stderr: String,
}

/// A reason in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Why {
    /// The sentence.
    pub why: String,
}

/// A command over QMP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Command {
    /// Its name.
    pub command: String,
}

/// Where a boot begins in the console log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Boot {
    /// In bytes.
    pub offset: u64,
    /// Whether the kernel before it began it (kexec), without a reset.
    #[serde(default)]
    pub kernel: bool,
}

/// Where a restored boot goes on in the console log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Restored {
    /// The snapshot.
    pub snapshot: String,
    /// In bytes.
    pub offset: u64,
}

/// A console line that a rule matched.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RuleMatch {
    /// The rule's name.
    pub id: String,
    /// How bad a match is.
    pub severity: Severity,
    /// Whether a boot whose console says so, and means it, is lost; never, if the rule is allowed.
    pub fatal: bool,
    /// What a match means.
    pub means: String,
    /// The line.
    pub line: String,
    /// Where the line begins in the log, in bytes.
    pub offset: u64,
}

/// What the drive had been given and the guest had not flushed, and was written; none without such a drive.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Kept {
    /// In bytes.
    pub kept_bytes: Option<u64>,
}

/// The same, and was lost.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Lost {
    /// In bytes.
    pub lost_bytes: Option<u64>,
}

/// A fault, or what undoes one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Asked {
    /// Which.
    pub fault: Fault,
}

impl What {
    /// What an event of this kind with this data is. A known kind whose data cannot be read is an error.
    pub(super) fn read(kind: &str, data: &Value) -> Result<Self, serde_json::Error> {
        fn of<T: DeserializeOwned>(data: &Value) -> Result<T, serde_json::Error> {
            T::deserialize(data)
        }
        Ok(match kind {
            "RESET" => Self::Reset(of(data)?),
            "SHUTDOWN" => Self::Shutdown(of(data)?),
            "POWERDOWN" => Self::Powerdown,
            "RESUME" => Self::Resume,
            "WATCHDOG" => Self::Watchdog(of(data)?),
            "GUEST_PANICKED" => Self::GuestPanicked(of(data)?),
            "qemu-started" => Self::QemuStarted(of(data)?),
            "qemu-start-failed" => Self::QemuStartFailed(of(data)?),
            "qemu-exited" => Self::QemuExited(of(data)?),
            "qmp-command" => Self::QmpCommand(of(data)?),
            "qmp-lost" => Self::QmpLost(of(data)?),
            "qmp-garbage" => Self::QmpGarbage,
            "boot" => Self::Boot(of(data)?),
            "restore" => Self::Restore(of(data)?),
            "console-rule" => Self::ConsoleRule(of(data)?),
            "console-gap" => Self::ConsoleGap,
            "console-full" => Self::ConsoleFull(of(data)?),
            "power-cycle" => Self::PowerCycle(of(data)?),
            "power-loss" => Self::PowerLoss(of(data)?),
            "drive-failed" => Self::DriveFailed(of(data)?),
            "stop" => Self::Stop,
            "network-broken" => Self::NetworkBroken(of(data)?),
            "journal-full" => Self::JournalFull(of(data)?),
            "kvm-internal-error" => Self::KvmInternalError,
            "fault" => Self::Fault(of(data)?),
            "restart-armed" => Self::RestartArmed,
            "restart-asked" => Self::RestartAsked,
            _ => Self::Other,
        })
    }

    /// Whether a command may write it: what the machine and the monitor did only they can tell.
    pub(crate) fn is_a_commands(&self) -> bool {
        matches!(self, Self::Fault(_) | Self::RestartArmed | Self::RestartAsked | Self::Other)
    }
}
