//! How a boot went, by systemd's own figures: its stages, its units, and the chain that it waited for.
//!
//! `systemd-analyze` has all of it and is not asked: it takes an emulated CPU 20 seconds, and it refuses while
//! the boot has not ended. One read of the journal and one look at the manager's properties give the same in
//! about one second.
//!
//! Fuzzed as `guest`.

mod journal;

use crate::ssh::{Session, SshError};
use host::failure::{Blame, Exit};
use host::names::BootId;
use journal::{Note, Step};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one of the two questions may take. They take a second; a busy emulated CPU has room.
const LIMIT: Duration = Duration::from_secs(60);

/// The guest's figures of the boot that it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// The boot.
    pub boot_id: BootId,
    /// The kernel's release (`uname -r`).
    pub kernel: String,
    /// systemd's version.
    pub systemd: String,
    /// The operating system's own name.
    pub os: String,
    /// Its stages.
    pub stages: Stages,
    /// Its units, in the order in which they began.
    pub units: Vec<Unit>,
    /// The units that the default target waited for, the last to be done first: each is the last of those that
    /// the one before it is ordered after.
    pub chain: Vec<String>,
}

/// How long each stage of a boot took, in seconds; none where there was no such stage (a BIOS tells nothing of
/// itself, an initramfs without systemd is part of the kernel's time, a soft reboot is userspace alone).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stages {
    /// The firmware, as UEFI tells it.
    pub firmware_s: Option<f64>,
    /// The boot loader.
    pub loader_s: Option<f64>,
    /// The kernel.
    pub kernel_s: Option<f64>,
    /// The initramfs.
    pub initrd_s: Option<f64>,
    /// From systemd's start to "Startup finished"; none while that is not said.
    pub userspace_s: Option<f64>,
}

/// A unit that the boot started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// When its start job began, in seconds since the boot began (the kernel's start).
    pub at_s: f64,
    /// How long the job took, in seconds; none where it did not end during the boot.
    pub took_s: Option<f64>,
    /// Whether it failed.
    pub failed: bool,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum TimelineError {
    /// The guest could not be asked.
    #[error("the guest cannot be asked for its boot's figures")]
    Ask(#[source] SshError),
    /// The answer is not what systemd gives.
    #[error("the guest's figures of its boot have no {what}")]
    Missing {
        /// What is not there.
        what: &'static str,
    },
}

impl Blame for TimelineError {
    fn exit(&self) -> Exit {
        match self {
            Self::Ask(e) => e.exit(),
            Self::Missing { .. } => Exit::Lost,
        }
    }
}

impl Stages {
    /// The stages that there were, in their order, by name.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        let all = [
            ("firmware", self.firmware_s),
            ("boot loader", self.loader_s),
            ("kernel", self.kernel_s),
            ("initrd", self.initrd_s),
            ("userspace", self.userspace_s),
        ];
        all.into_iter().filter_map(|(name, seconds)| Some((name, seconds?))).collect()
    }
}

/// Everything but the chain, in one question. The journal comes last, since it is as long as it likes.
const ASK: &str = "export LC_ALL=C; \
    cat /proc/sys/kernel/random/boot_id; uname -r; (. /etc/os-release; echo \"$PRETTY_NAME\"); \
    systemctl show -P Id default.target; \
    systemctl show -p Version -p SoftRebootsCount -p FirmwareTimestampMonotonic -p LoaderTimestampMonotonic \
    -p InitRDTimestampMonotonic -p UserspaceTimestampMonotonic -p FinishTimestampMonotonic \
    -p ShutdownStartTimestampMonotonic; \
    exec sudo -n journalctl -q --no-pager -b -o json --output-fields=UNIT,MESSAGE,MESSAGE_ID,_SOURCE_MONOTONIC_TIMESTAMP \
    _PID=1 + _TRANSPORT=kernel SYSLOG_IDENTIFIER=systemd";

/// Ask the guest.
pub async fn read(session: &Session) -> Result<Timeline, TimelineError> {
    let answer = session.must(ASK, LIMIT).await.map_err(TimelineError::Ask)?;
    let (mut timeline, target) = parse(&answer)?;
    if let Some(question) = chain_question(&target, &timeline.units) {
        let answer = session.must(&question, LIMIT).await.map_err(TimelineError::Ask)?;
        timeline.chain = answer.lines().map(str::to_owned).collect();
    }
    Ok(timeline)
}

/// The answer to `ASK`; with the default target, whose chain is still to be asked for.
pub fn parse(answer: &str) -> Result<(Timeline, String), TimelineError> {
    let missing = |what| TimelineError::Missing { what };
    let mut lines = answer.lines();
    let mut next = |what| lines.next().ok_or(missing(what));
    let boot_id = next("boot id")?.parse().map_err(|_| missing("boot id"))?;
    let (kernel, os) = (next("kernel")?.to_owned(), next("name of its system")?.to_owned());
    let target = next("default target")?.to_owned();
    let of_manager: BTreeMap<_, _> =
        lines.by_ref().take_while(|line| !line.starts_with('{')).filter_map(|line| line.split_once('=')).collect();
    let systemd = of_manager.get("Version").ok_or(missing("version of systemd"))?;
    let times = Times::of(&of_manager);
    let stages = times.stages().ok_or(missing("time at which systemd began"))?;
    // `take_while` has swallowed the first line of the journal.
    let journal = answer.find("\n{").map_or("", |at| &answer[at + 1..]);
    let units = units(&journal::notes(journal), times.origin, times.finish.unwrap_or(f64::MAX));
    let systemd = (*systemd).to_owned();
    Ok((Timeline { boot_id, kernel, systemd, os, stages, units, chain: Vec::new() }, target))
}

/// The manager's time stamps in seconds of CLOCK_MONOTONIC (org.freedesktop.systemd1(5)); none where it is 0,
/// which is systemd's "never".
struct Times {
    firmware: Option<f64>,
    loader: Option<f64>,
    initrd: Option<f64>,
    userspace: Option<f64>,
    finish: Option<f64>,
    /// When this boot began: 0, or the soft reboot's start.
    origin: f64,
}

impl Times {
    fn of(properties: &BTreeMap<&str, &str>) -> Self {
        let seconds = |key: &str| properties.get(key)?.parse::<f64>().ok().filter(|t| *t > 0.0).map(|t| t / 1e6);
        let soft = properties.get("SoftRebootsCount").is_some_and(|count| *count != "0");
        let userspace = seconds("UserspaceTimestampMonotonic");
        let begun = seconds("ShutdownStartTimestampMonotonic").or(userspace).unwrap_or(0.0);
        Self {
            firmware: seconds("FirmwareTimestampMonotonic"),
            loader: seconds("LoaderTimestampMonotonic"),
            initrd: seconds("InitRDTimestampMonotonic"),
            userspace,
            finish: seconds("FinishTimestampMonotonic"),
            origin: if soft { begun } else { 0.0 },
        }
    }

    /// As `systemd-analyze time` has it: the firmware's and the loader's stamps count back from the kernel's start.
    fn stages(&self) -> Option<Stages> {
        let userspace = self.userspace?;
        if self.origin > 0.0 {
            return Some(Stages { userspace_s: self.finish.map(|finish| finish - self.origin), ..Stages::default() });
        }
        Some(Stages {
            firmware_s: self.firmware.map(|firmware| firmware - self.loader.unwrap_or(0.0)),
            loader_s: self.loader,
            kernel_s: Some(self.initrd.unwrap_or(userspace)),
            initrd_s: self.initrd.map(|initrd| userspace - initrd),
            userspace_s: self.finish.map(|finish| finish - userspace),
        })
    }
}

/// The units whose first start job began between `origin` and `finish`, and how that job ended. The journal
/// can have the last of them a moment after the boot's end: whoever sends late is noticed late.
fn units(notes: &[Note], origin: f64, finish: f64) -> Vec<Unit> {
    let mut begun: BTreeMap<&str, f64> = BTreeMap::new();
    let mut units: BTreeMap<&str, Unit> = BTreeMap::new();
    for note in notes.iter().filter(|note| note.at_s >= origin) {
        let name = note.unit.as_str();
        match note.step {
            _ if note.at_s > finish && !begun.contains_key(name) => continue,
            Step::Begun => {
                begun.entry(name).or_insert(note.at_s);
                continue;
            }
            Step::Done | Step::Failed => {}
        }
        let at = begun.get(name).copied().unwrap_or(note.at_s).min(note.at_s);
        units.entry(name).or_insert_with(|| Unit {
            name: name.to_owned(),
            at_s: at - origin,
            took_s: Some(note.at_s - at),
            failed: note.step == Step::Failed,
        });
    }
    for (name, at) in begun {
        let still = || Unit { name: name.to_owned(), at_s: at - origin, took_s: None, failed: false };
        units.entry(name).or_insert_with(still);
    }
    let mut units: Vec<_> = units.into_values().collect();
    units.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    units
}

/// The question that walks the chain in the guest. The units are given in the order in which they were done,
/// the last first, so one walk down the list finds each time the last of those that the unit before is ordered
/// after. Only names that are names go into a shell.
fn chain_question(target: &str, units: &[Unit]) -> Option<String> {
    let done_s = |unit: &Unit| Some(unit.at_s + unit.took_s.filter(|_| !unit.failed)?);
    let mut done: Vec<_> = units.iter().filter_map(|unit| Some((done_s(unit)?, unit.name.as_str()))).collect();
    done.sort_by(|a, b| b.0.total_cmp(&a.0));
    let names = done.into_iter().map(|(_, name)| name).filter(|name| is_name(name));
    let words: Vec<_> = names.skip_while(|name| *name != target).map(|name| format!("'{name}'")).collect();
    (!words.is_empty()).then(|| {
        format!(
            "export LC_ALL=C; after='{target}'; for unit in {}; do case \" $after \" in *\" $unit \"*) \
         printf '%s\\n' \"$unit\"; after=$(systemctl show -P After -- \"$unit\");; esac; done",
            words.join(" ")
        )
    })
}

/// Whether it is spelled as a unit's name may be (systemd.unit(5)).
fn is_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
}

#[cfg(test)]
mod tests;
