//! What can be changed on the host, how it is put back, and whether it is still there.

use crate::cmd::{Cmd, CmdError};
use crate::failure::with_causes;
use crate::presence::Presence;
use crate::process::ProcessId;
use crate::turn;
use camino::{Utf8Path, Utf8PathBuf};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

/// How long `nft` may take to list a table; a few milliseconds, but for a host that is very busy.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// One change to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Change {
    /// A process of ours; `role` is the word for it (`monitor`, `network holder`, `pasta`).
    Process {
        /// What it is for.
        role: String,
        /// Its identity.
        id: ProcessId,
    },
    /// A network link (bridge, tap, one end of a veth pair).
    Link {
        /// Its name.
        name: String,
        /// The network namespace it is in.
        netns: Netns,
    },
    /// An nftables table.
    NftTable {
        /// `inet`, `bridge`, `ip`, …
        family: String,
        /// Its name.
        name: String,
        /// The network namespace it is in.
        netns: Netns,
    },
    /// A kernel setting below `/proc/sys`.
    Sysctl {
        /// The path below `/proc/sys`, with slashes: `net/ipv4/ip_forward`.
        key: String,
        /// The value to put back.
        old: String,
        /// The value that we set; if it is another one later, somebody else owns it.
        new: String,
        /// Whose life stands for the need of it. The last one who needs it puts it back.
        #[serde(default)]
        user: Option<ProcessId>,
        /// The network namespace it is in.
        netns: Netns,
    },
    /// A file.
    File {
        /// Its absolute path.
        path: Utf8PathBuf,
    },
    /// A Unix socket that stood nowhere before. Where somebody listens, or something else is, it is not ours any more.
    Socket {
        /// Its absolute path.
        path: Utf8PathBuf,
    },
    /// A folder of our own with all that is in it.
    Folder {
        /// Its absolute path.
        path: Utf8PathBuf,
    },
}

/// A fieldless enum that knows all its values and a word for each.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $value:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$of])* $value),* }

        impl $name {
            /// All of them.
            pub const ALL: [Self; [$($word),*].len()] = [$(Self::$value),*];

            /// The word for it.
            pub fn word(self) -> &'static str {
                match self { $(Self::$value => $word),* }
            }
        }
    };
}

words! {
    /// The kinds of change.
    Kind {
        /// [`Change::Process`].
        Process = "process",
        /// [`Change::Link`].
        Link = "link",
        /// [`Change::NftTable`].
        NftTable = "nft-table",
        /// [`Change::Sysctl`].
        Sysctl = "sysctl",
        /// [`Change::File`].
        File = "file",
        /// [`Change::Socket`].
        Socket = "socket",
        /// [`Change::Folder`].
        Folder = "folder",
    }
}

words! {
    /// Where in its life a change is.
    Step {
        /// It is written down and not made.
        Intent = "intent",
        /// It is made, and that is written down.
        Done = "done",
        /// It is the next to be put back.
        Undoing = "undoing",
        /// It is put back, and that is written down.
        Undone = "undone",
    }
}

/// Which network namespace a change was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Netns {
    /// The one that the program itself was started in.
    Host,
    /// One of our own, which goes, with all that is in it, when its keeper ends.
    Kept(ProcessId),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { role, id } => write!(f, "process {} ({role})", id.pid),
            Self::Link { name, .. } => write!(f, "network link {name}"),
            Self::NftTable { family, name, .. } => write!(f, "nft table {family} {name}"),
            Self::Sysctl { key, old, .. } => write!(f, "sysctl {key} (was {old})"),
            Self::File { path } => write!(f, "file {path}"),
            Self::Socket { path } => write!(f, "socket {path}"),
            Self::Folder { path } => write!(f, "folder {path}"),
        }
    }
}

impl Change {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Process { .. } => Kind::Process,
            Self::Link { .. } => Kind::Link,
            Self::NftTable { .. } => Kind::NftTable,
            Self::Sysctl { .. } => Kind::Sysctl,
            Self::File { .. } => Kind::File,
            Self::Socket { .. } => Kind::Socket,
            Self::Folder { .. } => Kind::Folder,
        }
    }

    /// What tells it from others of its kind, the same in every run.
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Process { role, .. } => role,
            Self::Link { name, .. } => name,
            Self::NftTable { family, .. } => family,
            Self::Sysctl { key, .. } => key,
            Self::File { path } | Self::Socket { path } | Self::Folder { path } => path.file_name().unwrap_or_default(),
        }
    }

    /// Whether it is in what all users of the host share.
    pub(super) fn is_on_the_host(&self) -> bool {
        matches!(
            self,
            Self::Link { netns: Netns::Host, .. }
                | Self::NftTable { netns: Netns::Host, .. }
                | Self::Sysctl { netns: Netns::Host, .. }
        )
    }

    /// Whether it is still there when the host has booted again.
    pub(super) fn outlives_a_boot(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Socket { .. } | Self::Folder { .. })
    }

    /// Whether it ends with the namespace that it is in, whose keeper is an older entry of the same ledger.
    pub(super) fn goes_with_its_keeper(&self) -> bool {
        matches!(
            self,
            Self::Link { netns: Netns::Kept(_), .. }
                | Self::NftTable { netns: Netns::Kept(_), .. }
                | Self::Sysctl { netns: Netns::Kept(_), .. }
        )
    }

    /// Put it back. "Already gone" is success, and what cannot be looked at is not touched. Of a folder, `ledger` goes
    /// last if it is in there: what is left of a folder when that is cut short is still known.
    pub(super) fn undo(&self, ledger: &Utf8Path) -> Result<(), String> {
        if let Self::Sysctl { key, user: Some(user), netns: Netns::Host, .. } = self
            && !turn::leave(key, *user).map_err(|e| e.to_string())?
        {
            return Ok(());
        }
        match self.presence() {
            Presence::There => {}
            Presence::Gone => return Ok(()),
            Presence::Unknown(why) => return Err(why),
        }
        let text = |e: CmdError| e.to_string();
        match self {
            Self::Process { id, .. } => id.end(Duration::from_secs(5)).map_err(|e| e.to_string()),
            kept if kept.goes_with_its_keeper() => Ok(()),
            Self::Link { name, .. } => Cmd::new("ip").args(["link", "del", name]).run().map(drop).map_err(text),
            Self::NftTable { family, name, .. } => {
                Cmd::new("nft").args(["delete", "table", family, name]).run().map(drop).map_err(text)
            }
            Self::Sysctl { key, old, .. } => std::fs::write(format!("/proc/sys/{key}"), old).map_err(|e| e.to_string()),
            Self::File { path } | Self::Socket { path } => std::fs::remove_file(path).map_err(|e| e.to_string()),
            Self::Folder { path } => remove_folder(path, ledger).map_err(|e| e.to_string()),
        }
    }

    /// Whether it is (still) there, or something else of its name.
    pub fn presence(&self) -> Presence {
        match self {
            Self::Process { id, .. } => id.presence(),
            Self::Link { netns: Netns::Kept(keeper), .. }
            | Self::NftTable { netns: Netns::Kept(keeper), .. }
            | Self::Sysctl { netns: Netns::Kept(keeper), .. } => keeper.presence(),
            Self::Link { name, .. } => link(name),
            Self::NftTable { family, name, .. } => table(family, name),
            Self::Sysctl { key, old, new, user, .. } => {
                match user.map_or(Presence::Gone, |user| turn::needed(key, user)) {
                    // It stays, and is no longer this one's.
                    Presence::There => Presence::Gone,
                    Presence::Gone => setting(key, old, new),
                    unknown => unknown,
                }
            }
            Self::File { path } | Self::Folder { path } => Presence::of(path),
            Self::Socket { path } => dead_socket(path),
        }
    }
}

/// A socket's file on which nobody listens: whoever made it is gone.
fn dead_socket(path: &Utf8Path) -> Presence {
    let unknown = |e: std::io::Error| Presence::Unknown(format!("cannot look at {path}: {e}"));
    match std::fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => {}
        Ok(_) => return Presence::Gone,
        Err(_) => return Presence::of(path),
    }
    // Not to wait where somebody is slow to accept.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = match socket(AddressFamily::Unix, SockType::Stream, flags, None) {
        Ok(socket) => socket,
        Err(errno) => return unknown(errno.into()),
    };
    match UnixAddr::new(path.as_std_path()).and_then(|to| connect(socket.as_raw_fd(), &to)) {
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Presence::Gone,
        Err(Errno::ECONNREFUSED) => Presence::There,
        Err(Errno::ENOENT) => Presence::Gone,
        Err(errno) => unknown(errno.into()),
    }
}

/// A link of this process's network namespace. Not by its name in /sys, which may be another namespace's, or not mounted.
fn link(name: &str) -> Presence {
    // What the look itself opens: its own error for that says something else.
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).map(drop);
    match socket.and_then(|()| if_nametoindex(name)) {
        Ok(_) => Presence::There,
        Err(Errno::ENODEV) => Presence::Gone,
        Err(errno) => Presence::Unknown(format!("cannot look for the network link {name}: {}", errno.desc())),
    }
}

/// A table of this process's network namespace. Only nft's own word for it says that it is gone: a program that cannot
/// be run, or that finds no library, may end with much the same words.
fn table(family: &str, name: &str) -> Presence {
    let list = Cmd::new("nft").args(["list", "table", family, name]).env("LC_ALL", "C").limit(LOOK_LIMIT);
    match list.run() {
        Ok(_) => Presence::There,
        Err(CmdError::Failed { status, output, .. })
            if status.code() == Some(1) && output.stderr.starts_with("Error: No such file or directory") =>
        {
            Presence::Gone
        }
        Err(error) => {
            Presence::Unknown(format!("cannot look for the nft table {family} {name}: {}", with_causes(&error)))
        }
    }
}

/// Whether a setting of the kernel still is what we made it.
fn setting(key: &str, old: &str, new: &str) -> Presence {
    if old == new {
        return Presence::Gone;
    }
    match std::fs::read_to_string(format!("/proc/sys/{key}")) {
        Ok(now) if now.trim() == new => Presence::There,
        Ok(_) => Presence::Gone,
        // It goes with its module or its link; but all of it may be hidden, too.
        Err(e) if e.kind() == ErrorKind::NotFound && Utf8Path::new("/proc/sys/kernel/ostype").exists() => {
            Presence::Gone
        }
        Err(e) => Presence::Unknown(format!("cannot read /proc/sys/{key}: {e}")),
    }
}

fn remove_folder(path: &Utf8Path, last: &Utf8Path) -> std::io::Result<()> {
    for entry in path.read_dir_utf8()? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            _ if entry.path() == last => {}
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    std::fs::remove_dir_all(path)
}
