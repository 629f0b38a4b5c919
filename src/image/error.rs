//! What can go wrong between a wanted image and a golden file that may be booted.

use camino::{Utf8Path, Utf8PathBuf};
use host::cmd::CmdError;
use host::dirs::DirError;
use host::failure::{Blame, Exit};
use host::ledger::LedgerError;
use host::lock::LockError;
use host::shell::quoted;
use std::time::Duration;

/// The error of a file operation on a path.
pub(super) fn io(doing: &'static str, path: &Utf8Path) -> impl FnOnce(std::io::Error) -> ImageError + use<> {
    let path = path.to_owned();
    move |source| ImageError::Io { doing, path, source }
}

/// Why there is no golden image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The catalogue cannot be read.
    #[error("{path} is not a catalogue of images: {why}")]
    Catalogue {
        /// The catalogue's file.
        path: Utf8PathBuf,
        /// What is wrong, with line and column.
        why: String,
    },
    /// An image name that the catalogue does not know.
    #[error("no image is called {name:?}; the catalogue has {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// An image that is only built.
    #[error("{name} is published nowhere that the catalogue knows of")]
    NotPublished {
        /// Its name.
        name: String,
    },
    /// A file that cannot serve as a golden image.
    #[error("{path} cannot be used as a golden image: {why}")]
    Unfit {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A cached image is no longer what was recorded.
    #[error("the golden image {path} has changed since it was recorded: its SHA-512 is {got}, recorded is {want}")]
    Changed {
        /// The image.
        path: Utf8PathBuf,
        /// The recorded digest, hexadecimal.
        want: String,
        /// The digest now.
        got: String,
    },
    /// A server leads to where anybody on the way could answer.
    #[error("{address} leads to {to}, which is not https, so nothing is taken from there")]
    Insecure {
        /// What was asked for.
        address: String,
        /// Where it leads.
        to: String,
    },
    /// Something that is not this user's lies where a file of the image is to be.
    #[error("{path} is in the way: {why}")]
    InTheWay {
        /// What is there.
        path: Utf8PathBuf,
        /// Why it cannot be used.
        why: String,
    },
    /// No connection to the server could be made.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// What was asked for.
        address: String,
        /// The network's reason.
        why: String,
    },
    /// The server answered, but not with the file.
    #[error("the server refused {address}: HTTP status {status}")]
    Refused {
        /// What was asked for.
        address: String,
        /// The HTTP status.
        status: u16,
    },
    /// The transfer broke off and did not get further when it was taken up again.
    #[error("the transfer of {address} broke off at byte {at}, {attempts} times without progress: {why}")]
    Broken {
        /// What was fetched.
        address: String,
        /// How many bytes are there; they are kept.
        at: u64,
        /// Attempts in a row that brought nothing.
        attempts: u32,
        /// The last reason.
        why: String,
    },
    /// The file that came is not the one that was promised.
    #[error("{address} has the wrong checksum: its SHA-512 is {got}, wanted is {want}")]
    WrongDigest {
        /// What was fetched.
        address: String,
        /// The published digest, or the one that the catalogue pins.
        want: String,
        /// The digest of what came.
        got: String,
    },
    /// The checksum file does not name the image.
    #[error("{sums} has no SHA-512 for {file}")]
    NoSum {
        /// The checksum file's address.
        sums: String,
        /// The file looked for.
        file: String,
    },
    /// Programs that building needs.
    #[error("building an image needs {missing}")]
    Missing {
        /// The programs and their packages.
        missing: String,
        /// The packages, for the next step.
        packages: String,
    },
    /// Building as an ordinary user needs a range of subordinate ids.
    #[error("building an image as an ordinary user needs ids for {user} in {file}")]
    NoSubordinateIds {
        /// The user's name.
        user: String,
        /// /etc/subuid or /etc/subgid.
        file: String,
    },
    /// Not enough space.
    #[error("{path} has {free_mib} MiB free, building an image needs {need_mib} MiB")]
    NoSpace {
        /// The cache folder.
        path: Utf8PathBuf,
        /// What is free, MiB.
        free_mib: u64,
        /// What is needed, MiB.
        need_mib: u64,
    },
    /// A step of the building failed.
    #[error("building the image failed while {step}: {why}")]
    Step {
        /// What was being done.
        step: String,
        /// The status and the last words of the command.
        why: String,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} {path}")]
    Io {
        /// The verb: read, write, …
        doing: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A short command failed.
    #[error(transparent)]
    Cmd(#[from] CmdError),
    /// The lock could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The cache folder, or the one for this user's own records, is not used.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// The ledger of a folder to build in could not be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The user stopped it.
    #[error("stopped by the user while {doing}")]
    Stopped {
        /// What was being done.
        doing: String,
    },
}

impl ImageError {
    /// Whether the network is the reason, so that another way to get the image makes sense.
    ///
    /// A server that says 404 is reachable and a wrong checksum is a finding: neither is papered over.
    pub fn is_network(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            // What proxies and captive portals answer in the server's place.
            Self::Refused { status, .. } => matches!(status, 403 | 407 | 502 | 503 | 504 | 511),
            _ => false,
        }
    }
}

impl Blame for ImageError {
    fn exit(&self) -> Exit {
        match self {
            Self::Catalogue { .. }
            | Self::Unknown { .. }
            | Self::NotPublished { .. }
            | Self::Unfit { .. }
            | Self::InTheWay { .. }
            | Self::Changed { .. } => Exit::Usage,
            Self::Dir(inner) => inner.exit(),
            Self::Ledger(inner) => inner.exit(),
            Self::Stopped { .. } => Exit::Interrupted,
            Self::Cmd(inner) => inner.exit(),
            Self::Lock(inner) => inner.exit(),
            _ => Exit::Host,
        }
    }

    fn next(&self) -> Option<String> {
        Some(match self {
            Self::Catalogue { path, .. } => format!("correct {path}"),
            Self::Unknown { .. } => "name one of these, or a file by its path (./image.qcow2)".into(),
            Self::NotPublished { name } => format!("run `boma-qemu image build {name}`"),
            Self::Unfit { .. } => "name a whole qcow2 or raw disk image that stands alone".into(),
            Self::Changed { path, .. } => {
                let path = quoted(path.as_str());
                format!("`rm -f -- {path}`, then run `boma-qemu image fetch` (or `image build`)")
            }
            Self::InTheWay { path, .. } => {
                format!("if it is not needed: `rm -rf -- {}`, then try again", quoted(path.as_str()))
            }
            Self::Dir(inner) => return inner.next(),
            Self::Ledger(inner) => return inner.next(),
            Self::Unreachable { .. } => "check the network, or run `boma-qemu image build`".into(),
            Self::Refused { .. } | Self::NoSum { .. } | Self::Insecure { .. } => {
                "check the address in profiles/images.json".into()
            }
            Self::Broken { .. } => "run it again: what has arrived is kept".into(),
            Self::WrongDigest { .. } => "run it again; if it stays so, do not trust the server".into(),
            Self::Missing { packages, .. } => format!("apt-get install {packages}"),
            Self::NoSubordinateIds { user, file } => {
                format!("add the line `{user}:100000:65536` to {file}, or build as root")
            }
            Self::NoSpace { .. } => "make room, or move the cache with BOMA_IT_CACHE".into(),
            Self::Step { .. } => "check that the machine reaches its Debian mirror (`apt-get update`)".into(),
            Self::Lock(LockError::Io { path, source }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
                format!(
                    "it is not held, but another user made it so; `rm -f -- {}`, then try again",
                    quoted(path.as_str())
                )
            }
            Self::Io { .. } | Self::Lock(LockError::Io { .. }) => {
                "check the cache folder's owner; BOMA_IT_CACHE moves it".into()
            }
            Self::Cmd(inner) => return inner.next(),
            Self::Lock(inner) => return inner.next(),
            Self::Stopped { .. } => return None,
        })
    }
}

/// How long the network may take, and how often it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For finding the server and shaking hands.
    pub connect: Duration,
    /// Without a single byte.
    pub stall: Duration,
    /// Attempts in a row that bring nothing before it is given up.
    pub attempts: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), stall: Duration::from_secs(20), attempts: 3 }
    }
}
