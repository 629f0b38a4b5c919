//! The end states of two machines that should be one: of a fresh one, and of one that the change was applied to on top of an
//! earlier revision.
//!
//! What only the second has was left behind; what only the first has is a step that an upgrade lacks. Besides the state that
//! [`crate::observe`] sees, packages and the files in the places where hosts are configured are looked at ([`look`]), for a
//! leftover need not do anything yet. What differs between any two machines is passed over ([`drawn`]).
//!
//! Fuzzed as `observe`.

mod compare;
mod drawn;
mod read;

pub use compare::{Difference, Ends, Side};

use crate::observe::answers::{self, Answers};
use crate::observe::{FRAME, Observed, State};
use host::failure::{Blame, Exit};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use vm::ssh::{Session, SshError};

/// The places whose files are looked at.
pub const PLACES: [&str; 9] =
    ["/etc", "/usr/local", "/opt", "/srv", "/root", "/home", "/var/www", "/var/spool/cron", "/var/lib/systemd/linger"];

/// The most that all answers together may be, in bytes: some 300,000 files.
const MOST: usize = 64_000_000;

/// What was not looked at, in a sentence.
pub const NOT_LOOKED: &str = "files elsewhere below /usr and /var, and what a container or another file system holds, are not \
                              compared but for what packages, units and the running state show of them";

/// What is on the disk of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDisk {
    /// Packages, by name: their state and version.
    pub packages: Observed,
    /// Files, folders and links, by path.
    pub files: Observed,
}

/// The end state of one machine.
#[derive(Clone, Debug)]
pub struct End {
    /// What runs, as the last look after the reboot saw it.
    pub state: State,
    /// What is on the disk.
    pub disk: OnDisk,
}

/// Why it could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum EndsError {
    /// The guest could not be asked.
    #[error("cannot look at what is on the guest's disk")]
    Ask(#[source] SshError),
    /// The script did not run as root, or not to its end.
    #[error("cannot look at what is on the guest's disk: the script that asks for it ended with {code}: {said}")]
    Script {
        /// Its exit code.
        code: i32,
        /// What it complained of.
        said: String,
    },
}

impl Blame for EndsError {
    fn exit(&self) -> Exit {
        Exit::Lost
    }
}

/// Look at the disk of a guest, as root.
pub async fn look(session: &Session, limit: Duration) -> Result<OnDisk, EndsError> {
    let ask = include_str!("ask.sh").replace("PLACES", &PLACES.join(" ")).replace("MOST", &MOST.to_string());
    let answer = session.root_script(&[FRAME, &ask].concat(), limit).await.map_err(EndsError::Ask)?;
    match answer.code {
        0 => Ok(read::disk(&answers::answers(&answer.stdout))),
        code => Err(EndsError::Script { code, said: answer.stderr.trim().to_owned() }),
    }
}

/// What the script's output shows.
pub fn read(output: &str) -> OnDisk {
    let answers: Answers = answers::answers(output);
    read::disk(&answers)
}
