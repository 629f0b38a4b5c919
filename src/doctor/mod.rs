//! What this host has and lacks: a table of checks, each probed for real where that is cheap.
//!
//! All checks run, even if one fails; each has a deadline. Nothing is changed: a check that makes
//! something (a namespace, a nameless file) makes it in a process or a descriptor that goes with it.
//!
//! Not fuzzed: what is read here is what this host's kernel and tools say.

mod checks;
mod child;
mod confine;
mod early;
mod folders;
mod forward;
mod listeners;
mod machine;
mod packages;
mod place;
mod programs;
mod reach;
mod table;
mod userns;
mod version;

pub use early::{CannotStart, refuse_early};
pub use table::table;
pub(crate) use table::{wrap, wrap_at};

use camino::Utf8PathBuf;
use checks::{CHECKS, Entry};
use host::dirs::Dirs;
use host::names::MiB;
use host::presence::ignore;
use packages::Os;
use serde::Serialize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use vm::network::{Mode, NetFile};

/// The free memory that a run wants unless it is told otherwise.
pub const MIN_FREE: MiB = MiB(4096);

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is there and works.
    Ok,
    /// A VM can run, but worse than it could, or something may be in its way.
    Warn,
    /// A VM cannot run.
    Fail,
    /// What was asked for does not need it, so it was not looked at.
    NotNeeded,
}

/// What a check is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeededFor {
    /// `--net namespace` only.
    Namespace,
    /// `--net host` only.
    Host,
    /// Every run.
    Both,
    /// Nothing; runs are better with it.
    Nice,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A short name that does not change between versions.
    pub id: &'static str,
    /// What was looked at, and what was seen.
    pub probed: String,
    /// How it went.
    pub result: Outcome,
    /// What to do about it; always there for a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// What it is needed for.
    pub needed_for: NeededFor,
}

/// What the checks need to know.
#[derive(Clone, Debug)]
pub struct DoctorInput {
    /// Where things are kept.
    pub dirs: Dirs,
    /// Where the VM's network would be made.
    pub mode: Mode,
    /// The network: its bridge, subnet and address.
    pub net: NetFile,
    /// The playbook repository, if one is named: its `.venv/bin` comes before PATH for Ansible.
    pub repo: Option<Utf8PathBuf>,
    /// Whether a golden image is in the cache; without one, it may have to be built.
    pub image_there: bool,
    /// The least memory that must be available.
    pub min_free: MiB,
    /// The PATH in which programs are looked up; that of this process is
    /// [`host::programs::path`].
    pub path: String,
}

/// What a probe works with.
#[derive(Debug)]
struct Site {
    input: DoctorInput,
    os: Os,
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    result: Outcome,
    probed: String,
    fix: Option<String>,
}

impl Finding {
    fn ok(probed: impl Into<String>) -> Self {
        Self { result: Outcome::Ok, probed: probed.into(), fix: None }
    }

    fn warn(probed: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { result: Outcome::Warn, probed: probed.into(), fix: Some(fix.into()) }
    }

    fn fail(probed: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { result: Outcome::Fail, probed: probed.into(), fix: Some(fix.into()) }
    }

    fn not_needed(why: impl Into<String>) -> Self {
        Self { result: Outcome::NotNeeded, probed: why.into(), fix: None }
    }
}

/// Run every check and hand back one line for each, in the table's order.
pub fn examine(input: &DoctorInput) -> Vec<Check> {
    let site = Arc::new(Site { input: input.clone(), os: Os::of_this_host() });
    // The slow one (Python starts) goes beside all the others, which go one after the other.
    let slow: Vec<_> = CHECKS.iter().map(|entry| entry.slow.then(|| start(entry, &site))).collect();
    let quick: Vec<_> = CHECKS.iter().map(|entry| (!entry.slow).then(|| finish(entry, start(entry, &site)))).collect();
    let findings = slow.into_iter().zip(quick).zip(CHECKS);
    findings
        .map(|((slow, quick), entry)| {
            let finding = quick.or_else(|| slow.map(|slow| finish(entry, slow)));
            let Finding { result, probed, fix } = finding.unwrap_or_else(|| Finding::not_needed("not looked at"));
            Check { id: entry.id, probed, result, fix, needed_for: entry.needed_for }
        })
        .collect()
}

/// Whether a VM could run here.
pub fn can_run(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.result != Outcome::Fail)
}

/// Start a check on a thread of its own, so that one that never ends (a dead network file system) holds
/// nobody up.
fn start(entry: &'static Entry, site: &Arc<Site>) -> Receiver<Finding> {
    let (tell, hear) = channel();
    let site = Arc::clone(site);
    std::thread::spawn(move || {
        let finding = match (entry.needed_for, site.input.mode) {
            (NeededFor::Namespace, Mode::Host) => Finding::not_needed("only `--net namespace` needs it"),
            (NeededFor::Host, Mode::Namespace) => Finding::not_needed("only `--net host` needs it"),
            _ => (entry.probe)(&site),
        };
        ignore(tell.send(finding), "nobody listens any more if it came too late");
    });
    hear
}

fn finish(entry: &Entry, running: Receiver<Finding>) -> Finding {
    let limit = entry.limit();
    running.recv_timeout(limit).unwrap_or_else(|error| match error {
        RecvTimeoutError::Timeout => {
            Finding::fail(format!("no answer within {limit:?}"), "find out what it hangs on, then run `doctor` again")
        }
        RecvTimeoutError::Disconnected => {
            Finding::fail("the check itself broke", "this is a bug in boma-qemu: please report the line above")
        }
    })
}

#[cfg(test)]
mod tests;
